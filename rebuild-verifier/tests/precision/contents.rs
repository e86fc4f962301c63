//! Files whose content differs: what made it differ is in their name.

use super::common::{Lab, plain_build_below};
use super::{FILES, PINNED, Sighted, said, sighted, spec};
use hallmark_rebuilder::compare::{Comparison, Context, Facts, compare};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// File name (after its cause) and the shell line that makes it at `$f`. `$SIDE` is `one` or `another`.
const CONTENTS: &[(&str, &str)] = &[
    (
        "build-id/program",
        "prog 'int main(void) { return 0; }' -Wl,--build-id=0x$(hex)",
    ),
    (
        "build-id/library",
        "prog 'int f(void) { return 1; }' -shared -fPIC -Wl,--build-id=0x$(hex)",
    ),
    ("archive-metadata/gzip", "echo text >x; gzip -c x >$f"),
    ("archive-metadata/tar", "echo text >x; tar cf $f x"),
    ("archive-metadata/ar", "echo text >x; ar rcU $f x"),
    (
        "archive-metadata/tar.gz",
        "echo text >x; tar cf - x | gzip -n >$f",
    ),
    (
        "order/hash-lines",
        "perl -e '%h = map { $_ => 1 } 1..40; print \"$_\\n\" for keys %%h' >$f",
    ),
    (
        "order/hash-words",
        "perl -e '%h = map { $_ => 1 } 1..40; print \"{\", join(\", \", keys %%h), \"}\"' >$f",
    ),
    (
        "order/jobs",
        "for i in 1 2 3 4 5 6 7 8 9; do (perl -e 'select undef, undef, undef, rand() / 3'; echo job $i) & done >$f; wait",
    ),
    ("build-path/text", "echo built in $(pwd) >$f"),
    (
        "build-path/program",
        "prog \"const char *where = \\\"$(pwd)/c.c\\\"; int main(void) { return *where; }\"",
    ),
    ("host-name/text", "uname -n >$f"),
    (
        "host-name/packed",
        "echo \"made by build@$(uname -n)\" | gzip -n >$f",
    ),
    ("kernel-version/text", "uname -r >$f"),
    (
        "kernel-version/program",
        "prog \"const char *on = \\\"Linux $(uname -r) kernel\\\"; int main(void) { return *on; }\"",
    ),
    ("embedded-clock/text", "date >$f"),
    ("embedded-clock/epoch", "echo \"time=$(date +%%s)\" >$f"),
    (
        "embedded-clock/program",
        "prog \"const char *at = \\\"built at $(date +%%T)\\\"; int main(void) { return *at; }\"",
    ),
    (
        "embedded-clock/binary",
        "perl -e 'print pack(\"NNN\", 0, time, 0)' >$f",
    ),
    ("embedded-clock/packed", "date -u +%%FT%%TZ | xz >$f"),
    ("temporary-name/text", "echo log: $(mktemp -u) >$f"),
    (
        "temporary-name/program",
        "prog \"const char *name = \\\"$(mktemp -u -p /var/tmp)\\\"; int main(void) { return *name; }\"",
    ),
    (
        "address/perl",
        "perl -e 'my @list; print \"at \", \\@list, \"\\n\"' >$f",
    ),
    (
        "address/program",
        "prog '#include <stdio.h>\nint main(void) { printf(\"main=%%p\\n\", (void *)main); return 0; }'; $f >x; mv x $f",
    ),
    ("cpu-count/text", "nproc >$f"),
    ("cpu-count/flags", "echo \"make -j$(nproc) all\" >$f"),
    ("random/uuid", "cat /proc/sys/kernel/random/uuid >$f"),
    ("random/bytes", "head -c 48 /dev/urandom >$f"),
    (
        "random/hash",
        "echo \"key: $(head -c 64 /dev/urandom | sha256sum)\" >$f",
    ),
    ("random/base64", "head -c 66 /dev/urandom | base64 -w 0 >$f"),
    ("unknown-content/text", "echo $SIDE thing >$f"),
    (
        "unknown-content/program",
        "prog \"const char *name = \\\"$SIDE way of doing it\\\"; int main(void) { return *name; }\"",
    ),
];

/// Builds everything of [`CONTENTS`] twice: on this machine as it is, and on one CPU, with another
/// host name and another kernel version.
pub fn contents(seen: &mut Vec<Sighted>) {
    let lab = Lab::new();
    let helpers = "hex() { head -c 20 /dev/urandom | od -An -tx1 | tr -d ' \\n'; }\n\
                   prog() { code=$1; shift; printf '%%s\\n' \"$code\" >c.c; gcc -O1 -o $f \"$@\" c.c; }\n";
    let lines: Vec<String> = CONTENTS
        .iter()
        .map(|(name, line)| format!("f=$PWD/{name}; mkdir -p $(dirname $f); {line}"))
        .collect();
    let install = format!("{helpers}{}\nrm -f x c.c", lines.join("\n"));
    let text = spec("", &install, FILES);
    let here = ["env", "SIDE=one", "rpmbuild", "-bb"];
    let there = [
        "env",
        "SIDE=another",
        "unshare",
        "--uts",
        "taskset",
        "-c",
        "0",
        "setarch",
        "--uname-2.6",
        "sh",
        "-c",
        "hostname elsewhere.example; exec rpmbuild -bb \"$@\"",
        "sh",
    ];
    let first = plain_build_below(&lab, "a", &here, &text, &PINNED);
    std::thread::sleep(Duration::from_millis(1_100));
    let start = now();
    let second = plain_build_below(&lab, "b", &there, &text, &PINNED);
    let context = Context {
        expected: Facts {
            host: Some(said(&["uname", "-n"])),
            kernel: Some(said(&["uname", "-r"])),
            ncpu: said(&["nproc"]).parse().ok(),
            ..Facts::default()
        },
        rebuilt: Facts {
            window: Some((start, now())),
            host: Some("elsewhere.example".to_owned()),
            kernel: Some(said(&["setarch", "--uname-2.6", "uname", "-r"])),
            ncpu: Some(1),
            ..Facts::default()
        },
    };
    let comparison = compare(&first, &second, &context).unwrap();
    for (name, _) in CONTENTS {
        let path = format!("/usr/share/seeds/{name}");
        let of_it = comparison
            .causes
            .iter()
            .filter(|cause| cause.file.as_deref() == Some(&path));
        let causes: Vec<_> = of_it.cloned().collect();
        seen.push(sighted(
            name.split('/').next().unwrap(),
            name,
            &Comparison {
                verdict: comparison.verdict,
                causes,
            },
        ));
    }
}

fn now() -> i64 {
    i64::try_from(
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap()
}

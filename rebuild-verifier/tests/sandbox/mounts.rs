//! Overlays above layers, and directories in another order.

use super::common::attempt::{Attempt, are_gone};
use super::common::{self, Lab};
use super::limits;
use hallmark_rebuilder::sandbox::{self, Cancel, Ended, Extras, REBUILD_BACKENDS, SandboxError};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs of the small layer.
const PROGRAMS: [&str; 10] = [
    "sh", "env", "cat", "head", "id", "ls", "mkdir", "rm", "touch", "wc",
];

/// A layer of a shell, a few programs and their libraries, as they are on this machine.
pub fn small_layer(lab: &Lab) -> PathBuf {
    let layer = lab.path("layer");
    for dir in [
        "usr/bin",
        "usr/share",
        "etc",
        "var/lib",
        "var/tmp",
        "sys",
        "proc",
        "dev",
    ] {
        fs::create_dir_all(layer.join(dir)).unwrap();
    }
    for name in ["bin", "lib", "lib64"] {
        fs::create_dir_all(layer.join("usr").join(name)).unwrap();
        symlink(format!("usr/{name}"), layer.join(name)).unwrap();
    }
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let program = Path::new("/bin").join(name);
        fs::copy(&program, layer.join("usr/bin").join(name)).unwrap();
        let output = Command::new("ldd").arg(&program).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        let paths = said
            .split_whitespace()
            .filter(|word| word.starts_with('/') && Path::new(word).is_file());
        libraries.extend(paths.map(str::to_owned));
    }
    for library in libraries {
        let inside = layer.join(library.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::copy(&library, inside).unwrap();
    }
    fs::write(layer.join("etc/old"), "old\n").unwrap();
    symlink("/nowhere/resolv.conf", layer.join("etc/resolv.conf")).unwrap();
    layer
}

/// Runs a shell line in `root`.
pub fn run_in(root: &Path, line: &str, extras: Extras) -> (Result<Ended, SandboxError>, String) {
    let never = Cancel::default();
    let attempt = Attempt {
        root,
        extras,
        ..Attempt::new(&REBUILD_BACKENDS[0], limits(), &never)
    };
    let ran = attempt.run(line);
    assert!(are_gone(&ran.dir.to_string_lossy()));
    (ran.ended, ran.log)
}

const OVERLAY: Extras = Extras {
    overlay: true,
    reversed: false,
};
const REVERSED: Extras = Extras {
    overlay: false,
    reversed: true,
};
/// Tries to write everywhere, and says where it could.
const WRITE: &str = "for d in / /etc /usr /usr/share /usr/bin /var /var/lib; do touch $d/new 2>/dev/null && echo wrote $d; done; \
                     rm /etc/old 2>/dev/null && echo removed; cat /etc/passwd | wc -l; ls /etc; test ! -s /etc/resolv.conf && echo pinned; true";

/// Everything below a directory.
fn listing(dir: &Path) -> String {
    let output = Command::new("find")
        .arg(dir)
        .arg("-printf")
        .arg("%P %y %m %s %T@\n")
        .output();
    let mut lines: Vec<String> = String::from_utf8(output.unwrap().stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines.join("\n")
}

/// Whether overlays can be mounted; without, a test skips by its name, or fails in CI on a new kernel.
fn overlays(test: &str) -> bool {
    let lab = Lab::new();
    match sandbox::try_overlay(&lab.path("work"), 65_534) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("SKIPPED {test}: no overlays here: {error}");
            false
        }
    }
}

#[test]
fn a_build_writes_into_its_root_and_the_layer_stays_as_it_was() {
    let test = "a_build_writes_into_its_root_and_the_layer_stays_as_it_was";
    if !common::tools(test) || !overlays(test) {
        return;
    }
    let lab = Lab::new();
    let layer = small_layer(&lab);
    let before = listing(&layer);
    // The second build sees nothing of the first one.
    for _ in 0..2 {
        let (ended, log) = run_in(&layer, WRITE, OVERLAY);
        let ended = ended.unwrap();
        assert!(ended.overlay && ended.exit_code == 0, "{ended:?} {log}");
        for place in [
            "/",
            "/etc",
            "/usr",
            "/usr/share",
            "/usr/bin",
            "/var",
            "/var/lib",
        ] {
            assert!(log.contains(&format!("wrote {place}\n")), "{place}: {log}");
        }
        assert!(
            log.contains("removed\n3\n") && log.contains("pinned\n"),
            "{log}"
        );
        assert_eq!(listing(&layer), before);
    }
}

#[test]
fn without_an_overlay_the_same_layer_is_read_only() {
    let test = "without_an_overlay_the_same_layer_is_read_only";
    if !common::tools(test) {
        return;
    }
    let lab = Lab::new();
    let layer = small_layer(&lab);
    let before = listing(&layer);
    let (ended, log) = run_in(&layer, WRITE, Extras::default());
    let ended = ended.unwrap();
    assert!(!ended.overlay && ended.exit_code == 0, "{ended:?} {log}");
    assert!(!log.contains("wrote") && !log.contains("removed"), "{log}");
    assert!(
        log.starts_with("3\n") && log.contains("old\n") && log.contains("pinned\n"),
        "{log}"
    );
    assert_eq!(listing(&layer), before);
}

#[test]
fn the_machines_own_root_gets_no_overlay_whatever_is_asked_for() {
    let test = "the_machines_own_root_gets_no_overlay_whatever_is_asked_for";
    if !common::tools(test) {
        return;
    }
    let line = "touch /etc/x /usr/x 2>/dev/null && echo wrote; true";
    let (ended, log) = run_in(Path::new("/"), line, OVERLAY);
    assert!(!ended.unwrap().overlay && log.is_empty(), "{log}");
}

#[test]
fn what_is_written_into_an_overlay_counts_as_scratch_space() {
    let test = "what_is_written_into_an_overlay_counts_as_scratch_space";
    if !common::tools(test) || !overlays(test) {
        return;
    }
    let lab = Lab::new();
    let (ended, log) = run_in(
        &small_layer(&lab),
        "head -c 100000000 /dev/zero >/usr/share/fill",
        OVERLAY,
    );
    assert!(
        matches!(ended, Err(SandboxError::Disk { .. })),
        "{ended:?} {log}"
    );
}

#[test]
fn reversed_directories_list_what_they_hold_the_other_way_round() {
    let test = "reversed_directories_list_what_they_hold_the_other_way_round";
    if !common::tools(test) {
        return;
    }
    if Command::new("disorderfs")
        .arg("--version")
        .output()
        .is_err()
    {
        assert!(
            std::env::var_os("CI").is_none(),
            "{test}: disorderfs is missing in CI"
        );
        eprintln!("SKIPPED {test}: disorderfs is missing");
        return;
    }
    let line = "mkdir d; cd d; for n in 1 2 3 4 5 6; do echo $n >f$n; done; ls -U; cat f3; rm f1 && echo x >/builddir/out/x";
    let (ended, plain) = run_in(Path::new("/"), line, Extras::default());
    assert_eq!(ended.unwrap().exit_code, 0, "{plain}");
    let (ended, log) = run_in(Path::new("/"), line, REVERSED);
    if let Err(SandboxError::Tool {
        tool: "disorderfs",
        why,
    }) = &ended
    {
        eprintln!("SKIPPED {test}: this machine lets nobody mount FUSE: {why}");
        return;
    }
    assert_eq!(ended.unwrap().exit_code, 0, "{log}");
    let mut names: Vec<&str> = plain.lines().take(6).collect();
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 6, "{plain}");
    names.reverse();
    assert_eq!(log.lines().take(6).collect::<Vec<_>>(), names);
    assert_eq!(log.lines().last(), Some("3"));
}

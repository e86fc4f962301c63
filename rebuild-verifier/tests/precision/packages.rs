//! Whole packages: built in other modes, damaged or forged, and sets of them.

use super::common::{self, Lab, plain_build, plain_build_below};
use super::{FILES, PINNED, Sighted, judged, sighted, spec};
use hallmark_rebuilder::compare::set_cause;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Builds of one spec in other modes and from other source packages.
pub fn modes(seen: &mut Vec<Sighted>) {
    let text = spec("BuildArch: noarch", "echo data >data", FILES);
    let lab = Lab::new();
    let build = |name: &str, mode: &str, options: &[&str]| {
        plain_build_below(
            &lab,
            name,
            &["rpmbuild", mode],
            &text,
            &[&PINNED[..], options].concat(),
        )
    };
    let without = build("bb", "-bb", &[]);
    let with = build("ba", "-ba", &[]);
    seen.push(sighted(
        "source-package",
        "-bb and -ba",
        &judged(&without, &with),
    ));

    let unpinned = ["--define", "use_source_date_epoch_as_buildtime 0"];
    let srpm = |name: &str| {
        build(name, "-ba", &unpinned);
        common::the_rpm(&lab.path(&format!("plain-{name}/SRPMS")))
    };
    let rebuild = |srpm: &Path, name: &str| {
        let top = lab.path(&format!("plain-{name}"));
        let mut command = Command::new("rpmbuild");
        command.arg("--rebuild");
        command.args(["--define", &format!("_topdir {}", top.display())]);
        common::succeeds(command.args(PINNED).arg(srpm));
        common::the_rpm(&top.join("RPMS"))
    };
    let first = rebuild(&srpm("s1"), "r1");
    std::thread::sleep(Duration::from_millis(1_100));
    let second = rebuild(&srpm("s2"), "r2");
    seen.push(sighted(
        "source-package",
        "two source packages",
        &judged(&first, &second),
    ));

    let times = [build("t1", "-bb", &unpinned), {
        std::thread::sleep(Duration::from_millis(1_100));
        build("t2", "-bb", &unpinned)
    }];
    seen.push(sighted(
        "build-time",
        "no build time pinned",
        &judged(&times[0], &times[1]),
    ));
}

/// Damage and forgery that rpmbuild does not make.
pub fn forged(seen: &mut Vec<Sighted>) {
    let lab = Lab::new();
    let good = plain_build(
        &lab,
        "a",
        &spec("BuildArch: noarch", "seq 99 >data", FILES),
        &PINNED,
    );
    let bytes = fs::read(&good).unwrap();
    let head = repo_model::rpm::Head::parse(&bytes).unwrap();
    let payload = usize::try_from(head.payload_offset()).unwrap();
    let main = usize::try_from(head.header_range().start).unwrap();
    let version = |bytes: &[u8]| {
        let wanted = head
            .main()
            .string(repo_model::rpm::tag::RPMVERSION)
            .unwrap()
            .to_vec();
        main + bytes[main..]
            .windows(wanted.len())
            .position(|w| w == wanted)
            .unwrap()
    };
    let at = version(&bytes);
    let rows: [(&str, usize, u8); 8] = [
        ("payload-digest", payload + 30, 0xff),
        ("payload-digest", bytes.len() - 12, 0x01),
        ("lead", 9, 0x01),
        ("lead", 12, 0x20),
        ("signature-header", main - 1_000, 0x01),
        ("signature-header", main - 400, 0xff),
        ("rpm-version", at, 0x02),
        ("rpm-version", at + 2, 0x01),
    ];
    for (cause, at, flip) in rows {
        let mut changed = bytes.clone();
        changed[at] ^= flip;
        let bad = lab.path("forged.rpm");
        fs::write(&bad, changed).unwrap();
        seen.push(sighted(cause, &format!("byte {at}"), &judged(&good, &bad)));
    }
}

pub fn sets(seen: &mut Vec<Sighted>) {
    let list = |names: &[&str]| {
        names
            .iter()
            .map(|name| name.parse().unwrap())
            .collect::<Vec<_>>()
    };
    let both = list(&["a-1-1.noarch", "a-doc-1-1.noarch"]);
    for other in [
        list(&["a-1-1.noarch"]),
        list(&["a-1-1.noarch", "a-doc-1-2.noarch"]),
    ] {
        let found = set_cause(&both, &other)
            .map(|cause| cause.code)
            .into_iter()
            .collect();
        seen.push(Sighted {
            fixture: format!("{other:?}"),
            cause: "set-differs".to_owned(),
            found,
        });
    }
}

//! Header tags that a macro sets, and differences that two specs make.

use super::common::{Lab, plain_build};
use super::{FILES, PINNED, Sighted, judged, sighted, spec};

/// Rows of header tags that a macro sets: cause, first macro, second macro.
const MACROS: &[(&str, &str, &str)] = &[
    ("build-host", "_buildhost a.example", "_buildhost b.example"),
    (
        "build-host",
        "_buildhost reproducible",
        "_buildhost localhost",
    ),
    (
        "compression",
        "_binary_payload w9.gzdio",
        "_binary_payload w1.gzdio",
    ),
    (
        "compression",
        "_binary_payload w9.gzdio",
        "_binary_payload w2.xzdio",
    ),
    ("optflags", "optflags -O2", "optflags -O3"),
    (
        "optflags",
        "optflags -O2",
        "optflags -O2 -ffile-prefix-map=/home/a=.",
    ),
    (
        "platform",
        "_target_platform one-linux",
        "_target_platform two-linux",
    ),
    ("platform", "_vendor one", "_vendor two"),
    ("vendor", "vendor One", "vendor Two"),
    ("vendor", "nothing 1", "vendor Two"),
    ("packager", "packager One", "packager Two"),
    ("packager", "nothing 1", "packager Two"),
    ("distribution", "distribution One", "distribution Two"),
    (
        "distribution",
        "bugurl https://one.example",
        "bugurl https://two.example",
    ),
    ("dependencies", "dep one", "dep two"),
    ("dependencies", "dep same = 1", "dep same = 2"),
    (
        "build-time",
        "nothing 1",
        "use_source_date_epoch_as_buildtime 0",
    ),
    ("header-tag", "word one", "word two"),
    (
        "header-tag",
        "url https://one.example",
        "url https://two.example",
    ),
];

pub fn macros(seen: &mut Vec<Sighted>) {
    let tags = "BuildArch: noarch\nRequires: %{?dep}%{!?dep:none}\nGroup: %{?word}%{!?word:none}\n\
                URL: %{?url}%{!?url:https://none.example}";
    let text = spec(tags, "echo data >data", FILES);
    for (cause, first, second) in MACROS {
        let lab = Lab::new();
        let build = |name: &str, value: &str| {
            plain_build(
                &lab,
                name,
                &text,
                &[&PINNED[..], &["--define", value]].concat(),
            )
        };
        let comparison = judged(&build("a", first), &build("b", second));
        seen.push(sighted(cause, second, &comparison));
    }
}

/// Rows that two specs show: cause, then `install` and `sections` of both.
const SPECS: &[(&str, [&str; 2], [&str; 2])] = &[
    (
        "scriptlets",
        ["echo x >x", FILES],
        [
            "echo x >x",
            "%post\necho made %(date +%%N)\n%files\n/usr/share/seeds",
        ],
    ),
    (
        "scriptlets",
        ["echo x >x", "%preun\necho one\n%files\n/usr/share/seeds"],
        ["echo x >x", "%preun\necho two\n%files\n/usr/share/seeds"],
    ),
    (
        "file-owner",
        ["echo x >x", FILES],
        [
            "echo x >x",
            "%files\n%defattr(-,games,root)\n/usr/share/seeds",
        ],
    ),
    (
        "file-owner",
        ["echo x >x", FILES],
        [
            "echo x >x",
            "%files\n%defattr(-,root,mail)\n/usr/share/seeds",
        ],
    ),
    (
        "file-mode",
        ["umask 022; echo x >x", FILES],
        ["umask 077; echo x >x", FILES],
    ),
    ("file-mode", ["mkdir d", FILES], ["mkdir -m 700 d", FILES]),
    (
        "file-links",
        ["ln -s one link", FILES],
        ["ln -s another link", FILES],
    ),
    (
        "file-links",
        ["ln -s $(mktemp -u) link", FILES],
        ["ln -s $(mktemp -u) link", FILES],
    ),
    (
        "hard-links",
        ["echo x >a; ln a b", FILES],
        ["echo x >a; cp a b", FILES],
    ),
    (
        "hard-links",
        ["echo x >a; ln a b; cp a c; ln c d", FILES],
        ["echo x >a; ln a d; cp a b; ln b c", FILES],
    ),
    (
        "file-list",
        ["echo x >x; echo y >y-$(date +%%N)", FILES],
        ["echo x >x; echo y >y-$(date +%%N)", FILES],
    ),
    (
        "file-list",
        ["echo x >x", FILES],
        ["echo x >x; mkdir more", FILES],
    ),
    (
        "file-mtime",
        ["echo x >x; touch -d 2001-01-01 x", FILES],
        ["echo x >x; touch -d 2002-02-02 x", FILES],
    ),
    (
        "file-mtime",
        ["mkdir d; touch -d 2001-01-01 d", FILES],
        ["mkdir d", FILES],
    ),
];

pub fn specs(seen: &mut Vec<Sighted>) {
    for (cause, first, second) in SPECS {
        let lab = Lab::new();
        let build = |name: &str, [install, sections]: [&str; 2]| {
            plain_build(
                &lab,
                name,
                &spec("BuildArch: noarch", install, sections),
                &PINNED,
            )
        };
        let comparison = judged(&build("a", *first), &build("b", *second));
        seen.push(sighted(cause, &second.join("; "), &comparison));
    }
}

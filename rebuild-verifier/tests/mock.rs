//! mock as a backend, and builds that mock made, made again with bubblewrap. Runs where mock is.

mod common;

use common::Lab;
use common::attempt::{Attempt, Ran, are_gone};
use common::in_mock::InMock;
use hallmark_rebuilder::build::Recorded;
use hallmark_rebuilder::buildroot::Store;
use hallmark_rebuilder::mock_build::MockError;
use hallmark_rebuilder::replay::{self, Site};
use hallmark_rebuilder::sandbox::{self, Cancel, Limits, SandboxError, has_cgroups};
use repo_model::FileDigest;
use repo_model::verdict::Verdict;
use std::fs;
use std::path::Path;

/// A program, and its package's debug data.
pub const SPEC: &str = "\
Name: inmock
Version: 1.0
Release: 1
Summary: Built in mock
License: Apache-2.0
%global debug_package %{nil}
%description
Built in mock.
%prep
%setup -c -T
%build
printf '#include <stdio.h>\\nint main(void){puts(__FILE__);return 0;}\\n' >h.c
gcc -g -O2 -o h $PWD/h.c && ./h
%install
install -D -m 0755 h %{buildroot}/usr/bin/inmock
id -un >who
install -D -m 0644 who %{buildroot}/usr/share/inmock/who
%files
/usr/bin/inmock
/usr/share/inmock
%changelog
* Fri Jan 10 2025 Tester <t@example.invalid> - 1
- First
";

/// What is told of a check.
const AGAIN: &str = "recorded in mock, again in bwrap";

/// Runs a shell line in mock.
fn run(mock: &[String], root: &Path, line: &str, limits: Limits, cancel: &Cancel) -> Ran {
    let lab = Lab::new();
    let input = lab.path("input");
    fs::write(&input, "input").unwrap();
    let attempt = Attempt {
        backend_command: mock,
        root,
        inputs: &[(input, "/builddir/input".to_owned())],
        ..Attempt::new(sandbox::backend("mock").unwrap(), limits, cancel)
    };
    attempt.run(line)
}

#[test]
fn mock_keeps_the_contract_of_backends_in_a_layer() {
    let test = "mock_keeps_the_contract_of_backends_in_a_layer";
    let Some(site) = InMock::new(test) else {
        return;
    };
    let (lab, mock) = (&site.lab, &site.mock);
    let lock = common::locked(lab, &site.repo, &site.store);
    let root = site.store.layer_of(&lock.buildroot()).unwrap();
    let never = Cancel::default();
    let limits = Limits {
        memory_bytes: 2 << 30,
        ..lab.limits()
    };
    let say =
        |line: &str, limits: Limits, cancel: &Cancel| run(mock, &root.dir, line, limits, cancel);
    for code in [0, 3] {
        let ran = say(&format!("echo said; exit {code}"), limits, &never);
        let exit_code = ran.ended.unwrap().exit_code;
        assert_eq!((exit_code, ran.log.as_str()), (code, "said\n"));
    }
    let ended = say("kill -9 $$", limits, &never).ended;
    assert_eq!(ended.unwrap().exit_code, 137);
    let line = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; id -un; hostname; umask; pwd; cat input; echo; \
                touch /usr/x input 2>/dev/null && echo wrote; ls /proc | grep -c '^[0-9]*$' | grep -qx '[0-9]' || echo others; env | sort";
    let log = say(line, limits, &never).log;
    let wanted = [
        "lo",
        "mockbuild",
        "mockbuild",
        "0022",
        "/builddir",
        "input",
        "HOME=/builddir",
        "LC_ALL=C.UTF-8",
    ];
    let found: Vec<&str> = log.lines().collect();
    assert_eq!(found[..8], wanted, "{log}");
    let line = "cd out; echo a >a.rpm; ln -s /etc/passwd link.rpm; mkfifo pipe";
    assert_eq!(say(line, limits, &never).files, ["a.rpm"]);

    stops(&say, limits);
    assert!(
        !root.dir.join("builddir").exists(),
        "the layer was written to"
    );
    // A layer whose links lead to files of the machine is not touched.
    let (trap, victim) = (lab.path("trap"), lab.path("victim"));
    fs::create_dir(&trap).unwrap();
    fs::write(&victim, "untouched").unwrap();
    std::os::unix::fs::symlink(&victim, trap.join(".initialized")).unwrap();
    let ended = run(mock, &trap, "true", limits, &never).ended;
    assert!(
        matches!(ended, Err(SandboxError::Setup { .. })),
        "{ended:?}"
    );
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    let ended = run(mock, Path::new("/"), "true", limits, &never).ended;
    assert!(matches!(
        ended,
        Err(SandboxError::Tool { tool: "mock", .. })
    ));
}

type Say<'a> = dyn Fn(&str, Limits, &Cancel) -> Ran + 'a;

/// What ends at a limit, and takes everything with it.
fn stops(say: &Say<'_>, limits: Limits) {
    let never = Cancel::default();
    let brief = Limits {
        build_secs: 6,
        ..limits
    };
    let mark = "223606.79";
    let line = format!("(setsid sleep {mark} &) ; sleep {mark}");
    let ended = say(&line, brief, &never).ended;
    let at_limit = matches!(ended, Err(SandboxError::Time { secs: 6 }));
    assert!(at_limit && are_gone(mark), "{ended:?}");
    // One that is left behind after a good end.
    let ended = say("(setsid sleep 264575.13 &) ; true", limits, &never).ended;
    assert!(ended.unwrap().exit_code == 0 && are_gone("264575.13"));
    // One that is never the same process twice.
    let runner =
        "export s='sh -c \"$s\" 282842.71 & exit'; setsid sh -c \"$s\" 282842.71 & sleep 1";
    let ended = say(runner, limits, &never).ended;
    assert!(ended.unwrap().exit_code == 0 && are_gone("282842.71"));
    let small = Limits {
        log_bytes: 1 << 16,
        ..limits
    };
    let ran = say("yes | head -c 30000000", small, &never);
    assert_eq!(ran.ended.unwrap().exit_code, 0);
    assert!(ran.log.len() < 1 << 17, "{}", ran.log.len());
    // What lies in /dev/shm counts with the rest.
    let both = "head -c 150000000 /dev/zero >/dev/shm/big && head -c 150000000 /dev/zero >big";
    for line in ["head -c 900000000 /dev/zero >big", both] {
        let ended = say(line, limits, &never).ended;
        assert!(matches!(ended, Err(SandboxError::Disk { .. })), "{ended:?}");
    }
    if has_cgroups() {
        let tight = Limits {
            memory_bytes: 200 << 20,
            disk_bytes: 2 << 30,
            ..limits
        };
        let ended = say("head -c 1000000000 /dev/zero | tail", tight, &never).ended;
        assert!(
            matches!(ended, Err(SandboxError::Memory { .. })),
            "{ended:?}"
        );
        let few = Limits {
            max_processes: 60,
            ..limits
        };
        let bomb = "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; exit 1";
        let ended = say(bomb, few, &never).ended;
        assert!(
            matches!(ended, Err(SandboxError::Processes { .. })),
            "{ended:?}"
        );
    }
    let stopped = Cancel::default();
    stopped.cancel();
    let ended = say("sleep 60", limits, &stopped).ended;
    assert!(matches!(ended, Err(SandboxError::Cancelled)), "{ended:?}");
}

#[test]
fn what_mock_built_comes_out_the_same_with_bubblewrap_and_a_defect_is_found() {
    let test = "what_mock_built_comes_out_the_same_with_bubblewrap_and_a_defect_is_found";
    let Some(site) = InMock::new(test) else {
        return;
    };
    let (lab, store) = (&site.lab, &site.store);
    let config = site.config();
    let srpm = lab.srpm("inmock", SPEC);
    let recorded = site.record(&srpm, "out", &config).unwrap();
    let info = &recorded.info;
    assert_eq!(
        (info.sandbox.kind.as_str(), info.rpmbuild.mode.as_str()),
        ("mock", "bb")
    );
    assert!(info.buildroot.locked.len() > 100 && info.buildroot.tree_sha256.is_some());
    for kept in ["", ".root.log", ".state.log"] {
        let path = format!("{}{kept}", recorded.log.display());
        assert!(
            fs::metadata(&path).is_ok_and(|found| found.len() > 0),
            "{path}"
        );
    }
    // Elsewhere: nothing is there but what the buildinfo names.
    let elsewhere = Store::new(&lab.path("elsewhere"), 8 << 30);
    let verified = site.checked(AGAIN, &recorded, &srpm, &elsewhere);
    assert!(verified.confirmed);
    assert_eq!(verified.packages[0].comparison.verdict, Verdict::Identical);

    tampered(lab, &recorded, &srpm, store);

    let defect = SPEC
        .replace("id -un >who", "date +%s%N >who")
        .replace("inmock", "clock");
    let srpm = lab.srpm("clock", &defect);
    let recorded = site.record(&srpm, "clock", &config).unwrap();
    let verified = site.checked(AGAIN, &recorded, &srpm, store);
    assert!(!verified.confirmed);
    let comparison = &verified.packages[0].comparison;
    let cause = comparison
        .causes
        .iter()
        .find(|cause| cause.file.as_deref() == Some("/usr/share/clock/who"));
    assert!(cause.is_some(), "{:?}", comparison.causes);

    let asking = SPEC
        .replace("%build\n", "%generate_buildrequires\necho make\n%build\n")
        .replace("inmock", "asking");
    let srpm = lab.srpm("asking", &asking);
    let recorded = site.record(&srpm, "asking", &config).unwrap();
    assert_eq!(recorded.info.rpmbuild.mode, "ba");
    let verified = site.checked(AGAIN, &recorded, &srpm, store);
    assert!(verified.confirmed);

    // A build that prints what mock would of another call is no record.
    let forged = SPEC
        .replace(
            "id -un >who",
            "echo \"Executing command: ['bash', '--login', '-c', '/usr/bin/rpmbuild -ba x'] with env {}\"; id >who",
        )
        .replace("inmock", "forged");
    let forger = lab.srpm("forged", &forged);
    let error = site.record(&forger, "forged", &config).unwrap_err();
    assert!(
        error.to_string().contains("two calls of rpmbuild"),
        "{error}"
    );

    // A configuration that puts something else into packages is no record.
    let other = lab.path("other.cfg");
    let text = format!("include('{config}')\nconfig_opts['macros']['%_smp_build_ncpus'] = '1'\n");
    fs::write(&other, text).unwrap();
    let error = site
        .record(&srpm, "other", &other.to_string_lossy())
        .unwrap_err();
    assert!(matches!(error, MockError::NotReplayed { .. }), "{error}");
}

/// A builder that records macros which put something into packages is refused before anything is built.
fn tampered(lab: &Lab, recorded: &Recorded, srpm: &Path, store: &Store) {
    let mut info = recorded.info.clone();
    info.macros.text.push_str("%__strip /bin/evil\n");
    info.macros.file_sha256 = FileDigest::of(info.macros.text.as_bytes());
    let site = Site {
        work_dir: &lab.path("work"),
        build_uid: 65_534,
        store,
    };
    let error = replay::check(&info, srpm, &site).unwrap_err();
    assert!(error.to_string().contains("%__strip"), "{error}");
    let mut info = recorded.info.clone();
    info.rpmbuild.target = "x86_64; evil".to_owned();
    let error = replay::check(&info, srpm, &site).unwrap_err();
    assert!(error.to_string().contains("target"), "{error}");
}

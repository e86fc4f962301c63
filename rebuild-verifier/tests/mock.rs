//! mock as a backend, and builds that mock made, made again with bubblewrap. Runs where mock is.

mod common;

use common::Lab;
use hallmark_rebuilder::build::Recorded;
use hallmark_rebuilder::buildroot::{Root, Store, Wanted, resolve};
use hallmark_rebuilder::mock_build::{self, MockError, MockRequest};
use hallmark_rebuilder::plan::{Plan, SourcePackage};
use hallmark_rebuilder::replay::{self, Site};
use hallmark_rebuilder::sandbox::{
    Cancel, Ended, Extras, Job, Limits, REBUILD_BACKENDS, SandboxError, has_cgroups,
};
use hallmark_rebuilder::scratch::Scratch;
use repo_model::verdict::Verdict;
use repo_model::{FileDigest, HeaderDigest};
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

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

fn layer(lab: &Lab, repo: &Path, store: &Store) -> Root {
    let wanted = Wanted {
        repos: vec![format!("file://{}", repo.display())],
        packages: vec!["lab-buildroot".to_owned()],
    };
    let lock = resolve(&wanted, store, &lab.path("work")).unwrap();
    store.layer_of(&lock.buildroot()).unwrap()
}

/// Runs a shell line in mock; its end, its log and the names of what came out.
fn run(
    mock: &[String],
    root: &Path,
    line: &str,
    limits: Limits,
    cancel: &Cancel,
) -> (Result<Ended, SandboxError>, String, Vec<String>) {
    let lab = Lab::new();
    let scratch = Scratch::create(&lab.path("work")).unwrap();
    let out = scratch.dir_of("out", 65_534).unwrap();
    let (log, input) = (scratch.dir().join("log"), scratch.dir().join("input"));
    fs::write(&input, "input").unwrap();
    let source = SourcePackage {
        nevra: "a-1-1.src".parse().unwrap(),
        header: HeaderDigest::of(b""),
        cookie: None,
        changelog_epoch: Some(0),
        build_time: 0,
    };
    let plan = Plan::new(&source, "6.0");
    let row = REBUILD_BACKENDS
        .iter()
        .find(|row| row.name == "mock")
        .unwrap();
    let ended = (row.run)(&Job {
        dir: scratch.dir(),
        root,
        inputs: &[(input, "/builddir/input".to_owned())],
        out: &out,
        backend_command: mock,
        command: &["sh", "-c", line].map(str::to_owned),
        env: &plan.env,
        identity: &plan.identity,
        extras: Extras::default(),
        limits: &limits,
        build_uid: 65_534,
        log: &log,
        cancel,
    });
    let said = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
    let mut names: Vec<String> = fs::read_dir(&out)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    (ended, said, names)
}

/// Whether no process has `mark` in its command line two seconds from now.
fn are_gone(mark: &str) -> bool {
    let survivors = || {
        let processes = fs::read_dir("/proc").unwrap().flatten();
        processes
            .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
            .any(|line| String::from_utf8_lossy(&line).contains(mark))
    };
    let deadline = Instant::now() + Duration::from_secs(2);
    while survivors() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    !survivors()
}

#[test]
fn mock_keeps_the_contract_of_backends_in_a_layer() {
    let test = "mock_keeps_the_contract_of_backends_in_a_layer";
    let Some(mock) = common::mock(test) else {
        return;
    };
    let Some(repo) = common::repository(test) else {
        return;
    };
    let lab = Lab::new();
    let store = Store::new(&lab.path("store"), 8 << 30);
    let root = layer(&lab, &repo, &store);
    let never = Cancel::default();
    let limits = Limits {
        memory_bytes: 2 << 30,
        ..lab.limits()
    };
    let say =
        |line: &str, limits: Limits, cancel: &Cancel| run(&mock, &root.dir, line, limits, cancel);
    for code in [0, 3] {
        let (ended, log, _) = say(&format!("echo said; exit {code}"), limits, &never);
        assert_eq!((ended.unwrap().exit_code, log.as_str()), (code, "said\n"));
    }
    let (ended, _, _) = say("kill -9 $$", limits, &never);
    assert_eq!(ended.unwrap().exit_code, 137);
    let line = "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '; id -un; hostname; umask; pwd; cat input; echo; \
                touch /usr/x input 2>/dev/null && echo wrote; ls /proc | grep -c '^[0-9]*$' | grep -qx '[0-9]' || echo others; env | sort";
    let (_, log, _) = say(line, limits, &never);
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
    assert_eq!(say(line, limits, &never).2, ["a.rpm"]);

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
    let (ended, _, _) = run(&mock, &trap, "true", limits, &never);
    assert!(
        matches!(ended, Err(SandboxError::Setup { .. })),
        "{ended:?}"
    );
    assert_eq!(fs::read(&victim).unwrap(), b"untouched");
    let (ended, _, _) = run(&mock, Path::new("/"), "true", limits, &never);
    assert!(matches!(
        ended,
        Err(SandboxError::Tool { tool: "mock", .. })
    ));
}

type Say<'a> =
    dyn Fn(&str, Limits, &Cancel) -> (Result<Ended, SandboxError>, String, Vec<String>) + 'a;

/// What ends at a limit, and takes everything with it.
fn stops(say: &Say<'_>, limits: Limits) {
    let never = Cancel::default();
    let brief = Limits {
        build_secs: 6,
        ..limits
    };
    let mark = "223606.79";
    let line = format!("(setsid sleep {mark} &) ; sleep {mark}");
    let (ended, _, _) = say(&line, brief, &never);
    let at_limit = matches!(ended, Err(SandboxError::Time { secs: 6 }));
    assert!(at_limit && are_gone(mark), "{ended:?}");
    // One that is left behind after a good end.
    let (ended, _, _) = say("(setsid sleep 264575.13 &) ; true", limits, &never);
    assert!(ended.unwrap().exit_code == 0 && are_gone("264575.13"));
    // One that is never the same process twice.
    let runner =
        "export s='sh -c \"$s\" 282842.71 & exit'; setsid sh -c \"$s\" 282842.71 & sleep 1";
    let (ended, _, _) = say(runner, limits, &never);
    assert!(ended.unwrap().exit_code == 0 && are_gone("282842.71"));
    let small = Limits {
        log_bytes: 1 << 16,
        ..limits
    };
    let (ended, log, _) = say("yes | head -c 30000000", small, &never);
    assert_eq!(ended.unwrap().exit_code, 0);
    assert!(log.len() < 1 << 17, "{}", log.len());
    // What lies in /dev/shm counts with the rest.
    let both = "head -c 150000000 /dev/zero >/dev/shm/big && head -c 150000000 /dev/zero >big";
    for line in ["head -c 900000000 /dev/zero >big", both] {
        let (ended, _, _) = say(line, limits, &never);
        assert!(matches!(ended, Err(SandboxError::Disk { .. })), "{ended:?}");
    }
    if has_cgroups() {
        let tight = Limits {
            memory_bytes: 200 << 20,
            disk_bytes: 2 << 30,
            ..limits
        };
        let (ended, _, _) = say("head -c 1000000000 /dev/zero | tail", tight, &never);
        assert!(
            matches!(ended, Err(SandboxError::Memory { .. })),
            "{ended:?}"
        );
        let few = Limits {
            max_processes: 60,
            ..limits
        };
        let bomb = "i=0; while [ $i -lt 300 ]; do sleep 60 & i=$((i+1)); done; exit 1";
        let (ended, _, _) = say(bomb, few, &never);
        assert!(
            matches!(ended, Err(SandboxError::Processes { .. })),
            "{ended:?}"
        );
    }
    let stopped = Cancel::default();
    stopped.cancel();
    let (ended, _, _) = say("sleep 60", limits, &stopped);
    assert!(matches!(ended, Err(SandboxError::Cancelled)), "{ended:?}");
}

#[test]
fn what_mock_built_comes_out_the_same_with_bubblewrap_and_a_defect_is_found() {
    let test = "what_mock_built_comes_out_the_same_with_bubblewrap_and_a_defect_is_found";
    let Some(mock) = common::mock(test) else {
        return;
    };
    let Some(repo) = common::repository(test) else {
        return;
    };
    let lab = Lab::new();
    let store = Store::new(&lab.path("store"), 8 << 30);
    let config = common::mock_config(&lab, &repo);
    let request = |srpm: &Path, out: &str, config: &str| MockRequest {
        build: common::unhurried(&lab, srpm, out),
        config: config.to_owned(),
        program: mock.clone(),
        store: store.clone(),
    };
    let srpm = lab.srpm("inmock", SPEC);
    let recorded = mock_build::record(&request(&srpm, "out", &config)).unwrap();
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
    let verified = common::checked(&lab, &recorded, &srpm, &elsewhere);
    common::tell("recorded in mock, again in bwrap", &verified);
    assert!(verified.confirmed);
    assert_eq!(verified.packages[0].comparison.verdict, Verdict::Identical);

    tampered(&lab, &recorded, &srpm, &store);

    let defect = SPEC
        .replace("id -un >who", "date +%s%N >who")
        .replace("inmock", "clock");
    let srpm = lab.srpm("clock", &defect);
    let recorded = mock_build::record(&request(&srpm, "clock", &config)).unwrap();
    let verified = common::checked(&lab, &recorded, &srpm, &store);
    common::tell("recorded in mock, again in bwrap", &verified);
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
    let recorded = mock_build::record(&request(&srpm, "asking", &config)).unwrap();
    assert_eq!(recorded.info.rpmbuild.mode, "ba");
    let verified = common::checked(&lab, &recorded, &srpm, &store);
    common::tell("recorded in mock, again in bwrap", &verified);
    assert!(verified.confirmed);

    // A build that prints what mock would of another call is no record.
    let forged = SPEC
        .replace(
            "id -un >who",
            "echo \"Executing command: ['bash', '--login', '-c', '/usr/bin/rpmbuild -ba x'] with env {}\"; id >who",
        )
        .replace("inmock", "forged");
    let forger = lab.srpm("forged", &forged);
    let error = mock_build::record(&request(&forger, "forged", &config)).unwrap_err();
    assert!(
        error.to_string().contains("two calls of rpmbuild"),
        "{error}"
    );

    // A configuration that puts something else into packages is no record.
    let other = lab.path("other.cfg");
    let text = format!("include('{config}')\nconfig_opts['macros']['%_smp_build_ncpus'] = '1'\n");
    fs::write(&other, text).unwrap();
    let error = mock_build::record(&request(&srpm, "other", &other.to_string_lossy())).unwrap_err();
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

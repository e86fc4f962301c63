//! Build roots made of locked packages, with a real DNF and a small RPM distribution.

mod common;

use common::{Lab, locked, repository};
use hallmark_rebuilder::build::{self, Run};
use hallmark_rebuilder::buildroot::{self, LayerError, Root, Store};
use hallmark_rebuilder::replay::{self, ReplayError, Site};
use hallmark_rebuilder::sandbox::{Cancel, has_cgroups};
use hallmark_rebuilder::scratch::{Scratch, copy_readable};
use repo_model::verdict::Verdict;
use repo_model::{FileDigest, HeaderDigest};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

/// A compiled package: gcc, make, binutils and rpm of the layer do the work.
const SPEC: &str = "\
Name: inlayer
Version: 1.0
Release: 1
Summary: Built in a layer
License: Apache-2.0
%global debug_package %{nil}
%description
Built in a layer.
%prep
%setup -c -T
%build
printf '#include <stdio.h>\\nint main(void){puts(\"layer\");return 0;}\\n' >h.c
printf 'h: h.c\\n\\tgcc -g -O2 -o h h.c\\n' >Makefile
make && ./h
rpm -q gcc make lab-buildroot >installed
%install
install -D -m 0755 h %{buildroot}/usr/bin/inlayer
install -D -m 0644 installed %{buildroot}/usr/share/inlayer/installed
%files
/usr/bin/inlayer
/usr/share/inlayer
%changelog
* Fri Jan 10 2025 Tester <t@example.invalid> - 1
- First
";

fn database(root: &Root) -> FileDigest {
    let file = root.dir.join("usr/lib/sysimage/rpm/rpmdb.sqlite");
    FileDigest::of(&fs::read(file).unwrap())
}

#[test]
fn a_package_built_in_a_layer_comes_out_the_same_in_the_layer_that_another_machine_makes_of_the_lock()
 {
    let test = "a_package_built_in_a_layer_comes_out_the_same_in_the_layer_that_another_machine_makes_of_the_lock";
    let Some(repo) = repository(test) else {
        return;
    };
    let lab = Lab::new();
    let store = Store::new(&lab.path("store"), 8 << 30);
    let lock = locked(&lab, &repo, &store);
    assert!(lock.packages.len() > 100, "{}", lock.packages.len());
    assert!(lock.packages.iter().all(|package| !package.urls.is_empty()));
    let started = Instant::now();
    let root = store.layer_of(&lock.buildroot()).unwrap();
    let made = started.elapsed();
    let started = Instant::now();
    assert_eq!(store.layer_of(&lock.buildroot()).unwrap().tree, root.tree);
    eprintln!(
        "{test}: layer of {} packages made in {made:?}, found again in {:?}",
        lock.packages.len(),
        started.elapsed()
    );

    let srpm = lab.srpm("inlayer", SPEC);
    let mut request = lab.request(&srpm, "out");
    request.root = Some(root.clone());
    let recorded = build::record(&request).unwrap();
    let info = &recorded.info;
    assert_eq!(
        (info.buildroot.kind.as_str(), info.buildroot.tree_sha256),
        (buildroot::DNF, root.tree)
    );
    assert_eq!(info.buildroot.locked, lock.packages);
    // The layer's rpm, not this machine's.
    assert!(
        info.rpmbuild.version.starts_with("6."),
        "{}",
        info.rpmbuild.version
    );

    // Elsewhere: another store, packages fetched by digest from the lock in the buildinfo.
    let elsewhere = Store::new(&lab.path("elsewhere"), 8 << 30);
    let other = elsewhere.layer_of(&info.buildroot).unwrap();
    assert_eq!(other.tree, root.tree);
    assert_eq!(
        database(&other),
        database(&root),
        "rpm's database is deterministic"
    );
    assert_ne!(other.dir, root.dir);
    let site = Site {
        work_dir: &lab.path("work"),
        build_uid: 65_534,
        store: &elsewhere,
    };
    let rebuilt = replayed(&lab, info, &srpm, &site);
    assert_eq!(rebuilt.packages.len(), 1, "{:?}", rebuilt.failure);
    assert_eq!(rebuilt.packages[0].file, info.outputs[0].file_sha256);

    writes(&lab, &root, &site);
    refusals(&lab, info, &srpm, &site);
    published(&lab, &recorded, &srpm, &elsewhere);
}

/// Writes into its root, and packages what it wrote.
const WRITER: &str = "\
Name: writer
Version: 1.0
Release: 1
Summary: Writes into its root
License: Apache-2.0
BuildArch: noarch
%description
Writes into its root.
%prep
%build
echo made >/usr/share/writer-made
%install
install -D -m 0644 /usr/share/writer-made %{buildroot}/usr/share/writer/made
%files
/usr/share/writer
%changelog
* Fri Jan 10 2025 Tester <t@example.invalid> - 1
- First
";

/// A build may write into its root where overlays are, its replay as well; where the record says that it
/// could not, the replay cannot.
fn writes(lab: &Lab, root: &Root, site: &Site<'_>) {
    let overlay = hallmark_rebuilder::sandbox::try_overlay(site.work_dir, site.build_uid).is_ok();
    let srpm = lab.srpm("writer", WRITER);
    let mut request = lab.request(&srpm, "written");
    request.root = Some(root.clone());
    let recorded = build::record(&request);
    if !overlay {
        let error = recorded.unwrap_err();
        assert!(matches!(error, build::BuildError::Failed { .. }), "{error}");
        return;
    }
    let recorded = recorded.unwrap();
    let info = recorded.info;
    // Without an architecture, rpm reads its configuration twice: the macros of the plan must last.
    let mut query = Command::new("rpm");
    query.args(["-qp", "--qf", "%{BUILDTIME} %{BUILDHOST}"]);
    let said = query.arg(&recorded.packages[0]).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&said.stdout),
        "1736467200 reproducible"
    );
    assert_eq!(info.sandbox.kind, "bwrap+overlay");
    assert!(!root.dir.join("usr/share/writer-made").exists());
    let again = replayed(lab, &info, &srpm, site);
    assert_eq!(again.packages[0].file, info.outputs[0].file_sha256);
    let mut narrower = info.clone();
    "bwrap".clone_into(&mut narrower.sandbox.kind);
    let again = replayed(lab, &narrower, &srpm, site);
    assert!(again.exit_code != 0 && again.packages.is_empty());
}

fn replayed(
    lab: &Lab,
    info: &repo_model::buildinfo::BuildInfo,
    srpm: &Path,
    site: &Site<'_>,
) -> replay::Rebuilt {
    let scratch = Scratch::create(&lab.path("work")).unwrap();
    let inside = scratch.dir().join("in.src.rpm");
    copy_readable(srpm, &inside).unwrap();
    let ready = replay::check(info, srpm, site).unwrap();
    let (limits, cancel) = (lab.limits(), Cancel::default());
    let run = Run {
        scratch: &scratch,
        limits: &limits,
        build_uid: site.build_uid,
        cancel: &cancel,
    };
    replay::replay(&ready, &inside, &run, &scratch.dir().join("log")).unwrap()
}

/// What is another root is refused before anything is built.
fn refusals(lab: &Lab, info: &repo_model::buildinfo::BuildInfo, srpm: &Path, site: &Site<'_>) {
    let refused = |change: &dyn Fn(&mut repo_model::buildinfo::BuildInfo)| {
        let mut changed = info.clone();
        change(&mut changed);
        replay::check(&changed, srpm, site).unwrap_err()
    };
    let error = refused(&|info| info.buildroot.tree_sha256 = Some(FileDigest::of(b"other")));
    assert!(
        matches!(error, ReplayError::Layer(LayerError::OtherTree { .. })),
        "{error}"
    );
    let error =
        refused(&|info| info.buildroot.locked[0].header_sha256 = HeaderDigest::of(b"other"));
    assert!(
        matches!(error, ReplayError::Layer(LayerError::LockDigest { .. })),
        "{error}"
    );
    let error = refused(&|info| info.buildroot.locked.clear());
    assert!(
        matches!(error, ReplayError::Layer(LayerError::Kind { .. })),
        "{error}"
    );
    let error = refused(&|info| info.buildroot.kind = "mock".to_owned());
    assert!(error.to_string().contains("mock"), "{error}");
    // A package that cannot be had any more.
    let nowhere = Store::new(&lab.path("nowhere"), 1 << 30);
    let mut lost = info.buildroot.clone();
    lost.locked
        .iter_mut()
        .for_each(|package| package.urls.clear());
    let error = nowhere.layer_of(&lost).unwrap_err();
    assert!(matches!(error, LayerError::Missing { .. }), "{error}");
}

/// `hallmark rebuild` in the layer, whatever this machine has installed.
fn published(lab: &Lab, recorded: &build::Recorded, srpm: &Path, store: &Store) {
    let verified = common::checked(lab, recorded, srpm, store);
    assert!(verified.confirmed);
    assert_eq!(verified.packages[0].comparison.verdict, Verdict::Identical);
    assert_eq!(verified.limits == "cgroup", has_cgroups());
}

#[test]
fn dnf5_of_another_system_makes_the_same_tree() {
    let test = "dnf5_of_another_system_makes_the_same_tree";
    let Some(repo) = repository(test) else {
        return;
    };
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let forky = Command::new(top.join("scripts/make-forky.sh"))
        .output()
        .unwrap();
    if forky.status.code() == Some(3) {
        eprintln!(
            "SKIPPED {test}: {}",
            String::from_utf8_lossy(&forky.stderr).trim()
        );
        return;
    }
    let forky = String::from_utf8(forky.stdout).unwrap();
    let lab = Lab::new();
    let store = Store::new(&lab.path("store"), 8 << 30);
    let lock = locked(&lab, &repo, &store);
    let here = store.layer_of(&lock.buildroot()).unwrap();

    let program = Path::new(env!("CARGO_BIN_EXE_hallmark-rebuilder"));
    fs::create_dir(lab.path("there")).unwrap();
    let line = "/mnt/bin/hallmark-rebuilder buildroot lock --repo file:///mnt/repo -o /mnt/there/lock lab-buildroot && \
                exec /mnt/bin/hallmark-rebuilder buildroot make /mnt/there/lock";
    let mut command = Command::new(top.join("tests/lab/in-forky.sh"));
    command
        .arg("--bind")
        .arg(program.parent().unwrap())
        .arg("/mnt/bin");
    command.arg("--bind").arg(&repo).arg("/mnt/repo");
    command
        .arg("--bind")
        .arg(lab.path("there"))
        .arg("/mnt/there");
    command.arg(forky.trim()).args([
        "env",
        "HALLMARK_REBUILDER__LAYERS_DIR=/mnt/there/store",
        "HALLMARK_REBUILDER__WORK_DIR=/mnt/there/work",
    ]);
    let output = common::succeeds(command.args(["sh", "-c", line]));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(made["lock_sha256"], here.lock.sha256.to_hex());
    assert_eq!(made["tree_sha256"], here.tree.unwrap().to_hex());
}

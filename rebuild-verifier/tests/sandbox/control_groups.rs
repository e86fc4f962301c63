//! Limits by control groups of version 2, on any machine: in a kernel of our own (User Mode Linux), which
//! sees this machine's files and has nothing but version 2.

use super::common::{self, Lab};
use super::mounts::{run_in, small_layer};
use super::{limits, run};
use hallmark_rebuilder::sandbox::{Cancel, Extras, REBUILD_BACKENDS};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

/// What these tests of this program must show there.
const INSIDE: [&str; 5] = [
    "control_groups::here_are_control_groups_of_version_2_only",
    "limits::memory_beyond_the_limit_ends_the_build_where_cgroups_are",
    "limits::a_fork_bomb_stays_within_its_number_of_processes",
    "limits::the_time_limit_kills_the_whole_tree",
    "limits::what_a_build_leaves_running_dies_with_it",
];

/// The kernel's first process. Arguments come in the environment, as kernels hand them on.
const INIT: &str = r#"#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
{
  mount -t proc proc /proc && mount -t sysfs sys /sys && mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
  mount -t tmpfs -o mode=1777 tmpfs /run && export TMPDIR=/run
  set -- "$hallmark_dir/program" --exact --include-ignored --nocapture --test-threads 1 $(cat "$hallmark_dir/tests")
  if [ "$hallmark_user" != 0 ]; then
    # As a service manager delegates: a group of the user's own, with its process in it.
    echo '+memory +pids' >/sys/fs/cgroup/cgroup.subtree_control
    mkdir /sys/fs/cgroup/service
    chown -R "$hallmark_user" /sys/fs/cgroup/service
    set -- setpriv --reuid "$hallmark_user" --regid "$hallmark_user" --clear-groups "$@"
    set -- /bin/sh -c 'echo $$ >/sys/fs/cgroup/service/cgroup.procs; exec "$@"' sh "$@"
  fi
  cd /run && "$@"
} >"$hallmark_dir/said" 2>&1
echo o >/proc/sysrq-trigger
sleep 60
"#;

/// Runs tests of this program in that kernel as this user; what they said. `None`: there is no such kernel.
fn in_another_kernel(test: &str, user: u32, tests: &[&str]) -> Option<String> {
    if !common::tools(test) {
        return None;
    }
    // Another copy of it than the one on the path may be named.
    let kernel = std::env::var_os("HALLMARK_TEST_UML").unwrap_or_else(|| "linux.uml".into());
    if Command::new(&kernel).arg("--version").output().is_err() {
        // Only Debian and its kin have it, and only for x86.
        let available = cfg!(target_arch = "x86_64") && Path::new("/etc/debian_version").exists();
        assert!(
            !available || std::env::var_os("CI").is_none(),
            "{test}: user-mode-linux is missing in CI"
        );
        eprintln!("SKIPPED {test}: no User Mode Linux (package user-mode-linux)");
        return None;
    }
    let lab = Lab::new();
    fs::copy(std::env::current_exe().unwrap(), lab.path("program")).unwrap();
    fs::write(lab.path("tests"), tests.join(" ")).unwrap();
    let init = lab.path("init");
    fs::write(&init, INIT).unwrap();
    fs::set_permissions(&init, fs::Permissions::from_mode(0o755)).unwrap();
    let output = Command::new("timeout")
        .args(["--kill-after=5", "240"])
        .arg(&kernel)
        .args([
            "mem=1G",
            "root=/dev/root",
            "rootfstype=hostfs",
            "rootflags=/",
            "rw",
            "quiet",
        ])
        .arg(format!("init={}", init.display()))
        .arg(format!("hallmark_user={user}"))
        .arg(format!("hallmark_dir={}", lab.path("").display()))
        .args(["con0=fd:0,fd:1", "con=null"])
        .output()
        .unwrap();
    let said = fs::read_to_string(lab.path("said")).unwrap_or_default();
    assert!(!said.is_empty(), "the kernel did not come up: {output:?}");
    Some(said)
}

#[test]
fn limits_hold_by_control_groups_of_version_2() {
    all_hold_for("limits_hold_by_control_groups_of_version_2", 0);
}

#[test]
fn limits_hold_in_a_group_of_version_2_that_was_delegated_to_a_user() {
    let test = "limits_hold_in_a_group_of_version_2_that_was_delegated_to_a_user";
    all_hold_for(test, 12_345);
}

/// Runs [`INSIDE`] in that kernel as this user.
fn all_hold_for(test: &str, user: u32) {
    let Some(said) = in_another_kernel(test, user, &INSIDE) else {
        return;
    };
    let wanted = format!("{} passed; 0 failed", INSIDE.len());
    assert!(
        said.contains(&wanted) && !said.contains("SKIPPED"),
        "{said}"
    );
}

#[test]
fn a_kernel_without_overlayfs_gives_builds_a_root_that_is_read_only() {
    let test = "a_kernel_without_overlayfs_gives_builds_a_root_that_is_read_only";
    let inside = "control_groups::here_is_no_overlayfs";
    let Some(said) = in_another_kernel(test, 0, &[inside]) else {
        return;
    };
    assert!(said.contains("1 passed; 0 failed"), "{said}");
}

#[test]
#[ignore = "run in another kernel by limits_hold_by_control_groups_of_version_2"]
fn here_are_control_groups_of_version_2_only() {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let kinds: Vec<&str> = mounts
        .lines()
        .filter_map(|line| line.split(' ').nth(2))
        .filter(|kind| kind.starts_with("cgroup"))
        .collect();
    assert_eq!(kinds, ["cgroup2"]);
    assert!(hallmark_rebuilder::sandbox::has_cgroups());
    let (ended, log) = run(
        &REBUILD_BACKENDS[0],
        "cat /proc/self/cgroup",
        limits(),
        &Cancel::default(),
    );
    assert_eq!(ended.unwrap().limits, "cgroup");
    assert_eq!(log, "0::/\n");
    // Nothing is left of its group.
    let own = fs::read_to_string("/proc/self/cgroup").unwrap();
    let own = own
        .trim()
        .trim_start_matches("0::")
        .trim_end_matches("/hallmark");
    let dir = format!("/sys/fs/cgroup{own}");
    let left: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .filter(|name| name.to_string_lossy().starts_with("hallmark-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
#[ignore = "run in another kernel by a_kernel_without_overlayfs_gives_builds_a_root_that_is_read_only"]
fn here_is_no_overlayfs() {
    let known = fs::read_to_string("/proc/filesystems").unwrap();
    assert!(!known.contains("overlay"), "{known}");
    let lab = Lab::new();
    let work = lab.path("work");
    assert!(hallmark_rebuilder::sandbox::try_overlay(&work, 65_534).is_err());
    let layer = small_layer(&lab);
    let overlay = Extras {
        overlay: true,
        reversed: false,
    };
    for _ in 0..2 {
        let (ended, log) = run_in(&layer, "touch /etc/x 2>/dev/null || echo cannot", overlay);
        assert!(!ended.unwrap().overlay);
        assert_eq!(log, "cannot\n");
    }
}

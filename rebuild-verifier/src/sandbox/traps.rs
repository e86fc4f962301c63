//! Links in a layer that would lead whoever writes into its chroot from outside, as mock does and its backend,
//! to files of the machine.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

/// What a layer has no business to hold: the backend makes it.
static OURS: &[&str] = &["builddir", ".initialized", ".hallmark-log"];
/// What is written, made or mounted from outside.
static WRITTEN: &[&str] = &[
    "dev",
    "etc/dnf/dnf.conf",
    "etc/dnf/vars",
    "etc/fstab",
    "etc/group",
    "etc/hosts",
    "etc/machine-id",
    "etc/os-release",
    "etc/passwd",
    "etc/pki",
    "etc/resolv.conf",
    "etc/rpm",
    "etc/yum.repos.d",
    "etc/yum/yum.conf",
    "proc",
    "root",
    "run",
    "sys",
    "tmp/ccache",
    "usr/lib",
    "var/cache/dnf",
    "var/lib/dbus/machine-id",
    "var/lib/rpm",
    "var/lib/yum",
    "var/log/yum.log",
    "var/tmp",
];
/// More links on one way than this are a circle.
const MAX_LINKS: u32 = 40;

/// What of `layer` mock must not be let near, if anything. Whoever made the packages of the layer is at fault; do
/// not retry.
pub fn found(layer: &Path) -> Option<String> {
    if let Some(name) = OURS
        .iter()
        .find(|name| fs::symlink_metadata(layer.join(name)).is_ok())
    {
        return Some(format!("the build root has a /{name} of its own"));
    }
    let name = WRITTEN
        .iter()
        .find(|name| leads_out(layer, Path::new(name)))?;
    Some(format!(
        "a link at /{name} leads out of the build root when it is followed from outside"
    ))
}

/// Whether `path`, followed below `layer` by somebody who is not in a chroot there, ends elsewhere. What is not
/// there leads nowhere.
fn leads_out(layer: &Path, path: &Path) -> bool {
    let parts = |path: &Path| -> Vec<OsString> {
        path.components()
            .map(|part| part.as_os_str().to_owned())
            .collect()
    };
    let mut ahead: VecDeque<OsString> = parts(path).into();
    let mut at = PathBuf::new();
    let mut links = 0;
    while let Some(part) = ahead.pop_front() {
        match Path::new(&part).components().next() {
            Some(Component::Normal(name)) => at.push(name),
            Some(Component::ParentDir) if at.pop() => continue,
            Some(Component::CurDir) => continue,
            _ => return true,
        }
        if let Ok(target) = fs::read_link(layer.join(&at)) {
            links += 1;
            if links > MAX_LINKS {
                return true;
            }
            at.pop();
            for part in parts(&target).into_iter().rev() {
                ahead.push_front(part);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn layer() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for name in [
            "etc/yum",
            "usr/lib/sysimage/rpm",
            "var/lib",
            "proc",
            "usr/bin",
        ] {
            fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        let root = dir.path();
        symlink("usr/bin", root.join("bin")).unwrap();
        symlink("../../usr/lib/sysimage/rpm", root.join("var/lib/rpm")).unwrap();
        symlink("../proc/self/mounts", root.join("etc/mtab")).unwrap();
        symlink("../usr/lib/os-release", root.join("etc/os-release")).unwrap();
        dir
    }

    #[test]
    fn links_of_a_usual_layer_stay_in_it() {
        assert_eq!(found(layer().path()), None);
    }

    #[test]
    fn links_that_would_have_files_of_the_machine_written_are_refused() {
        for (name, target) in [
            (".initialized", "/etc/shadow"),
            (".hallmark-log", "anywhere"),
            ("builddir", "/root"),
            ("tmp", "/etc"),
            ("dev", "../../dev"),
            ("var/tmp", "../../../tmp"),
            ("etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf"),
            ("etc/hosts", "a"),
            ("etc/passwd", "passwd"),
        ] {
            let dir = layer();
            symlink("/etc/hosts", dir.path().join("etc/a")).unwrap();
            symlink(target, dir.path().join(name)).unwrap();
            let why = found(dir.path()).unwrap_or_else(|| panic!("{name} -> {target}"));
            assert!(why.contains(&format!("/{name}")), "{why}");
        }
        let dir = layer();
        fs::create_dir(dir.path().join("builddir")).unwrap();
        assert!(found(dir.path()).is_some_and(|why| why.contains("/builddir")));
    }
}

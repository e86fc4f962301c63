//! The build root `host`: the machine's own root seen through an allow-list of read-only mounts.
//!
//! Programs and libraries (`/usr` and what belongs to it) and `/etc` are there; what tells who and
//! where the machine is, is replaced or hidden; everything else (`/home`, `/var`, `/opt`, `/srv`,
//! `/sys`, ...) is absent or empty. Nothing is copied.

use super::SandboxError;
use repo_model::buildinfo::Identity;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Top directories that hold programs; links on most systems.
static PROGRAM_DIRS: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Parts of `/etc` and `/usr` that are hidden: secrets, and what no package manager put there.
static HIDDEN: &[&str] = &[
    "/etc/hallmark",
    "/etc/ssh",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/usr/local",
];

/// Files of `/etc` that say the same on every machine.
fn pinned(identity: &Identity) -> [(&'static str, String); 8] {
    let Identity {
        hostname,
        uid,
        gid,
        user,
        ..
    } = identity;
    let home = super::HOME_DIR;
    [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/root:/bin/sh\n{user}:x:{uid}:{gid}:{user}:{home}:/bin/sh\n\
                 nobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n"
            ),
        ),
        (
            "group",
            format!("root:x:0:\n{user}:x:{gid}:\nnogroup:x:65534:\n"),
        ),
        ("hostname", format!("{hostname}\n")),
        (
            "hosts",
            format!("127.0.0.1 localhost {hostname}\n::1 localhost {hostname}\n"),
        ),
        (
            "machine-id",
            "00000000000000000000000000000001\n".to_owned(),
        ),
        ("timezone", "Etc/UTC\n".to_owned()),
        ("resolv.conf", String::new()),
        ("fstab", String::new()),
    ]
}

/// bwrap's arguments that make the root. Pinned files are written below `dir`.
pub fn mounts(dir: &Path, identity: &Identity) -> Result<Vec<String>, SandboxError> {
    let mut arguments = Vec::new();
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    add(&["--ro-bind", "/usr", "/usr"]);
    for name in PROGRAM_DIRS {
        let path = format!("/{name}");
        match fs::symlink_metadata(&path) {
            Ok(found) if found.is_symlink() => {
                let target =
                    fs::read_link(&path).map_err(SandboxError::io(format!("read link {path}")))?;
                add(&["--symlink", &target.to_string_lossy(), &path]);
            }
            Ok(found) if found.is_dir() => add(&["--ro-bind", &path, &path]),
            _ => {}
        }
    }
    add(&["--ro-bind", "/etc", "/etc"]);
    let etc = dir.join("etc");
    make_passable_dir(&etc)?;
    for (name, text) in pinned(identity) {
        let inside = format!("/etc/{name}");
        // A read-only /etc has no place for a file that the machine does not have; a link leads
        // out of /etc and dangles.
        if fs::symlink_metadata(&inside).is_ok_and(|found| found.is_file()) {
            let file = etc.join(name);
            fs::write(&file, text)
                .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o644)))
                .map_err(SandboxError::io(format!("write {}", file.display())))?;
            add(&["--ro-bind", &file.to_string_lossy(), &inside]);
        }
    }
    for path in HIDDEN {
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
            add(&["--tmpfs", path, "--remount-ro", path]);
        }
    }
    add(&[
        "--dir", "/sys", "--dir", "/srv", "--dir", "/opt", "--dir", "/mnt",
    ]);
    Ok(arguments)
}

/// Makes a directory that every user can pass through, whatever our umask.
pub fn make_passable_dir(dir: &Path) -> Result<(), SandboxError> {
    fs::create_dir_all(dir)
        .and_then(|()| fs::set_permissions(dir, fs::Permissions::from_mode(0o755)))
        .map_err(SandboxError::io(format!(
            "make directory {}",
            dir.display()
        )))
}

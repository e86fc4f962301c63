//! What a build sees as its root: read-only mounts, or an overlay above a layer; nothing copied.
//!
//! Of the machine's own root (`host`) an allow-list: programs and libraries (`/usr` and what belongs to
//! it) and those parts of `/etc` that compilers, interpreters and rpm read. Everything else (`/home`,
//! `/var`, `/opt`, `/srv`, `/sys`, the rest of `/etc` with its keys and passwords) is absent or empty.
//! Of a root made of locked packages all is seen, as nothing in it is anybody's. In both, what tells
//! who and where the machine is, is replaced.

use super::SandboxError;
use repo_model::buildinfo::Identity;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Top directories that hold programs; links on most systems.
static PROGRAM_DIRS: &[&str] = &["bin", "sbin", "lib", "lib32", "lib64", "libx32"];
/// Parts of `/usr` that are hidden: what no package manager put there.
static HIDDEN: &[&str] = &["/usr/local"];
/// Parts of the machine's `/etc` that builds may need. None of them may hold a secret on any machine.
static ETC: &[&str] = &[
    "alternatives",
    "ant.conf",
    "bash.bashrc",
    "bashrc",
    "crypto-policies",
    "debian_version",
    "emacs",
    "ethertypes",
    "fedora-release",
    "fonts",
    "ghc",
    "groff",
    "gtk-2.0",
    "gtk-3.0",
    "host.conf",
    "inputrc",
    "java",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "lsb-release",
    "magic",
    "magic.mime",
    "maven",
    "mime.types",
    "nsswitch.conf",
    "OpenCL",
    "os-release",
    "papersize",
    "perl",
    "php",
    "pki/ca-trust/extracted",
    "pki/tls/cert.pem",
    "pki/tls/certs",
    "pki/tls/openssl.cnf",
    "profile",
    "profile.d",
    "protocols",
    "python",
    "python3",
    "redhat-release",
    "rpc",
    "rpm",
    "rpmlint",
    "services",
    "sgml",
    "shells",
    "skel",
    "ssl/certs",
    "ssl/openssl.cnf",
    "system-release",
    "terminfo",
    "texmf",
    "xml",
];
/// Top directories of a root of locked packages, besides those of programs, that are seen.
static LAYER_DIRS: &[&str] = &["opt", "srv", "var"];
/// Top directories of an overlay that something else is mounted on.
static COVERED: &[&str] = &["dev", "home", "proc", "root", "run", "sys", "tmp"];

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

/// Whether builds in the machine's own root can see this file: then it is no place for a secret.
pub fn is_visible(path: &Path) -> bool {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let hidden = HIDDEN.iter().any(|dir| path.starts_with(dir));
    let programs = PROGRAM_DIRS.iter().chain(&["usr"]);
    let mut seen = programs.map(|name| Path::new("/").join(name));
    let in_etc = ETC
        .iter()
        .any(|name| path.starts_with(Path::new("/etc").join(name)));
    !hidden && (in_etc || seen.any(|dir| path.starts_with(dir)))
}

/// bwrap's arguments that make the root out of `root`. Pinned files are written below `dir`.
pub fn mounts(root: &Path, dir: &Path, identity: &Identity) -> Result<Vec<String>, SandboxError> {
    let mut arguments = Vec::new();
    let host = root == Path::new("/");
    bind(&mut arguments, root, "usr")?;
    for name in PROGRAM_DIRS {
        bind(&mut arguments, root, name)?;
    }
    etc(&mut arguments, root, dir, identity, host)?;
    let mut add = |words: &[&str]| arguments.extend(words.iter().map(|word| (*word).to_owned()));
    if host {
        for path in HIDDEN {
            if fs::symlink_metadata(path).is_ok_and(|found| found.is_dir()) {
                add(&["--tmpfs", path, "--remount-ro", path]);
            }
        }
        add(&["--dir", "/srv", "--dir", "/opt"]);
    } else {
        for name in LAYER_DIRS {
            bind(&mut arguments, root, name)?;
        }
    }
    arguments.extend(["--dir", "/sys", "--dir", "/mnt"].map(str::to_owned));
    Ok(arguments)
}

/// The same for a root of locked packages that is mounted as an overlay at `merged`.
pub fn overlaid(
    merged: &Path,
    dir: &Path,
    identity: &Identity,
) -> Result<Vec<String>, SandboxError> {
    let merged = merged.to_string_lossy();
    let mut arguments = ["--bind", &merged, "/"].map(str::to_owned).to_vec();
    pin(&mut arguments, dir, identity)?;
    arguments.extend(["--dir", "/sys", "--dir", "/mnt"].map(str::to_owned));
    Ok(arguments)
}

/// Directories of a layer, relative and not deeper than two, that builds may make entries in when an
/// overlay lies above it; those that not everybody may read are left as they are.
pub fn top_dirs(layer: &Path) -> Vec<String> {
    let open_dirs = |dir: &Path| -> Vec<String> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let is_open = |entry: &fs::DirEntry| {
            entry
                .metadata()
                .is_ok_and(|found| found.is_dir() && found.permissions().mode() & 0o005 == 0o005)
        };
        entries
            .filter(is_open)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    };
    let mut names = Vec::new();
    for top in open_dirs(layer) {
        if COVERED.contains(&top.as_str()) {
            continue;
        }
        let below = open_dirs(&layer.join(&top));
        names.extend(below.into_iter().map(|name| format!("{top}/{name}")));
        names.push(top);
    }
    // Whatever the layer holds: the pinned files lie there.
    if !names.iter().any(|name| name == "etc") {
        names.push("etc".to_owned());
    }
    names.sort_unstable();
    names
}

/// Paths of the pinned files below the root, relative.
pub fn pinned_names() -> Vec<String> {
    let nobody = Identity {
        hostname: String::new(),
        uid: 0,
        gid: 0,
        user: String::new(),
        umask: String::new(),
    };
    pinned(&nobody)
        .map(|(name, _)| format!("etc/{name}"))
        .to_vec()
}

/// Adds one entry of the root: a link as a link, anything else mounted read-only; what is not there
/// is left out.
fn bind(arguments: &mut Vec<String>, root: &Path, name: &str) -> Result<(), SandboxError> {
    let path = root.join(name);
    let inside = format!("/{name}");
    match fs::symlink_metadata(&path) {
        Ok(found) if found.is_symlink() => {
            let target = fs::read_link(&path)
                .map_err(SandboxError::io(format!("read link {}", path.display())))?;
            arguments.extend([
                "--symlink".to_owned(),
                target.to_string_lossy().into(),
                inside,
            ]);
        }
        Ok(found) if found.is_dir() || found.is_file() => {
            arguments.extend([
                "--ro-bind".to_owned(),
                path.to_string_lossy().into(),
                inside,
            ]);
        }
        _ => {}
    }
    Ok(())
}

/// `/etc`: what may be seen of the root's, and the pinned files.
fn etc(
    arguments: &mut Vec<String>,
    root: &Path,
    dir: &Path,
    identity: &Identity,
    host: bool,
) -> Result<(), SandboxError> {
    let pinned = pinned(identity);
    let names: Vec<String> = if host {
        ETC.iter().map(|name| (*name).to_owned()).collect()
    } else {
        let etc = root.join("etc");
        let entries =
            fs::read_dir(&etc).map_err(SandboxError::io(format!("list {}", etc.display())))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort_unstable();
        names
    };
    for name in names {
        if !pinned.iter().any(|(pin, _)| *pin == name) {
            bind(arguments, root, &format!("etc/{name}"))?;
        }
    }
    pin(arguments, dir, identity)
}

/// The pinned files of `/etc`, written below `dir`.
fn pin(arguments: &mut Vec<String>, dir: &Path, identity: &Identity) -> Result<(), SandboxError> {
    let files = dir.join("etc");
    make_passable_dir(&files)?;
    for (name, text) in pinned(identity) {
        let file = files.join(name);
        fs::write(&file, text)
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(0o644)))
            .map_err(SandboxError::io(format!("write {}", file.display())))?;
        let words = [
            "--ro-bind",
            &file.to_string_lossy(),
            &format!("/etc/{name}"),
        ];
        arguments.extend(words.map(str::to_owned));
    }
    Ok(())
}

/// Lets every user read a file, whatever our umask.
pub fn make_readable(file: &Path) -> std::io::Result<()> {
    fs::set_permissions(file, fs::Permissions::from_mode(0o644))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_layer_only_directories_that_everybody_reads_are_opened_to_builds() {
        let layer = tempfile::tempdir().unwrap();
        let make = |name: &str, mode: u32| {
            let dir = layer.path().join(name);
            fs::create_dir_all(&dir).unwrap();
            fs::set_permissions(&dir, fs::Permissions::from_mode(mode)).unwrap();
        };
        make("usr/share/doc", 0o755);
        make("var/lib", 0o755);
        make("var/private", 0o700);
        make("proc/1", 0o755);
        fs::write(layer.path().join("usr/file"), "").unwrap();
        std::os::unix::fs::symlink("usr/share", layer.path().join("share")).unwrap();
        assert_eq!(
            top_dirs(layer.path()),
            ["etc", "usr", "usr/share", "var", "var/lib"]
        );
        assert!(pinned_names().contains(&"etc/passwd".to_owned()));
    }

    #[test]
    fn a_secret_in_a_part_of_the_root_that_builds_see_is_noticed() {
        for (path, seen) in [
            ("/usr/share/rebuilder.key", true),
            ("/etc/profile.d/rebuilder.key", true),
            ("/etc/hallmark/rebuilder.key", false),
            ("/etc/ssl/private/rebuilder.key", false),
            ("/usr/local/etc/rebuilder.key", false),
            ("/home/rb/rebuilder.key", false),
        ] {
            assert_eq!(is_visible(Path::new(path)), seen, "{path}");
        }
    }
}

//! createrepo_c, wherever it is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A createrepo_c that runs.
pub struct Peer {
    /// `createrepo_c 1.2.1`.
    pub version: String,
    place: Place,
}

enum Place {
    /// On this machine.
    Program(OsString),
    /// In the client root: the script that enters it, and the root.
    ClientRoot(PathBuf, PathBuf),
}

impl Peer {
    /// The one that CREATEREPO_C names, or that of the client root, or that on the search path.
    pub fn find() -> Option<Self> {
        let cache = std::env::var_os("HALLMARK_CACHE")
            .map_or_else(|| "/var/cache/hallmark".into(), PathBuf::from);
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/lab/in-forky.sh");
        let places = match std::env::var_os("CREATEREPO_C") {
            Some(program) => vec![Place::Program(program)],
            None => vec![
                Place::ClientRoot(script, cache.join("forky")),
                Place::Program("createrepo_c".into()),
            ],
        };
        places.into_iter().find_map(|place| {
            let output = place.command(None).arg("--version").output().ok()?;
            let text = String::from_utf8(output.stdout)
                .ok()
                .filter(|_| output.status.success())?;
            // `Version: 1.2.1 (Features: ...)`
            let number = text.split_whitespace().nth(1)?;
            Some(Self {
                version: format!("createrepo_c {number}"),
                place,
            })
        })
    }

    /// Makes the metadata of `root/packages` below `root/theirs`, with two workers as ours.
    pub fn command(&self, root: &Path, options: &[&str]) -> Command {
        // createrepo_c 1.2.1 leaves its folder behind when nothing changed, and then refuses to start.
        let _ = std::fs::remove_dir_all(root.join("theirs/.repodata"));
        let mut command = self.place.command(Some(root));
        let here = match self.place {
            Place::Program(_) => root,
            Place::ClientRoot(..) => Path::new("/mnt/t"),
        };
        command
            .args(["--quiet", "--no-database", "--workers=2"])
            .args(options);
        command
            .arg("--outputdir")
            .arg(here.join("theirs"))
            .arg(here.join("packages"));
        command
    }
}

impl Place {
    fn command(&self, directory: Option<&Path>) -> Command {
        match self {
            Self::Program(program) => Command::new(program),
            Self::ClientRoot(script, root) => {
                let mut command = Command::new(script);
                if let Some(directory) = directory {
                    command.arg("--bind").arg(directory).arg("/mnt/t");
                }
                command.arg(root).arg("createrepo_c");
                command
            }
        }
    }
}

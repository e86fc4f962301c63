//! The createrepo_c's that the tests compare with: this machine's, PyPI's, and the client root's.

use super::{has_tool, in_client_root, skipped};
use std::path::{Path, PathBuf};
use std::process::Command;

/// One createrepo_c with its sister commands.
#[derive(Debug, Clone)]
pub struct Reference {
    /// For messages.
    pub label: String,
    /// `createrepo_c`; none is in the client root.
    program: Option<PathBuf>,
}

impl Reference {
    /// Those that are there; what is missing is said aloud. `CREATEREPO_C` names another one than
    /// the machine's.
    pub fn all() -> Vec<Self> {
        let machine = std::env::var("CREATEREPO_C").unwrap_or_else(|_| "createrepo_c".to_owned());
        let mut all = Vec::new();
        if has_tool(&machine) {
            all.push(Self {
                label: machine.clone(),
                program: Some(machine.into()),
            });
        }
        let cache = std::env::var_os("HALLMARK_CACHE")
            .map_or_else(|| PathBuf::from("/var/cache/hallmark"), PathBuf::from);
        let newest = cache.join("venv-createrepo/bin/createrepo_c");
        if newest.exists() {
            all.push(Self {
                label: "createrepo_c of PyPI".to_owned(),
                program: Some(newest),
            });
        } else {
            skipped("there is no createrepo_c of PyPI: tests/lab/make-venv.sh createrepo makes it");
        }
        if in_client_root(Path::new("/"), &["createrepo_c"]).is_some() {
            all.push(Self {
                label: "createrepo_c of the client root".to_owned(),
                program: None,
            });
        }
        all
    }

    /// A run of `createrepo_c` or a sister; `@` at the start of an argument stands for `directory`.
    pub fn command(&self, name: &str, directory: &Path, arguments: &[&str]) -> Command {
        let placed = |place: &str| -> Vec<String> {
            arguments
                .iter()
                .map(|argument| argument.replacen('@', place, 1))
                .collect()
        };
        match &self.program {
            Some(program) => {
                let mut command = Command::new(program.with_file_name(name));
                if program.components().count() == 1 {
                    command = Command::new(name);
                }
                command.args(placed(directory.to_str().unwrap()));
                command
            }
            None => {
                let mut all = vec![name.to_owned()];
                all.extend(placed("/mnt/t"));
                let all: Vec<&str> = all.iter().map(String::as_str).collect();
                in_client_root(directory, &all).unwrap()
            }
        }
    }

    /// Those that write as 1.x does.
    pub fn all_of_1_2() -> Vec<Self> {
        let all = Self::all().into_iter();
        all.filter(Self::writes_as_1_2).collect()
    }

    /// Whether it writes as 1.x does; 0.x has other forms of empty elements.
    pub fn writes_as_1_2(&self) -> bool {
        let mut command = self.command("createrepo_c", Path::new("/"), &["--version"]);
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).contains("Version: 1.")
    }
}

/// A createrepo_c with an old libxml2 writes `&#xED;` for `í` in attributes, which means the same.
pub fn characters(text: &str) -> String {
    let mut pieces = text.split("&#x");
    let mut out = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let (digits, rest) = piece.split_once(';').unwrap();
        match char::from_u32(u32::from_str_radix(digits, 16).unwrap()) {
            Some(c) if !c.is_ascii() => out.push(c),
            _ => out.push_str(&format!("&#x{digits};")),
        }
        out.push_str(rest);
    }
    out
}

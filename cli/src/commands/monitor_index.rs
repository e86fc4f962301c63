//! What a monitor knows as static files, for any web server: who said what about which package, and where in the
//! log.
//!
//! ```text
//! index.json          {"schema": "hallmark-log-index/1", "origin": ..., "size": ..., "root": ..., "names": N}
//! names/hello.json    {"name": "hello", "files": {"hello-2.12-1.x86_64.rpm": [{"index": 5, "kind": ..., ...}]}}
//! ```
//!
//! Each file is replaced whole, `index.json` last: it says up to which entry the others go at least. They only ever
//! grow, so whoever reads while they are written misses nothing that was there before.

use crate::failure::Failure;
use repo_model::Nevra;
use repo_model::log::Checkpoint;
use repo_model::monitor::{Memory, Said};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

const SCHEMA: &str = "hallmark-log-index/1";

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    schema: String,
    origin: String,
    /// Entries up to here are in the files.
    size: u64,
    /// Root over them, base64.
    root: String,
    /// Files below `names/`.
    names: usize,
}

#[derive(Debug, Serialize)]
struct Name<'a> {
    name: &'a str,
    files: BTreeMap<&'a str, &'a [Said]>,
}

/// Writes the files of all names about which something was said since entry `before`; all of them when the folder
/// does not go up to there.
pub(super) fn publish(
    dir: &Path,
    memory: &Memory,
    head: &Checkpoint,
    before: u64,
) -> Result<(), Failure> {
    let known = fs::read(dir.join("index.json")).ok();
    let known: Option<Index> = known.and_then(|json| serde_json::from_slice(&json).ok());
    let from = known
        .filter(|index| index.schema == SCHEMA && index.origin == head.origin)
        .map_or(0, |index| index.size.min(before));
    let mut names: BTreeMap<String, Name<'_>> = BTreeMap::new();
    let all: Vec<_> = memory
        .entries
        .iter()
        .filter_map(|(file, said)| Some((name_of(file)?, file, said)))
        .collect();
    for (name, file, said) in &all {
        let entry = names.entry(name.clone()).or_insert_with(|| Name {
            name,
            files: BTreeMap::new(),
        });
        entry.files.insert(file, said);
    }
    let is_new = |said: &Said| said.index >= from;
    for (file, name) in &names {
        if name.files.values().any(|said| said.iter().any(is_new)) {
            replace(dir, &format!("names/{file}.json"), name)?;
        }
    }
    let index = Index {
        schema: SCHEMA.to_owned(),
        origin: head.origin.clone(),
        size: head.size,
        root: head.root.to_base64(),
        names: names.len(),
    };
    replace(dir, "index.json", &index)
}

/// The name of a package by its file's; none of what is no package's, or could lead out of the folder.
fn name_of(file: &str) -> Option<String> {
    let nevra: Nevra = file.strip_suffix(".rpm")?.parse().ok()?;
    let fits = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    let good =
        !nevra.name.starts_with('.') && nevra.name.len() <= 200 && nevra.name.chars().all(fits);
    good.then_some(nevra.name)
}

/// Whole or not at all.
fn replace(dir: &Path, name: &str, content: &impl Serialize) -> Result<(), Failure> {
    let path = dir.join(name);
    let json = serde_json::to_vec(content).map_err(Failure::failed)?;
    let written = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(dir);
        fs::create_dir_all(folder)?;
        let mut file = tempfile::Builder::new()
            .prefix(".new-")
            .tempfile_in(folder)?;
        file.write_all(&json)?;
        file.as_file().sync_all()?;
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        file.as_file().set_permissions(readable)?;
        file.persist(&path)?;
        Ok(())
    };
    written().map_err(|error| Failure::failed(format!("cannot write {}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::FileDigest;
    use repo_model::log::NodeHash;

    fn said(index: u64) -> Said {
        Said {
            index,
            kind: "kind".to_owned(),
            statement: FileDigest::of(b"statement"),
            header: None,
        }
    }

    fn head(size: u64) -> Checkpoint {
        Checkpoint {
            origin: "log.example".to_owned(),
            size,
            root: NodeHash::from_bytes([7; 32]),
        }
    }

    fn read(dir: &Path, name: &str) -> serde_json::Value {
        serde_json::from_slice(&fs::read(dir.join(name)).unwrap()).unwrap()
    }

    #[test]
    fn names_lead_to_entries_and_only_what_changed_is_written_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::default();
        for (file, index) in [
            ("hello-1-1.x86_64.rpm", 0),
            ("hello-2-1.x86_64.rpm", 1),
            ("bash-5-1.noarch.rpm", 2),
            ("../../etc/passwd-1-1.noarch.rpm", 3),
            (".hidden-1-1.noarch.rpm", 4),
            ("no package", 5),
        ] {
            memory.entries.insert(file.to_owned(), vec![said(index)]);
        }
        publish(dir.path(), &memory, &head(6), 0).unwrap();
        let hello = read(dir.path(), "names/hello.json");
        assert_eq!(hello["name"], "hello");
        assert_eq!(hello["files"]["hello-2-1.x86_64.rpm"][0]["index"], 1);
        assert_eq!(hello["files"].as_object().unwrap().len(), 2);
        let index = read(dir.path(), "index.json");
        assert_eq!((&index["size"], &index["names"]), (&6.into(), &2.into()));
        let files = fs::read_dir(dir.path().join("names")).unwrap().count();
        assert_eq!(files, 2, "nothing else, and nowhere else");

        fs::write(dir.path().join("names/bash.json"), "untouched").unwrap();
        let hello = memory.entries.get_mut("hello-1-1.x86_64.rpm").unwrap();
        hello.push(said(6));
        publish(dir.path(), &memory, &head(7), 6).unwrap();
        let hello = read(dir.path(), "names/hello.json");
        assert_eq!(hello["files"]["hello-1-1.x86_64.rpm"][1]["index"], 6);
        let bash = fs::read(dir.path().join("names/bash.json")).unwrap();
        assert_eq!(bash, b"untouched");
        // A folder of another log, or one that lags, is written anew.
        fs::remove_file(dir.path().join("index.json")).unwrap();
        publish(dir.path(), &memory, &head(7), 7).unwrap();
        assert_eq!(read(dir.path(), "names/bash.json")["name"], "bash");
    }
}

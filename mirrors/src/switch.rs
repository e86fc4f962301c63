//! The moment at which new metadata takes the old one's place. There is never a moment without
//! `repodata/repomd.xml`.

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Puts `stage` in the place of `live`; afterwards `stage` is what was there, or gone.
///
/// `stage` must be complete and synced. After a crash at any point `live` holds a `repomd.xml`
/// and all files that it names, old or new.
pub fn switch(stage: &Path, live: &Path) -> io::Result<()> {
    sync_directory(stage)?;
    let parent = live.parent().unwrap_or(Path::new("."));
    if !live.exists() {
        fs::rename(stage, live)?;
        return sync_directory(parent);
    }
    match renameat_with(CWD, stage, CWD, live, RenameFlags::EXCHANGE) {
        Ok(()) => sync_directory(parent),
        // The file system cannot exchange two names.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => file_by_file(stage, live),
        Err(error) => Err(error.into()),
    }
}

/// Moves the files one by one, repomd.xml last, and removes those that are not new only then.
fn file_by_file(stage: &Path, live: &Path) -> io::Result<()> {
    let mut wanted = Vec::new();
    for entry in fs::read_dir(stage)? {
        wanted.push(entry?.file_name());
    }
    wanted.sort_by_key(|name| name == "repomd.xml");
    for name in &wanted {
        if name == "repomd.xml" {
            sync_directory(live)?;
        }
        fs::rename(stage.join(name), live.join(name))?;
    }
    sync_directory(live)?;
    for entry in fs::read_dir(live)? {
        let entry = entry?;
        if !wanted.contains(&entry.file_name()) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Makes the names in a directory durable.
pub fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn directory(root: &Path, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let path = root.join(name);
        fs::create_dir(&path).unwrap();
        for (file, text) in files {
            fs::write(path.join(file), text).unwrap();
        }
        path
    }

    #[test]
    fn both_methods_leave_the_new_files_and_nothing_else() {
        type Method = fn(&Path, &Path) -> io::Result<()>;
        let methods: [(&str, Method); 2] = [("exchange", switch), ("file by file", file_by_file)];
        for (method, switch) in methods {
            let root = tempfile::tempdir().unwrap();
            let live = directory(
                root.path(),
                "repodata",
                &[("repomd.xml", "1"), ("old", "1")],
            );
            let stage = directory(root.path(), "stage", &[("repomd.xml", "2"), ("new", "2")]);
            switch(&stage, &live).unwrap();
            let mut names: Vec<_> = fs::read_dir(&live)
                .unwrap()
                .map(|entry| entry.unwrap().file_name())
                .collect();
            names.sort();
            assert_eq!(names, ["new", "repomd.xml"], "{method}");
            assert_eq!(fs::read(live.join("repomd.xml")).unwrap(), b"2");
            assert!(!stage.join("new").exists());
        }
    }
}

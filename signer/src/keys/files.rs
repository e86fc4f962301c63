//! Files of keys: read with a limit and never when others can read them, written whole or not at all.

use super::KeyError;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use zeroize::Zeroizing;

/// Largest key file that is read, bytes.
const MAX_KEY_BYTES: u64 = 1 << 20;

pub(super) fn io_error<'p>(
    task: &'static str,
    path: &'p Path,
) -> impl FnOnce(io::Error) -> KeyError + 'p {
    move |source| KeyError::Io {
        task,
        path: path.to_owned(),
        source,
    }
}

/// Makes the state directory, for its owner only.
pub(crate) fn make_state_dir(dir: &Path) -> Result<(), KeyError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(io_error("create", dir))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(io_error("restrict", dir))
}

/// Makes a folder that everybody may look into (its parent decides); returns it.
pub(super) fn make_public_dir(dir: &Path) -> Result<std::path::PathBuf, KeyError> {
    fs::create_dir_all(dir).map_err(io_error("create", dir))?;
    Ok(dir.to_owned())
}

pub(super) fn read_public(path: &Path) -> Result<Vec<u8>, KeyError> {
    let mut bytes = Vec::new();
    open_file(path)?
        .take(MAX_KEY_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    Ok(bytes)
}

fn open_file(path: &Path) -> Result<File, KeyError> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => KeyError::Missing {
            path: path.to_owned(),
        },
        _ => io_error("read", path)(error),
    })
}

pub(crate) fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    read_unless(path, 0o077)
}

/// Reads a file that has none of these permission bits.
fn read_unless(path: &Path, forbidden: u32) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let file = open_file(path)?;
    let mode = file
        .metadata()
        .map_err(io_error("read", path))?
        .permissions()
        .mode()
        & 0o7777;
    if mode & forbidden != 0 {
        return Err(KeyError::TooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    // Room for all of it and a little more: a vector that grows leaves copies behind that nobody wipes.
    let length = file.metadata().map_err(io_error("read", path))?.len();
    let room = usize::try_from(length.min(MAX_KEY_BYTES)).unwrap_or(0) + 64;
    let mut bytes = Zeroizing::new(Vec::with_capacity(room));
    file.take(MAX_KEY_BYTES)
        .read_to_end(&mut bytes)
        .map_err(io_error("read", path))?;
    Ok(bytes)
}

pub(super) fn exists(path: &Path) -> Result<bool, KeyError> {
    path.try_exists().map_err(io_error("look for", path))
}

/// Creates a file whole or not at all; `false` when it was there already.
pub(crate) fn create(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<bool, KeyError> {
    let (temporary, path) = (dir.join(format!(".{name}.new")), dir.join(name));
    write_new(&temporary, bytes, mode)?;
    // A hard link refuses to replace, where a rename would not.
    let linked = fs::hard_link(&temporary, &path);
    fs::remove_file(&temporary).map_err(io_error("remove", &temporary))?;
    match linked {
        Ok(()) => sync_dir(dir).map(|()| true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(source) => Err(io_error("write", &path)(source)),
    }
}

pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let write = || -> io::Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)?;
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()
    };
    write().map_err(io_error("write", path))
}

pub(super) fn sync_dir(dir: &Path) -> Result<(), KeyError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io_error("sync", dir))
}

/// Puts a file in the place of another, whole or not at all; nothing happens when it is the same.
pub(super) fn replace(dir: &Path, name: &str, bytes: &[u8], mode: u32) -> Result<(), KeyError> {
    let path = dir.join(name);
    if fs::read(&path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let temporary = dir.join(format!(".{name}.new"));
    write_new(&temporary, bytes, mode)?;
    fs::rename(&temporary, &path).map_err(io_error("write", &path))?;
    sync_dir(dir)
}

/// Reads a credential that the service manager made readable for us alone. Its mode shows `r` for the group
/// when that was done with an access list (acl(5)); others must have nothing.
pub(super) fn read_credential(path: &Path) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    read_unless(path, 0o037)
}

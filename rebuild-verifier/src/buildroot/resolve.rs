//! From names of packages and repositories to a lock: DNF says what is needed, and each package that it
//! got is recorded by digest.

use super::{LayerError, LockFile, Store, install};
use crate::plan;
use repo_model::buildinfo::LockedPackage;
use repo_model::rpm::{Head, Package, signature};
use std::fs;
use std::path::{Path, PathBuf};

/// What a layer shall hold.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Base URLs of repositories; `file://` too.
    pub repos: Vec<String>,
    /// Names, or whatever else DNF takes for a package; what they need comes with them.
    pub packages: Vec<String>,
}

/// Resolves `wanted`, puts the packages into `store` and locks them. Needs root, as DNF does.
///
/// * `work_dir`: scratch space for metadata and packages.
pub fn resolve(wanted: &Wanted, store: &Store, work_dir: &Path) -> Result<LockFile, LayerError> {
    let scratch = crate::scratch::Scratch::create(work_dir).map_err(LayerError::io(format!(
        "make a directory below {}",
        work_dir.display()
    )))?;
    let (root, got) = (scratch.dir().join("root"), scratch.dir().join("got"));
    for dir in [&root, &got] {
        fs::create_dir(dir).map_err(LayerError::io(format!("make {}", dir.display())))?;
    }
    let mut words: Vec<String> = Vec::new();
    for (number, url) in wanted.repos.iter().enumerate() {
        words.push(format!("--repofrompath=wanted{number},{url}"));
        words.push(format!("--repo=wanted{number}"));
    }
    if install::tool()? == "dnf5" {
        words.extend(["download", "--resolve", "--alldeps"].map(str::to_owned));
        words.push(format!("--destdir={}", got.display()));
    } else {
        words.extend(["install", "--downloadonly"].map(str::to_owned));
        words.push(format!("--downloaddir={}", got.display()));
    }
    words.extend(wanted.packages.iter().cloned());
    install::run(&root, scratch.dir(), true, &words)?;

    let entries = fs::read_dir(&got).map_err(LayerError::io(format!("list {}", got.display())))?;
    let mut packages = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "rpm") {
            packages.push(lock_package(&path, urls(&path, wanted), store)?);
        }
    }
    Ok(LockFile::new(packages))
}

/// Puts a package into `store` and locks it by what it holds.
///
/// * `urls`: where others find it.
pub(crate) fn lock_package(
    path: &Path,
    urls: Vec<String>,
    store: &Store,
) -> Result<LockedPackage, LayerError> {
    let bad = |why: String| LayerError::Io {
        action: format!("read {}", path.display()),
        source: std::io::Error::other(why),
    };
    let head = plan::read_head(path).map_err(|error| bad(error.to_string()))?;
    let package = Package::from_head(&head).map_err(|error| bad(error.to_string()))?;
    let sha256 = store.add_package(path)?;
    let size_bytes = fs::metadata(path)
        .map_err(|error| bad(error.to_string()))?
        .len();
    Ok(LockedPackage {
        nevra: package.nevra,
        sha256,
        header_sha256: package.header_digest,
        size_bytes,
        urls,
        signer: signer(&head),
    })
}

/// Where a repository of files has it. Of others DNF does not tell; then the store is where it is.
fn urls(path: &Path, wanted: &Wanted) -> Vec<String> {
    let name = path.file_name().unwrap_or_default();
    let found = |repo: &String| -> Option<String> {
        let dir = Path::new(repo.strip_prefix("file://")?);
        let places: [PathBuf; 2] = [dir.join(name), dir.join("Packages").join(name)];
        let place = places.into_iter().find(|place| place.is_file())?;
        Some(format!("file://{}", place.display()))
    };
    wanted.repos.iter().filter_map(found).collect()
}

/// Issuer of the package's first OpenPGP signature.
fn signer(head: &Head) -> Option<String> {
    signature::openpgp_signatures(head)
        .iter()
        .find_map(|packet| issuer(packet))
}

/// Issuer fingerprint (subpacket 33), else issuer key id (16), of a signature packet of version 4 or 6
/// (RFC 9580, 5.2.3), in upper-case hex.
fn issuer(packet: &[u8]) -> Option<String> {
    let body = packet_body(packet)?;
    let version = *body.first()?;
    let wide = match version {
        4 => 2,
        6 => 4,
        _ => return None,
    };
    let mut key_id = None;
    let mut rest = body.get(4..)?;
    for _ in 0..2 {
        let length = rest
            .get(..wide)?
            .iter()
            .fold(0_usize, |sum, byte| (sum << 8) | usize::from(*byte));
        let mut area = rest.get(wide..)?.get(..length)?;
        rest = rest.get(wide + length..)?;
        while let Some((kind, value, next)) = subpacket(area) {
            match kind {
                33 => return Some(hex::encode_upper(value.get(1..)?)),
                16 => key_id = Some(hex::encode_upper(value)),
                _ => {}
            }
            area = next;
        }
    }
    key_id
}

/// The body of an OpenPGP packet of either header form; partial lengths are not used by signatures.
fn packet_body(packet: &[u8]) -> Option<&[u8]> {
    let tag = *packet.first()?;
    let skip = if tag & 0x40 == 0 {
        1 + (1_usize << (tag & 3))
    } else {
        match *packet.get(1)? {
            0..=191 => 2,
            192..=223 => 3,
            255 => 6,
            _ => return None,
        }
    };
    packet.get(skip..)
}

/// Kind, value and what follows.
fn subpacket(area: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (length, skip) = match *area.first()? {
        short @ 0..=191 => (usize::from(short), 1),
        high @ 192..=254 => {
            let low = usize::from(*area.get(1)?);
            (((usize::from(high) - 192) << 8) + low + 192, 2)
        }
        255 => {
            let bytes = area.get(1..5)?.try_into().ok()?;
            (usize::try_from(u32::from_be_bytes(bytes)).ok()?, 5)
        }
    };
    let content = area.get(skip..)?.get(..length)?;
    let (kind, value) = content.split_first()?;
    Some((kind & 0x7f, value, area.get(skip + length..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_read_out_of_a_signature_and_junk_has_none() {
        let fingerprint = [0xAB; 20];
        let mut hashed = vec![22, 33, 4];
        hashed.extend(fingerprint);
        let mut body = vec![4, 0, 22, 8, 0, u8::try_from(hashed.len()).unwrap()];
        body.extend(&hashed);
        body.extend([0, 10, 9, 16, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
        let mut packet = vec![0xC2, u8::try_from(body.len()).unwrap()];
        packet.extend(&body);
        assert_eq!(issuer(&packet), Some("AB".repeat(20)));
        // Without the fingerprint there is the key id.
        packet[9] = 34;
        assert_eq!(issuer(&packet).as_deref(), Some("0102030405060708"));
        for cut in 0..packet.len() {
            let _ = issuer(&packet[..cut]);
        }
        assert_eq!(issuer(b"junk"), None);
    }
}

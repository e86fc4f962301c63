//! What createrepo_c's family of commands has and we have not: refused by name with the reason, since
//! an option that is silently ignored makes another repository than the one that was asked for.

use crate::failure::Failure;
use repo_server::repodata::{ChecksumType, Codec};
use std::path::PathBuf;

/// Whether an option was given, its name, and why it is not supported.
pub type Refused<'a> = (bool, &'a str, &'a str);

/// Why there are no compression dictionaries, for three commands.
pub const NO_DICTIONARIES: &str =
    "zchunk is written without dictionaries: clients would have to fetch those first";

/// Refuses the first option of the table that was given.
pub fn refuse(table: &[Refused<'_>]) -> Result<(), Failure> {
    match table.iter().find(|(given, _, _)| *given) {
        Some((_, name, why)) => Err(Failure::usage(format!(
            "{name} is not supported, because {why}"
        ))),
        None => Ok(()),
    }
}

/// gz, zstd, xz or none, in createrepo_c's spelling.
pub fn codec(name: &str) -> Result<Codec, String> {
    match name {
        "gz" | "gzip" => Ok(Codec::Gzip),
        "zstd" | "zst" => Ok(Codec::ZSTD),
        "xz" => Ok(Codec::Xz),
        "none" => Ok(Codec::None),
        "bz2" => {
            Err("bz2 is not written, because every client that reads it reads gz too".to_owned())
        }
        "zck" => Err("zck alone leaves clients without zchunk outside; --zck adds it".to_owned()),
        _ => Err("the codecs are gz, zstd, xz and none".to_owned()),
    }
}

/// sha256 or sha512.
pub fn checksum(name: &str) -> Result<ChecksumType, String> {
    name.parse().map_err(|_| match name {
        "md5" | "sha" | "sha1" => {
            format!("{name} can be forged; the checksums are sha256 and sha512")
        }
        _ => "the checksums are sha256 and sha512".to_owned(),
    })
}

/// Where things are kept that outlive a run and can be lost: HALLMARK_CACHE, /var/cache/hallmark for
/// root, else the user's own cache; none for a user without a home.
pub fn cache_directory() -> Option<PathBuf> {
    use std::os::unix::fs::MetadataExt;
    let variable = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    if let Some(cache) = variable("HALLMARK_CACHE") {
        return Some(cache);
    }
    let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if is_root {
        return Some(PathBuf::from("/var/cache/hallmark"));
    }
    let own = variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")))?;
    Some(own.join("hallmark"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_written_is_refused_with_the_reason() {
        assert_eq!(codec("gz"), Ok(Codec::Gzip));
        for (name, reason) in [("bz2", "because"), ("zck", "--zck"), ("lzma", "gz, zstd")] {
            assert!(codec(name).unwrap_err().contains(reason), "{name}");
        }
        assert!(checksum("sha1").unwrap_err().contains("forged"));
        let table = [(false, "--a", "x"), (true, "--b", "it would bite")];
        let failure = refuse(&table).unwrap_err();
        assert_eq!(
            failure.message(),
            "error: --b is not supported, because it would bite"
        );
        assert!(refuse(&table[..1]).is_ok());
    }
}

//! Records that the operator adds to a repository by files: comps groups, advisories, module documents.
//!
//! The files are read and looked at once when a release is made, for all architectures, and are stored with it: a release
//! that was made does not change with them, and is the same bytes when it is made again from the same files. What happens
//! where a file cannot be listed: `carried`.

use crate::repodata::{Codec, ExtraRecord, GroupForm, Options, Profile};
use mirrors::reading::{Token, XmlReader};
use repo_model::config::{MetadataCodec, RepoConfig};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Largest file that is read. It is held in memory while the metadata of the repository is made, a few times over.
const MAX_BYTES: u64 = 64 << 20;

/// A file of the operator's cannot be listed.
#[derive(Debug, thiserror::Error)]
pub enum FurtherError {
    /// The operator's fault: it is missing or may not be read.
    #[error("`{}`, which [[repo]] {repo} lists as {record_type}, cannot be read", path.display())]
    Read {
        /// Repository.
        repo: String,
        /// `group`, `updateinfo`, `modules`.
        record_type: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The operator's fault: clients would fail on it.
    #[error("`{}`, which [[repo]] {repo} lists as {record_type}, cannot be listed: {why}", path.display())]
    Content {
        /// Repository.
        repo: String,
        /// `group`, `updateinfo`, `modules`.
        record_type: &'static str,
        /// The file.
        path: PathBuf,
        /// What and where.
        why: String,
    },
}

impl FurtherError {
    /// What the file is listed as.
    pub fn record_type(&self) -> &'static str {
        match self {
            Self::Read { record_type, .. } | Self::Content { record_type, .. } => record_type,
        }
    }
}

/// How the metadata of a repository is written.
pub fn options(config: &RepoConfig, changelog_limit: u32) -> Options {
    Options {
        codec: codec(config),
        zchunk: config.zchunk,
        changelog_limit: Some(changelog_limit as usize),
        ..profile(config).map_or_else(Options::default, Profile::options)
    }
}

/// Its compression.
pub fn codec(config: &RepoConfig) -> Codec {
    match config.codec() {
        MetadataCodec::Zstd => Codec::ZSTD,
        MetadataCodec::Gzip => Codec::Gzip,
    }
}

fn profile(config: &RepoConfig) -> Option<&'static Profile> {
    Profile::named(config.profile.name()).ok()
}

/// Reads the files that the configuration names for a repository: the records of each, or its fault. Blocking.
pub fn records(config: &RepoConfig) -> Vec<Result<Vec<ExtraRecord>, FurtherError>> {
    let mut all = Vec::new();
    let mut take = |record_type, read: Result<Vec<u8>, FurtherError>| {
        all.push(read.map(|bytes| listed(config, record_type, bytes)));
    };
    if let Some(path) = &config.groups {
        take("group", xml(config, "group", path, "comps"));
    }
    if let Some(path) = &config.updateinfo {
        take("updateinfo", xml(config, "updateinfo", path, "updates"));
    }
    if let Some(path) = &config.modules {
        take("modules", yaml(config, "modules", path));
    }
    all
}

/// The records of this type with this content, not compressed, in the forms of the repository's profile.
pub fn listed(config: &RepoConfig, record_type: &str, bytes: Vec<u8>) -> Vec<ExtraRecord> {
    let codec = codec(config);
    let file_name = match record_type {
        "group" => "comps.xml",
        "modules" => "modules.yaml",
        _ => "updateinfo.xml",
    };
    match profile(config).filter(|profile| profile.groups == GroupForm::PlainAndGzip) {
        Some(profile) if record_type == "group" => profile.group_records(file_name, &bytes),
        _ => vec![record(record_type, file_name, bytes, codec)],
    }
}

fn record(record_type: &str, file_name: &str, bytes: Vec<u8>, codec: Codec) -> ExtraRecord {
    ExtraRecord {
        record_type: record_type.to_owned(),
        file_name: file_name.to_owned(),
        bytes,
        codec,
    }
}

fn content(
    config: &RepoConfig,
    record_type: &'static str,
    path: &Path,
    why: String,
) -> FurtherError {
    FurtherError::Content {
        repo: config.name.to_string(),
        record_type,
        path: path.to_owned(),
        why,
    }
}

fn read(
    config: &RepoConfig,
    record_type: &'static str,
    path: &Path,
) -> Result<Vec<u8>, FurtherError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes));
    read.map_err(|source| FurtherError::Read {
        repo: config.name.to_string(),
        record_type,
        path: path.to_owned(),
        source,
    })?;
    if bytes.len() as u64 > MAX_BYTES {
        let why = format!("it is larger than {MAX_BYTES} bytes");
        return Err(content(config, record_type, path, why));
    }
    Ok(bytes)
}

/// A text of the characters that YAML allows. Its structure is not looked at.
fn yaml(
    config: &RepoConfig,
    record_type: &'static str,
    path: &Path,
) -> Result<Vec<u8>, FurtherError> {
    let bytes = read(config, record_type, path)?;
    let why = match std::str::from_utf8(&bytes) {
        Err(error) => format!("it is not UTF-8 from byte {} on", error.valid_up_to()),
        Ok(text) => match text.char_indices().find(|(_, c)| !is_yaml(*c)) {
            Some((at, c)) => {
                let code = u32::from(c);
                format!("it has U+{code:04X} at byte {at}, which YAML does not allow")
            }
            None => return Ok(bytes),
        },
    };
    Err(content(config, record_type, path, why))
}

/// Characters of YAML streams (`c-printable`), and the byte order mark.
fn is_yaml(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' | '\u{85}' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        other => !other.is_control(),
    }
}

/// A well-formed document with this root element.
fn xml(
    config: &RepoConfig,
    record_type: &'static str,
    path: &Path,
    root: &str,
) -> Result<Vec<u8>, FurtherError> {
    let bytes = read(config, record_type, path)?;
    let mut xml = XmlReader::new(&bytes[..]);
    let found = loop {
        match xml.next() {
            Ok(Token::Start(start)) => break Ok(start.name().to_owned()),
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    let whole = found.and_then(|found| xml.finish().map(|()| found));
    match whole {
        Ok(found) if found == root => Ok(bytes),
        Ok(found) => {
            let why = format!("its root element is `{found}`, want `{root}`");
            Err(content(config, record_type, path, why))
        }
        Err(error) => Err(content(config, record_type, path, error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::config::Config;
    use std::fs;

    fn config(settings: &str) -> RepoConfig {
        let text = format!("[[repo]]\nname='a'\narches=['x86_64']\n{settings}");
        Config::read(&text, []).unwrap().repo.remove(0)
    }

    #[test]
    fn files_become_records_in_the_forms_of_the_profile() {
        let root = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            fs::write(root.path().join(name), text).unwrap();
            root.path().join(name).display().to_string()
        };
        let all = format!(
            "groups='{}'\nupdateinfo='{}'\nmodules='{}'\n",
            file(
                "c.xml",
                "<?xml version='1.0'?><!DOCTYPE comps PUBLIC 'x' 'y'><comps/>"
            ),
            file("u.xml", "<updates/>"),
            file("m.yaml", "---\n")
        );
        let types = |settings: &str| -> Vec<String> {
            let records = records(&config(&format!("{all}{settings}"))).into_iter();
            let records: Vec<ExtraRecord> = records.flat_map(Result::unwrap).collect();
            let suffix = |record: &ExtraRecord| record.codec.suffix();
            let line = |record: &ExtraRecord| format!("{}{}", record.record_type, suffix(record));
            records.iter().map(line).collect()
        };
        assert_eq!(types(""), ["group.zst", "updateinfo.zst", "modules.zst"]);
        assert_eq!(
            types("metadata_codec='gzip'"),
            ["group.gz", "updateinfo.gz", "modules.gz"]
        );
        assert_eq!(
            types("profile='el7'"),
            ["group", "group_gz.gz", "updateinfo.gz", "modules.gz"]
        );
        let el7 = options(&config("profile='el7'\nzchunk=true"), 3);
        assert!(el7.open_checksums && el7.zchunk && el7.changelog_limit == Some(3));
        assert_eq!(el7.codec, Codec::Gzip);
        assert_eq!(options(&config(""), 10), Options::default());
    }

    #[test]
    fn a_file_that_clients_would_fail_on_is_named_with_its_fault() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("x");
        for (setting, text, wanted) in [
            ("groups", &b"<comps><group></comps>"[..], "not well-formed"),
            (
                "groups",
                b"<updates/>",
                "root element is `updates`, want `comps`",
            ),
            ("updateinfo", b"<updates>\x1b</updates>", "U+001B"),
            (
                "updateinfo",
                b"<!DOCTYPE x [<!ENTITY a 'b'>]><updates/>",
                "document type",
            ),
            ("updateinfo", b"", "no element"),
            ("modules", b"---\n\xff", "not UTF-8 from byte 4"),
            ("modules", b"---\na: \0b\n", "U+0000 at byte 7"),
        ] {
            fs::write(&path, text).unwrap();
            let config = config(&format!("{setting}='{}'", path.display()));
            let error = records(&config).remove(0).unwrap_err().to_string();
            assert!(error.contains(wanted), "{setting}: {error}");
        }
        fs::remove_file(&path).unwrap();
        let config = config(&format!("groups='{}'", path.display()));
        let read = records(&config).remove(0);
        assert!(matches!(read, Err(FurtherError::Read { .. })));
        let large = File::create(&path).unwrap();
        large.set_len(MAX_BYTES + 1).unwrap();
        let error = records(&config).remove(0).unwrap_err().to_string();
        assert!(error.contains("larger than 67108864 bytes"), "{error}");
    }
}

//! The packages of a repository as its metadata describes them, for an SBOM of the release.
//!
//! `primary` has identity, licence, digests and dependencies; requirements that name files outside
//! the usual folders need `filelists` as well. Nothing of the packages themselves is read.

use super::is_safe_href;
use super::published::Published;
use crate::publish::sbom_listing;
use mirrors::reading::{
    Algorithm, Packed, REPOMD, REPOMD_MAX_BYTES, RecordClaim, Repomd, Source, SourceError, Start,
    Token, Version, XmlError, XmlReader, each_package, read_small, read_version as version,
};
use repo_model::rpm::{Dependency, DependencyFlags};
use repo_model::{Evr, Nevra, Timestamp};
use sbom_gen::{IndexFile, Member, Options, Release, ReleaseBuilder, ReleaseInfo, SbomError};
use std::io::BufRead;

/// A repository's packages cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseReadError {
    /// The server's fault for a while, or the repository's for good: the source says which.
    #[error("cannot open `{path}`")]
    Open {
        /// Path below the repository.
        path: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// The bytes stopped coming or do not decompress.
    #[error("cannot read `{path}`")]
    Read {
        /// Path below the repository.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The repository's fault.
    #[error("`{path}` is malformed")]
    Malformed {
        /// Path below the repository.
        path: String,
        /// What and where.
        #[source]
        source: XmlError,
    },
    /// The repository's fault, or somebody's on the way; retry when it is being updated.
    #[error("`{path}` is not the file that repomd.xml names: its checksum differs")]
    Checksum {
        /// Path below the repository.
        path: String,
    },
    /// The repository's fault.
    #[error("repomd.xml names no usable `{record}`")]
    Record {
        /// Type of the record.
        record: &'static str,
    },
    /// The configuration's fault, or a repository beyond all measure.
    #[error("`{package}` cannot stand in a release")]
    Package {
        /// Its NEVRA.
        package: String,
        /// Why.
        #[source]
        source: SbomError,
    },
}

/// The release that a repository's metadata describes. Equal metadata, `about` and `options` give an equal
/// release, wherever it is read from.
///
/// * `about`: what the metadata does not say. `index` is always set here; `created` and `version`, where
///   they are not given, are the revision, which createrepo_c and Hallmark make of the time.
///
/// The checksums of all files are compared with what `repomd.xml` says of them.
pub fn read_release(
    source: &dyn Source,
    about: ReleaseInfo,
    options: &Options,
) -> Result<Release, ReleaseReadError> {
    let path = || REPOMD.to_owned();
    let text = read_small(source, REPOMD, REPOMD_MAX_BYTES).map_err(|source| {
        let path = path();
        ReleaseReadError::Open { path, source }
    })?;
    let repomd = Repomd::parse(&text).map_err(|source| {
        let path = path();
        ReleaseReadError::Malformed { path, source }
    })?;
    let revision = repomd.revision.trim();
    let time = || revision.parse().ok().map(Timestamp::from_unix_secs);
    let named = || Some(revision.to_owned()).filter(|revision| !revision.is_empty());
    let info = ReleaseInfo {
        created: about.created.or_else(time),
        version: about.version.or_else(named),
        index: Some(IndexFile::new(REPOMD, &text)),
        ..about
    };
    let mut release = ReleaseBuilder::new(info, options);
    add_packages(source, &repomd, &mut release)?;
    Ok(release.finish())
}

/// Adds every package of a repository to a release, files included.
fn add_packages(
    source: &dyn Source,
    repomd: &Repomd,
    release: &mut ReleaseBuilder<'_>,
) -> Result<(), ReleaseReadError> {
    let mut published = Published::default();
    if repomd
        .of_type(sbom_listing::INDEX)
        .any(|claim| is_usable(&claim))
    {
        with_record(source, repomd, sbom_listing::INDEX, |input, _| {
            published = Published::read(input);
            Ok(())
        })?;
    }
    with_record(source, repomd, "primary", |input, path| {
        let mut refused = None;
        each_package(input, "metadata", |start, xml| {
            // Old repositories may hold other types (`patch`); only packages count.
            let is_rpm = start.attribute("type")?.is_none_or(|kind| kind == "rpm");
            let mut member = member(xml)?;
            if is_rpm && refused.is_none() {
                published.tell(&mut member);
                let package = member.nevra.to_string();
                refused = release.add(member).err().map(|source| (package, source));
            }
            Ok(())
        })
        .map_err(|source| ReleaseReadError::Malformed { path, source })?;
        match refused {
            Some((package, source)) => Err(ReleaseReadError::Package { package, source }),
            None => Ok(()),
        }
    })?;
    if repomd.of_type("filelists").next().is_some() {
        add_files(source, repomd, release)?;
    }
    Ok(())
}

fn add_files(
    source: &dyn Source,
    repomd: &Repomd,
    release: &mut ReleaseBuilder<'_>,
) -> Result<(), ReleaseReadError> {
    let digests = release.file_digests();
    with_record(source, repomd, "filelists", |input, path| {
        each_package(input, "filelists", |start, xml| {
            let package = start.required("pkgid")?.to_ascii_lowercase();
            let mut files = Vec::new();
            loop {
                match xml.next()? {
                    Token::Start(child) if child.name() == "file" => files.push(xml.text()?),
                    Token::Start(_) => xml.skip()?,
                    Token::Text(_) => {}
                    Token::End | Token::Eof => break,
                }
            }
            let files = files.iter().map(String::as_str);
            release.add_files(&package, files, &digests);
            Ok(())
        })
        .map(|_| ())
        .map_err(|source| ReleaseReadError::Malformed { path, source })
    })
}

/// Opens a record's file, hands it on, and compares its checksum when all of it was read.
fn with_record(
    source: &dyn Source,
    repomd: &Repomd,
    record: &'static str,
    read: impl FnOnce(&mut Packed<'_>, String) -> Result<(), ReleaseReadError>,
) -> Result<(), ReleaseReadError> {
    let claim = repomd.of_type(record).find(is_usable);
    let claim = claim.ok_or(ReleaseReadError::Record { record })?;
    let path = || claim.href.clone();
    let stream = source.open(&claim.href).map_err(|source| {
        let path = path();
        ReleaseReadError::Open { path, source }
    })?;
    let failed = |source| {
        let path = path();
        ReleaseReadError::Read { path, source }
    };
    let mut packed = Packed::new(stream.reader, claim).map_err(failed)?;
    read(&mut packed, path())?;
    let found = packed.finish().map_err(failed)?;
    match (&claim.checksum, found.hex) {
        (Some(wanted), Some(found)) if wanted.hex != found => {
            let path = path();
            Err(ReleaseReadError::Checksum { path })
        }
        _ => Ok(()),
    }
}

/// Whether the record's file is of this repository.
fn is_usable(claim: &&RecordClaim) -> bool {
    claim.base.is_none() && is_safe_href(&claim.href)
}

/// One `<package>` of primary, whose start tag has been read.
fn member<R: BufRead>(xml: &mut XmlReader<R>) -> Result<Member, XmlError> {
    let (mut name, mut arch, mut evr) = (String::new(), String::new(), Version::default());
    let mut facts = Facts::default();
    loop {
        match xml.next()? {
            Token::Start(child) => match child.name() {
                "name" => name = xml.text()?,
                "arch" => arch = xml.text()?,
                "version" => {
                    evr = version(&child)?;
                    xml.skip()?;
                }
                _ => field(&mut facts, &child, xml)?,
            },
            Token::Text(_) => {}
            Token::End | Token::Eof => break,
        }
    }
    let wrong = format!("the epoch of `{name}` is `{}`, want a number", evr.epoch);
    let epoch = evr.epoch.trim().parse().map_err(|_| xml.fault(wrong))?;
    if name.is_empty() || arch.is_empty() {
        return Err(xml.fault("a package has no name or no arch"));
    }
    let is_source = matches!(arch.as_str(), "src" | "nosrc");
    let nevra = Nevra {
        name,
        evr: Evr {
            epoch,
            version: evr.version,
            release: evr.release,
        },
        arch,
    };
    let mut member = Member::named(nevra, is_source);
    member.source_rpm = facts.source_rpm.filter(|_| !is_source);
    member.license = facts.license;
    member.vendor = facts.vendor;
    member.summary = facts.summary;
    member.url = facts.url;
    member.build_time = facts.build_time;
    member.digests = facts.digests;
    member.location = facts.location;
    member.provides = facts.provides;
    member.requires = facts.requires;
    member.recommends = facts.recommends;
    member.suggests = facts.suggests;
    member.files = facts.files;
    Ok(member)
}

/// What primary says of a package besides its identity.
#[derive(Default)]
struct Facts {
    source_rpm: Option<String>,
    license: String,
    vendor: Option<String>,
    summary: String,
    url: Option<String>,
    build_time: Option<Timestamp>,
    digests: Vec<(sbom_gen::Algorithm, String)>,
    location: Option<String>,
    provides: Vec<Dependency>,
    requires: Vec<Dependency>,
    recommends: Vec<Dependency>,
    suggests: Vec<Dependency>,
    files: Vec<String>,
}

fn field<R: BufRead>(
    facts: &mut Facts,
    child: &Start,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    match child.name() {
        "summary" => facts.summary = xml.text()?,
        "url" => facts.url = Some(xml.text()?),
        "checksum" => {
            let algorithm = Algorithm::named(&child.required("type")?).and_then(known);
            let hex = xml.text()?.trim().to_ascii_lowercase();
            let is_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            let digest = algorithm.filter(|_| is_hex);
            facts
                .digests
                .extend(digest.map(|algorithm| (algorithm, hex)));
        }
        "time" => {
            let built = child.number("build")?;
            let built = built.and_then(|secs| i64::try_from(secs).ok());
            facts.build_time = built.map(Timestamp::from_unix_secs);
            xml.skip()?;
        }
        "location" => {
            let href = child.required("href")?;
            facts.location = Some(match child.attribute("xml:base")? {
                Some(base) => format!("{}/{href}", base.trim_end_matches('/')),
                None => href,
            });
            xml.skip()?;
        }
        "format" => loop {
            match xml.next()? {
                Token::Start(child) => format_field(facts, &child, xml)?,
                Token::Text(_) => {}
                Token::End | Token::Eof => break,
            }
        },
        _ => xml.skip()?,
    }
    Ok(())
}

fn format_field<R: BufRead>(
    facts: &mut Facts,
    child: &Start,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    match child.name() {
        "license" => facts.license = xml.text()?,
        "vendor" => facts.vendor = Some(xml.text()?),
        "sourcerpm" => {
            // Some tools write the text that rpm prints for an absent tag.
            let name = xml.text()?;
            facts.source_rpm = Some(name).filter(|name| !name.is_empty() && name != "(none)");
        }
        "file" => facts.files.push(xml.text()?),
        "provides" => facts.provides = dependencies(xml)?,
        "requires" => facts.requires = dependencies(xml)?,
        "recommends" => facts.recommends = dependencies(xml)?,
        "suggests" => facts.suggests = dependencies(xml)?,
        _ => xml.skip()?,
    }
    Ok(())
}

fn dependencies<R: BufRead>(xml: &mut XmlReader<R>) -> Result<Vec<Dependency>, XmlError> {
    let mut found = Vec::new();
    loop {
        match xml.next()? {
            Token::Start(child) => {
                if child.name() == "entry" {
                    found.push(dependency(&child)?);
                }
                xml.skip()?;
            }
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(found),
        }
    }
}

/// RPMSENSE_SCRIPT_PRE, which is what `pre="1"` comes down to.
const SENSE_PRE: u32 = 1 << 9;

fn dependency(entry: &Start) -> Result<Dependency, XmlError> {
    let flags = entry.attribute("flags")?;
    let flags = flags.as_deref().and_then(|flags| {
        Some(match flags {
            "LT" => DependencyFlags::Lt,
            "GT" => DependencyFlags::Gt,
            "EQ" => DependencyFlags::Eq,
            "LE" => DependencyFlags::Le,
            "GE" => DependencyFlags::Ge,
            _ => return None,
        })
    });
    let epoch = entry.attribute("epoch")?.filter(|epoch| epoch != "0");
    let epoch = epoch.map_or(String::new(), |epoch| format!("{epoch}:"));
    let release = entry.attribute("rel")?;
    let release = release.map_or(String::new(), |release| format!("-{release}"));
    let version = entry.attribute("ver")?;
    let version = version.map(|version| format!("{epoch}{version}{release}"));
    let is_pre = entry.attribute("pre")?.is_some_and(|pre| pre == "1");
    Ok(Dependency {
        name: entry.required("name")?,
        version: flags.zip(version),
        sense: if is_pre { SENSE_PRE } else { 0 },
    })
}

fn known(algorithm: Algorithm) -> Option<sbom_gen::Algorithm> {
    match algorithm {
        Algorithm::Md5 => None,
        Algorithm::Sha1 => Some(sbom_gen::Algorithm::Sha1),
        Algorithm::Sha224 => Some(sbom_gen::Algorithm::Sha224),
        Algorithm::Sha256 => Some(sbom_gen::Algorithm::Sha256),
        Algorithm::Sha384 => Some(sbom_gen::Algorithm::Sha384),
        Algorithm::Sha512 => Some(sbom_gen::Algorithm::Sha512),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repocheck::Directory;

    const PRIMARY: &str = r#"<metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">
<package type="rpm"><name>a</name><arch>noarch</arch><version epoch="3" ver="1" rel="2"/>
<checksum type="sha256" pkgid="YES">AB</checksum><summary>s</summary><time file="1" build="1700000000"/>
<location xml:base="https://b.example/" href="x/a.rpm"/>
<format><rpm:license>MIT</rpm:license><rpm:vendor>V</rpm:vendor><rpm:sourcerpm>(none)</rpm:sourcerpm>
<rpm:provides><rpm:entry name="a" flags="EQ" epoch="3" ver="1" rel="2"/></rpm:provides>
<rpm:requires><rpm:entry name="/opt/b" pre="1"/><rpm:entry name="b" flags="GE" epoch="0" ver="2"/></rpm:requires>
</format></package>
<package type="rpm"><name>b</name><arch>src</arch><version ver="2" rel="1"/>
<checksum type="md5" pkgid="YES">cd</checksum><location href="b.src.rpm"/>
<format><rpm:sourcerpm>b-2-1.src.rpm</rpm:sourcerpm></format></package></metadata>"#;

    fn members(primary: &str) -> Result<Vec<Member>, XmlError> {
        let mut found = Vec::new();
        each_package(primary.as_bytes(), "metadata", |_, xml| {
            found.push(member(xml)?);
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn a_package_of_primary_becomes_one_of_the_release() {
        let found = members(PRIMARY).unwrap();
        let [a, b] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(a.nevra.to_string(), "a-3:1-2.noarch");
        assert_eq!(a.location.as_deref(), Some("https://b.example/x/a.rpm"));
        assert_eq!(a.source_rpm, None);
        assert_eq!(a.build_time, Some(Timestamp::from_unix_secs(1_700_000_000)));
        let version = |one: &Dependency| one.version.clone().map(|(_, version)| version);
        assert_eq!(version(&a.provides[0]).as_deref(), Some("3:1-2"));
        assert_eq!(
            (a.requires[0].sense, version(&a.requires[1]).as_deref()),
            (SENSE_PRE, Some("2"))
        );
        // A source package names no source, and MD5 is no digest.
        assert!(b.is_source && b.source_rpm.is_none() && b.digests.is_empty());
        let broken = PRIMARY.replace(
            "epoch=\"3\" ver=\"1\" rel=\"2\"/>\n<checksum",
            "epoch=\"x\" ver=\"1\"/>\n<checksum",
        );
        assert!(
            members(&broken)
                .unwrap_err()
                .to_string()
                .contains("the epoch of `a` is `x`")
        );
    }

    #[test]
    fn files_come_from_filelists_and_records_that_leave_the_root_are_not_opened() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
        std::fs::create_dir(root.path().join("repodata")).unwrap();
        let other = PRIMARY.replace(
            "<checksum type=\"md5\" pkgid=\"YES\">cd",
            "<checksum type=\"sha256\" pkgid=\"YES\">cd",
        );
        write(
            "primary.xml",
            &other.replace("<arch>src</arch>", "<arch>noarch</arch>"),
        );
        write(
            "filelists.xml",
            r#"<filelists packages="1"><package pkgid="cd" name="b" arch="noarch"><version ver="2" rel="1"/><file>/opt/b</file></package></filelists>"#,
        );
        let repomd = |primary: &str| {
            format!(
                r#"<repomd><revision>7</revision><data type="primary"><location href="{primary}"/></data><data type="filelists"><location href="filelists.xml"/></data></repomd>"#
            )
        };
        let source = Directory::new(root.path());
        let options = Options::default();
        let read = |primary: &str| {
            write("repodata/repomd.xml", &repomd(primary));
            read_release(&source, ReleaseInfo::default(), &options)
        };
        let release = read("primary.xml").unwrap();
        assert_eq!(release.len(), 2);
        let unresolved: Vec<_> = release
            .unresolved()
            .map(|(_, text)| text.to_owned())
            .collect();
        // `b` does not provide its own name there; its file is known from filelists.
        assert_eq!(unresolved, ["b >= 2"]);
        assert!(matches!(
            read("../primary.xml"),
            Err(ReleaseReadError::Record { .. })
        ));
        assert!(matches!(
            read("absent.xml"),
            Err(ReleaseReadError::Open { .. })
        ));
    }
}

//! Reading primary, filelists and other with what they say of each package, for the comparison with headers.

use super::facts::{
    Changes, Entry, Facts, FileTelling, Files, Telling, TooMany, dependency_list, field, text_field,
};
use mirrors::reading::{
    Announced, ListedPackage, PackageClaim, Start, Token, XmlError, XmlReader, each_package,
};
use std::collections::HashMap;
use std::hash::RandomState;
use std::io::BufRead;

/// The packages of a repository and what its files say of them.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// In the order of primary.
    pub claims: Vec<PackageClaim>,
    /// What is said of each; nothing where packages are not looked at.
    pub told: Vec<Told>,
    /// Where the lists are, by their types.
    pub hrefs: HashMap<&'static str, String>,
    /// Makes the hashes of this check, which nobody can foresee.
    pub hash: RandomState,
}

/// What the files of a repository say of one package.
#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    /// In primary; none when packages are not compared.
    pub primary: Option<Facts>,
    /// In filelists.
    pub filelists: Option<Place<Files>>,
    /// In other.
    pub other: Option<Place<Changes>>,
    /// In filelists-ext, with the name of the digests.
    pub filelists_ext: Option<Place<(String, Files)>>,
}

/// What a file says, and where.
#[derive(Debug, Clone)]
pub(super) struct Place<T> {
    /// Where the package's element starts.
    pub offset: u64,
    pub said: T,
}

/// One package of a list beside primary.
pub(super) struct Listed {
    pub package: ListedPackage,
    pub said: Said,
    /// How many entries repeat a file's path.
    pub repeated: u64,
}

/// What a list says of a package.
pub(super) enum Said {
    Files(Files),
    FilesWithDigests(String, Files),
    Changes(Changes),
}

impl Told {
    /// Takes in what a list says.
    pub fn take(&mut self, offset: u64, said: Said) {
        match said {
            Said::Files(said) => self.filelists = Some(Place { offset, said }),
            Said::FilesWithDigests(name, said) => {
                let said = (name, said);
                self.filelists_ext = Some(Place { offset, said });
            }
            Said::Changes(said) => self.other = Some(Place { offset, said }),
        }
    }
}

/// Reads primary; `take` gets each package with what is said of it.
pub(super) fn read_primary(
    input: impl BufRead,
    hash: &RandomState,
    mut take: impl FnMut(PackageClaim, Facts),
) -> Result<Announced, XmlError> {
    each_package(input, "metadata", |start, xml| {
        // Old repositories may hold other types (`patch`); only packages count.
        let is_rpm = start.attribute("type")?.is_none_or(|kind| kind == "rpm");
        let mut claim = PackageClaim::begin(xml);
        let mut telling = Telling::new(hash);
        loop {
            match xml.next()? {
                Token::Start(child) => primary_child(&mut claim, &mut telling, &child, xml)?,
                Token::Text(_) => {}
                Token::End | Token::Eof => break,
            }
        }
        let claim = claim.complete()?;
        if is_rpm {
            take(claim, telling.finish());
        }
        Ok(())
    })
}

fn primary_child<R: BufRead>(
    claim: &mut PackageClaim,
    telling: &mut Telling<'_>,
    child: &Start,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    match child.name() {
        "format" => loop {
            match xml.next()? {
                Token::Start(child) => format_child(claim, telling, &child, xml)?,
                Token::Text(_) => {}
                Token::End | Token::Eof => return Ok(()),
            }
        },
        "time" => number(telling, child, "time build", "build")?,
        "size" => {
            number(telling, child, "size installed", "installed")?;
            number(telling, child, "size archive", "archive")?;
        }
        name => {
            if let Some(field) = text_field(name) {
                telling.value(field, &xml.text()?);
                return Ok(());
            }
        }
    }
    claim.take_child(child, xml)
}

fn number(
    telling: &mut Telling<'_>,
    child: &Start,
    name: &str,
    attribute: &str,
) -> Result<(), XmlError> {
    if let (Some(field), Some(value)) = (field(name), child.attribute(attribute)?) {
        telling.value(field, &value);
    }
    Ok(())
}

fn format_child<R: BufRead>(
    claim: &mut PackageClaim,
    telling: &mut Telling<'_>,
    child: &Start,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    let name = child.name();
    if name == "file" {
        let kind = kind(child)?;
        let path = xml.text()?;
        return telling
            .file(&path, &kind)
            .map_err(|many| too_many(xml, many));
    }
    if let Some(field) = text_field(name) {
        telling.value(field, &xml.text()?);
        return Ok(());
    }
    let Some(list) = dependency_list(name) else {
        return claim.take_format_child(child, xml);
    };
    loop {
        match xml.next()? {
            Token::Start(entry) => {
                if entry.name() == "entry" {
                    dependency(telling, list, &entry)?.map_err(|many| too_many(xml, many))?;
                }
                xml.skip()?;
            }
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(()),
        }
    }
}

fn dependency(
    telling: &mut Telling<'_>,
    list: usize,
    entry: &Start,
) -> Result<Result<(), TooMany>, XmlError> {
    let part = |name| Ok::<_, XmlError>(entry.attribute(name)?.unwrap_or_default());
    let pre = entry.attribute("pre")?;
    Ok(telling.dependency(
        list,
        Entry {
            name: &entry.required("name")?,
            flags: &part("flags")?,
            epoch: &part("epoch")?,
            version: &part("ver")?,
            release: &part("rel")?,
            pre: pre.is_some_and(|pre| pre != "0"),
        },
    ))
}

/// `dir`, `ghost`, or nothing for a plain file.
fn kind(file: &Start) -> Result<String, XmlError> {
    let kind = file.attribute("type")?;
    Ok(kind.filter(|kind| kind != "file").unwrap_or_default())
}

fn too_many<R: BufRead>(xml: &XmlReader<R>, many: TooMany) -> XmlError {
    xml.fault(many.to_string())
}

/// Reads filelists (root `filelists`), other (`otherdata`) or filelists-ext.
pub(super) fn read_listed(
    input: impl BufRead,
    root: &str,
    hash: &RandomState,
    mut take: impl FnMut(Listed),
) -> Result<Announced, XmlError> {
    each_package(input, root, |start, xml| {
        let mut package = ListedPackage::begin(start, xml)?;
        let mut files = FileTelling::new(hash);
        let mut changes = Changes::default();
        let mut digests = String::new();
        loop {
            match xml.next()? {
                Token::Start(child) => match child.name() {
                    "file" => {
                        let digest = child.attribute("hash")?.unwrap_or_default();
                        let (kind, path) = (kind(&child)?, xml.text()?);
                        files
                            .file(&path, &kind, &digest)
                            .map_err(|many| too_many(xml, many))?;
                    }
                    "changelog" => change(&mut changes, hash, &child, xml)?,
                    "checksum" => {
                        digests = child.attribute("type")?.unwrap_or_default();
                        xml.skip()?;
                    }
                    _ => package.take_child(&child, xml)?,
                },
                Token::Text(_) => {}
                Token::End | Token::Eof => break,
            }
        }
        let repeated = files.repeated;
        let said = match root {
            "otherdata" => Said::Changes(changes),
            "filelists" => Said::Files(files.finish()),
            _ => Said::FilesWithDigests(digests, files.finish()),
        };
        take(Listed {
            package,
            said,
            repeated,
        });
        Ok(())
    })
}

fn change<R: BufRead>(
    changes: &mut Changes,
    hash: &RandomState,
    child: &Start,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    let author = child.attribute("author")?.unwrap_or_default();
    let date = child.attribute("date")?.unwrap_or_default();
    let date = date.trim().parse().unwrap_or(0);
    let body = xml.text()?;
    changes.tell(hash, &author, date, &body);
    Ok(())
}

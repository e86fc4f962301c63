//! Reading primary, filelists and other package by package, and what a check needs of each.

use super::sums::{Algorithm, Checksum};
use super::xml::{Start, Token, XmlError, XmlReader, shortened};
use std::io::BufRead;
use std::ops::Range;

/// Most packages that are read; Debian and Fedora have some ten thousand.
const PACKAGES_MAX: u64 = 5_000_000;

/// What the prefix `rpm` stands for in primary, where it is declared.
const RPM_NAMESPACE: &str = "http://linux.duke.edu/metadata/rpm";

/// What primary says about one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackageClaim {
    /// `<name>`.
    pub name: String,
    /// `<arch>`; `src` for source packages.
    pub arch: String,
    /// Epoch, version, release.
    pub version: Version,
    /// Of the file; its digits are the pkgid.
    pub checksum: Option<Checksum>,
    /// Bytes of the file; none when it is not said.
    pub size_bytes: Option<u64>,
    /// Path below the repository's root, as written.
    pub href: String,
    /// `xml:base`: the package is somewhere else.
    pub base: Option<String>,
    /// Bytes of the main header in the file.
    pub header_range: Option<(u64, u64)>,
    /// `<time file=>`, seconds since 1970; 0 when absent or no number.
    pub file_time: i64,
    /// Where its `location` element stands.
    pub location_span: Range<u64>,
    /// Where its element starts.
    pub offset: u64,
}

/// The `version` element, as written; an absent epoch is `0`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Version {
    /// A number, in a text that nobody checked.
    pub epoch: String,
    /// Version.
    pub version: String,
    /// Release; empty when absent.
    pub release: String,
}

impl PackageClaim {
    /// `name-[epoch:]version-release.arch`.
    pub fn nevra(&self) -> String {
        let Version {
            epoch,
            version,
            release,
        } = &self.version;
        let epoch = match epoch.as_str() {
            "0" => String::new(),
            epoch => format!("{epoch}:"),
        };
        format!("{}-{epoch}{version}-{release}.{}", self.name, self.arch)
    }

    /// The pkgid that the other files name it by.
    pub fn pkgid(&self) -> &str {
        self.checksum.as_ref().map_or("", |sum| &sum.hex)
    }

    /// For readers of their own: a claim whose `<package>` tag was just read. Then
    /// [`Self::take_child`] for each of its children, [`Self::take_format_child`] for each of those of
    /// `format` that the reader does not use itself, and [`Self::complete`].
    pub fn begin<R: BufRead>(xml: &XmlReader<R>) -> Self {
        Self {
            offset: xml.start_offset(),
            ..Self::default()
        }
    }

    /// Takes a child of `<package>` in, up to its end.
    pub fn take_child<R: BufRead>(
        &mut self,
        child: &Start,
        xml: &mut XmlReader<R>,
    ) -> Result<(), XmlError> {
        primary_field(self, child, xml)
    }

    /// Takes a child of `<format>` in, up to its end.
    pub fn take_format_child<R: BufRead>(
        &mut self,
        child: &Start,
        xml: &mut XmlReader<R>,
    ) -> Result<(), XmlError> {
        if child.name() == "header-range" {
            self.header_range = child.number("start")?.zip(child.number("end")?);
        }
        xml.skip()
    }

    /// The claim, when it has all that every package must have.
    pub fn complete(self) -> Result<Self, XmlError> {
        for (what, text) in [
            ("name", &self.name),
            ("arch", &self.arch),
            ("location", &self.href),
        ] {
            if text.is_empty() {
                return Err(XmlError {
                    offset: self.offset,
                    problem: super::xml::XmlProblem::Meaning(format!("a package has no {what}")),
                });
            }
        }
        Ok(self)
    }
}

impl ListedPackage {
    /// The attributes of a `<package>` tag that was just read.
    pub fn begin<R: BufRead>(start: &Start, xml: &XmlReader<R>) -> Result<Self, XmlError> {
        Ok(Self {
            pkgid: start.required("pkgid")?,
            name: start.required("name")?,
            arch: start.required("arch")?,
            version: Version::default(),
            offset: xml.start_offset(),
        })
    }

    /// Takes a child of `<package>` in, up to its end.
    pub fn take_child<R: BufRead>(
        &mut self,
        child: &Start,
        xml: &mut XmlReader<R>,
    ) -> Result<(), XmlError> {
        if child.name() == "version" {
            self.version = version(child)?;
        }
        xml.skip()
    }
}

/// What filelists and other say about one package.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedPackage {
    /// Digits of the package's checksum in primary.
    pub pkgid: String,
    /// Name.
    pub name: String,
    /// Architecture.
    pub arch: String,
    /// Epoch, version, release.
    pub version: Version,
    /// Where its element starts.
    pub offset: u64,
}

/// The root element's count of packages; none when it has none.
pub struct Announced(pub Option<u64>);

/// Reads primary; `take` gets the packages in their order.
pub fn read_primary(
    input: impl BufRead,
    mut take: impl FnMut(PackageClaim),
) -> Result<Announced, XmlError> {
    read_primary_spans(input, |claim, _| {
        take(claim);
        Ok(())
    })
}

/// The same; `take` also gets where each element stands, and may refuse it.
pub fn read_primary_spans(
    input: impl BufRead,
    mut take: impl FnMut(PackageClaim, Range<u64>) -> Result<(), XmlError>,
) -> Result<Announced, XmlError> {
    each_package(input, "metadata", |start, xml| {
        // Old repositories may hold other types (`patch`); only packages count.
        let is_rpm = start.attribute("type")?.is_none_or(|kind| kind == "rpm");
        let claim = package_claim(xml)?;
        if is_rpm {
            let span = claim.offset..xml.end_offset();
            take(claim, span)?;
        }
        Ok(())
    })
}

/// Reads filelists (root `filelists`), other (`otherdata`) or filelists-ext.
pub fn read_listed(
    input: impl BufRead,
    root: &str,
    mut take: impl FnMut(ListedPackage),
) -> Result<Announced, XmlError> {
    read_listed_spans(input, root, |listed, _| take(listed))
}

/// The same; `take` also gets where each element stands.
pub fn read_listed_spans(
    input: impl BufRead,
    root: &str,
    mut take: impl FnMut(ListedPackage, Range<u64>),
) -> Result<Announced, XmlError> {
    each_package(input, root, |start, xml| {
        let mut listed = ListedPackage::begin(start, xml)?;
        loop {
            match xml.next()? {
                Token::Start(child) => listed.take_child(&child, xml)?,
                Token::Text(_) => {}
                Token::End | Token::Eof => break,
            }
        }
        let span = listed.offset..xml.end_offset();
        take(listed, span);
        Ok(())
    })
}

/// Reads a list: `package` gets the start of each `<package>` and reads up to its end.
pub fn each_package<R: BufRead>(
    input: R,
    root: &str,
    mut package: impl FnMut(&Start, &mut XmlReader<R>) -> Result<(), XmlError>,
) -> Result<Announced, XmlError> {
    let mut xml = XmlReader::new(input);
    let mut announced = Announced(None);
    let mut count = 0;
    loop {
        let depth = xml.depth();
        match xml.next()? {
            Token::Start(start) if depth == 0 => {
                if start.name() != root {
                    let name = shortened(start.name());
                    return Err(xml.fault(format!("the root element is `{name}`, want `{root}`")));
                }
                let namespace = start.attribute("xmlns:rpm")?;
                if namespace.is_some_and(|namespace| namespace != RPM_NAMESPACE) {
                    return Err(xml.fault("the prefix `rpm` stands for an unknown namespace"));
                }
                announced = Announced(start.number("packages")?);
            }
            Token::Start(start) if start.name() == "package" => {
                count += 1;
                if count > PACKAGES_MAX {
                    return Err(xml.fault(format!("more than {PACKAGES_MAX} packages")));
                }
                package(&start, &mut xml)?;
            }
            Token::Start(_) => xml.skip()?,
            Token::End | Token::Text(_) => {}
            Token::Eof => return Ok(announced),
        }
    }
}

fn package_claim<R: BufRead>(xml: &mut XmlReader<R>) -> Result<PackageClaim, XmlError> {
    let mut claim = PackageClaim::begin(xml);
    loop {
        match xml.next()? {
            Token::Start(child) => claim.take_child(&child, xml)?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return claim.complete(),
        }
    }
}

fn primary_field<R: BufRead>(
    claim: &mut PackageClaim,
    child: &Start,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    match child.name() {
        "name" => claim.name = xml.text()?,
        "arch" => claim.arch = xml.text()?,
        "version" => {
            claim.version = version(child)?;
            xml.skip()?;
        }
        "checksum" => {
            let algorithm = Algorithm::named(&child.required("type")?);
            let hex = xml.text()?.trim().to_ascii_lowercase();
            claim.checksum = algorithm.map(|algorithm| Checksum { algorithm, hex });
        }
        "size" => {
            claim.size_bytes = child.number("package")?;
            xml.skip()?;
        }
        "time" => {
            let file = child.attribute("file")?.unwrap_or_default();
            claim.file_time = file.trim().parse().unwrap_or(0);
            xml.skip()?;
        }
        "location" => {
            claim.href = child.required("href")?;
            claim.base = child.attribute("xml:base")?;
            let from = xml.start_offset();
            xml.skip()?;
            claim.location_span = from..xml.end_offset();
        }
        "format" => format_children(claim, xml)?,
        _ => xml.skip()?,
    }
    Ok(())
}

fn format_children<R: BufRead>(
    claim: &mut PackageClaim,
    xml: &mut XmlReader<R>,
) -> Result<(), XmlError> {
    loop {
        match xml.next()? {
            Token::Start(child) => claim.take_format_child(&child, xml)?,
            Token::Text(_) => {}
            Token::End | Token::Eof => return Ok(()),
        }
    }
}

/// Reads the attributes of a `version` element.
pub fn version(start: &Start) -> Result<Version, XmlError> {
    Ok(Version {
        epoch: start.attribute("epoch")?.unwrap_or_else(|| "0".to_owned()),
        version: start.required("ver")?,
        release: start.attribute("rel")?.unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_of_primary_is_read_with_what_it_claims() {
        let text = r#"<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" packages="1">
<package type="rpm"><name>a&amp;b</name><arch>noarch</arch><version ver="1" rel="2"/>
<checksum type="sha256" pkgid="YES">AB</checksum><summary>s</summary>
<size package="5" installed="1" archive="2"/><location href="x/a.rpm"/>
<format><rpm:license>MIT</rpm:license><rpm:header-range start="3" end="4"/>
<rpm:provides><rpm:entry name="a"/></rpm:provides><file>/etc/a</file></format></package>
</metadata>"#;
        let mut claims = Vec::new();
        let announced = read_primary(text.as_bytes(), |claim| claims.push(claim)).unwrap();
        assert_eq!(announced.0, Some(1));
        let [claim] = &claims[..] else {
            panic!("{claims:?}");
        };
        assert_eq!(claim.nevra(), "a&b-1-2.noarch");
        assert_eq!(claim.pkgid(), "ab");
        assert_eq!(claim.size_bytes, Some(5));
        assert_eq!(claim.header_range, Some((3, 4)));
        assert_eq!(claim.href, "x/a.rpm");
    }

    #[test]
    fn filelists_and_other_name_their_packages() {
        let text = r#"<filelists packages="1"><package pkgid="ab" name="a" arch="x">
<version epoch="1" ver="2" rel="3"/><file type="dir">/usr</file></package></filelists>"#;
        let mut listed = Vec::new();
        read_listed(text.as_bytes(), "filelists", |package| listed.push(package)).unwrap();
        assert_eq!(listed[0].pkgid, "ab");
        assert_eq!(listed[0].version.epoch, "1");
        let error = read_listed(text.as_bytes(), "otherdata", |_| ()).map(|_| ());
        assert!(error.unwrap_err().to_string().contains("want `otherdata`"));
    }
}

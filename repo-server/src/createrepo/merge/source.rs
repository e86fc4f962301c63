//! One repository to merge: its lists, decompressed into nameless files, and where in them each
//! package's element stands.

use super::{MergeError, MergeInput};
use crate::createrepo::old::is_made_from_packages;
use mirrors::reading::{
    ListedPackage, PackageClaim, Packed, REPOMD_MAX_BYTES, RecordClaim, Repomd, Source, XmlError,
    XmlProblem, read_listed_spans, read_primary_spans, read_small,
};
use repo_model::{Evr, Nevra};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

const REPOMD: &str = "repodata/repomd.xml";
/// Advisories and groups are merged in memory; the largest of a distribution have some 100 MB.
const EXTRA_MAX_BYTES: u64 = 1 << 30;

/// The lists, in the order of a package's `spans`.
pub(super) const LISTS: [(&str, &str); 3] = [
    ("primary", "metadata"),
    ("filelists", "filelists"),
    ("other", "otherdata"),
];

/// A package that may be taken.
pub(super) struct Package {
    pub nevra: Nevra,
    /// Of the file, as primary has it: algorithm and digits.
    pub pkgid: String,
    pub href: String,
    /// `xml:base` as it will be written.
    pub base: Option<String>,
    /// `<time file=>`, seconds since 1970.
    pub file_time: i64,
    /// Where its elements stand; none where a list has none of it.
    pub spans: [Option<Range<u64>>; 3],
    /// Where the `location` element stands in primary.
    pub location: Range<u64>,
}

/// A record beside the lists, with its content.
pub(super) struct Extra {
    pub record_type: String,
    pub href: String,
    pub bytes: Vec<u8>,
}

/// A repository that was read and found sound.
pub(super) struct Repository {
    pub label: String,
    pub packages: Vec<Package>,
    /// Groups, advisories and modules.
    pub extras: Vec<Extra>,
    /// Types of records that are not merged.
    pub left_out: Vec<String>,
    spools: [Option<File>; 3],
}

impl Repository {
    /// Reads all of it that is merged; `scratch` is a directory for nameless files.
    pub fn read(input: &MergeInput, scratch: &Path) -> Result<Self, MergeError> {
        let source = input.source.as_ref();
        let text =
            read_small(source, REPOMD, REPOMD_MAX_BYTES).map_err(|source| MergeError::Source {
                file: REPOMD.to_owned(),
                source,
            })?;
        let repomd = Repomd::parse(&text).map_err(|source| in_file(REPOMD, source))?;
        let mut repository = Self {
            label: input.label.clone(),
            packages: Vec::new(),
            extras: Vec::new(),
            left_out: Vec::new(),
            spools: [None, None, None],
        };
        for (number, (list, _)) in LISTS.iter().enumerate() {
            match repomd.of_type(list).next() {
                Some(record) => repository.read_list(number, source, record, input, scratch)?,
                None if number == 0 => {
                    return Err(MergeError::Wrong {
                        file: REPOMD.to_owned(),
                        why: "it names no `primary`".to_owned(),
                    });
                }
                None => {}
            }
        }
        for record in &repomd.records {
            repository.read_extra(source, record)?;
        }
        Ok(repository)
    }

    fn read_list(
        &mut self,
        number: usize,
        source: &dyn Source,
        record: &RecordClaim,
        input: &MergeInput,
        scratch: &Path,
    ) -> Result<(), MergeError> {
        let read = |source| MergeError::Read {
            file: record.href.clone(),
            source,
        };
        let mut spool = tempfile::tempfile_in(scratch).map_err(read)?;
        unpack(source, record, &mut spool, u64::MAX)?;
        spool.seek(SeekFrom::Start(0)).map_err(read)?;
        let text = BufReader::with_capacity(256 << 10, &spool);
        let outcome = if number == 0 {
            self.read_primary(text, input)
        } else {
            self.read_listed(number, text)
        };
        outcome.map_err(|source| in_file(&record.href, source))?;
        self.spools[number] = Some(spool);
        Ok(())
    }

    fn read_primary(&mut self, text: impl io::BufRead, input: &MergeInput) -> Result<(), XmlError> {
        let mut seen = HashSet::new();
        let packages = &mut self.packages;
        read_primary_spans(text, |claim, span| {
            let package = package(claim, span, input)?;
            // Repeated elements of one file would be written twice.
            if seen.insert(package.pkgid.clone()) {
                packages.push(package);
            }
            Ok(())
        })
        .map(|_| ())
    }

    fn read_listed(&mut self, number: usize, text: impl io::BufRead) -> Result<(), XmlError> {
        let places: HashMap<&str, usize> = self
            .packages
            .iter()
            .enumerate()
            .map(|(place, package)| (digits(&package.pkgid), place))
            .collect();
        let mut spans: Vec<(usize, Range<u64>)> = Vec::new();
        let mut disagrees = None;
        read_listed_spans(text, LISTS[number].1, |listed: ListedPackage, span| {
            let id = listed.pkgid.to_ascii_lowercase();
            if let Some(place) = places.get(id.as_str()) {
                if !is_of(&listed, &self.packages[*place].nevra) {
                    disagrees.get_or_insert((listed.offset, *place));
                }
                spans.push((*place, span));
            }
        })?;
        if let Some((offset, place)) = disagrees {
            let nevra = &self.packages[place].nevra;
            return Err(XmlError {
                offset,
                problem: XmlProblem::Meaning(format!("its pkgid is that of {nevra} in primary")),
            });
        }
        for (place, span) in spans {
            let slot = &mut self.packages[place].spans[number];
            if slot.is_none() {
                *slot = Some(span);
            }
        }
        Ok(())
    }

    fn read_extra(&mut self, source: &dyn Source, record: &RecordClaim) -> Result<(), MergeError> {
        let kind = record.record_type.as_str();
        if is_made_from_packages(kind) {
            return Ok(());
        }
        let has_better = self
            .extras
            .iter()
            .any(|extra| is_form_of(kind, &extra.record_type));
        if has_better {
            return Ok(());
        }
        if !["group", "group_gz", "group_xz", "updateinfo", "modules"].contains(&kind) {
            if !kind.ends_with("_zck") {
                self.left_out.push(kind.to_owned());
            }
            return Ok(());
        }
        let mut bytes = Vec::new();
        unpack(source, record, &mut bytes, EXTRA_MAX_BYTES)?;
        self.extras
            .retain(|extra| !is_form_of(&extra.record_type, kind));
        self.extras.push(Extra {
            record_type: kind.split('_').next().unwrap_or(kind).to_owned(),
            href: record.href.clone(),
            bytes,
        });
        Ok(())
    }

    /// The text of a span of a list.
    pub fn text(&self, list: usize, span: Range<u64>) -> io::Result<Vec<u8>> {
        let Some(spool) = &self.spools[list] else {
            return Err(io::Error::other("the list was never read"));
        };
        let size =
            usize::try_from(span.end.saturating_sub(span.start)).map_err(io::Error::other)?;
        let mut text = vec![0; size];
        spool.read_exact_at(&mut text, span.start)?;
        Ok(text)
    }
}

/// Whether an element of filelists or other names this package.
fn is_of(listed: &ListedPackage, nevra: &Nevra) -> bool {
    listed.name == nevra.name
        && listed.arch == nevra.arch
        && listed.version.epoch.parse() == Ok(nevra.evr.epoch)
        && listed.version.version == nevra.evr.version
        && listed.version.release == nevra.evr.release
}

/// Whether `kind` is `of` or `of` with `_gz`, `_xz`, `_zck` behind.
fn is_form_of(kind: &str, of: &str) -> bool {
    kind.strip_prefix(of)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
}

fn in_file(file: &str, source: XmlError) -> MergeError {
    MergeError::Xml {
        file: file.to_owned(),
        source,
    }
}

/// The hex digits of a pkgid.
pub(super) fn digits(pkgid: &str) -> &str {
    pkgid.rsplit(':').next().unwrap_or(pkgid)
}

/// Decompresses a record's file, and checks it against what `repomd.xml` says.
fn unpack(
    source: &dyn Source,
    record: &RecordClaim,
    into: &mut dyn Write,
    limit_bytes: u64,
) -> Result<(), MergeError> {
    let file = || record.href.clone();
    let wrong = |why: &str| MergeError::Wrong {
        file: file(),
        why: why.to_owned(),
    };
    if record.base.is_some() || record.href.parse::<crate::repodata::Href>().is_err() {
        return Err(wrong(
            "its location does not stay below the repository's root",
        ));
    }
    let read = |source| MergeError::Read {
        file: file(),
        source,
    };
    let stream = source
        .open(&record.href)
        .map_err(|source| MergeError::Source {
            file: file(),
            source,
        })?;
    let mut packed = Packed::new(stream.reader, record).map_err(read)?;
    let copied = io::copy(&mut (&mut packed).take(limit_bytes), into).map_err(read)?;
    if copied == limit_bytes {
        return Err(wrong("it is too large to be merged"));
    }
    let sums = packed.finish().map_err(read)?;
    let claims = [
        (record.checksum.as_ref().map(|sum| &sum.hex), &sums.hex),
        (
            record.open_checksum.as_ref().map(|sum| &sum.hex),
            &sums.open_hex,
        ),
    ];
    for (claimed, found) in claims {
        if claimed.is_some_and(|claimed| Some(claimed) != found.as_ref()) {
            return Err(wrong("its checksum is not the one in repomd.xml"));
        }
    }
    Ok(())
}

fn package(claim: PackageClaim, span: Range<u64>, input: &MergeInput) -> Result<Package, XmlError> {
    let fault = |what: String| XmlError {
        offset: claim.offset,
        problem: XmlProblem::Meaning(what),
    };
    let shown = |text: &str| -> String { text.escape_debug().take(200).collect() };
    if claim.href.parse::<crate::repodata::Href>().is_err() {
        let href = shown(&claim.href);
        return Err(fault(format!(
            "the location `{href}` does not stay below the root"
        )));
    }
    let Some(checksum) = &claim.checksum else {
        let nevra = shown(&claim.nevra());
        return Err(fault(format!("{nevra} has no checksum of a known kind")));
    };
    let epoch = claim.version.epoch.parse().map_err(|_| {
        let epoch = shown(&claim.version.epoch);
        fault(format!("the epoch `{epoch}` is no number"))
    })?;
    Ok(Package {
        nevra: Nevra {
            name: claim.name.clone(),
            evr: Evr {
                epoch,
                version: claim.version.version.clone(),
                release: claim.version.release.clone(),
            },
            arch: claim.arch.clone(),
        },
        pkgid: checksum.to_string(),
        href: claim.href.clone(),
        base: claim.base.clone().or_else(|| input.base.clone()),
        file_time: claim.file_time,
        spans: [Some(span), None, None],
        location: claim.location_span.clone(),
    })
}

//! From tags to the fields of [`Package`]: which tag wins, what absence means, what must agree.

use super::error::{HeaderError, TagIn};
use super::files::FileDetail;
use super::header::{Header, is_text, type_name};
use super::text::{present, text};
use super::{ChangelogEntry, Dependency, DependencyFlags, Head, Package, RpmFormat, files, tag};
use crate::{Evr, Nevra, Timestamp};
use std::collections::HashMap;

/// RPMSENSE_STRONG: an old-style suggest that is a recommend.
const SENSE_STRONG: u32 = 1 << 27;

/// Reads the fields of a package.
pub(super) fn package_fields(head: &Head, detail: FileDetail) -> Result<Package, HeaderError> {
    let main = Typed(head.main());
    let source_rpm = main.string(tag::SOURCERPM)?;
    let is_source =
        main.0.has(tag::SOURCEPACKAGE) || source_rpm.is_none() && head.lead_says_source();
    let mut weak = WeakLists::read(&main)?;
    let requires = weak.take_wishes(dependencies(&main, REQUIRES)?);
    Ok(Package {
        nevra: nevra(&main, is_source)?,
        has_epoch_tag: main.0.has(tag::EPOCH),
        format: format(&main)?,
        is_source,
        header_digest: head.header_digest(),
        header_range: head.header_range(),
        source_rpm: source_rpm.filter(|_| !is_source),
        summary: main.text(tag::SUMMARY)?,
        description: main.text(tag::DESCRIPTION)?,
        license: main.text(tag::LICENSE)?,
        vendor: main.string(tag::VENDOR)?,
        group: main.text(tag::GROUP)?,
        packager: main.string(tag::PACKAGER)?,
        url: main.string(tag::URL)?,
        bug_url: main.string(tag::BUGURL)?,
        vcs: main.string(tag::VCS)?,
        distribution: main.string(tag::DISTRIBUTION)?,
        build_host: main.text(tag::BUILDHOST)?,
        build_time: timestamp(main.number(tag::BUILDTIME)?.unwrap_or(0)),
        rpm_version: main.string(tag::RPMVERSION)?,
        cookie: main.string(tag::COOKIE)?,
        optflags: main.string(tag::OPTFLAGS)?,
        platform: main.string(tag::PLATFORM)?,
        modularity_label: main.string(tag::MODULARITYLABEL)?,
        installed_size_bytes: main.first_number(&[tag::LONGSIZE, tag::SIZE])?.unwrap_or(0),
        archive_size_bytes: archive_size_bytes(head)?,
        payload_compressor: main
            .string(tag::PAYLOADCOMPRESSOR)?
            .unwrap_or_else(|| "gzip".to_owned()),
        payload_flags: main.string(tag::PAYLOADFLAGS)?,
        payload_sha256: main
            .string(tag::PAYLOADSHA256)?
            .map(|hex| hex.to_ascii_lowercase()),
        payload_sha256_alt: main
            .string(tag::PAYLOADSHA256ALT)?
            .map(|hex| hex.to_ascii_lowercase()),
        file_digest_algorithm: main.number(tag::FILEDIGESTALGO)?.map_or(1, saturate),
        files: files::files(&main, detail)?,
        provides: dependencies(&main, PROVIDES)?,
        requires,
        conflicts: dependencies(&main, CONFLICTS)?,
        obsoletes: dependencies(&main, OBSOLETES)?,
        suggests: weak.suggests,
        enhances: weak.enhances,
        recommends: weak.recommends,
        supplements: weak.supplements,
        changelog: changelog(&main)?,
        sources: main.texts(tag::SOURCE)?,
        patches: main.texts(tag::PATCH)?,
    })
}

/// A header whose tags are asked for by type: absence is an answer, another type is an error.
pub(super) struct Typed<'a>(pub &'a Header);

impl Typed<'_> {
    fn wrong_type(&self, tag: u32, want: &'static str) -> HeaderError {
        let found = self
            .0
            .entry(tag)
            .map_or("nothing", |entry| type_name(entry.kind));
        HeaderError::WrongType {
            tag: self.tag_in(tag),
            offset: self.offset(tag),
            found,
            want,
        }
    }

    pub(super) fn tag_in(&self, tag: u32) -> TagIn {
        TagIn {
            section: self.0.section(),
            tag,
        }
    }

    pub(super) fn offset(&self, tag: u32) -> u64 {
        self.0.offset_of(tag).unwrap_or(0)
    }

    /// First string; `None` when absent, empty or `(none)`.
    fn string(&self, tag: u32) -> Result<Option<String>, HeaderError> {
        match self.0.entry(tag) {
            Some(entry) if !is_text(entry.kind) => Err(self.wrong_type(tag, "text")),
            _ => Ok(self.0.string(tag).and_then(present)),
        }
    }

    /// First string; empty when absent or `(none)`.
    fn text(&self, tag: u32) -> Result<String, HeaderError> {
        Ok(self.string(tag)?.unwrap_or_default())
    }

    pub(super) fn texts(&self, tag: u32) -> Result<Vec<String>, HeaderError> {
        Ok(self.raw_texts(tag)?.into_iter().map(text).collect())
    }

    /// The same, not yet made text.
    pub(super) fn raw_texts(&self, tag: u32) -> Result<Vec<&[u8]>, HeaderError> {
        match self.0.entry(tag) {
            Some(entry) if !is_text(entry.kind) => Err(self.wrong_type(tag, "a string array")),
            _ => Ok(self.0.strings(tag)),
        }
    }

    pub(super) fn numbers(&self, tag: u32) -> Result<Vec<u64>, HeaderError> {
        match self.0.entry(tag) {
            Some(entry) if !matches!(entry.kind, 1..=5) => Err(self.wrong_type(tag, "numbers")),
            _ => Ok(self.0.u64s(tag)),
        }
    }

    fn number(&self, tag: u32) -> Result<Option<u64>, HeaderError> {
        Ok(self.numbers(tag)?.first().copied())
    }

    fn first_number(&self, tags: &[u32]) -> Result<Option<u64>, HeaderError> {
        for tag in tags {
            if let Some(number) = self.number(*tag)? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    /// An error unless `tag` has as many values as `other`.
    pub(super) fn same_length(
        &self,
        (tag, count): (u32, usize),
        (other, other_count): (u32, usize),
    ) -> Result<(), HeaderError> {
        if count == other_count {
            return Ok(());
        }
        let (tag, other) = (self.tag_in(tag), self.tag_in(other));
        Err(HeaderError::Lengths {
            tag,
            count,
            other,
            other_count,
        })
    }
}

fn nevra(main: &Typed<'_>, is_source: bool) -> Result<Nevra, HeaderError> {
    let needed = |tag| {
        main.string(tag)?.ok_or(HeaderError::Missing {
            tag: main.tag_in(tag),
        })
    };
    let arch = needed(tag::ARCH)?;
    let lacks_source = main.0.has(tag::NOSOURCE) || main.0.has(tag::NOPATCH);
    Ok(Nevra {
        name: needed(tag::NAME)?,
        evr: Evr {
            epoch: main.number(tag::EPOCH)?.map_or(0, saturate),
            version: needed(tag::VERSION)?,
            release: needed(tag::RELEASE)?,
        },
        arch: match (is_source, lacks_source) {
            (false, _) => arch,
            (true, false) => "src".to_owned(),
            (true, true) => "nosrc".to_owned(),
        },
    })
}

fn format(main: &Typed<'_>) -> Result<RpmFormat, HeaderError> {
    Ok(match (main.number(tag::RPMFORMAT)?, main.0.region()) {
        (Some(6..), _) => RpmFormat::V6,
        (_, Some(_)) => RpmFormat::V4,
        (_, None) => RpmFormat::V3,
    })
}

fn archive_size_bytes(head: &Head) -> Result<u64, HeaderError> {
    let in_main = Typed(head.main());
    let in_signature = Typed(head.signature());
    if let Some(bytes) = in_main.first_number(&[tag::SIG_LONGARCHIVESIZE, tag::ARCHIVESIZE])? {
        return Ok(bytes);
    }
    let tags = [tag::SIG_LONGARCHIVESIZE, tag::SIG_PAYLOADSIZE];
    if let Some(bytes) = in_signature.first_number(&tags)? {
        return Ok(bytes);
    }
    Ok(in_main.number(tag::PAYLOADSIZEALT)?.unwrap_or(0))
}

/// NAME, FLAGS and VERSION tag of one dependency list.
type DependencyTags = [u32; 3];

const PROVIDES: DependencyTags = [tag::PROVIDENAME, tag::PROVIDEFLAGS, tag::PROVIDEVERSION];
const REQUIRES: DependencyTags = [tag::REQUIRENAME, tag::REQUIREFLAGS, tag::REQUIREVERSION];
const CONFLICTS: DependencyTags = [tag::CONFLICTNAME, tag::CONFLICTFLAGS, tag::CONFLICTVERSION];
const OBSOLETES: DependencyTags = [tag::OBSOLETENAME, tag::OBSOLETEFLAGS, tag::OBSOLETEVERSION];
const SUGGESTS: DependencyTags = [tag::SUGGESTNAME, tag::SUGGESTFLAGS, tag::SUGGESTVERSION];
const ENHANCES: DependencyTags = [tag::ENHANCENAME, tag::ENHANCEFLAGS, tag::ENHANCEVERSION];
const RECOMMENDS: DependencyTags = [
    tag::RECOMMENDNAME,
    tag::RECOMMENDFLAGS,
    tag::RECOMMENDVERSION,
];
const SUPPLEMENTS: DependencyTags = [
    tag::SUPPLEMENTNAME,
    tag::SUPPLEMENTFLAGS,
    tag::SUPPLEMENTVERSION,
];
const OLD_SUGGESTS: DependencyTags = [
    tag::OLDSUGGESTSNAME,
    tag::OLDSUGGESTSFLAGS,
    tag::OLDSUGGESTSVERSION,
];
const OLD_ENHANCES: DependencyTags = [
    tag::OLDENHANCESNAME,
    tag::OLDENHANCESFLAGS,
    tag::OLDENHANCESVERSION,
];

/// All lists, for what must look at each of them.
pub(super) static ALL_DEPENDENCIES: [DependencyTags; 10] = [
    PROVIDES,
    REQUIRES,
    CONFLICTS,
    OBSOLETES,
    SUGGESTS,
    ENHANCES,
    RECOMMENDS,
    SUPPLEMENTS,
    OLD_SUGGESTS,
    OLD_ENHANCES,
];

/// One list. FLAGS and VERSION may both be absent, as in rpm 2's provides and obsoletes.
pub(super) fn dependencies(
    main: &Typed<'_>,
    [names_tag, flags_tag, versions_tag]: DependencyTags,
) -> Result<Vec<Dependency>, HeaderError> {
    let names = main.texts(names_tag)?;
    let flags = main.numbers(flags_tag)?;
    let versions = main.texts(versions_tag)?;
    let against = (names_tag, names.len());
    if main.0.has(flags_tag) || main.0.has(versions_tag) {
        main.same_length((flags_tag, flags.len()), against)?;
        main.same_length((versions_tag, versions.len()), against)?;
    }
    let mut versions = versions.into_iter();
    let mut flags = flags.into_iter();
    Ok(names
        .into_iter()
        .map(|name| {
            let sense = flags.next().map_or(0, saturate);
            let version = versions.next().unwrap_or_default();
            let comparison = comparison(sense).filter(|_| !version.is_empty());
            Dependency {
                name,
                version: comparison.map(|flags| (flags, version)),
                sense,
            }
        })
        .collect())
}

fn comparison(sense: u32) -> Option<DependencyFlags> {
    match sense & 0xf {
        2 => Some(DependencyFlags::Lt),
        4 => Some(DependencyFlags::Gt),
        8 => Some(DependencyFlags::Eq),
        10 => Some(DependencyFlags::Le),
        12 => Some(DependencyFlags::Ge),
        _ => None,
    }
}

/// The four weak lists with SUSE's and Mageia's older ways of saying them mapped in.
struct WeakLists {
    recommends: Vec<Dependency>,
    suggests: Vec<Dependency>,
    supplements: Vec<Dependency>,
    enhances: Vec<Dependency>,
}

impl WeakLists {
    fn read(main: &Typed<'_>) -> Result<Self, HeaderError> {
        let is_strong = |dependency: &Dependency| dependency.sense & SENSE_STRONG != 0;
        let mut lists = Self {
            recommends: dependencies(main, RECOMMENDS)?,
            suggests: dependencies(main, SUGGESTS)?,
            supplements: dependencies(main, SUPPLEMENTS)?,
            enhances: dependencies(main, ENHANCES)?,
        };
        let (strong, weak) = dependencies(main, OLD_SUGGESTS)?
            .into_iter()
            .partition(is_strong);
        lists.recommends.extend::<Vec<_>>(strong);
        lists.suggests.extend::<Vec<_>>(weak);
        let (strong, weak) = dependencies(main, OLD_ENHANCES)?
            .into_iter()
            .partition(is_strong);
        lists.supplements.extend::<Vec<_>>(strong);
        lists.enhances.extend::<Vec<_>>(weak);
        Ok(lists)
    }

    /// Puts requires with MISSINGOK in front of the recommends, as createrepo_c does, but for those that repeat the last
    /// true require of their name; returns the true requires.
    fn take_wishes(&mut self, requires: Vec<Dependency>) -> Vec<Dependency> {
        if !requires.iter().any(Dependency::is_missing_ok) {
            return requires;
        }
        let (mut wishes, mut true_ones) = (Vec::new(), Vec::<Dependency>::new());
        let mut last: HashMap<String, usize> = HashMap::new();
        for entry in requires {
            if !entry.is_missing_ok() {
                // Of libc's symbol versions one is kept, whatever came before.
                if !entry.name.starts_with("libc.so.6") {
                    last.insert(entry.name.clone(), true_ones.len());
                }
                true_ones.push(entry);
                continue;
            }
            let last = last.get(&entry.name).map(|number| &true_ones[*number]);
            let repeats = |last: &Dependency| {
                last.version == entry.version && last.is_pre() == entry.is_pre()
            };
            if !last.is_some_and(repeats) {
                wishes.push(entry);
            }
        }
        self.recommends.splice(..0, wishes);
        true_ones
    }
}

fn changelog(main: &Typed<'_>) -> Result<Vec<ChangelogEntry>, HeaderError> {
    let times = main.numbers(tag::CHANGELOGTIME)?;
    let authors = main.texts(tag::CHANGELOGNAME)?;
    let texts = main.texts(tag::CHANGELOGTEXT)?;
    let against = (tag::CHANGELOGTIME, times.len());
    main.same_length((tag::CHANGELOGNAME, authors.len()), against)?;
    main.same_length((tag::CHANGELOGTEXT, texts.len()), against)?;
    let entries = times.into_iter().zip(authors).zip(texts);
    Ok(entries
        .map(|((time, author), text)| ChangelogEntry {
            time: timestamp(time),
            author,
            text,
        })
        .collect())
}

pub(super) fn timestamp(secs: u64) -> Timestamp {
    Timestamp::from_unix_secs(i64::try_from(secs).unwrap_or(i64::MAX))
}

pub(super) fn saturate(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

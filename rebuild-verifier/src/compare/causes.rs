//! The table of causes: every code that a cause can have, what it means and what cures it.
//!
//! Header rows name the tags that show them. Content rows have a detector that looks at one file's
//! two versions; they are asked in the table's order and the first that answers explains the file.

use super::files::Pair;
use super::{content, content as c};
use repo_model::rpm::tag;
use repo_model::verdict::Cause;

/// How a cause is found.
pub enum Detector {
    /// One of these tags of the main header differs.
    Tags(&'static [u32]),
    /// One file's content differs in this way: the detail, when it does.
    Content(fn(&Pair<'_>) -> Option<String>),
    /// The comparison itself finds it.
    Comparison,
}

/// A row of [`CAUSES`].
pub struct CauseRow {
    /// Stable name.
    pub code: &'static str,
    /// What it means.
    pub title: &'static str,
    /// What to change.
    pub hint: &'static str,
    /// How it is found.
    pub detector: Detector,
}

const fn row(
    code: &'static str,
    title: &'static str,
    hint: &'static str,
    detector: Detector,
) -> CauseRow {
    CauseRow {
        code,
        title,
        hint,
        detector,
    }
}

use Detector::{Comparison, Content, Tags};

/// Every cause.
pub static CAUSES: &[CauseRow] = &[
    row(
        "set-differs",
        "the rebuild made other packages",
        "look for subpackages that depend on the machine: %ifarch, conditionals on installed tools, debug packages",
        Comparison,
    ),
    row(
        "build-failed",
        "rpmbuild failed",
        "read the build log; a build dependency may be missing on the rebuilder, or the package needs the network",
        Comparison,
    ),
    row(
        "payload-digest",
        "a payload is not what its own header says",
        "the file is damaged or was tampered with: build it again",
        Comparison,
    ),
    row(
        "lead",
        "the first 96 bytes differ",
        "build with the same rpm version",
        Comparison,
    ),
    row(
        "signature-header",
        "the signature header holds what no signer writes, or digests of something else",
        "sign the package with rpmsign or Hallmark's signer only",
        Comparison,
    ),
    row(
        "build-time",
        "time of the build in the header",
        "set %use_source_date_epoch_as_buildtime 1 and a changelog (rpm 4.20 and later: %_buildtime)",
        Tags(&[tag::BUILDTIME]),
    ),
    row(
        "build-host",
        "name of the build machine in the header",
        "set %_buildhost to a fixed text",
        Tags(&[tag::BUILDHOST]),
    ),
    row(
        "source-package",
        "made from another source package or in another mode of rpmbuild",
        "rebuild with `rpmbuild --rebuild` from the very same .src.rpm",
        Tags(&[tag::COOKIE, tag::SOURCEPKGID, tag::SOURCERPM]),
    ),
    row(
        "file-mtime",
        "times of files",
        "set %clamp_mtime_to_source_date_epoch 1 (rpm 4.20 and later: %build_mtime_policy clamp_to_source_date_epoch) \
         and see that SOURCE_DATE_EPOCH is not in the future",
        Tags(&[tag::FILEMTIMES]),
    ),
    row(
        "compression",
        "only the compression of the payload differs",
        "set %_binary_payload to a fixed value and use the same rpm and compression library",
        Tags(&[tag::PAYLOADCOMPRESSOR, tag::PAYLOADFLAGS]),
    ),
    row(
        "optflags",
        "compiler flags in the header",
        "pin %optflags; build noarch packages on the same arch",
        Tags(&[tag::OPTFLAGS]),
    ),
    row(
        "platform",
        "platform in the header",
        "build with the same %_host and %_target_platform",
        Tags(&[tag::PLATFORM, tag::OS]),
    ),
    row(
        "vendor",
        "vendor in the header",
        "pin %vendor",
        Tags(&[tag::VENDOR]),
    ),
    row(
        "packager",
        "packager in the header",
        "pin %packager",
        Tags(&[tag::PACKAGER]),
    ),
    row(
        "distribution",
        "distribution in the header",
        "pin %distribution, %disturl and %bugurl",
        Tags(&[tag::DISTRIBUTION, tag::DISTURL, tag::BUGURL]),
    ),
    row(
        "rpm-version",
        "version of rpm",
        "use the same rpm in the build root",
        Tags(&[tag::RPMVERSION, tag::RPMFORMAT]),
    ),
    row(
        "dependencies",
        "generated dependencies",
        "use the same dependency generators; write order-dependent dependencies by hand",
        Tags(&[
            tag::PROVIDENAME,
            tag::PROVIDEVERSION,
            tag::PROVIDEFLAGS,
            tag::REQUIRENAME,
            tag::REQUIREVERSION,
            tag::REQUIREFLAGS,
            tag::RECOMMENDNAME,
            tag::SUGGESTNAME,
            tag::SUPPLEMENTNAME,
            tag::ENHANCENAME,
            tag::CONFLICTNAME,
            tag::OBSOLETENAME,
        ]),
    ),
    row(
        "scriptlets",
        "scripts of the package",
        "do not generate scriptlets from the build machine's state",
        Tags(&[
            tag::PREIN,
            tag::POSTIN,
            tag::PREUN,
            tag::POSTUN,
            tag::PREINPROG,
            tag::POSTINPROG,
            tag::PREUNPROG,
            tag::POSTUNPROG,
            tag::PRETRANS,
            tag::POSTTRANS,
            tag::VERIFYSCRIPT,
            tag::TRIGGERSCRIPTS,
        ]),
    ),
    row(
        "file-owner",
        "owners of files",
        "add %defattr or %attr",
        Tags(&[tag::FILEUSERNAME, tag::FILEGROUPNAME]),
    ),
    row(
        "file-mode",
        "modes of files",
        "install with explicit modes (install -m), not with the umask",
        Tags(&[tag::FILEMODES]),
    ),
    row(
        "file-links",
        "targets of links",
        "make links with relative or fixed targets",
        Tags(&[tag::FILELINKTOS]),
    ),
    row(
        "hard-links",
        "pairing of hard links",
        "do not hard-link files that another step of the build may link differently",
        Tags(&[tag::FILEINODES]),
    ),
    row(
        "file-list",
        "files that only one of the packages has",
        "find the step that names files by time, host or random",
        Comparison,
    ),
    row(
        "header-tag",
        "another tag of the header",
        "find the macro that sets it and pin it",
        Comparison,
    ),
    row(
        "build-id",
        "build-ids, which follow from other differences",
        "cure the other causes of the same package",
        Content(c::build_id),
    ),
    row(
        "archive-metadata",
        "times, owners or names inside an archive or compressed file",
        "gzip -n; tar --mtime=@$SOURCE_DATE_EPOCH --sort=name --owner=0 --group=0; zip -X after touch; or add-determinism",
        Content(c::archive_metadata),
    ),
    row(
        "order",
        "the same lines or words in another order",
        "sort what comes from directory listings, hash tables or parallel jobs; LC_ALL=C sort",
        Content(c::order),
    ),
    row(
        "build-path",
        "the build directory's path",
        "build at one fixed path, or map it: -ffile-prefix-map",
        Content(c::build_path),
    ),
    row(
        "host-name",
        "the build machine's name",
        "do not write the host name into files",
        Content(c::host_name),
    ),
    row(
        "kernel-version",
        "the build machine's kernel",
        "do not write `uname -r` into files",
        Content(c::kernel_version),
    ),
    row(
        "embedded-clock",
        "the clock of the build machine",
        "use SOURCE_DATE_EPOCH instead of the clock",
        Content(c::embedded_clock),
    ),
    row(
        "temporary-name",
        "the random name of a temporary file",
        "do not write temporary names into files",
        Content(c::temporary_name),
    ),
    row(
        "address",
        "addresses in memory",
        "do not print pointers; sort by content, not by address",
        Content(c::address),
    ),
    row(
        "cpu-count",
        "the number of processors",
        "do not write `nproc` into files; pin %_smp_mflags",
        Content(c::cpu_count),
    ),
    row(
        "random",
        "random bytes: keys, UUIDs, seeds, hashes of something that differs",
        "derive it from the source, or make it at installation; -frandom-seed for LTO and coverage",
        Content(c::random),
    ),
    row(
        "unknown-content",
        "contents differ, and none of the known causes fits",
        "compare the two packages with diffoscope",
        Content(content::unknown),
    ),
];

/// The cause of this code; `header-tag` when there is none, which the contract test rules out.
pub fn cause(code: &str, detail: String) -> Cause {
    let row = CAUSES.iter().find(|row| row.code == code);
    Cause {
        code: row.map_or("header-tag", |row| row.code).to_owned(),
        file: None,
        tag: None,
        detail: detail.chars().take(super::MAX_DETAIL).collect(),
        hint: row.map_or("", |row| row.hint).to_owned(),
    }
}

/// The same for one file.
pub fn cause_in_file(code: &str, file: &str, detail: String) -> Cause {
    Cause {
        file: Some(file.chars().take(super::MAX_DETAIL).collect()),
        ..cause(code, detail)
    }
}

/// The same for one tag.
pub fn cause_in_tag(code: &str, number: u32, detail: String) -> Cause {
    let name = tag::name(number).map_or_else(|| number.to_string(), str::to_owned);
    Cause {
        tag: Some(name),
        ..cause(code, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_row_has_a_code_of_its_own_a_title_and_a_hint() {
        let codes: BTreeSet<_> = CAUSES.iter().map(|row| row.code).collect();
        assert_eq!(codes.len(), CAUSES.len());
        for row in CAUSES {
            assert!(
                row.code
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b == b'-'),
                "{}",
                row.code
            );
            assert!(row.title.len() > 5 && row.hint.len() > 5, "{}", row.code);
            assert_eq!(cause(row.code, String::new()).code, row.code);
        }
    }

    #[test]
    fn no_tag_belongs_to_two_rows_and_the_last_row_takes_every_content() {
        let tags: Vec<u32> = CAUSES
            .iter()
            .flat_map(|row| match row.detector {
                Tags(tags) => tags,
                _ => &[],
            })
            .copied()
            .collect();
        assert_eq!(tags.iter().collect::<BTreeSet<_>>().len(), tags.len());
        assert!(matches!(
            CAUSES.last().map(|row| &row.detector),
            Some(Content(_))
        ));
    }
}

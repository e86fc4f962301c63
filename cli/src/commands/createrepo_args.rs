//! The options of `hallmark createrepo`: createrepo_c's names, and what becomes of each.

use super::upstream::{NO_DICTIONARIES, checksum, codec, refuse};
use crate::failure::Failure;
use repo_server::createrepo::Duplicates;
use repo_server::repodata::{ChecksumType, Codec, DistroTag, PROFILES, Profile};
use std::path::PathBuf;
use std::time::Duration;

/// Arguments of `hallmark createrepo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # Make a repository of all packages below a directory
  hallmark createrepo /srv/repo

  # Again, after packages came and went: only what changed is read
  hallmark createrepo --update --retain-old-md 2 /srv/repo

  # For yum of EL 7, with groups
  hallmark createrepo --profile el7 --groupfile comps.xml /srv/repo

  # The same bytes from the same packages, anywhere
  SOURCE_DATE_EPOCH=1763632800 hallmark createrepo /srv/repo

The options are createrepo_c's, with the same meaning. The new metadata takes the place of the old
in one step. A bad package, or two different packages of one NEVRA, stop the run and change
nothing, unless --skip-bad or --duplicated-nevra say otherwise. What --update needs to know is kept
outside the repository, in --cachedir; without it everything is read. Nothing but repodata appears
in DIR.")]
pub struct Args {
    /// Directory with the packages
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Look for DIR below this directory
    #[arg(long, value_name = "DIR")]
    pub basedir: Option<PathBuf>,
    /// Put repodata into this directory instead of DIR
    #[arg(short, long, value_name = "DIR")]
    pub outputdir: Option<PathBuf>,
    /// Read again only packages that changed
    #[arg(long)]
    pub update: bool,
    /// With --update: do not even look whether a known path changed
    #[arg(long, requires = "update")]
    pub skip_stat: bool,
    /// With --update: take the list of packages from the metadata that is there
    #[arg(long, requires = "update", conflicts_with_all = ["pkglist", "includepkg"])]
    pub recycle_pkglist: bool,
    /// Keep what --update needs to know in this directory [default: HALLMARK_CACHE, /var/cache/hallmark or
    /// ~/.cache/hallmark]
    #[arg(short, long, value_name = "DIR")]
    pub cachedir: Option<PathBuf>,
    /// Leave out packages whose path matches this pattern of `*` and `?`; may be repeated
    #[arg(short = 'x', long, value_name = "PATTERN")]
    pub excludes: Vec<String>,
    /// Take only the packages listed in this file, a path below DIR on each line
    #[arg(short = 'i', long, value_name = "FILE")]
    pub pkglist: Option<PathBuf>,
    /// Take only this package, a path below DIR; may be repeated
    #[arg(short = 'n', long, value_name = "PATH")]
    pub includepkg: Vec<String>,
    /// Leave out packages that are symbolic links
    #[arg(short = 'S', long)]
    pub skip_symlinks: bool,
    /// Leave out packages that cannot be read, name them, and end with exit code 1
    #[arg(long)]
    pub skip_bad: bool,
    /// What to do about different packages of one NEVRA: refuse, keep or keep-last
    #[arg(long, value_name = "RULE", default_value = "refuse", value_parser = duplicates)]
    pub duplicated_nevra: Duplicates,
    /// The same as --duplicated-nevra keep
    #[arg(long, conflicts_with = "duplicated_nevra")]
    pub allow_duplicate_nevra: bool,
    /// Write to this file which packages were really read
    #[arg(long, value_name = "FILE")]
    pub read_pkgs_list: Option<PathBuf>,
    /// Threads [default, and for 0: as many as there are processors]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(0..=256))]
    pub workers: Option<u16>,
    /// Say nothing that is not wrong; a package that is left out is named all the same
    #[arg(short, long)]
    pub quiet: bool,
    /// Name each package that is read
    #[arg(short, long, conflicts_with = "quiet")]
    pub verbose: bool,

    /// Clients to write for: el7, el8 or modern; sets compression and the form of groups
    #[arg(long, value_name = "NAME", value_parser = profile, help_heading = "Metadata")]
    pub profile: Option<&'static Profile>,
    /// For yum: the same as --profile el7 --database
    #[arg(long, conflicts_with = "profile", help_heading = "Metadata")]
    pub compatibility: bool,
    /// sha256 or sha512
    #[arg(short = 's', long, value_name = "TYPE", default_value = "sha256", value_parser = checksum, help_heading = "Metadata")]
    pub checksum: ChecksumType,
    /// The same as --checksum; they cannot differ
    #[arg(long, value_name = "TYPE", value_parser = checksum, help_heading = "Metadata")]
    pub repomd_checksum: Option<ChecksumType>,
    /// Compress groups with gz, zstd, xz or none
    #[arg(long, value_name = "CODEC", value_parser = codec, help_heading = "Metadata")]
    pub compress_type: Option<Codec>,
    /// Compress everything with gz, zstd, xz or none
    #[arg(long, value_name = "CODEC", value_parser = codec, help_heading = "Metadata")]
    pub general_compress_type: Option<Codec>,
    /// The same as --compress-type xz: of groups alone, as in createrepo_c 1.x
    #[arg(long, conflicts_with = "compress_type", help_heading = "Metadata")]
    pub xz: bool,
    /// Also write sqlite databases, which yum reads faster than XML; with gz, or xz if all is xz
    #[arg(short, long, conflicts_with = "no_database", help_heading = "Metadata")]
    pub database: bool,
    /// Do not write them (default)
    #[arg(long, help_heading = "Metadata")]
    pub no_database: bool,
    /// Also write zchunk files, which dnf fetches in parts
    #[arg(long, help_heading = "Metadata")]
    pub zck: bool,
    /// Also write filelists with a digest for each file
    #[arg(long, help_heading = "Metadata")]
    pub filelists_ext: bool,
    /// Write <open-checksum> of the package files, as profiles el7 and el8 do. It is over all that they
    /// decompress to, so that --update takes longer the more there is; dnf, zypper and libsolv do not read it
    #[arg(long, conflicts_with = "no_open_checksum", help_heading = "Metadata")]
    pub open_checksum: bool,
    /// Do not write it (default, and of profile modern)
    #[arg(long, help_heading = "Metadata")]
    pub no_open_checksum: bool,
    /// List this comps file; a relative path is looked for below DIR first, then here
    #[arg(short, long, value_name = "FILE", help_heading = "Metadata")]
    pub groupfile: Option<PathBuf>,
    /// Changelog entries of each package, the newest; -1 for all
    #[arg(
        long,
        value_name = "NUM",
        default_value_t = 10,
        allow_negative_numbers = true,
        help_heading = "Metadata"
    )]
    pub changelog_limit: i64,
    /// Put the checksum into the names of metadata files (default)
    #[arg(
        long,
        conflicts_with = "simple_md_filenames",
        help_heading = "Metadata"
    )]
    pub unique_md_filenames: bool,
    /// Do not put the checksum into the names of metadata files
    #[arg(long, help_heading = "Metadata")]
    pub simple_md_filenames: bool,
    /// Revision of the repository, a free text
    #[arg(long, value_name = "TEXT", help_heading = "Metadata")]
    pub revision: Option<String>,
    /// Take the revision, seconds since 1970, as the time of everything that is written
    #[arg(long, requires = "revision", help_heading = "Metadata")]
    pub set_timestamp_to_revision: bool,
    /// Distro tag, `[cpeid,]text`; may be repeated
    #[arg(long, value_name = "TAG", value_parser = distro, help_heading = "Metadata")]
    pub distro: Vec<DistroTag>,
    /// Content tag; may be repeated
    #[arg(long, value_name = "TAG", help_heading = "Metadata")]
    pub content: Vec<String>,
    /// Repo tag; may be repeated
    #[arg(long, value_name = "TAG", help_heading = "Metadata")]
    pub repo: Vec<String>,
    /// Write this in front of each package's location
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true,
        help_heading = "Metadata"
    )]
    pub location_prefix: String,
    /// Leave out so many directories at the start of each location
    #[arg(
        long,
        value_name = "NUM",
        default_value_t = 0,
        help_heading = "Metadata"
    )]
    pub cut_dirs: usize,

    /// Keep so many superseded files of each kind, for clients that still read the old repomd.xml
    #[arg(
        long,
        value_name = "NUM",
        default_value_t = 0,
        help_heading = "Old metadata"
    )]
    pub retain_old_md: usize,
    /// Keep superseded files that are younger than this: 15m, 2h, 30d
    #[arg(long, value_name = "AGE", value_parser = age, conflicts_with = "retain_old_md", help_heading = "Old metadata")]
    pub retain_old_md_by_age: Option<Duration>,
    /// With --update: carry over groups, updateinfo, modules and the like (default)
    #[arg(long, help_heading = "Old metadata")]
    pub keep_all_metadata: bool,
    /// With --update: do not carry them over
    #[arg(
        long,
        conflicts_with = "keep_all_metadata",
        help_heading = "Old metadata"
    )]
    pub discard_additional_metadata: bool,

    #[command(flatten)]
    pub upstream: Upstream,
}

/// Options of createrepo_c that change nothing here, or that we do not have.
#[derive(Debug, clap::Args)]
pub struct Upstream {
    #[arg(short, long, hide = true)]
    pretty: bool,
    /// End with exit code 2 when packages were left out.
    #[arg(long, hide = true)]
    pub error_exit_val: bool,
    #[arg(long, hide = true)]
    ignore_lock: bool,
    #[arg(long, hide = true)]
    local_sqlite: bool,
    #[arg(short = 'u', long, hide = true)]
    baseurl: Option<String>,
    #[arg(long, hide = true)]
    update_md_path: Vec<PathBuf>,
    #[arg(long, hide = true)]
    split: bool,
    #[arg(long, hide = true)]
    deltas: bool,
    #[arg(long, hide = true)]
    oldpackagedirs: Vec<PathBuf>,
    #[arg(long, hide = true)]
    num_deltas: Option<u64>,
    #[arg(long, hide = true)]
    max_delta_rpm_size: Option<u64>,
    #[arg(long, hide = true)]
    no_pretty: bool,
    #[arg(long, hide = true)]
    zck_dict_dir: Option<PathBuf>,
}

impl Upstream {
    /// Refuses what would change the outcome.
    pub fn check(&self) -> Result<(), Failure> {
        const NO_DELTAS: &str =
            "no client fetches delta packages any more; --zck makes metadata small to fetch";
        refuse(&[
            (
                self.baseurl.is_some(),
                "--baseurl",
                "packages are served beside their metadata; --location-prefix moves them below it",
            ),
            (
                !self.update_md_path.is_empty(),
                "--update-md-path",
                "--update uses what the last run over this directory left in the cache",
            ),
            (
                self.split,
                "--split",
                "nobody reads media sets any more; make one repository for each directory",
            ),
            (self.deltas, "--deltas", NO_DELTAS),
            (
                !self.oldpackagedirs.is_empty(),
                "--oldpackagedirs",
                NO_DELTAS,
            ),
            (self.num_deltas.is_some(), "--num-deltas", NO_DELTAS),
            (
                self.max_delta_rpm_size.is_some(),
                "--max-delta-rpm-size",
                NO_DELTAS,
            ),
            (
                self.no_pretty,
                "--no-pretty",
                "metadata is always written with line breaks; compression evens it out",
            ),
            (
                self.zck_dict_dir.is_some(),
                "--zck-dict-dir",
                NO_DICTIONARIES,
            ),
        ])
    }
}

fn profile(name: &str) -> Result<&'static Profile, String> {
    Profile::named(name).map_err(|_| {
        let names: Vec<String> = PROFILES
            .iter()
            .map(|profile| format!("{} ({})", profile.name, profile.clients))
            .collect();
        format!("the profiles are {}", names.join("; "))
    })
}

fn duplicates(rule: &str) -> Result<Duplicates, String> {
    match rule {
        "refuse" => Ok(Duplicates::Refuse),
        "keep" => Ok(Duplicates::KeepAll),
        "keep-last" => Ok(Duplicates::KeepLast),
        _ => Err("the rules are refuse, keep and keep-last".to_owned()),
    }
}

fn distro(tag: &str) -> Result<DistroTag, String> {
    let (cpe_id, text) = match tag.split_once(',') {
        Some((cpe_id, text)) => (Some(cpe_id.to_owned()), text),
        None => (None, tag),
    };
    Ok(DistroTag {
        text: text.to_owned(),
        cpe_id,
    })
}

fn age(text: &str) -> Result<Duration, String> {
    let units = [('m', 60), ('h', 3_600), ('d', 86_400)];
    units
        .iter()
        .find_map(|(unit, secs)| {
            let count: u64 = text.strip_suffix(*unit)?.parse().ok()?;
            Some(Duration::from_secs(count.checked_mul(*secs)?))
        })
        .ok_or_else(|| "want a number with m, h or d, such as 2h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_createrepo_c_spells_them() {
        assert_eq!(age("2h"), Ok(Duration::from_secs(7_200)));
        assert!(age("2").is_err() && age("h").is_err() && age("99999999999999999999d").is_err());
        let tag = distro("cpe:/o:x,Name").unwrap();
        assert_eq!(
            (tag.cpe_id.as_deref(), &*tag.text),
            (Some("cpe:/o:x"), "Name")
        );
        assert_eq!(distro("Name").unwrap().cpe_id, None);
        assert!(profile("el6").unwrap_err().contains("el7 (yum"));
    }
}

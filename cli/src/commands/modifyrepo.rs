//! `hallmark modifyrepo`: records of a repository's metadata come or go.

use super::createrepo::{failure, now, source_date_epoch};
use super::modifyrepo_batch::{Section, parse};
use super::upstream::{NO_DICTIONARIES, checksum, codec, refuse};
use crate::failure::Failure;
use crate::output;
use repo_server::createrepo::{
    Addition, Change, FileNames, ModifyRequest, Removal, modifyrepo, read_addition,
};
use repo_server::repodata::{ChecksumType, Codec};
use std::path::{Path, PathBuf};

/// Arguments of `hallmark modifyrepo`.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "hallmark modifyrepo [OPTIONS] <FILE> <REPODATA>
       hallmark modifyrepo --remove <TYPE> <REPODATA>
       hallmark modifyrepo [OPTIONS] --batchfile <FILE> <REPODATA>",
    after_help = "\
EXAMPLES:
  # List advisories; replaces those that are there
  hallmark modifyrepo updateinfo.xml /srv/repo/repodata

  # Module metadata, which clients know as `modules`
  hallmark modifyrepo --mdtype modules modules.yaml /srv/repo/repodata

  # Take the advisories away again
  hallmark modifyrepo --remove updateinfo /srv/repo/repodata

  # Several changes at once: a section for each file, its options as keys
  printf '[comps.xml]\\ntype=group\\n[productid]\\nremove=true\\n' > changes
  hallmark modifyrepo --batchfile changes /srv/repo/repodata

All other records stay as they are, byte for byte, and repomd.xml is replaced once. A signature of
repomd.xml must be made anew."
)]
pub struct Args {
    /// The file to list, compressed or not, or with --remove the type of the record to remove; then the
    /// repository, or its repodata
    #[arg(value_name = "PATH", num_args = 1..=2, required = true)]
    paths: Vec<PathBuf>,
    /// Make the changes that this file lists
    #[arg(short = 'f', long, value_name = "FILE", conflicts_with_all = ["remove", "mdtype", "new_name"])]
    batchfile: Option<PathBuf>,
    /// Remove the record of the type given
    #[arg(long, conflicts_with_all = ["mdtype", "new_name", "compress_type"])]
    remove: bool,
    /// Type of the record [default: the file's name up to its first dot]
    #[arg(long, value_name = "TYPE")]
    mdtype: Option<String>,
    /// Name of the file in repodata [default: its name now]
    #[arg(long, value_name = "NAME")]
    new_name: Option<String>,
    /// gz, zstd, xz or none
    #[arg(long, value_name = "CODEC", default_value = "zstd", value_parser = codec)]
    compress_type: Codec,
    /// Compress the file (default)
    #[arg(long)]
    compress: bool,
    /// The same as --compress-type none
    #[arg(long, conflicts_with_all = ["compress", "compress_type"])]
    no_compress: bool,
    /// sha256 or sha512
    #[arg(short = 's', long, value_name = "TYPE", default_value = "sha256", value_parser = checksum)]
    checksum: ChecksumType,
    /// Also list a zchunk form, which dnf fetches in parts
    #[arg(long)]
    zck: bool,
    /// Put the checksum into the file's name (default)
    #[arg(long, conflicts_with = "simple_md_filenames")]
    unique_md_filenames: bool,
    /// Do not put the checksum into the file's name
    #[arg(long)]
    simple_md_filenames: bool,
    /// Name each file that is read
    #[arg(short, long)]
    verbose: bool,
    #[arg(long, hide = true)]
    zck_dict_dir: Option<PathBuf>,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    refuse(&[(
        args.zck_dict_dir.is_some(),
        "--zck-dict-dir",
        NO_DICTIONARIES,
    )])?;
    let (sections, repodata) = sections(args)?;
    let request = ModifyRequest {
        repository: repository(repodata),
        at: source_date_epoch()?.unwrap_or_else(now),
    };
    let mut changes = Vec::with_capacity(sections.len());
    for section in &sections {
        changes.push(if section.remove {
            Change::Remove(section.input.clone())
        } else {
            Change::Add(addition(args, section)?)
        });
    }
    report(&modifyrepo(&request, changes).map_err(failure)?);
    Ok(())
}

/// What is to be done, and to which repository.
fn sections(args: &Args) -> Result<(Vec<Section>, &Path), Failure> {
    match (&args.batchfile, args.paths.as_slice()) {
        (Some(batch), [repodata]) => {
            let cannot = |why: String| {
                Failure::usage(format!(
                    "cannot use the batch file {}: {why}",
                    batch.display()
                ))
            };
            let text = std::fs::read_to_string(batch).map_err(|error| cannot(error.to_string()))?;
            Ok((parse(&text).map_err(cannot)?, repodata))
        }
        (None, [input, repodata]) => {
            let Some(input) = input.to_str() else {
                return Err(Failure::usage(format!("{} is not UTF-8", input.display())));
            };
            let section = Section {
                input: input.to_owned(),
                remove: args.remove,
                mdtype: args.mdtype.clone(),
                new_name: args.new_name.clone(),
                compress: None,
                compress_type: None,
                checksum: None,
                unique_names: None,
                zck: None,
            };
            Ok((vec![section], repodata))
        }
        (Some(_), _) => Err(Failure::usage(
            "with --batchfile, want the repository alone",
        )),
        (None, _) => Err(Failure::usage(
            "want a file, or with --remove a type, and the repository",
        )),
    }
}

fn addition(args: &Args, section: &Section) -> Result<Addition, Failure> {
    let (name, bytes) = read_addition(Path::new(&section.input)).map_err(failure)?;
    if args.verbose {
        output::note(format!("read {}, {} bytes", section.input, bytes.len()));
    }
    let file_name = section.new_name.clone().unwrap_or(name);
    let record_type = match &section.mdtype {
        Some(record_type) => record_type.clone(),
        None => file_name.split('.').next().unwrap_or_default().to_owned(),
    };
    let is_compressed = section.compress.unwrap_or(!args.no_compress);
    let unique = section.unique_names.unwrap_or(!args.simple_md_filenames);
    Ok(Addition {
        record_type,
        file_name,
        bytes,
        codec: if is_compressed {
            section.compress_type.unwrap_or(args.compress_type)
        } else {
            Codec::None
        },
        checksum: section.checksum.unwrap_or(args.checksum),
        names: if unique {
            FileNames::Unique
        } else {
            FileNames::Simple
        },
        zchunk: section.zck.unwrap_or(args.zck),
    })
}

/// createrepo's users give `repodata`; the directory above it is as good.
fn repository(path: &Path) -> PathBuf {
    if path.join("repomd.xml").is_file() {
        return path.join("..");
    }
    path.to_owned()
}

fn report(removal: &Removal) {
    for name in &removal.files {
        output::note(format!("removed {name}"));
    }
    if removal.signature_stale {
        output::note("note: the signature of repomd.xml does not fit any more: sign it again");
    }
}

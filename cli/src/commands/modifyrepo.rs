//! `hallmark modifyrepo`: one record of a repository's metadata comes or goes.

use super::createrepo::{failure, now, source_date_epoch};
use super::createrepo_args::{checksum, codec};
use crate::failure::Failure;
use crate::output;
use repo_server::createrepo::{
    Addition, FileNames, ModifyRequest, Removal, modifyrepo, read_addition, remove_record,
};
use repo_server::repodata::{ChecksumType, Codec};
use std::path::{Path, PathBuf};

/// Arguments of `hallmark modifyrepo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # List advisories; replaces those that are there
  hallmark modifyrepo updateinfo.xml /srv/repo/repodata

  # Module metadata, which clients know as `modules`
  hallmark modifyrepo --mdtype modules modules.yaml /srv/repo/repodata

  # Take the advisories away again
  hallmark modifyrepo --remove updateinfo /srv/repo/repodata

All other records stay as they are, byte for byte. A signature of repomd.xml must be made anew.")]
pub struct Args {
    /// The file to list, compressed or not; with --remove the type of the record to remove
    #[arg(value_name = "FILE|TYPE")]
    input: String,
    /// The repository, or its repodata
    #[arg(value_name = "REPODATA")]
    repodata: PathBuf,
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
    /// Put the checksum into the file's name (default)
    #[arg(long, conflicts_with = "simple_md_filenames")]
    unique_md_filenames: bool,
    /// Do not put the checksum into the file's name
    #[arg(long)]
    simple_md_filenames: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let request = ModifyRequest {
        repository: repository(&args.repodata),
        names: if args.simple_md_filenames {
            FileNames::Simple
        } else {
            FileNames::Unique
        },
        checksum: args.checksum,
        at: source_date_epoch()?.unwrap_or_else(now),
    };
    let removal = if args.remove {
        remove_record(&request, &args.input)
    } else {
        addition(args).and_then(|addition| modifyrepo(&request, addition))
    };
    report(&removal.map_err(failure)?);
    Ok(())
}

fn addition(args: &Args) -> Result<Addition, repo_server::createrepo::CreaterepoError> {
    let (name, bytes) = read_addition(Path::new(&args.input))?;
    let file_name = args.new_name.clone().unwrap_or(name);
    let record_type = match &args.mdtype {
        Some(record_type) => record_type.clone(),
        None => file_name.split('.').next().unwrap_or_default().to_owned(),
    };
    Ok(Addition {
        record_type,
        file_name,
        bytes,
        codec: if args.no_compress {
            Codec::None
        } else {
            args.compress_type
        },
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

//! Whose signatures count: the same question for every command about copies.

use super::super::repo_check;
use crate::failure::Failure;
use crate::output;
use repo_server::repocheck::Certificate;
use std::path::PathBuf;

/// Keys, or none said aloud.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KeyArgs {
    /// OpenPGP keys, of which one must have signed repomd.xml; may be repeated
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "no_verify_signature"
    )]
    pub key: Vec<PathBuf>,
    /// Believe repomd.xml as it is: it is not signed, or nobody has the key
    #[arg(long, conflicts_with = "key")]
    pub no_verify_signature: bool,
    /// The keys must have made every signature of each package, too
    #[arg(long, requires = "key")]
    pub verify_packages: bool,
}

impl KeyArgs {
    /// Reads the keys; none after a warning when nothing is to be verified.
    pub fn read(&self) -> Result<Vec<Certificate>, Failure> {
        if self.no_verify_signature {
            output::note("warning: the signature of repomd.xml is not verified, as you asked");
        }
        repo_check::keys(&self.key)
    }
}

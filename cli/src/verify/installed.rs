//! What is installed: names and header digests from the package database. The header is the one that was
//! installed; whether the files on disk still are what it says is a question for `rpm --verify`.

use repo_model::{HeaderDigest, Nevra};
use std::path::Path;
use std::process::Command;

/// Name and header digest of each package that has one, a line each.
const FORMAT: &str =
    "%{NAME}-%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}.%{ARCH} %{SHA256HEADER}\\n";

/// The name under which rpm lists the keys that it trusts.
const KEYS: &str = "gpg-pubkey";

/// The package database cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum InstalledError {
    /// rpm does not start.
    #[error("cannot run rpm")]
    Run(#[source] std::io::Error),
    /// rpm says no.
    #[error("rpm -qa failed: {0}")]
    Failed(String),
}

/// Every installed package, in the order of the database. Keys, which rpm lists as packages, are left out.
///
/// * `root`: the system is there, not here.
pub fn installed(root: Option<&Path>) -> Result<Vec<(Nevra, HeaderDigest)>, InstalledError> {
    let mut rpm = Command::new("rpm");
    if let Some(root) = root {
        rpm.arg("--root").arg(root);
    }
    let output = rpm.args(["-qa", "--qf", FORMAT]).output();
    let output = output.map_err(InstalledError::Run)?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(InstalledError::Failed(words));
    }
    Ok(read(&String::from_utf8_lossy(&output.stdout)))
}

fn read(text: &str) -> Vec<(Nevra, HeaderDigest)> {
    let package = |line: &str| {
        let (nevra, header) = line.split_once(' ')?;
        let nevra: Nevra = nevra.parse().ok()?;
        Some((nevra, header.parse().ok()?))
    };
    // rpm 6 computes header digests for keys as well.
    let packages = text.lines().filter_map(package);
    packages.filter(|(nevra, _)| nevra.name != KEYS).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn packages_are_read_and_keys_are_passed_over() {
        let digest = "ab".repeat(32);
        let text = format!(
            "hello-1:2.12-1.x86_64 {digest}\ngpg-pubkey-1-2.(none) (none)\ntally-1-1.noarch {digest}\n\
             gpg-pubkey-1-2.(none) {digest}\n"
        );
        let names: Vec<_> = super::read(&text)
            .into_iter()
            .map(|(nevra, _)| nevra.to_string())
            .collect();
        assert_eq!(names, ["hello-1:2.12-1.x86_64", "tally-1-1.noarch"]);
    }
}

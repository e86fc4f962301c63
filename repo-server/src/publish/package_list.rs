//! The package list of one repository, from rows.

use crate::db::builds::PackageRow;
use crate::jobs::JobError;
use repo_model::release::{ListedPackage, write_package_list};

/// Writes it; a package that is not signed is a fault of ours.
pub fn write(packages: &[PackageRow]) -> Result<String, JobError> {
    let mut listed = Vec::with_capacity(packages.len());
    for package in packages {
        let signed = package.signed.as_ref().ok_or_else(|| {
            JobError::Broken(format!("{} would be published unsigned", package.nevra))
        })?;
        listed.push(ListedPackage {
            header: package.header,
            signed_file: signed.file,
            summary: signed.summary_statement,
            nevra: package.nevra.clone(),
        });
    }
    listed.sort_by(|a, b| (&a.nevra, a.header).cmp(&(&b.nevra, b.header)));
    Ok(write_package_list(&listed))
}

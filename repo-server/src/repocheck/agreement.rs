//! Whether primary, filelists and other speak of the same packages.

use super::report::{Finding, Findings, Severity};
use super::telling::Listed;
use mirrors::reading::PackageClaim;
use std::collections::HashMap;

/// Reports packages that primary lists twice, and locations that no client may follow.
pub(super) fn check_primary(claims: &[PackageClaim], file: &str, findings: &mut Findings) {
    let mut ids: HashMap<&str, &PackageClaim> = HashMap::with_capacity(claims.len());
    let mut nevras: HashMap<String, &PackageClaim> = HashMap::with_capacity(claims.len());
    let mut hrefs: HashMap<(&str, Option<&str>), &PackageClaim> =
        HashMap::with_capacity(claims.len());
    for claim in claims {
        let mut add = |severity, code, message: String| {
            findings.add(Finding {
                severity,
                code,
                file: file.to_owned(),
                offset: Some(claim.offset),
                package: Some(claim.nevra()),
                message,
            });
        };
        let href = &claim.href;
        if claim.checksum.is_none() {
            add(
                Severity::Error,
                "checksum-absent",
                format!("`{href}` has no checksum of a known kind"),
            );
        } else if let Some(first) = ids.insert(claim.pkgid(), claim) {
            add(
                Severity::Error,
                "package-duplicate-id",
                format!("the pkgid of `{href}` is that of `{}` too", first.href),
            );
        }
        if let Some(first) = nevras.insert(claim.nevra(), claim)
            && first.pkgid() != claim.pkgid()
        {
            add(
                Severity::Warning,
                "package-duplicate-nevra",
                format!("`{}` is another file of the same NEVRA", first.href),
            );
        }
        if let Some(base) = &claim.base {
            add(
                Severity::Warning,
                "package-elsewhere",
                format!("it is at `{base}`, which is not looked at"),
            );
        } else if !super::is_safe_href(href) {
            add(
                Severity::Error,
                "package-location",
                format!("`{}` does not stay below the root", href.escape_debug()),
            );
        }
        if hrefs
            .insert((href, claim.base.as_deref()), claim)
            .is_some_and(|first| first.pkgid() != claim.pkgid())
        {
            add(
                Severity::Error,
                "package-duplicate-location",
                format!("two packages are located at `{href}`"),
            );
        }
    }
}

/// Compares filelists, other or filelists-ext with primary, package by package.
pub(super) struct Comparison<'a> {
    claims: &'a [PackageClaim],
    by_id: HashMap<&'a str, usize>,
    seen: Vec<bool>,
    file: &'a str,
}

impl<'a> Comparison<'a> {
    pub fn new(claims: &'a [PackageClaim], file: &'a str) -> Self {
        let by_id = claims
            .iter()
            .enumerate()
            .map(|(number, claim)| (claim.pkgid(), number))
            .collect();
        Self {
            claims,
            by_id,
            seen: vec![false; claims.len()],
            file,
        }
    }

    /// Takes the next package of the file; returns its number in primary.
    pub fn take(
        &mut self,
        Listed {
            package: listed,
            repeated,
            ..
        }: &Listed,
        findings: &mut Findings,
    ) -> Option<usize> {
        let mut add = |severity, code, message: String| {
            findings.add(Finding {
                severity,
                code,
                file: self.file.to_owned(),
                offset: Some(listed.offset),
                package: Some(listed.name.clone()),
                message,
            });
        };
        if *repeated > 0 {
            add(
                Severity::Warning,
                "package-repeated-file",
                format!("{repeated} entries repeat the path of another"),
            );
        }
        let Some(number) = self.by_id.get(listed.pkgid.to_ascii_lowercase().as_str()) else {
            add(
                Severity::Error,
                "package-unknown",
                format!("the pkgid {} is not in primary", listed.pkgid),
            );
            return None;
        };
        let claim = &self.claims[*number];
        if std::mem::replace(&mut self.seen[*number], true) {
            add(
                Severity::Error,
                "package-duplicate-id",
                format!("the pkgid {} is here twice", listed.pkgid),
            );
        }
        if (&listed.name, &listed.arch, &listed.version)
            != (&claim.name, &claim.arch, &claim.version)
        {
            let version = &listed.version;
            add(
                Severity::Error,
                "package-disagrees",
                format!(
                    "here it is {} {}:{}-{} {}, in primary {}",
                    listed.name,
                    version.epoch,
                    version.version,
                    version.release,
                    listed.arch,
                    claim.nevra()
                ),
            );
        }
        Some(*number)
    }

    /// Reports the packages that primary has and this file has not.
    pub fn finish(self, findings: &mut Findings) {
        for (claim, _) in self
            .claims
            .iter()
            .zip(&self.seen)
            .filter(|(claim, seen)| !**seen && self.by_id.contains_key(claim.pkgid()))
        {
            // Of packages with one pkgid only the last is in the table.
            if self
                .by_id
                .get(claim.pkgid())
                .is_some_and(|number| self.seen[*number])
            {
                continue;
            }
            findings.add(Finding {
                severity: Severity::Error,
                code: "package-unlisted",
                file: self.file.to_owned(),
                offset: None,
                package: Some(claim.nevra()),
                message: format!("the pkgid {} is in primary and not here", claim.pkgid()),
            });
        }
    }
}

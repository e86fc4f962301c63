//! `META-INF/maven/*/*/pom.properties` in jars and in archives within them: a jar that others were shaded into has
//! one of each, a program that carries its libraries has them as jars, and an `.ear` has a `.war` that has those.

use super::zip::{self, Budget, Entry};
use super::{COMPONENTS_PER_FILE, Findings, Look, Reader};
use crate::component::{Component, Technique};

pub(super) const POM_PROPERTIES: Reader = Reader {
    name: "maven-pom-properties",
    technique: Technique::ManifestAnalysis,
    confidence_percent: 90,
    wants: |path, start| is_java(path) && zip::is_archive(start),
    read,
};

/// Names of Java's archives: libraries, programs for application servers, plug-ins.
static ENDINGS: &[&str] = &[
    ".jar", ".war", ".ear", ".rar", ".sar", ".par", ".nar", ".kar", ".jpi", ".hpi",
];
/// Archives within archives: a library in a web application in an enterprise application, and one more.
const DEPTH: usize = 3;
/// Bytes of a `pom.properties`; real ones have some hundred.
const PROPERTIES_BYTES: u64 = 64 << 10;

fn is_java(name: &str) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

fn read(reader: &Reader, look: &Look<'_>, findings: &mut Findings) -> Result<(), String> {
    let mut reading = Reading {
        reader,
        look,
        budget: Budget::new(),
        found: 0,
        findings,
    };
    reading.archive(look.content, "", DEPTH)
}

struct Reading<'a, 'f> {
    reader: &'a Reader,
    look: &'a Look<'a>,
    budget: Budget,
    /// Components of all archives together.
    found: usize,
    findings: &'f mut Findings,
}

impl Reading<'_, '_> {
    /// What cannot be read hides itself, not its neighbours.
    ///
    /// * `within`: names of the archives from the file that is looked at to this one, with `!/` between them; empty for
    ///   the file itself.
    /// * `depth`: how many more archives within each other are looked into.
    fn archive(&mut self, bytes: &[u8], within: &str, depth: usize) -> Result<(), String> {
        let entries =
            zip::entries(bytes).ok_or_else(|| format!("{within}: not a whole zip archive"))?;
        let mut outcome = Ok(());
        for entry in entries {
            outcome = outcome.and(self.entry(bytes, &entry, within, depth));
        }
        outcome
    }

    fn entry(
        &mut self,
        archive: &[u8],
        entry: &Entry<'_>,
        within: &str,
        depth: usize,
    ) -> Result<(), String> {
        let name = entry.name;
        let damaged = || format!("{name}: a damaged or too long entry");
        if name.starts_with("META-INF/maven/") && name.ends_with("/pom.properties") {
            let text = zip::content(archive, entry, PROPERTIES_BYTES, &mut self.budget);
            return self.properties(&String::from_utf8_lossy(&text.ok_or_else(damaged)?), within);
        }
        if !is_java(name) {
            return Ok(());
        }
        if depth == 0 {
            return Err(format!("{name}: an archive within {DEPTH} others"));
        }
        let limit = self.budget.left();
        let inner = zip::content(archive, entry, limit, &mut self.budget).ok_or_else(damaged)?;
        // Other things have some of the names, too.
        if !zip::is_archive(&inner) && !name.ends_with(".jar") {
            return Ok(());
        }
        let place = match within {
            "" => name.to_owned(),
            within => format!("{within}!/{name}"),
        };
        self.archive(&inner, &place, depth - 1)
    }

    fn properties(&mut self, text: &str, within: &str) -> Result<(), String> {
        let Some(mut component) = maven(text, self.reader, self.look) else {
            return Ok(());
        };
        self.found += 1;
        if self.found > COMPONENTS_PER_FILE {
            return Err(format!("more than {COMPONENTS_PER_FILE} artifacts"));
        }
        if !within.is_empty() {
            component.property("java:within", within);
        }
        self.findings.components.push(component);
        Ok(())
    }
}

fn maven(text: &str, reader: &Reader, look: &Look<'_>) -> Option<Component> {
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (found, value) = line.trim().split_once(['=', ':'])?;
            (found.trim() == key).then(|| value.trim())
        })
    };
    let (group, artifact) = (value("groupId")?, value("artifactId")?);
    Component::new(
        "maven",
        Some(group),
        artifact,
        value("version"),
        look.evidence(reader),
    )
}

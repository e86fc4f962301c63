//! What is known about vulnerabilities in a release: advisories over components and versions, then what
//! VEX statements say of each. Both are joined when the question comes; neither is in an SBOM.
//!
//! The order of answers is that of the advisories, then of statements that no advisory knows of.

use super::AskError;
use super::components::{Place, in_component};
use super::page::{After, Scope};
use super::stated::{self, Stated, Subject};
use crate::db::{DbError, from_json};
use crate::sbom_index::osv::{Affected, Verdict};
use crate::sbom_index::osv_import::{OSV_IMPORTED_AT, OSV_RECORDS};
use crate::sbom_index::versions::Order;
use repo_model::Timestamp;
use repo_model::wire::sbom::{Advisories, Finding, Page, VulnerabilityStatus};
use rusqlite::{Connection, OptionalExtension as _, named_params, params};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What is asked.
#[derive(Debug, Clone, Default)]
pub struct VulnerabilityQuery {
    /// Only this one, under any of its names.
    pub vulnerability: Option<String>,
    /// Only these; empty: all.
    pub status: Vec<VulnerabilityStatus>,
}

/// The last finding that the asker has seen: of an advisory (its package, the name, the component) or of a
/// statement, and the package.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// Whether all advisories were told.
    statements: bool,
    first: i64,
    second: i64,
    component: i64,
    document: i64,
    package: i64,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.statements { 's' } else { 'a' };
        let rest = After([self.second, self.component, self.document, self.package]);
        write!(f, "{kind}-{}-{rest}", self.first)
    }
}

impl FromStr for Cursor {
    type Err = AskError;
    fn from_str(text: &str) -> Result<Self, AskError> {
        let refuse = || AskError::parameter("after", text, "is not what `next` of an answer said");
        let mut parts = text.splitn(3, '-');
        let statements = match parts.next() {
            Some("a") => false,
            Some("s") => true,
            _ => return Err(refuse()),
        };
        let first = parts
            .next()
            .and_then(|part| part.parse().ok())
            .ok_or_else(refuse)?;
        let rest: After = parts.next().unwrap_or_default().parse()?;
        let After([second, component, document, package]) = rest;
        Ok(Self {
            statements,
            first,
            second,
            component,
            document,
            package,
        })
    }
}

/// One page of findings.
pub fn vulnerabilities(
    connection: &Connection,
    scope: &Scope,
    query: &VulnerabilityQuery,
    after: Cursor,
    limit: u32,
) -> Result<Page<Finding>, AskError> {
    let mut answer = Answer {
        connection,
        scope,
        query,
        limit: limit as usize,
        items: Vec::new(),
        last: after,
        more: false,
    };
    if !after.statements {
        answer.advisories(after)?;
    }
    if !answer.more {
        let start = Cursor {
            statements: true,
            ..Cursor::default()
        };
        answer.statements(after.max(start))?;
    }
    Ok(Page {
        release: scope.release,
        items: answer.items,
        next: answer.more.then(|| answer.last.to_string()),
        advisories: Some(advisories(connection)?),
    })
}

/// What was imported. Imports from before it was written down are counted.
fn advisories(connection: &Connection) -> Result<Advisories, DbError> {
    let kept = |key: &str| {
        connection
            .prepare_cached("SELECT value FROM state WHERE key = ?1")?
            .query_row([key], |row| row.get::<_, i64>(0))
            .optional()
    };
    let records = match kept(OSV_RECORDS)? {
        Some(records) => records.unsigned_abs(),
        None => connection.query_row(
            "SELECT count(*) FROM osv_advisories WHERE generation = (SELECT value FROM state WHERE key = 'osv_generation')",
            [],
            |row| row.get(0),
        )?,
    };
    Ok(Advisories {
        records,
        imported_at: kept(OSV_IMPORTED_AT)?.map(Timestamp::from_unix_secs),
    })
}

struct Answer<'a> {
    connection: &'a Connection,
    scope: &'a Scope,
    query: &'a VulnerabilityQuery,
    limit: usize,
    items: Vec<Finding>,
    last: Cursor,
    more: bool,
}

/// A name that is in an advisory and in the index.
struct Exposure {
    affected_id: i64,
    name_id: i64,
    ecosystem: String,
    affected: Affected,
    id: String,
    aliases: Vec<String>,
    summary: String,
    severity: String,
}

impl Answer<'_> {
    /// Adds a finding that was asked for; `false` when the page is full, and there is more.
    fn add(&mut self, at: Cursor, finding: Finding) -> bool {
        if !self.query.status.is_empty() && !self.query.status.contains(&finding.status) {
            return true;
        }
        if self.items.len() >= self.limit {
            self.more = true;
            return false;
        }
        self.last = at;
        self.items.push(finding);
        true
    }

    fn advisories(&mut self, after: Cursor) -> Result<(), AskError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT e.affected_id, e.name_id, n.ecosystem, a.affected, v.id, v.aliases, v.summary, v.severity FROM exposed e
             CROSS JOIN osv_affected a ON a.affected_id = e.affected_id CROSS JOIN osv_advisories v ON v.advisory_id = a.advisory_id
             CROSS JOIN names n ON n.name_id = e.name_id
             WHERE (e.affected_id, e.name_id) >= (:first, :second)
               AND (:vulnerability IS NULL OR v.id = :vulnerability OR EXISTS (SELECT 1 FROM json_each(v.aliases) WHERE value = :vulnerability))
               AND (:package IS NULL OR e.name_id IN (SELECT c.name_id FROM server.packages p
                    CROSS JOIN documents d ON d.header = p.header_digest CROSS JOIN occurrences o ON o.document_id = d.document_id
                    CROSS JOIN components c ON c.component_id = o.component_id
                    WHERE p.nevra = :package OR p.name = :package OR p.header_digest = :package))
             ORDER BY e.affected_id, e.name_id",
        )?;
        let mut rows = statement.query(named_params! {
            ":first": after.first, ":second": after.second,
            ":vulnerability": self.query.vulnerability, ":package": self.scope.package,
        })?;
        while let Some(row) = rows.next()? {
            let exposure = Exposure {
                affected_id: row.get("affected_id")?,
                name_id: row.get("name_id")?,
                ecosystem: row.get("ecosystem")?,
                affected: from_json(&row.get::<_, String>("affected")?, "advisory")?,
                id: row.get("id")?,
                aliases: from_json(&row.get::<_, String>("aliases")?, "list")?,
                summary: row.get("summary")?,
                severity: row.get("severity")?,
            };
            let here = Cursor {
                first: exposure.affected_id,
                second: exposure.name_id,
                ..Cursor::default()
            };
            self.advisory(&exposure, after.max(here))?;
            if self.more {
                break;
            }
        }
        Ok(())
    }

    /// Findings of one advisory after `after`, which is in it or at its start.
    fn advisory(&mut self, exposure: &Exposure, after: Cursor) -> Result<(), AskError> {
        let order = Order::of(&exposure.ecosystem);
        let verdicts = verdicts(self.connection, exposure, order)?;
        if verdicts.is_empty() {
            return Ok(());
        }
        let mut names = vec![exposure.id.as_str()];
        names.extend(exposure.aliases.iter().map(String::as_str));
        let stated = stated::about(self.connection, &names)?;
        for (component, verdict) in verdicts.range(after.component..) {
            self.places(*component, after, |answer, at, place| {
                let finding = finding(exposure, &place, verdict.as_ref(), order, &stated);
                Ok(answer.add(at, finding))
            })?;
            if self.more {
                break;
            }
        }
        Ok(())
    }

    /// Hands on where a component is, after `after` if that is in it. A package that has its source
    /// package's name is told once.
    fn places(
        &mut self,
        component: i64,
        after: Cursor,
        mut take: impl FnMut(&mut Self, Cursor, Place) -> Result<bool, AskError>,
    ) -> Result<(), AskError> {
        let from = match component == after.component {
            true => (after.document, after.package),
            false => (0, 0),
        };
        let (connection, scope) = (self.connection, self.scope);
        in_component(connection, scope, component, from, |place| {
            let is_told =
                place.relation == "source" && place.package.nevra.name == place.package.source.name;
            if is_told {
                return Ok(true);
            }
            let at = Cursor {
                component,
                document: place.document_id,
                package: place.package_id,
                ..after
            };
            take(self, at, place)
        })
    }

    /// Statements about vulnerabilities that no advisory in use knows of.
    fn statements(&mut self, after: Cursor) -> Result<(), AskError> {
        let connection = self.connection;
        stated::each_from(connection, after.first, |stated| {
            let asked = self.query.vulnerability.as_ref();
            if asked.is_some_and(|asked| *asked != stated.vulnerability)
                || in_advisory(connection, &stated.vulnerability)?
            {
                return Ok(true);
            }
            let here = Cursor {
                statements: true,
                first: stated.statement_id,
                ..Cursor::default()
            };
            let after = after.max(here);
            let all = stated::about(connection, &[stated.vulnerability.as_str()])?;
            let components = named_by(connection, &stated)?;
            for component in components.into_iter().filter(|id| *id >= after.component) {
                self.places(component, after, |answer, at, place| {
                    let subject = subject(&place);
                    let counts = all.iter().find(|other| other.is_about(&subject));
                    if counts.is_none_or(|counts| counts.statement_id != stated.statement_id) {
                        return Ok(true);
                    }
                    let finding = of_statement(&stated, &place);
                    Ok(answer.add(at, finding))
                })?;
                if self.more {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

/// What the advisory says of each version of the component that is known, but of those it does not speak
/// of; none where the version is not known.
fn verdicts(
    connection: &Connection,
    exposure: &Exposure,
    order: Order,
) -> Result<BTreeMap<i64, Option<Verdict>>, AskError> {
    let mut statement = connection
        .prepare_cached("SELECT component_id, version FROM components WHERE name_id = ?1")?;
    let rows = statement.query_map([exposure.name_id], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    let mut verdicts = BTreeMap::new();
    for row in rows {
        let (component_id, version) = row?;
        let verdict = match version.is_empty() {
            true => None,
            false => match exposure.affected.judge(order, &version) {
                Verdict::Outside => continue,
                verdict => Some(verdict),
            },
        };
        verdicts.insert(component_id, verdict);
    }
    Ok(verdicts)
}

fn subject(place: &Place) -> Subject<'_> {
    Subject {
        package: &place.package,
        purl: &place.package_purl,
        component: &place.component,
    }
}

/// Whether an advisory about something in the index has the name.
fn in_advisory(connection: &Connection, name: &str) -> Result<bool, AskError> {
    let mut statement = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM exposed e CROSS JOIN osv_affected a ON a.affected_id = e.affected_id
         CROSS JOIN osv_advisories v ON v.advisory_id = a.advisory_id
         WHERE v.id = ?1 OR EXISTS (SELECT 1 FROM json_each(v.aliases) WHERE value = ?1))",
    )?;
    Ok(statement.query_row([name], |row| row.get(0))?)
}

/// Components that a statement may be about: those of its part's name, or else of its product's.
fn named_by(connection: &Connection, stated: &Stated) -> Result<Vec<i64>, AskError> {
    let subject = stated.part_or_product();
    let mut statement = connection.prepare_cached(
        "SELECT c.component_id FROM names n CROSS JOIN components c ON c.name_id = n.name_id WHERE n.name = ?1 AND n.ecosystem = ?2 ORDER BY c.component_id",
    )?;
    let rows = statement.query_map(params![subject.name, subject.ecosystem], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn finding(
    exposure: &Exposure,
    place: &Place,
    verdict: Option<&Verdict>,
    order: Order,
    stated: &[Stated],
) -> Finding {
    let (status, fixed_in, remark) = by_version(place, verdict, order);
    let subject = subject(place);
    let said = stated.iter().find(|stated| stated.is_about(&subject));
    Finding {
        vulnerability: exposure.id.clone(),
        aliases: exposure.aliases.clone(),
        summary: exposure.summary.clone(),
        severity: exposure.severity.clone(),
        package: place.package.clone(),
        component: place.component.clone(),
        relation: place.relation.clone(),
        status: said.map_or(status, |said| said.status),
        fixed_in,
        said_by: if said.is_some() { "vex" } else { "osv" }.to_owned(),
        justification: said.and_then(|said| said.justification.clone()),
        remark: match said {
            Some(said) => said.remark.clone(),
            None => remark.map(str::to_owned),
        },
        vex: said.map(|said| said.document),
    }
}

/// What versions alone tell. Where they cannot tell it, that is said, and why.
fn by_version(
    place: &Place,
    verdict: Option<&Verdict>,
    order: Order,
) -> (VulnerabilityStatus, Option<String>, Option<&'static str>) {
    let doubt = VulnerabilityStatus::UnderInvestigation;
    match verdict {
        None => (doubt, None, Some("the component's version is not known")),
        Some(Verdict::Fixed(fixed)) if order.is_exact() => {
            (VulnerabilityStatus::Fixed, Some(fixed.clone()), None)
        }
        Some(Verdict::Affected(fixed)) => {
            let why = if place.relation == "upstream" {
                Some("the version is affected upstream; the package may carry a fix of its own")
            } else if place.build_only {
                Some("the component took part in the build only")
            } else if !order.is_exact() && fixed.is_some() {
                Some("versions of this ecosystem are compared as numbers between dots only")
            } else {
                None
            };
            let status = if why.is_some() {
                doubt
            } else {
                VulnerabilityStatus::Affected
            };
            (status, fixed.clone(), why)
        }
        Some(Verdict::Fixed(fixed)) => (
            doubt,
            Some(fixed.clone()),
            Some("versions of this ecosystem are compared as numbers between dots only"),
        ),
        Some(Verdict::Outside) => (VulnerabilityStatus::NotAffected, None, None),
    }
}

fn of_statement(stated: &Stated, place: &Place) -> Finding {
    Finding {
        vulnerability: stated.vulnerability.clone(),
        aliases: Vec::new(),
        summary: String::new(),
        severity: String::new(),
        package: place.package.clone(),
        component: place.component.clone(),
        relation: place.relation.clone(),
        status: stated.status,
        fixed_in: None,
        said_by: "vex".to_owned(),
        justification: stated.justification.clone(),
        remark: stated.remark.clone(),
        vex: Some(stated.document),
    }
}

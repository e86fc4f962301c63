//! One package's facts into the index: in one transaction, and the same again changes nothing.

use super::purl::{Purl, canonical_name};
use super::read::{Component, Edges, Identity, Sink};
use crate::db::{DbError, to_json};
use repo_model::buildinfo::BuildInfo;
use repo_model::wire::sbom::Method;
use repo_model::{FileDigest, HeaderDigest};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use std::collections::HashMap;

/// Places kept of one component in one package: thousands of equal answers help nobody.
const MAX_PLACES: usize = 1_000;

/// Which document is being stored.
#[derive(Debug, Clone)]
pub struct NewDocument {
    /// The package.
    pub header: HeaderDigest,
    /// The document.
    pub sbom: FileDigest,
    /// `cyclonedx-1.6`
    pub format: String,
    /// Row of the build's buildinfo.
    pub buildinfo_id: Option<i64>,
}

/// The document that is stored for a package, with its format.
pub fn stored(
    connection: &Connection,
    header: HeaderDigest,
) -> Result<Option<(String, String)>, DbError> {
    let sql = "SELECT sbom, format FROM documents WHERE header = ?1";
    Ok(connection
        .prepare_cached(sql)?
        .query_row([header.to_hex()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?)
}

/// Takes a package out of the index.
pub fn forget(tx: &Transaction<'_>, header: HeaderDigest) -> Result<(), DbError> {
    let sql = "SELECT document_id FROM documents WHERE header = ?1";
    let found: Option<i64> = tx
        .query_row(sql, [header.to_hex()], |row| row.get(0))
        .optional()?;
    let Some(document_id) = found else {
        return Ok(());
    };
    for table in ["occurrences", "places", "edges", "files", "documents"] {
        let sql = format!("DELETE FROM {table} WHERE document_id = ?1");
        tx.execute(&sql, [document_id])?;
    }
    Ok(())
}

/// Empties the index, but for the advisories.
pub fn clear(tx: &Transaction<'_>) -> Result<(), DbError> {
    tx.execute_batch(
        "DELETE FROM exposed; DELETE FROM files; DELETE FROM edges;
         DELETE FROM places; DELETE FROM occurrences; DELETE FROM documents; DELETE FROM tools;
         DELETE FROM buildinfos; DELETE FROM components; DELETE FROM names; DELETE FROM licences;
         UPDATE position SET evidence_id = 0, digest = '', made_at = 0;",
    )?;
    Ok(())
}

/// Remembers that a document could not be read.
pub fn unreadable(tx: &Transaction<'_>, document: &NewDocument, why: &str) -> Result<(), DbError> {
    forget(tx, document.header)?;
    tx.execute(
        "INSERT INTO documents (header, sbom, format, purl, buildinfo_id, error) VALUES (?1, ?2, ?3, '', ?4, ?5)",
        params![
            document.header.to_hex(),
            document.sbom.to_hex(),
            document.format,
            document.buildinfo_id,
            why.chars().take(1_000).collect::<String>(),
        ],
    )?;
    Ok(())
}

/// The row of a buildinfo, with the packages of its build root.
pub fn buildinfo(
    tx: &Transaction<'_>,
    digest: FileDigest,
    info: &BuildInfo,
) -> Result<i64, DbError> {
    if let Some(known) = buildinfo_id(tx, digest)? {
        return Ok(known);
    }
    tx.execute(
        "INSERT INTO buildinfos (digest) VALUES (?1)",
        [digest.to_hex()],
    )?;
    let id = tx.last_insert_rowid();
    let mut insert = tx.prepare_cached(
        "INSERT INTO tools (buildinfo_id, name, version, arch) VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO NOTHING",
    )?;
    for line in &info.buildroot.toolchain {
        let mut words = line.split_whitespace();
        let (Some(name), Some(version)) = (words.next(), words.next()) else {
            continue;
        };
        insert.execute(params![id, name, version, words.next().unwrap_or_default()])?;
    }
    Ok(id)
}

/// The row of a buildinfo that is known.
pub fn buildinfo_id(connection: &Connection, digest: FileDigest) -> Result<Option<i64>, DbError> {
    let sql = "SELECT buildinfo_id FROM buildinfos WHERE digest = ?1";
    Ok(connection
        .query_row(sql, [digest.to_hex()], |row| row.get(0))
        .optional()?)
}

/// Stores a document's facts as they are read.
pub struct Writer<'a, 'c> {
    tx: &'a Transaction<'c>,
    document: &'a NewDocument,
    document_id: i64,
    /// Rows by `bom-ref`, for the edges.
    known: HashMap<String, i64>,
}

impl<'a, 'c> Writer<'a, 'c> {
    /// Replaces what is stored of the package.
    pub fn new(tx: &'a Transaction<'c>, document: &'a NewDocument) -> Result<Self, DbError> {
        forget(tx, document.header)?;
        Ok(Self {
            tx,
            document,
            document_id: 0,
            known: HashMap::new(),
        })
    }

    /// The row of a component, made if need be; `None` for what is no package URL.
    fn row(&self, purl: &str) -> Result<Option<i64>, DbError> {
        let sql = "SELECT component_id FROM components WHERE purl = ?1";
        let mut select = self.tx.prepare_cached(sql)?;
        if let Some(id) = select.query_row([purl], |row| row.get(0)).optional()? {
            return Ok(Some(id));
        }
        let Some(parsed) = Purl::parse(purl) else {
            return Ok(None);
        };
        let name_id = self.name(&parsed)?;
        self.tx
            .prepare_cached("INSERT INTO components (purl, name_id, version) VALUES (?1, ?2, ?3)")?
            .execute(params![purl, name_id, parsed.version.unwrap_or_default()])?;
        Ok(Some(self.tx.last_insert_rowid()))
    }

    fn name(&self, purl: &Purl) -> Result<i64, DbError> {
        let name = canonical_name(&purl.ecosystem, &purl.name);
        let sql = "SELECT name_id FROM names WHERE name = ?1 AND ecosystem = ?2";
        let mut select = self.tx.prepare_cached(sql)?;
        let found = select.query_row([&name, &purl.ecosystem], |row| row.get(0));
        if let Some(id) = found.optional()? {
            return Ok(id);
        }
        self.tx
            .prepare_cached("INSERT INTO names (ecosystem, name) VALUES (?1, ?2)")?
            .execute([&purl.ecosystem, &name])?;
        let id = self.tx.last_insert_rowid();
        super::osv::expose(self.tx, id, &purl.ecosystem, &name)?;
        Ok(id)
    }

    fn licence(&self, raw: &str, expression: &str) -> Result<i64, DbError> {
        let sql = "SELECT licence_id FROM licences WHERE raw = ?1 AND expression = ?2";
        let mut select = self.tx.prepare_cached(sql)?;
        if let Some(id) = select
            .query_row([raw, expression], |row| row.get(0))
            .optional()?
        {
            return Ok(id);
        }
        let mapped = !expression.contains("LicenseRef-");
        self.tx
            .prepare_cached("INSERT INTO licences (raw, expression, mapped) VALUES (?1, ?2, ?3)")?
            .execute(params![raw, expression, mapped])?;
        Ok(self.tx.last_insert_rowid())
    }

    fn occurrence(
        &self,
        component_id: i64,
        relation: &str,
        excluded: bool,
        methods: &[Method],
        licence_id: Option<i64>,
    ) -> Result<(), DbError> {
        self.tx
            .prepare_cached(
                "INSERT INTO occurrences (component_id, document_id, relation, excluded, methods, licence_id)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                component_id,
                self.document_id,
                relation,
                excluded,
                to_json(&methods, "list")?,
                licence_id
            ])?;
        Ok(())
    }

    fn file(&self, file: &Component) -> Result<(), DbError> {
        let digests = [("SHA-1", 20), ("SHA-256", 32), ("SHA-512", 64)];
        let [Some(sha1), Some(sha256), Some(sha512)] =
            digests.map(|(algorithm, bytes)| file.hash(algorithm, bytes))
        else {
            // A link has no content.
            return Ok(());
        };
        self.tx
            .prepare_cached(
                "INSERT INTO files (document_id, path, sha1, sha256, sha512) VALUES (?1, ?2, ?3, ?4, ?5)",
            )?
            .execute(params![self.document_id, file.name, sha1, sha256, sha512])?;
        Ok(())
    }
}

fn methods(identities: &[Identity]) -> Vec<Method> {
    let methods = identities.iter().flat_map(|identity| &identity.methods);
    methods
        .take(20)
        .map(|method| Method {
            source: method.value.clone(),
            technique: method.technique.clone(),
            // Between 0 and 100 after clamping.
            confidence_percent: (method.confidence.clamp(0.0, 1.0) * 100.0).round() as u8,
        })
        .collect()
}

impl Sink for Writer<'_, '_> {
    type Error = DbError;

    fn package(&mut self, package: &Component) -> Result<(), DbError> {
        let purl = package.purl.as_deref().unwrap_or_default();
        self.tx.execute(
            "INSERT INTO documents (header, sbom, format, purl, buildinfo_id) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                self.document.header.to_hex(),
                self.document.sbom.to_hex(),
                self.document.format,
                purl,
                self.document.buildinfo_id
            ],
        )?;
        self.document_id = self.tx.last_insert_rowid();
        let licence_id = match package.licence() {
            Some(expression) => {
                let raw = package
                    .property("package:rpm:license")
                    .unwrap_or(expression);
                Some(self.licence(raw, expression)?)
            }
            None => None,
        };
        if let Some(id) = self.row(purl)? {
            self.occurrence(id, "self", false, &[], licence_id)?;
            let name = package.bom_ref.clone().unwrap_or_else(|| purl.to_owned());
            self.known.insert(name, id);
        }
        for identity in package.identities() {
            if let Some(upstream) = &identity.concluded_value
                && let Some(id) = self.row(upstream)?
            {
                self.occurrence(
                    id,
                    "upstream",
                    false,
                    &methods(std::slice::from_ref(identity)),
                    None,
                )?;
            }
        }
        for source in package.ancestors() {
            if let Some(id) = self.row(source)? {
                self.occurrence(id, "source", false, &[], None)?;
            }
        }
        Ok(())
    }

    fn component(&mut self, component: &Component) -> Result<(), DbError> {
        if component.kind == "file" {
            return self.file(component);
        }
        let Some(purl) = component.purl.as_deref() else {
            return Ok(());
        };
        let Some(id) = self.row(purl)? else {
            return Ok(());
        };
        let licence_id = match component.licence() {
            Some(expression) => Some(self.licence(expression, expression)?),
            None => None,
        };
        let excluded = component.scope.as_deref() == Some("excluded");
        self.occurrence(
            id,
            "part",
            excluded,
            &methods(component.identities()),
            licence_id,
        )?;
        let mut insert = self.tx.prepare_cached(
            "INSERT INTO places (document_id, component_id, path) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        for path in component.places().take(MAX_PLACES) {
            insert.execute(params![self.document_id, id, path])?;
        }
        let name = component.bom_ref.clone().unwrap_or_else(|| purl.to_owned());
        self.known.insert(name, id);
        Ok(())
    }

    fn edges(&mut self, edges: &Edges) -> Result<(), DbError> {
        let Some(from) = self.known.get(&edges.from) else {
            return Ok(());
        };
        let mut insert = self.tx.prepare_cached(
            "INSERT INTO edges (document_id, to_component, from_component) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
        )?;
        for to in edges.depends_on.iter().filter_map(|to| self.known.get(to)) {
            insert.execute(params![self.document_id, to, from])?;
        }
        Ok(())
    }
}

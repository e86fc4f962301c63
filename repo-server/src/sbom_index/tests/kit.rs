//! A data directory with packages, releases and an index.

use super::super::read::ReadError;
use super::super::write::{self, NewDocument};
use super::super::{SbomIndex, fill};
use crate::db::{Db, DbError};
use crate::layout;
use crate::sbom_index::questions::{AskError, Scope};
use repo_model::{FileDigest, HeaderDigest, Nevra, ReleaseId};
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use std::sync::Arc;

/// A package to be added, with what its SBOM says.
pub struct Package {
    pub nevra: Nevra,
    added: u64,
    removed: Option<u64>,
    licence: (String, String),
    upstream: Vec<String>,
    parts: Vec<Value>,
    edges: Vec<(String, String)>,
    tools: Vec<String>,
    signer: Option<String>,
}

impl Package {
    pub fn new(nevra: &str, added: u64) -> Self {
        Self {
            nevra: nevra.parse().unwrap(),
            added,
            removed: None,
            licence: ("MIT".to_owned(), "MIT".to_owned()),
            upstream: Vec::new(),
            parts: Vec::new(),
            edges: Vec::new(),
            tools: Vec::new(),
            signer: None,
        }
    }

    pub fn signer(self, certificate: &str) -> Self {
        Self {
            signer: Some(certificate.to_owned()),
            ..self
        }
    }

    pub fn removed(self, release: u64) -> Self {
        Self {
            removed: Some(release),
            ..self
        }
    }

    pub fn licence(self, raw: &str, expression: &str) -> Self {
        Self {
            licence: (raw.to_owned(), expression.to_owned()),
            ..self
        }
    }

    pub fn upstream(mut self, purl: &str) -> Self {
        self.upstream.push(purl.to_owned());
        self
    }

    pub fn part(self, purl: &str, source: &str, place: &str) -> Self {
        self.scoped_part(purl, source, place, "required")
    }

    pub fn scoped_part(mut self, purl: &str, source: &str, place: &str, scope: &str) -> Self {
        let technique = match source {
            "go-buildinfo" | "cargo-auditable" => "binary-analysis",
            _ => "manifest-analysis",
        };
        let places: Vec<Value> = match place {
            "" => Vec::new(),
            place => vec![json!({"location": place})],
        };
        self.parts.push(json!({
            "type": "library", "bom-ref": purl, "name": "x", "purl": purl, "scope": scope,
            "evidence": {"identity": [{"field": "purl", "methods":
                [{"technique": technique, "confidence": 1.0, "value": source}]}], "occurrences": places},
        }));
        self
    }

    /// A file whose digests are all made of this byte.
    pub fn file(mut self, path: &str, byte: u8) -> Self {
        let hash = |alg, bytes| json!({"alg": alg, "content": format!("{byte:02x}").repeat(bytes)});
        let hashes = [hash("SHA-1", 20), hash("SHA-256", 32), hash("SHA-512", 64)];
        self.parts
            .push(json!({"type": "file", "name": path, "hashes": hashes}));
        self
    }

    pub fn edge(mut self, from: &str, to: &str) -> Self {
        self.edges.push((from.to_owned(), to.to_owned()));
        self
    }

    pub fn tools(mut self, tools: &[&str]) -> Self {
        self.tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
        self
    }

    pub fn header(&self) -> HeaderDigest {
        HeaderDigest::from_bytes(*FileDigest::of(self.nevra.to_string().as_bytes()).as_bytes())
    }

    /// The file as it is published.
    pub fn signed_file(&self) -> FileDigest {
        FileDigest::of(format!("signed {}", self.nevra).as_bytes())
    }

    pub fn purl(&self) -> String {
        let Nevra { name, evr, arch } = &self.nevra;
        let epoch = match evr.epoch {
            0 => String::new(),
            epoch => format!("&epoch={epoch}"),
        };
        format!(
            "pkg:rpm/test/{name}@{}-{}?arch={arch}{epoch}",
            evr.version, evr.release
        )
    }

    pub fn source(&self) -> Nevra {
        Nevra {
            arch: "src".to_owned(),
            ..self.nevra.clone()
        }
    }

    /// The CycloneDX document.
    pub fn document(&self) -> Value {
        let purl = self.purl();
        let source = purl.replace(&format!("arch={}", self.nevra.arch), "arch=src");
        let upstream = self.upstream.iter().map(|purl| {
            json!({"field": "purl", "concludedValue": purl, "methods":
                [{"technique": "manifest-analysis", "confidence": 0.9, "value": "python-metadata"}]})
        });
        let mut dependencies: Vec<Value> = self
            .edges
            .iter()
            .map(|(from, to)| json!({"ref": from, "dependsOn": [to]}))
            .collect();
        let parts: Vec<_> = self
            .parts
            .iter()
            .filter_map(|part| part.get("bom-ref"))
            .collect();
        dependencies.insert(0, json!({"ref": purl, "dependsOn": parts}));
        json!({
            "bomFormat": "CycloneDX",
            "metadata": {"component": {
                "type": "library", "bom-ref": purl, "name": self.nevra.name, "purl": purl,
                "licenses": [{"expression": self.licence.1, "acknowledgement": "declared"}],
                "pedigree": {"ancestors": [{"type": "library", "name": "x", "purl": source}]},
                "evidence": {"identity": upstream.collect::<Vec<_>>()},
                "properties": [
                    {"name": "package:rpm:sha256header", "value": self.header().to_hex()},
                    {"name": "package:rpm:license", "value": self.licence.0}],
            }},
            "components": self.parts,
            "dependencies": dependencies,
        })
    }
}

/// A data directory.
pub struct Kit {
    pub server: Db,
    pub index: Arc<SbomIndex>,
    pub runtime: tokio::runtime::Runtime,
    pub dir: tempfile::TempDir,
}

impl Kit {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            server: Db::open(&layout::database(dir.path())).unwrap(),
            index: Arc::new(SbomIndex::open(dir.path()).unwrap()),
            runtime: tokio::runtime::Runtime::new().unwrap(),
            dir,
        }
    }

    pub fn scope(release: u64) -> Scope {
        Scope {
            release: ReleaseId(release),
            repo: None,
            arch: None,
            package: None,
        }
    }

    pub fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Connection) -> Result<T, AskError> + Send + 'static,
    ) -> T {
        self.runtime.block_on(self.index.db.read(question)).unwrap()
    }

    pub fn add(&mut self, package: Package) {
        self.add_all(vec![package]);
    }

    /// Adds packages to the server's tables and to the index.
    pub fn add_all(&mut self, packages: Vec<Package>) {
        let packages = Arc::new(packages);
        let rows = Arc::clone(&packages);
        let server = self.server.write(move |tx| {
            for package in rows.iter() {
                insert(tx, package)?;
            }
            Ok::<_, DbError>(())
        });
        self.runtime.block_on(server).unwrap();
        let index = self.index.db.write(move |tx| {
            for package in packages.iter() {
                let buildinfo = store_tools(tx, package)?;
                let document = NewDocument {
                    header: package.header(),
                    sbom: FileDigest::of(b"sbom"),
                    format: "cyclonedx-1.6".to_owned(),
                    buildinfo_id: Some(buildinfo),
                };
                // The order of keys is that of a real document.
                let json = in_order(&package.document());
                fill::store(tx, &document, json.as_bytes())?;
                let stored = write::stored(tx, package.header())?;
                assert!(stored.is_some(), "{}", package.nevra);
            }
            Ok::<_, crate::jobs::JobError>(())
        });
        self.runtime.block_on(index).unwrap();
        let unreadable: u64 = self.ask(|db| {
            let sql = "SELECT count(*) FROM documents WHERE error IS NOT NULL";
            Ok(db.query_row(sql, [], |row| row.get(0))?)
        });
        assert_eq!(unreadable, 0);
    }
}

/// serde_json sorts keys; documents have metadata first.
pub fn in_order(document: &Value) -> String {
    format!(
        r#"{{"bomFormat":"CycloneDX","metadata":{},"components":{},"dependencies":{}}}"#,
        document["metadata"], document["components"], document["dependencies"]
    )
}

fn store_tools(tx: &rusqlite::Transaction<'_>, package: &Package) -> Result<i64, DbError> {
    let digest = FileDigest::of(package.nevra.to_string().as_bytes());
    tx.execute(
        "INSERT INTO buildinfos (digest) VALUES (?1) ON CONFLICT DO NOTHING",
        [digest.to_hex()],
    )?;
    let id = write::buildinfo_id(tx, digest)?.unwrap();
    for tool in &package.tools {
        let words: Vec<&str> = tool.split(' ').collect();
        tx.execute(
            "INSERT INTO tools (buildinfo_id, name, version, arch) VALUES (?1, ?2, ?3, ?4)",
            params![id, words[0], words[1], words[2]],
        )?;
    }
    Ok(id)
}

fn insert(tx: &rusqlite::Transaction<'_>, package: &Package) -> Result<(), DbError> {
    let nevra = &package.nevra;
    let digest = FileDigest::of(nevra.to_string().as_bytes()).to_hex();
    tx.prepare_cached(
        "INSERT INTO builds (manifest_digest, repo, source_nevra, source_name, source_file, buildinfo, uploaded_by, received_at, changed_at, stage, stage_json)
         VALUES (?1, 'base', ?2, ?3, ?1, ?1, 'test', 1, 1, 'published', '{}')",
    )?
    .execute(params![digest, package.source().to_string(), nevra.name])?;
    let build = tx.last_insert_rowid();
    tx.prepare_cached(
        "INSERT INTO packages (build_id, repo, nevra, name, arch, summary, header_digest, unsigned_file, unsigned_size_bytes, href,
            signed_file, signed_size_bytes, signed_head_bytes, detached_signature, summary_statement)
         VALUES (?1, 'base', ?2, ?3, ?4, '', ?5, ?5, 1, ?6, ?7, 1, 1, '', '')",
    )?
    .execute(params![
        build,
        nevra.to_string(),
        nevra.name,
        nevra.arch,
        package.header().to_hex(),
        repo_model::manifest::package_path(nevra),
        package.signed_file().to_hex()
    ])?;
    let id = tx.last_insert_rowid();
    if let Some(signer) = &package.signer {
        crate::db::builds::set_signer(tx, id.unsigned_abs(), signer)?;
    }
    for arch in ["x86_64", "aarch64"] {
        if nevra.arch == arch || nevra.arch == "noarch" {
            tx.prepare_cached(
                "INSERT INTO members (repo, arch, package_id, added_release, removed_release) VALUES ('base', ?1, ?2, ?3, ?4)",
            )?
            .execute(params![arch, id, package.added, package.removed])?;
        }
    }
    Ok(())
}

/// What reading a document says.
pub fn read_error(
    tx: &rusqlite::Transaction<'_>,
    document: &[u8],
    about: HeaderDigest,
) -> ReadError {
    let new = NewDocument {
        header: about,
        sbom: FileDigest::of(document),
        format: "cyclonedx-1.6".to_owned(),
        buildinfo_id: None,
    };
    let mut writer = write::Writer::new(tx, &new).unwrap();
    super::super::read::read(document, about, &mut writer)
        .unwrap()
        .unwrap_err()
}

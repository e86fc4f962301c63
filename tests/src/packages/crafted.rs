//! Builds made to order, without a build: right in every digest unless told to lie.

use crate::http::{Answer, Http};
use repo_model::buildinfo::{self, BuildInfo};
use repo_model::rpm::testkit::{Field, Rpm};
use repo_model::rpm::{Head, Package, tag};
use repo_model::wire::intake::{BuildManifest, BuildReceipt};
use repo_model::{FileDigest, Nevra};
use std::collections::BTreeMap;

/// The pieces of one build, as bytes.
#[derive(Debug, Clone)]
pub struct Crafted {
    /// The source package.
    pub source: Vec<u8>,
    /// The packages.
    pub packages: Vec<Vec<u8>>,
    /// The buildinfo.
    pub buildinfo: Vec<u8>,
}

/// A source package of this name and version, release 1.
pub fn source(name: &str, version: &str) -> Rpm {
    Rpm::source(name).set(tag::VERSION, Field::str(version))
}

/// A noarch package of this name and version, release 1, with one file.
pub fn binary(name: &str, version: &str) -> Rpm {
    Rpm::binary(name)
        .set(tag::VERSION, Field::str(version))
        .set(
            tag::PROVIDEVERSION,
            Field::strings([format!("{version}-1")]),
        )
        .set(
            tag::SOURCERPM,
            Field::str(format!("{name}-{version}-1.src.rpm")),
        )
        .file(&format!("/usr/share/{name}"), version.as_bytes())
}

impl Crafted {
    /// A sound build: one source package, one noarch package.
    pub fn new(name: &str, version: &str) -> Self {
        Self::of(
            source(name, version).bytes(),
            vec![binary(name, version).bytes()],
        )
    }

    /// A build of these files with a buildinfo that fits them.
    pub fn of(source: Vec<u8>, packages: Vec<Vec<u8>>) -> Self {
        let buildinfo = buildinfo_of(&source, &packages).to_json();
        Self {
            source,
            packages,
            buildinfo,
        }
    }

    /// The manifest that names them.
    pub fn manifest(&self, repo: &str) -> BuildManifest {
        BuildManifest {
            repo: repo.parse().expect("a repository name"),
            source: FileDigest::of(&self.source),
            packages: self
                .packages
                .iter()
                .map(|package| FileDigest::of(package))
                .collect(),
            buildinfo: FileDigest::of(&self.buildinfo),
            provenance: None,
        }
    }

    /// Uploads every piece.
    ///
    /// # Panics
    /// When one is refused.
    pub fn upload(&self, http: &Http) {
        for blob in self.packages.iter().chain([&self.source, &self.buildinfo]) {
            let answer = put(http, blob);
            assert!(
                matches!(answer.status, 200 | 201),
                "{}: {}",
                answer.status,
                answer.text()
            );
        }
    }

    /// Uploads every piece and hands the build over to repository `base`.
    pub fn offer(&self, http: &Http) -> Answer {
        self.upload(http);
        http.post_json("/api/v1/builds", &self.manifest("base"))
    }

    /// The same; the receipt.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish(&self, http: &Http) -> BuildReceipt {
        let answer = self.offer(http);
        assert!(
            matches!(answer.status, 200 | 201),
            "{}: {}",
            answer.status,
            answer.text()
        );
        answer.json()
    }
}

/// `PUT` of a blob under its digest.
pub fn put(http: &Http, blob: &[u8]) -> Answer {
    http.put(&format!("/api/v1/blobs/{}", FileDigest::of(blob)), blob)
}

/// The buildinfo of these files. What cannot be read is left out of the outputs or named `broken`.
pub fn buildinfo_of(source: &[u8], packages: &[Vec<u8>]) -> BuildInfo {
    let nevra = |bytes: &[u8]| {
        let package = Head::parse(bytes)
            .and_then(|head| Package::from_head(&head))
            .ok();
        package.map(|package| (package.nevra, package.header_digest))
    };
    let (name, header) = nevra(source).unwrap_or_else(|| {
        let broken: Nevra = "broken-0-0.src".parse().expect("a NEVRA");
        (broken, repo_model::HeaderDigest::from_bytes([0; 32]))
    });
    let mut outputs: Vec<_> = packages
        .iter()
        .filter_map(|bytes| {
            let (nevra, header_sha256) = nevra(bytes)?;
            let size_bytes = bytes.len() as u64;
            Some(buildinfo::Output {
                nevra,
                file_sha256: FileDigest::of(bytes),
                header_sha256,
                size_bytes,
                payload_sha256: None,
                payload_alt_sha256: None,
            })
        })
        .collect();
    outputs.sort_by(|a, b| a.nevra.cmp(&b.nevra));
    let text = String::new();
    BuildInfo {
        schema: buildinfo::SCHEMA.to_owned(),
        source: buildinfo::Source {
            nevra: name,
            sha256: FileDigest::of(source),
            header_sha256: header,
            cookie: None,
        },
        rpmbuild: buildinfo::RpmBuild {
            version: "4.18.0".to_owned(),
            mode: "rebuild".to_owned(),
            argv: Vec::new(),
            target: "x86_64".to_owned(),
        },
        macros: buildinfo::Macros {
            file_sha256: FileDigest::of(text.as_bytes()),
            text,
            evaluated: BTreeMap::new(),
        },
        time: buildinfo::TimeRules {
            source_date_epoch: None,
            origin: "changelog".to_owned(),
            mtime_policy: "clamp".to_owned(),
        },
        env: BTreeMap::new(),
        identity: buildinfo::Identity {
            hostname: "probe".to_owned(),
            uid: 1000,
            gid: 1000,
            user: "probe".to_owned(),
            umask: "0022".to_owned(),
        },
        machine: buildinfo::Machine {
            arch: "x86_64".to_owned(),
            kernel: "6.0".to_owned(),
            ncpu: 1,
            page_size: 4096,
            cpu_flags_sha256: None,
            memory_mib: None,
        },
        buildroot: buildinfo::Buildroot {
            kind: "host".to_owned(),
            lock_sha256: FileDigest::of(b""),
            installer: "rpm".to_owned(),
            packages: 0,
            toolchain: Vec::new(),
            tree_sha256: None,
            locked: Vec::new(),
        },
        sandbox: buildinfo::Sandbox {
            kind: "bwrap".to_owned(),
            version: "0.8.0".to_owned(),
            network: "none".to_owned(),
            build_path: "/builddir".to_owned(),
            limits: "weak".to_owned(),
        },
        outputs,
    }
}

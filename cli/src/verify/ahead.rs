//! Evidence about many packages, asked for in few requests before each package is looked at by itself: a
//! server far away is waited for a few times, and not some times for each package.
//!
//! What a source cannot give so, or leaves out, is asked for one by one as ever, so nothing here decides anything.

use super::gather::wanted;
use super::source::{Item, Source, SourceError};
use super::subject::Subject;
use repo_model::rpm::Package;
use repo_model::wire::status::{BuildStatus, PackageStatus};
use repo_model::{HeaderDigest, Nevra};
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

/// A source, and what it has answered ahead of time.
pub struct Ahead<'s> {
    source: &'s (dyn Source + Sync),
    /// By [`Item::name`].
    kept: HashMap<String, Vec<u8>>,
}

impl<'s> Ahead<'s> {
    /// Nothing was asked.
    pub fn nothing(source: &'s (dyn Source + Sync)) -> Self {
        Self {
            source,
            kept: HashMap::new(),
        }
    }

    /// Asks for everything about these packages that can be foretold.
    pub fn of<'p>(
        source: &'s (dyn Source + Sync),
        subjects: impl Iterator<Item = &'p Subject>,
    ) -> Result<Self, SourceError> {
        let mut ahead = Self::nothing(source);
        let packages: Vec<Asked> = subjects.filter_map(Asked::of).collect();
        // One package is asked about as it always was.
        if packages.len() < 2 {
            return Ok(ahead);
        }
        let headers: Vec<(Nevra, HeaderDigest)> = packages
            .iter()
            .map(|asked| (asked.nevra.clone(), asked.header))
            .collect();
        let Some(builds) = source.packages(&headers)? else {
            return Ok(ahead);
        };
        let mut items: BTreeMap<String, Item> = BTreeMap::new();
        for asked in &packages {
            let known = about(&builds, &asked.nevra);
            for (build, package) in &known {
                if package.header == asked.header {
                    let all = wanted(build, package).into_iter();
                    items.extend(all.map(|item| (item.name(), item)));
                    items.extend(asked.head(package).map(|item| (item.name(), item)));
                }
            }
            ahead.keep_builds(&asked.nevra, known);
        }
        let items: Vec<Item> = items.into_values().collect();
        ahead.kept.extend(source.many(&items)?);
        ahead.keep_checkpoint(&items)?;
        Ok(ahead)
    }

    /// As the answer about one package would be, with nothing about others in it.
    fn keep_builds(&mut self, nevra: &Nevra, known: Vec<(&BuildStatus, &PackageStatus)>) {
        let alone: Vec<BuildStatus> = known
            .into_iter()
            .map(|(build, package)| BuildStatus {
                packages: vec![package.clone()],
                ..without_packages(build)
            })
            .collect();
        if let Ok(json) = serde_json::to_vec(&alone) {
            self.kept.insert(Item::Builds(nevra.clone()).name(), json);
        }
    }

    /// One head of the log for all. It must not be older than the proofs: while one of them is still to come, it
    /// is asked for after that.
    fn keep_checkpoint(&mut self, items: &[Item]) -> Result<(), SourceError> {
        let mut bundles = items.iter().filter(|item| matches!(item, Item::Bundle(_)));
        if bundles.all(|item| self.kept.contains_key(&item.name()))
            && let Some(note) = self.source.fetch(&Item::Checkpoint)?
        {
            self.kept.insert(Item::Checkpoint.name(), note);
        }
        Ok(())
    }
}

impl Source for Ahead<'_> {
    fn open(&self, item: &Item) -> Result<Option<Box<dyn Read + '_>>, SourceError> {
        match self.kept.get(&item.name()) {
            Some(bytes) => Ok(Some(Box::new(Cursor::new(bytes)))),
            None => self.source.open(item),
        }
    }

    fn fetch(&self, item: &Item) -> Result<Option<Vec<u8>>, SourceError> {
        // Documents were checked when they came.
        match self.kept.get(&item.name()) {
            Some(bytes) => Ok(Some(bytes.clone())),
            None => self.source.fetch(item),
        }
    }
}

/// A package that is asked about.
struct Asked {
    nevra: Nevra,
    header: HeaderDigest,
    /// Whether its head is still to be had.
    is_head_wanted: bool,
}

impl Asked {
    /// None: by name alone it cannot be asked for with others, and what is no package is told later.
    fn of(subject: &Subject) -> Option<Self> {
        let of_head = |head| {
            let package = Package::from_head(head).ok()?;
            Some(Self {
                nevra: package.nevra,
                header: head.header_digest(),
                is_head_wanted: false,
            })
        };
        match subject {
            Subject::File { head, .. } => of_head(head),
            Subject::Head(head) => of_head(head),
            Subject::Named(_) => None,
            Subject::Installed { nevra, header } => Some(Self {
                nevra: nevra.clone(),
                header: *header,
                is_head_wanted: true,
            }),
        }
    }

    fn head(&self, package: &PackageStatus) -> Option<Item> {
        self.is_head_wanted.then(|| Item::Head {
            header: package.header,
            path: String::new(),
        })
    }
}

/// The packages of this name, with their builds: as many as there are repositories that have it.
fn about<'b>(
    builds: &'b [BuildStatus],
    nevra: &Nevra,
) -> Vec<(&'b BuildStatus, &'b PackageStatus)> {
    let mut known = Vec::new();
    for build in builds {
        let of_name = build.packages.iter().filter(|one| one.nevra == *nevra);
        known.extend(of_name.map(|package| (build, package)));
    }
    known
}

/// A build without what fills most of its status and is about others.
pub(super) fn without_packages(build: &BuildStatus) -> BuildStatus {
    BuildStatus {
        packages: Vec::new(),
        source: build.source.clone(),
        repo: build.repo.clone(),
        stage: build.stage.clone(),
        rebuilds: build.rebuilds.clone(),
        jobs: Vec::new(),
        documents: Vec::new(),
        ..*build
    }
}

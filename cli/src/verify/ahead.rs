//! Evidence about many packages, asked for in few requests before each package is looked at by itself: a
//! server far away is waited for a few times, and not some times for each package.
//!
//! What a source cannot give so, or leaves out, is asked for one by one as ever, so nothing here decides anything.

use super::gather::{MAX_DOCUMENTS, wanted};
use super::source::{Item, Source, SourceError};
use super::subject::Subject;
use repo_model::rpm::Package;
use repo_model::wire::status::{BuildStatus, PackageStatus};
use repo_model::{HeaderDigest, Nevra};
use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};

/// Most bytes of all builds that are kept: each package has its own copy of what it shares with others. What is
/// beyond is asked for one by one.
const MAX_BUILDS_BYTES: usize = 64 << 20;

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
        let mut left = MAX_BUILDS_BYTES;
        for asked in &packages {
            let known = builds_of(&builds, &asked.nevra);
            // The first counts, as for whoever asks for one.
            let found = known.iter().find_map(|build| {
                let mut packages = build.packages.iter();
                let package = packages.find(|package| package.header == asked.header)?;
                Some((build, package))
            });
            if let Some((build, package)) = found {
                let all = wanted(build, package).into_iter().take(MAX_DOCUMENTS);
                items.extend(all.map(|item| (item.name(), item)));
                items.extend(asked.head(package).map(|item| (item.name(), item)));
            }
            ahead.keep_builds(&asked.nevra, &known, &mut left);
        }
        let items: Vec<Item> = items.into_values().collect();
        ahead.kept.extend(source.many(&items)?);
        ahead.keep_checkpoint(&items)?;
        Ok(ahead)
    }

    /// As the answer about one package would be, with nothing about others in it.
    fn keep_builds(&mut self, nevra: &Nevra, alone: &[BuildStatus], left: &mut usize) {
        let name = Item::Builds(nevra.clone()).name();
        if self.kept.contains_key(&name) {
            return;
        }
        if let Ok(json) = serde_json::to_vec(alone)
            && let Some(rest) = left.checked_sub(json.len())
        {
            *left = rest;
            self.kept.insert(name, json);
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

/// What the server would answer about this name alone: as many builds as there are repositories that have it.
pub(super) fn builds_of(builds: &[BuildStatus], nevra: &Nevra) -> Vec<BuildStatus> {
    let mut found = Vec::new();
    for build in builds {
        let of_name = build.packages.iter().filter(|one| one.nevra == *nevra);
        let packages: Vec<_> = of_name.cloned().collect();
        if !packages.is_empty() {
            found.push(BuildStatus {
                packages,
                ..without_packages(build)
            });
        }
    }
    found
}

/// A build without what fills most of its status and is about others.
fn without_packages(build: &BuildStatus) -> BuildStatus {
    BuildStatus {
        packages: Vec::new(),
        source: build.source.clone(),
        repo: build.repo.clone(),
        stage: build.stage.clone(),
        rebuilds: build.rebuilds.clone(),
        waits_for: Vec::new(),
        jobs: Vec::new(),
        documents: Vec::new(),
        ..*build
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Client;
    use crate::testing::{self, Answer};
    use crate::verify::{Cached, Server};
    use mirrors::tar;
    use repo_model::FileDigest;
    use repo_model::wire::evidence::AskDocuments;
    use std::sync::atomic::AtomicU64;

    const SBOM: &str = "{\"sbom\":1}";
    const LIE: &str = "{\"sbom\":2}";

    fn digest(of: &str) -> FileDigest {
        FileDigest::of(of.as_bytes())
    }

    /// Installed packages `p0`, `p1`, ... of which the server knows the first two.
    fn subjects(count: usize) -> Vec<Subject> {
        let subject = |number: usize| Subject::Installed {
            nevra: format!("p{number}-1-1.noarch").parse().unwrap(),
            header: HeaderDigest::of(format!("{number}").as_bytes()),
        };
        (0..count).map(subject).collect()
    }

    fn builds() -> String {
        let package = |number: u8| {
            serde_json::json!({
                "nevra": format!("p{number}-1-1.noarch"),
                "header": HeaderDigest::of(format!("{number}").as_bytes()),
                "unsigned_file": digest("u"), "signed_file": digest("s"), "href": "p.rpm", "size_bytes": 1,
                "summary": "", "evidence": [
                    {"kind": "sbom", "label": "a", "digest": digest(SBOM)},
                    {"kind": "sbom", "label": "b", "digest": digest("missing")},
                    {"kind": "attachment", "label": "log", "digest": digest("log")}
                ]
            })
        };
        serde_json::json!([{
            "build": 1, "repo": "base", "source": "p-1-1.src", "source_file": digest("f"),
            "buildinfo": digest("b"), "provenance": null, "stage": "received",
            "received_at": "2026-11-20T10:06:00Z", "changed_at": "2026-11-20T10:06:00Z",
            "packages": [package(0), package(1)], "rebuilds": [], "jobs": []
        }])
        .to_string()
    }

    /// `documents`: what the answer about many has for the SBOM.
    fn server(documents: &'static str) -> testing::Server {
        testing::Server::start(move |request| match (&*request.method, &*request.path) {
            ("POST", "/api/v1/evidence/packages") => Answer::json(200, &builds()),
            ("POST", "/api/v1/evidence/documents") => {
                let mut packed = Vec::new();
                let sbom = Item::Document(digest(SBOM)).name();
                for name in [&*sbom, "documents/../../etc/passwd", "unasked"] {
                    tar::write_file(&mut packed, name, documents.as_bytes()).unwrap();
                }
                tar::finish(&mut packed).unwrap();
                Answer::json(200, &String::from_utf8(packed).unwrap())
            }
            ("GET", path) if path.ends_with(&digest(SBOM).to_hex()) => Answer::json(200, SBOM),
            _ => Answer::status(404),
        })
    }

    fn connect(server: &testing::Server) -> Server {
        Server(Client::new(&server.url(), None).unwrap())
    }

    fn builds_item(number: u8) -> Item {
        Item::Builds(format!("p{number}-1-1.noarch").parse().unwrap())
    }

    fn asked(server: &testing::Server) -> Vec<String> {
        let requests = server.requests().into_iter();
        requests
            .map(|one| format!("{} {}", one.method, one.path))
            .collect()
    }

    #[test]
    fn many_packages_take_two_questions_and_each_finds_its_own() {
        let server = server(SBOM);
        let source = connect(&server);
        let subjects = subjects(3);
        let ahead = Ahead::of(&source, subjects.iter()).unwrap();
        for number in [0, 1] {
            let json = ahead.fetch(&builds_item(number)).unwrap().unwrap();
            let builds: Vec<BuildStatus> = serde_json::from_slice(&json).unwrap();
            assert_eq!(builds[0].packages.len(), 1, "nothing about others");
            assert_eq!(
                builds[0].packages[0].header,
                HeaderDigest::of(format!("{number}").as_bytes())
            );
        }
        let stranger = ahead.fetch(&builds_item(2)).unwrap().unwrap();
        assert_eq!(stranger, b"[]", "it is known that it is not known");
        let sbom = ahead.fetch(&Item::Document(digest(SBOM))).unwrap();
        assert_eq!(sbom.unwrap(), SBOM.as_bytes());
        assert_eq!(
            asked(&server),
            [
                "POST /api/v1/evidence/packages",
                "POST /api/v1/evidence/documents",
                "GET /log/checkpoint"
            ]
        );
        // What was left out is asked for by itself, and what no package needs not at all.
        assert_eq!(
            ahead.fetch(&Item::Document(digest("missing"))).unwrap(),
            None
        );
        assert!(
            !asked(&server)
                .iter()
                .any(|one| one.contains(&digest("log").to_hex()))
        );
        assert!(
            !ahead
                .kept
                .keys()
                .any(|name| name.contains("..") || name == "unasked")
        );
    }

    #[test]
    fn a_package_with_too_many_documents_has_some_of_them_asked_for() {
        let mut all: serde_json::Value = serde_json::from_str(&builds()).unwrap();
        let link = |number| serde_json::json!({"kind": "sbom", "label": "", "digest": digest(&format!("{number}"))});
        all[0]["packages"][0]["evidence"] = (0..MAX_DOCUMENTS + 10).map(link).collect();
        let all = all.to_string();
        let server = testing::Server::start(move |request| match &*request.path {
            "/api/v1/evidence/packages" => Answer::json(200, &all),
            _ => Answer::json(200, &"\0".repeat(1024)),
        });
        let source = connect(&server);
        let subjects = subjects(1);
        // The same twice: what is wanted of it does not add up.
        Ahead::of(&source, [&subjects[0], &subjects[0]].into_iter()).unwrap();
        let requests = server.requests().into_iter();
        let documents = requests.filter(|one| one.path.ends_with("/documents"));
        let asked = documents.map(|one| {
            serde_json::from_slice::<AskDocuments>(&one.body)
                .unwrap()
                .documents
        });
        assert_eq!(asked.flatten().count(), MAX_DOCUMENTS);
    }

    #[test]
    fn requests_for_many_share_one_limit() {
        let server = server(SBOM);
        let source = connect(&server);
        let items = [Item::Document(digest(SBOM))];
        let left = AtomicU64::new(10_000);
        assert_eq!(source.many_within(&items, &left).unwrap().len(), 1);
        assert!(left.into_inner() < 10_000);
        let before = server.requests().len();
        let left = AtomicU64::new(500);
        assert!(source.many_within(&items, &left).unwrap().is_empty());
        // Nothing is left, so nothing is asked for.
        assert!(source.many_within(&items, &left).unwrap().is_empty());
        assert_eq!(server.requests().len(), before + 1);
    }

    #[test]
    fn a_stranger_of_the_same_name_does_not_take_the_kept_answer_away() {
        let dir = tempfile::tempdir().unwrap();
        let nevra: Nevra = "p0-1-1.noarch".parse().unwrap();
        let (good, stranger) = (HeaderDigest::of(b"0"), HeaderDigest::of(b"stranger"));
        let ask = |server: &testing::Server, header| {
            let cached = Cached::new(dir.path().to_owned(), Some(connect(server)));
            cached.packages(&[(nevra.clone(), header)]).unwrap();
        };
        let kept = || {
            let alone = Cached::new(dir.path().to_owned(), None);
            let json = alone.fetch(&builds_item(0)).unwrap().unwrap();
            let builds: Vec<BuildStatus> = serde_json::from_slice(&json).unwrap();
            let packages = builds.into_iter().flat_map(|build| build.packages);
            packages.map(|package| package.header).collect::<Vec<_>>()
        };
        let knows = server(SBOM);
        let knows_nothing = testing::Server::start(|_| Answer::json(200, "[]"));
        ask(&knows, good);
        assert_eq!(kept(), [good]);
        ask(&knows_nothing, stranger);
        assert_eq!(kept(), [good], "it was not asked about");
        ask(&knows, good);
        assert_eq!(kept(), [good], "once");
        ask(&knows_nothing, good);
        assert!(kept().is_empty(), "it was withdrawn");
    }

    #[test]
    fn a_bad_answer_about_many_is_no_server_that_is_away() {
        let cut = {
            let mut packed = Vec::new();
            let name = Item::Document(digest(SBOM)).name();
            tar::write_file(&mut packed, &name, SBOM.as_bytes()).unwrap();
            String::from_utf8(packed[..515].to_vec()).unwrap()
        };
        let subjects = subjects(2);
        let asked: Vec<_> = subjects.iter().filter_map(Asked::of).collect();
        let asked: Vec<_> = asked.into_iter().map(|a| (a.nevra, a.header)).collect();
        let items = [Item::Document(digest(SBOM))];
        for (status, answer) in [
            (500, ""),
            (503, "busy"),
            (429, ""),
            (200, "<html>"),
            (200, &*cut),
        ] {
            let answer = answer.to_owned();
            let server = testing::Server::start(move |request| match &*request.method {
                "POST" => Answer::json(status, &answer),
                _ => Answer::json(200, SBOM),
            });
            let dir = tempfile::tempdir().unwrap();
            let cached = Cached::new(dir.path().to_owned(), Some(connect(&server)));
            assert_eq!(cached.packages(&asked).unwrap(), None, "{status}");
            assert!(cached.many(&items).unwrap().is_empty(), "{status}");
            assert_eq!(cached.away(), None, "{status}");
            assert!(cached.fetch(&items[0]).unwrap().is_some(), "{status}");
        }
        let server = testing::Server::start(|_| Answer::hang_up());
        let dir = tempfile::tempdir().unwrap();
        let cached = Cached::new(dir.path().to_owned(), Some(connect(&server)));
        assert!(cached.many(&items).unwrap().is_empty());
        assert!(cached.away().is_some());
    }

    #[test]
    fn a_document_that_is_another_one_is_not_taken() {
        let server = server(LIE);
        let source = connect(&server);
        let subjects = subjects(2);
        let ahead = Ahead::of(&source, subjects.iter()).unwrap();
        let sbom = ahead.fetch(&Item::Document(digest(SBOM))).unwrap();
        assert_eq!(sbom.unwrap(), SBOM.as_bytes(), "fetched by itself");
        assert!(
            asked(&server)
                .last()
                .unwrap()
                .starts_with("GET /evidence/sha256/")
        );
    }

    #[test]
    fn a_server_without_such_questions_is_asked_one_by_one() {
        let server = testing::Server::start(|request| match &*request.method {
            "POST" => Answer::status(405),
            _ => Answer::json(200, "[]"),
        });
        let source = connect(&server);
        let subjects = subjects(2);
        let ahead = Ahead::of(&source, subjects.iter()).unwrap();
        assert!(ahead.kept.is_empty());
        assert_eq!(ahead.fetch(&builds_item(0)).unwrap().unwrap(), b"[]");
        // And one package alone is asked about as ever.
        let before = server.requests().len();
        Ahead::of(&source, subjects[..1].iter()).unwrap();
        assert_eq!(server.requests().len(), before);
    }

    #[test]
    fn what_came_together_is_kept_file_by_file_for_a_time_without_network() {
        let server = server(SBOM);
        let dir = tempfile::tempdir().unwrap();
        let subjects = subjects(3);
        let cached = Cached::new(dir.path().to_owned(), Some(connect(&server)));
        Ahead::of(&cached, subjects.iter()).unwrap();
        let alone = Cached::new(dir.path().to_owned(), None);
        let ahead = Ahead::of(&alone, subjects.iter()).unwrap();
        let sbom = ahead.fetch(&Item::Document(digest(SBOM))).unwrap();
        assert_eq!(sbom.unwrap(), SBOM.as_bytes());
        let json = ahead.fetch(&builds_item(1)).unwrap().unwrap();
        let builds: Vec<BuildStatus> = serde_json::from_slice(&json).unwrap();
        assert_eq!(builds[0].packages.len(), 1);
        assert_eq!(ahead.fetch(&builds_item(2)).unwrap().unwrap(), b"[]");
        // The second time only what may have changed is asked for, and what was not there.
        let before = server.requests().len();
        Ahead::of(&cached, subjects.iter()).unwrap();
        let again = server.requests().split_off(before);
        let posted = again.iter().filter(|one| one.method == "POST");
        let documents: Vec<_> = posted
            .map(|one| String::from_utf8_lossy(&one.body).into_owned())
            .collect();
        assert!(
            !documents
                .iter()
                .any(|body| body.contains(&digest(SBOM).to_hex()))
        );
    }

    #[test]
    fn answers_cut_short_or_blown_up_are_errors_and_never_files() {
        let whole = {
            let mut packed = Vec::new();
            let name = Item::Document(digest(SBOM)).name();
            tar::write_file(&mut packed, &name, SBOM.as_bytes()).unwrap();
            String::from_utf8(packed).unwrap()
        };
        let huge = {
            let mut packed = Vec::new();
            let name = Item::Document(digest(SBOM)).name();
            tar::write_header(&mut packed, &name, (8 << 30) - 1).unwrap();
            String::from_utf8(packed).unwrap()
        };
        let cut = [0, 1, 100, 511, 512, 515].map(|length| whole[..length].to_owned());
        for answer in cut.into_iter().chain([huge, "x".repeat(5_000)]) {
            let answers = answer.clone();
            let server = testing::Server::start(move |_| Answer::json(200, &answers));
            let files = connect(&server).many(&[Item::Document(digest(SBOM))]);
            assert!(files.map_or(true, |files| files.is_empty()), "{answer:.40}");
        }
    }
}

//! Draws every page there is from the sample data.

use super::{COUNTS, Words, at, bisection, builds, header, line, releases, repos, site, verdicts};
use repo_model::wire::sbom::{Difference, Finding, PackageRef, VulnerabilityStatus};
use repo_model::wire::search::{CapabilityFound, FileFound, Found, NameFound, SearchAnswer};
use repo_model::wire::status::BuildStatus;
use repo_model::wire::status::ChannelStatus;
use repo_model::{FileDigest, HeaderDigest, Nevra, ReleaseId};
use web::*;

fn home_page(words: Words, site: &Site<'_>) -> String {
    let command = |label: &str, text: &str| Command {
        label: words.of(label),
        text: words.of(text),
    };
    let statuses =
        [("stable", Some(11)), ("preview", Some(12)), ("next", None)].map(|(name, release)| {
            ChannelStatus {
                channel: name.parse().unwrap(),
                release: release.map(ReleaseId),
                moved_at: release.map(|_| at(120)),
                follows: false,
            }
        });
    let repos = repos(20_011);
    let commands: Vec<Vec<Command>> = statuses
        .iter()
        .map(|status| {
            let url = format!(
                "https://packages.hallmark.example/{}/hallmark-{0}.repo",
                status.channel
            );
            vec![
                command(
                    "dnf5",
                    &format!("sudo dnf5 config-manager addrepo --from-repofile={url}"),
                ),
                command("dnf4", &format!("sudo dnf config-manager --add-repo {url}")),
                command("zypper", &format!("sudo zypper addrepo {url}")),
            ]
        })
        .collect();
    let repo_file = words.of("[hallmark-base]\nname=Hallmark base\nmetalink=https://packages.hallmark.example/stable/base/$basearch/metalink.xml\ngpgcheck=1\nrepo_gpgcheck=1\ngpgkey=https://packages.hallmark.example/keys/repo.asc\n");
    let channels: Vec<_> = statuses
        .iter()
        .zip(&commands)
        .map(|(status, commands)| ChannelSetup {
            status,
            repos: if status.release.is_some() {
                &repos
            } else {
                &[]
            },
            commands,
            repo_file: &repo_file,
        })
        .collect();
    let links = [
        Link {
            href: "/keys/repo.asc",
            label: "Public key",
            about: "the OpenPGP key that packages and metadata are signed with",
        },
        Link {
            href: "/api/v1/builds",
            label: "API",
            about: "everything on these pages as JSON",
        },
    ];
    let (rebuilders, pairs) = super::more::rebuilder_lines();
    home(&HomeView {
        site,
        channels: &channels,
        counts: COUNTS,
        state: StateView {
            releases: &releases(),
            log: Some(&log_head(words)),
            log_at: Some(at(0)),
            mirrors: &super::more::mirror_list(words),
            rebuilders: &rebuilders,
            pairs: &pairs,
            now: at(1),
        },
        links: &links,
    })
    .unwrap()
}

fn log_head(words: Words) -> LogHead {
    LogHead {
        origin: words.of("log.hallmark.example"),
        size: 20_431,
        root: "rtvUJSKvGvkV2xA8SRdrPl+oDEVHuCsnWJiPVKyTKgE=".to_owned(),
        cosigners: vec![words.of("witness.example")],
    }
}

fn log_page(words: Words, site: &Site<'_>) -> String {
    let entry = |index, kind: Option<&str>, build, release| LogEntryLine {
        index,
        statement: FileDigest::of(b"statement"),
        kind: kind.map(str::to_owned),
        label: kind.map(|_| words.of("aster")),
        build,
        release,
    };
    let source: Nevra = "hello-2.12-1.src".parse().unwrap();
    let entries = [
        entry(20_430, None, None, Some(ReleaseId(12))),
        entry(20_429, Some("rebuild"), Some((2, source)), None),
        entry(20_428, None, None, None),
    ];
    let head = log_head(words);
    let view = LogView {
        site,
        head: Some(&head),
        entries: &entries,
        next: Some(20_428),
    };
    web::log(&view).unwrap()
}

fn listing_page(words: Words, site: &Site<'_>) -> String {
    let names = [
        "hello-2.12-1.hm1.x86_64.rpm",
        "hello-2.10-1.hm1.x86_64.rpm",
        "libmirror-3.4.1-1.hm1.x86_64.rpm",
        "gtk+-1.2-3.noarch.rpm",
    ];
    let names = names.map(|name| words.of(name));
    let mut entries: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(index, name)| ListingEntry {
            name,
            kind: EntryKind::File,
            size_bytes: Some(71 << (7 * index)),
            digest: Some(FileDigest::of(name.as_bytes())),
        })
        .collect();
    entries.push(ListingEntry {
        name: "h",
        kind: EntryKind::Directory,
        size_bytes: None,
        digest: None,
    });
    let path = format!("/stable/base/x86_64/{}/", words.of("Packages"));
    listing(&ListingView {
        site,
        path: &path,
        top: "/stable/base/x86_64/",
        entries: &entries,
    })
    .unwrap()
}

/// Every page, by a name for its file.
pub fn every_page(words: Words) -> Vec<(String, String)> {
    let title = words.of("Hallmark");
    let site = site(&title);
    let builds = builds(words);
    let name = words.of("hello");
    let (what, next) = (
        words.of("There is no build number 4711."),
        words.of("Look for it among the builds."),
    );
    let lines: Vec<BuildLine> = builds.iter().map(line).collect();
    let list = BuildsView {
        site: &site,
        builds: &lines,
        stage: None,
        package: None,
        counts: COUNTS,
        offset: 50,
        limit: 50,
        next_offset: Some(100),
    };
    let none = BuildsView {
        builds: &[],
        stage: Some("held"),
        package: Some(&name),
        offset: 0,
        next_offset: None,
        ..list
    };
    let mut out = vec![
        ("home".to_owned(), home_page(words, &site)),
        ("builds".to_owned(), web::builds(&list).unwrap()),
        ("builds-none".to_owned(), web::builds(&none).unwrap()),
        ("listing".to_owned(), listing_page(words, &site)),
        ("log".to_owned(), log_page(words, &site)),
        (
            "error".to_owned(),
            web::error(&ErrorView {
                site: &site,
                status: 404,
                what: &what,
                next: &next,
            })
            .unwrap(),
        ),
    ];
    out.extend(package_pages(words, &site, &builds));
    out.extend(release_pages(words, &site, &lines));
    out.extend(search_pages(words, &site));
    out.extend(super::more::more_pages(words, &site, &builds));
    out.extend(super::operator::operator_pages(words, &site, &builds));
    let bisection = bisection(words);
    for build in &builds {
        let is_held = build.stage.name() == "held";
        let verdicts = if is_held { verdicts(build) } else { Vec::new() };
        let page = web::build(&BuildView {
            site: &site,
            build,
            arches: &arches(),
            verdicts: &verdicts,
            bisection: is_held.then(|| (&bisection, FileDigest::of(b"bisection"))),
        })
        .unwrap();
        out.push((format!("build-{}-{}", build.build, build.stage), page));
    }
    out
}

fn arches() -> [repo_model::Arch; 2] {
    ["x86_64".parse().unwrap(), "aarch64".parse().unwrap()]
}

fn package_pages(words: Words, site: &Site<'_>, builds: &[BuildStatus]) -> Vec<(String, String)> {
    let header = header(words);
    let versions: Vec<VersionLine> = builds
        .iter()
        .filter(|build| [1, 2].contains(&build.build))
        .map(|build| VersionLine {
            nevra: build.packages[0].nevra.clone(),
            size_bytes: build.packages[0].size_bytes,
            build: line(build),
            channels: vec!["stable".parse().unwrap()],
        })
        .collect();
    let needs = ["requires", "recommends"].map(|kind| NeedLine {
        kind,
        need: words.of("libmirror.so.3()(64bit)"),
        providers: vec![words.of("libmirror")],
    });
    let dependents = [DependentLine {
        name: words.of("greeter"),
        needs: vec![("requires".to_owned(), words.of("hello >= 2"))],
    }];
    let of = |number: u64| builds.iter().find(|build| build.build == number).unwrap();
    let shown = |build, header| Shown {
        build,
        package: &build.packages[0],
        arches: &[],
        header,
        needs: &needs,
        dependents: &dependents,
        more_dependents: true,
    };
    let arches = arches();
    let published = Shown {
        arches: &arches,
        ..shown(of(2), Some(&header))
    };
    let page = |shown, newest| {
        let view = PackageView {
            site,
            versions: &versions,
            shown,
            newest,
        };
        web::package(&view).unwrap()
    };
    let nevra = &of(2).packages[0].nevra;
    let files = FilesView {
        site,
        nevra,
        files: &header.files,
        offset: 0,
        limit: 1_000,
    };
    let report = ReportView {
        site,
        build: 4,
        source: &of(4).source,
        label: &words.of("aster: clockwork.diffoscope.txt"),
        digest: FileDigest::of(b"report"),
        text: &words.of("--- built.rpm\n│ +10:03:11\n│ -10:00:01\n"),
    };
    let needed = DependentsView {
        site,
        nevra,
        dependents: &dependents,
        continued: true,
        next: Some("greeter"),
    };
    vec![
        ("package".to_owned(), page(published, true)),
        ("package-version".to_owned(), page(published, false)),
        ("package-held".to_owned(), page(shown(of(4), None), true)),
        ("files".to_owned(), web::files(&files).unwrap()),
        ("dependents".to_owned(), web::dependents(&needed).unwrap()),
        ("report".to_owned(), web::report(&report).unwrap()),
    ]
}

fn release_pages(words: Words, site: &Site<'_>, lines: &[BuildLine]) -> Vec<(String, String)> {
    let releases = releases();
    let tallies: Vec<ReleaseTally> = (1..=12_u64)
        .map(|id| ReleaseTally {
            release: (id < 12).then_some(ReleaseId(id)),
            issued: Some(at(id.cast_signed())),
            builds: 20 * id,
            all_agreed: 19 * id,
            disputed: id % 2,
            kept_back: id % 3,
        })
        .collect();
    let moves = [(Some(12), 11), (Some(11), 12), (None, 11)].map(|(from, to)| MoveLine {
        channel: "stable".parse().unwrap(),
        from: from.map(ReleaseId),
        to: ReleaseId(to),
        at: at(5),
    });
    let others = [ReleaseId(11), ReleaseId(10)];
    let list = ReleasesView {
        site,
        releases: &releases,
        tallies: &tallies,
        moves: &moves,
        next: Some("/releases?offset=50"),
    };
    let sboms = [ReleaseSbomLine {
        place: "base x86_64".to_owned(),
        format: words.of("cyclonedx-1.6"),
        path: "/r/12/base/x86_64/sbom/release.cdx.json".to_owned(),
        size_bytes: 80 << 20,
        packed_size_bytes: 7 << 20,
        digest: FileDigest::of(b"sbom"),
    }];
    let one = ReleaseView {
        site,
        release: &releases[0],
        added: &lines[5..7],
        offset: 50,
        limit: 50,
        more: true,
        moves: &moves,
        others: &others,
        sboms: &sboms,
    };
    let nevra: Nevra = Nevra {
        name: words.of("hello"),
        ..lines[6].source.clone()
    };
    let packages = [ContentsLine {
        nevra: nevra.clone(),
        summary: words.of("Prints a greeting"),
        href: words.of("Packages/h/hello.rpm"),
        size_bytes: 71_000,
        added: ReleaseId(9),
    }];
    let contents = ContentsView {
        site,
        release: ReleaseId(12),
        repo: &"base".parse().unwrap(),
        arch: &"x86_64".parse().unwrap(),
        prefix: &words.of("he"),
        packages: &packages,
        offset: 0,
        limit: 200,
        more: true,
    };
    let difference = |change: &str, from: &[&str], to: &[&str]| Difference {
        change: change.to_owned(),
        of: "package".to_owned(),
        name: words.of(change),
        place: Some("base/x86_64".to_owned()),
        from: from.iter().map(|text| words.of(text)).collect(),
        to: to.iter().map(|text| words.of(text)).collect(),
        differs: Vec::new(),
    };
    let differences = [
        difference("added", &[], &["1-1"]),
        difference("upgraded", &["1-1"], &["2-1"]),
        difference("rebuilt", &["1-1"], &["1-2"]),
        difference("removed", &["1-1"], &[]),
    ];
    let finding = Finding {
        vulnerability: words.of("CVE-2026-0001"),
        aliases: Vec::new(),
        summary: words.of("reads beyond the end"),
        severity: words.of("high"),
        package: PackageRef {
            nevra,
            repo: "base".parse().unwrap(),
            header: HeaderDigest::of(b"x"),
            href: String::new(),
            build: 1,
            source: lines[6].source.clone(),
        },
        component: String::new(),
        relation: "part".to_owned(),
        status: VulnerabilityStatus::Affected,
        fixed_in: Some(words.of("2.0")),
        said_by: "osv".to_owned(),
        justification: None,
        remark: None,
        vex: None,
    };
    let findings = [finding];
    let changes = ChangesView {
        site,
        to: ReleaseId(12),
        from: ReleaseId(11),
        releases: &others,
        packages: &differences,
        more: true,
        came: &[],
        went: &findings,
        many_findings: true,
    };
    let component = Difference {
        of: "component".to_owned(),
        name: words.of("cargo:openssl"),
        place: None,
        change: "removed".to_owned(),
        from: vec![words.of("0.10.71")],
        to: Vec::new(),
        differs: Vec::new(),
    };
    let components = ComponentChangesView {
        site,
        to: ReleaseId(12),
        from: ReleaseId(11),
        releases: &others,
        components: &[component],
        next: Some("1.2.3.4"),
    };
    let components = web::component_changes(&components).unwrap();
    vec![
        ("component-changes".to_owned(), components),
        ("releases".to_owned(), web::releases(&list).unwrap()),
        ("release".to_owned(), web::release(&one).unwrap()),
        ("contents".to_owned(), web::contents(&contents).unwrap()),
        ("changes".to_owned(), web::changes(&changes).unwrap()),
    ]
}

fn search_pages(words: Words, site: &Site<'_>) -> Vec<(String, String)> {
    let query = words.of("hello");
    let answer = SearchAnswer {
        names: Found {
            hits: vec![NameFound {
                name: words.of("hello"),
                evr: words.of("2.12-1.hm1"),
                summary: words.of("Prints a greeting"),
            }],
            more: true,
        },
        provides: Found {
            hits: vec![CapabilityFound {
                capability: words.of("pkgconfig(hello) = 2"),
                package: words.of("hello-devel"),
            }],
            more: true,
        },
        files: Found {
            hits: vec![FileFound {
                path: words.of("/usr/bin/hello"),
                package: words.of("hello"),
            }],
            more: true,
        },
    };
    let all = SearchView {
        site,
        query: &query,
        only: None,
        answer: &answer,
        offset: 0,
        limit: 50,
    };
    let files = SearchView {
        only: Some(SearchIn::Files),
        offset: 50,
        ..all
    };
    vec![
        ("search".to_owned(), web::search(&all).unwrap()),
        ("search-files".to_owned(), web::search(&files).unwrap()),
    ]
}

//! Draws every page there is from the sample data.

use super::{COUNTS, Words, at, builds, releases, repos, site};
use repo_model::wire::status::ChannelStatus;
use repo_model::{FileDigest, ReleaseId};
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
    home(&HomeView {
        site,
        channels: &channels,
        counts: COUNTS,
        links: &links,
    })
    .unwrap()
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
    let (arches, releases) = (
        ["x86_64".parse().unwrap(), "aarch64".parse().unwrap()],
        releases(),
    );
    let name = words.of("hello");
    let (what, next) = (
        words.of("There is no build number 4711."),
        words.of("Look for it among the builds."),
    );
    let list = BuildsView {
        site: &site,
        builds: &builds,
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
        (
            "package".to_owned(),
            web::package(&PackageView {
                site: &site,
                name: &name,
                builds: &builds,
            })
            .unwrap(),
        ),
        (
            "package-none".to_owned(),
            web::package(&PackageView {
                site: &site,
                name: &what,
                builds: &builds,
            })
            .unwrap(),
        ),
        (
            "releases".to_owned(),
            web::releases(&ReleasesView {
                site: &site,
                releases: &releases,
                next: Some("/releases?offset=50"),
            })
            .unwrap(),
        ),
        (
            "release".to_owned(),
            web::release(&ReleaseView {
                site: &site,
                release: &releases[0],
                added: &builds[5..7],
            })
            .unwrap(),
        ),
        ("listing".to_owned(), listing_page(words, &site)),
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
    for build in &builds {
        let page = web::build(&BuildView {
            site: &site,
            build,
            arches: &arches,
        })
        .unwrap();
        out.push((format!("build-{}-{}", build.build, build.stage), page));
    }
    out
}

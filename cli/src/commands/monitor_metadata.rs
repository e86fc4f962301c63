//! What clients read: the metadata of each channel must be that of a release in the log, and list no package that the
//! release does not. A package that is listed all the same may bear our key's signature, which is the worst of it.

use super::monitor::{envelope, fetch};
use crate::api::Client;
use crate::failure::{Exit, Failure};
use mirrors::reading::{Packed, REPOMD, REPOMD_MAX_BYTES, Repomd, read_primary};
use repo_model::dsse::StatementPublicKey;
use repo_model::manifest::is_plain_path;
use repo_model::monitor::{Finding, Memory};
use repo_model::release::{ReleaseDocument, ReleaseRepo, read_package_list};
use repo_model::rpm::{Head, HeadLimits};
use repo_model::statement::{RELEASE, Statement};
use repo_model::wire::status::{ChannelStatus, ReleaseStatus};
use repo_model::{FileDigest, HeaderDigest, Timestamp};
use std::collections::HashSet;

/// Most packages of one repository that no release lists and that are told.
const MOST_TOLD: usize = 100;

/// One repository as a channel shows it.
struct Shown {
    /// `channel/repo/arch`.
    place: String,
    /// Its `repomd.xml`.
    repomd: Vec<u8>,
}

/// A package that metadata lists and its release does not.
struct Unlisted {
    nevra: String,
    href: String,
}

/// Looks at the metadata of every channel that was not looked at before.
///
/// * `signer`: the signer's statement keys.
/// * `is_signed`: whether one of the repository's package keys has signed a header.
pub(super) fn compare(
    client: &Client,
    memory: &mut Memory,
    signer: &[StatementPublicKey],
    is_signed: &dyn Fn(&Head) -> bool,
    now: Timestamp,
) -> Result<Vec<Finding>, Failure> {
    let channels: Vec<ChannelStatus> = client.get_json("/api/v1/channels")?;
    let releases: Vec<ReleaseStatus> = client.get_json("/api/v1/releases")?;
    let mut findings = Vec::new();
    for channel in &channels {
        let Some(release) = releases.iter().find(|one| Some(one.id) == channel.release) else {
            continue;
        };
        for row in &release.repos {
            let place = format!("{}/{}/{}", channel.channel, row.repo, row.arch);
            let repomd = small(client, &format!("/{place}/{REPOMD}"), REPOMD_MAX_BYTES)?;
            let shown = Shown { place, repomd };
            findings.extend(repository(
                client, memory, signer, is_signed, &releases, &shown, now,
            )?);
        }
    }
    Ok(findings)
}

fn repository(
    client: &Client,
    memory: &mut Memory,
    signer: &[StatementPublicKey],
    is_signed: &dyn Fn(&Head) -> bool,
    releases: &[ReleaseStatus],
    shown: &Shown,
    now: Timestamp,
) -> Result<Vec<Finding>, Failure> {
    let digest = FileDigest::of(&shown.repomd);
    if memory.is_compared(&shown.place, digest) {
        return Ok(Vec::new());
    }
    let Some(row) = named(client, memory, signer, releases, digest)? else {
        return Ok(memory
            .unnamed(&shown.place, digest, now)
            .into_iter()
            .collect());
    };
    let list = fetch(client, &format!("/evidence/sha256/{}", row.package_list))?;
    if FileDigest::of(&list) != row.package_list {
        let place = &shown.place;
        return Err(Failure::failed(format!("{place} has another package list")));
    }
    let listed = read_package_list(&String::from_utf8_lossy(&list)).map_err(Failure::failed)?;
    let files: HashSet<String> = listed
        .iter()
        .map(|package| package.signed_file.to_hex())
        .collect();
    let mut findings = Vec::new();
    for package in unlisted(client, shown, &files)? {
        let header = signed_header(client, &shown.place, &package.href, is_signed)?;
        findings.push(memory.unlisted(&shown.place, &package.nevra, header));
    }
    if findings.is_empty() {
        memory.compared(&shown.place, digest);
    }
    Ok(findings)
}

/// The repository of a logged release that has this metadata; none: no release has it.
fn named(
    client: &Client,
    memory: &Memory,
    signer: &[StatementPublicKey],
    releases: &[ReleaseStatus],
    repomd: FileDigest,
) -> Result<Option<ReleaseRepo>, Failure> {
    let said = |release: &&ReleaseStatus| {
        let mut rows = release.repos.iter();
        rows.any(|row| row.repomd == repomd) && memory.releases.contains(&release.envelope)
    };
    for release in releases.iter().filter(said) {
        let Some(envelope) = envelope(client, release.envelope)? else {
            continue;
        };
        let mut keys = signer.iter();
        let opened =
            keys.find_map(|key| Statement::<ReleaseDocument>::open(&envelope, key, RELEASE).ok());
        let rows = opened.map(|statement| statement.predicate.repos);
        let mut rows = rows.into_iter().flatten();
        if let Some(row) = rows.find(|row| row.repomd == repomd) {
            return Ok(Some(row));
        }
    }
    Ok(None)
}

/// Packages of primary that are none of these files.
fn unlisted(
    client: &Client,
    shown: &Shown,
    files: &HashSet<String>,
) -> Result<Vec<Unlisted>, Failure> {
    let place = &shown.place;
    let wrong = |why: String| Failure::failed(format!("the metadata of {place}: {why}"));
    let repomd = Repomd::parse(&shown.repomd).map_err(|error| wrong(error.to_string()))?;
    let claim = repomd.of_type("primary").next();
    let claim = claim.ok_or_else(|| wrong("it names no `primary`".to_owned()))?;
    if !is_plain_path(&claim.href) || claim.base.is_some() {
        return Err(wrong("its `primary` is elsewhere".to_owned()));
    }
    let answer = client.get(&format!("/{place}/{}", claim.href))?;
    let body = answer.into_body().into_with_config().limit(u64::MAX);
    let failed = |error: std::io::Error| {
        Failure::new(
            Exit::Unreachable,
            format!("{place}/{}: {error}", claim.href),
        )
    };
    let mut packed = Packed::new(Box::new(body.reader()), claim).map_err(failed)?;
    let mut found = Vec::new();
    read_primary(&mut packed, |package| {
        if !files.contains(package.pkgid()) && found.len() < MOST_TOLD {
            found.push(Unlisted {
                nevra: package.nevra(),
                href: package.href,
            });
        }
    })
    .map_err(|error| wrong(error.to_string()))?;
    let sums = packed.finish().map_err(failed)?;
    let claimed = claim.checksum.as_ref().map(|sum| sum.hex.as_str());
    match claimed.is_some() && sums.hex.as_deref() == claimed {
        true => Ok(found),
        false => Err(wrong("its `primary` has another checksum".to_owned())),
    }
}

/// The header of a package that one of our keys has signed; none: of what nobody can install with the key alone.
fn signed_header(
    client: &Client,
    place: &str,
    href: &str,
    is_signed: &dyn Fn(&Head) -> bool,
) -> Result<Option<HeaderDigest>, Failure> {
    if !is_plain_path(href) {
        return Ok(None);
    }
    let path = href
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    let answer = match client.get(&format!("/{place}/{path}")) {
        Ok(answer) => answer,
        Err(error) if error.refused_with().is_some() => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let body = answer.into_body().into_with_config().limit(u64::MAX);
    let head = Head::read(body.reader(), &HeadLimits::default()).ok();
    let head = head.filter(|head| is_signed(head));
    Ok(head.map(|head| head.header_digest()))
}

fn small(client: &Client, path: &str, limit_bytes: u64) -> Result<Vec<u8>, Failure> {
    let mut answer = client.get(path)?;
    let body = answer.body_mut().with_config().limit(limit_bytes);
    body.read_to_vec()
        .map_err(|error| Failure::new(Exit::Unreachable, format!("{path}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};
    use repo_model::dsse::StatementKey;
    use repo_model::release::SCHEMA;
    use repo_model::rpm::testkit::Rpm;

    /// A server whose stable channel shows these files as its packages; the release lists those in `listed`.
    struct World {
        server: Server,
        memory: Memory,
        key: StatementKey,
    }

    fn package(name: &str) -> Vec<u8> {
        Rpm::binary(name).bytes()
    }

    fn header(name: &str) -> HeaderDigest {
        Head::parse(&package(name)).unwrap().header_digest()
    }

    fn primary(names: &[&str]) -> String {
        let element = |name: &&str| {
            let digest = FileDigest::of(&package(name));
            format!(
                "<package type=\"rpm\"><name>{name}</name><arch>noarch</arch><version epoch=\"0\" ver=\"1.0\" rel=\"1\"/>\
                 <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum><size package=\"5\"/>\
                 <location href=\"{name}.rpm\"/></package>"
            )
        };
        let all: String = names.iter().map(element).collect();
        format!("<metadata>{all}</metadata>")
    }

    fn repomd(primary: &str) -> String {
        let digest = FileDigest::of(primary.as_bytes());
        format!(
            "<repomd><data type=\"primary\"><checksum type=\"sha256\">{digest}</checksum>\
             <location href=\"repodata/primary.xml\"/></data></repomd>"
        )
    }

    fn world(shown: &'static [&'static str], listed: &[&str], is_named: bool) -> World {
        let key = StatementKey::from_seed(&[1; 32]).unwrap();
        let primary = primary(shown);
        let repomd = repomd(&primary);
        let named = match is_named {
            true => FileDigest::of(repomd.as_bytes()),
            false => FileDigest::of(b"another"),
        };
        let line = |name: &&str| {
            let (header, file) = (header(name), FileDigest::of(&package(name)));
            format!("{header} {file} {file} {name}-1.0-1.noarch\n")
        };
        let list: String = listed.iter().map(line).collect();
        let row = ReleaseRepo {
            repo: "base".parse().unwrap(),
            arch: "x86_64".parse().unwrap(),
            repomd: named,
            package_list: FileDigest::of(list.as_bytes()),
            packages: listed.len() as u64,
        };
        let document = ReleaseDocument {
            schema: SCHEMA.to_owned(),
            id: repo_model::ReleaseId(1),
            previous: None,
            issued: Timestamp::from_unix_secs(100),
            repos: vec![row.clone()],
        };
        let signed = Statement::new(RELEASE, Vec::new(), document)
            .sign(&key)
            .unwrap();
        let signed = signed.to_json();
        let release = FileDigest::of(&signed);
        let releases = serde_json::json!([{
            "id": 1, "issued": "2026-11-20T10:00:00Z", "envelope": release, "channels": ["stable"],
            "repos": [{"repo": "base", "arch": "x86_64", "packages": 1, "repomd": named}]
        }])
        .to_string();
        let list_path = format!("/evidence/sha256/{}", row.package_list);
        let server = Server::start(move |request| match request.path.as_str() {
            "/api/v1/channels" => Answer::json(
                200,
                r#"[{"channel":"stable","release":1,"moved_at":null,"follows":true}]"#,
            ),
            "/api/v1/releases" => Answer::json(200, &releases),
            "/stable/base/x86_64/repodata/repomd.xml" => Answer::json(200, &repomd),
            "/stable/base/x86_64/repodata/primary.xml" => Answer::json(200, &primary),
            path if path == list_path => Answer::json(200, &list),
            path if path.starts_with("/evidence/") => Answer::bytes(signed.clone()),
            path => match path.strip_prefix("/stable/base/x86_64/") {
                Some(file) => Answer::bytes(package(file.trim_end_matches(".rpm"))),
                None => Answer::status(404),
            },
        });
        let mut memory = Memory::default();
        memory.releases.insert(release);
        World {
            server,
            memory,
            key,
        }
    }

    impl World {
        fn look(&mut self, is_signed: bool, secs: i64) -> Vec<Finding> {
            let client = Client::new(&self.server.url(), None).unwrap();
            let keys = [self.key.public()];
            let signed = |_: &Head| is_signed;
            let now = Timestamp::from_unix_secs(secs);
            compare(&client, &mut self.memory, &keys, &signed, now).unwrap()
        }
    }

    #[test]
    fn metadata_that_lists_what_its_release_does_is_read_once() {
        let mut world = world(&["a", "b"], &["a", "b"], true);
        assert_eq!(world.look(true, 0), []);
        let asked = world.server.requests().len();
        assert_eq!(world.look(true, 0), []);
        assert_eq!(world.server.requests().len(), asked + 3, "no list again");
    }

    #[test]
    fn a_package_that_no_release_lists_is_an_alarm_and_our_signature_on_it_is_another() {
        for (is_signed, is_logged, code) in [
            (true, false, "signed-not-logged"),
            (true, true, "not-listed"),
            (false, false, "not-listed"),
        ] {
            let mut world = world(&["a", "evil"], &["a"], true);
            if is_logged {
                world.memory.summaries.entry(header("evil")).or_default();
            }
            for _ in 0..2 {
                let found = world.look(is_signed, 0);
                assert_eq!(found.len(), 1, "each time: {found:?}");
                assert!(found[0].is_alarm());
                let json = serde_json::to_value(&found[0]).unwrap();
                assert_eq!(json["code"], code, "{json}");
                assert!(found[0].to_string().contains("evil-1.0-1.noarch"));
            }
        }
    }

    #[test]
    fn metadata_that_no_release_names_is_an_alarm_once_it_should_be_known() {
        let mut world = world(&["a"], &["a"], false);
        assert_eq!(world.look(true, 0), [], "a release may come out right now");
        let found = world.look(true, 601);
        assert!(
            matches!(&found[..], [Finding::MetadataNotLogged { .. }]),
            "{found:?}"
        );
    }
}

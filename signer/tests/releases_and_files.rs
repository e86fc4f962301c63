//! Whole files and releases: signed only when what they hold was signed here, and again when asked
//! again.

mod common;

use common::{Draft, Rpm, World, policy_text, tools};
use hallmark_signer::client::{ClientError, SignedFile, SignedPackage};
use hallmark_signer::verify::{Certificate, verify_detached};
use repo_model::dsse::StatementPublicKey;
use repo_model::manifest::{Manifest, package_path};
use repo_model::policy::Reason;
use repo_model::release::{PreviousRelease, ReleaseDocument, read_package_list};
use repo_model::statement::{PACKAGE_RELEASE, PackageRelease, RELEASE, Statement, Subject};
use repo_model::{FileDigest, Timestamp};

/// The words of a refusal.
fn bad_request<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    let Err(ClientError::BadRequest { message }) = answer else {
        panic!("{answer:?}")
    };
    message
}

fn sign_file(world: &World, rpm: &Rpm, bytes: &[u8]) -> Result<SignedFile, ClientError> {
    world
        .client()
        .sign_file(rpm.header(), bytes.len() as u64, bytes)
}

fn certificates(world: &World) -> (Certificate, Certificate) {
    let identity = world.client().identity().unwrap();
    let read = |armor: &str| Certificate::from_bytes(armor.as_bytes()).unwrap();
    (
        read(&identity.package_certificate),
        read(&identity.metadata_certificate),
    )
}

#[test]
fn only_the_very_file_whose_head_was_signed_is_signed_detached() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed", "other"]) else {
        return;
    };
    let (rpm, other) = (&rpms[0], &rpms[1]);
    let file = rpm.with_signature(&world.sign(rpm).signature_header);
    let (package_certificate, _) = certificates(&world);

    let made = sign_file(&world, rpm, &file.bytes).unwrap();
    verify_detached(
        file.bytes.as_slice(),
        made.armored.as_bytes(),
        &package_certificate,
    )
    .unwrap();
    let identity = world.client().identity().unwrap();
    let post_quantum = identity.package_pqc_certificate.unwrap();
    verify_detached(
        file.bytes.as_slice(),
        made.post_quantum.unwrap().as_bytes(),
        &Certificate::from_bytes(post_quantum.as_bytes()).unwrap(),
    )
    .unwrap();
    let key: StatementPublicKey = identity.statement_key.parse().unwrap();
    let released =
        Statement::<PackageRelease>::open(&made.statement, &key, PACKAGE_RELEASE).unwrap();
    assert_eq!(
        released.subject,
        [Subject::signed_rpm(
            "assayed-1.0-1.noarch.rpm",
            FileDigest::of(&file.bytes),
            rpm.header()
        )]
    );

    let with_changed_end = |change: fn(&mut Vec<u8>)| {
        let mut bytes = file.bytes.clone();
        change(&mut bytes);
        bytes
    };
    for (what, bytes, says) in [
        ("unsigned", rpm.bytes.clone(), "was signed here"),
        (
            "changed payload",
            with_changed_end(|b| *b.last_mut().unwrap() ^= 1),
            "the payload has",
        ),
        (
            "payload cut",
            with_changed_end(|b| b.truncate(b.len() - 1)),
            "the payload has",
        ),
        (
            "payload longer",
            with_changed_end(|b| b.push(0)),
            "the payload has",
        ),
        (
            "changed lead",
            with_changed_end(|b| b[20] ^= 1),
            "was signed here",
        ),
        ("other package", other.bytes.clone(), "the file has header"),
        ("no package", vec![7; 100_000], "the file's head"),
        ("empty", Vec::new(), "the file's head"),
    ] {
        let message = bad_request(sign_file(&world, rpm, &bytes));
        assert!(message.contains(says), "{what}: {message}");
    }
    // A refused file leaves the connection in step.
    let mut client = world.client();
    bad_request(client.sign_file(rpm.header(), 100_000, &vec![7; 100_000][..]));
    client
        .sign_file(rpm.header(), file.bytes.len() as u64, file.bytes.as_slice())
        .unwrap();
    // One that breaks off is not signed, and the signer lives on.
    let broken = world
        .client()
        .sign_file(rpm.header(), 1 << 20, file.bytes.as_slice());
    assert!(matches!(broken, Err(ClientError::Source(_))), "{broken:?}");
    assert_eq!(
        sign_file(&world, rpm, &file.bytes)
            .unwrap()
            .armored
            .lines()
            .next()
            .unwrap(),
        "-----BEGIN PGP SIGNATURE-----"
    );
}

/// Two packages signed, and the world they live in.
fn two() -> Option<(World, Vec<Rpm>, Vec<SignedPackage>)> {
    let world = World::start();
    let rpms = tools::built(world.dir.path(), &["assayed", "other"])?;
    let signed = rpms.iter().map(|rpm| world.sign_whole(rpm)).collect();
    Some((world, rpms, signed))
}

#[test]
fn a_release_is_signed_with_the_metadata_key_and_follows_the_last_one() {
    let Some((mut world, rpms, signed)) = two() else {
        return;
    };
    let (_, metadata) = certificates(&world);
    let key: StatementPublicKey = world
        .client()
        .identity()
        .unwrap()
        .statement_key
        .parse()
        .unwrap();

    let first = Draft::new(3, None, &[(&rpms[0], &signed[0])]);
    let answer = world
        .client()
        .sign_release(&first.json(), &first.files)
        .unwrap();
    let repomd = first.files[0].repomd.0.as_slice();
    verify_detached(repomd, answer.repomd_signatures[0].as_bytes(), &metadata).unwrap();
    let statement = Statement::<ReleaseDocument>::open(&answer.envelope, &key, RELEASE).unwrap();
    assert_eq!(statement.predicate, first.document);
    assert_eq!(statement.subject.len(), 2);

    // The answer was lost: the same bytes give an equal statement, also after a restart.
    world.restart();
    let again = world
        .client()
        .sign_release(&first.json(), &first.files)
        .unwrap();
    assert_eq!(again.envelope, answer.envelope);
    verify_detached(repomd, again.repomd_signatures[0].as_bytes(), &metadata).unwrap();

    let previous = PreviousRelease {
        id: first.document.id,
        sha256: FileDigest::of(&answer.envelope.to_json()),
    };
    let both = [(&rpms[0], &signed[0]), (&rpms[1], &signed[1])];
    let follows = |id: u64, change: fn(&mut Draft)| {
        let mut draft = Draft::new(id, Some(previous.clone()), &both);
        change(&mut draft);
        world.client().sign_release(&draft.json(), &draft.files)
    };
    for (what, answer, says) in [
        (
            "same number, other document",
            follows(3, |_| {}),
            "does not come after release 3",
        ),
        (
            "lower number",
            follows(2, |_| {}),
            "does not come after release 3",
        ),
        (
            "no previous",
            follows(4, |d| d.document.previous = None),
            "the previous release is not 3",
        ),
        (
            "other previous",
            follows(4, |d| {
                d.document.previous.as_mut().unwrap().sha256 = FileDigest::of(b"x")
            }),
            "the previous release is not 3",
        ),
        (
            "not later",
            follows(4, |d| {
                d.document.issued = Timestamp::from_unix_secs(1_763_600_003)
            }),
            "is not later than",
        ),
        (
            "far ahead",
            follows(4, |d| {
                d.document.issued = Timestamp::from_unix_secs(9_000_000_000)
            }),
            "ahead of the signer's clock",
        ),
        (
            "other repomd",
            follows(4, |d| d.files[0].repomd.0.push(b' ')),
            "repomd.xml of base/x86_64",
        ),
        (
            "other list",
            follows(4, |d| d.files[0].package_list.0.clear()),
            "package list of base/x86_64",
        ),
        (
            "miscounted",
            follows(4, |d| d.document.repos[0].packages += 1),
            "its list has 2",
        ),
        (
            "a repository too few",
            follows(4, |d| d.files.clear()),
            "files of 0 came",
        ),
        (
            "a repository twice",
            follows(4, |d| {
                d.document.repos.push(d.document.repos[0].clone());
                d.files.push(d.files[0].clone());
            }),
            "not sorted or named twice",
        ),
        (
            "other schema",
            follows(4, |d| d.document.schema.push('x')),
            "schema",
        ),
    ] {
        let message = bad_request(answer);
        assert!(message.contains(says), "{what}: {message}");
    }
    bad_request(world.client().sign_release(b"{}", &[]));
    follows(4, |_| {}).unwrap();
}

#[test]
fn each_repository_gets_a_manifest_of_just_what_the_release_has() {
    let Some((world, rpms, signed)) = two() else {
        return;
    };
    let (_, metadata) = certificates(&world);
    let mut draft = Draft::new(1, None, &[(&rpms[0], &signed[0])]);
    let primary = FileDigest::of(b"primary");
    let with = |draft: &mut Draft, href: &str| {
        let repomd = format!("<repomd><location href=\"{href}\"/></repomd>");
        draft.document.repos[0].repomd = FileDigest::of(repomd.as_bytes());
        draft.files[0].repomd.0 = repomd.into_bytes();
    };
    // A name that could stand for any bytes is in no manifest, so such a release is not signed.
    with(&mut draft, "repodata/primary.xml.gz");
    let refused = world.client().sign_release(&draft.json(), &draft.files);
    let message = bad_request(refused);
    assert!(
        message.contains("base/x86_64: `repodata/primary.xml.gz`"),
        "{message}"
    );

    with(&mut draft, &format!("repodata/{primary}-primary.xml.gz"));
    let answer = world
        .client()
        .sign_release(&draft.json(), &draft.files)
        .unwrap();
    let [made] = &answer.manifests[..] else {
        panic!("{} manifests", answer.manifests.len());
    };
    verify_detached(made.text.as_bytes(), made.armored.as_bytes(), &metadata).unwrap();
    let manifest = Manifest::read(&made.text).unwrap();
    assert_eq!(manifest.of.release, draft.document.id);
    let digest = |path: &str| manifest.files.get(path).copied();
    let repomd = &draft.files[0].repomd.0;
    assert_eq!(digest("repodata/repomd.xml"), Some(FileDigest::of(repomd)));
    let signature = FileDigest::of(answer.repomd_signatures[0].as_bytes());
    assert_eq!(digest("repodata/repomd.xml.asc"), Some(signature));
    let path = format!("repodata/{primary}-primary.xml.gz");
    assert_eq!(digest(&path), Some(primary));
    let list = std::str::from_utf8(&draft.files[0].package_list.0).unwrap();
    let listed = &read_package_list(list).unwrap()[0];
    let path = package_path(&listed.nevra);
    assert_eq!(digest(&path), Some(listed.signed_file));
}

#[test]
fn a_release_with_a_package_that_was_not_signed_here_is_refused_by_name() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed", "other"]) else {
        return;
    };
    let signed = world.sign_whole(&rpms[0]);
    let unsigned = Draft::new(1, None, &[(&rpms[0], &signed), (&rpms[1], &signed)]);
    let message = bad_request(
        world
            .client()
            .sign_release(&unsigned.json(), &unsigned.files),
    );
    assert!(
        message.starts_with("other-1.0-1.noarch (header "),
        "{message}"
    );

    let mut forged = signed.clone();
    forged.summary.signatures.clear();
    let forged = Draft::new(1, None, &[(&rpms[0], &forged)]);
    let message = bad_request(world.client().sign_release(&forged.json(), &forged.files));
    assert!(message.contains("was not made here"), "{message}");

    let mut renamed = rpms[0].clone();
    renamed.package.nevra.name = "kernel".to_owned();
    let renamed = Draft::new(1, None, &[(&renamed, &signed)]);
    let message = bad_request(world.client().sign_release(&renamed.json(), &renamed.files));
    assert!(
        message.contains("is assayed-1.0-1.noarch, not kernel"),
        "{message}"
    );
}

#[test]
fn a_release_with_a_revoked_package_is_refused() {
    let Some((mut world, rpms, signed)) = two() else {
        return;
    };
    let revoked = format!(
        "[[revoked]]\nheader_sha256 = \"{}\"\nreason = \"backdoor\"",
        rpms[1].header()
    );
    std::fs::write(&world.config.policy_file, policy_text(2, &revoked)).unwrap();
    world.restart();
    let both = [(&rpms[0], &signed[0]), (&rpms[1], &signed[1])];
    let draft = Draft::new(1, None, &both);
    let answer = world.client().sign_release(&draft.json(), &draft.files);
    let Err(ClientError::Refused {
        held: false,
        reasons,
    }) = answer
    else {
        panic!("{answer:?}")
    };
    let reason = "other-1.0-1.noarch: backdoor".to_owned();
    assert_eq!(reasons, [Reason::Revoked { reason }]);
    let without = Draft::new(1, None, &both[..1]);
    world
        .client()
        .sign_release(&without.json(), &without.files)
        .unwrap();
}

#[test]
fn a_release_that_was_signed_is_signed_again_whatever_was_revoked_since() {
    let Some((mut world, rpms, signed)) = two() else {
        return;
    };
    assert_eq!(world.client().last_release().unwrap(), None);
    let draft = Draft::new(1, None, &[(&rpms[0], &signed[0])]);
    let ask = |world: &World| world.client().sign_release(&draft.json(), &draft.files);
    let first = ask(&world).unwrap();
    let revoked = format!(
        "[[revoked]]\nheader_sha256 = \"{}\"\nreason = \"backdoor\"",
        rpms[0].header()
    );
    std::fs::write(&world.config.policy_file, policy_text(2, &revoked)).unwrap();
    world.restart();
    assert_eq!(ask(&world).unwrap().envelope, first.envelope);
    let last = world.client().last_release().unwrap().unwrap();
    assert_eq!(last.id, draft.document.id);
    assert_eq!(last.envelope, FileDigest::of(&first.envelope.to_json()));
    // The next one is another document, and judged.
    let previous = PreviousRelease {
        id: last.id,
        sha256: last.envelope,
    };
    let next = Draft::new(2, Some(previous), &[(&rpms[0], &signed[0])]);
    let answer = world.client().sign_release(&next.json(), &next.files);
    assert!(
        matches!(answer, Err(ClientError::Refused { .. })),
        "{answer:?}"
    );
}

#[test]
fn every_answer_to_a_repeated_request_is_as_good_as_the_first() {
    let mut world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let rpm = &rpms[0];
    let first = world.sign(rpm);
    world.restart();
    let second = world.sign(rpm);
    // It says the same, signed anew.
    assert_eq!(first.sbom_statement.payload, second.sbom_statement.payload);
    assert_eq!(
        first.signature_header, second.signature_header,
        "a key signs a header once, a restart in between or not"
    );
    for signed in [&first, &second] {
        let file = rpm.with_signature(&signed.signature_header);
        sign_file(&world, rpm, &file.bytes).unwrap();
    }
    // The release may list either summary: here the one of before the restart.
    let draft = Draft::new(1, None, &[(rpm, &first)]);
    world
        .client()
        .sign_release(&draft.json(), &draft.files)
        .unwrap();
}

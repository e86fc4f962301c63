//! What stock cosign says about our statements, offline, with nothing but our public key.

mod common;

use common::judges::Cosign;
use common::{World, tools};
use repo_model::bundle;
use repo_model::statement::{PACKAGE_RELEASE, SBOM_REFERENCE, VSA};

#[test]
fn cosign_accepts_a_package_with_its_statements_and_refuses_a_tampered_one() {
    let world = World::start();
    let dir = world.dir.path();
    let Some(cosign) = Cosign::of(&world) else {
        return;
    };
    let Some(rpms) = tools::built(dir, &["assayed", "other"]) else {
        return;
    };
    let signed = world.sign(&rpms[0]);
    let file = rpms[0].with_signature(&signed.signature_header).bytes;
    let of_file = world
        .client()
        .sign_file(rpms[0].header(), file.len() as u64, file.as_slice())
        .unwrap();
    let stranger = common::STRANGER.key().public().to_pem();
    let mut tampered = file.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let mut forged = of_file.statement.clone();
    forged.payload = world.sign(&rpms[1]).summary.payload;
    for (name, bytes) in [
        ("stranger.pub", stranger.into_bytes()),
        ("good.rpm", file),
        ("tampered.rpm", tampered),
        ("other.rpm", rpms[1].bytes.clone()),
        ("release.json", bundle::of(&of_file.statement)),
        ("forged.json", bundle::of(&forged)),
        ("vsa.json", bundle::of(&signed.summary)),
        ("sbom.json", bundle::of(&signed.sbom_statement)),
    ] {
        std::fs::write(dir.join(name), bytes).unwrap();
    }
    let verify = |key: &str, bundle: &str, kind: &str, subject: &[&str]| {
        cosign.verify(key, bundle, kind, subject)
    };
    let header = rpms[0].header().to_hex();
    let by_header = ["--digestAlg", "rpmHeaderSha256", "--digest", &header];
    let other = rpms[1].header().to_hex();
    let by_other = ["--digestAlg", "rpmHeaderSha256", "--digest", &other];
    for (what, good, said) in [
        (
            "the file",
            true,
            verify(
                "statement.pub",
                "release.json",
                PACKAGE_RELEASE,
                &["/mnt/good.rpm"],
            ),
        ),
        (
            "tampered",
            false,
            verify(
                "statement.pub",
                "release.json",
                PACKAGE_RELEASE,
                &["/mnt/tampered.rpm"],
            ),
        ),
        (
            "another file",
            false,
            verify(
                "statement.pub",
                "release.json",
                PACKAGE_RELEASE,
                &["/mnt/other.rpm"],
            ),
        ),
        (
            "another key",
            false,
            verify(
                "stranger.pub",
                "release.json",
                PACKAGE_RELEASE,
                &["/mnt/good.rpm"],
            ),
        ),
        (
            "another type",
            false,
            verify("statement.pub", "release.json", VSA, &["/mnt/good.rpm"]),
        ),
        (
            "forged",
            false,
            verify("statement.pub", "forged.json", VSA, &by_header),
        ),
        (
            "the summary",
            true,
            verify("statement.pub", "vsa.json", VSA, &by_header),
        ),
        (
            "the summary of another package",
            false,
            verify("statement.pub", "vsa.json", VSA, &by_other),
        ),
        (
            "the SBOM statement",
            true,
            verify("statement.pub", "sbom.json", SBOM_REFERENCE, &by_header),
        ),
    ] {
        assert_eq!(
            said.status.success(),
            good,
            "{what}: {}",
            tools::text(&said)
        );
    }
}

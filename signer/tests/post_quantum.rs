//! What other programs say about our post-quantum signatures: rpgp, which shares no code with what
//! made them, and rpm.

mod common;

use common::tools::{self, RpmKeys};
use common::{World, laid_out, now};
use hallmark_signer::keys::{
    self, METADATA_PQC_CERTIFICATE, PACKAGE_CERTIFICATE, PACKAGE_PQC_CERTIFICATE,
};
use hallmark_signer::verify::{Certificate, verify_header_signature};
use repo_model::config::PostQuantum;
use repo_model::rpm::signature::{found_signatures, stripped};

#[test]
fn rpgp_accepts_the_detached_signatures_and_nothing_changed() {
    let Some(oracle) = tools::oracle("rpgp") else {
        return;
    };
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let made = world.one_of_each(&rpms[0]);
    let package = made.of_file.post_quantum.as_ref().unwrap();
    let repomd = &made.release.repomd_post_quantum[0];
    let both = [PACKAGE_PQC_CERTIFICATE, METADATA_PQC_CERTIFICATE];
    for (what, bytes, signature, [ours, other]) in [
        ("package", &made.file, package, both),
        ("repomd.xml", &made.repomd, repomd, [both[1], both[0]]),
    ] {
        let dir = laid_out(&world, what, bytes, signature);
        let at = |name: &str| dir.join(name).display().to_string();
        let certificate = |name: &str| world.config.state_dir.join(name).display().to_string();
        let says = |ours: &str, file: &str| {
            tools::run(&oracle, &[&certificate(ours), &at("sig.asc"), &at(file)])
        };
        let good = says(ours, "good");
        assert!(good.status.success(), "{what}: {}", tools::text(&good));
        let key = String::from_utf8_lossy(&good.stdout).into_owned();
        assert!(
            key.contains("V6") && key.contains("MlDsa65"),
            "{what}: {key}"
        );
        assert_eq!(says(ours, "changed").status.code(), Some(1), "{what}");
        assert_eq!(says(other, "good").status.code(), Some(1), "{what}");
    }
}

#[test]
fn in_the_default_profile_a_package_carries_one_signature_that_every_rpm_can_read() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    assert_eq!(world.config.post_quantum, PostQuantum::Detached);
    let file = rpms[0].with_signature(&world.sign(&rpms[0]).signature_header);
    let packets: std::collections::BTreeSet<_> = found_signatures(&file.head)
        .into_iter()
        .map(|found| found.packet)
        .collect();
    assert_eq!(packets.len(), 1);
}

#[test]
fn an_embedded_post_quantum_signature_is_ours_and_strips_away_and_no_rpm_stumbles_over_it() {
    let mut world = World::prepared();
    world.config.post_quantum = PostQuantum::Embedded;
    keys::init(&world.config, now()).unwrap();
    world.serve();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    let file = rpms[0].with_signature(&world.sign(&rpms[0]).signature_header);
    let read = |name: &str| {
        let bytes = std::fs::read(world.config.state_dir.join(name)).unwrap();
        Certificate::from_bytes(&bytes).unwrap()
    };
    let both = [read(PACKAGE_CERTIFICATE), read(PACKAGE_PQC_CERTIFICATE)];
    assert_eq!(verify_header_signature(&file.head, &both).unwrap(), 2);
    assert!(verify_header_signature(&file.head, &both[..1]).is_err());
    assert_eq!(stripped(&file.head), rpms[0].head.signature_bytes());
    world
        .client()
        .sign_file(
            rpms[0].header(),
            file.bytes.len() as u64,
            file.bytes.as_slice(),
        )
        .unwrap();

    let dir = world.dir.path();
    std::fs::write(dir.join("both.rpm"), &file.bytes).unwrap();
    for name in [PACKAGE_CERTIFICATE, PACKAGE_PQC_CERTIFICATE] {
        std::fs::copy(world.config.state_dir.join(name), dir.join(name)).unwrap();
    }
    for rpmkeys in RpmKeys::all(dir) {
        rpmkeys.import("classic", PACKAGE_CERTIFICATE);
        rpmkeys.import("both", PACKAGE_CERTIFICATE);
        let knows = rpmkeys.imports("both", PACKAGE_PQC_CERTIFICATE);
        let (classic, said) = rpmkeys.check("classic", "both.rpm");
        if knows {
            let (good, said) = rpmkeys.check("both", "both.rpm");
            assert!(good, "{}: {said}", rpmkeys.name);
            // The reason for an opt-in: it wants every key whose algorithm it knows.
            assert!(!classic, "{}: {said}", rpmkeys.name);
        } else {
            eprintln!(
                "SKIPPED: post-quantum check by {}: its crypto library knows no ML-DSA",
                rpmkeys.name
            );
            assert!(classic, "{}: {said}", rpmkeys.name);
        }
    }
}

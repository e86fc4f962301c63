//! What rpm 4.18, rpm 6, gpg and sqv say about our signatures.

mod common;

use common::judges::gpg_and_sqv_agree;
use common::tools::{self, RpmKeys};
use common::{Rpm, World, now};
use hallmark_signer::keys::openpgp::SigningKey;
use hallmark_signer::keys::{self, METADATA_CERTIFICATE, PACKAGE_CERTIFICATE, PACKAGE_KEY};
use repo_model::config::KeyAlgorithm;
use std::os::unix::fs::PermissionsExt as _;

/// Signs all and shows them to every rpm, with the right key, without one, and damaged.
fn every_rpm_agrees(world: &World, rpms: &[(String, Rpm)]) {
    let dir = world.dir.path();
    for name in [PACKAGE_CERTIFICATE, METADATA_CERTIFICATE] {
        std::fs::copy(world.config.state_dir.join(name), dir.join(name)).unwrap();
    }
    for (index, (_, rpm)) in rpms.iter().enumerate() {
        let signed = rpm.with_signature(&world.sign(rpm).signature_header);
        std::fs::write(dir.join(format!("{index}.rpm")), &signed.bytes).unwrap();
    }
    let first = std::fs::read(dir.join("0.rpm")).unwrap();
    let payload_at = usize::try_from(rpms[0].1.head.payload_offset()).unwrap();
    for (name, at) in [
        ("header.rpm", payload_at - 1),
        ("payload.rpm", payload_at + 9),
    ] {
        let mut damaged = first.clone();
        damaged[at] ^= 1;
        std::fs::write(dir.join(name), damaged).unwrap();
    }
    std::fs::write(dir.join("unsigned.rpm"), &rpms[0].1.bytes).unwrap();
    for rpmkeys in RpmKeys::all(dir) {
        rpmkeys.import("right", PACKAGE_CERTIFICATE);
        rpmkeys.import("wrong", METADATA_CERTIFICATE);
        for (index, (name, _)) in rpms.iter().enumerate() {
            let (good, said) = rpmkeys.check("right", &format!("{index}.rpm"));
            assert!(good, "{}: {name}: {said}", rpmkeys.name);
        }
        for (database, file) in [
            ("wrong", "0.rpm"),
            ("right", "header.rpm"),
            ("right", "payload.rpm"),
            ("right", "unsigned.rpm"),
        ] {
            let (good, said) = rpmkeys.check(database, file);
            assert!(!good, "{}: {database} key, {file}: {said}", rpmkeys.name);
        }
    }
}

fn named(rpms: Vec<Rpm>) -> Vec<(String, Rpm)> {
    rpms.into_iter()
        .map(|rpm| (rpm.package.nevra.to_string(), rpm))
        .collect()
}

#[test]
fn every_rpm_accepts_ed25519_signed_packages_at_the_strictest_level() {
    let world = World::start();
    let Some(built) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    every_rpm_agrees(&world, &named(built));
}

#[test]
fn every_rpm_accepts_rsa_signed_packages_at_the_strictest_level() {
    let mut world = World::prepared();
    let Some(built) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    // One RSA key is enough, and slow enough to make.
    let key = SigningKey::generate("R <r@hallmark.example>", KeyAlgorithm::Rsa4096, now()).unwrap();
    let path = world.config.state_dir.join(PACKAGE_KEY);
    std::fs::create_dir(&world.config.state_dir).unwrap();
    std::fs::write(&path, key.to_secret_armor().unwrap()).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = keys::init(&world.config, now()).unwrap();
    assert_eq!(outcome.keys.package.fingerprint(), key.fingerprint());
    world.serve();
    every_rpm_agrees(&world, &named(built));
}

#[test]
fn real_packages_of_formats_4_and_6_are_accepted_by_every_rpm() {
    let Some(shared) = tools::shared_unsigned() else {
        return;
    };
    // Both folders have packages of the same name and version, which one signer keeps apart.
    let (v6, v4): (Vec<_>, Vec<_>) = shared
        .into_iter()
        .partition(|(name, _)| name.starts_with("v6/"));
    for (what, rpms, at_least) in [("v4", v4, 10), ("v6", v6, 5)] {
        let world = World::start();
        let fit: Vec<_> = rpms
            .into_iter()
            .filter(|(_, rpm)| world.ask(rpm, &common::rebuilds(rpm)).is_ok())
            .collect();
        assert!(fit.len() >= at_least, "{what}: {} fit", fit.len());
        every_rpm_agrees(&world, &fit);
    }
}

#[test]
fn gpg_and_sqv_accept_the_detached_signatures_and_nothing_changed() {
    let world = World::start();
    let Some(rpms) = tools::built(world.dir.path(), &["assayed"]) else {
        return;
    };
    gpg_and_sqv_agree(&world, &world.one_of_each(&rpms[0]));
}

//! The life of post-quantum keys: staged, rotated in, revoked, in lists and files of their own.

mod common;

use common::{OneOfEach, Rpm, World, now};
use hallmark_signer::journal::{self, Event};
use hallmark_signer::keys::{self, PACKAGE_PQC_CERTIFICATE, life};
use hallmark_signer::verify::{
    Certificate, VerifyError, can_sign, verify_all_detached, verify_detached,
    verify_header_signature,
};
use repo_model::config::PostQuantum;
use repo_model::wire::signer::{Identity, KeyRole, KeyState, PublishedKey};

const ROLES: [KeyRole; 2] = [KeyRole::PackagePqc, KeyRole::MetadataPqc];

fn of(identity: &Identity, role: KeyRole) -> Vec<&PublishedKey> {
    identity
        .keys
        .iter()
        .filter(|key| key.role == role)
        .collect()
}

fn states(identity: &Identity, role: KeyRole) -> Vec<KeyState> {
    let keys = of(identity, role);
    keys.into_iter().map(|key| key.state).collect()
}

fn certificate(armored: &str) -> Certificate {
    Certificate::from_bytes(armored.as_bytes()).unwrap()
}

fn trusted(identity: &Identity, role: KeyRole) -> Vec<Certificate> {
    let all = identity.certificates(role).into_iter();
    all.map(certificate).collect()
}

fn file_is_signed_by(made: &OneOfEach, by: &Certificate) -> Result<(), VerifyError> {
    let signature = made.of_file.post_quantum.as_ref().unwrap();
    verify_detached(made.file.as_slice(), signature.as_bytes(), by)
}

#[test]
fn a_post_quantum_key_is_staged_rotated_and_revoked_apart_from_the_others() {
    let mut world = World::start();
    let first = world.client().identity().unwrap();
    let old = world.one_of_each(&Rpm::probe("one"));
    world.halt();
    for role in ROLES {
        life::stage(&world.config, role, now()).unwrap();
        life::stage(&world.config, role, now()).unwrap_err();
    }
    world.serve();
    let staged = world.client().identity().unwrap();
    for role in ROLES {
        assert_eq!(states(&staged, role), [KeyState::Current, KeyState::Next]);
        for key in of(&staged, role) {
            assert_eq!(key.openpgp_version, Some(6), "{}", key.label);
            assert_eq!(key.warnings(now()), [""; 0], "{}", key.label);
        }
        assert_eq!(staged.certificates(role).len(), 2);
    }
    // Nothing of it is in what gpg and rpm 4 read, and it signs nothing yet.
    assert_eq!(
        staged.certificates(KeyRole::Package),
        first.certificates(KeyRole::Package)
    );
    assert_eq!(
        staged.package_pqc_certificate,
        first.package_pqc_certificate
    );
    let made = world.one_of_each(&Rpm::probe("two"));
    let signer = certificate(first.package_pqc_certificate.as_ref().unwrap());
    file_is_signed_by(&made, &signer).unwrap();

    world.halt();
    for role in ROLES {
        let early = life::rotate(&world.config, role, false, now()).unwrap_err();
        assert!(early.to_string().contains("--at-once"), "{early}");
        life::rotate(&world.config, role, true, now()).unwrap();
    }
    world.serve();
    let rotated = world.client().identity().unwrap();
    for role in ROLES {
        let wanted = [KeyState::Retired, KeyState::Current];
        assert_eq!(states(&rotated, role), wanted);
    }
    let new = certificate(rotated.package_pqc_certificate.as_ref().unwrap());
    assert_ne!(new.fingerprint(), signer.fingerprint());
    let well_known = world.config.state_dir.join(PACKAGE_PQC_CERTIFICATE);
    assert_eq!(
        std::fs::read_to_string(well_known).unwrap(),
        *rotated.package_pqc_certificate.as_ref().unwrap()
    );
    let made = world.one_of_each(&Rpm::probe("three"));
    file_is_signed_by(&made, &new).unwrap();
    file_is_signed_by(&made, &signer).unwrap_err();
    // The key that was current not long ago signs metadata beside the new one.
    let both = made.release.repomd_post_quantum[0].as_bytes();
    let metadata = trusted(&rotated, KeyRole::MetadataPqc);
    verify_all_detached(&made.repomd, both, &metadata).unwrap();
    for one in &metadata {
        verify_all_detached(&made.repomd, both, std::slice::from_ref(one)).unwrap_err();
    }
    // What the retired one signed is still good.
    let good = trusted(&rotated, KeyRole::PackagePqc);
    let retired = good
        .iter()
        .find(|one| one.fingerprint() == signer.fingerprint());
    file_is_signed_by(&old, retired.unwrap()).unwrap();

    world.halt();
    for role in ROLES {
        let reason = "found on a build host";
        life::revoke(&world.config, role.first_label(), true, reason, now()).unwrap();
    }
    world.serve();
    let after = world.client().identity().unwrap();
    for role in ROLES {
        assert_eq!(
            states(&after, role),
            [KeyState::Revoked, KeyState::Current],
            "{role}"
        );
        assert_eq!(after.certificates(role).len(), 1);
        // The certificate itself says so, to whoever has nothing but it.
        let revoked = certificate(&of(&after, role)[0].public);
        assert!(!can_sign(&revoked, now()), "{role}");
        file_is_signed_by(&old, &revoked).unwrap_err();
    }
    let made = world.one_of_each(&Rpm::probe("four"));
    let one = made.release.repomd_post_quantum[0].as_bytes();
    let metadata = &trusted(&after, KeyRole::MetadataPqc)[0];
    verify_detached(made.repomd.as_slice(), one, metadata).unwrap();
    steps_are_in_the_journal(&world);
}

fn steps_are_in_the_journal(world: &World) {
    let mut steps = Vec::new();
    journal::read(&world.journal(), |record| {
        if let Event::KeyChanged { role, state, .. } = record.event {
            steps.push((role, state));
        }
    })
    .unwrap();
    let states = [KeyState::Next, KeyState::Current, KeyState::Revoked];
    let wanted = states.map(|state| ROLES.map(|role| (role, state)));
    assert_eq!(steps, wanted.concat());
}

#[test]
fn the_current_key_cannot_be_revoked_before_the_next_one_is_staged() {
    let world = World::prepared();
    keys::init(&world.config, now()).unwrap();
    let revoke = || life::revoke(&world.config, "package-key-pqc", true, "lost", now());
    let error = revoke().unwrap_err().to_string();
    assert!(error.contains("key stage package-pqc"), "{error}");
    life::stage(&world.config, KeyRole::PackagePqc, now()).unwrap();
    assert_eq!(revoke().unwrap().state, KeyState::Revoked);
    let keys = keys::load_at(&world.config, now()).unwrap();
    let current = keys.post_quantum.unwrap().package;
    let listed = keys.published.iter().find(|key| {
        let is_current = key.state == KeyState::Current;
        is_current && key.role == KeyRole::PackagePqc
    });
    let listed = listed.unwrap();
    assert_eq!(listed.label, "package-key-pqc-2");
    assert_eq!(listed.fingerprint, current.fingerprint());
}

#[test]
fn embedded_signatures_follow_a_rotation_and_the_retired_key_s_stay_good() {
    let mut world = World::prepared();
    world.config.post_quantum = PostQuantum::Embedded;
    keys::init(&world.config, now()).unwrap();
    world.serve();
    let before = Rpm::probe("before");
    let old_file = before
        .with_signature(&world.sign(&before).signature_header)
        .bytes;
    world.halt();
    life::stage(&world.config, KeyRole::PackagePqc, now()).unwrap();
    life::rotate(&world.config, KeyRole::PackagePqc, true, now()).unwrap();
    world.serve();
    let identity = world.client().identity().unwrap();
    let after = Rpm::probe("after");
    let signed = after.with_signature(&world.sign(&after).signature_header);
    let classic = certificate(&identity.package_certificate);
    let current = certificate(identity.package_pqc_certificate.as_ref().unwrap());
    let both = [classic, current];
    assert_eq!(verify_header_signature(&signed.head, &both).unwrap(), 2);
    // A file that the retired key signed may still get its detached signature.
    let mut client = world.client();
    client
        .sign_file(before.header(), old_file.len() as u64, old_file.as_slice())
        .unwrap();
    // And the header gets a signature by the new key when it is asked for again.
    let again = before.with_signature(&world.sign(&before).signature_header);
    assert_eq!(verify_header_signature(&again.head, &both).unwrap(), 2);
}

#[test]
fn a_list_from_before_post_quantum_keys_stood_in_it_is_completed() {
    let mut world = World::prepared();
    keys::init(&world.config, now()).unwrap();
    let path = world.config.state_dir.join("keys.json");
    let mut list: serde_json::Value =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let all = list["keys"].as_array_mut().unwrap();
    assert_eq!(all.len(), 5);
    all.retain(|key| !key["role"].as_str().unwrap().ends_with("-pqc"));
    assert_eq!(all.len(), 3);
    std::fs::write(&path, list.to_string()).unwrap();
    for role in ROLES {
        let public = format!("public/{}.asc", role.first_label());
        std::fs::remove_file(world.config.state_dir.join(public)).unwrap();
    }
    world.serve();
    let identity = world.client().identity().unwrap();
    assert_eq!(identity.keys.len(), 5);
    let listed = of(&identity, KeyRole::PackagePqc)[0];
    assert_eq!(
        Some(&listed.public),
        identity.package_pqc_certificate.as_ref()
    );
    world.halt();
    life::stage(&world.config, KeyRole::PackagePqc, now()).unwrap();
    world.serve();
    let identity = world.client().identity().unwrap();
    let wanted = [KeyState::Current, KeyState::Next];
    assert_eq!(states(&identity, KeyRole::PackagePqc), wanted);
}

#[test]
fn switched_off_there_is_none_and_none_is_made() {
    let mut world = World::prepared();
    world.config.post_quantum = PostQuantum::Off;
    let made = keys::init(&world.config, now()).unwrap().made;
    let plain = ["package-key", "metadata-key", "statement-key", "log-key"];
    assert_eq!(made, plain);
    let error = life::stage(&world.config, KeyRole::MetadataPqc, now()).unwrap_err();
    assert!(error.to_string().contains("is off"), "{error}");
    world.serve();
    let identity = world.client().identity().unwrap();
    assert_eq!(identity.keys.len(), 3);
    assert_eq!(identity.certificates(KeyRole::PackagePqc), [""; 0]);
    world.halt();
    // Switched on, `init` makes what is missing; off again, the keys are still shown for what they signed.
    world.config.post_quantum = PostQuantum::Detached;
    let made = keys::init(&world.config, now()).unwrap().made;
    assert_eq!(made, ["package-key-pqc", "metadata-key-pqc", "log-key-pqc"]);
    world.config.post_quantum = PostQuantum::Off;
    world.serve();
    let identity = world.client().identity().unwrap();
    assert_eq!(identity.package_pqc_certificate, None);
    assert_eq!(identity.certificates(KeyRole::PackagePqc).len(), 1);
}

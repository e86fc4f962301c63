//! The promises about the process that holds the keys, each checked on a process that serves: no network,
//! no programs, no files of others, nobody looks in, no core, locked memory, and nothing of the key files
//! left lying in it.

mod common;

use common::serving::{self, Serving};
use common::{Rpm, World, tools};
use sequoia_openpgp::Cert;
use sequoia_openpgp::crypto::mpi::SecretKeyMaterial;
use sequoia_openpgp::packet::key::SecretKeyMaterial as Secret;
use sequoia_openpgp::parse::Parse as _;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// Whom the service file runs it as: nobody in particular.
const NOBODY: u32 = 65_534;

fn init(world: &World, more: &str) {
    let status = serving::program(world, &["init"], more).status().unwrap();
    assert!(status.success());
}

fn serve(world: &World, more: &str, prepare: impl Fn(&mut Command)) -> Serving {
    let mut command = serving::program(world, &["serve"], more);
    prepare(&mut command);
    let started = Serving::start(world, command);
    started.unwrap_or_else(|| panic!("{}", serving::log(world)))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn give_away(path: &Path, uid: u32) {
    chown(path, Some(uid), None).unwrap();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        give_away(&entry.path(), uid);
    }
}

#[test]
fn no_other_process_of_its_user_can_look_into_it() {
    let world = World::prepared();
    init(&world, "");
    let as_nobody = is_root();
    if as_nobody {
        give_away(world.dir.path(), NOBODY);
    }
    let serving = serve(&world, "", |command| {
        if as_nobody {
            command.uid(NOBODY);
        }
    });
    let process = format!("/proc/{}", serving.id());
    let status = std::fs::read_to_string(format!("{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("Uid:"));
    let uid = line
        .and_then(|line| line.split_whitespace().nth(1))
        .unwrap();
    assert_ne!(uid, "0", "{status}");
    // The kernel gives what may be looked into to its user, and the rest to root (proc(5)).
    for file in ["mem", "environ", "maps"] {
        let owner = std::fs::metadata(format!("{process}/{file}"))
            .unwrap()
            .uid();
        assert_eq!(owner, 0, "{file}");
    }
    let limits = std::fs::read_to_string(format!("{process}/limits")).unwrap_or_default();
    if limits.is_empty() {
        eprintln!("SKIPPED: the limits of another user's process");
    } else {
        let core = limits.lines().find(|line| line.contains("core file size"));
        assert_eq!(
            core.unwrap().split_whitespace().nth(4),
            Some("0"),
            "{limits}"
        );
    }
}

#[test]
fn it_has_unix_sockets_only_and_no_file_open_that_is_not_its_own() {
    let world = World::start();
    drop(world.client());
    let mut own = World::prepared();
    own.config.state_dir = own.dir.path().join("state");
    init(&own, "");
    let serving = serve(&own, "", |_| {});
    own.sign(&Rpm::probe("probe"));
    let process = format!("/proc/{}", serving.id());
    let sockets = std::fs::read_to_string(format!("{process}/net/unix")).unwrap();
    let mut inodes: Vec<&str> = sockets
        .lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(6))
        .collect();
    inodes.sort_unstable();
    for entry in std::fs::read_dir(format!("{process}/fd"))
        .unwrap()
        .flatten()
    {
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let target = target.to_str().unwrap().to_owned();
        let inode = target
            .strip_prefix("socket:[")
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(inode) = inode {
            assert!(
                inodes.binary_search(&inode).is_ok(),
                "{target} is no Unix socket"
            );
        } else if target.starts_with('/') {
            let is_own = Path::new(&target).starts_with(own.dir.path());
            assert!(is_own || target == "/dev/null", "{target}");
        }
    }
}

/// Reads everything that the process could have written to.
fn memory_of(pid: u32) -> Vec<Vec<u8>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut memory = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut parts = Vec::new();
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (range, rights) = (words.next().unwrap(), words.next().unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let at = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = (at(start), at(end));
        let mut part = vec![0; usize::try_from(end - start).unwrap()];
        if memory.seek(SeekFrom::Start(start)).is_ok() && memory.read_exact(&mut part).is_ok() {
            parts.push(part);
        }
    }
    parts
}

fn found(memory: &[Vec<u8>], wanted: &[u8]) -> bool {
    memory
        .iter()
        .any(|part| part.windows(wanted.len()).any(|window| window == wanted))
}

/// The secret number of an Ed25519 key.
fn scalar(file: &Path) -> Vec<u8> {
    let certificate = Cert::from_bytes(&std::fs::read(file).unwrap()).unwrap();
    let key = certificate.primary_key().key().clone();
    let Some(Secret::Unencrypted(secret)) = key.optional_secret().cloned() else {
        panic!("no secret")
    };
    secret.map(|numbers| match numbers {
        SecretKeyMaterial::EdDSA { scalar } => scalar.value().to_vec(),
        other => panic!("{other:?}"),
    })
}

#[test]
fn what_was_read_of_the_key_files_is_wiped_from_its_memory() {
    if !is_root() {
        eprintln!("SKIPPED: another process's memory is for root to read");
        return;
    }
    let world = World::prepared();
    let passphrase = "correct horse battery staple";
    let file = world.dir.path().join("passphrase");
    std::fs::write(&file, passphrase).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&file, private).unwrap();
    // The same keys, open for us and locked for it.
    init(&world, "");
    let serving = serve(&world, "", |_| {});
    for name in ["one", "two", "three"] {
        world.sign(&Rpm::probe(name));
    }
    let memory = memory_of(serving.id());
    assert!(found(&memory, b"hallmark"), "its memory is read");
    let state = &world.config.state_dir;
    for name in ["package-key.asc", "metadata-key.asc", "statement-key.pem"] {
        let text = std::fs::read_to_string(state.join(name)).unwrap();
        let line = text.lines().filter(|line| line.len() > 40).nth(1);
        let line = line.or_else(|| text.lines().find(|line| line.len() > 40));
        assert!(!found(&memory, line.unwrap().as_bytes()), "{name}");
    }
    for name in ["package-key.asc", "metadata-key.asc"] {
        assert!(
            !found(&memory, &scalar(&state.join(name))),
            "the number of {name}"
        );
    }
    drop(serving);
    let locked = format!("key_backend = \"encrypted-file\"\npassphrase_file = {file:?}\n");
    init(&world, &locked);
    let serving = serve(&world, &locked, |_| {});
    world.sign(&Rpm::probe("four"));
    let memory = memory_of(serving.id());
    assert!(!found(&memory, passphrase.as_bytes()), "the passphrase");
}

#[test]
fn the_service_file_is_as_closed_as_systemd_can_tell() {
    if !tools::have("systemd-analyze") {
        return;
    }
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd");
    for (file, most) in [
        ("hallmark-signer.service", "10"),
        ("hallmark-signer-gate.service", "20"),
    ] {
        let path = docs.join(file).display().to_string();
        let judged = tools::run(
            "systemd-analyze",
            &["security", "--offline=yes", "--threshold", most, &path],
        );
        let said = tools::text(&judged);
        if said.contains("unrecognized option") {
            eprintln!("SKIPPED: systemd-analyze without --offline");
            return;
        }
        assert!(judged.status.success(), "{file}: {said}");
    }
    let text = std::fs::read_to_string(docs.join("hallmark-signer.service")).unwrap();
    for line in [
        "PrivateNetwork=yes",
        "RestrictAddressFamilies=AF_UNIX",
        "MemoryDenyWriteExecute=yes",
        "ProtectSystem=strict",
        "SystemCallFilter=@system-service",
        "LimitMEMLOCK=infinity",
        "LimitCORE=0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line}");
    }
}

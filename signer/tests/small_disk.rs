//! A disk that is really full: `state_dir` on a file system of half a megabyte, filled to the last page
//! before each write in turn. What needs a record is refused by name and nothing is signed; what is there
//! stays whole; and the same process goes on when there is room again.
//!
//! The signer keeps nothing else on the disk: journal, key files, the list of keys, public halves. Its index
//! and its memory of signatures are made of the journal at the start.

mod common;

use common::serving::{self, Serving};
use common::{A, B, Draft, Rpm, World, rebuild, rebuilds, tools};
use hallmark_signer::client::{ClientError, SignedPackage};
use hallmark_signer::journal;
use repo_model::log::leaf_hash;
use repo_model::verdict::Verdict::Identical;
use repo_model::wire::signer::ShownSignatures;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PAGE_BYTES: u64 = 4096;

/// A world whose state lies on a small file system, in a mount namespace of its own.
struct SmallDisk {
    world: World,
    /// Lives in the namespace and holds it; ends when we do, since nothing comes from its input.
    holder: Child,
    /// The file system as seen from out here.
    seen: PathBuf,
}

impl SmallDisk {
    /// `None`, said by name, where namespaces cannot be had.
    fn new() -> Option<Self> {
        if !(tools::have("unshare") && tools::have("nsenter")) {
            return None;
        }
        let mut world = World::prepared();
        let disk = world.dir.path().join("disk");
        std::fs::create_dir(&disk).unwrap();
        let script = "mount -t tmpfs -o size=512k small \"$0\" && echo mounted && exec cat";
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
            .arg(&disk)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 8];
        let heard = holder.stdout.as_mut().unwrap().read_exact(&mut said);
        if heard.is_err() || said != *b"mounted\n" {
            holder.wait().unwrap();
            tools::missing("a user namespace with a mount of its own");
            return None;
        }
        world.config.state_dir = disk.join("state");
        let inside = disk.strip_prefix("/").unwrap();
        let seen = Path::new("/proc")
            .join(holder.id().to_string())
            .join("root")
            .join(inside);
        Some(Self {
            world,
            holder,
            seen,
        })
    }

    fn program(&self, arguments: &[&str]) -> Command {
        let words = [
            "nsenter",
            "--user",
            "--mount",
            "--target",
            &self.holder.id().to_string(),
        ];
        serving::within(&words.map(str::to_owned), &self.world, arguments, "")
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.program(arguments).output().unwrap()
    }

    fn ok(&self, arguments: &[&str]) {
        let output = self.run(arguments);
        assert!(output.status.success(), "{}", tools::text(&output));
    }

    fn serve(&self) -> Option<Serving> {
        Serving::start(&self.world, self.program(&["serve"]))
    }

    /// Leaves so many free pages.
    fn leave(&self, pages: u64) {
        let filler = self.seen.join("filler");
        std::fs::write(&filler, b"").unwrap();
        let free = rustix::fs::statvfs(&self.seen).unwrap().f_bavail;
        let bytes = (free - pages) * PAGE_BYTES;
        std::fs::write(&filler, vec![0; usize::try_from(bytes).unwrap()]).unwrap();
        let left = rustix::fs::statvfs(&self.seen).unwrap().f_bavail;
        assert_eq!(left, pages);
    }

    fn make_room(&self) {
        std::fs::remove_file(self.seen.join("filler")).unwrap();
    }

    /// Records of the journal, all of them whole.
    fn records(&self) -> u64 {
        let report = journal::verify(&self.seen.join("state/journal.jsonl")).unwrap();
        assert_eq!(report.torn_bytes, 0);
        report.records
    }

    /// What is in each file that has a key's name.
    fn private_keys(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = std::fs::read_dir(self.seen.join("state"));
        let named = entries.into_iter().flatten().flatten().map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, entry.path())
        });
        let is_key = |name: &str| name.starts_with(|first: char| first.is_ascii_lowercase());
        named
            .filter(|(name, path)| is_key(name) && path.is_file())
            .filter(|(name, _)| name.ends_with(".asc") || name.ends_with(".pem"))
            .map(|(name, path)| (name, std::fs::read(path).unwrap()))
            .collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// Asks until the last page has no room for one more record; then the refusal says so. Returns how many
/// were answered before.
fn until_refused<T: std::fmt::Debug>(
    what: &str,
    mut ask: impl FnMut() -> Result<T, ClientError>,
    is_answer: impl Fn(&Result<T, ClientError>) -> bool,
) -> u64 {
    for answered in 0..64 {
        match ask() {
            Err(ClientError::Failed { message }) => {
                let says = "the decision cannot be written down, so nothing is signed";
                assert!(message.contains(says), "{what}: {message}");
                return answered;
            }
            other => assert!(is_answer(&other), "{what}: {other:?}"),
        }
    }
    panic!("{what}: there is always room")
}

#[test]
fn each_record_that_finds_no_room_is_refused_by_name_and_the_process_goes_on_when_there_is_some() {
    let Some(disk) = SmallDisk::new() else {
        return;
    };
    let world = &disk.world;
    disk.ok(&["init"]);
    disk.leave(0);
    assert!(disk.serve().is_none(), "the start is a record");
    let said = serving::log(world);
    assert!(said.contains("No space left on device"), "{said}");
    disk.make_room();

    let (first, second, third) = (
        Rpm::probe("first"),
        Rpm::probe("second"),
        Rpm::probe("third"),
    );
    let serving = disk
        .serve()
        .unwrap_or_else(|| panic!("{}", serving::log(world)));
    let signed = world.sign_whole(&first);
    let draft = Draft::new(1, None, &[(&first, &signed)]);
    let file = first.with_signature(&signed.signature_header).bytes;
    let mut records = disk.records();
    assert_eq!(records, 3, "a start, a package, a file");
    disk.leave(0);
    let good = |answer: &Result<SignedPackage, ClientError>| answer.is_ok();
    let held = |answer: &Result<SignedPackage, ClientError>| {
        matches!(answer, Err(ClientError::Refused { held: true, .. }))
    };
    records += until_refused("a package", || world.ask(&second, &rebuilds(&second)), good);
    assert_eq!(disk.records(), records);
    records += until_refused(
        "a package that is held",
        || world.ask(&third, &[rebuild(A, &third, Identical)]),
        held,
    );
    assert_eq!(disk.records(), records);
    let (size_bytes, header) = (file.len() as u64, first.header());
    records += until_refused(
        "a file",
        || {
            world
                .client()
                .sign_file(header, size_bytes, file.as_slice())
        },
        Result::is_ok,
    );
    assert_eq!(disk.records(), records);
    records += until_refused(
        "a release",
        || world.client().sign_release(&draft.json(), &draft.files),
        Result::is_ok,
    );
    assert_eq!(disk.records(), records);
    // What needs no record is answered.
    world.client().identity().unwrap();
    a_policy_that_cannot_be_recorded_is_not_used(&disk, &serving);
    assert_eq!(disk.records(), records);

    disk.make_room();
    serving.tell(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(20);
    while world.ask(&second, &rebuilds(&second)).is_err() {
        assert!(Instant::now() < deadline, "{}", serving::log(world));
        std::thread::sleep(Duration::from_millis(50));
    }
    let release = world.client().sign_release(&draft.json(), &draft.files);
    release.unwrap();
    let held = world.ask(&third, &[rebuild(A, &third, Identical)]);
    assert!(matches!(held, Err(ClientError::Refused { .. })), "{held:?}");
    assert_eq!(serving.terminate(), Some(0));
    let whole = disk.records();
    let _serving = disk.serve().unwrap();
    assert_eq!(disk.records(), whole + 1);
    assert_eq!(world.sign(&first).signature_header, signed.signature_header);
}

#[test]
fn what_is_to_be_said_for_the_log_is_said_when_it_can_be_written_down() {
    let Some(disk) = SmallDisk::new() else {
        return;
    };
    let world = &disk.world;
    let policy = common::policy_text(1, "").replace("require_log = false\n", "");
    std::fs::write(&world.config.policy_file, policy).unwrap();
    disk.ok(&["init"]);
    let _serving = disk
        .serve()
        .unwrap_or_else(|| panic!("{}", serving::log(world)));
    let rpm = Rpm::probe("probe");
    let evidence = rebuilds(&rpm);
    let (mut log, proofs) = world.logged(&[(&evidence[0], A), (&evidence[1], B)]);
    let (head, sboms) = (rpm.head.to_bytes(), common::sboms(&rpm));
    let signed =
        world
            .client()
            .sign_package(&common::base(), &head, &evidence, &sboms, Some(proofs));
    signed.unwrap();
    let said = world.client().say_signatures().unwrap().unwrap();
    let key = world.client().identity().unwrap().statement_key;
    let index = log.add_by(&said, &key.parse().unwrap());
    let shown = ShownSignatures {
        envelope: said,
        head: log.sign(&mut world.client()),
        place: log.place(index, log.size()),
    };

    let mut records = disk.records();
    disk.leave(0);
    records += until_refused(
        "a head of the log",
        || {
            let mut next = log.clone();
            next.leaves.0.push(leaf_hash(b"one more"));
            let head = next.try_sign(&mut world.client());
            if head.is_ok() {
                log = next;
            }
            head
        },
        Result::is_ok,
    );
    assert_eq!(disk.records(), records);
    records += until_refused("the keys", || world.client().announce_keys(), Result::is_ok);
    assert_eq!(disk.records(), records);
    records += until_refused(
        "the signatures",
        || world.client().say_signatures(),
        |answer| matches!(answer, Ok(Some(_))),
    );
    assert_eq!(disk.records(), records);
    // A shorter line than the last one; the page may have just room for it.
    match world.client().show_signatures(shown.clone()) {
        Ok(left) => assert_eq!((left, disk.records()), (0, records + 1)),
        Err(ClientError::Failed { message }) => {
            assert!(message.contains("cannot be written down"), "{message}");
            assert_eq!(disk.records(), records);
            disk.make_room();
            assert_eq!(world.client().show_signatures(shown).unwrap(), 0);
        }
        Err(other) => panic!("{other:?}"),
    }
    assert_eq!(world.client().say_signatures().unwrap(), None);
}

/// The operator wants another policy: until it is recorded, none is in force.
fn a_policy_that_cannot_be_recorded_is_not_used(disk: &SmallDisk, serving: &Serving) {
    let world = &disk.world;
    let text = common::policy_text(2, "");
    std::fs::write(&world.config.policy_file, text).unwrap();
    serving.tell(Signal::HUP);
    let probe = Rpm::probe("probe");
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = world.ask(&probe, &rebuilds(&probe));
        let Err(ClientError::Failed { message }) = answer else {
            panic!("{answer:?}")
        };
        if message.contains("no policy is in force") {
            return;
        }
        assert!(Instant::now() < deadline, "{message}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Runs a command with room for no page, one page, and so on until it succeeds; each time before, it says
/// what it could not write. Returns how often it failed.
fn with_more_and_more_room(disk: &SmallDisk, arguments: &[&str]) -> u32 {
    let mut kept = disk.private_keys();
    for pages in 0..100 {
        disk.leave(pages);
        let output = disk.run(arguments);
        let said = tools::text(&output);
        for (name, bytes) in &kept {
            assert_eq!(disk.private_keys().get(name), Some(bytes), "{name}");
        }
        kept = disk.private_keys();
        for (name, bytes) in &kept {
            let whole = bytes.trim_ascii_end().ends_with(b"-----");
            assert!(whole, "{arguments:?}, {pages} pages: {name}");
        }
        disk.make_room();
        if output.status.success() {
            return u32::try_from(pages).unwrap();
        }
        let named = ["cannot write", "cannot create", "cannot be recorded"];
        let is_named = named.iter().any(|words| said.contains(words));
        let why = said.contains("No space left on device");
        assert!(is_named && why, "{arguments:?}, {pages} pages: {said}");
    }
    panic!("{arguments:?} never succeeds")
}

#[test]
fn keys_are_made_staged_rotated_and_revoked_whole_or_not_at_all_on_a_full_disk() {
    let Some(disk) = SmallDisk::new() else {
        return;
    };
    let failures = with_more_and_more_room(&disk, &["init"]);
    assert!(failures >= 5, "each key is a write: {failures}");
    for role in ["package", "package-pqc"] {
        let failures = with_more_and_more_room(&disk, &["key", "stage", role]);
        assert!(failures >= 2, "{role}: {failures}");
        // Half a step is no step: the list is whole after each, and the signer can use it.
        with_more_and_more_room(&disk, &["key", "rotate", role, "--at-once"]);
        let label = match role {
            "package" => "package-key",
            _ => "package-key-pqc",
        };
        let revoke = ["key", "revoke", label, "--reason", "a rehearsal"];
        with_more_and_more_room(&disk, &revoke);
    }
    disk.records();
    let _serving = disk
        .serve()
        .unwrap_or_else(|| panic!("{}", serving::log(&disk.world)));
    disk.world.sign(&Rpm::probe("probe"));
    let identity = disk.world.client().identity().unwrap();
    assert_eq!(identity.keys.len(), 7, "two of two roles, one of three");
}

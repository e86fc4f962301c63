//! A policy that k of n people signed: the ceremony by its commands, what the signer takes and what
//! it refuses, and what other implementations of TUF say about the documents.

mod common;

use common::{World, now, policy_text, tools};
use hallmark_signer::client::ClientError;
use hallmark_signer::journal::JournalError;
use hallmark_signer::rules::RulesError;
use hallmark_signer::server::{ServeError, Server};
use hallmark_signer::{ceremony, desk, keys};
use repo_model::trust::TrustError;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Three holders, two of whom decide, and their directory.
struct Board {
    world: World,
    dir: PathBuf,
}

impl Board {
    /// Keys and the first root, signed by alice and bob; policy 1, signed by bob and carol; pinned.
    fn ready() -> Self {
        let board = Self::unsigned();
        for holder in ["alice", "bob"] {
            board.sign(holder);
        }
        board.policy(&policy_text(1, ""));
        for holder in ["bob", "carol"] {
            board.sign(holder);
        }
        board.pin();
        board
    }

    /// Keys and the first root, which nobody has signed.
    fn unsigned() -> Self {
        let mut world = World::prepared();
        keys::init(&world.config, now()).unwrap();
        let dir = world.dir.path().join("policy");
        world.config.unsigned_policy = false;
        world.config.policy_file = dir.join("policy.toml");
        let board = Self { world, dir };
        for holder in ["alice", "bob", "carol", "dave"] {
            board.ok(&["keygen", &board.key(holder)]);
        }
        let [a, b, c] = ["alice", "bob", "carol"].map(|holder| board.public(holder));
        board.with_dir(
            "init",
            &["--key", &a, "--key", &b, "--key", &c, "--threshold", "2"],
        );
        board
    }

    fn at(&self, name: &str) -> String {
        self.world.dir.path().join(name).display().to_string()
    }

    fn key(&self, holder: &str) -> String {
        self.at(&format!("{holder}.key"))
    }

    fn public(&self, holder: &str) -> String {
        self.at(&format!("{holder}.pub"))
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_hallmark-signer"))
            .arg("root")
            .args(arguments)
            .env("HALLMARK_SIGNER__STATE_DIR", &self.world.config.state_dir)
            .output()
            .unwrap()
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            tools::text(&output)
        );
        tools::text(&output)
    }

    fn with_dir(&self, command: &str, more: &[&str]) -> String {
        let dir = self.dir.display().to_string();
        self.ok(&[&[command, dir.as_str()], more].concat())
    }

    fn sign(&self, holder: &str) -> String {
        self.with_dir("sign", &["--key", &self.key(holder)])
    }

    fn policy(&self, text: &str) {
        self.policy_for(text, "365");
    }

    fn policy_for(&self, text: &str, days: &str) {
        let file = self.at("next-policy.toml");
        std::fs::write(&file, text).unwrap();
        self.with_dir("policy", &[&file, "--days", days]);
    }

    fn pin(&self) {
        self.ok(&["pin", &self.dir.join("1.root.json").display().to_string()]);
    }

    /// Starts the signer and ends it again. A program that another test starts just now may hold the
    /// journal for a moment.
    fn opened(&self) -> Result<(), ServeError> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match Server::open(&self.world.config) {
                Err(ServeError::Open(desk::OpenError::Journal(JournalError::Busy { .. })))
                    if Instant::now() < deadline =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other.map(drop),
            }
        }
    }

    /// Why the signer does not start.
    fn refusal(&self) -> RulesError {
        match self.opened() {
            Err(ServeError::Open(desk::OpenError::Rules(error))) => error,
            other => panic!("{other:?}"),
        }
    }

    /// A copy of all documents.
    fn keep(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let files = std::fs::read_dir(&self.dir).unwrap();
        let kept = files.map(|file| file.unwrap().path());
        kept.map(|path| (path.clone(), std::fs::read(&path).unwrap()))
            .collect()
    }

    /// The documents as they were, and no others.
    fn restore(&self, kept: &[(PathBuf, Vec<u8>)]) {
        std::fs::remove_dir_all(&self.dir).unwrap();
        std::fs::create_dir(&self.dir).unwrap();
        for (path, bytes) in kept {
            std::fs::write(path, bytes).unwrap();
        }
    }
}

fn trust_error(error: RulesError) -> TrustError {
    match error {
        RulesError::Trust { source, .. } => source,
        other => panic!("{other}"),
    }
}

#[test]
fn a_policy_that_two_of_three_signed_is_used_and_named_in_the_journal() {
    let mut board = Board::ready();
    let said = board.with_dir("verify", &[]);
    assert!(
        said.contains("1, 2 of 3 keys") && said.contains("policy   1, "),
        "{said}"
    );
    board.world.serve();
    assert_eq!(board.world.client().identity().unwrap().policy_version, 1);
    board.world.halt();
    let journal = std::fs::read_to_string(board.world.journal()).unwrap();
    assert!(
        journal.contains("\"root_version\":1") && journal.contains("\"targets_version\":1"),
        "{journal}"
    );
}

#[test]
fn what_is_not_signed_as_it_must_be_is_not_used() {
    let board = Board::unsigned();
    let unpinned = |board: &Board| matches!(board.refusal(), RulesError::NotPinned);
    let root = board.dir.join("1.root.json").display().to_string();
    assert!(
        !board.run(&["pin", &root]).status.success(),
        "nobody signed"
    );
    for holder in ["alice", "bob"] {
        board.sign(holder);
    }
    board.policy(&policy_text(1, ""));
    assert!(unpinned(&board));
    board.pin();
    assert!(matches!(
        trust_error(board.refusal()),
        TrustError::Signatures {
            have: 0,
            want: 2,
            ..
        }
    ));
    board.sign("carol");
    board.sign("carol");
    assert!(matches!(
        trust_error(board.refusal()),
        TrustError::Signatures { have: 1, .. }
    ));
    // Who has no voice cannot lend one.
    let dir = board.dir.display().to_string();
    let stranger = board.run(&["sign", &dir, "--key", &board.key("dave")]);
    assert_eq!(stranger.status.code(), Some(1));
    board.sign("alice");
    board.opened().unwrap();
    // One byte more than was signed.
    let mut text = policy_text(1, "");
    text.push('\n');
    std::fs::write(&board.world.config.policy_file, text).unwrap();
    assert!(matches!(
        trust_error(board.refusal()),
        TrustError::Target { .. }
    ));
    std::fs::remove_file(board.dir.join("targets.json")).unwrap();
    assert!(matches!(board.refusal(), RulesError::Read { .. }));
}

#[test]
fn a_policy_may_neither_go_back_nor_change_under_its_version_nor_lose_its_signatures() {
    let mut board = Board::ready();
    let first = board.keep();
    board.policy(&policy_text(2, ""));
    board.sign("alice");
    board.sign("bob");
    board.world.serve();
    board.world.halt();
    let second = board.keep();
    board.restore(&first);
    assert!(matches!(
        board.refusal(),
        RulesError::Rollback {
            what: "the policy",
            found: 1,
            used: 2
        }
    ));
    // The holders themselves sign other content under the same number.
    let same_number = board.at("next-policy.toml");
    std::fs::write(&same_number, policy_text(2, "# other\n")).unwrap();
    board.restore(&second);
    let dir = board.dir.display().to_string();
    assert!(!board.run(&["policy", &dir, &same_number]).status.success());
    std::fs::remove_file(board.dir.join("policy.toml")).unwrap();
    board.with_dir("policy", &[&same_number]);
    board.sign("alice");
    board.sign("bob");
    assert!(matches!(
        board.refusal(),
        RulesError::Changed {
            what: "the policy",
            version: 2
        }
    ));
    board.restore(&second);
    board.world.config.unsigned_policy = true;
    assert!(matches!(board.refusal(), RulesError::NoLongerSigned));
    board.world.config.unsigned_policy = false;
    board.opened().unwrap();
}

#[test]
fn an_expired_policy_is_not_used_and_the_same_one_signed_again_is() {
    let board = Board::ready();
    board.policy_for(&policy_text(1, ""), "0");
    board.sign("alice");
    board.sign("bob");
    assert!(matches!(
        trust_error(board.refusal()),
        TrustError::Expired { .. }
    ));
    let dir = board.dir.display().to_string();
    assert_eq!(board.run(&["verify", &dir]).status.code(), Some(1));
    board.policy_for(&policy_text(1, ""), "1");
    board.sign("alice");
    board.sign("bob");
    board.opened().unwrap();
}

#[test]
fn keys_change_hands_only_with_the_thresholds_of_both_roots() {
    let mut board = Board::ready();
    board.world.serve();
    board.world.halt();
    let (carol, dave) = (board.public("carol"), board.public("dave"));
    board.with_dir("rotate", &["--remove", &carol, "--add", &dave]);
    board.sign("dave");
    board.sign("alice");
    // Root 1 wants two of alice, bob and carol; only alice signed.
    assert!(matches!(
        trust_error(board.refusal()),
        TrustError::Signatures { have: 1, want: 2, ref by, .. } if by == "root 1"
    ));
    board.sign("carol");
    // The policy had bob and carol; carol's voice is gone, alice's came with her signature.
    board.world.serve();
    board.world.halt();
    let rotated = board.keep();
    // A chain that the old holders made on the side: other keys under the same number.
    std::fs::remove_file(board.dir.join("2.root.json")).unwrap();
    assert!(matches!(
        board.refusal(),
        RulesError::Rollback {
            what: "the root",
            found: 1,
            used: 2
        }
    ));
    board.with_dir("rotate", &["--threshold", "1"]);
    for holder in ["alice", "bob", "carol"] {
        board.sign(holder);
    }
    assert!(matches!(
        board.refusal(),
        RulesError::Changed {
            what: "the root",
            version: 2
        }
    ));
    board.restore(&rotated);
    board.opened().unwrap();
}

#[test]
fn a_running_signer_reads_the_policy_again_and_signs_nothing_while_it_cannot() {
    let mut board = Board::ready();
    let Some(rpms) = tools::built(board.world.dir.path(), &["assayed"]) else {
        return;
    };
    board.world.serve();
    let signs = |board: &Board| board.world.ask(&rpms[0], &common::rebuilds(&rpms[0]));
    signs(&board).unwrap();
    board.policy(&policy_text(2, ""));
    board.world.reread();
    let until = |board: &Board, what: &str, holds: &dyn Fn(&Board) -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(board) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    let closed = |board: &Board| matches!(signs(board), Err(ClientError::Failed { message }) if message.contains("no policy"));
    until(&board, "not signed yet, so nothing is signed", &closed);
    assert_eq!(board.world.client().identity().unwrap().policy_version, 1);
    board.sign("alice");
    board.sign("carol");
    board.world.reread();
    until(&board, "policy 2", &|board| {
        board.world.client().identity().unwrap().policy_version == 2
    });
    signs(&board).unwrap();
}

#[test]
fn a_pinned_root_and_a_key_file_are_never_replaced() {
    let board = Board::ready();
    let root = board.dir.join("1.root.json").display().to_string();
    board.ok(&["pin", &root]);
    let other = Board::ready();
    let foreign = other.dir.join("1.root.json").display().to_string();
    assert_eq!(board.run(&["pin", &foreign]).status.code(), Some(1));
    let key = board.key("alice");
    assert_eq!(board.run(&["keygen", &key]).status.code(), Some(1));
    let dir = board.dir.display().to_string();
    let public = board.public("dave");
    let again = board.run(&["init", &dir, "--key", &public, "--threshold", "1"]);
    assert_eq!(again.status.code(), Some(1));
    // A key that others can read is no key.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&key, open).unwrap();
    assert!(ceremony::private_key(Path::new(&key)).is_err());
}

/// Documents that hold, and three ways in which they do not; each with what to begin with.
fn for_oracles(board: &Board) -> Vec<(&'static str, bool)> {
    let second = policy_text(2, "");
    board.policy(&second);
    board.with_dir("rotate", &["--add", &board.public("dave")]);
    for holder in ["alice", "bob", "dave"] {
        board.sign(holder);
    }
    board.with_dir("verify", &[]);
    let first = std::fs::read(board.dir.join("1.root.json")).unwrap();
    std::fs::write(board.at("begin.json"), first).unwrap();
    let good = board.keep();
    let case = |name: &str, change: &dyn Fn(&Board)| {
        board.restore(&good);
        change(board);
        let to = PathBuf::from(board.at(name));
        std::fs::create_dir(&to).unwrap();
        for (path, bytes) in board.keep() {
            std::fs::write(to.join(path.file_name().unwrap()), bytes).unwrap();
        }
    };
    case("good", &|_| {});
    case("changed", &|board| {
        std::fs::write(board.dir.join("policy.toml"), policy_text(3, "")).unwrap();
    });
    case("too-few", &|board| {
        board.policy(&policy_text(3, ""));
        board.sign("alice");
    });
    case("expired", &|board| {
        board.policy_for(&second, "0");
        board.sign("alice");
        board.sign("bob");
    });
    vec![
        ("good", true),
        ("changed", false),
        ("too-few", false),
        ("expired", false),
    ]
}

#[test]
fn python_tuf_takes_and_refuses_the_same_documents() {
    let Some(python) = tools::python_with("tuf") else {
        return;
    };
    let board = Board::ready();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/tuf_target.py");
    for (name, good) in for_oracles(&board) {
        let (begin, dir) = (board.at("begin.json"), board.at(name));
        let arguments = [
            script.as_os_str().to_str().unwrap(),
            &begin,
            &dir,
            "policy.toml",
        ];
        let said = tools::run(&python, &arguments);
        assert_eq!(
            said.status.success(),
            good,
            "{name}: {}",
            tools::text(&said)
        );
        if good {
            assert_eq!(said.stdout, policy_text(2, "").as_bytes());
        }
    }
}

#[test]
fn tough_takes_and_refuses_the_same_documents() {
    let Some(oracle) = tools::oracle("tough") else {
        return;
    };
    let board = Board::ready();
    for (name, good) in for_oracles(&board) {
        let said = tools::run(
            &oracle,
            &[&board.at("begin.json"), &board.at(name), "policy.toml"],
        );
        assert_eq!(
            said.status.success(),
            good,
            "{name}: {}",
            tools::text(&said)
        );
        if good {
            assert_eq!(said.stdout, policy_text(2, "").as_bytes());
        }
    }
}

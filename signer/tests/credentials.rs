//! Keys as credentials that systemd's own program encrypts and decrypts: the commands that the log tells an
//! operator, word by word, and the lines of the service file that is shipped.
//!
//! systemd as process 1 is not here. What it does for `LoadCredentialEncrypted=` is done with its program:
//! each file is decrypted under the name that it was encrypted for, into a folder of read-only files.

mod common;

use common::serving::{self, Serving};
use common::{Rpm, World, tools};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const BACKEND: &str = "key_backend = \"credential\"\n";
/// Where the log and the service file put encrypted credentials.
const STORE: &str = "/etc/credstore.encrypted/";

/// A machine of its own: with its key, its encrypted credentials, and what a service is given.
struct Machine {
    secret: PathBuf,
    store: PathBuf,
    given: PathBuf,
}

impl Machine {
    /// `None`, said by name, without `systemd-creds`.
    fn new(dir: &Path) -> Option<Self> {
        if !tools::have("systemd-creds") {
            return None;
        }
        let machine = Self {
            secret: dir.join("host-key"),
            store: dir.join("store"),
            given: dir.join("given"),
        };
        for made in [&machine.store, &machine.given] {
            std::fs::create_dir_all(made).unwrap();
        }
        let made = machine.run(&["setup"]);
        assert!(made.status.success(), "{}", tools::text(&made));
        Some(machine)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new("systemd-creds")
            .args(arguments)
            .env("SYSTEMD_CREDENTIAL_SECRET", &self.secret)
            .env("LC_ALL", "C")
            .output()
            .unwrap()
    }

    fn encrypted(&self, path: &str) -> String {
        let name = path
            .strip_prefix(STORE)
            .unwrap_or_else(|| panic!("{path} is in {STORE}"));
        self.store.join(name).display().to_string()
    }

    /// What systemd does with `LoadCredentialEncrypted=NAME:PATH`.
    fn load(&self, line: &str) -> Output {
        let (name, path) = line.split_once(':').unwrap();
        let to = self.given.join(name);
        let _ = std::fs::remove_file(&to);
        let decrypted = self.run(&[
            &format!("--name={name}"),
            "decrypt",
            &self.encrypted(path),
            to.to_str().unwrap(),
        ]);
        if decrypted.status.success() {
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o400)).unwrap();
        }
        decrypted
    }
}

/// What follows `word` up to the next space or end of the sentence.
fn after<'a>(text: &'a str, word: &str) -> &'a str {
    let at = text.find(word).unwrap_or_else(|| panic!("{word}: {text}"));
    let rest = &text[at + word.len()..];
    let end = rest.find([' ', ',', '`', '\n']).unwrap_or(rest.len());
    &rest[..end]
}

/// Does what the log tells for each key that lies open. Returns the lines for the service file.
fn hand_over(machine: &Machine, log: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for told in log.lines().filter(|line| line.contains("systemd-creds")) {
        let command = told.split('`').nth(1).unwrap();
        let words: Vec<&str> = command.split_whitespace().collect();
        let ["systemd-creds", "encrypt", name, plain, to] = words[..] else {
            panic!("{command}")
        };
        let to = machine.encrypted(to);
        if Path::new(plain).exists() {
            let made = machine.run(&["--with-key=host", "encrypt", name, plain, &to]);
            assert!(made.status.success(), "{}", tools::text(&made));
            std::fs::remove_file(plain).unwrap();
        }
        let secret = std::fs::read(&to).unwrap();
        assert!(!String::from_utf8_lossy(&secret).contains("PRIVATE"));
        lines.insert(after(told, "LoadCredentialEncrypted=").to_owned());
    }
    lines
}

fn shipped_lines() -> BTreeSet<String> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/systemd/hallmark-signer.service");
    let text = std::fs::read_to_string(path).unwrap();
    let lines = text
        .lines()
        .filter_map(|line| line.strip_prefix("#LoadCredentialEncrypted="));
    lines
        .filter(|line| line.contains("-key"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn keys_that_systemd_encrypted_sign_and_lie_nowhere_in_the_open() {
    let world = World::prepared();
    let Some(machine) = Machine::new(world.dir.path()) else {
        return;
    };
    let run = |arguments: &[&str]| {
        let mut command = serving::program(&world, arguments, BACKEND);
        command.env("CREDENTIALS_DIRECTORY", &machine.given);
        command
    };
    let made = run(&["init"]).output().unwrap();
    let said = tools::text(&made);
    assert!(made.status.success(), "{said}");
    let lines = hand_over(&machine, &said);
    assert_eq!(lines, shipped_lines(), "as in the service file");
    let none = run(&["serve"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2), "{}", tools::text(&none));
    for line in &lines {
        let loaded = machine.load(line);
        assert!(loaded.status.success(), "{}", tools::text(&loaded));
    }
    let serving = Serving::start(&world, run(&["serve"]));
    let _serving = serving.unwrap_or_else(|| panic!("{}", serving::log(&world)));
    let log = serving::log(&world);
    assert!(!log.contains("lies on the disk"), "{log}");
    world.sign(&Rpm::probe("probe"));
    let fingerprint = after(&said, "package key    ").to_owned();
    let identity = world.client().identity().unwrap();
    assert_eq!(identity.keys[0].fingerprint, fingerprint);
    let open = world.config.state_dir.join("new-credentials");
    assert_eq!(std::fs::read_dir(open).unwrap().count(), 0);
}

#[test]
fn a_credential_is_good_under_its_own_name_and_on_its_own_machine_only() {
    let (world, elsewhere) = (World::prepared(), World::prepared());
    let Some(machine) = Machine::new(world.dir.path()) else {
        return;
    };
    let made = serving::program(&world, &["init"], BACKEND)
        .output()
        .unwrap();
    let lines = hand_over(&machine, &tools::text(&made));
    let line = lines
        .iter()
        .find(|line| line.starts_with("package-key.asc:"));
    let line = line.unwrap();
    assert!(machine.load(line).status.success());
    // The metadata key's place, with the package key in it.
    let swapped = line.replacen("package-key.asc", "metadata-key.asc", 1);
    assert!(!machine.load(&swapped).status.success());
    let other = Machine {
        store: machine.store.clone(),
        ..Machine::new(elsewhere.dir.path()).unwrap()
    };
    assert!(!other.load(line).status.success());
}

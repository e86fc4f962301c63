//! A signer with a policy of two rebuilders, evidence to order, and real packages.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod backends;
pub mod children;
pub mod judges;
pub mod log;
pub mod serving;
pub mod tools;

use hallmark_signer::client::{Client, ClientError, SignedFile, SignedPackage, SignedRelease};
use hallmark_signer::keys;
use hallmark_signer::server::{Server, Stop};
use repo_model::config::SignerConfig;
use repo_model::dsse::{Envelope, StatementKey};
use repo_model::release::{
    ListedPackage, PreviousRelease, ReleaseDocument, ReleaseRepo, SCHEMA, write_package_list,
};
use repo_model::rpm::{Head, Package, testkit};
use repo_model::statement::{REBUILD, Rebuild, Rebuilder, Resource, Statement, Subject};
use repo_model::verdict::Verdict;
use repo_model::wire::signer::{Base64, ReleaseFiles};
use repo_model::{FileDigest, HeaderDigest, RepoName, Timestamp};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The wall clock.
pub fn now() -> Timestamp {
    let secs = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    Timestamp::from_unix_secs(i64::try_from(secs).unwrap())
}

/// The repository that packages are for unless a test says otherwise.
pub fn base() -> RepoName {
    "base".parse().unwrap()
}

/// A party of the policy: its name tells its operator and its key.
#[derive(Clone, Copy)]
pub struct Party {
    pub name: &'static str,
    pub operator: &'static str,
    pub seed: u8,
}

impl Party {
    pub fn key(self) -> StatementKey {
        StatementKey::from_seed(&[self.seed; 32]).unwrap()
    }
}

pub const A: Party = Party {
    name: "rb-a",
    operator: "op-a",
    seed: 1,
};
pub const B: Party = Party {
    name: "rb-b",
    operator: "op-b",
    seed: 2,
};
/// A second rebuilder of A's operator.
pub const A2: Party = Party {
    name: "rb-a2",
    operator: "op-a",
    seed: 3,
};
/// Nobody the policy knows.
pub const STRANGER: Party = Party {
    name: "rb-x",
    operator: "op-x",
    seed: 9,
};

/// A policy that lists A, B and A2 and wants two rebuilders of two operators and both SBOMs; what is about the log
/// has tests of its own.
pub fn policy_text(version: u64, more: &str) -> String {
    let holder = |party: Party| {
        format!(
            "[[rebuilders]]\nname = \"{}\"\noperator = \"{}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
            party.name,
            party.operator,
            party.key().public().to_pem()
        )
    };
    format!(
        "version = {version}\nmin_rebuilders = 2\nmin_operators = 2\ncommit_reveal = false\n\
         require_log = false\nsbom_formats = [\"cyclonedx-1.6\", \"spdx-2.3\"]\n{more}\n{}{}{}",
        holder(A),
        holder(B),
        holder(A2)
    )
}

/// An RPM file in memory.
#[derive(Clone)]
pub struct Rpm {
    pub bytes: Vec<u8>,
    pub head: Head,
    pub package: Package,
}

impl Rpm {
    /// A sound package without files, made in memory.
    pub fn probe(name: &str) -> Self {
        Self::new(testkit::Rpm::binary(name).bytes())
    }

    pub fn read(path: &Path) -> Self {
        Self::new(std::fs::read(path).unwrap())
    }

    pub fn new(bytes: Vec<u8>) -> Self {
        let head = Head::parse(&bytes).unwrap();
        let package = Package::from_head(&head).unwrap();
        Self {
            bytes,
            head,
            package,
        }
    }

    pub fn header(&self) -> HeaderDigest {
        self.head.header_digest()
    }

    pub fn payload(&self) -> &[u8] {
        &self.bytes[usize::try_from(self.head.payload_offset()).unwrap()..]
    }

    /// The file with another signature header.
    pub fn with_signature(&self, signature_header: &[u8]) -> Self {
        let (lead, main) = (self.head.lead(), self.head.main_bytes());
        Self::new([lead, signature_header, main, self.payload()].concat())
    }
}

/// What `party` says about `rpm`.
pub fn rebuild(party: Party, rpm: &Rpm, verdict: Verdict) -> Envelope {
    rebuild_signed_by(party, party, rpm, verdict)
}

/// What somebody says in the name of `party`.
pub fn rebuild_signed_by(signer: Party, party: Party, rpm: &Rpm, verdict: Verdict) -> Envelope {
    rebuild_of(signer, party, rpm, verdict, now())
}

/// What `party` said so long ago; negative: will say.
pub fn rebuild_ago(party: Party, rpm: &Rpm, secs: i64) -> Envelope {
    rebuild_of(
        party,
        party,
        rpm,
        Verdict::Identical,
        now().plus_secs(-secs),
    )
}

fn rebuild_of(signer: Party, party: Party, rpm: &Rpm, verdict: Verdict, at: Timestamp) -> Envelope {
    let resource = |name: &str| Resource::file(name, FileDigest::of(name.as_bytes()));
    let subject = Subject::unsigned_rpm(
        &rpm.package.nevra.file_name(),
        FileDigest::of(&rpm.bytes),
        rpm.header(),
    );
    let predicate = Rebuild {
        rebuilder: Rebuilder {
            id: party.name.parse().unwrap(),
            operator: party.operator.parse().unwrap(),
        },
        verdict,
        source: resource("source"),
        buildinfo: resource("buildinfo"),
        buildroot: resource("buildroot"),
        rpm_version: "4.18.0".to_owned(),
        source_date_epoch: None,
        profile: "plain".to_owned(),
        limits: "weak".to_owned(),
        runs: Vec::new(),
        causes: Vec::new(),
        attachments: Vec::new(),
        started_on: at,
        finished_on: at,
    };
    Statement::new(REBUILD, vec![subject], predicate)
        .sign(&signer.key())
        .unwrap()
}

/// The two SBOM documents of a package, as short as they can be.
pub fn sboms(rpm: &Rpm) -> Vec<Vec<u8>> {
    let header = rpm.header();
    let property = repo_model::sbom_facts::HEADER_PROPERTY;
    let cyclonedx = serde_json::json!({"bomFormat": "CycloneDX", "specVersion": "1.6",
        "metadata": {"component": {"properties": [{"name": property, "value": header}]}}});
    let spdx = serde_json::json!({"spdxVersion": "SPDX-2.3",
        "packages": [{"annotations": [{"comment": format!("{property}={header}")}]}]});
    vec![
        cyclonedx.to_string().into_bytes(),
        spdx.to_string().into_bytes(),
    ]
}

/// Two good rebuilds.
pub fn rebuilds(rpm: &Rpm) -> Vec<Envelope> {
    [A, B]
        .map(|party| rebuild(party, rpm, Verdict::Identical))
        .to_vec()
}

/// A signer's directory and, while it serves, its thread.
pub struct World {
    pub dir: TempDir,
    pub config: SignerConfig,
    running: Option<(Stop, JoinHandle<()>)>,
}

impl World {
    /// Keys and policy, nothing running. The sandbox is off: it would confine the test's thread.
    pub fn prepared() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = SignerConfig {
            socket: dir.path().join("run/signer.sock"),
            state_dir: dir.path().join("state"),
            policy_file: dir.path().join("policy.toml"),
            unsigned_policy: true,
            sandbox: false,
            ..SignerConfig::default()
        };
        std::fs::write(&config.policy_file, policy_text(1, "")).unwrap();
        Self {
            dir,
            config,
            running: None,
        }
    }

    /// The same, serving.
    pub fn start() -> Self {
        let mut world = Self::prepared();
        keys::init(&world.config, now()).unwrap();
        world.serve();
        world
    }

    pub fn serve(&mut self) {
        let server = Server::open(&self.config).unwrap();
        let stop = Stop::default();
        let told = stop.clone();
        let thread = std::thread::spawn(move || server.serve(&told).unwrap());
        self.running = Some((stop, thread));
    }

    pub fn halt(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.stop();
            thread.join().unwrap();
        }
    }

    /// Has the running signer read its policy again; returns at once.
    pub fn reread(&self) {
        if let Some((stop, _)) = &self.running {
            stop.reread_flag()
                .store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }

    pub fn restart(&mut self) {
        self.halt();
        self.serve();
    }

    pub fn client(&self) -> Client {
        Client::connect(&self.config.socket).unwrap()
    }

    pub fn journal(&self) -> PathBuf {
        self.config
            .state_dir
            .join(hallmark_signer::journal::FILE_NAME)
    }

    /// Has `rpm` signed on two good rebuilds.
    pub fn sign(&self, rpm: &Rpm) -> SignedPackage {
        self.ask(rpm, &rebuilds(rpm)).unwrap()
    }

    /// The same, and the whole file signed detached: then a release may list it.
    pub fn sign_whole(&self, rpm: &Rpm) -> SignedPackage {
        let signed = self.sign(rpm);
        let file = rpm.with_signature(&signed.signature_header).bytes;
        let size_bytes = file.len() as u64;
        self.client()
            .sign_file(rpm.header(), size_bytes, file.as_slice())
            .unwrap();
        signed
    }

    pub fn ask(&self, rpm: &Rpm, envelopes: &[Envelope]) -> Result<SignedPackage, ClientError> {
        let head = rpm.head.to_bytes();
        self.client()
            .sign_package(&base(), &head, envelopes, &sboms(rpm), None)
    }

    /// Asks for `rpm` on two good rebuilds, for another repository.
    pub fn ask_for(&self, repo: &str, rpm: &Rpm) -> Result<SignedPackage, ClientError> {
        let (repo, head) = (repo.parse().unwrap(), rpm.head.to_bytes());
        self.client()
            .sign_package(&repo, &head, &rebuilds(rpm), &sboms(rpm), None)
    }
}

/// A package file and a release's `repomd.xml`, with all that was signed about the two.
pub struct OneOfEach {
    pub file: Vec<u8>,
    pub of_file: SignedFile,
    pub repomd: Vec<u8>,
    pub release: SignedRelease,
}

impl World {
    /// Has a package, its file, and the next release signed, which lists it.
    pub fn one_of_each(&self, rpm: &Rpm) -> OneOfEach {
        let mut client = self.client();
        let signed = self.sign(rpm);
        let file = rpm.with_signature(&signed.signature_header).bytes;
        let size_bytes = file.len() as u64;
        let of_file = client.sign_file(rpm.header(), size_bytes, file.as_slice());
        let last = client.last_release().unwrap();
        let previous = last.map(|last| PreviousRelease {
            id: last.id,
            sha256: last.envelope,
        });
        let id = last.map_or(1, |last| last.id.0 + 1);
        let draft = Draft::new(id, previous, &[(rpm, &signed)]);
        let release = client.sign_release(&draft.json(), &draft.files).unwrap();
        OneOfEach {
            file,
            of_file: of_file.unwrap(),
            repomd: draft.files[0].repomd.0.clone(),
            release,
        }
    }
}

/// Writes `good`, `changed` and `sig.asc` for another program to check into a new folder; returns it.
pub fn laid_out(world: &World, what: &str, bytes: &[u8], signature: &str) -> PathBuf {
    let dir = world.dir.path().join(format!("{what}-check"));
    std::fs::create_dir(&dir).unwrap();
    let owner_only = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&dir, owner_only).unwrap();
    std::fs::write(dir.join("good"), bytes).unwrap();
    std::fs::write(dir.join("changed"), [bytes, b"x"].concat()).unwrap();
    std::fs::write(dir.join("sig.asc"), signature).unwrap();
    dir
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some((stop, _)) = &self.running {
            stop.stop();
        }
    }
}

/// A release of one repository with these packages.
pub struct Draft {
    pub document: ReleaseDocument,
    pub files: Vec<ReleaseFiles>,
}

impl Draft {
    pub fn new(
        id: u64,
        previous: Option<PreviousRelease>,
        listed: &[(&Rpm, &SignedPackage)],
    ) -> Self {
        let mut packages: Vec<_> = listed
            .iter()
            .map(|(rpm, signed)| ListedPackage {
                header: rpm.header(),
                signed_file: FileDigest::of(&rpm.with_signature(&signed.signature_header).bytes),
                summary: FileDigest::of(&signed.summary.to_json()),
                nevra: rpm.package.nevra.clone(),
            })
            .collect();
        packages.sort_by(|a, b| (&a.nevra, a.header).cmp(&(&b.nevra, b.header)));
        let package_list = write_package_list(&packages).into_bytes();
        let repomd = format!("<repomd><revision>{id}</revision></repomd>").into_bytes();
        let repo = ReleaseRepo {
            repo: base(),
            arch: "x86_64".parse().unwrap(),
            repomd: FileDigest::of(&repomd),
            package_list: FileDigest::of(&package_list),
            packages: packages.len() as u64,
        };
        let document = ReleaseDocument {
            schema: SCHEMA.to_owned(),
            id: id.to_string().parse().unwrap(),
            previous,
            issued: Timestamp::from_unix_secs(1_763_600_000 + i64::try_from(id).unwrap()),
            repos: vec![repo],
        };
        let files = vec![ReleaseFiles {
            repomd: Base64(repomd),
            package_list: Base64(package_list),
        }];
        Self { document, files }
    }

    pub fn json(&self) -> Vec<u8> {
        serde_json::to_vec(&self.document).unwrap()
    }
}

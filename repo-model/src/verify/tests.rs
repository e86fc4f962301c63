//! One good dossier, and everything that can be wrong with it: each breaks its own link.

use super::*;
use crate::bundle;
use crate::dsse::StatementKey;
use crate::hostile::changed::mutated;
use crate::log::testkit::Leaves;
use crate::log::{
    LogKey, LogProof, NodeHash, SignatureKind, WitnessPolicy, entry, inclusion_proof, leaf_hash,
    root,
};
use crate::release::{ListedPackage, ReleaseDocument, ReleaseRepo, SCHEMA, write_package_list};
use crate::rpm::testkit::Rpm;
use crate::statement::{
    BuilderId, PACKAGE_RELEASE, PackageRelease, REBUILD, RELEASE, Rebuild, Rebuilder, Resource,
    Statement, Subject, VSA, VerificationSummary, sha256_set,
};
use crate::verdict::Verdict;

const LOG: &str = "log.example";

fn key(seed: u8) -> StatementKey {
    StatementKey::from_seed(&[seed; 32]).unwrap()
}

fn at(secs: i64) -> Timestamp {
    Timestamp::from_unix_secs(1_700_000_000 + secs)
}

/// Everything about one package, owned.
struct Dossier {
    head: Head,
    file: FileDigest,
    released: Envelope,
    summary: Envelope,
    release: Envelope,
    list: Vec<u8>,
    rebuilds: Vec<Envelope>,
    log_seed: u8,
    signature: Signature,
    max_age_days: Option<u32>,
    /// What the log has in place of these; `None`: what it should.
    logged: Option<Vec<Vec<u8>>>,
    /// Size and root of the head that was seen, in place of the true ones.
    seen: Option<(u64, NodeHash)>,
    /// Witnesses that cosigned the heads, when the reader asks for some.
    witnesses: Option<Vec<u8>>,
    /// Witnesses that cosigned another head, of which each bundle has a place first that proves nothing.
    decoy: Option<Vec<u8>>,
    /// Whether the reader wants the log's post-quantum signature, which the key of `log_seed` makes.
    post_quantum_log: bool,
    /// What the clock says, by seconds.
    clock: i64,
    /// Whether the newest release is at hand.
    has_newest: bool,
    /// Which of the documents was changed on its way, and how: see [`Dossier::handed`].
    changed: Option<(usize, u64)>,
}

fn trust(dossier: &Dossier) -> Trust {
    let holders: String = [1, 2]
        .map(|seed| {
            format!(
                "[[rebuilders]]\nname = \"r{seed}\"\noperator = \"op-{seed}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
                key(seed).public().to_pem()
            )
        })
        .concat();
    let text = format!(
        "version = 3\nmin_rebuilders = 2\nmin_operators = 2\ncommit_reveal = false\nrequire_plain = false\nsbom_formats = []\n{holders}"
    );
    let log = LogKey::from_seed(LOG, SignatureKind::Log, &[7; 32]).unwrap();
    Trust {
        statement_keys: vec![key(8).public(), key(9).public()],
        log_keys: vec![log.public()],
        log_cosigners: match dossier.post_quantum_log {
            true => vec![log_cosigner(7).public()],
            false => Vec::new(),
        },
        witnesses: dossier.witnesses.as_ref().map(|_| witness_policy()),
        policy: Policy::from_toml(&text).unwrap(),
        policy_digest: FileDigest::of(text.as_bytes()),
        max_age_days: dossier.max_age_days,
        memo: Memo::default(),
    }
}

fn log_cosigner(seed: u8) -> LogKey {
    LogKey::from_seed(LOG, SignatureKind::MlDsa44, &[seed; 32]).unwrap()
}

fn witness(seed: u8) -> LogKey {
    let name = format!("w{seed}.example");
    LogKey::from_seed(&name, SignatureKind::Cosignature, &[seed; 32]).unwrap()
}

/// Two of three.
fn witness_policy() -> WitnessPolicy {
    let line = |seed| format!("witness w{seed} {}\n", witness(seed).public());
    let witnesses: String = [21, 22, 23].map(line).concat();
    let text = format!("{witnesses}group all 2 w21 w22 w23\nquorum all\n");
    text.parse().unwrap()
}

fn rebuild(head: &Head, seed: u8, verdict: Verdict) -> Envelope {
    let subject = Subject::unsigned_rpm("p.rpm", FileDigest::of(b"u"), head.header_digest());
    let said = Rebuild {
        rebuilder: Rebuilder {
            id: format!("r{seed}").parse().unwrap(),
            operator: format!("op-{seed}").parse().unwrap(),
        },
        verdict,
        source: Resource::file("p.src.rpm", FileDigest::of(b"source")),
        buildinfo: Resource::file("buildinfo.json", FileDigest::of(b"buildinfo")),
        buildroot: Resource::file("buildroot", FileDigest::of(b"root")),
        rpm_version: "6.1.0".to_owned(),
        source_date_epoch: None,
        profile: "plain".to_owned(),
        limits: "cgroup".to_owned(),
        runs: Vec::new(),
        causes: Vec::new(),
        attachments: Vec::new(),
        started_on: at(0),
        finished_on: at(1),
    };
    Statement::new(REBUILD, vec![subject], said)
        .sign(&key(seed))
        .unwrap()
}

fn summary(head: &Head, inputs: &[Envelope], result: &str, signer: u8) -> Envelope {
    let mut subject = Subject::file("p.rpm", FileDigest::of(b""));
    subject.digest = [("rpmHeaderSha256".to_owned(), head.header_digest().to_hex())].into();
    let resource = |digest| Resource {
        name: None,
        uri: None,
        digest: sha256_set(digest),
    };
    let said = VerificationSummary {
        verifier: BuilderId {
            id: "https://signer.example".to_owned(),
        },
        time_verified: at(10),
        resource_uri: "pkg:rpm/p".to_owned(),
        policy: resource(FileDigest::of(b"policy")),
        input_attestations: inputs
            .iter()
            .map(|envelope| resource(FileDigest::of(&envelope.to_json())))
            .collect(),
        made_from: Vec::new(),
        verification_result: result.to_owned(),
        verified_levels: vec!["HALLMARK_REPRODUCED_2_OF_2".to_owned()],
        slsa_version: "1.0".to_owned(),
    };
    Statement::new(VSA, vec![subject], said)
        .sign(&key(signer))
        .unwrap()
}

impl Dossier {
    fn good() -> Self {
        let bytes = Rpm::binary("p").bytes();
        let head = Head::parse(&bytes).unwrap();
        let file = FileDigest::of(&bytes);
        let rebuilds: Vec<_> = [1, 2]
            .map(|seed| rebuild(&head, seed, Verdict::Identical))
            .to_vec();
        let said = PackageRelease {
            purl: "pkg:rpm/p".to_owned(),
        };
        let subject = Subject::signed_rpm("p.rpm", file, head.header_digest());
        let released = Statement::new(PACKAGE_RELEASE, vec![subject], said)
            .sign(&key(9))
            .unwrap();
        let mut dossier = Self {
            summary: summary(&head, &rebuilds, "PASSED", 9),
            release: released.clone(),
            released,
            list: Vec::new(),
            head,
            file,
            rebuilds,
            log_seed: 7,
            signature: Signature::Good { signatures: 1 },
            max_age_days: None,
            logged: None,
            seen: None,
            witnesses: None,
            decoy: None,
            post_quantum_log: false,
            clock: 86_400 * 30,
            has_newest: true,
            changed: None,
        };
        dossier.relist();
        dossier
    }

    /// Makes list and release anew, of what is in the dossier now.
    fn relist(&mut self) {
        let line = ListedPackage {
            header: self.head.header_digest(),
            signed_file: self.file,
            summary: FileDigest::of(&self.summary.to_json()),
            nevra: Package::from_head(&self.head).unwrap().nevra,
        };
        self.list = write_package_list(&[line]).into_bytes();
        let document = ReleaseDocument {
            schema: SCHEMA.to_owned(),
            id: crate::ReleaseId(4),
            previous: None,
            issued: at(20),
            repos: vec![ReleaseRepo {
                repo: "base".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                repomd: FileDigest::of(b"repomd"),
                package_list: FileDigest::of(&self.list),
                packages: 1,
            }],
        };
        self.release = Statement::new(RELEASE, Vec::new(), document)
            .sign(&key(9))
            .unwrap();
    }

    fn chain(&self) -> Chain {
        self.try_chain().unwrap()
    }

    /// A document as the reader gets it, by its number: three bundles, the package list, the head, two rebuilds.
    fn handed(&self, number: usize, bytes: Vec<u8>) -> Vec<u8> {
        match self.changed {
            Some((changed, seed)) if changed == number => mutated(&bytes, seed),
            _ => bytes,
        }
    }

    /// None when a document does not read.
    fn try_chain(&self) -> Option<Chain> {
        let log = LogKey::from_seed(LOG, SignatureKind::Log, &[self.log_seed; 32]).unwrap();
        let statements = [&self.released, &self.summary, &self.release];
        let keys = [key(9).public(), key(1).public(), key(6).public()];
        let of = |envelope: &Envelope| {
            let mut found = keys.iter().filter_map(|key| entry(envelope, key).ok());
            found.next().unwrap()
        };
        let entries = statements.map(of);
        let mut leaves = Leaves(match &self.logged {
            Some(other) => other.iter().map(|entry| leaf_hash(entry)).collect(),
            None => entries.iter().map(|entry| leaf_hash(entry)).collect(),
        });
        let size = leaves.0.len() as u64;
        let Ok(top) = root(size, &mut leaves);
        let note = |size: u64, root: NodeHash, witnesses: &[u8]| {
            let text = format!("{LOG}\n{size}\n{}\n", root.to_base64());
            let witnesses = witnesses.iter().copied().map(witness);
            let keys = [log.clone(), log_cosigner(self.log_seed)]
                .into_iter()
                .chain(witnesses);
            let signatures = keys.map(|key| key.sign(&text, at(0)).unwrap()).collect();
            Note { text, signatures }
        };
        let saw = self.witnesses.as_deref().unwrap_or_default();
        let bundles = [0, 1, 2].map(|index| {
            let Ok(hashes) = inclusion_proof(index as u64, size, &mut leaves);
            let proof = LogProof {
                extra: None,
                index: index as u64,
                hashes,
                checkpoint: note(size, top, saw),
            };
            let json = bundle::logged(statements[index], &entries[index], &proof, &log.public());
            let mut made = Bundle::from_json(&self.handed(index, json.unwrap())).ok()?;
            if let Some(saw_other) = &self.decoy {
                let mut place = made.places[0].clone();
                place.proof.checkpoint = note(size, NodeHash::from_bytes([2; 32]), saw_other);
                made.places.insert(0, place);
            }
            Some(made)
        });
        let [released, summary, document] = bundles;
        let (released, summary, document) = (released?, summary?, document?);
        let (seen_size, seen_root) = self.seen.unwrap_or((size, top));
        let list = self.handed(3, self.list.clone());
        let release = ReleaseEvidence::new(document, vec![list]);
        let head = note(seen_size, seen_root, saw).to_string().into_bytes();
        let head = Note::parse(&self.handed(4, head)).ok()?;
        let rebuilds = self.rebuilds.iter().enumerate().map(|(place, envelope)| {
            Envelope::from_json(&self.handed(5 + place, envelope.to_json())).ok()
        });
        let rebuilds = rebuilds.collect::<Option<Vec<_>>>()?;
        let evidence = Evidence {
            head: &self.head,
            file: Some(self.file),
            signature: self.signature.clone(),
            released: Some(&released),
            summary: Some(&summary),
            envelopes: &rebuilds,
            sboms: &[],
            newest: self.has_newest.then_some(&release.document),
            release: Some(&release),
            checkpoint: Some(&head),
        };
        Some(chain(&trust(self), &evidence, at(self.clock)))
    }

    /// The first link that is broken, or `holds`.
    fn verdict(&self) -> &'static str {
        self.chain()
            .first_broken()
            .map_or("holds", |link| link.name)
    }
}

#[test]
fn a_good_package_holds_and_the_tree_says_why() {
    let chain = Dossier::good().chain();
    assert!(chain.holds(), "{chain}");
    let text = chain.to_string();
    for wanted in [
        "p-1.0-1.noarch  header ",
        "signed with a trusted key",
        "2 of 2 rebuilders made the same bytes; the policy demands 2",
        "r1, run by op-1",
        "release 4 of ",
        "all of it is in log.example, of 3 entries",
        "the policy holds",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

/// Whatever was done to one of its documents, a chain that still holds says what it said before.
#[test]
fn no_change_of_any_document_is_believed() {
    let mut dossier = Dossier::good();
    dossier.witnesses = Some(vec![21, 23]);
    let good = dossier.chain();
    assert!(good.holds(), "{good}");
    let mut refused = 0;
    for document in 0..7 {
        for seed in 1..=40 {
            dossier.changed = Some((document, seed));
            match dossier.try_chain() {
                Some(chain) if chain.holds() => assert_eq!(chain, good, "{document}, {seed}"),
                _ => refused += 1,
            }
        }
    }
    assert!(refused > 140, "{refused} of 280 refused");
}

type Change = fn(&mut Dossier);

/// What is wrong, and the first link that breaks.
const WRONGS: &[(&str, &str, Change)] = &[
    ("no OpenPGP signature", "signature", |d| {
        d.signature = Signature::Bad {
            why: "there is no OpenPGP signature".to_owned(),
        };
    }),
    ("another file with this header", "file", |d| {
        d.file = FileDigest::of(b"payload changed");
        d.relist();
    }),
    ("a release statement by nobody we know", "file", |d| {
        let said = d.released.unverified_payload().unwrap();
        d.released = key(6).sign(crate::dsse::IN_TOTO_PAYLOAD_TYPE, &said);
    }),
    ("one rebuild too few", "rebuilds", |d| {
        d.rebuilds.pop();
        d.summary = summary(&d.head, &d.rebuilds, "PASSED", 9);
        d.relist();
    }),
    ("a rebuild that differs", "rebuilds", |d| {
        d.rebuilds[1] = rebuild(&d.head, 2, Verdict::Differs);
        d.summary = summary(&d.head, &d.rebuilds, "PASSED", 9);
        d.relist();
    }),
    ("a rebuild signed with another's key", "rebuilds", |d| {
        let said = d.rebuilds[1].unverified_payload().unwrap();
        d.rebuilds[1] = key(1).sign(crate::dsse::IN_TOTO_PAYLOAD_TYPE, &said);
        d.summary = summary(&d.head, &d.rebuilds, "PASSED", 9);
        d.relist();
    }),
    ("a summary by a rebuilder", "policy", |d| {
        d.summary = summary(&d.head, &d.rebuilds, "PASSED", 1);
        d.relist();
    }),
    ("a summary that says no", "policy", |d| {
        d.summary = summary(&d.head, &d.rebuilds, "FAILED", 9);
        d.relist();
    }),
    ("a summary of what is not here", "policy", |d| {
        let third = rebuild(&d.head, 1, Verdict::IdenticalUnsigned);
        let all = [d.rebuilds.clone(), vec![third]].concat();
        d.summary = summary(&d.head, &all, "PASSED", 9);
        d.relist();
    }),
    ("a list that was changed", "release", |d| d.list.push(b'\n')),
    ("a list with another summary", "release", |d| {
        let honest = d.summary.clone();
        d.summary = summary(&d.head, &[], "PASSED", 9);
        d.relist();
        d.summary = honest;
    }),
    ("a log with another key", "log", |d| d.log_seed = 5),
    ("a log without it", "log", |d| {
        d.logged = Some(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
    }),
    ("a log that shrank", "log", |d| {
        d.seen = Some((2, NodeHash::from_bytes([1; 32])));
    }),
    ("a log that forked", "log", |d| {
        d.seen = Some((3, NodeHash::from_bytes([1; 32])));
    }),
    ("a head that one witness saw", "witnesses", |d| {
        d.witnesses = Some(vec![22]);
    }),
    ("a head that one witness signed twice", "witnesses", |d| {
        d.witnesses = Some(vec![22, 22]);
    }),
    ("a head that strangers saw", "witnesses", |d| {
        d.witnesses = Some(vec![22, 31, 32]);
    }),
    (
        "a head that witnesses saw beside a proof to another",
        "witnesses",
        |d| {
            d.witnesses = Some(Vec::new());
            d.decoy = Some(vec![21, 22, 23]);
        },
    ),
    ("a release too old", "freshness", |d| {
        d.max_age_days = Some(7)
    }),
];

#[test]
fn everything_that_can_be_wrong_breaks_its_own_link() {
    for (what, link, change) in WRONGS {
        let mut dossier = Dossier::good();
        change(&mut dossier);
        assert_eq!(dossier.verdict(), *link, "{what}: {}", dossier.chain());
        assert!(dossier.chain().to_string().contains("hint: "), "{what}");
    }
}

/// Seconds that the clock says, the limit on the age of the newest release, which is of second 20, and what comes of it.
const CLOCKS: &[(i64, Option<u32>, Outcome, &str)] = &[
    (20, Some(7), Outcome::Holds, "the newest release is 4 of "),
    // A clock may be a little behind.
    (-580, Some(7), Outcome::Holds, "the newest release is 4 of "),
    (
        -581,
        Some(7),
        Outcome::Broken,
        "the clock of this machine is behind: release 4 is of ",
    ),
    (
        -581,
        None,
        Outcome::NotChecked,
        "the clock of this machine is behind: release 4 is of ",
    ),
    (
        -1_700_000_000,
        Some(7),
        Outcome::Broken,
        "and it says 1970-01-01T00:00:00Z",
    ),
    (20, None, Outcome::NotChecked, "no limit is set"),
];

#[test]
fn a_clock_that_is_behind_is_told_and_breaks_a_limit_on_age() {
    for (clock, limit, outcome, says) in CLOCKS {
        let mut dossier = Dossier::good();
        (dossier.clock, dossier.max_age_days) = (*clock, *limit);
        let chain = dossier.chain();
        let link = chain.links.last().unwrap();
        assert_eq!(
            (link.name, link.outcome),
            ("freshness", *outcome),
            "{clock}: {chain}"
        );
        assert!(link.says.contains(says), "{clock}: {chain}");
        let is_behind = says.contains("clock") || says.contains("1970");
        assert_eq!(
            link.hint.as_deref() == Some(clock::SET_IT),
            is_behind,
            "{clock}"
        );
        let is_told = is_behind && limit.is_none();
        assert_eq!(
            chain.warnings().count(),
            usize::from(is_told),
            "{clock}: {chain}"
        );
        assert_eq!(
            chain.to_string().contains("warning: freshness: the clock"),
            is_told
        );
        assert_eq!(
            chain.holds(),
            *outcome != Outcome::Broken,
            "{clock}: {chain}"
        );
    }
    // The package's own statements tell it too, where the newest release does not.
    let mut dossier = Dossier::good();
    dossier.has_newest = false;
    dossier.clock = -600;
    let chain = dossier.chain();
    let says = &chain.warnings().next().unwrap().says;
    assert!(
        says.contains("behind: the verification summary is of "),
        "{says}"
    );
    dossier.max_age_days = Some(7);
    assert_eq!(dossier.verdict(), "freshness");
}

#[test]
fn witnesses_of_times_to_come_are_no_missing_witnesses() {
    let mut dossier = Dossier::good();
    dossier.witnesses = Some(vec![21, 23]);
    dossier.clock = -601;
    let chain = dossier.chain();
    let link = chain.first_broken().unwrap();
    assert_eq!(link.name, "witnesses");
    let says =
        "the clock of this machine is behind: the witnesses' word about the head of the log is of ";
    assert!(link.says.starts_with(says), "{chain}");
    // One is too few at any time.
    dossier.witnesses = Some(vec![21]);
    assert!(dossier.chain().to_string().contains("which is no quorum"));
}

#[test]
fn witnesses_are_named_when_the_reader_asks_for_some() {
    let mut dossier = Dossier::good();
    let text = dossier.chain().to_string();
    assert!(text.contains("no witnesses are asked for"), "{text}");
    dossier.witnesses = Some(vec![21, 23]);
    let chain = dossier.chain();
    assert!(chain.holds(), "{chain}");
    let text = chain.to_string();
    for wanted in [
        "2 of 3 witnesses saw the head of the log",
        "w21 (w21.example) at 2023-11-14T22:13:20Z",
    ] {
        assert!(text.contains(wanted), "no `{wanted}` in\n{text}");
    }
}

#[test]
fn a_post_quantum_key_of_the_log_counts_when_the_reader_has_it() {
    let mut dossier = Dossier::good();
    dossier.post_quantum_log = true;
    assert_eq!(dossier.verdict(), "holds");
    let log = LogKey::from_seed(LOG, SignatureKind::Log, &[7; 32]).unwrap();
    let mut trust = trust(&dossier);
    trust.log_cosigners = vec![log_cosigner(8).public()];
    let note = crate::log::testkit::signed(&log, 1, NodeHash::from_bytes([1; 32]));
    let head = crate::log::Checkpoint::open(&note, &log.public()).unwrap();
    let refused = cosigned(&trust.log_cosigners, &note, &head).unwrap_err();
    assert!(
        refused.contains("lacks the signature of its ML-DSA-44 key"),
        "{refused}"
    );
}

#[test]
fn without_evidence_nothing_holds_and_each_link_says_what_is_missing() {
    let dossier = Dossier::good();
    let evidence = Evidence {
        head: &dossier.head,
        file: None,
        signature: Signature::NotChecked {
            why: "installed".to_owned(),
        },
        released: None,
        summary: None,
        envelopes: &[],
        sboms: &[],
        release: None,
        newest: None,
        checkpoint: None,
    };
    let chain = chain(&trust(&dossier), &evidence, at(0));
    let broken: Vec<_> = chain
        .links
        .iter()
        .filter(|link| link.outcome == Outcome::Broken)
        .map(|link| link.name)
        .collect();
    assert_eq!(broken, ["file", "rebuilds", "policy", "release", "log"]);
}

#[test]
fn words_of_strangers_do_not_reach_the_terminal_raw() {
    let mut dossier = Dossier::good();
    dossier.signature = Signature::Bad {
        why: "by \u{1b}[2J\u{7}nobody".to_owned(),
    };
    let text = dossier.chain().to_string();
    assert!(
        !text.contains('\u{1b}') && !text.contains('\u{7}'),
        "{text}"
    );
}

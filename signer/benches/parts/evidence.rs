//! What a default policy demands of builds of ten packages: provenance of the builder, two rebuild statements about
//! each package, commitment and reveal of each rebuilder about the whole build, and all of it in the log.

use crate::common::log::Log;
use crate::common::{A, B, Party, Rpm, World, now, policy_text, rebuilds, sboms};
use hallmark_signer::keys;
use repo_model::FileDigest;
use repo_model::dsse::Envelope;
use repo_model::policy::logged::LogProofs;
use repo_model::sealed::{COMMITMENT, Commitment, REVEAL, Reveal, seal};
use repo_model::statement::{
    BuildDefinition, BuilderId, PROVENANCE, Provenance, Rebuilder, Resource, RunDetails,
    RunMetadata, Statement, Subject,
};
use std::collections::BTreeMap;

/// Packages of one build.
const IN_A_BUILD: usize = 10;

const BUILDER: Party = Party {
    name: "builder",
    operator: "op-builder",
    seed: 8,
};

/// One package with all that is sent about it.
pub struct Prepared {
    pub rpm: Rpm,
    pub head: Vec<u8>,
    pub envelopes: Vec<Envelope>,
    pub sboms: Vec<Vec<u8>>,
    pub log: LogProofs,
}

/// A signer whose policy demands all that it does by default, and provenance.
pub fn demanding(world: &World) {
    let text = policy_text(1, "require_provenance = true");
    let text = text
        .replace("commit_reveal = false\n", "")
        .replace("require_log = false\n", "");
    let builder = format!(
        "[[builders]]\nname = \"{}\"\noperator = \"{}\"\nstatement_key = \"\"\"\n{}\"\"\"\n",
        BUILDER.name,
        BUILDER.operator,
        BUILDER.key().public().to_pem()
    );
    std::fs::write(&world.config.policy_file, text + &builder).unwrap();
    keys::init(&world.config, now()).unwrap();
}

/// What is said about a package, and by whom.
pub type Said = Vec<(Envelope, Party)>;

/// What is said about each package. Nothing is checked on the way.
pub fn said(rpms: &[Rpm]) -> Vec<Said> {
    let mut all = Vec::with_capacity(rpms.len());
    for build in rpms.chunks(IN_A_BUILD) {
        let rebuilt: Vec<Vec<Envelope>> = build.iter().map(rebuilds).collect();
        let mut shared = vec![(provenance(build), BUILDER)];
        shared.extend(sealed(&rebuilt));
        for both in rebuilt {
            let mut said = shared.clone();
            said.extend(both.into_iter().zip([A, B]));
            all.push(said);
        }
    }
    all
}

/// The packages with all that is said about them, under one head of the log that the serving signer signed.
pub fn prepared(world: &World, rpms: Vec<Rpm>) -> Vec<Prepared> {
    let mut log = Log::default();
    let mut places: BTreeMap<FileDigest, u64> = BTreeMap::new();
    let all = said(&rpms);
    for (envelope, party) in all.iter().flatten() {
        let digest = FileDigest::of(&envelope.to_json());
        places
            .entry(digest)
            .or_insert_with(|| log.add(envelope, *party));
    }
    log.sign(&mut world.client());
    rpms.into_iter()
        .zip(all)
        .map(|(rpm, said)| {
            let envelopes: Vec<_> = said.into_iter().map(|(envelope, _)| envelope).collect();
            let place = |envelope: &Envelope| places[&FileDigest::of(&envelope.to_json())];
            let indexes: Vec<u64> = envelopes.iter().map(place).collect();
            Prepared {
                head: rpm.head.to_bytes(),
                sboms: sboms(&rpm),
                log: log.proofs(&indexes),
                envelopes,
                rpm,
            }
        })
        .collect()
}

fn provenance(build: &[Rpm]) -> Envelope {
    let digest = |name: &str| FileDigest::of(name.as_bytes());
    let said = Provenance {
        build_definition: BuildDefinition {
            build_type: "https://hallmark.example/build/v1".to_owned(),
            external_parameters: serde_json::json!({
                "source": digest("source"), "buildinfo": digest("buildinfo")
            }),
            internal_parameters: serde_json::json!({}),
            resolved_dependencies: Vec::new(),
        },
        run_details: RunDetails {
            builder: BuilderId {
                id: "https://builder.example".to_owned(),
            },
            metadata: RunMetadata {
                invocation_id: "1".to_owned(),
                started_on: now(),
                finished_on: now(),
            },
        },
    };
    let subject = |rpm: &Rpm| {
        let name = rpm.package.nevra.file_name();
        Subject::unsigned_rpm(&name, FileDigest::of(&rpm.bytes), rpm.header())
    };
    Statement::new(PROVENANCE, build.iter().map(subject).collect(), said)
        .sign(&BUILDER.key())
        .unwrap()
}

/// Commitments and reveals of A, whose statements come first about each package, and B.
fn sealed(said: &[Vec<Envelope>]) -> Said {
    let salt = "07".repeat(32);
    let of = |at: usize| -> Vec<FileDigest> {
        said.iter()
            .map(|both| FileDigest::of(&both[at].to_json()))
            .collect()
    };
    let rebuilder = |party: Party| Rebuilder {
        id: party.name.parse().unwrap(),
        operator: party.operator.parse().unwrap(),
    };
    let resource = |name: &str| Resource::file(name, FileDigest::of(name.as_bytes()));
    let parties = [(A, of(0)), (B, of(1))];
    let committed = parties.clone().map(|(party, statements)| {
        let said = Commitment {
            rebuilder: rebuilder(party),
            source: resource("source"),
            buildinfo: resource("buildinfo"),
            sealed: seal(&salt, &statements),
            committed_on: now(),
        };
        Statement::new(COMMITMENT, Vec::new(), said)
            .sign(&party.key())
            .unwrap()
    });
    let digest = |envelope: &Envelope| FileDigest::of(&envelope.to_json());
    let mut round: Vec<_> = committed.iter().map(digest).collect();
    round.sort();
    let revealed = parties
        .into_iter()
        .zip(&committed)
        .map(|((party, statements), commitment)| {
            let said = Reveal {
                rebuilder: rebuilder(party),
                commitment: digest(commitment),
                salt: salt.clone(),
                statements,
                round: round.clone(),
                revealed_on: now(),
            };
            let envelope = Statement::new(REVEAL, Vec::new(), said)
                .sign(&party.key())
                .unwrap();
            (envelope, party)
        });
    let mut all: Vec<_> = revealed.collect();
    all.extend(committed.into_iter().zip([A, B]));
    all
}

//! A rebuilder made to order: it speaks the worker protocol with real keys, builds nothing, and says and
//! does whatever a test wants.

use crate::http::{Answer, Http};
use crate::world::World;
use repo_model::dsse::{Envelope, StatementKey};
use repo_model::sealed::{COMMITMENT, Commitment, REVEAL, Reveal, seal};
use repo_model::statement::{REBUILD, Rebuild, Rebuilder, Resource, Statement, Subject};
use repo_model::verdict::Verdict;
use repo_model::wire::rebuilders::{ENROLMENT, Enrolment, EnrolmentProof};
use repo_model::wire::worker::{
    Commit, HEADER, Heartbeat, LeaseRequest, Outcome, RebuildJob, Report, RequestAuth, RequestKey,
    RevealJob, Target, Task, authority,
};
use repo_model::{FileDigest, Timestamp, WorkerName};
use serde::Serialize;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Runs so far.
static RUNS: AtomicI64 = AtomicI64::new(1);

static NONCES: AtomicU64 = AtomicU64::new(1);

/// The time now.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let secs = since.map_or(0, |since| since.as_secs());
    Timestamp::from_unix_secs(i64::try_from(secs).unwrap_or_default())
}

/// A rebuilder.
#[derive(Debug, Clone)]
pub struct FakeWorker {
    /// Name and operator.
    pub rebuilder: Rebuilder,
    /// Signs statements.
    pub statement_key: StatementKey,
    /// Signs requests.
    pub request_key: RequestKey,
    /// The server, without a token.
    pub http: Http,
    /// The address that requests are signed for.
    pub authority: String,
}

/// What a rebuilder has found, before it tells.
#[derive(Debug, Clone)]
pub struct FakeAnswer {
    /// Statements, in the job's order.
    pub statements: Vec<Envelope>,
    /// The signed commitment to them.
    pub commitment: Envelope,
    /// Opens it; another one for each answer.
    pub salt: String,
}

impl FakeAnswer {
    /// Digests of the statements.
    pub fn digests(&self) -> Vec<FileDigest> {
        let digest = |envelope: &Envelope| FileDigest::of(&envelope.to_json());
        self.statements.iter().map(digest).collect()
    }
}

impl FakeWorker {
    /// One of the world's rebuilders, with its keys.
    ///
    /// # Panics
    /// When the world has none of this name.
    pub fn of(world: &World, name: &str) -> Self {
        let path = world.dir().join(format!("{name}.key"));
        let text = std::fs::read_to_string(path).expect("the rebuilder has keys");
        let between = |start: &str, end: &str| {
            let (_, rest) = text.split_once(start).expect("the key file is ours");
            rest.split_once(end).expect("the key file is ours").0
        };
        let mut seed = [0; 32];
        hex::decode_to_slice(between("request_key = \"", "\""), &mut seed).expect("64 hex digits");
        let statement_key = between("statement_key = \"\"\"\n", "\"\"\"");
        Self::new(
            world,
            name,
            &format!("operator-of-{name}"),
            StatementKey::from_pem(statement_key).expect("a key"),
            RequestKey::from_seed(&seed),
        )
    }

    /// Somebody whom the world does not know.
    pub fn stranger(world: &World, name: &str, seed: u8) -> Self {
        let key = StatementKey::from_seed(&[seed; 32]).expect("the seed is in range");
        let request = RequestKey::from_seed(&[seed; 32]);
        Self::new(world, name, &format!("operator-of-{name}"), key, request)
    }

    fn new(
        world: &World,
        name: &str,
        operator: &str,
        statement_key: StatementKey,
        request_key: RequestKey,
    ) -> Self {
        Self {
            rebuilder: Rebuilder {
                id: name.parse().expect("a name"),
                operator: operator.parse().expect("a name"),
            },
            statement_key,
            request_key,
            http: world.http.with_token(None),
            authority: authority(&world.url()),
        }
    }

    fn name(&self) -> &WorkerName {
        &self.rebuilder.id
    }

    /// The header of a request that has not been made before.
    pub fn header(&self, method: &str, path: &str, body: FileDigest) -> String {
        let target = Target {
            authority: &self.authority,
            method,
            path_and_query: path,
            body,
        };
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&NONCES.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        nonce[8..12].copy_from_slice(&std::process::id().to_be_bytes());
        RequestAuth::sign(&self.request_key, self.name(), &target, now(), nonce).to_string()
    }

    /// `POST` of JSON.
    pub fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        let json = serde_json::to_vec(body).expect("the body serialises");
        let header = self.header("POST", path, FileDigest::of(&json));
        self.http.send("POST", path, &[(HEADER, &header)], &json)
    }

    /// `PUT` of a blob under this digest.
    pub fn put_as(&self, digest: FileDigest, bytes: &[u8]) -> Answer {
        let path = format!("/api/v1/blobs/{digest}");
        let header = self.header("PUT", &path, digest);
        self.http.send("PUT", &path, &[(HEADER, &header)], bytes)
    }

    /// `PUT` of a blob.
    pub fn put(&self, bytes: &[u8]) -> Answer {
        self.put_as(FileDigest::of(bytes), bytes)
    }

    /// `GET` of a blob.
    pub fn get(&self, digest: FileDigest) -> Answer {
        let path = format!("/api/v1/blobs/{digest}");
        let header = self.header("GET", &path, FileDigest::of(b""));
        self.http.send("GET", &path, &[(HEADER, &header)], b"")
    }

    /// Asks for work.
    pub fn ask(&self, wait_secs: u32) -> Answer {
        let request = LeaseRequest {
            arches: vec!["x86_64".parse().expect("an architecture")],
            profiles: ["plain", "one-cpu", "other-kernel"]
                .map(str::to_owned)
                .into(),
            wait_secs,
        };
        self.post("/api/v1/worker/lease", &request)
    }

    /// Asks for work; none after the wait.
    ///
    /// # Panics
    /// When it is refused.
    pub fn lease(&self, wait_secs: u32) -> Option<Task> {
        let answer = self.ask(wait_secs);
        match answer.status {
            200 => Some(answer.json()),
            204 => None,
            other => panic!("{other}: {}", answer.text()),
        }
    }

    /// Waits for a build to rebuild.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub fn lease_rebuild(&self) -> RebuildJob {
        match self.lease(30) {
            Some(Task::Rebuild(job)) => job,
            other => panic!("{other:?}"),
        }
    }

    /// Waits for an answer to tell.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub fn lease_reveal(&self) -> RevealJob {
        match self.lease(30) {
            Some(Task::Reveal(job)) => job,
            other => panic!("{other:?}"),
        }
    }

    /// An answer with this verdict of every package; `change` may make it say anything.
    pub fn answer(
        &self,
        job: &RebuildJob,
        verdict: Verdict,
        change: impl Fn(&mut Rebuild, &mut Subject),
    ) -> FakeAnswer {
        let statements = job.packages.iter().map(|package| {
            let mut subject =
                Subject::unsigned_rpm(&package.nevra.file_name(), package.file, package.header);
            let mut rebuild = Rebuild {
                rebuilder: self.rebuilder.clone(),
                verdict,
                source: Resource::file(&job.source_name, job.source),
                buildinfo: Resource::file("buildinfo.json", job.buildinfo),
                buildroot: Resource::file("buildroot", FileDigest::of(b"root")),
                rpm_version: "4.18.0".to_owned(),
                source_date_epoch: None,
                profile: job.profile.clone(),
                limits: "cgroup".to_owned(),
                runs: match job.runs {
                    1 => Vec::new(),
                    runs => vec![verdict; runs as usize],
                },
                causes: Vec::new(),
                attachments: Vec::new(),
                // No two runs are the same, however fast they are.
                started_on: now().plus_secs(-RUNS.fetch_add(1, Ordering::Relaxed)),
                finished_on: now(),
            };
            change(&mut rebuild, &mut subject);
            Statement::new(REBUILD, vec![subject], rebuild)
                .sign(&self.statement_key)
                .expect("it is signed")
        });
        let statements: Vec<Envelope> = statements.collect();
        let digests: Vec<_> = statements
            .iter()
            .map(|envelope| FileDigest::of(&envelope.to_json()))
            .collect();
        let salt = format!("{:064x}", NONCES.fetch_add(1, Ordering::Relaxed));
        let said = Commitment {
            rebuilder: self.rebuilder.clone(),
            source: Resource::file(&job.source_name, job.source),
            buildinfo: Resource::file("buildinfo.json", job.buildinfo),
            sealed: seal(&salt, &digests),
            committed_on: now(),
        };
        let commitment = Statement::new(COMMITMENT, Vec::new(), said)
            .sign(&self.statement_key)
            .expect("it is signed");
        FakeAnswer {
            statements,
            commitment,
            salt,
        }
    }

    /// An honest answer with this verdict.
    pub fn honest(&self, job: &RebuildJob, verdict: Verdict) -> FakeAnswer {
        self.answer(job, verdict, |_, _| {})
    }

    /// Keeps a lease.
    pub fn heartbeat(&self, job: u64, lease_epoch: u64) -> Answer {
        let path = format!("/api/v1/worker/jobs/{job}/heartbeat");
        self.post(&path, &Heartbeat { lease_epoch })
    }

    /// Commits to an answer.
    pub fn commit(&self, job: u64, lease_epoch: u64, answer: &FakeAnswer) -> Answer {
        let body = Commit {
            lease_epoch,
            commitment: answer.commitment.clone(),
        };
        self.post(&format!("/api/v1/worker/jobs/{job}/commit"), &body)
    }

    /// Signs what opens the answer's commitment.
    pub fn reveal_of(&self, task: &RevealJob, answer: &FakeAnswer) -> Envelope {
        let said = Reveal {
            rebuilder: self.rebuilder.clone(),
            commitment: task.commitment,
            salt: answer.salt.clone(),
            statements: answer.digests(),
            round: task.round.clone(),
            revealed_on: now(),
        };
        Statement::new(REVEAL, Vec::new(), said)
            .sign(&self.statement_key)
            .expect("it is signed")
    }

    /// Reports a reveal.
    pub fn report(&self, task: &RevealJob, reveal: Envelope, attachments: &[Resource]) -> Answer {
        let body = Report {
            lease_epoch: task.lease_epoch,
            outcome: Outcome::Revealed { reveal },
            attachments: attachments.to_vec(),
        };
        self.post(&format!("/api/v1/worker/jobs/{}/report", task.job), &body)
    }

    /// Uploads the statements and tells the answer.
    pub fn tell(&self, task: &RevealJob, answer: &FakeAnswer) -> Answer {
        for statement in &answer.statements {
            let put = self.put(&statement.to_json());
            assert!(matches!(put.status, 200 | 201), "{}", put.text());
        }
        self.report(task, self.reveal_of(task, answer), &[])
    }

    /// Reports that nothing can be said.
    pub fn give_up(&self, job: u64, lease_epoch: u64) -> Answer {
        let body = Report {
            lease_epoch,
            outcome: Outcome::InfraFailed {
                message: "no space".to_owned(),
            },
            attachments: Vec::new(),
        };
        self.post(&format!("/api/v1/worker/jobs/{job}/report"), &body)
    }

    /// Leases a build, commits to this verdict; the job and the answer.
    ///
    /// # Panics
    /// When it is refused.
    pub fn commits(&self, verdict: Verdict) -> (RebuildJob, FakeAnswer) {
        let job = self.lease_rebuild();
        let answer = self.honest(&job, verdict);
        let taken = self.commit(job.job, job.lease_epoch, &answer);
        assert_eq!(taken.status, 204, "{}", taken.text());
        (job, answer)
    }

    /// Waits for the round and tells the answer in it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn tells(&self, answer: &FakeAnswer) -> RevealJob {
        let task = self.lease_reveal();
        let told = self.tell(&task, answer);
        assert_eq!(told.status, 204, "{}", told.text());
        task
    }

    /// Asks to be let in.
    pub fn enrol(&self) -> Answer {
        self.enrol_with(self.proof())
    }

    /// Shows that the two keys belong together.
    pub fn proof(&self) -> Envelope {
        let proof = EnrolmentProof {
            name: self.name().clone(),
            operator: self.rebuilder.operator.clone(),
            request_key: self.request_key.public(),
        };
        Statement::new(ENROLMENT, Vec::new(), proof)
            .sign(&self.statement_key)
            .expect("it is signed")
    }

    /// The same with another proof.
    pub fn enrol_with(&self, proof: Envelope) -> Answer {
        let enrolment = Enrolment {
            name: self.name().clone(),
            operator: self.rebuilder.operator.clone(),
            request_key: self.request_key.public(),
            statement_key: self.statement_key.public(),
            contact: "somebody@example.invalid".to_owned(),
            proof,
        };
        self.post("/api/v1/worker/enrol", &enrolment)
    }
}

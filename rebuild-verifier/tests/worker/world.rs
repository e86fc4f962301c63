//! A rebuilder, its server and a place to build.

use crate::common::{Lab, spec};
use crate::server::Server;
use hallmark_rebuilder::build::{self, Recorded};
use hallmark_rebuilder::buildroot::Store;
use hallmark_rebuilder::client::Client;
use hallmark_rebuilder::compare::Comparer;
use hallmark_rebuilder::job::Workbench;
use hallmark_rebuilder::keys::RebuilderKeys;
use hallmark_rebuilder::profile;
use hallmark_rebuilder::sandbox::Cancel;
use hallmark_rebuilder::worker::{self, Idle, Until};
use repo_model::WorkerName;
use repo_model::dsse::Envelope;
use repo_model::sealed::{self, Opened};
use repo_model::statement::{REBUILD, Rebuild, Rebuilder, Statement};
use repo_model::wire::worker::{Outcome, Report};
use std::path::PathBuf;

pub struct World {
    pub lab: Lab,
    pub server: Server,
    pub bench: Workbench,
}

impl World {
    pub fn new() -> Self {
        let lab = Lab::new();
        let keys = RebuilderKeys::generate().unwrap();
        let server = Server::start(keys.request.public());
        let name: WorkerName = "rb-a".parse().unwrap();
        let bench = Workbench {
            client: Client::new(&server.url, name.clone(), keys.request.clone()),
            keys,
            rebuilder: Rebuilder {
                id: name,
                operator: "acme".parse().unwrap(),
            },
            work_dir: lab.path("bench"),
            store: Store::new(&lab.path("store"), 1 << 30),
            comparer: Comparer {
                program: env!("CARGO_BIN_EXE_hallmark-rebuilder").into(),
                work_dir: lab.path("bench"),
                build_uid: 65_534,
            },
            limits: lab.limits(),
            build_uid: 65_534,
            profiles: profile::PROFILES.iter().collect(),
            stop: Cancel::default(),
        };
        Self { lab, server, bench }
    }

    pub fn recorded(&self, name: &str, spec: &str) -> (PathBuf, Recorded) {
        let srpm = self.lab.srpm(name, spec);
        let recorded = build::record(&self.lab.request(&srpm, name)).unwrap();
        (srpm, recorded)
    }

    /// A build that comes out the same every time.
    pub fn recorded_good(&self) -> (PathBuf, Recorded) {
        self.recorded("good", &spec("good", "echo data >data"))
    }

    /// Takes the job that is offered; its only verdict.
    pub fn verdict(&self) -> Rebuild {
        self.one_job();
        self.statements().remove(0).predicate
    }

    /// Takes the job that is offered, which gets no verdict: the report, and why.
    pub fn no_verdict(&self) -> (Report, String) {
        self.one_job();
        let report = self.only_report();
        let Outcome::InfraFailed { message } = &report.outcome else {
            panic!("{report:?}")
        };
        let message = message.clone();
        (report, message)
    }

    pub fn one_job(&self) {
        worker::run(&self.bench, Until::OneJob, &Idle::default()).unwrap();
    }

    pub fn only_report(&self) -> Report {
        let state = self.server.state.lock().unwrap();
        assert_eq!(state.complaints, Vec::<String>::new());
        assert_eq!(state.reports.len(), 1, "{:?}", state.reports);
        assert_eq!(
            (state.reports[0].0.as_str(), state.reports[0].1.lease_epoch),
            ("7", 3)
        );
        state.reports[0].1.clone()
    }

    /// What the only report reveals: it opens the only commitment.
    pub fn opened(&self) -> Opened {
        let report = self.only_report();
        let Outcome::Revealed { reveal } = &report.outcome else {
            panic!("{report:?}")
        };
        let state = self.server.state.lock().unwrap();
        assert_eq!(state.commitments.len(), 1);
        let key = self.bench.keys.statement.public();
        sealed::open(&state.commitments[0], reveal, &key).unwrap()
    }

    /// The statements of the only report, verified.
    pub fn statements(&self) -> Vec<Statement<Rebuild>> {
        let report = self.only_report();
        let statements = self.opened().reveal.statements;
        let state = self.server.state.lock().unwrap();
        for attachment in &report.attachments {
            assert!(
                state
                    .blobs
                    .contains_key(&attachment.digest["sha256"].parse().unwrap()),
                "{attachment:?}"
            );
        }
        let open = |digest| {
            let envelope = Envelope::from_json(&state.blobs[digest]).unwrap();
            Statement::<Rebuild>::open(&envelope, &self.bench.keys.statement.public(), REBUILD)
                .unwrap()
        };
        statements.iter().map(open).collect()
    }
}

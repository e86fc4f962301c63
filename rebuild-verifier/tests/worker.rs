//! The worker against a server of a few lines that checks every signature and keeps every blob.

mod common;

use common::{Lab, spec};
use hallmark_rebuilder::build::{self, Recorded};
use hallmark_rebuilder::buildroot::Store;
use hallmark_rebuilder::client::{Client, ClientError};
use hallmark_rebuilder::compare::Comparer;
use hallmark_rebuilder::job::Workbench;
use hallmark_rebuilder::keys::RebuilderKeys;
use hallmark_rebuilder::profile;
use hallmark_rebuilder::sandbox::Cancel;
use hallmark_rebuilder::worker::{self, Idle, Until};
use repo_model::buildinfo::BuildInfo;
use repo_model::dsse::Envelope;
use repo_model::in_toto;
use repo_model::sealed::{self, Opened};
use repo_model::statement::{REBUILD, Rebuild, Rebuilder, Statement};
use repo_model::verdict::Verdict;
use repo_model::wire::worker::{
    Commit, ExpectedPackage, HEADER, Heartbeat, LeaseRequest, Outcome, RebuildJob, Report,
    RequestAuth, RequestPublicKey, RevealJob, Target, Task, authority,
};
use repo_model::{FileDigest, Timestamp, WorkerName};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What the server knows and what it was told.
#[derive(Default)]
struct State {
    blobs: HashMap<FileDigest, Vec<u8>>,
    jobs: Vec<RebuildJob>,
    /// Commitments that were taken, and are to be revealed.
    reveals: Vec<RevealJob>,
    commitments: Vec<Envelope>,
    /// Blobs that the server had from the start.
    offered: HashSet<FileDigest>,
    /// Commitments are answered with this status instead.
    refuse_commitments: Option<u16>,
    reports: Vec<(String, Report)>,
    heartbeats: u32,
    /// Heartbeats are answered with 409 from now on.
    lease_is_lost: bool,
    /// So many requests are answered with 503 first.
    unavailable: u32,
    nonces: HashSet<String>,
    complaints: Vec<String>,
}

#[derive(Clone)]
struct Server {
    state: Arc<Mutex<State>>,
    url: String,
}

struct Request {
    method: String,
    path: String,
    auth: String,
    body: Vec<u8>,
}

impl Server {
    fn start(key: RequestPublicKey) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Self {
            state: Arc::default(),
            url,
        };
        let handler = server.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (handler, key) = (handler.clone(), key.clone());
                std::thread::spawn(move || handler.serve(stream, &key));
            }
        });
        server
    }

    fn serve(&self, stream: TcpStream, key: &RequestPublicKey) {
        let mut reader = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        while let Some(request) = read_request(&mut reader) {
            let (status, body) = self.answer(&request, key);
            let length = if status == 204 {
                String::new()
            } else {
                format!("content-length: {}\r\n", body.len())
            };
            let head = format!("HTTP/1.1 {status} X\r\n{length}\r\n");
            if stream
                .write_all(head.as_bytes())
                .and_then(|()| stream.write_all(&body))
                .is_err()
            {
                return;
            }
        }
    }

    fn answer(&self, request: &Request, key: &RequestPublicKey) -> (u16, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let now = Timestamp::from_unix_secs(i64::try_from(now).unwrap());
        let auth: RequestAuth = request.auth.parse().unwrap();
        let authority = authority(&self.url);
        let target = Target {
            authority: &authority,
            method: &request.method,
            path_and_query: &request.path,
            body: FileDigest::of(&request.body),
        };
        let verified = auth.verify(key, &target, now);
        if verified.is_err() || !state.nonces.insert(auth.nonce.clone()) {
            state
                .complaints
                .push(format!("{} {}: {verified:?}", request.method, request.path));
            return (401, b"{}".to_vec());
        }
        if state.unavailable > 0 {
            state.unavailable -= 1;
            return (503, b"{}".to_vec());
        }
        let parts: Vec<&str> = request
            .path
            .trim_start_matches("/api/v1/")
            .split('/')
            .collect();
        match (request.method.as_str(), &parts[..]) {
            ("POST", ["worker", "lease"]) => {
                let wanted: LeaseRequest = serde_json::from_slice(&request.body).unwrap();
                assert!(wanted.wait_secs <= 60 && !wanted.profiles.is_empty());
                let mut task = state.reveals.pop().map(Task::Reveal);
                if task.is_none() && !wanted.arches.is_empty() {
                    task = state.jobs.pop().map(Task::Rebuild);
                }
                match task {
                    Some(task) => (200, serde_json::to_vec(&task).unwrap()),
                    None => {
                        drop(state);
                        std::thread::sleep(Duration::from_millis(20));
                        (204, Vec::new())
                    }
                }
            }
            ("POST", ["worker", "jobs", job, "commit"]) => {
                if let Some(status) = state.refuse_commitments {
                    return (status, b"{}".to_vec());
                }
                let commit: Commit = serde_json::from_slice(&request.body).unwrap();
                let commitment = FileDigest::of(&commit.commitment.to_json());
                let mut round = vec![commitment, FileDigest::of(b"another's")];
                round.sort();
                let known = state.commitments.contains(&commit.commitment);
                if !known {
                    assert!(
                        state.blobs.keys().all(|blob| state.offered.contains(blob)),
                        "something was told before the commitment was taken"
                    );
                    state.commitments.push(commit.commitment);
                    state.reveals.push(RevealJob {
                        job: job.parse().unwrap(),
                        build: 1,
                        lease_epoch: 3,
                        lease_secs: 2,
                        commitment,
                        round,
                    });
                }
                (204, Vec::new())
            }
            ("POST", ["worker", "jobs", _, "heartbeat"]) => {
                let _: Heartbeat = serde_json::from_slice(&request.body).unwrap();
                state.heartbeats += 1;
                if state.lease_is_lost {
                    (409, b"{}".to_vec())
                } else {
                    (204, Vec::new())
                }
            }
            ("POST", ["worker", "jobs", job, "report"]) => {
                let report = serde_json::from_slice(&request.body).unwrap();
                state.reports.push(((*job).to_owned(), report));
                (204, Vec::new())
            }
            ("GET", ["blobs", digest]) => match state.blobs.get(&digest.parse().unwrap()) {
                Some(bytes) => (200, bytes.clone()),
                None => (
                    404,
                    b"{\"error\":\"no such blob\",\"code\":\"not-found\"}".to_vec(),
                ),
            },
            ("PUT", ["blobs", digest]) => {
                state
                    .blobs
                    .insert(digest.parse().unwrap(), request.body.clone());
                (201, Vec::new())
            }
            other => panic!("{other:?}"),
        }
    }

    /// Offers a recorded build as a job.
    fn offer(&self, srpm: &Path, recorded: &Recorded, change: impl FnOnce(&mut BuildInfo)) {
        let mut info = recorded.info.clone();
        change(&mut info);
        let mut state = self.state.lock().unwrap();
        let mut put = |bytes: Vec<u8>| {
            let digest = FileDigest::of(&bytes);
            state.offered.insert(digest);
            state.blobs.insert(digest, bytes);
            digest
        };
        for package in &recorded.packages {
            put(fs::read(package).unwrap());
        }
        let job = RebuildJob {
            job: 7,
            build: 1,
            lease_epoch: 3,
            lease_secs: 2,
            profile: "plain".to_owned(),
            runs: 1,
            source_name: "source.src.rpm".to_owned(),
            source: put(fs::read(srpm).unwrap()),
            buildinfo: put(info.to_json()),
            packages: info
                .outputs
                .iter()
                .map(|output| ExpectedPackage {
                    nevra: output.nevra.clone(),
                    file: output.file_sha256,
                    header: output.header_sha256,
                    size_bytes: output.size_bytes,
                })
                .collect(),
        };
        state.jobs.push(job);
    }
}

impl Server {
    /// Offers a recorded build under a challenge profile.
    fn offer_under(&self, profile: &str, srpm: &Path, recorded: &Recorded) {
        self.offer(srpm, recorded, |_| {});
        self.state.lock().unwrap().jobs[0].profile = profile.to_owned();
    }
}

fn read_request(reader: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|count| *count > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let (mut length, mut auth) = (0, String::new());
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().ok()?,
            name if name == HEADER => auth = value.to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request {
        method,
        path,
        auth,
        body,
    })
}

struct World {
    lab: Lab,
    server: Server,
    bench: Workbench,
}

impl World {
    fn new() -> Self {
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

    fn recorded(&self, name: &str, spec: &str) -> (std::path::PathBuf, Recorded) {
        let srpm = self.lab.srpm(name, spec);
        let recorded = build::record(&self.lab.request(&srpm, name)).unwrap();
        (srpm, recorded)
    }

    fn one_job(&self) {
        worker::run(&self.bench, Until::OneJob, &Idle::default()).unwrap();
    }

    fn only_report(&self) -> Report {
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
    fn opened(&self) -> Opened {
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
    fn statements(&self) -> Vec<Statement<Rebuild>> {
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

#[test]
fn a_reproducible_build_is_confirmed_with_a_signed_statement_a_package() {
    if !common::tools("a_reproducible_build_is_confirmed_with_a_signed_statement_a_package") {
        return;
    }
    let world = World::new();
    let text = spec("good", "echo data >data").replace(
        "%description\nTest.\n",
        "%description\nTest.\n%package extra\nSummary: Extra\n%description extra\nExtra.\n%files extra\n",
    );
    let (srpm, recorded) = world.recorded("good", &text);
    assert_eq!(recorded.packages.len(), 2);
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let statements = world.statements();
    assert_eq!(statements.len(), 2);
    for (statement, output) in statements.iter().zip(&recorded.info.outputs) {
        assert!(statement.is_about(output.header_sha256));
        let rebuild = &statement.predicate;
        assert_eq!(
            (rebuild.verdict, rebuild.causes.len()),
            (Verdict::Identical, 0)
        );
        let buildinfo = FileDigest::of(&fs::read(&recorded.buildinfo).unwrap()).to_hex();
        assert_eq!(rebuild.buildinfo.digest["sha256"], buildinfo);
        assert_eq!(rebuild.rebuilder, world.bench.rebuilder);
        assert_eq!(rebuild.source_date_epoch, Some(1_736_467_200));
        // Log, report, and the in-toto link of a build that is identical in all its packages.
        assert_eq!(rebuild.attachments.len(), 3);
        let link = &rebuild.attachments[2];
        assert_eq!(link.name.as_deref(), Some(in_toto::ATTACHMENT));
        let digest = link.digest["sha256"].parse().unwrap();
        let text = world.server.state.lock().unwrap().blobs[&digest].clone();
        let key = world.bench.keys.statement.public();
        let products = in_toto::open_link(&text, &key).unwrap();
        assert_eq!(products[&output.nevra.file_name()], output.file_sha256);
        assert_eq!(products.len(), 2);
    }
    assert_eq!(
        fs::read_dir(world.lab.path("bench")).unwrap().count(),
        0,
        "scratch space is left over"
    );
}

#[test]
fn every_profile_confirms_what_does_not_depend_on_it_and_names_what_does() {
    if !common::tools("every_profile_confirms_what_does_not_depend_on_it_and_names_what_does") {
        return;
    }
    let depends =
        "nproc >cpus; uname -r >kernel; perl -e 'print \"at \", \\my @list, \"\\n\"' >place";
    for row in profile::PROFILES {
        let world = World::new();
        let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
        world.server.offer_under(row.name, &srpm, &recorded);
        world.one_job();
        let rebuild = &world.statements()[0].predicate;
        assert_eq!(
            (rebuild.verdict, rebuild.profile.as_str()),
            (Verdict::Identical, row.name)
        );

        let world = World::new();
        let (srpm, recorded) = world.recorded("bad", &spec("bad", depends));
        world.server.offer_under(row.name, &srpm, &recorded);
        world.one_job();
        let rebuild = &world.statements()[0].predicate;
        let codes: Vec<&str> = rebuild
            .causes
            .iter()
            .map(|cause| cause.code.as_str())
            .collect();
        assert_eq!(rebuild.verdict, Verdict::Differs, "{}", row.name);
        assert!(codes.contains(&"address"), "{}: {codes:?}", row.name);
        let one = std::thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        assert_eq!(
            codes.contains(&"cpu-count"),
            row.name == "one-cpu" && !one,
            "{codes:?}"
        );
        assert_eq!(
            codes.contains(&"kernel-version"),
            row.name == "other-kernel",
            "{codes:?}"
        );
    }
}

#[test]
fn a_build_with_the_clock_in_it_differs_and_the_cause_is_named() {
    if !common::tools("a_build_with_the_clock_in_it_differs_and_the_cause_is_named") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("clocky", &spec("clocky", "date -u +%%FT%%T.%%N >built"));
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let rebuild = world.statements().remove(0).predicate;
    assert_eq!(rebuild.verdict, Verdict::Differs);
    let cause = &rebuild.causes[0];
    assert_eq!(
        (cause.code.as_str(), cause.file.as_deref()),
        ("embedded-clock", Some("/usr/share/clocky/built"))
    );
    assert!(cause.detail.starts_with("built \"20"), "{}", cause.detail);
}

#[test]
fn other_packages_than_the_build_made_are_a_difference_of_the_set() {
    if !common::tools("other_packages_than_the_build_made_are_a_difference_of_the_set") {
        return;
    }
    let world = World::new();
    // A subpackage in about half of all builds would do; the parity of a counter is sure.
    let text = "Name: moody\nVersion: 1\nRelease: 1\nSummary: S\nLicense: L\nBuildArch: noarch\n\
        %define odd %(test $(date +%%s) -gt LIMIT && echo 1 || echo 0)\n%description\nD\n\
        %if %{odd}\n%package late\nSummary: S\n%description late\nD\n%files late\n%endif\n\
        %files\n%changelog\n* Fri Jan 10 2025 T <t@example.invalid> - 1\n- F\n";
    let soon = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 4;
    let (srpm, recorded) = world.recorded("moody", &text.replace("LIMIT", &soon.to_string()));
    assert_eq!(recorded.packages.len(), 1);
    let ready = UNIX_EPOCH + Duration::from_secs(soon + 1);
    std::thread::sleep(ready.duration_since(SystemTime::now()).unwrap_or_default());
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let rebuild = world.statements().remove(0).predicate;
    assert_eq!(rebuild.verdict, Verdict::SetDiffers);
    assert!(
        rebuild.causes[0]
            .detail
            .contains("only rebuilt: moody-late-1-1.noarch"),
        "{:?}",
        rebuild.causes
    );
}

#[test]
fn a_build_that_fails_by_itself_is_a_verdict_of_build_failed() {
    if !common::tools("a_build_that_fails_by_itself_is_a_verdict_of_build_failed") {
        return;
    }
    let world = World::new();
    let soon = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
        + 3;
    let install = format!("test $(date +%%s) -lt {soon}; echo data >data");
    let (srpm, recorded) = world.recorded("failing", &spec("failing", &install));
    let ready = UNIX_EPOCH + Duration::from_secs(soon);
    std::thread::sleep(ready.duration_since(SystemTime::now()).unwrap_or_default());
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let rebuild = world.statements().remove(0).predicate;
    assert_eq!(rebuild.verdict, Verdict::BuildFailed);
    assert_eq!(rebuild.causes[0].code, "build-failed");
}

#[test]
fn a_build_that_leaves_junk_instead_of_packages_is_build_failed_too() {
    if !common::tools("a_build_that_leaves_junk_instead_of_packages_is_build_failed_too") {
        return;
    }
    let world = World::new();
    let (_, recorded) = world.recorded("junk", &spec("junk", "echo data >data"));
    let junk = spec("junk", "echo junk >/builddir/out/junk.rpm; echo data >data");
    let srpm = world.lab.srpm("junk-again", &junk);
    let source = hallmark_rebuilder::plan::read_source(&srpm).unwrap();
    let digest = FileDigest::of(&fs::read(&srpm).unwrap());
    world.server.offer(&srpm, &recorded, |info| {
        info.source.sha256 = digest;
        info.source.header_sha256 = source.header;
    });
    world.one_job();
    let rebuild = world.statements().remove(0).predicate;
    assert_eq!(rebuild.verdict, Verdict::BuildFailed);
    assert!(
        rebuild.causes[0].detail.contains("junk.rpm"),
        "{:?}",
        rebuild.causes
    );
}

#[test]
fn a_job_for_another_root_or_a_limit_says_nothing_about_the_package() {
    if !common::tools("a_job_for_another_root_or_a_limit_says_nothing_about_the_package") {
        return;
    }
    let mut world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "sleep 0.7; echo data >data"));
    world.server.offer(&srpm, &recorded, |info| {
        info.buildroot.lock_sha256 = FileDigest::of(b"elsewhere")
    });
    world.one_job();
    let report = world.only_report();
    let Outcome::InfraFailed { message } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(message.contains("root is another one"), "{message}");

    world.server.state.lock().unwrap().reports.clear();
    world.bench.limits.build_secs = 0;
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let report = world.only_report();
    let Outcome::InfraFailed { message } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(message.contains("limit of 0 s"), "{message}");
    assert_eq!(report.attachments.len(), 1, "the log comes along");
}

#[test]
fn a_job_whose_packages_are_not_the_buildinfos_is_not_judged() {
    if !common::tools("a_job_whose_packages_are_not_the_buildinfos_is_not_judged") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
    world.server.offer(&srpm, &recorded, |_| {});
    world.server.state.lock().unwrap().jobs[0].packages[0].header =
        repo_model::HeaderDigest::of(b"another");
    world.one_job();
    assert!(matches!(
        world.only_report().outcome,
        Outcome::InfraFailed { .. }
    ));
}

/// A job whose build hangs; `event` happens at the first heartbeat. Then the rebuilder is stopped.
fn hanging_build(event: impl FnOnce(&mut State) + Send + 'static) {
    let world = World::new();
    let (_, recorded) = world.recorded("slow", &spec("slow", "echo data >data"));
    let hanging = world
        .lab
        .srpm("hanging", &spec("slow", "sleep 577.21; echo data >data"));
    // The source package that is rebuilt hangs; the buildinfo of another is made to fit.
    let source = hallmark_rebuilder::plan::read_source(&hanging).unwrap();
    let digest = FileDigest::of(&fs::read(&hanging).unwrap());
    world.server.offer(&hanging, &recorded, |info| {
        info.source.sha256 = digest;
        info.source.header_sha256 = source.header;
    });
    let stop = world.bench.stop.clone();
    let server = world.server.clone();
    let watcher = std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(20);
        while server.state.lock().unwrap().heartbeats == 0 && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(20));
        }
        event(&mut server.state.lock().unwrap());
        std::thread::sleep(Duration::from_millis(900));
        stop.cancel();
    });
    let started = Instant::now();
    worker::run(&world.bench, Until::Stopped, &Idle::default()).unwrap();
    watcher.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(15));
    let state = world.server.state.lock().unwrap();
    assert!(
        state.heartbeats >= 1 && state.reports.is_empty(),
        "{:?}",
        state.reports
    );
    assert_eq!(
        fs::read_dir(world.lab.path("bench")).unwrap().count(),
        0,
        "scratch space is left over"
    );
}

#[test]
fn a_lost_lease_stops_the_build_and_nothing_is_reported() {
    if !common::tools("a_lost_lease_stops_the_build_and_nothing_is_reported") {
        return;
    }
    hanging_build(|state| state.lease_is_lost = true);
}

#[test]
fn a_rebuilder_that_is_stopped_drops_its_job_without_a_report() {
    if !common::tools("a_rebuilder_that_is_stopped_drops_its_job_without_a_report") {
        return;
    }
    hanging_build(|_| {});
}

#[test]
fn a_server_in_trouble_is_waited_for() {
    if !common::tools("a_server_in_trouble_is_waited_for") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
    world.server.offer(&srpm, &recorded, |_| {});
    let job = world.server.state.lock().unwrap().jobs[0].clone();
    world.server.state.lock().unwrap().unavailable = 1;
    let end = hallmark_rebuilder::job::work_off(&world.bench, &job).unwrap();
    assert_eq!(end, hallmark_rebuilder::job::JobEnd::Committed);
    world.one_job();
    assert_eq!(world.statements().len(), 1);
}

#[test]
fn an_answer_survives_a_crash_and_is_told_by_the_next_process() {
    if !common::tools("an_answer_survives_a_crash_and_is_told_by_the_next_process") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
    world.server.offer(&srpm, &recorded, |_| {});
    let job = world.server.state.lock().unwrap().jobs.remove(0);
    // The server dies at the worst moment: the answer is on disk, and the commitment was not taken.
    world.server.state.lock().unwrap().refuse_commitments = Some(400);
    hallmark_rebuilder::job::work_off(&world.bench, &job).unwrap_err();
    assert_eq!(world.server.state.lock().unwrap().commitments.len(), 0);
    assert!(world.lab.path("bench").join("pledges").is_dir());

    // The next process commits to what is there, without building anew.
    world.server.state.lock().unwrap().refuse_commitments = None;
    world.one_job();
    assert_eq!(world.statements()[0].predicate.verdict, Verdict::Identical);
    assert_eq!(world.opened().reveal.round.len(), 2);
    assert!(!world.lab.path("bench").join("pledges").exists());
}

#[test]
fn an_answer_is_told_for_one_round_only() {
    if !common::tools("an_answer_is_told_for_one_round_only") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
    world.server.offer(&srpm, &recorded, |_| {});
    let job = world.server.state.lock().unwrap().jobs.remove(0);
    hallmark_rebuilder::job::work_off(&world.bench, &job).unwrap();
    let reveal = world.server.state.lock().unwrap().reveals[0].clone();
    let pledges = hallmark_rebuilder::pledge::Pledges::of(&world.lab.path("bench"));
    let kept = pledges.find(reveal.commitment).unwrap().unwrap();
    world.one_job();
    let told = world.only_report();
    // The answer is still there, as after a crash before it was forgotten; the server asks again, for a round
    // with somebody else in it.
    let log = world.lab.path("log");
    fs::write(&log, b"").unwrap();
    pledges
        .keep(&kept, &[], (&log, FileDigest::of(b"")))
        .unwrap();
    let Outcome::Revealed { reveal: first } = &told.outcome else {
        panic!("{told:?}")
    };
    pledges.keep_reveal(reveal.commitment, first).unwrap();
    let mut again = reveal.clone();
    again.round.push(FileDigest::of(b"somebody who heard it"));
    again.round.sort();
    {
        let mut state = world.server.state.lock().unwrap();
        state.reports.clear();
        state.reveals.push(again);
    }
    world.one_job();
    let report = world.only_report();
    let Outcome::InfraFailed { message } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(message.contains("not told twice"), "{message}");
}

#[test]
fn a_mismatch_gets_one_confirming_run_and_a_flaky_package_as_many_as_are_asked_for() {
    if !common::tools("a_mismatch_gets_one_confirming_run_and_a_flaky_package_as_many") {
        return;
    }
    let world = World::new();
    let (srpm, recorded) = world.recorded("clocky", &spec("clocky", "date -u +%%FT%%T.%%N >built"));
    world.server.offer(&srpm, &recorded, |_| {});
    world.one_job();
    let rebuild = world.statements().remove(0).predicate;
    assert_eq!(rebuild.runs, [Verdict::Differs, Verdict::Differs]);
    assert!(!rebuild.causes.is_empty());

    let world = World::new();
    let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
    world.server.offer(&srpm, &recorded, |_| {});
    world.server.state.lock().unwrap().jobs[0].runs = 3;
    world.one_job();
    let rebuild = world.statements().remove(0).predicate;
    assert_eq!(rebuild.runs, [Verdict::Identical; 3]);
    assert_eq!(rebuild.verdict, Verdict::Identical);
}

#[test]
fn a_profile_that_is_not_offered_says_nothing_about_the_package() {
    if !common::tools("a_profile_that_is_not_offered_says_nothing_about_the_package") {
        return;
    }
    let mut world = World::new();
    world.bench.profiles = vec![profile::plain()];
    let (srpm, recorded) = world.recorded("good", &spec("good", "echo data >data"));
    world.server.offer_under("one-cpu", &srpm, &recorded);
    world.one_job();
    let report = world.only_report();
    let Outcome::InfraFailed { message } = &report.outcome else {
        panic!("{report:?}")
    };
    assert!(
        message.contains("one-cpu, which is not offered"),
        "{message}"
    );
}

#[test]
fn blobs_that_are_not_what_was_asked_for_are_refused_and_removed() {
    let world = World::new();
    let wanted = FileDigest::of(b"wanted");
    world
        .server
        .state
        .lock()
        .unwrap()
        .blobs
        .insert(wanted, b"another".to_vec());
    let to = world.lab.path("blob");
    let error = world.bench.client.download(wanted, &to, 1_000).unwrap_err();
    assert!(matches!(error, ClientError::BadAnswer { .. }), "{error}");
    assert!(!to.exists());
    let right = world.bench.client.upload(b"right").unwrap();
    assert!(
        world.bench.client.download(right, &to, 4).is_err(),
        "larger than announced"
    );
    world.bench.client.download(right, &to, 5).unwrap();
    assert_eq!(fs::read(&to).unwrap(), b"right");
    let missing = world
        .bench
        .client
        .download(wanted_missing(), &world.lab.path("x"), 10)
        .unwrap_err();
    assert!(missing.to_string().contains("no such blob"), "{missing}");
    let nobody = Client::new(
        "http://127.0.0.1:1",
        "rb-a".parse().unwrap(),
        world.bench.keys.request.clone(),
    );
    assert!(nobody.upload(b"x").unwrap_err().is_unavailable());
}

fn wanted_missing() -> FileDigest {
    FileDigest::of(b"missing")
}

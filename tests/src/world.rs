//! A whole installation in a temporary folder: server, signer, rebuilders, their keys, policy and
//! configuration, an access token, free ports.

mod setup;

pub use setup::GROUPS;

use crate::http::Http;
use crate::process::{self, Process, Reaper};
use crate::wait;
use repo_model::policy::Policy;
use repo_model::wire::intake::BuildReceipt;
use repo_model::wire::status::{BuildStatus, ChannelStatus, ReleaseStatus};
use setup::{create_token, free_address, processes, watch_log, write_config, write_policy};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

/// The server's process.
pub const SERVER: &str = "server";
/// The signer's process.
pub const SIGNER: &str = "signer";

/// Longest that one step of the pipeline may take on a slow and busy machine.
pub const STEP: Duration = Duration::from_secs(120);
/// Lines of each log that a failure prints.
const LOG_TAIL: usize = 40;

/// What a world shall be like.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names of rebuilders in the policy, each with an operator of its own.
    pub rebuilders: Vec<&'static str>,
    /// How many of them the policy demands; with 0, SBOMs suffice.
    pub min_rebuilders: u32,
    /// Whether the bundled builder's provenance is demanded.
    pub require_provenance: bool,
    /// `server.lease_secs`.
    pub lease_secs: u32,
    /// `server.publish_delay_millis`.
    pub publish_delay_millis: u64,
    /// More of the policy: its keys come before the tables.
    pub more_policy: String,
    /// Witnesses of the log: `witness-1` and so on, all of them in the policy and started at once.
    pub witnesses: u32,
    /// How many of them must have seen what is published.
    pub witness_quorum: u32,
    /// More lines for `[server]`.
    pub server_settings: &'static str,
    /// Whether the rebuilders are started at once.
    pub start_rebuilders: bool,
}

impl Options {
    /// Two rebuilders, both demanded, and the builder's provenance.
    pub fn two_rebuilders() -> Self {
        Self {
            rebuilders: vec!["rebuilder-a", "rebuilder-b"],
            min_rebuilders: 2,
            require_provenance: true,
            lease_secs: 60,
            publish_delay_millis: 100,
            more_policy: String::new(),
            witnesses: 0,
            witness_quorum: 0,
            server_settings: "",
            start_rebuilders: true,
        }
    }

    /// No rebuilds and no provenance are asked for: for stories about what comes after.
    pub fn no_rebuilds() -> Self {
        Self {
            rebuilders: Vec::new(),
            min_rebuilders: 0,
            require_provenance: false,
            ..Self::two_rebuilders()
        }
    }
}

/// A running installation; gone, processes and folder, when dropped.
#[derive(Debug)]
pub struct World {
    processes: BTreeMap<String, Mutex<Process>>,
    /// Dropped after the processes.
    reaper: Reaper,
    dir: PathBuf,
    /// Client with the token for everything.
    pub http: Http,
    token: String,
    policy: Policy,
}

impl World {
    /// Starts everything and waits until it is ready: the first, empty release is out.
    ///
    /// # Panics
    /// When something does not start, with its log.
    pub fn start(options: &Options) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hallmark-world-")
            .tempdir()
            .expect("a temporary folder")
            .keep();
        // Builds run as another user, who has to pass through.
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o711))
            .expect("the folder is ours");
        let reaper = Reaper::watch(&dir);
        let address = free_address();
        let policy_text = write_policy(&dir, options, &address);
        write_config(&dir, options, &address);
        let signer = process::binary("hallmark-signer");
        process::run(
            process::command(&signer)
                .args(["init", "--config"])
                .arg(dir.join("hallmark.toml")),
        );
        watch_log(&dir, options);
        let token = create_token(
            &dir,
            "world",
            &[
                "--scope", "publish", "--scope", "operate", "--scope", "read",
            ],
        );
        let world = Self {
            processes: processes(&dir, options),
            reaper,
            http: Http::new(&format!("http://{address}"), Some(token.clone())),
            token,
            policy: Policy::from_toml(&policy_text).expect("the policy is right"),
            dir,
        };
        let watch = world.watch();
        (1..=options.witnesses).for_each(|n| world.start_process(&format!("witness-{n}")));
        world.start_process(SIGNER);
        world.start_process(SERVER);
        world.until_ready();
        if options.start_rebuilders {
            options
                .rebuilders
                .iter()
                .for_each(|name| world.start_process(name));
        }
        drop(watch);
        world
    }

    /// A guard that prints status and logs when the test fails while it lives.
    pub fn watch(&self) -> Watch<'_> {
        Watch(self)
    }

    /// The world's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A new, empty folder below the world's.
    ///
    /// # Panics
    /// When it is there already.
    pub fn new_dir(&self, name: &str) -> PathBuf {
        let path = self.dir.join(name);
        std::fs::create_dir(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        path
    }

    /// The server's URL without a final slash.
    pub fn url(&self) -> String {
        self.http.url("")
    }

    /// The policy that server and signer have.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// The configuration file of server and signer.
    pub fn config_file(&self) -> PathBuf {
        self.dir.join("hallmark.toml")
    }

    /// The server's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// One of the processes: [`SERVER`], [`SIGNER`], or a rebuilder's name.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn process(&self, name: &str) -> MutexGuard<'_, Process> {
        let process = self
            .processes
            .get(name)
            .unwrap_or_else(|| panic!("there is no process {name}"));
        process
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Starts a process.
    pub fn start_process(&self, name: &str) {
        self.process(name).start(&self.reaper);
    }

    /// `kill -9`, and starts it again.
    pub fn crash(&self, name: &str) {
        self.process(name).kill_9();
        self.start_process(name);
    }

    /// Waits until the server answers that it and the signer are ready and the first release is out.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn until_ready(&self) {
        self.until("server and signer are ready", || {
            for name in [SERVER, SIGNER] {
                assert!(
                    self.process(name).is_running(),
                    "the {name} has ended by itself"
                );
            }
            let ready = self
                .http
                .try_send("GET", "/readyz", &[], b"")
                .ok_or("no answer")?;
            if ready.status != 200 {
                return Err(ready.text());
            }
            match self.releases().is_empty() {
                true => Err("no release".to_owned()),
                false => Ok(()),
            }
        });
    }

    /// Asks until the answer is `Ok`.
    ///
    /// # Panics
    /// When the time for one step is over, with what was seen last.
    pub fn until<T>(&self, what: &str, probe: impl FnMut() -> Result<T, String>) -> T {
        match wait::until(STEP, probe) {
            Ok(value) => value,
            Err(seen) => panic!(
                "waited {} s until {what}; last seen: {seen}",
                STEP.as_secs()
            ),
        }
    }

    /// A `hallmark` command of this world: its server, its token, its configuration.
    pub fn hallmark(&self, arguments: &[&str]) -> Output {
        let mut command = process::command(process::binary("hallmark"));
        command
            .args(arguments)
            .env("HALLMARK_SERVER_URL", self.url())
            .env("HALLMARK_TOKEN", &self.token)
            .env("HALLMARK_CONFIG", self.config_file());
        command.output().expect("hallmark runs")
    }

    /// The same; stdout when it succeeds.
    ///
    /// # Panics
    /// When it fails.
    pub fn hallmark_ok(&self, arguments: &[&str]) -> String {
        let output = self.hallmark(arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(
            output.status.success(),
            "hallmark {arguments:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stdout)
    }

    /// The secret of a new token made by `hallmark token create`.
    pub fn new_token(&self, name: &str, arguments: &[&str]) -> String {
        create_token(&self.dir, name, arguments)
    }

    /// `hallmark publish` of folders, without waiting.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish(&self, dirs: &[&Path]) -> Vec<BuildReceipt> {
        let mut arguments = vec!["publish", "--json"];
        arguments.extend(
            dirs.iter()
                .map(|dir| dir.to_str().expect("paths here are UTF-8")),
        );
        let json = self.hallmark_ok(&arguments);
        serde_json::from_str(&json).expect("receipts")
    }

    /// All builds, newest first.
    pub fn builds(&self) -> Vec<BuildStatus> {
        self.http.get_json("/api/v1/builds?limit=500")
    }

    /// One build.
    pub fn build(&self, build: u64) -> BuildStatus {
        self.http.get_json(&format!("/api/v1/builds/{build}"))
    }

    /// One build; none when the server gives no answer.
    pub fn try_build(&self, build: u64) -> Option<BuildStatus> {
        let answer = self
            .http
            .try_send("GET", &format!("/api/v1/builds/{build}"), &[], b"")?;
        (answer.status == 200).then(|| answer.json())
    }

    /// Waits until a build satisfies a condition; the server may be away meanwhile.
    ///
    /// # Panics
    /// When it takes too long, with the build's status.
    pub fn until_build(
        &self,
        build: u64,
        what: &str,
        mut is_so: impl FnMut(&BuildStatus) -> bool,
    ) -> BuildStatus {
        self.until(&format!("build {build} {what}"), || {
            let status = self.try_build(build).ok_or("no answer")?;
            match is_so(&status) {
                true => Ok(status),
                false => Err(serde_json::to_string_pretty(&status).unwrap_or_default()),
            }
        })
    }

    /// Waits until a build is published.
    pub fn until_published(&self, build: u64) -> BuildStatus {
        self.until_build(build, "is published", |status| {
            status.stage.name() == "published"
        })
    }

    /// All releases, newest first; none when the server gives no answer.
    pub fn releases(&self) -> Vec<ReleaseStatus> {
        let answer = self.http.try_send("GET", "/api/v1/releases", &[], b"");
        answer
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.json())
            .unwrap_or_default()
    }

    /// The number of the release that a channel points to; 0 when it points nowhere.
    pub fn channel(&self, name: &str) -> u64 {
        let channels: Vec<ChannelStatus> = self.http.get_json("/api/v1/channels");
        let channel = channels
            .into_iter()
            .find(|channel| channel.channel.as_str() == name);
        channel
            .and_then(|channel| channel.release)
            .map_or(0, |release| release.0)
    }

    fn report(&self) -> String {
        let mut text = String::new();
        let answer = self
            .http
            .try_send("GET", "/api/v1/builds?limit=20", &[], b"");
        let builds: Option<Vec<BuildStatus>> = answer.filter(|a| a.status == 200).map(|a| a.json());
        // Writing into a String cannot fail.
        let _ = writeln!(
            text,
            "--- builds{}",
            if builds.is_none() { ": no answer" } else { "" }
        );
        for build in builds.into_iter().flatten() {
            let rebuilds = build.rebuilds.iter().map(|r| {
                (
                    r.rebuilder.as_str(),
                    r.state.as_str(),
                    r.verdict,
                    &r.last_error,
                )
            });
            let rebuilds: Vec<_> = rebuilds.collect();
            let jobs: Vec<_> = build
                .jobs
                .iter()
                .map(|j| (j.name.as_str(), j.state.as_str(), &j.last_error))
                .collect();
            let _ = writeln!(
                text,
                "{} {} {:?} {rebuilds:?} {jobs:?}",
                build.build, build.source, build.stage
            );
        }
        for (name, process) in &self.processes {
            let log = process
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .log_text();
            let lines: Vec<_> = log.lines().collect();
            let tail = &lines[lines.len().saturating_sub(LOG_TAIL)..];
            let _ = writeln!(
                text,
                "--- log of {name} ({} lines)\n{}",
                lines.len(),
                tail.join("\n")
            );
        }
        text
    }
}

/// See [`World::watch`].
#[derive(Debug)]
pub struct Watch<'a>(&'a World);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0.report());
        }
    }
}

impl std::ops::Deref for Watch<'_> {
    type Target = World;
    fn deref(&self) -> &World {
        self.0
    }
}

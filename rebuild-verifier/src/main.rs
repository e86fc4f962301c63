//! `hallmark-rebuilder`: makes its keys, rebuilds for a server, examines its machine.
//!
//! Exit codes: 0 done; 1 it failed, or the machine cannot rebuild; 2 wrong usage or configuration;
//! 3 the server cannot be reached.

mod config_arg;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use config_arg::ConfigArg;
use hallmark_rebuilder::bisect;
use hallmark_rebuilder::build::BuildRequest;
use hallmark_rebuilder::buildroot::{self, LockFile, Store};
use hallmark_rebuilder::client::{Client, ClientError};
use hallmark_rebuilder::compare::{self, Comparer};
use hallmark_rebuilder::doctor::{self, Health};
use hallmark_rebuilder::enrol;
use hallmark_rebuilder::job::Workbench;
use hallmark_rebuilder::keys::{self, RebuilderKeys};
use hallmark_rebuilder::mock_lock;
use hallmark_rebuilder::offer;
use hallmark_rebuilder::sandbox::{self, Cancel, Limits};
use hallmark_rebuilder::worker::{self, Idle, Until};
use repo_model::config::RebuilderConfig;
use repo_model::statement::Rebuilder;
use repo_model::{OperatorName, WorkerName};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Rebuilds packages bit for bit in a sandbox and signs what it found.
#[derive(Debug, Parser)]
#[command(
    name = "hallmark-rebuilder",
    version,
    after_help = "\
Examples:
  hallmark-rebuilder doctor
  hallmark-rebuilder keygen --out /etc/hallmark/rebuilder.key --name rb-a --operator acme
  hallmark-rebuilder run --config /etc/hallmark/hallmark.toml

Environment: every setting as HALLMARK_REBUILDER__KEY; HALLMARK_LOG (filter, default info);
HALLMARK_LOG_FORMAT (text or json).
Exit codes: 0 done; 1 failed, or this machine cannot rebuild; 2 wrong usage or configuration;
3 the server cannot be reached."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make keys and print the table that the policy needs.
    #[command(after_help = "\
Makes a statement key (P-256) and a request key (ed25519) in one new file of mode 0600, and prints the
[[rebuilders]] table for the policy. With --builder: a statement key only, as PEM for
`hallmark buildinfo --key`, and a [[builders]] table. A file that is there is never overwritten.

Examples:
  hallmark-rebuilder keygen --out rebuilder.key --name rb-a --operator acme >>policy.toml
  hallmark-rebuilder keygen --builder --out builder.key --name koji --operator acme >>policy.toml")]
    Keygen(KeygenArgs),
    /// Ask a server's operator to be let in.
    #[command(after_help = "\
Sends name, operator and public keys to the server of the configuration, signed with both keys, and prints
where the request stands: pending, approved, rejected, or policy (its statements count). The operator
compares the printed key with what `hallmark rebuilders list` shows and approves it. May be repeated.

Example:
  hallmark-rebuilder enrol --config /etc/hallmark/hallmark.toml --contact rebuilds@acme.example")]
    Enrol(EnrolArgs),
    /// Work for the server until SIGTERM or SIGINT.
    #[command(after_help = "\
Asks the server for builds, rebuilds them in a sandbox without network, and reports signed
statements. At SIGTERM or SIGINT a running build is stopped and its job goes to somebody else.

Examples:
  hallmark-rebuilder run --config /etc/hallmark/hallmark.toml
  HALLMARK_REBUILDER__SERVER_URL=https://packages.example hallmark-rebuilder run --once")]
    Run(RunArgs),
    /// Find what a package that differs depends on.
    #[command(after_help = "\
Builds a source package twice, then again and again with one thing changed (host name, user, build path,
time zone, language, processors, kernel) or held still (clock, hash seeds, addresses, parallel jobs), and
prints as JSON which file changes under which of them. Runs at low priority; takes up to nineteen builds.

Examples:
  hallmark-rebuilder bisect hello-1.0-1.src.rpm >hello.bisection.json
  hallmark-rebuilder bisect --config /etc/hallmark/hallmark.toml hello-1.0-1.src.rpm")]
    Bisect(BisectArgs),
    /// Compare two files of one package and name the causes of a difference.
    #[command(after_help = "\
Prints JSON: the verdict (identical, identical-unsigned, same-content, same-files, differs) and causes with
file, tag and what to change. Exit code 0 whatever the verdict is.

Example:
  hallmark-rebuilder compare theirs/hello-1.0-1.x86_64.rpm ours/hello-1.0-1.x86_64.rpm")]
    Compare(CompareArgs),
    /// Lock packages for a build root, and make the layer of a lock.
    #[command(
        subcommand,
        after_help = "\
Examples:
  hallmark-rebuilder buildroot lock --repo https://mirror.example/f44/x86_64/os -o root.lock.json rpm-build
  hallmark-rebuilder buildroot make root.lock.json"
    )]
    Buildroot(BuildrootCommand),
    /// Show mock's buildroot_lock.json as the buildroot of a buildinfo.
    #[command(after_help = "\
Prints JSON. Its lock_sha256 is what `doctor` and buildinfos say of an RPM-based machine with the same
packages. mock names the bytes of packages by MD5 only, so the digest tells which packages, not which bytes.

Example:
  hallmark-rebuilder mock-lock results/buildroot_lock.json")]
    MockLock {
        /// The lock
        file: PathBuf,
    },
    /// Test what a rebuild needs of this machine and say what to do.
    #[command(after_help = "\
Prints one line a check: ok, weak (works with less) or bad (no rebuilds here), and what to do.
Exit code 1 when one is bad.

Examples:
  hallmark-rebuilder doctor
  hallmark-rebuilder doctor --config /etc/hallmark/hallmark.toml")]
    Doctor(ConfigArg),
}

#[derive(Debug, Args)]
struct KeygenArgs {
    /// The new key file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Name in the policy; default: rebuilder.name of the configuration
    #[arg(long)]
    name: Option<WorkerName>,
    /// Who runs it; default: rebuilder.operator of the configuration
    #[arg(long)]
    operator: Option<OperatorName>,
    /// Make a builder's key instead of a rebuilder's
    #[arg(long)]
    builder: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct EnrolArgs {
    /// Whom the server's operator may ask: an address
    #[arg(long, default_value = "")]
    contact: String,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Do one job, then exit
    #[arg(long)]
    once: bool,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct BisectArgs {
    /// The source package
    #[arg(value_name = "SRPM")]
    srpm: PathBuf,
    #[command(flatten)]
    config: ConfigArg,
}

#[derive(Debug, Args)]
struct CompareArgs {
    /// The package as it was built, or published
    #[arg(value_name = "RPM")]
    expected: PathBuf,
    /// The package as it was made again
    #[arg(value_name = "REBUILT_RPM")]
    rebuilt: PathBuf,
    /// What is known of the two builds, JSON
    #[arg(long, value_name = "FILE")]
    context: Option<PathBuf>,
    /// Write the result here instead of to stdout
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum BuildrootCommand {
    /// Have DNF say which packages a build root takes, and lock them by digest (needs root).
    #[command(after_help = "\
Writes the lock: for each package its name, digest of file and header, size, URLs and signer. The packages
themselves go to the store (rebuilder.layers_dir). `hallmark buildinfo --buildroot LOCK` builds in it.

Example:
  hallmark-rebuilder buildroot lock --repo https://mirror.example/f44/x86_64/os -o root.lock.json \\
    rpm-build gcc make")]
    Lock {
        /// Base URL of a repository; may be given several times
        #[arg(long = "repo", value_name = "URL", required = true)]
        repos: Vec<String>,
        /// Packages; what they need comes with them
        #[arg(required = true, value_name = "PACKAGE")]
        packages: Vec<String>,
        /// The new lock
        #[arg(short, long, value_name = "FILE")]
        output: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
    },
    /// Make the layer of a lock, or find it (making needs root).
    #[command(after_help = "\
Prints JSON: digest of the lock, digest of the layer's tree, and where it lies. A layer that is there already
is not made again. LOCK may also be a buildinfo.

Example:
  hallmark-rebuilder buildroot make root.lock.json")]
    Make {
        /// The lock
        lock: PathBuf,
        #[command(flatten)]
        config: ConfigArg,
    },
}

/// The operator's fault: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

fn main() -> ExitCode {
    let cli = Cli::parse();
    start_logging();
    let done = match &cli.command {
        Command::Keygen(args) => keygen(args),
        Command::Enrol(args) => enrol(args),
        Command::Run(args) => run(args),
        Command::Bisect(args) => find_factors(args),
        Command::Compare(args) => compare_files(args),
        Command::Buildroot(command) => buildroot(command),
        Command::MockLock { file } => show_mock_lock(file),
        Command::Doctor(args) => examine(args),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            exit_code(&error)
        }
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<UsageError>() {
        return ExitCode::from(2);
    }
    match error.downcast_ref::<ClientError>() {
        Some(error) if error.is_unavailable() => ExitCode::from(3),
        _ => ExitCode::from(1),
    }
}

fn start_logging() {
    let filter = EnvFilter::try_from_env("HALLMARK_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::env::var("HALLMARK_LOG_FORMAT").is_ok_and(|format| format == "json") {
        builder.json().init();
    } else {
        builder.with_ansi(false).init();
    }
}

fn usage(message: impl Into<String>) -> anyhow::Error {
    UsageError(message.into()).into()
}

fn configuration(argument: &ConfigArg) -> anyhow::Result<RebuilderConfig> {
    let config = argument.read().map_err(usage)?;
    sandbox::choose(&config).map_err(|error| usage(error.to_string()))?;
    Ok(config)
}

fn keygen(args: &KeygenArgs) -> anyhow::Result<ExitCode> {
    let config = configuration(&args.config)?;
    let name = args
        .name
        .clone()
        .or(config.name)
        .ok_or_else(|| usage("no name: give --name or rebuilder.name"))?;
    let operator = args
        .operator
        .clone()
        .or(config.operator)
        .ok_or_else(|| usage("no operator: give --operator or rebuilder.operator"))?;
    let snippet = if args.builder {
        let key = keys::new_statement_key()?;
        keys::write_new_builder_key(&key, &args.out)?;
        keys::builder_snippet(&key, &name, &operator)
    } else {
        let keys = RebuilderKeys::generate()?;
        keys.write_new(&args.out)?;
        keys.policy_snippet(&name, &operator)
    };
    std::io::stdout()
        .write_all(snippet.as_bytes())
        .context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

/// Who this rebuilder is, with its keys.
fn identity(config: &RebuilderConfig) -> anyhow::Result<(Rebuilder, RebuilderKeys)> {
    let missing = |what: &str| usage(format!("rebuilder.{what} is not set"));
    let rebuilder = Rebuilder {
        id: config.name.clone().ok_or_else(|| missing("name"))?,
        operator: config.operator.clone().ok_or_else(|| missing("operator"))?,
    };
    let keys = RebuilderKeys::read(&config.key_file)
        .map_err(|error| usage(format!("{:#}", anyhow::Error::new(error))))?;
    Ok((rebuilder, keys))
}

fn enrol(args: &EnrolArgs) -> anyhow::Result<ExitCode> {
    let config = configuration(&args.config)?;
    let (rebuilder, keys) = identity(&config)?;
    let client = Client::new(
        &config.server_url,
        rebuilder.id.clone(),
        keys.request.clone(),
    );
    let enrolment = enrol::enrolment(&rebuilder, &keys, &args.contact)?;
    let answer = client.enrol(&enrolment)?;
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "{} {} {}",
        answer.standing.name(),
        rebuilder.id,
        keys.request.public()
    )
    .context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn run(args: &RunArgs) -> anyhow::Result<ExitCode> {
    let config = configuration(&args.config)?;
    let (rebuilder, keys) = identity(&config)?;
    if sandbox::is_visible(&config.key_file) {
        return Err(usage(format!(
            "the key file {} lies where builds can see it: move it to /etc/hallmark",
            config.key_file.display()
        )));
    }
    let profiles = offer::offered(&config).map_err(|error| usage(error.to_string()))?;
    let stop = Cancel::default();
    let idle = Idle::default();
    listen_to_signals(&stop, &idle)?;
    let bench = Workbench {
        client: Client::new(
            &config.server_url,
            rebuilder.id.clone(),
            keys.request.clone(),
        ),
        keys,
        rebuilder,
        limits: Limits::from_config(&config),
        store: store(&config),
        comparer: Comparer {
            program: std::env::current_exe().context("cannot find this program's file")?,
            work_dir: config.work_dir.clone(),
            build_uid: config.build_uid,
        },
        work_dir: config.work_dir,
        build_uid: config.build_uid,
        profiles,
        stop,
    };
    let until = if args.once {
        Until::OneJob
    } else {
        Until::Stopped
    };
    worker::run(&bench, until, &idle)?;
    Ok(ExitCode::SUCCESS)
}

/// At the first signal a running build is stopped; while only waiting for work, the process ends at
/// once, because nothing is lost. The second signal always ends it.
fn listen_to_signals(stop: &Cancel, idle: &Idle) -> anyhow::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register_conditional_shutdown(signal, 1, stop.flag())
            .and_then(|_| signal_hook::flag::register(signal, stop.flag()))
            .context("cannot listen to signals")?;
    }
    let (stop, idle) = (stop.clone(), idle.clone());
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(Duration::from_millis(50));
            if stop.is_cancelled() && idle.is_idle() {
                tracing::info!("asked to stop while waiting for work");
                std::process::exit(0);
            }
        }
    });
    Ok(())
}

fn find_factors(args: &BisectArgs) -> anyhow::Result<ExitCode> {
    let config = configuration(&args.config)?;
    let cancel = Cancel::default();
    listen_to_signals(&cancel, &Idle::default())?;
    let report = bisect::bisect(&BuildRequest {
        srpm: args.srpm.clone(),
        out_dir: PathBuf::new(),
        limits: Limits::from_config(&config),
        work_dir: config.work_dir,
        build_uid: config.build_uid,
        root: None,
        cancel,
    })?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &report).context("cannot write to stdout")?;
    writeln!(out).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn compare_files(args: &CompareArgs) -> anyhow::Result<ExitCode> {
    let json = compare::compare_to_json(&args.expected, &args.rebuilt, args.context.as_deref())?;
    match &args.output {
        Some(path) => std::fs::write(path, json)
            .with_context(|| format!("cannot write {}", path.display()))?,
        None => std::io::stdout()
            .write_all(&json)
            .context("cannot write to stdout")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn store(config: &RebuilderConfig) -> Store {
    Store::new(&config.layers_dir, config.layers_bytes)
}

fn buildroot(command: &BuildrootCommand) -> anyhow::Result<ExitCode> {
    match command {
        BuildrootCommand::Lock {
            repos,
            packages,
            output,
            config,
        } => {
            let config = configuration(config)?;
            let wanted = buildroot::Wanted {
                repos: repos.clone(),
                packages: packages.clone(),
            };
            let lock = buildroot::resolve(&wanted, &store(&config), &config.work_dir)?;
            std::fs::write(output, lock.to_json())
                .with_context(|| format!("cannot write {}", output.display()))?;
        }
        BuildrootCommand::Make { lock, config } => {
            let config = configuration(config)?;
            let root = store(&config).layer_of(&LockFile::read(lock)?.buildroot())?;
            let mut out = std::io::stdout().lock();
            let made = serde_json::json!({
                "lock_sha256": root.lock.sha256,
                "tree_sha256": root.tree,
                "packages": root.lock.packages,
                "rpm_version": root.lock.rpm_version,
                "dir": root.dir,
            });
            writeln!(out, "{made:#}").context("cannot write to stdout")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show_mock_lock(file: &Path) -> anyhow::Result<ExitCode> {
    let json = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let root = mock_lock::buildroot(&json)?;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut out, &root).context("cannot write to stdout")?;
    writeln!(out).context("cannot write to stdout")?;
    Ok(ExitCode::SUCCESS)
}

fn examine(args: &ConfigArg) -> anyhow::Result<ExitCode> {
    let findings = doctor::examine(&configuration(args)?);
    let mut out = std::io::stdout().lock();
    for finding in &findings {
        let mark = match finding.health {
            Health::Good => "ok",
            Health::Weak => "weak",
            Health::Bad => "bad",
        };
        writeln!(out, "{mark:<5} {:<15} {}", finding.name, finding.seen)?;
        if !finding.remedy.is_empty() {
            writeln!(out, "{:<5} {:<15} -> {}", "", "", finding.remedy)?;
        }
    }
    Ok(if doctor::is_usable(&findings) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(1)
    })
}

//! `hallmark client package`: plug-ins, configuration and trust folder for the machines that install, as a package.

use super::createrepo::now;
use super::source_package::{
    Build, Member, SourcePackage, changelog_day, check_name, files, install, sources,
};
use crate::failure::Failure;
use crate::output;
use crate::verify::TrustDir;
use repo_model::Timestamp;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The shipped files, as they are for a verifier in `/usr/bin`.
const ACTIONS: &str = include_str!("../../client/hallmark.actions");
const DNF_PLUGIN: &str = include_str!("../../client/hallmark.py");
const CONFIG: &str = include_str!("../../client/client.toml");
/// What they say where a choice can be made.
const VERIFIER: &str = "/usr/bin/hallmark";
const SERVER_URL: &str = "server_url = \"https://packages.example\"";
const MODE: &str = "mode = \"enforce\"";
/// Where the evidence is kept.
const CACHE_DIR: &str = "/var/cache/hallmark/client";
/// Most bytes of one file of the trust folder.
const MAX_TRUST_BYTES: u64 = 16 << 20;

/// Where Python of today's distributions with dnf 4 looks for its plug-ins: EL 8, 9 and 10, and Debian.
const DNF4_DIRS: [&str; 4] = [
    "/usr/lib/python3.6/site-packages/dnf-plugins",
    "/usr/lib/python3.9/site-packages/dnf-plugins",
    "/usr/lib/python3.12/site-packages/dnf-plugins",
    "/usr/lib/python3/dist-packages/dnf-plugins",
];

/// Arguments of `hallmark client package`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs rpmbuild. The version is that of the policy in the trust folder; say --release 2 for another package with the
same policy. Equal files and equal SOURCE_DATE_EPOCH give equal bytes.

EXAMPLES:
  # Fetch whom to trust, compare what is printed with what you were told another way, and make the package
  hallmark trust fetch --server https://packages.example -o trust/
  hallmark client package --server https://packages.example --trust trust/ -o client/

  # Then the way of every package
  hallmark buildinfo client/hallmark-client-*.src.rpm -o out/
  hallmark publish --wait out/

  # For machines that get it by hand, with the verifier in it, and warning only at first
  hallmark client package --server https://packages.example --trust trust/ --mode warn \\
    --binary /usr/bin/hallmark --build -o client/")]
pub struct Args {
    /// Where spec and packages go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// The server that the machines ask
    #[arg(long = "server", value_name = "URL", env = "HALLMARK_SERVER_URL")]
    server_url: String,
    /// The trust folder that the machines get
    #[arg(long, value_name = "DIR", default_value = "/etc/hallmark/trust")]
    trust: PathBuf,
    /// What happens to a transaction with a package that lacks evidence
    #[arg(long, value_name = "MODE", value_parser = ["enforce", "warn"], default_value = "enforce")]
    mode: String,
    /// A client.toml to ship in place of the one that --server and --mode make
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Name of the package
    #[arg(long, default_value = "hallmark-client")]
    name: String,
    /// Release of the package
    #[arg(long, default_value_t = 1)]
    release: u32,
    /// Where the verifier is on the machines
    #[arg(long, value_name = "PATH", default_value = VERIFIER)]
    verifier: PathBuf,
    /// Ship this `hallmark` in the package; without it the package requires one
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// Where the plug-in for dnf 4 goes, in place of the usual folders; may be repeated
    #[arg(long, value_name = "DIR")]
    dnf4_dir: Vec<String>,
    /// Build the package too, not only its source package
    #[arg(long)]
    build: bool,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    check_name(&args.name)?;
    let trust = TrustDir::read(&args.trust, None, now()).map_err(|error| {
        Failure::usage(error)
            .with_hint("`hallmark trust fetch --server URL -o DIR` makes such a folder")
    })?;
    let trust_files = trust_files(&args.trust)?;
    let changed = changed(&trust_files)?;
    let mut members = shipped(args)?;
    members.extend(trust_files.into_iter().map(|(member, _)| member));
    let version = trust.trust.policy.version;
    let package = SourcePackage {
        spec: spec_text(args, version, &members, changed),
        name: args.name.clone(),
        members,
        changed,
    };
    let build = match args.build {
        true => Build::SourceAndBinary,
        false => Build::Source,
    };
    let written = package.build(&args.output, build)?;
    written
        .iter()
        .try_for_each(|path| output::line(path.display()))
}

/// Plug-ins, configuration, and the verifier when it is shipped.
fn shipped(args: &Args) -> Result<Vec<Member>, Failure> {
    let verifier = args.verifier.to_str().filter(|path| is_plain(path));
    let Some(verifier) = verifier else {
        let path = args.verifier.display();
        return Err(Failure::usage(format!("{path} is no path for a spec")));
    };
    let file = |name: &str, dir: &str, content: String| Member {
        name: name.to_owned(),
        dir: dir.to_owned(),
        is_config: false,
        mode: 0o644,
        content: content.into_bytes(),
    };
    let mut members = vec![
        Member {
            is_config: true,
            ..file("client.toml", "/etc/hallmark", config(args)?)
        },
        file(
            "hallmark.actions",
            "/etc/dnf/libdnf5-plugins/actions.d",
            ACTIONS.replace(VERIFIER, verifier),
        ),
    ];
    let dirs: Vec<&str> = match args.dnf4_dir.is_empty() {
        true => DNF4_DIRS.to_vec(),
        false => args.dnf4_dir.iter().map(String::as_str).collect(),
    };
    for dir in dirs {
        if !is_plain(dir) {
            return Err(Failure::usage(format!("`{dir}` is no path for a spec")));
        }
        members.push(file(
            "hallmark.py",
            dir,
            DNF_PLUGIN.replace(VERIFIER, verifier),
        ));
    }
    if let Some(path) = &args.binary {
        let (dir, name) = verifier.rsplit_once('/').unwrap_or(("", verifier));
        members.push(Member {
            name: name.to_owned(),
            dir: dir.to_owned(),
            is_config: false,
            mode: 0o755,
            content: fs::read(path).map_err(|error| cannot_read(path, &error))?,
        });
    }
    Ok(members)
}

/// Absolute, and nothing in it that rpmbuild, a shell or an actions file would take for something else.
fn is_plain(path: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.+".contains(&byte);
    path.starts_with('/') && path.bytes().all(fits)
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {}: {error}", path.display()))
}

fn config(args: &Args) -> Result<String, Failure> {
    if let Some(path) = &args.config {
        crate::client::read(path).map_err(Failure::usage)?;
        return fs::read_to_string(path).map_err(|error| cannot_read(path, &error));
    }
    let quoted = toml::Value::String(args.server_url.clone());
    let mode = format!("mode = \"{}\"", args.mode);
    let text = CONFIG.replace(SERVER_URL, &format!("server_url = {quoted}"));
    let text = text.replacen(MODE, &mode, 1);
    crate::client::parse(&text).map_err(Failure::usage)?;
    Ok(text)
}

/// The files of the trust folder, by name, with when they were changed, seconds since 1970.
fn trust_files(dir: &Path) -> Result<Vec<(Member, u64)>, Failure> {
    let mut found = Vec::new();
    let unusable = |error| cannot_read(dir, &error);
    for entry in fs::read_dir(dir).map_err(unusable)? {
        let entry = entry.map_err(unusable)?;
        let path = entry.path();
        let meta = fs::metadata(&path).map_err(|error| cannot_read(&path, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !meta.is_file() || name.starts_with('.') {
            continue;
        }
        if check_name(&name).is_err() || meta.len() > MAX_TRUST_BYTES {
            let path = path.display();
            return Err(Failure::usage(format!(
                "{path} is no file of a trust folder"
            )));
        }
        let modified = meta.modified().ok();
        let modified = modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let member = Member {
            name,
            dir: "/etc/hallmark/trust".to_owned(),
            is_config: false,
            mode: 0o644,
            content: fs::read(&path).map_err(|error| cannot_read(&path, &error))?,
        };
        found.push((member, modified.map_or(0, |time| time.as_secs())));
    }
    found.sort_by(|a, b| a.0.name.cmp(&b.0.name));
    Ok(found)
}

/// `SOURCE_DATE_EPOCH`, or when the newest file of the trust folder was changed.
fn changed(trust: &[(Member, u64)]) -> Result<Timestamp, Failure> {
    let newest = trust.iter().map(|(_, modified)| *modified).max();
    let secs = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text
            .trim()
            .parse()
            .map_err(|_| Failure::usage(format!("SOURCE_DATE_EPOCH is `{text}`")))?,
        Err(_) => newest.unwrap_or(0).cast_signed(),
    };
    Ok(Timestamp::from_unix_secs(secs))
}

fn spec_text(args: &Args, version: u64, members: &[Member], changed: Timestamp) -> String {
    let (name, release) = (&args.name, args.release);
    let mut out = String::new();
    // Scripts and binaries go in as they are: no byte code for a Python that happens to be here.
    let _ = write!(
        out,
        "%global debug_package %{{nil}}\n%global __os_install_post %{{nil}}\n\
         Name: {name}\nVersion: {version}\nRelease: {release}\n\
         Summary: Lets dnf install only what Hallmark's evidence vouches for\n\
         License: Apache-2.0\nAutoReqProv: no\n"
    );
    match &args.binary {
        // Writing into a String cannot fail.
        Some(_) => _ = writeln!(out, "Provides: hallmark"),
        None => {
            let verifier = args.verifier.display();
            let _ = write!(out, "BuildArch: noarch\nRequires: {verifier}\n");
        }
    }
    out.push_str("Requires: (libdnf5-plugin-actions if libdnf5)\n");
    sources(&mut out, members);
    out.push_str(
        "\n%description\nPlug-ins of dnf5 and dnf that verify each transaction before anything is installed: \
         who rebuilt the\npackages, their SBOMs, the policy, the release, the transparency log. With \
         configuration and trust folder.\n\n%install\n",
    );
    install(&mut out, members);
    let _ = writeln!(out, "install -d -m 0755 \"$RPM_BUILD_ROOT{CACHE_DIR}\"");
    files(&mut out, members);
    let _ = write!(
        out,
        "%dir {CACHE_DIR}\n\n%changelog\n* {} Repository client <client@{name}.invalid> - {version}-{release}\n\
         - Trust folder with policy {version}\n",
        changelog_day(changed)
    );
    out
}

//! `hallmark key package`: the keys, and `.repo` files that use them, as a source package.
//!
//! It is built, rebuilt, judged, signed and published like any other package, so clients get new keys by
//! an ordinary update, signed with a key that they have. Keys of OpenPGP version 6 are in a file of their
//! own: gpg and rpm 4 refuse a whole file that has one. Revoked keys are left out.

use super::key::LIST;
use super::source_package::{
    Build, Member, SourcePackage, changelog_day, check_name, files, install, sources,
};
use crate::api::{ApiError, Client, ServerArgs};
use crate::failure::Failure;
use crate::output;
use repo_model::wire::signer::{KeyRole, PublishedKey};
use repo_model::{ChannelName, Timestamp};
use std::fmt::Write as _;
use std::path::PathBuf;

/// Arguments of `hallmark key package`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Needs rpmbuild. The version is the day of the last change of a key; say --release 2 for a second
package of the same day.

EXAMPLES:
  # Keys and the .repo file of `stable`; then the way of every package
  hallmark key package --channel stable --output keys/
  hallmark buildinfo keys/hallmark-keys-*.src.rpm -o out/
  hallmark publish --wait out/

  # Clients that have the keys already
  dnf install hallmark-keys")]
pub struct Args {
    /// Where spec and source package go
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Name of the package; part of the names of its files
    #[arg(long, default_value = "hallmark-keys")]
    name: String,
    /// Release of the package
    #[arg(long, default_value_t = 1)]
    release: u32,
    /// Add the .repo file of this channel; may be repeated
    #[arg(long, value_name = "CHANNEL")]
    channel: Vec<ChannelName>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    check_name(&args.name)?;
    let client = args.server.client()?;
    let keys: Vec<PublishedKey> = client.get_json(LIST)?;
    let members = members(args, &client)?;
    let changed = keys.iter().filter_map(|key| key.since.max(key.made)).max();
    let changed = changed.unwrap_or(Timestamp::from_unix_secs(0));
    let package = SourcePackage {
        spec: spec_text(&args.name, args.release, &members, &keys, changed),
        name: args.name.clone(),
        members,
        changed,
    };
    let written = package.build(&args.output, Build::Source)?;
    written
        .iter()
        .try_for_each(|path| output::line(path.display()))
}

const KEY_DIR: &str = "/etc/pki/rpm-gpg";

fn members(args: &Args, client: &Client) -> Result<Vec<Member>, Failure> {
    let key = |name: String, content: String| Member {
        name,
        dir: KEY_DIR.to_owned(),
        is_config: false,
        mode: 0o644,
        content: content.into_bytes(),
    };
    let file = format!("RPM-GPG-KEY-{}", args.name);
    let mut members = vec![key(file.clone(), client.get_text("/keys/RPM-GPG-KEY")?)];
    match client.get_text("/keys/RPM-GPG-KEY-pqc") {
        Ok(text) => members.push(key(format!("{file}-pqc"), text)),
        Err(ApiError::Refused { status: 404, .. }) => {}
        Err(error) => return Err(error.into()),
    }
    for channel in &args.channel {
        let text = client.get_text(&format!("/{channel}.repo"))?;
        members.push(Member {
            name: format!("{}-{channel}.repo", args.name),
            dir: "/etc/yum.repos.d".to_owned(),
            is_config: true,
            mode: 0o644,
            content: with_local_key(&text, &file).into_bytes(),
        });
    }
    Ok(members)
}

/// The `.repo` file with the key file that the package itself brings.
fn with_local_key(repo_file: &str, key_file: &str) -> String {
    let mut out = String::with_capacity(repo_file.len());
    for line in repo_file.lines() {
        match line.strip_prefix("gpgkey=") {
            // Writing into a String cannot fail.
            Some(_) => _ = writeln!(out, "gpgkey=file://{KEY_DIR}/{key_file}"),
            None => _ = writeln!(out, "{line}"),
        }
    }
    out
}

fn spec_text(
    name: &str,
    release: u32,
    members: &[Member],
    keys: &[PublishedKey],
    changed: Timestamp,
) -> String {
    let mut out = String::new();
    let version: String = changed.to_string().chars().take(10).collect();
    let version = version.replace('-', "");
    let _ = write!(
        out,
        "Name: {name}\nVersion: {version}\nRelease: {release}\n\
         Summary: Keys that the packages of this repository are signed with\nLicense: CC0-1.0\n\
         BuildArch: noarch\n"
    );
    sources(&mut out, members);
    out.push_str(
        "\n%description\nThe OpenPGP keys of packages and of repository metadata: the current ones, the next \
         ones, and\nthose before. An update of this package brings new keys before they sign.\n\n%install\n",
    );
    install(&mut out, members);
    files(&mut out, members);
    let _ = write!(
        out,
        "\n%changelog\n* {} Repository keys <keys@{name}.invalid> - {version}-{release}\n",
        changelog_day(changed)
    );
    let shown = keys
        .iter()
        .filter(|key| key.role != KeyRole::Statement && key.state.is_trusted());
    for key in shown {
        let (role, state) = (key.role, key.state.name());
        let _ = writeln!(out, "- {role} key {}, {state}", key.fingerprint);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use repo_model::wire::signer::KeyState;

    #[test]
    fn the_spec_lists_every_file_and_names_trusted_keys_only() {
        let member = |name: &str, dir: &str, is_config| Member {
            name: name.to_owned(),
            dir: dir.to_owned(),
            is_config,
            mode: 0o644,
            content: Vec::new(),
        };
        let key = |state, fingerprint: &str| PublishedKey {
            role: KeyRole::Package,
            state,
            label: "package-key".to_owned(),
            fingerprint: fingerprint.to_owned(),
            algorithm: "EdDSA".to_owned(),
            openpgp_version: Some(4),
            made: None,
            expires: None,
            since: None,
            public: String::new(),
            findings: Vec::new(),
        };
        let text = spec_text(
            "acme-keys",
            2,
            &[
                member("RPM-GPG-KEY-acme-keys", KEY_DIR, false),
                member("acme-keys-stable.repo", "/etc/yum.repos.d", true),
            ],
            &[
                key(KeyState::Current, "AAAA"),
                key(KeyState::Revoked, "BBBB"),
            ],
            Timestamp::from_unix_secs(1_795_241_136),
        );
        for line in [
            "Version: 20261121",
            "Release: 2",
            "Source1: acme-keys-stable.repo",
            "/etc/pki/rpm-gpg/RPM-GPG-KEY-acme-keys",
            "%config(noreplace) /etc/yum.repos.d/acme-keys-stable.repo",
            "* Sat Nov 21 2026 Repository keys <keys@acme-keys.invalid> - 20261121-2",
            "- package key AAAA, current",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(!text.contains("BBBB"));
    }

    #[test]
    fn the_repo_file_takes_the_key_that_the_package_brings() {
        let text = "[a]\ngpgcheck=1\ngpgkey=http://x/keys/RPM-GPG-KEY\n";
        assert_eq!(
            with_local_key(text, "RPM-GPG-KEY-k"),
            "[a]\ngpgcheck=1\ngpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-k\n"
        );
    }
}

//! `hallmark mirror sync-all`: the copies that a file names, one after the other. Each has all workers while it is its
//! turn, and they share files by digest when they share a store.
//!
//! ```toml
//! [defaults]
//! key = "RPM-GPG-KEY-example"
//! store = "/srv/mirror/.store"
//!
//! [[repo]]
//! name = "base"
//! url = ["https://a.example/base", "https://b.example/base"]
//! directory = "/srv/mirror/base"
//! newest-only = true
//! ```

use super::sync;
use crate::failure::{Exit, Failure, chain};
use crate::output;
use clap::Parser as _;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Arguments of `hallmark mirror sync-all`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
EXAMPLES:
  # mirrors.toml: each key but `name`, `url` and `directory` is an option of `hallmark mirror sync` without its `--`
  [defaults]
  key = \"RPM-GPG-KEY-example\"
  store = \"/srv/mirror/.store\"
  delete-after = 24

  [[repo]]
  name = \"base\"
  url = [\"https://a.example/base\", \"https://b.example/base\"]
  directory = \"/srv/mirror/base\"

  [[repo]]
  name = \"updates\"
  url = \"https://a.example/updates\"
  directory = \"/srv/mirror/updates\"
  arch = [\"x86_64\", \"aarch64\"]
  report = \"updates.json\"

  # From a timer
  hallmark mirror sync-all mirrors.toml

Repositories are copied in the order of the file. One that cannot be copied is named, and the others go on. Exit code 0: all are
copied; 1: not all; 3: the others could not be reached.")]
pub struct Args {
    /// The file that names the copies (TOML); relative paths in it count from the current directory
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only the repository of this name; may be repeated
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say of each what would be fetched, and write nothing but the reports
    #[arg(long)]
    dry_run: bool,
}

/// The file.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Mirrors {
    /// Options of every repository that does not say otherwise.
    #[serde(default)]
    defaults: Options,
    repo: Vec<Repo>,
}

#[derive(Debug, serde::Deserialize)]
struct Repo {
    name: String,
    url: OneOrMany,
    directory: String,
    #[serde(flatten)]
    options: Options,
}

/// Options of `mirror sync` by name.
type Options = BTreeMap<String, OptionValue>;

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
enum OptionValue {
    Switch(bool),
    Number(i64),
    Text(OneOrMany),
}

#[derive(Debug, Clone, serde::Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn each(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// One sync as it would be typed.
#[derive(Debug, clap::Parser)]
#[command(name = "hallmark mirror sync", no_binary_name = true)]
struct Typed {
    #[command(flatten)]
    args: sync::Args,
}

/// Runs it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let shown = args.file.display();
    let text = std::fs::read_to_string(&args.file)
        .map_err(|error| Failure::usage(format!("cannot read {shown}: {error}")))?;
    let syncs =
        read(&text, args.dry_run).map_err(|why| Failure::usage(format!("{shown}: {why}")))?;
    if let Some(unknown) = args
        .only
        .iter()
        .find(|only| !syncs.iter().any(|(name, _)| name == *only))
    {
        return Err(Failure::usage(format!(
            "{shown} names no repository `{unknown}`"
        )));
    }
    let mut failures = Vec::new();
    let wanted = |name: &String| args.only.is_empty() || args.only.contains(name);
    for (name, sync) in syncs.iter().filter(|(name, _)| wanted(name)) {
        match sync::told_of(sync) {
            Ok(told) => output::raw(format!("{name}: {told}").as_bytes())?,
            Err(failure) => {
                output::note(format!("{name}: {}", failure.message()));
                failures.push(failure.exit);
            }
        }
    }
    let exit = match failures.iter().all(|exit| *exit == Exit::Unreachable) {
        true => Exit::Unreachable,
        false => Exit::Failed,
    };
    match failures.len() {
        0 => Ok(()),
        count => Err(Failure::new(
            exit,
            format!("{count} repositories are not copied"),
        )),
    }
}

/// The syncs of a file, by name; all are read before the first begins.
fn read(text: &str, dry_run: bool) -> Result<Vec<(String, sync::Args)>, String> {
    let mirrors: Mirrors = toml::from_str(text).map_err(|error| chain(&error))?;
    let (mut names, mut directories) = (BTreeSet::new(), BTreeSet::new());
    let mut syncs = Vec::new();
    for repo in &mirrors.repo {
        let name = &repo.name;
        if !names.insert(name) {
            return Err(format!("repository `{name}` is there twice"));
        }
        if !directories.insert(repo.directory.trim_end_matches('/')) {
            return Err(format!(
                "repository `{name}` has the directory of another one"
            ));
        }
        let mut options = mirrors.defaults.clone();
        options.extend(repo.options.clone());
        let mut typed = typed(&options);
        if dry_run {
            typed.push("--dry-run".to_owned());
        }
        typed.push("--".to_owned());
        typed.extend_from_slice(repo.url.each());
        typed.push(repo.directory.clone());
        let parsed = Typed::try_parse_from(typed).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default().to_owned();
            format!("repository `{name}`: {first}")
        })?;
        syncs.push((name.clone(), parsed.args));
    }
    Ok(syncs)
}

fn typed(options: &Options) -> Vec<String> {
    let mut typed = Vec::new();
    for (name, value) in options {
        match value {
            OptionValue::Switch(true) => typed.push(format!("--{name}")),
            OptionValue::Switch(false) => {}
            OptionValue::Number(number) => typed.push(format!("--{name}={number}")),
            OptionValue::Text(text) => {
                let each = text.each().iter();
                typed.extend(each.map(|text| format!("--{name}={text}")));
            }
        }
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_those_of_sync_and_a_repository_overrides_the_defaults() {
        let text = r#"
            [defaults]
            key = "KEY"
            jobs = 4
            newest-only = true
            [[repo]]
            name = "a"
            url = "https://a.example/a"
            directory = "/srv/a"
            [[repo]]
            name = "b"
            url = ["https://a.example/b", "https://b.example/b"]
            directory = "/srv/b"
            arch = ["x86_64", "aarch64"]
            jobs = 9
            newest-only = false
            delete-after = 3
        "#;
        let syncs = read(text, true).unwrap();
        let shown: Vec<String> = syncs.iter().map(|(_, args)| format!("{args:?}")).collect();
        for (number, wanted) in [
            (0, "jobs: 4"),
            (0, "newest_only: true"),
            (0, "dry_run: true"),
            (0, "url: [\"https://a.example/a\"]"),
            (1, "jobs: 9"),
            (1, "newest_only: false"),
            (1, "delete_after: Some(3)"),
            (1, "arch: [\"x86_64\", \"aarch64\"]"),
            (1, "url: [\"https://a.example/b\", \"https://b.example/b\"]"),
            (1, "directory: \"/srv/b\""),
            (1, "key: [\"KEY\"]"),
        ] {
            assert!(
                shown[number].contains(wanted),
                "{wanted}: {}",
                shown[number]
            );
        }
    }

    #[test]
    fn a_file_that_is_wrong_anywhere_starts_nothing_and_says_where() {
        let repo = |name: &str, more: &str| {
            format!(
                "[[repo]]\nname = \"{name}\"\nurl = \"https://a.example/\"\ndirectory = \"/srv/{name}\"\n{more}\n"
            )
        };
        let key = "key = \"KEY\"";
        let twice = format!("{}{}", repo("a", key), repo("a", key));
        let same = repo("b", key).replace("/srv/b", "/srv/a/") + &repo("a", key);
        for (text, why) in [
            (
                repo("a", "key = \"KEY\"\nnewest = true"),
                "repository `a`: error: unexpected argument '--newest'",
            ),
            (
                repo("a", "jobs = 0\nkey = \"KEY\""),
                "repository `a`: error: invalid value '0'",
            ),
            (
                repo("a", ""),
                "repository `a`: error: the following required arguments",
            ),
            (twice, "repository `a` is there twice"),
            (same, "has the directory of another one"),
            ("[default]".to_owned(), "unknown field `default`"),
            (String::new(), "missing field `repo`"),
        ] {
            let found = read(&text, false).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }
}

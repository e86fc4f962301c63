//! dnf5: an action of libdnf5's `actions` plug-in (`mode=json`) asks on stdout and is answered on
//! stdin, one JSON object each. Seen with libdnf5 5.4.6, plug-in 1.4.1:
//!
//! ```json
//! > {"op":"get","domain":"trans_packages","args":{"output":["nevra","repo_id","location"],
//!    "filters":[{"key":"direction","value":"IN","operator":"EQ"}]}}
//! < {"op":"reply","requested_op":"get","domain":"trans_packages","status":"OK",
//!    "return":{"trans_packages":[{"nevra":"probe-1-1.noarch","repo_id":"acme","location":"Packages/p/probe-1-1.noarch.rpm"}]}}
//! > {"op":"get","domain":"conf","args":{"key":"acme.metalink"}}
//! < {"op":"reply","requested_op":"get","domain":"conf","status":"ERROR","message":"… Option value is not set"}
//! > {"op":"error","args":{"message":"why the transaction must not go on"}}
//! ```
//!
//! It runs in `pre_transaction`: packages are downloaded then, and nothing is changed yet. dnf5 does not tell
//! where the files are; see [`paths`].

use super::transaction::{Incoming, RepositoryUrls, Transaction};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};

/// Most bytes of all answers of one transaction.
const MAX_BYTES: u64 = 128 << 20;
/// Most lines of one answer; dnf5's have one.
const MAX_LINES: usize = 100;
/// Settings of a repository that say where its packages come from.
const URL_SETTINGS: [&str; 3] = ["baseurl", "metalink", "mirrorlist"];

/// dnf5 does not answer as it should. Not the packages' fault: another version of the plug-in, or not a plug-in at
/// all on the other side.
#[derive(Debug, thiserror::Error)]
pub enum Dnf5Error {
    /// Pipes.
    #[error("cannot talk to libdnf5")]
    Pipe(#[source] io::Error),
    /// Not JSON, or not of this shape.
    #[error("libdnf5's answer about {about} does not read")]
    Shape {
        /// What was asked.
        about: String,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// It says no.
    #[error("libdnf5 does not tell {about}: {message}")]
    Refused {
        /// What was asked.
        about: String,
        /// Its words.
        message: String,
    },
    /// It went away.
    #[error("libdnf5 closed the connection before it told {0}")]
    Closed(String),
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default, rename = "return")]
    value: Value,
}

/// The plug-in on the other side.
pub struct Dnf5<R, W> {
    answers: io::Take<R>,
    questions: W,
}

#[derive(Deserialize)]
struct Package {
    nevra: String,
    repo_id: String,
    /// Empty when it was not told.
    #[serde(default)]
    location: String,
}

impl<R: BufRead, W: Write> Dnf5<R, W> {
    /// The pipes from and to libdnf5.
    pub fn new(answers: R, questions: W) -> Self {
        Self {
            answers: answers.take(MAX_BYTES),
            questions,
        }
    }

    fn ask(&mut self, about: &str, question: &Value) -> Result<Reply, Dnf5Error> {
        // One line each: what does not end in a newline may wait in a buffer.
        writeln!(self.questions, "{question}").map_err(Dnf5Error::Pipe)?;
        self.questions.flush().map_err(Dnf5Error::Pipe)?;
        self.answer(about)
    }

    /// Reads to the end of the answer's line, too: libdnf5 dies of a pipe that is closed before it has written that.
    fn answer(&mut self, about: &str) -> Result<Reply, Dnf5Error> {
        let mut text = Vec::new();
        for _ in 0..MAX_LINES {
            let read = self.answers.read_until(b'\n', &mut text);
            if read.map_err(Dnf5Error::Pipe)? == 0 {
                break;
            }
            match serde_json::from_slice(&text) {
                Err(error) if error.is_eof() => {}
                answer => {
                    return answer.map_err(|source| Dnf5Error::Shape {
                        about: about.to_owned(),
                        source,
                    });
                }
            }
        }
        Err(Dnf5Error::Closed(about.to_owned()))
    }

    fn packages(&mut self) -> Result<Vec<Package>, Dnf5Error> {
        let about = "which packages come in";
        let question = json!({"op": "get", "domain": "trans_packages", "args": {
            "output": ["nevra", "repo_id", "location"],
            "filters": [{"key": "direction", "value": "IN", "operator": "EQ"}]}});
        let mut reply = self.ask(about, &question)?;
        if reply.status != "OK" {
            return Err(Dnf5Error::Refused {
                about: about.to_owned(),
                message: reply.message,
            });
        }
        let packages = reply.value.get_mut("trans_packages").map(Value::take);
        let packages = packages.unwrap_or_default();
        serde_json::from_value(packages).map_err(|source| Dnf5Error::Shape {
            about: about.to_owned(),
            source,
        })
    }

    /// The value of a setting; none when it has none.
    fn setting(&mut self, key: &str) -> Result<Option<String>, Dnf5Error> {
        let question = json!({"op": "get", "domain": "conf", "args": {"key": key}});
        let reply = self.ask(key, &question)?;
        let value = &reply.value["keys_val"][0]["value"];
        let text = value.as_str().map(str::to_owned);
        Ok(text.filter(|text| !text.is_empty()))
    }

    /// What is about to be installed, and where its files are.
    pub fn transaction(&mut self) -> Result<Transaction, Dnf5Error> {
        let packages = self.packages()?;
        let mut transaction = Transaction::default();
        let ids: BTreeSet<&str> = packages.iter().map(|p| p.repo_id.as_str()).collect();
        for id in ids.into_iter().filter(|id| !is_pseudo(id)) {
            let mut urls = Vec::new();
            for setting in URL_SETTINGS {
                let value = self.setting(&format!("{id}.{setting}"))?;
                urls.extend(value.iter().flat_map(|text| list(text)));
            }
            let id = id.to_owned();
            transaction.repositories.push(RepositoryUrls { id, urls });
        }
        let cache_dirs: Vec<PathBuf> = ["cachedir", "system_cachedir"]
            .into_iter()
            .filter_map(|key| self.setting(key).transpose())
            .map(|dir| dir.map(PathBuf::from))
            .collect::<Result<BTreeSet<_>, _>>()?
            .into_iter()
            .collect();
        for package in packages {
            let paths = paths(&cache_dirs, transaction.urls(&package.repo_id), &package);
            transaction.packages.push(Incoming {
                nevra: package.nevra,
                repo_id: package.repo_id,
                paths,
            });
        }
        Ok(transaction)
    }

    /// Leaves a line in dnf5's log.
    pub fn log(&mut self, level: &str, message: &str) -> Result<(), Dnf5Error> {
        let line = json!({"op": "log", "args": {"level": level, "message": message}});
        self.ask("that it wrote its log", &line).map(drop)
    }

    /// Ends the transaction: with `raise_error=1` dnf5 shows the message and changes nothing.
    pub fn refuse(&mut self, message: &str) -> Result<(), Dnf5Error> {
        let line = json!({"op": "error", "args": {"message": message}});
        writeln!(self.questions, "{line}").map_err(Dnf5Error::Pipe)?;
        self.questions.flush().map_err(Dnf5Error::Pipe)
    }
}

/// `@commandline`, `@System`, `@stored_transaction(…)`: no repositories with settings.
fn is_pseudo(id: &str) -> bool {
    id.starts_with('@')
}

/// A list of a setting: dnf5 puts commas between; spaces and line ends are as good.
fn list(text: &str) -> Vec<String> {
    let parts = text.split([',', ' ', '\n', '\t']).map(str::trim);
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(str::to_owned).collect()
}

/// Where the file of a package may be.
///
/// * given on the command line: its location is its path;
/// * of a repository in a folder (`file://`): below that;
/// * else `CACHEDIR/REPO_ID-HASH/packages/NAME`. The hash is of the repository's URL; when somebody changed
///   that, there may be an older file of this name too, and each is looked at.
fn paths(cache_dirs: &[PathBuf], urls: &[String], package: &Package) -> Vec<PathBuf> {
    let location = Path::new(&package.location);
    if location.is_absolute() {
        return vec![location.to_owned()];
    }
    let Some(name) = location.file_name() else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for url in urls {
        if let Some(dir) = url.strip_prefix("file://") {
            found.push(Path::new(dir).join(location));
        }
    }
    let start = format!("{}-", package.repo_id);
    for cache_dir in cache_dirs {
        // A folder that is not there has nothing.
        let entries = fs::read_dir(cache_dir).into_iter().flatten().flatten();
        for entry in entries {
            let folder = entry.file_name();
            let hash = folder.to_str().and_then(|name| name.strip_prefix(&start));
            if hash.is_some_and(is_hash) {
                found.push(entry.path().join("packages").join(name));
            }
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

fn is_hash(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(domain: &str, value: &Value) -> String {
        let reply = json!({"op": "reply", "requested_op": "get", "domain": domain, "return": value,
            "status": "OK"});
        reply.to_string()
    }

    fn setting(key: &str, value: &str) -> String {
        reply("conf", &json!({"keys_val": [{"key": key, "value": value}]}))
    }

    fn unset() -> String {
        json!({"op": "reply", "requested_op": "get", "domain": "conf", "status": "ERROR",
            "message": "Option value is not set"})
        .to_string()
    }

    #[test]
    fn a_transaction_is_asked_for_and_its_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let packages = dir.path().join(name).join("packages");
            fs::create_dir_all(&packages).unwrap();
            fs::write(packages.join("a-1-1.noarch.rpm"), "").unwrap();
            packages.join("a-1-1.noarch.rpm")
        };
        let now = folder("acme-0123456789abcdef");
        let before = folder("acme-fedcba9876543210");
        folder("acme-more-0123456789abcdef");
        let given = dir.path().join("b-1-1.noarch.rpm");
        let packages = json!({"trans_packages": [
            {"nevra": "a-1-1.noarch", "repo_id": "acme", "location": "Packages/a/a-1-1.noarch.rpm"},
            {"nevra": "b-1-1.noarch", "repo_id": "@commandline", "location": given}]});
        let answers = [
            reply("trans_packages", &packages),
            setting("acme.baseurl", "http://a/x,http://b/x"),
            unset(),
            unset(),
            setting("cachedir", dir.path().to_str().unwrap()),
            setting("system_cachedir", dir.path().to_str().unwrap()),
            reply("log", &Value::Null),
        ]
        .join("\n");
        let mut asked = Vec::new();
        let mut dnf5 = Dnf5::new(answers.as_bytes(), &mut asked);
        let transaction = dnf5.transaction().unwrap();
        dnf5.log("INFO", "done").unwrap();
        dnf5.refuse("no\nreally").unwrap();
        assert_eq!(transaction.urls("acme"), ["http://a/x", "http://b/x"]);
        assert_eq!(transaction.packages[0].paths, [now, before]);
        assert_eq!(transaction.packages[1].paths, [given]);
        let asked = String::from_utf8(asked).unwrap();
        assert_eq!(asked.lines().count(), 8);
        assert!(asked.ends_with("{\"args\":{\"message\":\"no\\nreally\"},\"op\":\"error\"}\n"));
    }

    #[test]
    fn an_answer_that_is_none_ends_the_conversation_by_name() {
        let refused = json!({"status": "ERROR", "message": "used outside the hooks"}).to_string();
        let bomb = "[".repeat(100_000);
        for (answers, says) in [
            ("", "closed the connection"),
            (&refused, "used outside the hooks"),
            ("{\"status\":\"OK\"", "closed the connection"),
            ("{\n\"status\"\n:1}\n", "does not read"),
            (
                "{\"status\":\"OK\",\"return\":{\"trans_packages\":[{}]}}",
                "does not read",
            ),
            (&bomb, "does not read"),
        ] {
            let mut dnf5 = Dnf5::new(answers.as_bytes(), Vec::new());
            let error = dnf5.transaction().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

//! Users of the machine and of mock: mock has no user namespaces, so the numbers of its build user are the machine's.

use super::{HOME_DIR, SandboxError, root};
use repo_model::buildinfo::Identity;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// Longest wait for an answer about mock or about users, seconds.
pub(crate) const ASKED_SECS: u64 = 20;

/// Refuses numbers that belong to somebody here.
pub(crate) fn refuse_owned(identity: &Identity) -> Result<(), SandboxError> {
    let numbers = [
        ("passwd", "user", identity.uid),
        ("group", "group", identity.gid),
    ];
    for (database, what, number) in numbers {
        if let Some(name) = owner(database, number) {
            return Err(super::mock::unusable(format!(
                "builds would run as {what} {number} of this machine, which is `{name}`: run it where that number \
                 belongs to nobody, such as a machine of its own, or use the backend bwrap"
            )));
        }
    }
    Ok(())
}

/// Name of the user or group with this number, wherever the machine keeps them.
fn owner(database: &str, number: u32) -> Option<String> {
    let number = number.to_string();
    let asked = in_time(
        &["getent".to_owned(), database.to_owned(), number.clone()],
        ASKED_SECS,
    )
    .output();
    let text = match asked {
        // 0: found, 2: there is none.
        Ok(output) if [Some(0), Some(2)].contains(&output.status.code()) => output.stdout,
        _ => fs::read(Path::new("/etc").join(database)).unwrap_or_default(),
    };
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(|line| line.split(':'));
    lines.find_map(|mut fields| {
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_owned())
    })
}

/// A command that is killed when it has not ended after `secs`.
pub(crate) fn in_time(words: &[String], secs: u64) -> Command {
    let mut command = Command::new("timeout");
    command.arg("--kill-after=1").arg(secs.to_string());
    command.args(words).stdin(Stdio::null());
    command
}

/// Writes `passwd` and `group` for mock to `dir`: this machine's, and the build user with the group that mock
/// wants its callers to be in.
pub(crate) fn write(dir: &Path, identity: &Identity) -> Result<(), SandboxError> {
    let Identity { uid, gid, user, .. } = identity;
    let home = HOME_DIR;
    let ours = [
        (
            "passwd",
            user.as_str(),
            *uid,
            format!("{user}:x:{uid}:{gid}:{user}:{home}:/bin/sh\n"),
        ),
        ("group", "mock", *gid, format!("mock:x:{gid}:{user}\n")),
    ];
    for (file, name, number, line) in ours {
        let machines = fs::read_to_string(Path::new("/etc").join(file)).unwrap_or_default();
        let text = with_user(&machines, name, number, &line);
        let path = dir.join(file);
        fs::write(&path, text)
            .and_then(|()| root::make_readable(&path))
            .map_err(SandboxError::io(format!("write {}", path.display())))?;
    }
    Ok(())
}

/// The lines of a passwd or group file, without those of this name or number, and `line`.
fn with_user(text: &str, name: &str, number: u32, line: &str) -> String {
    let number = number.to_string();
    let mut kept: String = text
        .lines()
        .filter(|line| {
            let mut fields = line.split(':');
            fields.next() != Some(name) && fields.nth(1) != Some(number.as_str())
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    kept.push_str(line);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_belong_to_somebody_on_the_machine_are_refused() {
        let mine = |uid, gid| Identity {
            uid,
            gid,
            ..crate::plan::identity()
        };
        let free = 3_999_999_999;
        refuse_owned(&mine(free, free)).unwrap();
        for owned in [mine(0, free), mine(free, 0)] {
            let error = refuse_owned(&owned).unwrap_err().to_string();
            assert!(
                error.contains(" 0 of this machine, which is `root`"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_machine_with_users_of_the_same_name_or_number_lends_them_to_nobody() {
        let text = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\nmockbuild:x:5:5::/:/bin/sh\nbob:x:1001:1000::/:/bin/sh\n";
        let line = "mockbuild:x:1000:1000:mockbuild:/builddir:/bin/sh\n";
        let found = with_user(text, "mockbuild", 1000, line);
        let names: Vec<&str> = found
            .lines()
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(names, ["root", "bob", "mockbuild"]);
    }
}

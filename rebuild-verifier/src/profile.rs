//! Challenge profiles: what a rebuilder varies on purpose although it must not matter. When two
//! rebuilders of different profiles agree, the build does not depend on what they vary.
//!
//! A profile is programs that start rpmbuild inside the sandbox, another order of directories, or another day. What the buildinfo records (host
//! name, user, environment, build path, macros) stays as it is, so a replay stays a replay.

use crate::buildroot::Root;
use crate::plan::Plan;
use crate::replay::Site;
use crate::{sandbox, shift};
use std::path::Path;
use std::process::Command;

/// A row of [`PROFILES`].
#[derive(Debug)]
pub struct Profile {
    /// Name in configuration and statements.
    pub name: &'static str,
    /// What it changes.
    pub title: &'static str,
    /// Programs with their options, each of which starts the next.
    before: fn() -> Vec<String>,
    /// Whether directories list their entries in reverse.
    reversed: bool,
    /// Whether it is another day, which takes a library in every program of the build. That can be seen, and some
    /// programs refuse it: a rebuilder offers such a profile only when its operator names it.
    later: bool,
}

/// All profiles, the plain one first.
pub static PROFILES: &[Profile] = &[
    Profile {
        name: "plain",
        title: "nothing is varied",
        before: Vec::new,
        reversed: false,
        later: false,
    },
    Profile {
        name: "one-cpu",
        title: "the build may use one processor only",
        before: on_one_cpu,
        reversed: false,
        later: false,
    },
    Profile {
        name: "other-kernel",
        title: "the kernel says that its version is 2.6",
        before: on_other_kernel,
        reversed: false,
        later: false,
    },
    Profile {
        name: "fixed-addresses",
        title: "programs are not loaded at random addresses",
        before: at_fixed_addresses,
        reversed: false,
        later: false,
    },
    Profile {
        name: "reversed-directories",
        title: "directories list their entries in reverse",
        before: Vec::new,
        reversed: true,
        later: false,
    },
    Profile {
        name: "later-day",
        title: "the clock is 500 days ahead",
        before: Vec::new,
        reversed: false,
        later: true,
    },
];

/// The profile of this name.
pub fn profile(name: &str) -> Option<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == name)
}

/// The profile that varies nothing.
pub fn plain() -> &'static Profile {
    &PROFILES[0]
}

/// A profile cannot be used on this machine or in this build root. The operator's fault, or nobody's.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// Something is not installed.
    #[error(transparent)]
    Missing(#[from] MissingTool),
    /// The library that moves the clock does nothing there.
    #[error(
        "programs of the build root do not load libfaketime, so their clock stays as it is: {said}"
    )]
    Clock {
        /// What the attempt printed.
        said: String,
    },
}

/// A program that a profile needs is not installed. The operator's fault.
#[derive(Debug, thiserror::Error)]
#[error("{tool} is not installed")]
pub struct MissingTool {
    /// `taskset`, `setarch`, ...
    pub tool: String,
}

impl Profile {
    /// Whether directories list their entries in reverse: what that takes is only known once tried.
    pub fn is_reversed(&self) -> bool {
        self.reversed
    }

    /// Whether it is offered without being named in the configuration.
    pub fn is_usual(&self) -> bool {
        !self.later
    }

    /// Whether it is another day: what that takes is only known once tried.
    pub fn is_later(&self) -> bool {
        self.later
    }

    /// Has `plan` build in this way in the build root `root`.
    pub fn apply(&self, plan: &mut Plan, root: &Root, site: &Site<'_>) -> Result<(), ProfileError> {
        self.can(&root.dir)?;
        plan.before = (self.before)();
        plan.extras.reversed = self.reversed;
        if self.later {
            shift::put_into(plan);
            shift::works(plan, root, site.work_dir, site.build_uid)
                .map_err(|said| ProfileError::Clock { said })?;
        }
        Ok(())
    }

    /// Whether what it needs is installed, in the build root `root` or on this machine.
    pub fn can(&self, root: &Path) -> Result<(), MissingTool> {
        if self.reversed {
            reverses()?;
        }
        if self.later && shift::library().is_none() {
            let tool = "libfaketime".to_owned();
            return Err(MissingTool { tool });
        }
        match (self.before)().first() {
            Some(tool) => installed(root, tool),
            None => Ok(()),
        }
    }
}

/// Whether the backend reverses directories, as far as can be told without doing it.
pub(crate) fn reverses() -> Result<(), MissingTool> {
    if sandbox::chosen_backend().name != sandbox::REBUILD_BACKENDS[0].name {
        let tool = format!("disorderfs in backend {}", sandbox::chosen_backend().name);
        return Err(MissingTool { tool });
    }
    if !Path::new("/dev/fuse").exists() {
        let tool = "FUSE (/dev/fuse)".to_owned();
        return Err(MissingTool { tool });
    }
    installed(Path::new("/"), "disorderfs")
}

/// Whether the build root has this program.
pub fn installed(root: &Path, tool: &str) -> Result<(), MissingTool> {
    if ["usr/bin", "bin", "usr/sbin", "sbin"]
        .iter()
        .any(|dir| root.join(dir).join(tool).is_file())
    {
        return Ok(());
    }
    Err(MissingTool {
        tool: tool.to_owned(),
    })
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Binds what follows to the first processor that this process may use.
pub(crate) fn on_one_cpu() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    words(&["taskset", "-c", first_cpu(&status).unwrap_or("0")])
}

/// The first number of `Cpus_allowed_list: 2-3,7`.
fn first_cpu(status: &str) -> Option<&str> {
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
    let first = list.trim().split(['-', ',']).next()?;
    (!first.is_empty()).then_some(first)
}

pub(crate) fn on_other_kernel() -> Vec<String> {
    words(&["setarch", "--uname-2.6"])
}

pub(crate) fn at_fixed_addresses() -> Vec<String> {
    words(&["setarch", "--addr-no-randomize"])
}

/// Kernel version and number of processors that a build started by `before` sees; `None` for what
/// cannot be found out.
pub fn seen(before: &[String]) -> (Option<String>, Option<u32>) {
    let said = |question: &[&str]| -> Option<String> {
        let mut words = before
            .iter()
            .map(String::as_str)
            .chain(question.iter().copied());
        let output = Command::new(words.next()?).args(words).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
    };
    let ncpu = said(&["nproc"]).and_then(|text| text.parse().ok());
    (said(&["uname", "-r"]), ncpu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn profiles_have_names_of_their_own_and_only_plain_varies_nothing() {
        let names: BTreeSet<_> = PROFILES.iter().map(|profile| profile.name).collect();
        assert_eq!(names.len(), PROFILES.len());
        for row in PROFILES {
            let varies = !(row.before)().is_empty() || row.reversed || row.later;
            assert_eq!(varies, row.name != plain().name, "{}", row.name);
            assert!(profile(row.name).is_some_and(|found| found.title == row.title));
        }
        assert!(profile("none").is_none());
        assert_eq!(plain().name, crate::attest::PLAIN);
    }

    #[test]
    fn the_first_processor_is_one_that_may_be_used() {
        assert_eq!(first_cpu("Name: x\nCpus_allowed_list:\t2-3,7\n"), Some("2"));
        assert_eq!(first_cpu("Cpus_allowed_list:\t5\n"), Some("5"));
        assert_eq!(first_cpu(""), None);
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = installed(Path::new("/"), "hallmark-no-such-program").unwrap_err();
        assert_eq!(
            error.to_string(),
            "hallmark-no-such-program is not installed"
        );
    }
}

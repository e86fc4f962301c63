//! How mock calls rpmbuild, as a plan: what a build that mock made (see [`crate::mock_build`]) is replayed with.
//!
//! mock installs the source package and runs `rpmbuild -bb` on its spec file (`-ba` when the package asks for its
//! build requirements itself) in a login shell, where `.rpmmacros` of its build user holds all macros. Other bytes
//! than those of `--rebuild` come out: the packages carry another COOKIE, or none.

use crate::plan::{self, Plan, SourcePackage};
use crate::sandbox::{Extras, OUT_DIR};
use std::collections::BTreeMap;
use std::io::{BufRead, Read as _};

/// Modes that mock calls rpmbuild in, as a buildinfo has them.
static MODES: &[&str] = &["bb", "ba"];
/// In the same shell as mock's: installs the source package, then calls rpmbuild with the plan's options.
const SCRIPT: &str = r#"rpm -i --nodeps --nosignature "$0" && cd / && umask 0002 &&
exec /usr/bin/rpmbuild "$@" /builddir/build/SPECS/*.spec"#;
/// Macros that every build of ours in mock has. rpm before 4.20 reads one of the last two, later ones the other.
static MACROS: &[(&str, &str)] = &[
    ("_topdir", plan::BUILD_PATH),
    (
        "_rpmfilename",
        "%%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm",
    ),
    ("_buildhost", "reproducible"),
    ("source_date_epoch_from_changelog", "1"),
    ("use_source_date_epoch_as_buildtime", "1"),
    ("build_mtime_policy", "clamp_to_source_date_epoch"),
    ("clamp_mtime_to_source_date_epoch", "1"),
];
/// Macros that a configuration of mock's may set besides. They name things; none changes what is built from
/// what, so a builder cannot put anything into packages through them that the source package does not tell.
static NAMES: &[&str] = &[
    "_platform_multiplier",
    "bugurl",
    "dist",
    "distribution",
    "disttag",
    "packager",
    "vendor",
];

/// The macros, with their names as a configuration of mock's has them: `%_topdir`.
pub fn macros() -> impl Iterator<Item = (String, &'static str)> {
    MACROS
        .iter()
        .map(|(name, value)| (format!("%{name}"), *value))
}

/// The mode of this name, when it is one of mock's.
pub fn mode(name: &str) -> Option<&'static str> {
    MODES.iter().find(|mode| **mode == name).copied()
}

/// The first thing about mock's macro file that is not as it has to be.
pub fn objection(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let ours: Vec<String> = macros()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    if let Some(missing) = ours.iter().find(|line| !lines.contains(&line.as_str())) {
        return Some(format!("`{missing}` is missing"));
    }
    let fine = |line: &str| {
        line.is_empty() || ours.iter().any(|our| our == line) || is_name(line).unwrap_or_default()
    };
    lines.into_iter().find(|line| !fine(line)).map(|line| {
        format!(
            "`{}` is not known",
            line.chars().take(120).collect::<String>()
        )
    })
}

/// Whether a line sets one of [`NAMES`] to plain text, which nothing is expanded in.
fn is_name(line: &str) -> Option<bool> {
    let (name, value) = line.strip_prefix('%')?.split_once(' ')?;
    Some(NAMES.contains(&name) && !value.contains(['%', '\\']))
}

/// Whether rpmbuild may be told this target: a word of letters and digits.
pub fn is_target(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// The plan for `source`.
///
/// * `mode`: of [`mode`].
/// * `target`: as [`is_target`] wants it.
/// * `macros`: mock's macro file, whole, without an [`objection`].
pub fn plan(source: &SourcePackage, mode: &'static str, target: &str, macros: &str) -> Plan {
    let flag = format!("-{mode}");
    let words = [flag.as_str(), "--noclean", "--target", target, "--nodeps"];
    Plan {
        mode,
        macros: macros.to_owned(),
        argv: words.map(str::to_owned).to_vec(),
        extras: Extras::default(),
        ..Plan::new(source, "")
    }
}

/// The whole command of such a plan.
pub fn command(argv: &[String]) -> Vec<String> {
    let shell = ["/bin/bash", "--login", "-c", SCRIPT, plan::SRPM_INSIDE];
    let mut command: Vec<String> = shell.map(str::to_owned).to_vec();
    command.extend(argv.iter().cloned());
    command.extend(["--define".to_owned(), format!("_rpmdir {OUT_DIR}")]);
    command
}

/// What every line has with which mock tells that it runs something in a login shell.
const RUNS: &str = "Executing command: ['bash', '--login', '-c', '";
/// Of a line of build.log, what is looked at, bytes.
const MAX_LINE: u64 = 16 << 10;
/// Of all lines with [`RUNS`], what is kept, bytes.
const MAX_CALLS: usize = 256 << 10;

/// The lines of mock's build.log that [`call`] reads. The log may be as long as the build liked.
pub fn calls(mut log: impl BufRead) -> std::io::Result<String> {
    let mut kept = String::new();
    loop {
        let mut line = Vec::new();
        if log.by_ref().take(MAX_LINE).read_until(b'\n', &mut line)? == 0 {
            return Ok(kept);
        }
        let line = String::from_utf8_lossy(&line);
        if line.contains(RUNS) && kept.len() < MAX_CALLS {
            kept.push_str(line.trim_end());
            kept.push('\n');
        }
    }
}

/// What mock's build.log says of the call: its options and environment.
#[derive(Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// Of [`mode`].
    pub mode: &'static str,
    /// `x86_64`.
    pub target: &'a str,
}

/// Reads how mock called rpmbuild for the packages; why it is not replayed otherwise. The build prints into the same
/// log: where two lines tell of such a call and not the same, neither is believed.
///
/// * `env`: the environment that mock was told to use.
///
/// `Executing command: ['bash', '--login', '-c', '/usr/bin/rpmbuild -bb --noclean --target x86_64 --nodeps
/// /builddir/build/SPECS/hello.spec'] with env {'HOME': '/builddir', …} and shell False` (mock `util.py`).
pub fn call<'a>(build_log: &'a str, env: &BTreeMap<String, String>) -> Result<Call<'a>, String> {
    let starts = ["/usr/bin/rpmbuild -bb ", "/usr/bin/rpmbuild -ba "];
    let builds = |line: &&str| {
        let words = line.split_once(RUNS).map(|(_, rest)| rest);
        words.is_some_and(|words| starts.iter().any(|start| words.starts_with(start)))
    };
    let mut found = build_log
        .lines()
        .filter(builds)
        .map(|line| one_call(line, env));
    let first = found
        .next()
        .ok_or("mock's build.log names no call of rpmbuild that makes packages")??;
    match found.find(|other| other.as_ref() != Ok(&first)) {
        Some(_) => Err(
            "mock's build.log tells of two calls of rpmbuild: the build itself wrote one of them, \
                        or mock did not make the packages at once"
                .to_owned(),
        ),
        None => Ok(first),
    }
}

fn one_call<'a>(line: &'a str, env: &BTreeMap<String, String>) -> Result<Call<'a>, String> {
    let (words, rest) = line
        .split_once("'-c', '")
        .and_then(|(_, rest)| rest.split_once("'] with env "))
        .ok_or_else(|| format!("an unreadable call of rpmbuild: {line}"))?;
    let pairs: Vec<String> = env
        .iter()
        .map(|(name, value)| format!("'{name}': '{value}'"))
        .collect();
    let wanted = format!("{{{}}}", pairs.join(", "));
    if !rest.starts_with(&wanted) {
        return Err(format!(
            "mock used the environment {rest} instead of {wanted}"
        ));
    }
    let known: Vec<&str> = words
        .split_whitespace()
        // It had unpacked the sources before, to ask for build requirements; a replay unpacks them once.
        .filter(|word| !["--noprep", "--nodeps"].contains(word))
        .collect();
    match known.as_slice() {
        [
            "/usr/bin/rpmbuild",
            flag,
            "--noclean",
            "--target",
            target,
            spec,
        ] if spec.starts_with("/builddir/build/SPECS/") && is_target(target) => {
            let mode = flag.strip_prefix('-').and_then(mode);
            mode.map(|mode| Call { mode, target })
        }
        _ => None,
    }
    .ok_or_else(|| format!("mock called rpmbuild in a way that is not replayed: {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> String {
        macros()
            .map(|(name, value)| format!("{name} {value}\n"))
            .collect()
    }

    #[test]
    fn macros_that_shape_packages_are_ours_and_names_may_be_the_configurations() {
        assert_eq!(objection(&file()), None);
        let fine = format!(
            "{}%dist .fc42\n%vendor A & B\n%_platform_multiplier 1\n",
            file()
        );
        assert_eq!(objection(&fine), None);
        for bad in [
            "%__strip /bin/evil",
            "%vendor %(date)",
            "%dist %{lua:x}",
            "%_buildhost elsewhere",
            "vendor A",
            "%vendor A\\",
        ] {
            let found = objection(&format!("{}{bad}\n", file()));
            assert!(found.is_some_and(|why| why.contains(bad)), "{bad}");
        }
        let without = file().replace("%_buildhost reproducible\n", "");
        assert!(objection(&without).is_some_and(|why| why.contains("_buildhost")));
    }

    #[test]
    fn the_call_is_read_out_of_the_log_and_unknown_options_are_refused() {
        let env = BTreeMap::from([("HOME", "/builddir"), ("TZ", "UTC")])
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let line = |words: &str| {
            format!(
                "Executing command: ['bash', '--login', '-c', '/usr/bin/rpmbuild -bs --target noarch --nodeps x.spec'] with env {{}} and shell False\n\
                 Executing command: ['bash', '--login', '-c', '/usr/bin/rpmbuild {words} /builddir/build/SPECS/a.spec'] \
                 with env {{'HOME': '/builddir', 'TZ': 'UTC'}} and shell False\nsaid\n"
            )
        };
        let plain = line("-bb --noclean --target x86_64 --nodeps");
        let found = call(&plain, &env).unwrap();
        assert_eq!((found.mode, found.target), ("bb", "x86_64"));
        let dynamic = line("-ba --noprep --noclean --target x86_64 --nodeps");
        assert_eq!(call(&dynamic, &env).unwrap().mode, "ba");
        for words in [
            "-bb --noclean --target x86_64 --nodeps --without tests",
            "-bc --noclean --target x86_64",
            "-bb --noclean --target a;b --nodeps",
            "-bb --target x86_64 --nodeps",
        ] {
            assert!(call(&line(words), &env).is_err(), "{words}");
        }
        // The build prints what mock would.
        for (forged, believed) in [
            ("-bb --noclean --target x86_64 --nodeps", true),
            ("-bb --noclean --target i686 --nodeps", false),
            ("-ba --noclean --target x86_64 --nodeps", false),
            ("-bb --what", false),
        ] {
            for log in [plain.clone() + &line(forged), line(forged) + &plain] {
                assert_eq!(call(&log, &env).is_ok(), believed, "{log}");
            }
        }
        let other = BTreeMap::from([("HOME".to_owned(), "/root".to_owned())]);
        assert!(call(&plain, &other).is_err());
        assert!(call("", &env).is_err());
    }

    #[test]
    fn of_a_log_of_any_length_only_the_calls_are_kept() {
        let call = format!("{RUNS}/usr/bin/rpmbuild -bb x'] with env {{}}");
        let log = format!("{}\n{call}\nsaid\n", "x".repeat(100_000));
        assert_eq!(calls(log.as_bytes()).unwrap(), format!("{call}\n"));
        let flood = format!("{call}\n").repeat(100_000);
        assert!(calls(flood.as_bytes()).unwrap().len() < MAX_CALLS + 1_000);
        assert_eq!(calls(&b""[..]).unwrap(), "");
    }

    #[test]
    fn the_plan_is_mocks_call_with_the_same_names_and_times() {
        let source = SourcePackage {
            nevra: "a-1-1.src".parse().unwrap(),
            header: repo_model::HeaderDigest::of(b""),
            cookie: None,
            changelog_epoch: Some(5),
            build_time: 77,
        };
        let plan = plan(&source, "bb", "x86_64", &file());
        assert_eq!(plan.time, Plan::new(&source, "6.0").time);
        let command = plan.command();
        assert_eq!(command[..3], ["/bin/bash", "--login", "-c"]);
        assert_eq!(command[4..7], ["/builddir/in.src.rpm", "-bb", "--noclean"]);
    }
}

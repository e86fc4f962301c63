//! `--help` of every command there is.

use std::process::{Command, Output};

fn hallmark(args: &[&str]) -> Output {
    hallmark_at(args, 80)
}

/// On a terminal of so many columns.
fn hallmark_at(args: &[&str], columns: usize) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hallmark"))
        .args(args)
        .env("COLUMNS", columns.to_string())
        .output()
        .unwrap()
}

/// Names under `Commands:` in a help text.
fn subcommands(help: &str) -> Vec<String> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        // What is indented more goes on with the line above.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

fn help_of(path: &[String]) -> String {
    let mut args: Vec<&str> = path.iter().map(String::as_str).collect();
    args.push("--help");
    let output = hallmark(&args);
    assert!(output.status.success(), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// No line is longer than a terminal, none was cut by it, and no paragraph ends its lines before the terminal does.
fn fits(path: &[String], help: &str) {
    // clap never breaks a line of usage.
    let mut lines = help.lines().filter(|line| !line.starts_with("Usage:"));
    let long = lines.find(|line| line.chars().count() > 80);
    assert_eq!(long, None, "{path:?}");
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let wide = String::from_utf8(hallmark_at(&args, 1_000).stdout).unwrap();
    let examples = |help: &str| -> Vec<String> {
        let after = help.split_once("EXAMPLES:").map_or("", |(_, text)| text);
        let lines = after.lines().filter(|line| line.starts_with(' '));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(examples(help), examples(&wide), "{path:?}");
    let is_prose =
        |line: &str| line.starts_with(|c: char| c.is_alphabetic()) && !line.ends_with(':');
    let lines: Vec<&str> = wide.lines().collect();
    for pair in lines.windows(2) {
        assert!(
            !pair.iter().all(|line| is_prose(line)),
            "{path:?}: {pair:?}"
        );
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let mut open = vec![Vec::new()];
    let mut seen = Vec::new();
    while let Some(path) = open.pop() {
        let help = help_of(&path);
        let (before, examples) = help
            .split_once("EXAMPLES:")
            .unwrap_or_else(|| panic!("no EXAMPLES in {path:?}"));
        assert!(before.contains("Usage:"), "{path:?}");
        assert!(examples.contains("hallmark "), "{path:?}");
        fits(&path, &help);
        for name in subcommands(before) {
            open.push(path.iter().cloned().chain([name]).collect());
        }
        seen.push(path.join(" "));
    }
    for wanted in [
        "serve",
        "config check",
        "token create",
        "token list",
        "token revoke",
        "publish",
        "status",
        "retry",
        "channels",
        "releases",
        "promote",
        "rollback",
        "buildinfo",
        "sbom",
        "sbom who-ships",
        "sbom why",
        "sbom built-with",
        "sbom licences",
        "sbom licensed",
        "sbom file",
        "sbom diff",
        "sbom reindex",
        "sbom advisories",
        "vulnerabilities",
        "vex add",
        "vex list",
        "vex withdraw",
        "repofile",
        "evidence",
        "verify",
        "trust fetch",
        "client check",
        "client dnf5",
        "client fetch",
        "client package",
        "monitor",
        "witness init",
        "witness add-log",
        "witness serve",
        "createrepo",
        "modifyrepo",
        "mergerepo",
        "repo check",
        "mirror sync",
        "mirror verify",
        "mirrors add",
        "mirrors set",
        "export",
        "bundle create",
        "bundle apply",
    ] {
        assert!(
            seen.iter().any(|path| path == wanted),
            "{wanted} is not among {seen:?}"
        );
    }
}

#[test]
fn wrong_usage_is_exit_code_2_and_says_so_on_stderr() {
    for args in [
        &["publish"][..],
        &["nonsense"],
        &["rollback"],
        &["token", "create", "--name", "x"],
    ] {
        let output = hallmark(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            output.stdout.is_empty() && !output.stderr.is_empty(),
            "{args:?}"
        );
    }
}

//! Every option that createrepo_c's family knows has its line in the book, and is known here: it does
//! the same, or it is refused with a reason.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Every createrepo_c there is, from which its sisters are told.
fn references() -> Vec<PathBuf> {
    let cache = std::env::var_os("HALLMARK_CACHE")
        .map_or_else(|| PathBuf::from("/var/cache/hallmark"), PathBuf::from);
    let all = [
        PathBuf::from("/usr/bin/createrepo_c"),
        cache.join("venv-createrepo/bin/createrepo_c"),
    ];
    let (found, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|path| path.exists());
    for path in missing {
        eprintln!("SKIPPED: there is no {}", path.display());
    }
    assert!(
        !found.is_empty() || std::env::var_os("CI").is_none(),
        "CI is set but there is no createrepo_c"
    );
    found
}

/// The long options of a help text.
fn options(help: &str) -> Vec<String> {
    help.lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let long = line.strip_prefix("--").or_else(|| {
                let (_, rest) = line.strip_prefix('-')?.split_once(", --")?;
                Some(rest)
            })?;
            let end = long.find(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            Some(long[..end.unwrap_or(long.len())].to_owned())
        })
        .collect()
}

#[test]
fn every_option_of_createrepo_c_is_in_the_book_and_is_known() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/src/tools.md");
    let book = std::fs::read_to_string(book).unwrap();
    for reference in references() {
        for name in ["createrepo", "modifyrepo", "mergerepo"] {
            let program = reference.with_file_name(format!("{name}_c"));
            let output = Command::new(&program).arg("--help").output().unwrap();
            let found = options(&String::from_utf8_lossy(&output.stdout));
            assert!(found.len() > 10, "{}: {found:?}", program.display());
            for option in found {
                let option = format!("--{option}");
                let told =
                    ["--help", "--version"].contains(&option.as_str()) || book.contains(&option);
                assert!(told, "{name}: {option} is not in the book");
                // `--help-all` is told in the book and nowhere else.
                if option.starts_with("--help-") {
                    continue;
                }
                let output = Command::new(env!("CARGO_BIN_EXE_hallmark"))
                    .args([name, &option])
                    .output()
                    .unwrap();
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(
                    !error.contains("unexpected argument"),
                    "{name} {option}: {error}"
                );
            }
        }
    }
}

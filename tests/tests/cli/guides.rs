//! What the guides and the units have people type.

use super::{BINARIES, commands, run, stdout};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[test]
fn every_command_that_guides_and_units_show_exists_with_its_options() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = vec![top.join("README.md"), top.join("CONTRIBUTING.md")];
    for dir in ["docs/src", "docs/systemd"] {
        let entries = fs::read_dir(top.join(dir)).expect("it is there");
        files.extend(entries.map(|entry| entry.expect("it reads").path()));
    }
    let mut helps = Helps::default();
    let mut checked = 0;
    let mut wrong = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("it reads");
        let lines = match file.extension().is_some_and(|end| end == "service") {
            true => started(&text),
            false => shown(&text),
        };
        for words in lines.iter().flat_map(|line| typed(line)) {
            checked += 1;
            if let Err(why) = helps.check(&words) {
                wrong.push(format!("{}: {}: {why}", file.display(), words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(checked > 200, "only {checked} commands were found");
}

/// What a unit starts.
fn started(unit: &str) -> Vec<String> {
    let lines = unit
        .lines()
        .filter_map(|line| line.strip_prefix("ExecStart="));
    lines.map(str::to_owned).collect()
}

/// Lines of blocks that are to be typed, and what stands between backquotes.
fn shown(markdown: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, piece) in markdown.split("```").enumerate() {
        if number % 2 == 0 {
            let code = piece.split('`').skip(1).step_by(2);
            lines.extend(code.map(|code| code.replace('\n', " ")));
        } else if ["sh\n", "console\n"]
            .iter()
            .any(|kind| piece.starts_with(kind))
        {
            let whole = piece.replace("\\\n", " ");
            lines.extend(whole.lines().map(str::to_owned));
        }
    }
    lines
}

/// The calls of our programs in a line, without the shell around them: program, command, arguments.
fn typed(line: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for part in line.split(['|', ';', '&', '<', '>', '(', ')', '#']) {
        let words: Vec<&str> = part.split_whitespace().collect();
        for (at, word) in words.iter().enumerate() {
            let program = word.strip_prefix("/usr/bin/").unwrap_or(word);
            let Some(next) = words.get(at + 1) else {
                continue;
            };
            // The programs' names are users' names as well.
            let is_value = at > 0 && words[at - 1].starts_with('-');
            let begins = next.starts_with(|c: char| c.is_ascii_lowercase());
            if BINARIES.contains(&program) && begins && !is_value && !BINARIES.contains(next) {
                let call = [&[program][..], &words[at + 1..]].concat();
                found.push(call.into_iter().map(str::to_owned).collect());
            }
        }
    }
    found
}

/// Help texts that were asked for, by program and command.
#[derive(Default)]
struct Helps(BTreeMap<Vec<String>, String>);

impl Helps {
    fn of(&mut self, call: &[String]) -> &str {
        self.0.entry(call.to_owned()).or_insert_with(|| {
            let mut arguments: Vec<&str> = call[1..].iter().map(String::as_str).collect();
            arguments.push("--help");
            stdout(&run(&call[0], &arguments))
        })
    }

    /// Whether there is such a command with these options; if not, why.
    fn check(&mut self, words: &[String]) -> Result<(), String> {
        let mut length = 1;
        while let Some(word) = words.get(length)
            && commands(self.of(&words[..length])).contains(word)
        {
            length += 1;
        }
        let (call, rest) = words.split_at(length);
        let help = self.of(call);
        let is_name = |word: &String| {
            !word.starts_with('-') && word.chars().all(|c| c.is_ascii_lowercase() || c == '-')
        };
        let open = length == 1 || !commands(help).is_empty();
        if open && rest.first().is_some_and(is_name) {
            return Err(format!("`{}` has no such command", call.join(" ")));
        }
        for word in rest {
            let name = word.split('=').next().unwrap_or_default();
            let name = name.trim_end_matches(['.', ',', ':']);
            let is_long = name.starts_with("--") && name.len() > 2;
            let is_short = name.len() == 2 && name.starts_with('-') && name != "--";
            if (is_long || is_short) && !has_option(help, name) {
                return Err(format!("`{}` has no option {name}", call.join(" ")));
            }
        }
        Ok(())
    }
}

/// Whether a help text names an option, and not only a longer one that begins so, where it explains options: an example
/// may show one that is no more.
fn has_option(help: &str, name: &str) -> bool {
    let end = ["\nEXAMPLES:", "\nExamples:"]
        .iter()
        .filter_map(|title| help.find(title))
        .min();
    let help = &help[..end.unwrap_or(help.len())];
    help.match_indices(name).any(|(at, _)| {
        let after = help[at + name.len()..].chars().next();
        let before = help[..at].chars().next_back();
        let goes_on = |c: char| c.is_ascii_alphanumeric() || c == '-';
        !after.is_some_and(goes_on) && !before.is_some_and(goes_on)
    })
}

#[test]
fn calls_are_found_between_prompts_users_and_pipes() {
    let calls = |line: &str| -> Vec<String> {
        let found = typed(line);
        found.iter().map(|words| words.join(" ")).collect()
    };
    let line =
        "# setpriv --reuid hallmark --regid hallmark hallmark token create --name me | tee x";
    assert_eq!(calls(line), ["hallmark token create --name me"]);
    assert!(calls("# useradd --system --gid hallmark hallmark-signer").is_empty());
    assert!(calls("# systemctl restart hallmark; systemctl reload hallmark-signer").is_empty());
    assert_eq!(
        calls("/usr/bin/hallmark serve --config x && hallmark-signer root verify y"),
        ["hallmark serve --config x", "hallmark-signer root verify y"]
    );
    let mut helps = Helps::default();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    for (line, good) in [
        ("hallmark publish --wait out/", true),
        ("hallmark publish --wai out/", false),
        ("hallmark publish -q out/", false),
        ("hallmark publis out/", false),
        ("hallmark-signer root sing policy", false),
    ] {
        assert_eq!(helps.check(&words(line)).is_ok(), good, "{line}");
    }
}

//! Help texts that fit a terminal of 80 columns: paragraphs wrap where the terminal does, and what is in examples can be
//! copied from the terminal and runs.
//!
//! The texts after the options are written as the source has room for them; clap wraps at the terminal's width and
//! keeps their line ends, which would leave every second line half empty and cut commands in two.

use clap::Command;

/// Columns that every terminal has.
const COLUMNS: usize = 80;
/// What a command goes on with in the next line.
const GOES_ON: &str = " \\";

/// The same command, with its texts and those of all below it made to fit.
pub fn fitted(command: Command) -> Command {
    let after = command.get_after_help().map(|text| fit(&text.to_string()));
    let command = match after {
        Some(text) => command.after_help(text),
        None => command,
    };
    command.mut_subcommands(fitted)
}

/// A text of paragraphs, and of sections whose lines are indented: `EXAMPLES:` has comments and commands, others have
/// words with their meaning beside them.
fn fit(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let (mut is_paragraph, mut in_examples) = (false, false);
    let mut quote = None;
    for line in text.lines() {
        let in_quotes = quote.is_some();
        let is_indented = line.starts_with(' ');
        if in_examples && is_indented && !line.trim_start().starts_with('#') {
            quote = open_quote(line, quote);
        }
        let is_heading = line.ends_with(':') && line == line.to_uppercase();
        match out.last_mut() {
            // What is in quotes is data of the command.
            _ if in_quotes || quote.is_some() => out.push(line.to_owned()),
            Some(before) if is_paragraph && !line.is_empty() && !is_indented && !is_heading => {
                before.push(' ');
                before.push_str(line);
            }
            _ if is_heading => {
                in_examples = line == "EXAMPLES:";
                out.push(line.to_owned());
            }
            _ if !is_indented => out.push(line.to_owned()),
            _ if !in_examples => out.extend(beside(line)),
            _ => out.extend(example(line)),
        }
        is_paragraph = !line.is_empty() && !is_indented && !is_heading;
    }
    out.join("\n")
}

/// The quote that is open after a line.
fn open_quote(line: &str, before: Option<char>) -> Option<char> {
    line.chars().fold(before, |open, c| match open {
        None if c == '\'' || c == '"' => Some(c),
        Some(quote) if c == quote => None,
        open => open,
    })
}

/// A comment, or a command.
fn example(line: &str) -> Vec<String> {
    let text = line.trim_start();
    let indent = &line[..line.len() - text.len()];
    if let Some(comment) = text.strip_prefix("# ") {
        let start = format!("{indent}# ");
        return wrapped(comment.split(' '), &start, &start, "");
    }
    if width(line) <= COLUMNS {
        return vec![line.to_owned()];
    }
    let (command, goes_on) = match text.strip_suffix(GOES_ON) {
        Some(command) => (command, GOES_ON),
        None => (text, ""),
    };
    let deeper = format!("{indent}    ");
    let words = with_values(&words(command));
    let words = words.iter().map(String::as_str);
    let mut lines = wrapped(words, indent, &deeper, GOES_ON);
    if let Some(last) = lines.last_mut() {
        last.push_str(goes_on);
    }
    lines
}

/// The words of a command: what is in quotes is one with what touches it.
fn words(command: &str) -> Vec<&str> {
    let (mut words, mut start, mut quote) = (Vec::new(), 0, None);
    for (at, c) in command.char_indices() {
        if c == ' ' && quote.is_none() {
            words.push(&command[start..at]);
            start = at + 1;
        }
        quote = open_quote(&command[at..at + c.len_utf8()], quote);
    }
    words.push(&command[start..]);
    words
}

/// An option stays with what follows it, which is its value as a rule.
fn with_values(words: &[&str]) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut after_option = false;
    for word in words {
        let is_option = word.starts_with('-');
        match parts.last_mut() {
            Some(option) if after_option && !is_option => {
                option.push(' ');
                option.push_str(word);
            }
            _ => parts.push((*word).to_owned()),
        }
        after_option = is_option;
    }
    parts
}

/// A word and its meaning: more lines of that stand below its beginning.
fn beside(line: &str) -> Vec<String> {
    let text = line.trim_start();
    let indent = line.len() - text.len();
    let column = text.find("  ").map_or(indent, |end| {
        let gap = text[end..].len() - text[end..].trim_start().len();
        indent + end + gap
    });
    let next = " ".repeat(column);
    wrapped(line[column..].split(' '), &line[..column], &next, "")
}

/// Lines of words.
///
/// * `first`, `next`: how the first line and each other begins; `end`: how each but the last ends.
fn wrapped<'w>(
    words: impl Iterator<Item = &'w str>,
    first: &str,
    next: &str,
    end: &str,
) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_empty = true;
    for word in words {
        if !is_empty && width(&line) + 1 + width(word) + width(end) > COLUMNS {
            line.push_str(end);
            lines.push(std::mem::replace(&mut line, next.to_owned()));
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        line.push_str(word);
        is_empty = false;
    }
    lines.push(line);
    lines
}

fn width(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_one_line_each_and_sections_keep_theirs() {
        let text = "One line\nand its rest.\n\nAnother.\n\nEXAMPLES:\n  # Short\n  hallmark x\n\nEXIT CODES:\n  0  done\n  1  not";
        let fitted = "One line and its rest.\n\nAnother.\n\nEXAMPLES:\n  # Short\n  hallmark x\n\nEXIT CODES:\n  0  done\n  1  not";
        assert_eq!(fit(text), fitted);
        assert_eq!(fit(fitted), fitted);
    }

    #[test]
    fn long_commands_go_on_in_the_next_line_and_quotes_stay_whole() {
        let long = "x".repeat(30);
        let text = format!(
            "EXAMPLES:\n  # {long} {long} {long}\n  hallmark {long} --reason 'a b c {long}' --days 7 \\\n    -o {long} | {long} {long}"
        );
        let wanted = format!(
            "EXAMPLES:\n  # {long} {long}\n  # {long}\n  hallmark {long} \\\n      --reason 'a b c {long}' --days 7 \\\n    -o {long} | {long} \\\n        {long}"
        );
        assert_eq!(fit(&text), wanted);
    }

    #[test]
    fn data_in_quotes_over_lines_and_the_meaning_of_words_keep_their_places() {
        let data = format!(
            "EXAMPLES:\n  echo '{{\n   {}\n  }}' | hallmark x",
            "1, ".repeat(40)
        );
        assert_eq!(fit(&data), data);
        let meaning = "m ".repeat(50);
        let fitted = fit(&format!("ENVIRONMENT:\n  A, B   {}", meaning.trim_end()));
        let mut lines = fitted.lines().skip(1);
        assert!(lines.next().unwrap().starts_with("  A, B   m m"));
        assert!(lines.all(|line| line.starts_with("         m") && width(line) <= COLUMNS));
    }

    #[test]
    fn texts_of_commands_below_are_fitted_too() {
        let below = Command::new("below").after_help("a\nb");
        let fitted = fitted(Command::new("above").after_help("c\nd").subcommand(below));
        let after = |command: &Command| command.get_after_help().unwrap().to_string();
        assert_eq!(after(&fitted), "c d");
        assert_eq!(after(fitted.find_subcommand("below").unwrap()), "a b");
    }
}

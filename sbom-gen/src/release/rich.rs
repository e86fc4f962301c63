//! Rich dependencies, as texts: `(a and (b or c) if d >= 1 else e)`.
//! Grammar: rpm `docs/manual/boolean_dependencies.md`.

use repo_model::rpm::DependencyFlags;

/// Deepest nesting that is read.
const DEPTH: usize = 64;
/// Longest text that is read, bytes.
const TEXT_BYTES: usize = 64 << 10;

/// A requirement as a tree.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Rich<'a> {
    /// A capability with or without a range.
    Plain(&'a str, Option<(DependencyFlags, &'a str)>),
    And(Vec<Rich<'a>>),
    Or(Vec<Rich<'a>>),
    /// All by one and the same package.
    With(Vec<Rich<'a>>),
    /// The first by a package that does not meet the second.
    Without(Box<Rich<'a>>, Box<Rich<'a>>),
    /// The first when the second is there; else the third.
    If(Box<Rich<'a>>, Box<Rich<'a>>, Option<Box<Rich<'a>>>),
    /// The first when the second is not there; else the third.
    Unless(Box<Rich<'a>>, Box<Rich<'a>>, Option<Box<Rich<'a>>>),
}

/// Reads a rich dependency; `None` when it is none.
pub(super) fn read(text: &str) -> Option<Rich<'_>> {
    if text.len() > TEXT_BYTES {
        return None;
    }
    let mut words = Words(text);
    let tree = words.group(DEPTH)?;
    words.0.trim().is_empty().then_some(tree)
}

/// What is left of the text.
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    /// `( … )`
    fn group(&mut self, depth: usize) -> Option<Rich<'a>> {
        let depth = depth.checked_sub(1)?;
        self.0 = self.0.trim_start().strip_prefix('(')?;
        let first = self.operand(depth)?;
        let tree = match self.word()? {
            ")" => return Some(first),
            operator @ ("and" | "or" | "with") => {
                let mut all = vec![first, self.operand(depth)?];
                loop {
                    match self.word()? {
                        ")" => break,
                        word if word == operator => all.push(self.operand(depth)?),
                        _ => return None,
                    }
                }
                return Some(match operator {
                    "and" => Rich::And(all),
                    "or" => Rich::Or(all),
                    _ => Rich::With(all),
                });
            }
            "without" => Rich::Without(Box::new(first), Box::new(self.operand(depth)?)),
            operator @ ("if" | "unless") => {
                let (first, condition) = (Box::new(first), Box::new(self.operand(depth)?));
                let mut otherwise = None;
                let rest = self.0;
                if self.word()? == "else" {
                    otherwise = Some(Box::new(self.operand(depth)?));
                } else {
                    self.0 = rest;
                }
                match operator {
                    "if" => Rich::If(first, condition, otherwise),
                    _ => Rich::Unless(first, condition, otherwise),
                }
            }
            _ => return None,
        };
        (self.word()? == ")").then_some(tree)
    }

    fn operand(&mut self, depth: usize) -> Option<Rich<'a>> {
        if self.0.trim_start().starts_with('(') {
            return self.group(depth);
        }
        let name = self.word().filter(|name| *name != ")")?;
        let rest = self.0;
        let flags = match self.word()? {
            "<" => DependencyFlags::Lt,
            ">" => DependencyFlags::Gt,
            "=" => DependencyFlags::Eq,
            "<=" => DependencyFlags::Le,
            ">=" => DependencyFlags::Ge,
            _ => {
                self.0 = rest;
                return Some(Rich::Plain(name, None));
            }
        };
        let version = self.word().filter(|version| *version != ")")?;
        Some(Rich::Plain(name, Some((flags, version))))
    }

    /// The next word, or `)`. Parentheses within a word, as in `libc.so.6()(64bit)`, belong to it.
    fn word(&mut self) -> Option<&'a str> {
        self.0 = self.0.trim_start();
        let mut open = 0_usize;
        let mut end = self.0.len();
        for (at, c) in self.0.char_indices() {
            match c {
                '(' => open += 1,
                ')' if open == 0 => {
                    end = at.max(1);
                    break;
                }
                ')' => open -= 1,
                c if c.is_whitespace() && open == 0 => {
                    end = at;
                    break;
                }
                _ => {}
            }
        }
        let (word, rest) = self.0.split_at_checked(end)?;
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(name: &str) -> Rich<'_> {
        Rich::Plain(name, None)
    }

    #[test]
    fn every_operator_is_read() {
        let boxed = |name| Box::new(plain(name));
        let table = [
            (
                "(a and b and c)",
                Rich::And(vec![plain("a"), plain("b"), plain("c")]),
            ),
            (
                "(a or (b with c))",
                Rich::Or(vec![plain("a"), Rich::With(vec![plain("b"), plain("c")])]),
            ),
            ("(a if b)", Rich::If(boxed("a"), boxed("b"), None)),
            (
                "(a if b else c)",
                Rich::If(boxed("a"), boxed("b"), Some(boxed("c"))),
            ),
            (
                "(a unless b else c)",
                Rich::Unless(boxed("a"), boxed("b"), Some(boxed("c"))),
            ),
            ("(a without b)", Rich::Without(boxed("a"), boxed("b"))),
            ("((a))", plain("a")),
            (
                "(libc.so.6(GLIBC_2.34)(64bit) >= 1:2-3 or pkgconfig(x))",
                Rich::Or(vec![
                    Rich::Plain(
                        "libc.so.6(GLIBC_2.34)(64bit)",
                        Some((DependencyFlags::Ge, "1:2-3")),
                    ),
                    plain("pkgconfig(x)"),
                ]),
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(read(text), Some(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_rich_dependency_is_refused() {
        for text in [
            "",
            "(",
            "()",
            "(a",
            "(a and)",
            "(a and b or c)",
            "(a b)",
            "(a) b",
            "(a >=)",
            "(a if b else)",
            ")",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let deep = "(".repeat(100_000) + "a" + &")".repeat(100_000);
        assert_eq!(read(&deep), None);
        let deep = "(".repeat(1_000) + "a" + &")".repeat(1_000);
        assert_eq!(read(&deep), None);
    }
}

//! Patterns for names, as shells have them.

/// Whether a pattern of `*` (any text) and `?` (one character) matches the whole text.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut from) = (0, 0);
    // After a `*`: where the pattern goes on, and how much of the text it has taken.
    let mut star: Option<(usize, usize)> = None;
    while from < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, from));
                at += 1;
            }
            Some('?') => (at, from) = (at + 1, from + 1),
            Some(c) if *c == text[from] => (at, from) = (at + 1, from + 1),
            _ => match star {
                Some((after, taken)) => {
                    star = Some((after, taken + 1));
                    (at, from) = (after, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_in_the_shell_across_slashes() {
        for (pattern, text, wanted) in [
            ("*.src.rpm", "a/b-1.src.rpm", true),
            ("*.src.rpm", "b-1.noarch.rpm", false),
            ("a*b*c", "aXbYbZc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("*", "", true),
            ("abc", "abcd", false),
            ("*debuginfo*", "x-debuginfo-1.rpm", true),
        ] {
            assert_eq!(matches(pattern, text), wanted, "{pattern} {text}");
        }
    }
}

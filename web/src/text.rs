//! How values look to people: times, sizes, counts, stages, verdicts, and the small chips that
//! carry them.

use crate::pages::Agreement;
use repo_model::Timestamp;
use repo_model::stage::Stage;
use repo_model::verdict::Verdict;
use repo_model::wire::status::BuildStatus;

/// A time for a `<time>` element.
pub(crate) struct When {
    /// `2026-11-20T10:06:00Z`.
    pub rfc3339: String,
    /// `2026-11-20 10:06 UTC`.
    pub shown: String,
}

impl From<Timestamp> for When {
    fn from(at: Timestamp) -> Self {
        let rfc3339 = at.to_string();
        let shown = match (rfc3339.get(..10), rfc3339.get(11..16)) {
            (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
            _ => rfc3339.clone(),
        };
        Self { rfc3339, shown }
    }
}

/// `1.4 MiB`; exact below 1 KiB.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut unit_bytes: u64 = 1024;
    // 1023.95 KiB would be shown as 1024.0 KiB: go on to the next unit a little early.
    while unit + 1 < UNITS.len()
        && u128::from(bytes) * 20 >= u128::from(unit_bytes) * 1024 * 20 - u128::from(unit_bytes)
    {
        unit += 1;
        unit_bytes *= 1024;
    }
    let tenths = (u128::from(bytes) * 10 + u128::from(unit_bytes) / 2) / u128::from(unit_bytes);
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// `20,431`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1 package`, `20,431 packages`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `51 to 100`: what a page of a list shows behind the first `offset`.
pub(crate) fn span(offset: u64, shown: u64) -> String {
    format!(
        "{} to {}",
        count(offset.saturating_add(1)),
        count(offset.saturating_add(shown))
    )
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn listed<T: AsRef<str>>(names: &[T]) -> String {
    match names {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [most @ .., last] => {
            let most: Vec<_> = most.iter().map(AsRef::as_ref).collect();
            format!("{} and {}", most.join(", "), last.as_ref())
        }
    }
}

/// A word for a POSIX shell: as it is when harmless, else in single quotes.
pub(crate) fn shell_word(text: &str) -> String {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-_./+:~^%@=".contains(&b);
    if !text.is_empty() && !text.starts_with(['-', '~', '=']) && text.bytes().all(harmless) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The mood of a chip; each has a colour and a sign of its own, and always stands beside words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tone {
    Good,
    Busy,
    Idle,
    Warn,
    Bad,
}

impl Tone {
    /// Class name.
    pub fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Idle => "idle",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    /// Stroke of the sign in a 16 x 16 box.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Good => "M3.5 8.6l3 3 6-7.2",
            Self::Busy => "M8 2.2a5.8 5.8 0 1 0 .01 0M8 5v3.2l2.3 1.4",
            Self::Idle => "M4 8h8",
            Self::Warn => "M6 4v8M10 4v8",
            Self::Bad => "M4.5 4.5l7 7M11.5 4.5l-7 7",
        }
    }
}

/// A small coloured label.
pub(crate) struct Chip {
    pub tone: Tone,
    pub words: String,
}

/// The stage as a chip.
pub(crate) fn stage_chip(stage: &Stage) -> Chip {
    Chip {
        tone: stage_tone(stage.name()),
        words: stage.name().to_owned(),
    }
}

/// The tone of a stage by its name.
pub(crate) fn stage_tone(name: &str) -> Tone {
    match name {
        "published" | "signed" => Tone::Good,
        "approved" | "received" => Tone::Busy,
        "held" => Tone::Warn,
        "rejected" => Tone::Bad,
        _ => Tone::Idle,
    }
}

/// The verdict as a chip.
pub(crate) fn verdict_chip(verdict: Verdict) -> Chip {
    let tone = match verdict {
        Verdict::Identical | Verdict::IdenticalUnsigned => Tone::Good,
        Verdict::SameContent | Verdict::SameFiles => Tone::Warn,
        Verdict::Differs | Verdict::SetDiffers | Verdict::BuildFailed => Tone::Bad,
        Verdict::InfraFailed => Tone::Idle,
    };
    Chip {
        tone,
        words: verdict.to_string(),
    }
}

/// What the verdict means, as a sentence.
pub(crate) fn verdict_sentence(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Identical => "The rebuilt files are the uploaded ones, byte for byte.",
        Verdict::IdenticalUnsigned => {
            "Header and payload are the uploaded ones, byte for byte; only signatures differ."
        }
        Verdict::SameContent => {
            "The files inside are the same, byte for byte; the package header or the compression differs."
        }
        Verdict::SameFiles => {
            "Contents, modes and links of all files are the same; other data of the package differ."
        }
        Verdict::Differs => "The files inside differ.",
        Verdict::SetDiffers => "The rebuild made other packages than the build did.",
        Verdict::BuildFailed => "The build itself failed.",
        Verdict::InfraFailed => {
            "The rebuilder could not try it (fetching, memory or time); it will be tried again."
        }
    }
}

/// How many of a build's rebuilders confirmed it bit for bit, and how many did not.
pub(crate) fn agreement(build: &BuildStatus) -> Agreement {
    let count = |wanted: fn(Verdict) -> bool| {
        let verdicts = build.rebuilds.iter().filter_map(|rebuild| rebuild.verdict);
        verdicts.filter(|verdict| wanted(*verdict)).count() as u64
    };
    Agreement {
        rebuilders: build.rebuilds.len() as u64,
        confirmed: count(Verdict::confirms),
        objecting: count(|verdict| !verdict.confirms() && verdict != Verdict::InfraFailed),
    }
}

/// `cyclonedx-1.6` as people write it.
pub(crate) fn format_name(code: &str) -> String {
    match code.split_once('-') {
        Some(("cyclonedx", version)) => format!("CycloneDX {version}"),
        Some(("spdx", version)) => format!("SPDX {version}"),
        _ => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_decimal_and_never_show_1024_of_a_unit() {
        for (bytes, want) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"),
            (1_048_576, "1.0 MiB"),
            (73_400_320, "70.0 MiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(size(bytes), want, "{bytes}");
        }
    }

    #[test]
    fn counts_and_lists_read_like_prose() {
        assert_eq!(counted(1, "package", "packages"), "1 package");
        assert_eq!(counted(20_431, "package", "packages"), "20,431 packages");
        assert_eq!(count(999), "999");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
        assert_eq!(listed(&["a", "b"]), "a and b");
    }

    #[test]
    fn a_name_in_a_command_cannot_become_a_command() {
        assert_eq!(
            shell_word("libstdc++-1:1.0~rc1-1.x86_64"),
            "libstdc++-1:1.0~rc1-1.x86_64"
        );
        assert_eq!(shell_word("a; rm -rf ~"), "'a; rm -rf ~'");
        assert_eq!(shell_word("it's"), r"'it'\''s'");
        assert_eq!(shell_word("-y"), "'-y'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn times_are_shown_to_the_minute_in_utc() {
        let when = When::from(Timestamp::from_unix_secs(1_763_600_000));
        assert_eq!(when.shown, "2025-11-20 00:53 UTC");
        assert_eq!(when.rfc3339, "2025-11-20T00:53:20Z");
    }
}

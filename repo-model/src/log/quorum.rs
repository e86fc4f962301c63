//! C2SP `tlog-policy`: which witnesses there are, and how many of them must have seen a head.
//!
//! ```text
//! witness first  w1.example+6a0d1f4c+BHv…  https://w1.example
//! witness second w2.example+11fe02bb+BPq…  https://w2.example
//! witness third  w3.example+8c41a7de+BKs…
//! group two-of-three 2 first second third
//! quorum two-of-three
//! ```

use super::{Note, SignatureKind, VerifierKey};
use crate::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Most logs, witnesses and groups each.
const MAX_LINES: usize = 100;
/// Longest text, bytes.
const MAX_BYTES: usize = 1 << 20;

/// Why a text is no witness policy. Its author's to mend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the witness policy: {why}")]
pub struct WitnessPolicyError {
    /// Counted from 1; 0: the text as a whole.
    pub line: usize,
    /// What is wrong.
    pub why: String,
}

/// One witness.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its name in the policy, which is not its key's.
    pub name: String,
    /// Its key: of the kind [`SignatureKind::Cosignature`] or [`SignatureKind::MlDsa44`].
    pub key: VerifierKey,
    /// Where a log asks it (`…/add-checkpoint`), without the final slash.
    pub url: Option<String>,
}

/// Who must agree: a witness or a group by its place in the lists; nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Member {
    Nobody,
    Witness(usize),
    Group(usize),
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    name: String,
    threshold: usize,
    members: Vec<Member>,
}

/// A witness policy, read. Its `Display` is the text that it was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WitnessPolicy {
    text: String,
    logs: Vec<VerifierKey>,
    witnesses: Vec<Witness>,
    groups: Vec<Group>,
    quorum: Member,
}

/// What a witness said about a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen<'a> {
    /// Who.
    pub witness: &'a Witness,
    /// When: it had seen no larger head of the log by then.
    pub at: Timestamp,
}

/// Too few witnesses have seen a head.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} of {listed} witnesses cosigned it ({}), which is no quorum", seen.len(), names(seen))]
pub struct NoQuorum {
    /// Names of those that have.
    pub seen: Vec<String>,
    /// How many there are.
    pub listed: usize,
}

fn names(seen: &[String]) -> String {
    match seen {
        [] => "none".to_owned(),
        seen => seen.join(", "),
    }
}

impl WitnessPolicy {
    /// The logs that the policy accepts; none: whatever is known otherwise.
    pub fn logs(&self) -> &[VerifierKey] {
        &self.logs
    }

    /// Every witness, in the order of the lines.
    pub fn witnesses(&self) -> &[Witness] {
        &self.witnesses
    }

    /// Whether the quorum needs somebody.
    pub fn demands_some(&self) -> bool {
        self.quorum != Member::Nobody
    }

    /// The witnesses that cosigned a head by `now`, in the order of the lines. A line that does not verify
    /// counts for nothing.
    pub fn seen<'a>(&'a self, head: &Note, now: Timestamp) -> Vec<Seen<'a>> {
        let of = |witness: &'a Witness| {
            let at = head.verified_by(&witness.key).ok()??;
            (!at.is_to_come(now)).then_some(Seen { witness, at })
        };
        self.witnesses.iter().filter_map(of).collect()
    }

    /// Whether these witnesses are enough.
    pub fn is_quorum(&self, seen: &[Seen<'_>]) -> bool {
        self.is_met(self.quorum, seen)
    }

    /// Those that cosigned a head, when they are enough.
    pub fn quorum<'a>(&'a self, head: &Note, now: Timestamp) -> Result<Vec<Seen<'a>>, NoQuorum> {
        let seen = self.seen(head, now);
        match self.is_quorum(&seen) {
            true => Ok(seen),
            false => Err(NoQuorum {
                seen: seen.iter().map(|one| one.witness.name.clone()).collect(),
                listed: self.witnesses.len(),
            }),
        }
    }

    /// The latest time by which a quorum said that it had seen no larger head; none when no quorum did, or
    /// none is asked for.
    pub fn fresh_at(&self, head: &Note, now: Timestamp) -> Option<Timestamp> {
        let mut seen = self.seen(head, now);
        seen.sort_by_key(|one| std::cmp::Reverse(one.at));
        let enough = (1..=seen.len()).find(|count| self.is_quorum(&seen[..*count]))?;
        self.demands_some().then(|| seen[enough - 1].at)
    }

    fn is_met(&self, member: Member, seen: &[Seen<'_>]) -> bool {
        match member {
            Member::Nobody => true,
            Member::Witness(index) => self
                .witnesses
                .get(index)
                .is_some_and(|witness| seen.iter().any(|one| one.witness.name == witness.name)),
            // Groups name only what stands before them, so this ends.
            Member::Group(index) => self.groups.get(index).is_some_and(|group| {
                let met = group.members.iter().filter(|one| self.is_met(**one, seen));
                met.count() >= group.threshold
            }),
        }
    }

    fn named(&self, name: &str) -> Option<Member> {
        let witness = self.witnesses.iter().position(|one| one.name == name);
        let group = || self.groups.iter().position(|one| one.name == name);
        witness
            .map(Member::Witness)
            .or_else(|| group().map(Member::Group))
    }

    fn add_log(&mut self, words: &[&str]) -> Result<(), String> {
        let ([key] | [key, _]) = words else {
            return Err("want `log VKEY [URL]`".to_owned());
        };
        let key: VerifierKey = key.parse().map_err(|error| format!("{error}"))?;
        if key.kind() == SignatureKind::Cosignature {
            return Err(format!("the key of log {} is a witness's", key.name()));
        }
        let same = |other: &VerifierKey| other.as_bytes() == key.as_bytes();
        if self.logs.iter().any(same) {
            return Err(format!("the key of log {} is there twice", key.name()));
        }
        self.logs.push(key);
        fits(&self.logs, "logs")
    }

    fn add_witness(&mut self, words: &[&str]) -> Result<(), String> {
        let (name, key, url) = match words {
            [name, key] => (name, key, None),
            [name, key, url] => (name, key, Some(*url)),
            _ => return Err("want `witness NAME VKEY [URL]`".to_owned()),
        };
        self.is_free(name)?;
        let key: VerifierKey = key.parse().map_err(|error| format!("{error}"))?;
        if key.kind() == SignatureKind::Log {
            return Err(format!("the key of witness {name} is a log's"));
        }
        let same = |other: &Witness| other.key.as_bytes() == key.as_bytes();
        if let Some(other) = self.witnesses.iter().find(|other| same(other)) {
            return Err(format!("{} and {name} have the same key", other.name));
        }
        let web = |url: &&str| url.starts_with("https://") || url.starts_with("http://");
        if let Some(url) = url.filter(|url| !web(url)) {
            return Err(format!("`{url}` is no URL"));
        }
        self.witnesses.push(Witness {
            name: (*name).to_owned(),
            key,
            url: url.map(|url| url.trim_end_matches('/').to_owned()),
        });
        fits(&self.witnesses, "witnesses")?;
        match Note::has_room_for(self.witnesses.iter().map(|witness| &witness.key)) {
            true => Ok(()),
            false => Err(format!(
                "a head of the log has no room for the cosignatures of all {} witnesses down to {name}",
                self.witnesses.len()
            )),
        }
    }

    fn add_group(&mut self, words: &[&str], used: &mut BTreeSet<Member>) -> Result<(), String> {
        let [name, threshold, listed @ ..] = words else {
            return Err("want `group NAME all|any|K MEMBER...`".to_owned());
        };
        self.is_free(name)?;
        let mut members = Vec::with_capacity(listed.len());
        for member in listed {
            let found = self
                .named(member)
                .ok_or_else(|| format!("no line before this one defines {member}"))?;
            if !used.insert(found) {
                return Err(format!("{member} is a member already"));
            }
            members.push(found);
        }
        let threshold = match *threshold {
            "all" => members.len(),
            "any" => 1,
            number => number
                .parse()
                .map_err(|_| format!("`{number}` is neither all, any nor a number"))?,
        };
        if threshold == 0 || threshold > members.len() {
            let count = members.len();
            return Err(format!("{threshold} of {count} members cannot be"));
        }
        self.groups.push(Group {
            name: (*name).to_owned(),
            threshold,
            members,
        });
        fits(&self.groups, "groups")
    }

    fn set_quorum(&mut self, name: &str) -> Result<(), String> {
        self.quorum = match name {
            "none" => Member::Nobody,
            name => self
                .named(name)
                .ok_or_else(|| format!("no line before this one defines {name}"))?,
        };
        Ok(())
    }

    fn is_free(&self, name: &str) -> Result<(), String> {
        match name == "none" || self.named(name).is_some() {
            true => Err(format!("the name {name} is taken")),
            false => Ok(()),
        }
    }
}

fn fits<T>(list: &[T], what: &str) -> Result<(), String> {
    match list.len() > MAX_LINES {
        true => Err(format!("more than {MAX_LINES} {what}")),
        false => Ok(()),
    }
}

impl FromStr for WitnessPolicy {
    type Err = WitnessPolicyError;

    fn from_str(text: &str) -> Result<Self, WitnessPolicyError> {
        let whole = |why: &str| WitnessPolicyError {
            line: 0,
            why: why.to_owned(),
        };
        if text.len() > MAX_BYTES {
            return Err(whole("it is longer than 1 MiB"));
        }
        let mut policy = Self {
            text: text.to_owned(),
            logs: Vec::new(),
            witnesses: Vec::new(),
            groups: Vec::new(),
            quorum: Member::Nobody,
        };
        let (mut used, mut quorums) = (BTreeSet::new(), 0);
        for (index, line) in text.split('\n').enumerate() {
            let fail = |why: String| WitnessPolicyError {
                line: index + 1,
                why,
            };
            if line.bytes().any(|b| (b < b' ' && b != b'\t') || b == 0x7f) {
                return Err(fail("it has a control character".to_owned()));
            }
            let words: Vec<&str> = line.split([' ', '\t']).filter(|w| !w.is_empty()).collect();
            let read = match words.as_slice() {
                [] => Ok(()),
                [first, ..] if first.starts_with('#') => Ok(()),
                ["log", rest @ ..] => policy.add_log(rest),
                ["witness", rest @ ..] => policy.add_witness(rest),
                ["group", rest @ ..] => policy.add_group(rest, &mut used),
                ["quorum", name] => {
                    quorums += 1;
                    policy.set_quorum(name)
                }
                [first, ..] => Err(format!("`{first}` begins no line of such a policy")),
            };
            read.map_err(fail)?;
        }
        match quorums {
            1 => Ok(policy),
            0 => Err(whole("it has no quorum line")),
            _ => Err(whole("it has more than one quorum line")),
        }
    }
}

impl fmt::Display for WitnessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Serialize for WitnessPolicy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for WitnessPolicy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testkit::signed;
    use super::super::{LogKey, empty_root};
    use super::*;

    fn witness(seed: u8) -> LogKey {
        let kind = match seed % 2 {
            0 => SignatureKind::MlDsa44,
            _ => SignatureKind::Cosignature,
        };
        LogKey::from_seed(&format!("w{seed}.example"), kind, &[seed; 32]).unwrap()
    }

    fn log() -> LogKey {
        LogKey::from_seed("log.example", SignatureKind::Log, &[99; 32]).unwrap()
    }

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_unix_secs(1_700_000_000 + secs)
    }

    /// Two groups: two of 1, 2 and 3; and one of 4 and 5.
    fn text() -> String {
        let mut text = format!("# who watches\nlog {}\n\n", log().public());
        for seed in 1..=5 {
            let key = witness(seed).public();
            text.push_str(&format!(
                "\twitness X{seed}  {key} https://w{seed}.example/ \n"
            ));
        }
        text + "group A 2 X1 X2 X3\ngroup B any X4 X5\ngroup both all A B\nquorum both\n"
    }

    fn head(witnesses: &[(u8, i64)]) -> Note {
        let mut note = signed(&log(), 0, empty_root());
        for (seed, secs) in witnesses {
            let line = witness(*seed).sign(&note.text, at(*secs)).unwrap();
            note.signatures.push(line);
        }
        note
    }

    #[test]
    fn a_quorum_is_of_the_groups_that_the_policy_names() {
        let policy: WitnessPolicy = text().parse().unwrap();
        assert_eq!(policy.to_string(), text());
        assert_eq!(
            policy.witnesses()[0].url.as_deref(),
            Some("https://w1.example")
        );
        assert_eq!(policy.logs(), [log().public()]);
        for (who, enough) in [
            (&[1, 2, 4][..], true),
            (&[5, 3, 1], true),
            (&[1, 2, 3, 4, 5], true),
            (&[1, 2, 3], false),
            (&[1, 4, 5], false),
            // One witness twice is one witness.
            (&[1, 1, 4], false),
            (&[], false),
        ] {
            let note = head(&who.iter().map(|seed| (*seed, 0)).collect::<Vec<_>>());
            let found = policy.quorum(&note, at(0));
            assert_eq!(found.is_ok(), enough, "{who:?}: {found:?}");
        }
        let none = policy.quorum(&head(&[(4, 0)]), at(0)).unwrap_err();
        let words = "1 of 5 witnesses cosigned it (X4), which is no quorum";
        assert_eq!(none.to_string(), words);
        // Of another head, of the future, or damaged: it counts for nothing.
        let mut other = head(&[(1, 0), (2, 0), (4, 0)]);
        assert!(policy.quorum(&other, at(-601)).is_err());
        assert!(policy.quorum(&other, at(-599)).is_ok());
        other.text = other.text.replace("log.example", "log.other");
        assert!(policy.seen(&other, at(0)).is_empty());
    }

    #[test]
    fn a_policy_names_no_more_witnesses_than_a_head_has_room_for() {
        let of_kind = |kind, count: u8| -> (String, Note) {
            let (mut text, mut note) = (String::new(), signed(&log(), 7, empty_root()));
            for seed in 0..count {
                let name = format!("w{seed}.example");
                let key = LogKey::from_seed(&name, kind, &[seed; 32]).unwrap();
                text.push_str(&format!("witness w{seed} {}\n", key.public()));
                note.signatures.push(key.sign(&note.text, at(0)).unwrap());
            }
            (text + "quorum w0\n", note)
        };
        for (kind, most) in [
            (SignatureKind::MlDsa44, 18),
            (SignatureKind::Cosignature, 98),
        ] {
            let (text, note) = of_kind(kind, most);
            let policy: WitnessPolicy = text.parse().unwrap();
            let read = Note::parse(note.to_string().as_bytes()).unwrap();
            assert!(note.fits());
            assert_eq!(policy.seen(&read, at(0)).len(), usize::from(most));

            let (text, _) = of_kind(kind, most + 1);
            let error = text.parse::<WitnessPolicy>().unwrap_err();
            assert_eq!(error.line, usize::from(most) + 1, "{error}");
            let (_, note) = of_kind(kind, most + 3);
            assert!(!note.fits(), "{kind:?}");
            assert!(Note::parse(note.to_string().as_bytes()).is_err());
        }
    }

    #[test]
    fn freshness_is_what_a_quorum_says() {
        let policy: WitnessPolicy = text().parse().unwrap();
        let note = head(&[(1, 10), (2, 30), (3, 20), (4, 5), (5, 40)]);
        assert_eq!(policy.fresh_at(&note, at(100)), Some(at(20)));
        assert_eq!(policy.fresh_at(&head(&[(1, 10)]), at(100)), None);
        let nobody: WitnessPolicy = "quorum none\n".parse().unwrap();
        assert_eq!(nobody.fresh_at(&note, at(100)), None);
        assert!(nobody.quorum(&head(&[]), at(0)).is_ok());
        assert!(!nobody.demands_some() && policy.demands_some());
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_its_line() {
        let (key, other) = (witness(1).public(), witness(3).public());
        for (bad, line) in [
            (String::new(), 0),
            ("quorum none\nquorum none\n".to_owned(), 0),
            ("quorum x\n".to_owned(), 1),
            ("quorum\n".to_owned(), 1),
            (format!("witness none {key}\nquorum none"), 1),
            (format!("witness a {key}\nwitness b {key}\nquorum a"), 2),
            (format!("witness a {key}\nwitness a {other}\nquorum a"), 2),
            (format!("witness a {key} ftp://x\nquorum a"), 1),
            (format!("witness a {}\nquorum a", log().public()), 1),
            (format!("log {key}\nquorum none"), 1),
            (format!("witness a {key}\ngroup g 2 a\nquorum g"), 2),
            (format!("witness a {key}\ngroup g 0 a\nquorum g"), 2),
            (format!("witness a {key}\ngroup g any\nquorum g"), 2),
            (format!("witness a {key}\ngroup g 1 a a\nquorum g"), 2),
            (
                format!("witness a {key}\ngroup g 1 a\ngroup h 1 a\nquorum g"),
                3,
            ),
            (format!("group g 1 a\nwitness a {key}\nquorum g"), 1),
            ("group g 1 g\nquorum g".to_owned(), 1),
            ("sharks 1\nquorum none".to_owned(), 1),
            ("quorum none\r\n".to_owned(), 1),
        ] {
            let error = bad.parse::<WitnessPolicy>().unwrap_err();
            assert_eq!(error.line, line, "{bad:?}: {error}");
        }
        let many: String = (0..200).map(|n| format!("group g{n} any\n")).collect();
        assert!(many.parse::<WitnessPolicy>().is_err());
    }
}

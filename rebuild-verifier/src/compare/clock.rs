//! Finding dates and times in text: epoch numbers, ISO 8601, `date`'s and the C compiler's forms.

use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// Seconds of a day.
const DAY: i64 = 86_400;
/// Clock readings before 2000-01-01 and after 2100-01-01 are taken for other numbers.
const PLAUSIBLE: std::ops::Range<i64> = 946_684_800..4_102_444_800;
/// A reading in local time may be this far from UTC.
const ZONE: i64 = 15 * 3_600;
/// Most readings looked for in one piece of text.
const MAX_SIGHTINGS: usize = 64;

/// How exact a reading is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// Date and time.
    Instant,
    /// A day; `secs` is its midnight.
    Day,
    /// A time of day; `secs` counts from midnight.
    TimeOfDay,
}

/// A reading of a clock in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// How exact it is.
    pub precision: Precision,
    /// Seconds since 1970, or since midnight.
    pub secs: i64,
    /// As written.
    pub text: String,
}

impl Sighting {
    /// Whether the reading could have been taken in `window` (seconds since 1970, inclusive), in
    /// some time zone.
    pub fn is_within(&self, window: (i64, i64)) -> bool {
        let (start, end) = window;
        match self.precision {
            Precision::Instant => (start - ZONE..=end + ZONE).contains(&self.secs),
            Precision::Day => (start - ZONE - DAY..=end + ZONE).contains(&self.secs),
            Precision::TimeOfDay => {
                let since = (self.secs - start.rem_euclid(DAY)).rem_euclid(DAY);
                since <= end - start + 60 || since >= DAY - 60
            }
        }
    }
}

/// All readings in `text`, in order.
pub fn sightings(text: &[u8]) -> Vec<Sighting> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() && found.len() < MAX_SIGHTINGS {
        let starts = at == 0 || !text[at - 1].is_ascii_digit();
        let read = if starts { read_at(&text[at..]) } else { None };
        match read {
            Some((precision, secs, length)) => {
                let written = text[at..at + length].escape_ascii().to_string();
                found.push(Sighting {
                    precision,
                    secs,
                    text: written,
                });
                at += length;
            }
            None => at += 1,
        }
    }
    found
}

type Reading = (Precision, i64, usize);

fn read_at(text: &[u8]) -> Option<Reading> {
    match text.first()? {
        b'0'..=b'9' => number(text),
        b'A'..=b'Z' => month_first(text),
        _ => None,
    }
}

/// A small cursor over text.
struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn digits(&mut self, count: std::ops::RangeInclusive<usize>) -> Option<i64> {
        let run = self.text[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
        if !count.contains(&run) {
            return None;
        }
        let value = std::str::from_utf8(&self.text[self.at..self.at + run])
            .ok()?
            .parse()
            .ok()?;
        self.at += run;
        Some(value)
    }

    fn one_of(&mut self, set: &[u8]) -> Option<u8> {
        let byte = *self.text.get(self.at)?;
        set.contains(&byte).then(|| {
            self.at += 1;
            byte
        })
    }

    fn spaces(&mut self) -> Option<()> {
        let run = self.text[self.at..]
            .iter()
            .take_while(|b| matches!(b, b' ' | b',' | b'-'))
            .count();
        self.at += run;
        (1..=3).contains(&run).then_some(())
    }

    fn letters(&mut self) -> &'a [u8] {
        let run = self.text[self.at..]
            .iter()
            .take_while(|b| b.is_ascii_alphabetic())
            .count();
        let letters = &self.text[self.at..self.at + run];
        self.at += run;
        letters
    }

    fn month(&mut self) -> Option<u8> {
        let name = self.letters();
        let short = std::str::from_utf8(name.get(..3)?).ok()?;
        let names = [
            "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        let index = names
            .iter()
            .position(|known| short.eq_ignore_ascii_case(known))?;
        u8::try_from(index + 1).ok().filter(|_| name.len() <= 9)
    }

    /// `HH:MM[:SS[.fraction]]`, seconds since midnight.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(1..=2).filter(|h| *h < 24)?;
        self.one_of(b":")?;
        let minute = self.digits(2..=2).filter(|m| *m < 60)?;
        let mut secs = hour * 3_600 + minute * 60;
        let before = self.at;
        if self.one_of(b":").is_some() {
            match self.digits(2..=2).filter(|s| *s < 61) {
                Some(second) => secs += second,
                None => self.at = before,
            }
            let before = self.at;
            if self.one_of(b".").is_some() && self.digits(1..=9).is_none() {
                self.at = before;
            }
        }
        Some(secs)
    }

    /// Tries to read something and goes back when it is not there.
    fn attempt<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let before = self.at;
        let result = read(self);
        if result.is_none() {
            self.at = before;
        }
        result
    }
}

fn number(text: &[u8]) -> Option<Reading> {
    let run = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let value: i64 = std::str::from_utf8(&text[..run]).ok()?.parse().ok()?;
    let instant = |secs: i64| {
        PLAUSIBLE
            .contains(&secs)
            .then_some((Precision::Instant, secs, run))
    };
    match run {
        // `date +%s.%N`: two builds of one second differ in the fraction alone.
        10 => instant(value)
            .map(|(precision, secs, run)| (precision, secs, run + fraction(&text[run..]))),
        13 => instant(value / 1_000),
        16 => instant(value / 1_000_000),
        19 => instant(value / 1_000_000_000),
        14 => {
            let (day, time) = (value / 1_000_000, value % 1_000_000);
            let midnight = midnight(day / 10_000, day / 100 % 100, day % 100)?;
            let secs = midnight + time / 10_000 * 3_600 + time / 100 % 100 * 60 + time % 100;
            (time / 10_000 < 24).then_some((Precision::Instant, secs, run))
        }
        8 => Some((
            Precision::Day,
            midnight(value / 10_000, value / 100 % 100, value % 100)?,
            run,
        )),
        4 => year_first(text),
        1 | 2 => day_first(text).or_else(|| {
            let mut cursor = Cursor { text, at: 0 };
            let secs = cursor.time_of_day()?;
            Some((Precision::TimeOfDay, secs, cursor.at))
        }),
        _ => None,
    }
}

/// Length of `.758852158`; 0 when no fraction of a second follows.
fn fraction(text: &[u8]) -> usize {
    let digits = match text.split_first() {
        Some((b'.', rest)) => rest.iter().take_while(|b| b.is_ascii_digit()).count(),
        _ => 0,
    };
    match digits {
        1..=9 => digits + 1,
        _ => 0,
    }
}

/// `2026-11-20`, `2026/11/20 10:00`, `2026-11-20T10:00:01Z`.
fn year_first(text: &[u8]) -> Option<Reading> {
    let mut cursor = Cursor { text, at: 0 };
    let year = cursor.digits(4..=4)?;
    let separator = cursor.one_of(b"-/.")?;
    let month = cursor.digits(2..=2)?;
    cursor.one_of(&[separator])?;
    let day = cursor.digits(2..=2)?;
    let midnight = midnight(year, month, day)?;
    let time = cursor.attempt(|cursor| {
        cursor.one_of(b"T _")?;
        cursor.time_of_day()
    });
    Some(dated(midnight, time, cursor.at))
}

/// `20 Nov 2026`, `20-Nov-2026 10:00:01`.
fn day_first(text: &[u8]) -> Option<Reading> {
    let mut cursor = Cursor { text, at: 0 };
    let day = cursor.digits(1..=2)?;
    cursor.spaces()?;
    let month = cursor.month()?;
    cursor.spaces()?;
    let year = cursor.digits(4..=4)?;
    let midnight = midnight(year, month.into(), day)?;
    let time = cursor.attempt(|cursor| {
        cursor.spaces()?;
        cursor.time_of_day()
    });
    Some(dated(midnight, time, cursor.at))
}

/// `Nov 20 2026` (the C compiler's `__DATE__`), `Nov 20 10:00:01 2026`, `Nov 20 10:00:01 UTC 2026`.
fn month_first(text: &[u8]) -> Option<Reading> {
    let mut cursor = Cursor { text, at: 0 };
    let month = cursor.month()?;
    cursor.spaces()?;
    let day = cursor.digits(1..=2)?;
    cursor.spaces()?;
    let mut time = cursor.attempt(Cursor::time_of_day);
    if time.is_some() {
        cursor.spaces()?;
        cursor.attempt(|cursor| {
            let zone = cursor.letters();
            (!zone.is_empty()).then_some(())?;
            cursor.spaces()
        });
    }
    let year = cursor.digits(4..=4)?;
    let midnight = midnight(year, month.into(), day)?;
    if time.is_none() {
        time = cursor.attempt(|cursor| {
            cursor.spaces()?;
            cursor.time_of_day()
        });
    }
    Some(dated(midnight, time, cursor.at))
}

fn dated(midnight: i64, time: Option<i64>, length: usize) -> Reading {
    match time {
        Some(time) => (Precision::Instant, midnight + time, length),
        None => (Precision::Day, midnight, length),
    }
}

fn midnight(year: i64, month: i64, day: i64) -> Option<i64> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let date =
        Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(day).ok()?).ok()?;
    let secs: i64 =
        OffsetDateTime::unix_timestamp(PrimitiveDateTime::new(date, Time::MIDNIGHT).assume_utc());
    PLAUSIBLE.contains(&secs).then_some(secs)
}

/// A reading in `rebuilt` that could be the rebuild's clock and its counterpart in `expected`, when
/// they differ. Without a window any two readings of one kind that differ will do.
pub fn explain(
    expected: &[u8],
    rebuilt: &[u8],
    expected_window: Option<(i64, i64)>,
    rebuilt_window: Option<(i64, i64)>,
) -> Option<(String, String)> {
    let (before, after) = (sightings(expected), sightings(rebuilt));
    let fits = |sighting: &Sighting, window: Option<(i64, i64)>| {
        window.is_none_or(|w| sighting.is_within(w))
    };
    after.iter().zip(&before).find_map(|(new, old)| {
        let differs = new.text != old.text && new.precision == old.precision;
        (differs && fits(new, rebuilt_window) && fits(old, expected_window))
            .then(|| (old.text.clone(), new.text.clone()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usual_way_to_write_a_time_is_read() {
        let instant = 1_795_255_201; // 2026-11-21T10:00:01Z
        for text in [
            "1795255201",
            "1795255201123",
            "1795255201123456789",
            "2026-11-21T10:00:01Z",
            "2026-11-21 10:00:01.5",
            "2026/11/21 10:00:01",
            "20261121100001",
            "Sat Nov 21 10:00:01 UTC 2026",
            "Nov 21 10:00:01 2026",
            "Sat, 21 Nov 2026 10:00:01 +0000",
            "November 21, 2026 10:00:01",
        ] {
            let found = sightings(text.as_bytes());
            assert!(
                found
                    .iter()
                    .any(|s| s.secs == instant && s.precision == Precision::Instant),
                "{text}: {found:?}"
            );
        }
        for text in ["Nov 21 2026", "2026-11-21", "20261121", "21 Nov 2026"] {
            let found = sightings(text.as_bytes());
            assert_eq!(
                (found[0].precision, found[0].secs),
                (Precision::Day, instant - 36_001),
                "{text}"
            );
        }
        assert_eq!(sightings(b"at 10:00:01")[0].secs, 36_001);
        let fine = &sightings(b"at 1795255201.758852158, again")[0];
        assert_eq!(
            (fine.secs, fine.text.as_str()),
            (instant, "1795255201.758852158")
        );
    }

    #[test]
    fn version_numbers_and_addresses_are_no_times() {
        for text in [
            "1.2.3-45",
            "0x7ffd1234",
            "99:99",
            "2026-13-41",
            "Marble 3",
            "libfoo.so.6",
            "123456789012",
        ] {
            assert_eq!(sightings(text.as_bytes()), [], "{text}");
        }
    }

    #[test]
    fn only_a_reading_taken_during_the_rebuild_explains_a_difference() {
        let window = Some((1_795_255_200, 1_795_255_210));
        let explained = |a: &[u8], b: &[u8]| explain(a, b, None, window);
        assert!(explained(b"built 2026-11-20 09:00:00", b"built 2026-11-21 10:00:02").is_some());
        assert!(explained(b"built 2026-11-20 09:00:00", b"built 2019-01-01 10:00:02").is_none());
        assert!(explained(b"at 09:00:00", b"at 10:00:05").is_some());
        assert!(explained(b"at 09:00:00", b"at 15:00:05").is_none());
        assert!(explained(b"same 2026-11-21", b"same 2026-11-21").is_none());
    }
}

//! Points in time: wall-clock microseconds that are stored and compared between machines, and
//! monotonic nanoseconds that never leave a process.

use std::fmt;
use std::ops::{Add, Sub};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Wall-clock time in microseconds since the Unix epoch. Stored, sent and compared between processes; its
/// error against other machines is the kernel's clock error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole milliseconds since the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From whole seconds since the Unix epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Whole seconds since the Unix epoch, rounded down.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Timestamp {
    type Output = Timestamp;
    fn add(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_add(capped(by.as_micros())))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Timestamp;
    fn sub(self, by: Duration) -> Timestamp {
        Timestamp(self.0.saturating_sub(capped(by.as_micros())))
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC with milliseconds, for example `2026-02-08T23:59:59.120Z`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_second(f)?;
        write!(f, ".{:03}Z", self.as_millis() % 1_000)
    }
}

impl Timestamp {
    /// RFC 3339 up to the second, without what follows it.
    fn write_second(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secs = self.as_secs();
        let (year, month, day) = civil_from_days(secs / 86_400);
        let (hour, minute, second) = (secs / 3_600 % 24, secs / 60 % 60, secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// Nothing of a time is lost: RFC 3339 with microseconds.
struct Exact(Timestamp);

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.write_second(f)?;
        write!(f, ".{:06}Z", self.0.as_micros() % 1_000_000)
    }
}

/// The first moment for which RFC 3339 has no text: the year 10000.
const UNWRITABLE: Timestamp = Timestamp(253_402_300_800_000_000);

impl Serialize for Timestamp {
    /// RFC 3339 with microseconds; the bare number of microseconds from the year 10000 on.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if *self < UNWRITABLE {
            serializer.collect_str(&Exact(*self))
        } else {
            serializer.serialize_u64(self.0)
        }
    }
}

/// A text that is no point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a time as RFC 3339 writes it, for example 2026-02-08T23:59:59Z, from 1970 on")]
pub struct TimestampError;

impl FromStr for Timestamp {
    type Err = TimestampError;

    /// Reads RFC 3339 with `Z` or an offset; digits behind the microsecond are dropped.
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        parse(text.as_bytes()).ok_or(TimestampError)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    /// RFC 3339, or microseconds since the Unix epoch.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time (RFC 3339, or microseconds since the Unix epoch)")
            }
            fn visit_u64<E: serde::de::Error>(self, micros: u64) -> Result<Timestamp, E> {
                Ok(Timestamp(micros))
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

fn parse(text: &[u8]) -> Option<Timestamp> {
    let (date_time, rest) = text.split_at_checked(19)?;
    let separators = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let fits = separators.iter().all(|&(at, byte)| date_time[at] == byte) && b"Tt ".contains(&date_time[10]);
    let part = |from: usize, to: usize| number(&date_time[from..to]).filter(|_| fits);
    let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
    let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
    // A leap second counts as the first second of the next minute.
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (micros, rest) = fraction(rest)?;
    let days = days_from_civil(year, month, day)?;
    let seconds = (days * 86_400 + hour * 3_600 + minute * 60 + second).checked_add_signed(-offset(rest)?)?;
    Some(Timestamp(seconds * 1_000_000 + micros))
}

fn number(digits: &[u8]) -> Option<u64> {
    digits
        .iter()
        .try_fold(0, |sum: u64, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))
}

/// Microseconds of `.123...`, and what follows it.
fn fraction(text: &[u8]) -> Option<(u64, &[u8])> {
    let Some(digits) = text.strip_prefix(b".") else { return Some((0, text)) };
    let end = digits.iter().position(|digit| !digit.is_ascii_digit()).unwrap_or(digits.len());
    let kept = number(&digits[..end.min(6)])?;
    (end > 0).then(|| (kept * 10_u64.pow(6 - end.min(6) as u32), &digits[end..]))
}

/// Seconds east of UTC.
fn offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[*h1, *h2])?, number(&[*m1, *m2])?);
            let seconds = (hours * 3_600 + minutes * 60) as i64;
            (hours < 24 && minutes < 60).then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

/// The inverse of [`civil_from_days`]; `None` for a day that the calendar does not have, or before 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1..=12).contains(&month) {
        return None;
    }
    let shifted_year = year - u64::from(month <= 2).min(year);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day.checked_sub(1)?;
    let days = shifted_year * 365 + shifted_year / 4 - shifted_year / 100 + shifted_year / 400 + day_of_year;
    let days = days.checked_sub(719_468)?;
    (civil_from_days(days) == (year, month, day)).then_some(days)
}

/// Year, month and day of a number of days since 1970-01-01, in the proleptic Gregorian calendar.
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // Count from 1 March of year 0, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// A duration's count in 64 bits: one that does not fit, as a header may ask for, is as long as can be.
fn capped(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Nanoseconds on a clock of this machine that never goes back and counts time spent suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Monotonic(pub u64);

impl Monotonic {
    /// How long after `earlier` this is; zero when it is not after it.
    pub const fn since(self, earlier: Monotonic) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Monotonic {
    type Output = Monotonic;
    fn add(self, by: Duration) -> Monotonic {
        Monotonic(self.0.saturating_add(capped(by.as_nanos())))
    }
}

impl Sub<Duration> for Monotonic {
    type Output = Monotonic;
    fn sub(self, by: Duration) -> Monotonic {
        Monotonic(self.0.saturating_sub(capped(by.as_nanos())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_print_as_rfc_3339() {
        assert_eq!(Timestamp::from_secs(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp::from_millis(951_782_399_999).to_string(), "2000-02-28T23:59:59.999Z");
        assert_eq!(Timestamp::from_secs(951_782_400).to_string(), "2000-02-29T00:00:00.000Z");
        assert_eq!(Timestamp::from_secs(1_770_595_199).to_string(), "2026-02-08T23:59:59.000Z");
    }

    #[test]
    fn what_rfc_3339_writes_is_read() {
        for millis in [0, 951_782_399_999, 951_782_400_000, 1_770_595_199_120, 4_107_542_399_000] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        let noon = "2026-02-08T12:00:00Z".parse::<Timestamp>();
        assert_eq!("2026-02-08T13:30:00+01:30".parse(), noon);
        assert_eq!("2026-02-07t23:00:00.000-13:00".parse(), noon);
        assert_eq!("1970-01-01T00:00:00.1234567Z".parse(), Ok(Timestamp(123_456)));
        assert_eq!(serde_json::from_str("\"1970-01-01T00:00:01Z\"").ok(), Some(Timestamp::from_secs(1)));
        assert_eq!(serde_json::from_str("12").ok(), Some(Timestamp(12)));
    }

    #[test]
    fn json_keeps_every_microsecond() {
        let json = |time| serde_json::to_string(&Timestamp(time)).unwrap();
        assert_eq!(json(1_770_595_199_120_007), "\"2026-02-08T23:59:59.120007Z\"");
        let last = UNWRITABLE.0 - 1;
        assert_eq!(json(last), "\"9999-12-31T23:59:59.999999Z\"");
        for time in [0, 1, 1_770_595_199_120_007, last, last + 1, u64::MAX] {
            assert_eq!(serde_json::from_str::<Timestamp>(&json(time)).unwrap(), Timestamp(time));
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let bad = [
            "",
            "2026-02-08",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-08T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "2026-02-08T12:00:00",
            "2026-02-08T12:00:00.Z",
            "2026-02-08T12:00:00+1:00",
            "0000-00-00T00:00:00Z",
            "20260208T120000Z",
            "2026-02-08T12:00:00Zx",
        ];
        for text in bad {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
    }

    #[test]
    fn times_beyond_64_bits_are_the_last_there_are_and_never_wrap() {
        let long = Duration::from_secs(u64::MAX);
        assert_eq!(Timestamp(7) + long, Timestamp(u64::MAX));
        assert_eq!(Monotonic(7) + Duration::from_secs(1 << 40), Monotonic(u64::MAX));
        assert_eq!((Timestamp(7) - long, Monotonic(7) - long), (Timestamp(0), Monotonic(0)));
        assert_eq!(Timestamp::from_millis(u64::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp::from_secs(u64::MAX), Timestamp(u64::MAX));
        assert_eq!(Timestamp(u64::MAX).to_string(), "586524-01-19T08:01:49.551Z");
    }

    #[test]
    fn time_before_is_no_time() {
        assert_eq!(Timestamp(5).since(Timestamp(9)), Duration::ZERO);
        assert_eq!(Timestamp(9).since(Timestamp(5)), Duration::from_micros(4));
    }
}

//! The `retry-after` field (RFC 9110, section 10.2.3): seconds, or a date in IMF-fixdate.

use std::time::Duration;

use model::Timestamp;

/// How long it asks to wait from `now` on; `None` when it cannot be read. A date that has passed asks for no wait.
pub fn read(value: &[u8], now: Timestamp) -> Option<Duration> {
    let text = std::str::from_utf8(value).ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(text.parse().unwrap_or(u32::MAX.into())));
    }
    date(text).map(|date| date.since(now))
}

/// For example `Sun, 06 Nov 1994 08:49:37 GMT`.
fn date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let day: u64 = parts.next()?.parse().ok().filter(|day| (1..=31).contains(day))?;
    let name = parts.next()?;
    let month = MONTHS.iter().position(|month| *month == name)? as u64 + 1;
    let year: u64 = parts.next()?.parse().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut clock = parts.next()?.split(':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let is_time = hour < 24 && minute < 60 && second <= 60 && parts.next() == Some("GMT");
    is_time
        .then(|| Timestamp::from_secs(days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second))
}

/// Days from 1970-01-01 to a day of the Gregorian calendar from then on.
fn days(year: u64, month: u64, day: u64) -> u64 {
    // March is the first month, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(784_111_770);

    #[test]
    fn seconds_and_dates_are_read() {
        assert_eq!(read(b"120", NOW), Some(Duration::from_secs(120)));
        assert_eq!(read(b" 0 ", NOW), Some(Duration::ZERO));
        // The date of RFC 9110, seven seconds later.
        assert_eq!(read(b"Sun, 06 Nov 1994 08:49:37 GMT", NOW), Some(Duration::from_secs(7)));
        assert_eq!(read(b"Sun, 06 Nov 1993 08:49:37 GMT", NOW), Some(Duration::ZERO));
        for bad in [
            &b""[..],
            b"-1",
            b"soon",
            b"Sun, 06 Now 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 CET",
            b"\xff",
        ] {
            assert_eq!(read(bad, NOW), None, "{bad:?}");
        }
    }

    #[test]
    fn days_are_counted_over_leap_years() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(2000, 2, 29) + 1, days(2000, 3, 1));
        assert_eq!(days(2026, 2, 8), 20_492);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_fail(value in proptest::collection::vec(any::<u8>(), 0..60), text in "[A-Z][a-z]{2}, [0-9]{1,3} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{1,10} GMT") {
            let _ = read(&value, NOW);
            let _ = read(text.as_bytes(), NOW);
        }
    }
}

//! How durations are written in flags and files: a number and a unit, `250us`, `60ms`, `1.5s`, `2m` or `1h`.

use std::time::Duration;

use crate::error::Error;

const UNITS: [(&str, f64); 5] = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0)];

/// Reads a duration; a bare `0` needs no unit.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(provider_sim::config::text::parse_duration("1.5s").unwrap(), Duration::from_millis(1_500));
/// assert!(provider_sim::config::text::parse_duration("60").is_err());
/// ```
pub fn parse_duration(text: &str) -> Result<Duration, Error> {
    let invalid =
        || Error::invalid("duration", text, "a number and one of us, ms, s, m, h, for example 60ms");
    let unit_at = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.trim().parse().map_err(|_| invalid())?;
    let unit_seconds = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, seconds)) => *seconds,
        None if unit.is_empty() && number == 0.0 => 1.0,
        None => return Err(invalid()),
    };
    Duration::try_from_secs_f64(number * unit_seconds).map_err(|_| invalid())
}

/// Writes a duration as [`parse_duration`] reads it, to the microsecond.
pub fn format_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => "0s".to_owned(),
        _ if micros.is_multiple_of(1_000_000) => format!("{}s", micros / 1_000_000),
        _ if micros.is_multiple_of(1_000) => format!("{}ms", micros / 1_000),
        _ => format!("{micros}us"),
    }
}

/// For `#[serde(with)]`.
pub(super) mod duration {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(serde::de::Error::custom)
    }
}

/// For `#[serde(with)]`, when there may be none.
pub(super) mod duration_option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&super::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| super::parse_duration(&text).map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        for text in ["0s", "60ms", "250us", "90s", "1500ms"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), *text);
        }
        assert_eq!(parse_duration("2m").unwrap(), Duration::from_secs(120));
        for bad in ["", "ms", "60", "-1s", "1e99h", "1d", "NaNs"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}

//! Identifiers: random 128-bit numbers for what is made, a BLAKE3 digest for what is frozen.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::runtime::Randomness;

/// A text that is not the identifier it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("not {expected}: {text:?}")]
pub struct IdError {
    expected: &'static str,
    text: String,
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl $name {
            /// A new one, from `randomness`.
            pub fn random(randomness: &dyn Randomness) -> Self {
                Self(randomness.u128())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{:032x}"), self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                let digits = text.strip_prefix($prefix).filter(|digits| is_lower_hex(digits, 32));
                let number = digits.and_then(|digits| u128::from_str_radix(digits, 16).ok());
                let expected = concat!("an id of the form ", $prefix, " and 32 lower-case hex digits");
                number.map(Self).ok_or_else(|| IdError { expected, text: text.chars().take(80).collect() })
            }
        }

        text_serde!($name);
    };
}

macro_rules! text_serde {
    ($name:ident) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

random_id!(
    /// A campaign.
    CampaignId, "cmp_"
);
random_id!(
    /// An audience: an uploaded list, before and after it is resolved.
    AudienceId, "aud_"
);
random_id!(
    /// A launch: one sending of a wave.
    LaunchId, "lnc_"
);
random_id!(
    /// An import of devices into the directory.
    ImportId, "imp_"
);
random_id!(
    /// An export of a launch's outcomes.
    ExportId, "exp_"
);
random_id!(
    /// An upload that comes in parts.
    UploadId, "upl_"
);
random_id!(
    /// A question what is held about a person.
    InquiryId, "inq_"
);
random_id!(
    /// A person's wish to be forgotten.
    ErasureId, "ers_"
);

/// The BLAKE3 digest of some content: 32 bytes, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `content`.
    pub fn of(content: &[u8]) -> Self {
        Self(*blake3::hash(content).as_bytes())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError {
            expected: "a digest of 64 lower-case hex digits",
            text: text.chars().take(80).collect(),
        };
        if !is_lower_hex(text, 64) {
            return Err(error());
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| error())?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| error())?;
        }
        Ok(Self(bytes))
    }
}

text_serde!(Digest);

fn is_lower_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_read_back_what_they_print() {
        let id = LaunchId(0xabc);
        assert_eq!(id.to_string(), "lnc_00000000000000000000000000000abc");
        assert_eq!(id.to_string().parse::<LaunchId>(), Ok(id));
        let digest = Digest::of(b"fanfare");
        assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
    }

    #[test]
    fn an_identifier_of_another_kind_is_refused() {
        assert!(CampaignId(1).to_string().parse::<LaunchId>().is_err());
        assert!("lnc_+0000000000000000000000000000abc".parse::<LaunchId>().is_err());
        assert!("ABCD".parse::<Digest>().is_err());
    }
}

//! Device keys as 128-bit numbers, and the seeded draws that decide a key's fate. Pure: whoever makes a
//! population can predict with the same functions what the simulator will answer.

use std::fmt;
use std::str::FromStr;

use model::Platform;
use model::runtime::mix;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::Error;

/// A hash of a device key: of the token's raw bytes for APNs, of the text for FCM. 124 bits in a `u128` whose low
/// four bits are zero, because records keep outcomes there; written as 32 hex digits. Not cryptographic; among
/// 10 million keys a collision has a chance of about 1 in 10^23.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Fingerprint(u128);

const LANE: [u64; 4] =
    [0xa076_1d64_78bd_642f, 0xe703_7ed1_a0b4_28db, 0x8ebc_6af0_9c88_c6e3, 0x5899_65cc_7537_4cc3];

impl Fingerprint {
    /// Of a device key as people write it: hex for APNs (case does not matter), the text for FCM.
    /// `None` when an APNs key is not hex of even, positive length.
    ///
    /// ```
    /// use model::Platform;
    /// use provider_sim::Fingerprint;
    /// assert_eq!(Fingerprint::of_key(Platform::Apns, "00fF"), Some(Fingerprint::of_bytes(&[0x00, 0xff])));
    /// assert_eq!(Fingerprint::of_key(Platform::Fcm, "a:b"), Some(Fingerprint::of_bytes(b"a:b")));
    /// ```
    pub fn of_key(platform: Platform, key: &str) -> Option<Self> {
        match platform {
            Platform::Apns => Self::of_hex(key.as_bytes()),
            Platform::Fcm => Some(Self::of_bytes(key.as_bytes())),
        }
    }

    /// Of canonical bytes: an APNs token's raw bytes, an FCM key's text.
    #[inline]
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let (mut low, mut high) = (bytes.len() as u64, LANE[0]);
        let (blocks, rest) = bytes.as_chunks::<16>();
        for block in blocks {
            (low, high) = absorb(low, high, block);
        }
        if !rest.is_empty() {
            let mut block = [0; 16];
            block[..rest.len()].copy_from_slice(rest);
            (low, high) = absorb(low, high, &block);
        }
        let (low, high) = (fold(low ^ LANE[1], high ^ LANE[2]), fold(high ^ LANE[0], low ^ LANE[3]));
        Self::from_bits((u128::from(high) << 64) | u128::from(low))
    }

    /// The fingerprint of these bits, whatever the low four say.
    #[inline]
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits & !15)
    }

    /// Its bits; the low four are zero.
    #[inline]
    pub const fn to_bits(self) -> u128 {
        self.0
    }

    /// Of a token in hex, decoded on the way.
    #[inline]
    pub(crate) fn of_hex(hex: &[u8]) -> Option<Self> {
        const TOKEN_BYTES_MAX: usize = 1_024;
        if hex.len() == 64 {
            let mut bytes = [0; 32];
            return decode_hex(hex, &mut bytes).then(|| Self::of_bytes(&bytes));
        }
        if hex.is_empty() || !hex.len().is_multiple_of(2) || hex.len() > 2 * TOKEN_BYTES_MAX {
            return None;
        }
        let mut bytes = [0; TOKEN_BYTES_MAX];
        let bytes = &mut bytes[..hex.len() / 2];
        decode_hex(hex, bytes).then(|| Self::of_bytes(bytes))
    }

    /// A number that `seed`, this key and `salt` decide: independent for every salt, uniform over all of `u64`.
    #[inline]
    pub fn draw(self, seed: u64, salt: u64) -> u64 {
        let seeded = (self.0 as u64) ^ mix(seed.wrapping_add(salt.wrapping_mul(LANE[1])));
        mix(seeded.wrapping_add((self.0 >> 64) as u64))
    }
}

/// The salt of [`is_dead`].
const DEAD: u64 = 0xdead;

/// Whether a key is dead in a population of `seed` of which `share` (0 to 1) are dead: APNs answers such a key
/// with 410 Unregistered, FCM with 404 UNREGISTERED. The rule that the demo and the simulators share.
pub fn is_dead(seed: u64, key: Fingerprint, share: f64) -> bool {
    key.draw(seed, DEAD) < threshold(share)
}

/// The bound below which a uniform draw falls with probability `share`.
pub(crate) fn threshold(share: f64) -> u64 {
    (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64
}

/// A draw as a number from 0 to 1.
pub(crate) fn unit(draw: u64) -> f64 {
    (draw >> 11) as f64 / (1u64 << 53) as f64
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// Two independent lanes, each of which sees all of the block.
#[inline]
fn absorb(low: u64, high: u64, block: &[u8; 16]) -> (u64, u64) {
    let word = u128::from_le_bytes(*block);
    let (first, second) = (word as u64, (word >> 64) as u64);
    (fold(first ^ LANE[0] ^ low, second ^ LANE[1]), fold(first ^ LANE[2], second ^ LANE[3] ^ high))
}

/// Decodes hex of twice the length of `bytes`; false when a digit is none. Eight digits at a time, in one register.
#[inline]
fn decode_hex(hex: &[u8], bytes: &mut [u8]) -> bool {
    let (words, rest) = hex.as_chunks::<8>();
    let (quads, last) = bytes.as_chunks_mut::<4>();
    let mut bad = 0;
    for (word, quad) in words.iter().zip(quads) {
        *quad = decode_word(u64::from_le_bytes(*word), &mut bad);
    }
    if !rest.is_empty() {
        let mut word = *b"00000000";
        word[..rest.len()].copy_from_slice(rest);
        last.copy_from_slice(&decode_word(u64::from_le_bytes(word), &mut bad)[..last.len()]);
    }
    bad == 0
}

/// Eight hex digits, one in each byte, to four bytes. Sets bits of `bad` for what is no digit.
#[inline]
fn decode_word(digits: u64, bad: &mut u64) -> [u8; 4] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    // Bytes stay below 0x80 in these comparisons, so that no sum carries into the next byte.
    let at_least = |bytes: u64, bound: u64| (bytes + (0x80 - bound) * ONES) & HIGH;
    let ascii = digits & !HIGH;
    let lower = ascii | (0x20 * ONES);
    let is_decimal = at_least(ascii, 0x30) & !at_least(ascii, 0x3a);
    let is_letter = at_least(lower, 0x61) & !at_least(lower, 0x67);
    *bad |= (digits & HIGH) | (HIGH & !(is_decimal | is_letter));
    let nibbles = (ascii & (0x0f * ONES)) + (is_letter >> 7) * 9;
    let pairs = ((nibbles << 4) | (nibbles >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs | (pairs >> 8)) & 0x0000_ffff_0000_ffff;
    ((fours | (fours >> 16)) as u32).to_le_bytes()
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl FromStr for Fingerprint {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self, Error> {
        let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = if is_hex { u128::from_str_radix(text, 16).ok() } else { None };
        number.map(Self::from_bits).ok_or_else(|| Error::invalid("fingerprint", text, "32 hex digits"))
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_hundred_thousand_near_keys_have_their_own_fingerprints_in_both_halves() {
        let keys = (0..100_000u32).map(|number| {
            let mut key = [0; 32];
            key[4..8].copy_from_slice(&number.to_le_bytes());
            Fingerprint::of_bytes(&key).0
        });
        let (mut low, mut high) = (HashSet::new(), HashSet::new());
        for print in keys {
            assert!(low.insert(print as u64));
            assert!(high.insert((print >> 64) as u64));
        }
    }

    #[test]
    fn length_counts() {
        assert_ne!(Fingerprint::of_bytes(&[0; 15]), Fingerprint::of_bytes(&[0; 16]));
        assert_ne!(Fingerprint::of_bytes(&[]), Fingerprint::of_bytes(&[0]));
    }

    #[test]
    fn hex_of_any_length_and_case_is_its_bytes() {
        let hex: String = (0..100u8).map(|byte| format!("{byte:02X}")).collect();
        let bytes: Vec<u8> = (0..100).collect();
        for length in 1..100 {
            let (hex, bytes) = (&hex[..2 * length], &bytes[..length]);
            assert_eq!(Fingerprint::of_key(Platform::Apns, hex), Some(Fingerprint::of_bytes(bytes)));
            assert_eq!(
                Fingerprint::of_key(Platform::Apns, &hex.to_lowercase()),
                Some(Fingerprint::of_bytes(bytes))
            );
        }
        for bad in ["", "0", "0g", &"g".repeat(64)] {
            assert_eq!(Fingerprint::of_key(Platform::Apns, bad), None, "{bad}");
        }
    }

    #[test]
    fn only_hex_digits_are_hex_digits() {
        for byte in 0..=255u8 {
            for place in 0..8 {
                let mut hex = *b"1a2B3c4D";
                hex[place] = byte;
                assert_eq!(
                    Fingerprint::of_hex(&hex).is_some(),
                    byte.is_ascii_hexdigit(),
                    "{byte:#x} at {place}"
                );
            }
        }
    }

    #[test]
    fn shares_are_met_and_nested() {
        let keys: Vec<_> =
            (0..50_000u32).map(|number| Fingerprint::of_bytes(&number.to_le_bytes())).collect();
        let dead = |share| keys.iter().filter(|key| is_dead(7, **key, share)).count();
        assert_eq!((dead(0.0), dead(1.0)), (0, keys.len()));
        assert!((2_250..2_750).contains(&dead(0.05)), "{}", dead(0.05));
        assert!(keys.iter().all(|key| !is_dead(7, *key, 0.05) || is_dead(7, *key, 0.1)));
        assert!(keys.iter().any(|key| is_dead(7, *key, 0.5) != is_dead(8, *key, 0.5)));
    }

    #[test]
    fn its_text_reads_back() {
        let print = Fingerprint::of_bytes(b"x");
        assert_eq!(print.to_string().parse::<Fingerprint>().unwrap(), print);
        assert!("+1".repeat(16).parse::<Fingerprint>().is_err());
    }
}

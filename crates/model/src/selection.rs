//! People chosen by lot: samples, to climb a ladder of larger and larger sends, and control groups, who get nothing so that
//! the effect of a message can be told.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::audience::PPM;
use crate::device::{Market, Platform};
use crate::id::AudienceId;

/// A part of a frozen audience. Of two samples of one audience with the same seed, markets and platforms the larger has
/// everybody whom the smaller has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The audience.
    pub of: AudienceId,
    /// People.
    pub users: u64,
    /// Another seed chooses others.
    #[serde(default)]
    pub seed: u64,
    /// Devices of these markets only; none means every market.
    #[serde(default)]
    pub markets: Vec<Market>,
    /// Devices of these providers only; none means both.
    #[serde(default)]
    pub platforms: Vec<Platform>,
    /// Nobody who has a device in these audiences.
    #[serde(default)]
    pub disjoint_from: Vec<AudienceId>,
}

/// People of an audience who are held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Control {
    /// Their share of all people, in millionths; on the wire a number from 0 to 1. A larger share of the same seed has
    /// everybody whom a smaller one has.
    #[serde(rename = "share", with = "share")]
    pub share_ppm: u32,
    /// Another seed chooses others.
    #[serde(default)]
    pub seed: u64,
}

mod share {
    use super::{Deserialize, Deserializer, PPM, Serializer};

    pub(super) fn serialize<S: Serializer>(ppm: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(f64::from(*ppm) / f64::from(PPM))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let share = f64::deserialize(deserializer)?;
        let fits = (0.0..=1.0).contains(&share);
        let outside = || serde::de::Error::custom("a share is a number from 0 to 1, for example 0.05");
        fits.then(|| (share * f64::from(PPM)).round() as u32).ok_or_else(outside)
    }
}

/// Draws lots: each person's is a number that depends on purpose, seed and user id only.
#[derive(Clone, Debug)]
pub struct Lots([u8; 32]);

impl Lots {
    /// Those of samples with this seed.
    pub fn of_sample(seed: u64) -> Self {
        Self::new("Fanfare 2026-11 lots of a sample", seed)
    }

    /// Those of control groups with this seed: whoever is in a sample of the same number is held back no more often.
    pub fn of_control(seed: u64) -> Self {
        Self::new("Fanfare 2026-11 lots of a control group", seed)
    }

    fn new(context: &str, seed: u64) -> Self {
        Self(blake3::derive_key(context, &seed.to_le_bytes()))
    }

    /// A person's lot. The lowest ones are chosen.
    pub fn draw(&self, user: &str) -> u64 {
        let hash = blake3::keyed_hash(&self.0, user.as_bytes());
        hash.as_bytes().first_chunk().copied().map_or(0, u64::from_le_bytes)
    }
}

impl Control {
    /// Whether somebody with this lot is held back.
    pub const fn holds_back(&self, lot: u64) -> bool {
        (lot as u128) * (PPM as u128) < (self.share_ppm as u128) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_back(share_ppm: u32, seed: u64) -> Vec<u32> {
        let (control, lots) = (Control { share_ppm, seed }, Lots::of_control(seed));
        (0..10_000).filter(|user| control.holds_back(lots.draw(&format!("u{user}")))).collect()
    }

    #[test]
    fn a_control_group_has_its_share_and_a_larger_one_has_it_too() {
        let (small, large) = (held_back(50_000, 7), held_back(200_000, 7));
        assert!((400..600).contains(&small.len()) && (1_850..2_150).contains(&large.len()));
        assert!(small.iter().all(|user| large.contains(user)));
        assert_eq!(held_back(0, 7), [0; 0]);
        assert_eq!(held_back(PPM, 7).len(), 10_000);
        let other = held_back(50_000, 8);
        let both = small.iter().filter(|user| other.contains(user)).count();
        assert!(both < 80, "another seed chooses others, {both} in common");
    }

    #[test]
    fn lots_never_change_and_those_of_samples_are_others() {
        assert_eq!(Lots::of_sample(1).draw("ann"), Lots::of_sample(1).draw("ann"));
        assert_ne!(Lots::of_sample(1).draw("ann"), Lots::of_control(1).draw("ann"));
        // Pinned: samples made today and next year must nest.
        assert_eq!(Lots::of_sample(1).draw("ann"), PINNED);
    }

    const PINNED: u64 = 18_329_810_703_214_660_544;

    #[test]
    fn a_share_is_a_number_from_0_to_1() {
        let read = |text: &str| serde_json::from_str::<Control>(text);
        assert_eq!(read("{\"share\": 0.05}").unwrap(), Control { share_ppm: 50_000, seed: 0 });
        assert_eq!(
            serde_json::to_string(&read("{\"share\":1}").unwrap()).unwrap(),
            "{\"share\":1.0,\"seed\":0}"
        );
        assert!(read("{\"share\": 5}").is_err() && read("{\"share\": -0.1}").is_err());
    }
}

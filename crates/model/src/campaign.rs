//! A campaign: what is said in which language, to which snapshot, in which waves, under which policies.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use crate::device::{Market, is_label};
use crate::extras::{Android, Apple};
use crate::id::{AudienceId, CampaignId, Digest};
use crate::manifest::Group;
use crate::time::Timestamp;

/// What one language's readers see. Empty texts are left out of the payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Variant {
    /// First line.
    pub title: String,
    /// Second line of iOS.
    pub subtitle: String,
    /// The text.
    pub body: String,
    /// Address of an `https` image.
    pub image: Option<String>,
    /// Android's icon resource.
    pub icon: Option<String>,
    /// What a tap opens.
    pub link: Option<String>,
    /// Sound file in the app; `default` is the system's.
    pub sound: Option<String>,
    /// Number on the app's icon (iOS).
    pub badge: Option<u32>,
    /// Deliver in the background, show nothing.
    pub silent: bool,
    /// Whatever else the app reads.
    pub data: BTreeMap<String, String>,
    /// What only iOS knows.
    pub apple: Apple,
    /// What only Android knows.
    pub android: Android,
}

/// All variants, and the one for every locale that has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Content {
    /// By language tag.
    pub variants: BTreeMap<String, Variant>,
    /// A key of `variants`.
    pub fallback: String,
}

impl Content {
    /// The locale whose variant a device of `locale` gets: the same tag, else the longest that it begins with
    /// (`zh-Hant-TW`: `zh-Hant`, then `zh`; RFC 4647, 3.4), else the fallback. Case does not matter, and `_`, as Android
    /// writes it, stands for `-`.
    pub fn resolve(&self, locale: &str) -> Option<&str> {
        let ends = locale.rmatch_indices(['-', '_']).map(|(end, _)| &locale[..end]);
        let mut ranges = std::iter::once(locale).chain(ends);
        let found = ranges.find_map(|range| self.variants.keys().find(|tag| is_same_tag(tag, range)));
        found.or_else(|| self.variants.get_key_value(&self.fallback).map(|(tag, _)| tag)).map(String::as_str)
    }

    /// BLAKE3 of the canonical JSON: what "content unchanged" means.
    pub fn digest(&self) -> Digest {
        let json =
            serde_json::to_vec(self).expect("strings, numbers and maps with string keys always serialize");
        Digest::of(&json)
    }
}

/// Whether two language tags are the same (RFC 5646, 2.1.1).
pub fn is_same_tag(one: &str, other: &str) -> bool {
    let folded = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.bytes().map(folded).eq(other.bytes().map(folded))
}

/// The groups that one Go sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wave {
    /// Its name within the campaign: 1 to 64 letters, digits, `-` and `_`.
    pub name: String,
    /// Its markets; none means every market.
    #[serde(default)]
    pub markets: Vec<Market>,
}

/// The longest wave name, in bytes.
pub const WAVE_NAME_BYTES_MAX: usize = 64;

impl Wave {
    /// Whether the wave sends `group`.
    pub fn includes(&self, group: &Group) -> bool {
        self.markets.is_empty() || self.markets.contains(&group.market)
    }
}

/// What to do with devices of which nobody knows whether an attempt arrived.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnUnknown {
    /// One more attempt with the same collapse id, marked *resent*.
    #[default]
    ResendOnce,
    /// Leave them *unknown*.
    Leave,
}

/// How a campaign is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// A message that has not left or arrived this long after the press is worthless: seconds, 1 to 28 days.
    pub time_to_live_s: u32,
    /// See [`OnUnknown`].
    pub on_unknown: OnUnknown,
    /// Late retries of transient answers; 0 switches them off.
    pub late_retries_max: u8,
}

impl Default for Policy {
    fn default() -> Self {
        Self { time_to_live_s: 3_600, on_unknown: OnUnknown::ResendOnce, late_retries_max: 2 }
    }
}

/// The longest time to live, which is FCM's: 28 days.
pub const TIME_TO_LIVE_S_MAX: u32 = 28 * 24 * 3_600;

/// A campaign as it is stored. Its row's version is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// Identifier.
    pub id: CampaignId,
    /// For people.
    pub name: String,
    /// What is said.
    pub content: Content,
    /// To whom: an audience, and the snapshot it was frozen into once it was.
    pub audience: Option<AudienceId>,
    /// When.
    pub waves: Vec<Wave>,
    /// How.
    #[serde(default)]
    pub policy: Policy,
    /// Made.
    pub created_at: Timestamp,
    /// Last changed.
    pub updated_at: Timestamp,
}

/// A fault of a campaign, with the JSON Pointer of its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// RFC 6901 pointer into the campaign.
    pub pointer: String,
    /// What is wrong.
    pub detail: String,
}

fn fault(faults: &mut Vec<Fault>, pointer: impl Into<String>, detail: impl Into<String>) {
    faults.push(Fault { pointer: pointer.into(), detail: detail.into() });
}

/// Every fault in what people wrote: name, content's shape, waves, policy. What is composed from it is checked by
/// `message`.
pub fn check(name: &str, content: &Content, waves: &[Wave], policy: &Policy) -> Vec<Fault> {
    let mut faults = Vec::new();
    if name.trim().is_empty() || name.len() > 200 {
        fault(&mut faults, "/name", "must have 1 to 200 bytes");
    }
    check_content(content, &mut faults);
    check_waves(waves, &mut faults);
    if !(1..=TIME_TO_LIVE_S_MAX).contains(&policy.time_to_live_s) {
        let detail = format!("must be 1 to {TIME_TO_LIVE_S_MAX} seconds");
        fault(&mut faults, "/policy/time_to_live_s", detail);
    }
    faults
}

fn check_content(content: &Content, faults: &mut Vec<Fault>) {
    if content.variants.is_empty() {
        fault(faults, "/content/variants", "must have at least one variant");
    } else if !content.variants.contains_key(&content.fallback) {
        let detail = format!("{:?} is not among the variants", content.fallback);
        fault(faults, "/content/fallback", detail);
    }
    for (locale, variant) in &content.variants {
        let pointer = format!("/content/variants/{}", locale.replace('~', "~0").replace('/', "~1"));
        if !is_label(locale, b"-_") {
            fault(faults, &pointer, "is not a language tag");
        }
        let others = content.variants.keys().take_while(|other| *other != locale);
        if let Some(other) = others.into_iter().find(|other| is_same_tag(other, locale)) {
            fault(faults, &pointer, format!("is the same language tag as {other:?}"));
        }
        if !variant.silent && variant.title.is_empty() && variant.body.is_empty() {
            fault(faults, &pointer, "has neither title nor body and is not silent");
        }
    }
}

fn check_waves(waves: &[Wave], faults: &mut Vec<Fault>) {
    if waves.is_empty() {
        fault(faults, "/waves", "must have at least one wave");
    }
    let mut owners: HashMap<&str, &str> = HashMap::new();
    let mut names: HashMap<&str, usize> = HashMap::new();
    for (index, wave) in waves.iter().enumerate() {
        let fits = wave.name.len() <= WAVE_NAME_BYTES_MAX && is_label(&wave.name, b"-_");
        if !fits {
            let detail = format!("must have 1 to {WAVE_NAME_BYTES_MAX} letters, digits, - or _");
            fault(faults, format!("/waves/{index}/name"), detail);
        }
        if let Some(first) = names.insert(&wave.name, index) {
            fault(faults, format!("/waves/{index}/name"), format!("is the name of wave {first} too"));
        }
        if wave.markets.is_empty() && waves.len() > 1 {
            let detail = "sends every market, so it must be the only wave";
            fault(faults, format!("/waves/{index}/markets"), detail);
        }
        for market in &wave.markets {
            if let Some(owner) = owners.insert(market, &wave.name) {
                let detail =
                    format!("market {market:?} is in wave {owner:?} already; waves must be disjoint");
                fault(faults, format!("/waves/{index}/markets"), detail);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(name: &str, markets: &[&str]) -> Wave {
        Wave { name: name.into(), markets: markets.iter().map(|&market| market.into()).collect() }
    }

    fn content() -> Content {
        let variant = Variant { title: "Hi".into(), ..Variant::default() };
        Content { variants: BTreeMap::from([("en".into(), variant)]), fallback: "en".into() }
    }

    #[test]
    fn overlapping_waves_are_refused_with_their_place() {
        let waves = [wave("east", &["us", "ca"]), wave("west", &["mx", "us"])];
        let faults = check("n", &content(), &waves, &Policy::default());
        assert_eq!(faults.len(), 1);
        assert_eq!(faults[0].pointer, "/waves/1/markets");
        assert!(faults[0].detail.contains("\"us\" is in wave \"east\""), "{}", faults[0].detail);
    }

    #[test]
    fn a_wave_of_every_market_stands_alone() {
        let faults = check("n", &content(), &[wave("a", &[]), wave("b", &["us"])], &Policy::default());
        assert_eq!(faults[0].pointer, "/waves/0/markets");
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let content = Content { variants: BTreeMap::new(), fallback: "en".into() };
        let policy = Policy { time_to_live_s: 0, ..Policy::default() };
        let faults = check(" ", &content, &[wave("a b", &[])], &policy);
        let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
        assert_eq!(pointers, ["/name", "/content/variants", "/waves/0/name", "/policy/time_to_live_s"]);
    }

    #[test]
    fn a_locale_falls_back_part_by_part_then_to_the_fallback() {
        let mut content = content();
        for tag in ["pt", "pt-PT", "zh", "zh-Hant"] {
            content.variants.insert(tag.into(), Variant::default());
        }
        for (locale, tag) in [
            ("pt-BR", "pt"),
            ("pt-PT", "pt-PT"),
            ("pt_pt", "pt-PT"),
            ("PT", "pt"),
            ("zh-Hant-TW", "zh-Hant"),
            ("zh_CN", "zh"),
            ("ptx", "en"),
            ("de", "en"),
            ("", "en"),
        ] {
            assert_eq!(content.resolve(locale), Some(tag), "{locale}");
        }
        content.fallback = "xx".into();
        assert_eq!(content.resolve("de"), None);
    }

    #[test]
    fn two_variants_of_one_language_tag_are_refused() {
        let mut content = content();
        content.variants.insert("EN".into(), content.variants["en"].clone());
        let faults = check("n", &content, &[wave("a", &[])], &Policy::default());
        assert_eq!(faults.len(), 1);
        assert_eq!(
            (&*faults[0].pointer, &*faults[0].detail),
            ("/content/variants/en", "is the same language tag as \"EN\"")
        );
    }
}

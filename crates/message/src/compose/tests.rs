//! Composing: exact sizes at the limits, faults and warnings together, times.

use std::collections::BTreeMap;

use model::Variant;
use model::extras::{Android, Apple, InterruptionLevel};
use proptest::option::of;
use proptest::prelude::*;

use super::*;
use crate::warning::WarningKind;

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[ -~]{0,40}", "\\PC{0,20}", Just("\"\\\u{1}\n🦉\u{202e}".to_string())]
}

fn any_apple() -> impl Strategy<Value = Apple> {
    let level = prop_oneof![
        Just(None),
        Just(Some(InterruptionLevel::Passive)),
        Just(Some(InterruptionLevel::Active)),
        Just(Some(InterruptionLevel::Critical))
    ];
    (level, of(0_u8..=100), of(text()), of(text()), of(text()), of(text())).prop_map(
        |(interruption_level, relevance_percent, thread_id, category, target_content_id, filter_criteria)| {
            Apple {
                interruption_level,
                relevance_percent,
                thread_id,
                category,
                target_content_id,
                filter_criteria,
            }
        },
    )
}

pub(crate) fn any_variant() -> impl Strategy<Value = Variant> {
    let texts = (text(), text(), text());
    let names = (of(text()), of(text()), of(text()), of(text()), of(any::<u32>()), any::<bool>());
    let data = proptest::collection::btree_map("[a-z]{5,9}", text(), 0..4);
    let android = (of(text()), of(text())).prop_map(|(channel_id, color)| Android { channel_id, color });
    (texts, names, data, any_apple(), android).prop_map(
        |((title, subtitle, body), (image, icon, link, sound, badge, silent), data, apple, android)| {
            Variant { title, subtitle, body, image, icon, link, sound, badge, silent, data, apple, android }
        },
    )
}

pub(crate) fn content(variants: &[(&str, Variant)]) -> Content {
    let fallback = variants[0].0.to_string();
    Content { variants: variants.iter().map(|(tag, one)| (tag.to_string(), one.clone())).collect(), fallback }
}

pub(crate) fn alert(body: &str) -> Variant {
    Variant { title: "Kick-off".into(), body: body.into(), ..Variant::default() }
}

fn context() -> Context {
    let now = Timestamp::from_millis(1_770_595_199_250);
    let not_after = Timestamp::from_millis(1_770_595_259_100);
    Context { collapse_id: collapse_id(LaunchId(42)), not_after, now }
}

proptest! {
    #[test]
    fn whatever_is_composed_is_valid_and_within_its_limits(variant in any_variant()) {
        if let Ok(composed) = compose(&content(&[("en", variant)]), "en", &context()) {
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&composed.apns.body).is_ok());
            prop_assert!(serde_json::from_slice::<serde_json::Value>(&composed.fcm.body("a:b")).is_ok());
            prop_assert!(composed.apns.body.len() <= APNS_BYTES_MAX);
            prop_assert!(composed.fcm.payload_bytes <= FCM_BYTES_MAX);
        }
    }

    #[test]
    fn no_time_to_live_outlives_the_launch(not_after in 0_u64..u64::MAX / 2, at in 0_u64..u64::MAX / 2) {
        let ttl_s = u64::from(ttl_s(Timestamp(not_after), Timestamp(at)));
        prop_assert!(ttl_s == 0 || at + ttl_s * 1_000_000 <= not_after);
        prop_assert!(ttl_s <= u64::from(TIME_TO_LIVE_S_MAX));
    }
}

#[test]
fn times_never_exceed_not_after() {
    let composed = compose(&content(&[("en", alert("Now"))]), "en", &context()).unwrap();
    assert_eq!(composed.apns.expiration_s, 1_770_595_259);
    assert_eq!(composed.fcm.ttl_s, 59);
}

#[test]
fn every_attempt_of_a_launch_has_one_collapse_id() {
    let content = content(&[("en", alert("Now"))]);
    let first = compose(&content, "en", &context()).unwrap();
    let later = Context { now: context().now + std::time::Duration::from_secs(30), ..context() };
    let second = compose(&content, "en", &later).unwrap();
    assert_eq!(first.apns, second.apns);
    let id = "lnc_0000000000000000000000000000002a";
    assert_eq!(first.apns.collapse_id.as_str(), id);
    let body = String::from_utf8(second.fcm.body("a:b")).unwrap();
    assert!(
        body.contains(&format!("\"collapse_key\":\"{id}\"")) && body.contains(&format!("\"tag\":\"{id}\""))
    );
}

/// `apns` bytes of a field that only APNs has, `fcm` bytes of one that only FCM has.
fn filled(apns: usize, fcm: usize) -> Content {
    let mut variant = alert("Now");
    variant.apple.thread_id = Some("x".repeat(apns));
    variant.android.channel_id = Some("x".repeat(fcm));
    content(&[("en", variant)])
}

#[test]
fn the_limits_are_exact_to_the_byte() {
    let least = compose(&filled(1, 1), "en", &context()).unwrap();
    let apns = APNS_BYTES_MAX - least.apns.body.len() + 1;
    let fcm = FCM_BYTES_MAX - least.fcm.payload_bytes + 1;
    let composed = compose(&filled(apns, fcm), "en", &context()).unwrap();
    assert_eq!((composed.apns.body.len(), composed.fcm.payload_bytes), (APNS_BYTES_MAX, FCM_BYTES_MAX));
    let nearly_full = composed.warnings.iter().filter(|warning| warning.kind == WarningKind::NearlyFull);
    assert_eq!(nearly_full.count(), 2);
    for (content, provider) in [(filled(apns + 1, fcm), "APNs"), (filled(apns, fcm + 1), "FCM")] {
        let faults = compose(&content, "en", &context()).unwrap_err();
        let detail = format!("{provider} payload of locale en has 4097 bytes, at most 4096 are allowed");
        assert_eq!(faults, [Fault { pointer: "/content/variants/en".into(), detail }]);
    }
}

#[test]
fn multibyte_text_counts_its_bytes() {
    let owls = "🦉".repeat(1_020);
    let faults = compose(&content(&[("ja", alert(&owls))]), "ja", &context()).unwrap_err();
    let pointers: Vec<_> = faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(pointers, ["/content/variants/ja"; 2]);
    assert!(faults[1].detail.starts_with("FCM payload of locale ja has"), "{}", faults[1].detail);
}

#[test]
fn a_locale_gets_its_language_or_the_fallback_with_a_warning() {
    let content = content(&[("en", alert("Now")), ("pt", alert("Agora"))]);
    let brazil = compose(&content, "pt-BR", &context()).unwrap();
    assert_eq!((brazil.variant.as_str(), brazil.warnings), ("pt", vec![]));
    for english in ["en-GB", "EN_us"] {
        assert_eq!(compose(&content, english, &context()).unwrap().warnings, []);
    }
    let german = compose(&content, "de", &context()).unwrap();
    assert_eq!(german.variant, "en");
    assert_eq!(german.warnings[0].kind, WarningKind::Fallback);
}

#[test]
fn without_variant_and_fallback_there_is_nothing_to_send() {
    let content =
        Content { variants: BTreeMap::from([("pt".into(), alert("Agora"))]), fallback: "en".into() };
    assert_eq!(compose(&content, "de", &context()).unwrap_err()[0].pointer, "/content/fallback");
    assert!(compose(&content, "pt", &context()).is_ok());
}

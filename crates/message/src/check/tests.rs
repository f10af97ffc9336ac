//! The check of a whole campaign.

use model::{Timestamp, Variant};
use proptest::prelude::*;

use super::*;
use crate::compose::tests::{alert, any_variant, content};
use crate::{Context, compose};

proptest! {
    #[test]
    fn what_the_check_says_is_what_composing_does(variant in any_variant()) {
        let content = content(&[("en", variant)]);
        let context = Context {
            collapse_id: longest_id(),
            not_after: Timestamp::from_secs(2_000_000_000),
            now: Timestamp::from_secs(1_999_999_940),
        };
        let findings = check(&content);
        match compose(&content, "en", &context) {
            Ok(composed) => {
                prop_assert_eq!(findings.faults, vec![]);
                prop_assert_eq!(findings.warnings, composed.warnings);
                prop_assert_eq!(findings.variants[0].apns_bytes, composed.apns.body.len());
                prop_assert_eq!(findings.variants[0].fcm_bytes, composed.fcm.payload_bytes);
                prop_assert!(findings.variants[0].fcm_request_bytes >= composed.fcm.request_bytes(0));
            }
            Err(faults) => prop_assert_eq!(findings.faults, faults),
        }
    }
}

#[test]
fn every_variant_is_judged_at_once() {
    let image = Some("http://img.example/a".to_string());
    let content = content(&[
        ("en", alert("Now")),
        ("de", Variant { image, ..alert("Jetzt {{name}}") }),
        ("fr", Variant { link: Some("?".into()), ..alert("ici") }),
    ]);
    let findings = check(&content);
    let faults: Vec<_> = findings.faults.iter().map(|fault| fault.pointer.as_str()).collect();
    assert_eq!(faults, ["/content/variants/de/image", "/content/variants/fr/link"]);
    assert_eq!(findings.warnings[0].pointer, "/content/variants/de/body");
    let locales: Vec<_> = findings.variants.iter().map(|size| size.locale.as_str()).collect();
    assert_eq!(locales, ["de", "en", "fr"]);
}

#[test]
fn a_missing_fallback_is_a_fault() {
    let content = Content { fallback: "xx".into(), ..content(&[("en", alert("Now"))]) };
    assert_eq!(check(&content).faults[0].pointer, "/content/fallback");
}

#[test]
fn locales_without_a_variant_are_counted_in_devices() {
    let content = content(&[("en", alert("Now")), ("pt", alert("Agora"))]);
    let groups = [("pt-BR", 5), ("fr", 3), ("en", 9), ("fr", 4), ("ja", 1)];
    let warnings = check_locales(&content, groups);
    let details: Vec<_> = warnings.iter().map(|warning| warning.detail.as_str()).collect();
    assert_eq!(
        details,
        [
            "7 devices of locale fr have no variant and get the fallback en",
            "1 devices of locale ja have no variant and get the fallback en",
        ]
    );
}

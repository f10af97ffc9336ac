//! APNs bodies against expected JSON and against what `a2` itself would send.

use a2::request::payload::PayloadLike;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::compose::tests::any_variant;

fn parsed(variant: &Variant) -> Value {
    serde_json::from_slice(&body(variant)).unwrap()
}

/// What `a2`'s own builder and serializer make of the same words, used as its documentation shows.
fn as_a2_sends(variant: &Variant) -> Value {
    let mut builder = DefaultNotificationBuilder::new();
    if variant.silent {
        builder = builder.set_content_available();
    } else {
        builder = shown(builder, variant);
        if variant.image.is_some() {
            builder = builder.set_mutable_content();
        }
    }
    let mut payload = builder.build("00ff", NotificationOptions::default());
    let data = data(variant);
    for (key, value) in &data {
        payload.add_custom_data(key, value).unwrap();
    }
    serde_json::from_str(&payload.to_json_string().unwrap()).unwrap()
}

fn without_zero_mutable_content(mut value: Value) -> Value {
    let aps = value["aps"].as_object_mut().unwrap();
    if aps.get("mutable-content") == Some(&json!(0)) {
        aps.remove("mutable-content");
    }
    value
}

proptest! {
    #[test]
    fn what_a2_would_send_is_what_we_send(variant in any_variant()) {
        let plain = Variant { apple: Apple { category: variant.apple.category.clone(), ..Apple::default() }, ..variant };
        prop_assert_eq!(parsed(&plain), without_zero_mutable_content(as_a2_sends(&plain)));
    }

    #[test]
    fn fields_that_a2_lacks_are_added_and_change_nothing_else(variant in any_variant()) {
        let mut ours = parsed(&variant);
        let aps = ours["aps"].as_object_mut().unwrap();
        for key in ["thread-id", "interruption-level", "relevance-score", "target-content-id", "filter-criteria"] {
            let was_there = aps.remove(key).is_some();
            prop_assert!(!(was_there && variant.silent));
        }
        prop_assert_eq!(ours, without_zero_mutable_content(as_a2_sends(&variant)));
    }
}

fn full() -> Variant {
    Variant {
        title: "Kick-off".into(),
        subtitle: "Now".into(),
        body: "The owl is \"watching\" 🦉".into(),
        image: Some("https://img.example/owl.png".into()),
        icon: Some("ic_owl".into()),
        link: Some("owl://lesson/1".into()),
        sound: Some("hoot.caf".into()),
        badge: Some(3),
        silent: false,
        data: [("course".to_string(), "es".to_string())].into(),
        apple: Apple {
            interruption_level: Some(InterruptionLevel::TimeSensitive),
            relevance_percent: Some(75),
            thread_id: Some("bowl".into()),
            category: Some("LESSON".into()),
            target_content_id: Some("window-1".into()),
            filter_criteria: Some("play".into()),
        },
        android: model::extras::Android::default(),
    }
}

#[test]
fn a_full_alert_has_every_field_where_apple_reads_it() {
    let expected = json!({
        "aps": {
            "alert": {"title": "Kick-off", "subtitle": "Now", "body": "The owl is \"watching\" 🦉"},
            "badge": 3,
            "sound": "hoot.caf",
            "category": "LESSON",
            "mutable-content": 1,
            "thread-id": "bowl",
            "interruption-level": "time-sensitive",
            "relevance-score": 0.75,
            "target-content-id": "window-1",
            "filter-criteria": "play"
        },
        "course": "es",
        "image": "https://img.example/owl.png",
        "link": "owl://lesson/1"
    });
    assert_eq!(parsed(&full()), expected);
    assert_eq!(manner(&full()), (PushType::Alert, Priority::Immediate));
}

#[test]
fn a_silent_variant_is_a_background_push_with_nothing_to_show() {
    let silent = Variant { silent: true, ..full() };
    let expected = json!({"aps": {"content-available": 1}, "course": "es", "link": "owl://lesson/1"});
    assert_eq!(parsed(&silent), expected);
    assert_eq!(manner(&silent), (PushType::Background, Priority::Considerate));
}

#[test]
fn the_smallest_alert_wastes_no_byte() {
    let variant = Variant { title: "Hi".into(), ..Variant::default() };
    assert_eq!(String::from_utf8(body(&variant)).unwrap(), r#"{"aps":{"alert":{"title":"Hi"}}}"#);
}

#[test]
fn push_types_and_priorities_read_as_a2_writes_them() {
    let all = [
        PushType::Alert,
        PushType::Background,
        PushType::Location,
        PushType::Voip,
        PushType::Complication,
        PushType::FileProvider,
        PushType::Mdm,
        PushType::LiveActivity,
        PushType::PushToTalk,
        PushType::Widgets,
        PushType::Controls,
    ];
    for push_type in all {
        let known = push_type.known_to_a2().map(|known| known.to_string());
        assert!(known.is_none_or(|known| known == push_type.as_str()), "{push_type:?}");
    }
    for priority in [Priority::Immediate, Priority::Considerate, Priority::Low] {
        let known = priority.known_to_a2().map(|known| known.to_string());
        assert!(known.is_none_or(|known| known == priority.as_str()), "{priority:?}");
        assert_eq!(priority.value().to_string(), priority.as_str());
    }
}

#[test]
fn collapse_ids_have_1_to_64_visible_bytes() {
    assert!(CollapseId::new("x".repeat(64)).is_ok());
    for bad in [String::new(), "x".repeat(65), "a b".into(), "ü".into(), "a\r\n".into()] {
        assert!(CollapseId::new(bad.clone()).is_err(), "{bad:?}");
    }
}

#[test]
fn headers_are_those_of_a2() {
    let collapse_id = CollapseId::new("lnc_1").unwrap();
    let canary = ApnsMessage::canary(collapse_id, 0);
    let options = canary.options().unwrap();
    assert_eq!(options.apns_push_type, Some(a2::PushType::Background));
    assert_eq!(options.apns_priority.unwrap().to_string(), "5");
    assert_eq!(options.apns_collapse_id.unwrap().value, "lnc_1");
    let widgets = ApnsMessage { push_type: PushType::Widgets, ..canary.clone() };
    assert!(widgets.options().is_none());
    assert_eq!(
        serde_json::from_slice::<Value>(&canary.body).unwrap(),
        json!({"aps": {"content-available": 1}})
    );
}

#[test]
fn every_reason_of_a2_is_a_reason_of_ours() {
    for reason in model::Reason::ALL.iter().filter(|reason| (1..=254).contains(&reason.code())) {
        let theirs = serde_json::from_value::<a2::ErrorReason>(json!(reason.text()));
        let is_missing_in_a2 = [
            model::Reason::InvalidPushType,
            model::Reason::UnrelatedKeyIdInToken,
            model::Reason::BadEnvironmentKeyIdInToken,
            model::Reason::ExpiredToken,
        ];
        assert_eq!(theirs.is_err(), is_missing_in_a2.contains(reason), "{reason}");
        if let Ok(theirs) = theirs {
            assert_eq!(format!("{theirs:?}"), reason.text());
        }
    }
}

//! FCM bodies against expected JSON, for any key.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::compose::tests::any_variant;

fn id() -> CollapseId {
    CollapseId::new("lnc_0000000000000000000000000000002a").unwrap()
}

fn full() -> Variant {
    Variant {
        title: "Kick-off".into(),
        subtitle: "Now".into(),
        body: "The owl is \"watching\" 🦉".into(),
        image: Some("https://img.example/owl.png".into()),
        icon: Some("ic_owl".into()),
        link: Some("owl://lesson/1".into()),
        sound: Some("hoot".into()),
        badge: Some(3),
        data: [("course".to_string(), "es".to_string())].into(),
        android: model::extras::Android { channel_id: Some("bowl".into()), color: Some("#58cc02".into()) },
        ..Variant::default()
    }
}

#[test]
fn a_full_message_has_every_field_where_google_reads_it() {
    let body: Value = serde_json::from_slice(&message(&full(), &id(), 3_600).body("abc:DEF-_1")).unwrap();
    let expected = json!({"message": {
        "token": "abc:DEF-_1",
        "android": {
            "ttl": "3600s",
            "collapse_key": "lnc_0000000000000000000000000000002a",
            "priority": "HIGH",
            "notification": {
                "tag": "lnc_0000000000000000000000000000002a",
                "icon": "ic_owl",
                "color": "#58cc02",
                "sound": "hoot",
                "channel_id": "bowl"
            }
        },
        "notification": {
            "title": "Kick-off",
            "body": "The owl is \"watching\" 🦉",
            "image": "https://img.example/owl.png"
        },
        "data": {"course": "es", "link": "owl://lesson/1"}
    }});
    assert_eq!(body, expected);
}

#[test]
fn a_silent_message_is_data_only_and_wakes_nobody() {
    let silent = Variant { silent: true, ..full() };
    let body: Value = serde_json::from_slice(&message(&silent, &id(), 0).body("abc:DEF")).unwrap();
    let expected = json!({"message": {
        "token": "abc:DEF",
        "android": {"ttl": "0s", "collapse_key": "lnc_0000000000000000000000000000002a", "priority": "NORMAL"},
        "data": {"course": "es", "link": "owl://lesson/1"}
    }});
    assert_eq!(body, expected);
}

#[test]
fn an_installation_id_goes_into_its_own_field() {
    let message = message(&full(), &id(), 60);
    let fid = "cIlrsB9HRoGkrvSrGUzbC-";
    assert!(is_fid(fid));
    let body: Value = serde_json::from_slice(&message.body(fid)).unwrap();
    assert_eq!(body["message"]["fid"], fid);
    assert_eq!(body["message"].get("token"), None);
    for token in ["cIlrsB9HRoGkrvSrGUzbC", "cIlrsB9HRoGkrvSrGUzbC-a", "cIlrsB9HRoGkrvSr:UzbC-"] {
        assert!(!is_fid(token), "{token}");
    }
}

#[test]
fn a_check_only_request_is_the_same_message() {
    let message = message(&full(), &id(), 60);
    let checked: Value = serde_json::from_slice(&message.validate_only_body("abc:DEF")).unwrap();
    let sent: Value = serde_json::from_slice(&message.body("abc:DEF")).unwrap();
    assert_eq!(checked["validate_only"], json!(true));
    assert_eq!(checked["message"], sent["message"]);
}

proptest! {
    #[test]
    fn any_key_of_the_alphabet_makes_a_valid_body(variant in any_variant(), key in "[A-Za-z0-9_:-]{1,200}") {
        let message = message(&variant, &id(), 60);
        let body = message.body(&key);
        prop_assert_eq!(body.len(), message.request_bytes(key.len()) - 2 * usize::from(is_fid(&key)));
        let value: Value = serde_json::from_slice(&body).unwrap();
        let field = if is_fid(&key) { "fid" } else { "token" };
        prop_assert_eq!(&value["message"][field], &json!(key));
    }

    #[test]
    fn counted_bytes_are_those_of_the_values_sent_and_bound_their_content(variant in any_variant()) {
        let message = message(&variant, &id(), 60);
        let value: Value = serde_json::from_slice(&message.body("a:b")).unwrap();
        let parts = [&value["message"]["notification"], &value["message"]["data"],
            &value["message"]["android"]["notification"]];
        let sent: usize = parts.iter().filter(|part| !part.is_null()).map(|part| part.to_string().len()).sum();
        prop_assert_eq!(message.payload_bytes, sent);
        let content: usize = parts.iter().filter_map(|part| part.as_object()).flatten()
            .map(|(key, value)| key.len() + value.as_str().unwrap().len()).sum();
        prop_assert!(content <= message.payload_bytes);
    }

    #[test]
    fn another_time_to_live_changes_nothing_else(variant in any_variant(), ttl_s in 0_u32..2_419_200) {
        let mut shrunk = message(&variant, &id(), 2_419_200);
        shrunk.suffix = shrunk.suffix_for(ttl_s);
        shrunk.ttl_s = ttl_s;
        prop_assert_eq!(shrunk, message(&variant, &id(), ttl_s));
    }
}

//! What `a2` would send for the same campaign is what we send, and so is what Google's reference says. `a2`'s client
//! speaks to Apple alone, so its request is put together here from what it lets others see, its payload's own serializer
//! and its options, by the rules of its `build_request` (0.10): each option is a header field of its name, besides
//! `content-type`, `content-length` and `authorization`.

use std::collections::BTreeMap;

use a2::request::payload::{Payload, PayloadLike};
use a2::{DefaultNotificationBuilder, NotificationBuilder, NotificationOptions};
use model::{LaunchId, Platform, Variant};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use provider_sim::start;
use push::{EngineConfig, GroupMessage, Live};
use serde_json::{Value, json};

use crate::campaigns::{composed, manner, variant};
use crate::capture::{Capture, Captured};
use crate::outside::MadeUp;
use crate::rig::{APP, Rig, pool_config};

/// An engine that sends to a server which writes down.
fn rig(platform: Platform, capture: &Capture) -> Rig {
    // Nobody connects to the simulator of this rig.
    let simulator = start(provider_sim::Config::of(platform)).unwrap();
    let ca = capture.certificate_pem.clone();
    Rig::on(simulator, platform, capture.port, ca, pool_config(platform, 1), EngineConfig::default())
}

/// Sends `message` to the device of this number; what arrived.
fn sent(rig: &Rig, capture: &Capture, message: GroupMessage<Live>, number: u32) -> Captured {
    let mut shard = rig.shard(&rig.open_gate(), number, 1);
    shard.message = message;
    rig.engine.submit(shard).unwrap();
    let captured = capture.next();
    assert_eq!(rig.wait(1).accepted(), 1);
    captured
}

fn key(platform: Platform, number: u32) -> Vec<u8> {
    let mut room = [0; 256];
    MadeUp { platform, first: number, count: 1, has_unusable: false }.write(0, &mut room).to_vec()
}

/// The campaign's words through `a2`'s builder. What it has no word for is added where Apple's table 1 has it.
fn payload<'a>(variant: &'a Variant, token: &'a str, options: NotificationOptions<'a>) -> Payload<'a> {
    let mut builder = DefaultNotificationBuilder::new();
    if variant.silent {
        return with_data(builder.set_content_available().build(token, options), variant);
    }
    if !variant.title.is_empty() {
        builder = builder.set_title(&variant.title);
    }
    if !variant.subtitle.is_empty() {
        builder = builder.set_subtitle(&variant.subtitle);
    }
    if !variant.body.is_empty() {
        builder = builder.set_body(&variant.body);
    }
    if let Some(sound) = &variant.sound {
        builder = builder.set_sound(sound);
    }
    if let Some(badge) = variant.badge {
        builder = builder.set_badge(badge);
    }
    if let Some(category) = &variant.apple.category {
        builder = builder.set_category(category);
    }
    if variant.image.is_some() {
        builder = builder.set_mutable_content();
    }
    with_data(builder.build(token, options), variant)
}

fn with_data<'a>(mut payload: Payload<'a>, variant: &'a Variant) -> Payload<'a> {
    for (key, value) in &variant.data {
        payload.add_custom_data(key, value).unwrap();
    }
    if let Some(link) = &variant.link {
        payload.add_custom_data("link", link).unwrap();
    }
    if let Some(image) = variant.image.as_ref().filter(|_| !variant.silent) {
        payload.add_custom_data("image", image).unwrap();
    }
    payload
}

/// The body as JSON, without the zero that `a2` writes where there is nothing to change, and with the keys that it lacks.
fn body(payload: &Payload<'_>, variant: &Variant) -> Value {
    let mut body: Value = serde_json::from_str(&payload.to_json_string().unwrap()).unwrap();
    let aps = body["aps"].as_object_mut().unwrap();
    if aps.get("mutable-content") == Some(&json!(0)) {
        aps.remove("mutable-content");
    }
    let apple = &variant.apple;
    let level = apple.interruption_level.map(|level| serde_json::to_value(level).unwrap());
    let level = level.map(|level| json!(level.as_str().unwrap().replace('_', "-")));
    let lacking = [
        ("thread-id", apple.thread_id.as_ref().map(|id| json!(id))),
        ("interruption-level", level),
        ("relevance-score", apple.relevance_percent.map(|percent| json!(f64::from(percent) / 100.0))),
        ("target-content-id", apple.target_content_id.as_ref().map(|id| json!(id))),
        ("filter-criteria", apple.filter_criteria.as_ref().map(|text| json!(text))),
    ];
    for (key, value) in lacking.into_iter().filter(|_| !variant.silent) {
        if let Some(value) = value {
            aps.insert(key.to_owned(), value);
        }
    }
    body
}

/// Header fields by `a2`'s rules, as far as the options decide them.
fn fields(options: &NotificationOptions<'_>) -> BTreeMap<String, String> {
    let fields = [
        ("apns-priority", options.apns_priority.as_ref().map(ToString::to_string)),
        ("apns-id", options.apns_id.map(str::to_owned)),
        ("apns-push-type", options.apns_push_type.as_ref().map(ToString::to_string)),
        ("apns-expiration", options.apns_expiration.map(|seconds| seconds.to_string())),
        ("apns-collapse-id", options.apns_collapse_id.as_ref().map(|id| id.value.to_owned())),
        ("apns-topic", options.apns_topic.map(str::to_owned)),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

/// All but the authorization, each of which may stand once.
fn others(captured: &Captured) -> BTreeMap<String, String> {
    let text = |value: &http::HeaderValue| value.to_str().unwrap().to_owned();
    let fields: BTreeMap<_, _> =
        captured.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    assert_eq!(fields.len(), captured.headers.len(), "a field stands twice");
    fields.into_iter().filter(|(name, _)| name != "authorization").collect()
}

/// The three parts of a provider token, but for the signature.
fn token_parts(captured: &Captured) -> [Value; 2] {
    use base64::Engine;
    let authorization = captured.headers["authorization"].to_str().unwrap();
    let (scheme, token) = authorization.split_once(' ').unwrap();
    // `a2` writes `Bearer`, Apple's own example `bearer`: case does not matter (RFC 9110, 11.1).
    assert!(scheme.eq_ignore_ascii_case("bearer"));
    let parts: Vec<_> = token.split('.').collect();
    assert_eq!(parts.len(), 3);
    let decode = |part: &str| {
        serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap())
            .unwrap()
    };
    [decode(parts[0]), decode(parts[1])]
}

fn names(value: &Value) -> Vec<&str> {
    let mut names: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

fn runner() -> TestRunner {
    TestRunner::new(Config { cases: 200, failure_persistence: None, ..Config::default() })
}

#[test]
fn what_a2_would_send_is_what_arrives() {
    let capture = Capture::start();
    let rig = rig(Platform::Apns, &capture);
    let cases = (variant(), manner(), 0..1_000_000_u32);
    let result = runner().run(&cases, |(variant, manner, number)| {
        let composed =
            composed(&variant, &manner).ok_or_else(|| TestCaseError::reject("no such campaign"))?;
        let message = rig.pool.apns_message(LaunchId(1 << 64), &composed.apns).unwrap();
        let captured = sent(&rig, &capture, message, number);
        let token: String = key(Platform::Apns, number).iter().map(|byte| format!("{byte:02x}")).collect();
        let id = captured.headers["apns-id"].to_str().unwrap();
        let known = composed.apns.options().unwrap();
        let options = NotificationOptions { apns_id: Some(id), apns_topic: Some(APP), ..known };
        prop_assert_eq!(others(&captured), fields(&options));
        // What the campaign says, not what was composed from it.
        let (push_type, priority) = if variant.silent { ("background", "5") } else { ("alert", "10") };
        let manner = [push_type, priority, &manner.0, &manner.1.to_string()].map(str::to_owned);
        let told = ["apns-push-type", "apns-priority", "apns-collapse-id", "apns-expiration"];
        prop_assert_eq!(told.map(|name| others(&captured)[name].clone()), manner);
        let theirs = payload(&variant, &token, options);
        prop_assert_eq!(serde_json::from_slice::<Value>(&captured.body).unwrap(), body(&theirs, &variant));
        prop_assert_eq!(&captured.path, &format!("/3/device/{}", theirs.get_device_token()));
        prop_assert_eq!((&*captured.method, &*captured.scheme), ("POST", "https"));
        let [header, claims] = token_parts(&captured);
        prop_assert_eq!((names(&header), names(&claims)), (vec!["alg", "kid"], vec!["iat", "iss"]));
        prop_assert_eq!(&header["alg"], "ES256");
        Ok(())
    });
    result.unwrap();
}

/// The message that Google's reference ("REST Resource: projects.messages") has for a variant, written down again.
fn reference(variant: &Variant, collapse_id: &str, ttl: &Value, key: (&str, &str)) -> Value {
    let some = |pairs: Vec<(&str, Option<Value>)>| -> Value {
        pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let text = |text: &str| (!text.is_empty()).then(|| json!(text));
    let option = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let notification = some(vec![
        ("title", text(&variant.title)),
        ("body", text(&variant.body)),
        ("image", option(&variant.image)),
    ]);
    let on_android = some(vec![
        ("tag", Some(json!(collapse_id))),
        ("icon", option(&variant.icon)),
        ("color", option(&variant.android.color)),
        ("sound", option(&variant.sound)),
        ("channel_id", option(&variant.android.channel_id)),
    ]);
    let mut data = variant.data.clone();
    data.extend(variant.link.iter().map(|link| ("link".to_owned(), link.clone())));
    let is_shown = !variant.silent;
    let android = some(vec![
        ("ttl", Some(ttl.clone())),
        ("collapse_key", Some(json!(collapse_id))),
        ("priority", Some(json!(if is_shown { "HIGH" } else { "NORMAL" }))),
        ("notification", is_shown.then_some(on_android)),
    ]);
    let message = some(vec![
        (key.0, Some(json!(key.1))),
        ("android", Some(android)),
        ("notification", is_shown.then_some(notification)),
        ("data", (!data.is_empty()).then(|| json!(data))),
    ]);
    json!({ "message": message })
}

#[test]
fn what_google_s_reference_says_is_what_arrives() {
    let capture = Capture::start();
    let rig = rig(Platform::Fcm, &capture);
    // What warms the connection.
    let warm_up = capture.next();
    assert_eq!(serde_json::from_slice::<Value>(&warm_up.body).unwrap()["validate_only"], true);
    let cases = (variant(), manner(), 0..1_000_000_u32);
    let result = runner().run(&cases, |(variant, manner, number)| {
        let composed =
            composed(&variant, &manner).ok_or_else(|| TestCaseError::reject("no such campaign"))?;
        let message = rig.pool.fcm_message(&composed.fcm, 3_600).unwrap();
        let captured = sent(&rig, &capture, message, number);
        let key = String::from_utf8(key(Platform::Fcm, number)).unwrap();
        let name = if key.len() == 22 { "fid" } else { "token" };
        let body: Value = serde_json::from_slice(&captured.body).unwrap();
        let ttl = &body["message"]["android"]["ttl"];
        let seconds =
            ttl.as_str().and_then(|ttl| ttl.strip_suffix('s')).and_then(|ttl| ttl.parse::<u32>().ok());
        prop_assert!(seconds.is_some_and(|seconds| seconds <= 3_600), "{ttl}");
        prop_assert_eq!(&body, &reference(&variant, &manner.0, ttl, (name, &key)));
        prop_assert_eq!(&captured.path, &format!("/v1/projects/{APP}/messages:send"));
        let fields = others(&captured);
        prop_assert_eq!(fields.get("content-type").map(String::as_str), Some("application/json"));
        let allowed = ["content-type", "content-length"];
        prop_assert!(fields.keys().all(|name| allowed.contains(&name.as_str())), "{fields:?}");
        prop_assert!(captured.headers["authorization"].to_str().unwrap().starts_with("bearer "));
        Ok(())
    });
    result.unwrap();
}

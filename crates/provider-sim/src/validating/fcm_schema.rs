//! The body of `messages:send`, field by field, as Google's REST reference lists it in 2026. Proto3 JSON takes a field
//! under its own name and in lower camel case; it takes nothing else.

use serde_json::{Map, Value};

use super::arrived::short;

/// What a field holds.
enum Kind {
    Text,
    Flag,
    Whole,
    Number,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// `3.5s`.
    Span,
    /// RFC 3339.
    Time,
    /// Texts by name.
    Texts,
    /// A list of texts.
    TextList,
    /// A list of `3.5s`.
    SpanList,
    /// Any object: `google.protobuf.Struct`.
    Free,
    Object(&'static [Field]),
}

type Field = (&'static str, Kind);

use Kind::{Choice, Flag, Free, Number, Object, Span, SpanList, Text, TextList, Texts, Time, Whole};

const BODY: &[Field] = &[("validate_only", Flag), ("message", Object(MESSAGE))];

const MESSAGE: &[Field] = &[
    ("name", Text),
    ("data", Texts),
    ("notification", Object(&[("title", Text), ("body", Text), ("image", Text)])),
    ("android", Object(ANDROID)),
    ("webpush", Object(WEBPUSH)),
    ("apns", Object(APNS)),
    ("fcm_options", Object(OPTIONS)),
    ("token", Text),
    ("fid", Text),
    ("topic", Text),
    ("condition", Text),
];

const OPTIONS: &[Field] = &[("analytics_label", Text)];

const ANDROID: &[Field] = &[
    ("collapse_key", Text),
    ("priority", Choice(&["NORMAL", "HIGH", "normal", "high"])),
    ("ttl", Span),
    ("restricted_package_name", Text),
    ("data", Texts),
    ("notification", Object(ANDROID_NOTIFICATION)),
    ("fcm_options", Object(OPTIONS)),
    ("direct_boot_ok", Flag),
    ("bandwidth_constrained_ok", Flag),
    ("restricted_satellite_ok", Flag),
];

const ANDROID_NOTIFICATION: &[Field] = &[
    ("title", Text),
    ("body", Text),
    ("icon", Text),
    ("color", Text),
    ("sound", Text),
    ("tag", Text),
    ("click_action", Text),
    ("body_loc_key", Text),
    ("body_loc_args", TextList),
    ("title_loc_key", Text),
    ("title_loc_args", TextList),
    ("channel_id", Text),
    ("ticker", Text),
    ("sticky", Flag),
    ("event_time", Time),
    ("local_only", Flag),
    (
        "notification_priority",
        Choice(&[
            "PRIORITY_UNSPECIFIED",
            "PRIORITY_MIN",
            "PRIORITY_LOW",
            "PRIORITY_DEFAULT",
            "PRIORITY_HIGH",
            "PRIORITY_MAX",
        ]),
    ),
    ("default_sound", Flag),
    ("default_vibrate_timings", Flag),
    ("default_light_settings", Flag),
    ("vibrate_timings", SpanList),
    ("visibility", Choice(&["VISIBILITY_UNSPECIFIED", "PRIVATE", "PUBLIC", "SECRET"])),
    ("notification_count", Whole),
    ("light_settings", Object(LIGHT)),
    ("image", Text),
    ("proxy", Choice(&["PROXY_UNSPECIFIED", "ALLOW", "DENY", "IF_PRIORITY_LOWERED"])),
];

const LIGHT: &[Field] = &[
    ("color", Object(&[("red", Number), ("green", Number), ("blue", Number), ("alpha", Number)])),
    ("light_on_duration", Span),
    ("light_off_duration", Span),
];

const WEBPUSH: &[Field] = &[
    ("headers", Texts),
    ("data", Texts),
    ("notification", Free),
    ("fcm_options", Object(&[("link", Text), ("analytics_label", Text)])),
];

const APNS: &[Field] = &[
    ("headers", Texts),
    ("payload", Free),
    ("fcm_options", Object(&[("analytics_label", Text), ("image", Text)])),
    ("live_activity_token", Text),
];

/// Calls `add` with what is wrong and the path of the field, for everything in `body`.
pub(super) fn check(body: &Value, add: &mut impl FnMut(&'static str, String)) {
    match body {
        Value::Object(object) => fields(object, BODY, "", add),
        _ => add("the body is no object", String::new()),
    }
}

fn fields(
    object: &Map<String, Value>,
    known: &[Field],
    place: &str,
    add: &mut impl FnMut(&'static str, String),
) {
    for (key, value) in object {
        let at = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
        match known.iter().find(|(name, _)| is_named(key, name)) {
            None => add("a field that FCM does not know", at(&short(key))),
            // In proto3 JSON null is the default.
            Some(_) if value.is_null() => {}
            Some((name, kind)) => one(value, kind, &at(name), add),
        }
    }
}

fn one(value: &Value, kind: &Kind, place: &str, add: &mut impl FnMut(&'static str, String)) {
    let all = |value: &Value, is: fn(&Value) -> bool| value.as_array().is_some_and(|all| all.iter().all(is));
    let fits = match kind {
        Text => value.is_string(),
        Flag => value.is_boolean(),
        Whole => is_int32(value),
        Number => value.is_number(),
        Choice(names) => value.as_str().is_some_and(|text| names.contains(&text)),
        Span => is_span(value),
        Time => value.as_str().is_some_and(|text| is_time(text).is_some()),
        Texts => {
            if let Some(object) = value.as_object() {
                for key in object.iter().filter(|(_, value)| !value.is_string()).map(|(key, _)| key) {
                    add("a value that is no text", format!("{place}.{}", short(key)));
                }
            }
            value.is_object()
        }
        TextList => all(value, Value::is_string),
        SpanList => all(value, is_span),
        Free => value.is_object(),
        Object(known) => {
            if let Some(object) = value.as_object() {
                fields(object, known, place, add);
            }
            value.is_object()
        }
    };
    if !fits {
        add("a value of the wrong type", place.to_owned());
    }
}

/// `google.protobuf.Duration`, not negative: seconds with up to nine decimals.
fn is_span(value: &Value) -> bool {
    let Some(text) = value.as_str().and_then(|text| text.strip_suffix('s')) else { return false };
    let (seconds, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let are_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(seconds) && seconds.len() <= 12 && are_digits(decimals) && decimals.len() <= 9
}

/// An int32: a number or, as proto3 JSON has it, a text of one; 1.0 and 1e2 are whole, too.
fn is_int32(value: &Value) -> bool {
    match value {
        Value::String(text) => text.parse::<i32>().is_ok(),
        Value::Number(number) => number.as_f64().is_some_and(|number| f64::from(number as i32) == number),
        _ => false,
    }
}

/// `google.protobuf.Timestamp`: RFC 3339 in upper case, the years 1 to 9999, up to nine decimals, any offset.
fn is_time(text: &str) -> Option<()> {
    let (date, time) = text.split_once('T')?;
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    let at = time.find(['Z', '+', '-'])?;
    let (clock, offset) = time.split_at(at);
    let (clock, decimals) = clock.split_once('.').unwrap_or((clock, "0"));
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    let [offset_hour, offset_minute] =
        if offset == "Z" { [0, 0] } else { numbers(&offset[1..], ':', [2, 2])? };
    let is_date = year >= 1 && (1..=12).contains(&month) && (1..=days).contains(&day);
    let is_clock = hour < 24 && minute < 60 && second < 60;
    let are_decimals =
        (1..=9).contains(&decimals.len()) && decimals.bytes().all(|byte| byte.is_ascii_digit());
    (is_date && is_clock && are_decimals && offset_hour < 24 && offset_minute < 60).then_some(())
}

/// Numbers of so many digits each, and nothing else, with `between` them.
fn numbers<const COUNT: usize>(text: &str, between: char, digits: [usize; COUNT]) -> Option<[u32; COUNT]> {
    let mut all = [0; COUNT];
    let mut parts = text.split(between);
    for (slot, digits) in all.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits)?;
        *slot = part.bytes().all(|byte| byte.is_ascii_digit()).then(|| part.parse().ok())??;
    }
    parts.next().is_none().then_some(all)
}

/// Whether `key` is `name`, or that in lower camel case.
fn is_named(key: &str, name: &str) -> bool {
    if key == name {
        return true;
    }
    let mut is_start = false;
    let camel = name.chars().filter_map(|char| {
        let was_start = std::mem::replace(&mut is_start, char == '_');
        (char != '_').then(|| if was_start { char.to_ascii_uppercase() } else { char })
    });
    key.chars().eq(camel)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn faults(body: &Value) -> Vec<String> {
        let mut found = Vec::new();
        check(body, &mut |kind, place| found.push(format!("{place}: {kind}")));
        found
    }

    #[test]
    fn names_are_taken_as_they_are_and_in_camel_case() {
        let message = json!({"fid": "f", "android": {"collapseKey": "a", "direct_boot_ok": true,
            "notification": {"notificationPriority": "PRIORITY_LOW", "vibrate_timings": ["1s", "0.25s"]}}});
        assert_eq!(faults(&json!({"validateOnly": true, "message": message})), Vec::<String>::new());
    }

    #[test]
    fn what_google_does_not_know_or_means_otherwise_is_named_by_its_path() {
        let message = json!({"to": "x", "data": {"n": 1}, "android": {"ttl": "3600", "priority": "urgent",
            "notification": {"Tag": "t", "color": 7}}, "apns": []});
        assert_eq!(
            faults(&json!({"message": message})),
            [
                "message.android.notification.Tag: a field that FCM does not know",
                "message.android.notification.color: a value of the wrong type",
                "message.android.priority: a value of the wrong type",
                "message.android.ttl: a value of the wrong type",
                "message.apns: a value of the wrong type",
                "message.data.n: a value that is no text",
                "message.to: a field that FCM does not know",
            ]
        );
    }

    #[test]
    fn a_time_is_rfc_3339_with_any_offset() {
        for text in [
            "2026-11-21T10:00:00Z",
            "2024-02-29T23:59:59.123456789Z",
            "2026-11-21T10:00:00+05:30",
            "2026-11-21T10:00:00.5-08:00",
        ] {
            assert!(is_time(text).is_some(), "{text}");
        }
        for text in [
            "",
            "T+",
            "TZ",
            "2026-11-21",
            "2026-11-21 10:00:00Z",
            "2026-11-21T10:00:00",
            "2026-11-21T10:00Z",
            "2026-11-21T10:00:00+5:30",
            "2026-11-21T10:00:00-24:00",
            "2026-11-21T10:00:00Zx",
            "2026-11-21T10:00:00.Z",
            "2026-11-21T10:00:00.1234567890Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T10:00:60Z",
            "2023-02-29T10:00:00Z",
            "2026-13-01T10:00:00Z",
            "0000-01-01T10:00:00Z",
            "2026-+1-01T10:00:00Z",
        ] {
            assert!(is_time(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_whole_number_has_32_bits() {
        for value in [json!(0), json!(-2_147_483_648_i64), json!(2_147_483_647), json!(5.0), json!("7")] {
            assert!(is_int32(&value), "{value}");
        }
        for value in [
            json!(2_147_483_648_i64),
            json!(-2_147_483_649_i64),
            json!(u64::MAX),
            json!(1.5),
            json!(""),
            json!("7x"),
            json!(true),
        ] {
            assert!(!is_int32(&value), "{value}");
        }
    }

    #[test]
    fn a_span_is_seconds_with_an_s() {
        for text in ["0s", "3.5s", "86400s", "1.123456789s"] {
            assert!(is_span(&json!(text)), "{text}");
        }
        for text in ["", "s", "5", "-1s", "1.s", ".5s", "1.1234567890s", "1m", "1e3s"] {
            assert!(!is_span(&json!(text)), "{text}");
        }
    }
}

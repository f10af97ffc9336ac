//! Apple's dictionary in a payload. APNs looks only for JSON with an `aps` dictionary; whatever else is wrong it lets
//! pass, and the phone drops it. Source: Apple, "Generating a remote notification", tables 1 to 3, read in 2026.

use model::Reason;
use serde_json::{Map, Value};

use super::arrived::short;
use super::finding::Finding;
use super::json;

/// What a value has to be.
type Is = fn(&Value) -> bool;

const APS: [(&str, Is); 21] = [
    ("alert", |value| value.is_string() || value.is_object()),
    ("badge", Value::is_u64),
    ("sound", |value| value.is_string() || value.is_object()),
    ("thread-id", Value::is_string),
    ("category", Value::is_string),
    ("content-available", |value| value.as_u64() == Some(1)),
    ("mutable-content", is_bit),
    ("target-content-id", Value::is_string),
    ("interruption-level", |value| {
        matches!(value.as_str(), Some("passive" | "active" | "time-sensitive" | "critical"))
    }),
    ("relevance-score", Value::is_number),
    ("filter-criteria", Value::is_string),
    ("stale-date", Value::is_number),
    ("content-state", Value::is_object),
    ("timestamp", Value::is_number),
    ("event", Value::is_string),
    ("dismissal-date", Value::is_number),
    ("attributes-type", Value::is_string),
    ("attributes", Value::is_object),
    ("content-changed", Value::is_boolean),
    ("input-push-token", is_bit),
    ("url-args", is_texts),
];

const ALERT: [(&str, Is); 13] = [
    ("title", Value::is_string),
    ("subtitle", Value::is_string),
    ("body", Value::is_string),
    ("launch-image", Value::is_string),
    ("title-loc-key", Value::is_string),
    ("title-loc-args", is_texts),
    ("subtitle-loc-key", Value::is_string),
    ("subtitle-loc-args", is_texts),
    ("loc-key", Value::is_string),
    ("loc-args", is_texts),
    ("action-loc-key", Value::is_string),
    ("summary-arg", Value::is_string),
    ("summary-arg-count", Value::is_u64),
];

const SOUND: [(&str, Is); 3] = [
    ("critical", is_bit),
    ("name", Value::is_string),
    ("volume", |value| value.as_f64().is_some_and(|volume| (0.0..=1.0).contains(&volume))),
];

fn is_bit(value: &Value) -> bool {
    matches!(value.as_u64(), Some(0 | 1))
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|values| values.iter().all(Value::is_string))
}

/// What is wrong with a payload of at least one byte.
pub(super) fn check(payload: &[u8], push_type: &str, findings: &mut Vec<Finding>) {
    // Apple's table has no reason for a payload that is none; APNs finds nothing in it.
    let empty = |kind| Finding::refused(Reason::PayloadEmpty, kind);
    let Some(json::Strict { value, twice }) = json::read(payload) else {
        return findings.push(empty("the payload is no JSON"));
    };
    let Some(object) = value.as_object() else {
        return findings.push(empty("the payload is no dictionary"));
    };
    for key in twice {
        findings.push(Finding::passed("a key stands twice in the payload").at(key));
    }
    let aps = match object.get("aps") {
        Some(Value::Object(aps)) => aps,
        // An MDM push has a dictionary of its own.
        None if push_type == "mdm" && object.get("mdm").is_some_and(Value::is_string) => return,
        Some(_) => return findings.push(empty("aps is no dictionary")),
        None => return findings.push(empty("the payload has no aps")),
    };
    dictionary(aps, &APS, "aps", findings);
    for (name, keys) in [("alert", &ALERT[..]), ("sound", &SOUND[..])] {
        if let Some(Value::Object(inner)) = aps.get(name) {
            dictionary(inner, keys, &format!("aps.{name}"), findings);
        }
    }
    if push_type == "background" {
        background(aps, findings);
    }
}

fn dictionary(object: &Map<String, Value>, keys: &[(&str, Is)], place: &str, findings: &mut Vec<Finding>) {
    for (key, value) in object {
        match keys.iter().find(|(name, _)| name == key) {
            None => {
                let at = format!("{place}.{}", short(key));
                findings.push(Finding::passed("a key that Apple does not know").at(at));
            }
            Some((_, is)) if !is(value) => {
                findings.push(Finding::passed("a value of the wrong type").at(format!("{place}.{key}")));
            }
            Some(_) => {}
        }
    }
}

/// A background push carries `content-available` and shows nothing.
fn background(aps: &Map<String, Value>, findings: &mut Vec<Finding>) {
    if !aps.contains_key("content-available") {
        findings.push(Finding::passed("a background push without content-available"));
    }
    for key in ["alert", "badge", "sound"].into_iter().filter(|key| aps.contains_key(*key)) {
        findings.push(Finding::passed("a background push that shows something").at(format!("aps.{key}")));
    }
}

//! The FCM side of a message: the HTTP v1 request body, cut where the target goes in. Written by us: the `fcm` crate
//! knows only the legacy format.

use std::collections::BTreeMap;

use model::Variant;
use serde::Serialize;

use crate::apns::CollapseId;

/// What every device of a locale gets from FCM: the request body is a prefix, the device's key, and the suffix. Keys
/// consist of letters, digits, `-`, `_` and `:` and need no escaping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FcmMessage {
    /// Before a registration token.
    pub token_prefix: Vec<u8>,
    /// Before a Firebase Installation ID.
    pub fid_prefix: Vec<u8>,
    /// After the key, with the time to live as it is at the moment of [`Context::now`](crate::Context).
    pub suffix: Vec<u8>,
    /// The time to live in the suffix, in seconds.
    pub ttl_s: u32,
    /// Bytes of the JSON values of `notification`, `data` and `android.notification` as they are sent. Google limits
    /// the payload, which is their keys and values: never more than this.
    pub payload_bytes: usize,
    /// The suffix after the time to live's digits.
    tail: Vec<u8>,
}

/// Length of a Firebase Installation ID.
const FID_CHARS: usize = 22;
const SUFFIX_HEAD: &[u8] = br#"","android":{"ttl":""#;

impl FcmMessage {
    /// The prefix for `key`: see [`is_fid`].
    pub fn prefix(&self, key: &str) -> &[u8] {
        if is_fid(key) { &self.fid_prefix } else { &self.token_prefix }
    }

    /// The suffix with another time to live: FCM counts it from when it gets the message, so it has to shrink as the
    /// launch's not-after comes nearer. See [`ttl_s`](crate::compose::ttl_s).
    pub fn suffix_for(&self, ttl_s: u32) -> Vec<u8> {
        [SUFFIX_HEAD, ttl_s.to_string().as_bytes(), &self.tail].concat()
    }

    /// A whole request body for `key`.
    pub fn body(&self, key: &str) -> Vec<u8> {
        [self.prefix(key), key.as_bytes(), &self.suffix].concat()
    }

    /// A whole request body that FCM checks and does not deliver: what warms a connection and finds the message's
    /// faults before anything is armed. It counts against the quota.
    pub fn validate_only_body(&self, key: &str) -> Vec<u8> {
        let body = self.body(key);
        [br#"{"validate_only":true,"#, &body[1..]].concat()
    }

    /// Bytes of a request body for a key of `key_bytes`.
    pub fn request_bytes(&self, key_bytes: usize) -> usize {
        self.token_prefix.len() + key_bytes + self.suffix.len()
    }
}

/// Whether `key` is a Firebase Installation ID: exactly 22 characters of base64url. Registration tokens are longer, and
/// have a colon.
pub fn is_fid(key: &str) -> bool {
    let is_base64url = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    key.len() == FID_CHARS && key.bytes().all(is_base64url)
}

#[derive(Serialize)]
struct Notification<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    title: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
}

/// `AndroidConfig` without its time to live, which is written before it.
#[derive(Serialize)]
struct Android<'a> {
    collapse_key: &'a str,
    priority: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    notification: Option<AndroidNotification<'a>>,
}

#[derive(Serialize)]
struct AndroidNotification<'a> {
    tag: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    icon: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_id: Option<&'a str>,
}

/// The message for a variant.
pub(crate) fn message(variant: &Variant, collapse_id: &CollapseId, ttl_s: u32) -> FcmMessage {
    let id = collapse_id.as_str();
    let android_notification = (!variant.silent).then(|| android_notification(variant, id));
    let payload_of_android = android_notification.as_ref().map_or(0, |one| json(one).len());
    // A data message that shows nothing must not wake a phone: high priority is for what the user sees.
    let priority = if variant.silent { "NORMAL" } else { "HIGH" };
    let android = json(&Android { collapse_key: id, priority, notification: android_notification });
    let notification = (!variant.silent).then(|| json(&notification(variant)));
    let data = data(variant);
    let data = (!data.is_empty()).then(|| json(&data));

    let mut tail = [br#"s","#, &android[1..]].concat();
    let mut payload_bytes = payload_of_android;
    for (key, value) in [("notification", notification), ("data", data)] {
        if let Some(value) = value {
            tail.extend_from_slice(format!(",\"{key}\":").as_bytes());
            tail.extend_from_slice(&value);
            payload_bytes += value.len();
        }
    }
    tail.extend_from_slice(b"}}");
    let mut message = FcmMessage {
        token_prefix: br#"{"message":{"token":""#.to_vec(),
        fid_prefix: br#"{"message":{"fid":""#.to_vec(),
        suffix: Vec::new(),
        ttl_s,
        payload_bytes,
        tail,
    };
    message.suffix = message.suffix_for(ttl_s);
    message
}

fn notification(variant: &Variant) -> Notification<'_> {
    Notification { title: &variant.title, body: &variant.body, image: variant.image.as_deref() }
}

fn android_notification<'a>(variant: &'a Variant, tag: &'a str) -> AndroidNotification<'a> {
    AndroidNotification {
        tag,
        icon: variant.icon.as_deref(),
        color: variant.android.color.as_deref(),
        sound: variant.sound.as_deref(),
        channel_id: variant.android.channel_id.as_deref(),
    }
}

/// What the app reads: its own keys, and what a tap opens.
fn data(variant: &Variant) -> BTreeMap<&str, &str> {
    let mut data: BTreeMap<&str, &str> = variant.data.iter().map(|(key, value)| (&**key, &**value)).collect();
    if let Some(link) = &variant.link {
        data.insert("link", link);
    }
    data
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and maps with text keys always serialize")
}

#[cfg(test)]
mod tests;

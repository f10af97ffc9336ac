//! The APNs side of a message: body and headers. The payload is `a2`'s, with the fields that it lacks added around it.

use std::collections::BTreeMap;

use a2::request::payload::APS;
use a2::{DefaultNotificationBuilder, NotificationBuilder, NotificationOptions};
use model::Variant;
use model::extras::{Apple, InterruptionLevel};
use serde::Serialize;

use crate::Error;

/// What every device of a locale gets from APNs. Topic, authorization and `apns-id` are added by who sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApnsMessage {
    /// JSON, at most [`APNS_BYTES_MAX`](crate::APNS_BYTES_MAX).
    pub body: Vec<u8>,
    /// `apns-push-type`.
    pub push_type: PushType,
    /// `apns-priority`.
    pub priority: Priority,
    /// `apns-collapse-id`: the same for every attempt for a device and launch.
    pub collapse_id: CollapseId,
    /// `apns-expiration`: seconds since the Unix epoch, never after the launch's not-after; 0 is one attempt only.
    pub expiration_s: u64,
}

impl ApnsMessage {
    /// A background push that shows nothing and carries nothing: what warms a connection through a canary device.
    pub fn canary(collapse_id: CollapseId, expiration_s: u64) -> Self {
        let body = br#"{"aps":{"content-available":1}}"#.to_vec();
        let (push_type, priority) = (PushType::Background, Priority::Considerate);
        Self { body, push_type, priority, collapse_id, expiration_s }
    }

    /// The headers as `a2` knows them; `None` when it does not know the push type or the priority.
    pub fn options(&self) -> Option<NotificationOptions<'_>> {
        Some(NotificationOptions {
            apns_id: None,
            apns_push_type: Some(self.push_type.known_to_a2()?),
            apns_expiration: Some(self.expiration_s),
            apns_priority: Some(self.priority.known_to_a2()?),
            apns_topic: None,
            apns_collapse_id: a2::CollapseId::new(self.collapse_id.as_str()).ok(),
        })
    }
}

/// `apns-push-type`, Apple's "Sending notification requests to APNs". A campaign uses the first two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PushType {
    /// Shown, heard or badged.
    Alert,
    /// Delivered in the background.
    Background,
    /// A request for the user's location.
    Location,
    /// An incoming call.
    Voip,
    /// New data for a watchOS complication. (Not in `a2` 0.10.)
    Complication,
    /// A change of a File Provider extension.
    FileProvider,
    /// For the MDM server's devices.
    Mdm,
    /// A Live Activity.
    LiveActivity,
    /// Push to talk.
    PushToTalk,
    /// Widgets are to be reloaded. (Not in `a2` 0.10.)
    Widgets,
    /// Controls are to be reloaded. (Not in `a2` 0.10.)
    Controls,
}

impl PushType {
    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            PushType::Alert => "alert",
            PushType::Background => "background",
            PushType::Location => "location",
            PushType::Voip => "voip",
            PushType::Complication => "complication",
            PushType::FileProvider => "fileprovider",
            PushType::Mdm => "mdm",
            PushType::LiveActivity => "liveactivity",
            PushType::PushToTalk => "pushtotalk",
            PushType::Widgets => "widgets",
            PushType::Controls => "controls",
        }
    }

    const fn known_to_a2(self) -> Option<a2::PushType> {
        Some(match self {
            PushType::Alert => a2::PushType::Alert,
            PushType::Background => a2::PushType::Background,
            PushType::Location => a2::PushType::Location,
            PushType::Voip => a2::PushType::Voip,
            PushType::FileProvider => a2::PushType::FileProvider,
            PushType::Mdm => a2::PushType::Mdm,
            PushType::LiveActivity => a2::PushType::LiveActivity,
            PushType::PushToTalk => a2::PushType::PushToTalk,
            PushType::Complication | PushType::Widgets | PushType::Controls => return None,
        })
    }
}

/// `apns-priority`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Priority {
    /// 10: at once.
    Immediate,
    /// 5: when the device's power allows; the only one for background pushes.
    Considerate,
    /// 1: power before everything. (Not in `a2` 0.10.)
    Low,
}

impl Priority {
    /// The header's value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Priority::Immediate => "10",
            Priority::Considerate => "5",
            Priority::Low => "1",
        }
    }

    /// The header's value as a number.
    pub const fn value(self) -> u8 {
        match self {
            Priority::Immediate => 10,
            Priority::Considerate => 5,
            Priority::Low => 1,
        }
    }

    const fn known_to_a2(self) -> Option<a2::Priority> {
        match self {
            Priority::Immediate => Some(a2::Priority::High),
            Priority::Considerate => Some(a2::Priority::Normal),
            Priority::Low => None,
        }
    }
}

/// 1 to 64 visible ASCII characters: `apns-collapse-id`, and FCM's collapse key and tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CollapseId(String);

impl CollapseId {
    /// Checks `text`; the length is `a2`'s rule.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = text.into();
        let is_visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let fits = is_visible && a2::CollapseId::new(&text).is_ok();
        if fits { Ok(Self(text)) } else { Err(Error::CollapseId { bytes: text.len() }) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Everything in the body: Apple's dictionary, and beside it what the app reads.
#[derive(Serialize)]
struct Body<'a> {
    aps: Aps<'a>,
    #[serde(flatten)]
    data: BTreeMap<&'a str, &'a str>,
}

/// `a2`'s dictionary and the keys that it lacks ("Generating a remote notification", table 1).
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Aps<'a> {
    #[serde(flatten)]
    known: APS<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thread_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    interruption_level: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relevance_score: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_content_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    filter_criteria: Option<&'a str>,
}

impl<'a> Aps<'a> {
    fn new(known: APS<'a>, apple: &'a Apple) -> Self {
        Self {
            known,
            thread_id: apple.thread_id.as_deref(),
            interruption_level: apple.interruption_level.map(level),
            relevance_score: apple.relevance_percent.map(|percent| f64::from(percent) / 100.0),
            target_content_id: apple.target_content_id.as_deref(),
            filter_criteria: apple.filter_criteria.as_deref(),
        }
    }
}

const fn level(level: InterruptionLevel) -> &'static str {
    match level {
        InterruptionLevel::Passive => "passive",
        InterruptionLevel::Active => "active",
        InterruptionLevel::TimeSensitive => "time-sensitive",
        InterruptionLevel::Critical => "critical",
    }
}

/// The body for a variant.
pub(crate) fn body(variant: &Variant) -> Vec<u8> {
    let plain = Apple::default();
    let apple = if variant.silent { &plain } else { &variant.apple };
    let body = Body { aps: Aps::new(aps(variant), apple), data: data(variant) };
    serde_json::to_vec(&body).expect("texts, numbers and maps with text keys always serialize")
}

/// How a variant travels: background pushes must have priority 5, 10 is an error.
pub(crate) const fn manner(variant: &Variant) -> (PushType, Priority) {
    if variant.silent {
        (PushType::Background, Priority::Considerate)
    } else {
        (PushType::Alert, Priority::Immediate)
    }
}

/// Background pushes must not have alert, badge or sound.
fn aps(variant: &Variant) -> APS<'_> {
    let mut builder = DefaultNotificationBuilder::new();
    if variant.silent {
        builder = builder.set_content_available();
    } else {
        builder = shown(builder, variant);
    }
    let mut aps = builder.build("", NotificationOptions::default()).aps;
    // a2's builder writes "mutable-content":0 where there is nothing to change: bytes for nothing.
    let is_mutable = variant.image.is_some() && !variant.silent;
    aps.mutable_content = is_mutable.then_some(1);
    aps
}

fn shown<'a>(
    mut builder: DefaultNotificationBuilder<'a>,
    variant: &'a Variant,
) -> DefaultNotificationBuilder<'a> {
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
    builder
}

/// What the app reads: its own keys, what a tap opens, and the image that its service extension fetches.
fn data(variant: &Variant) -> BTreeMap<&str, &str> {
    let mut data: BTreeMap<&str, &str> = variant.data.iter().map(|(key, value)| (&**key, &**value)).collect();
    if let Some(link) = &variant.link {
        data.insert("link", link);
    }
    if let Some(image) = variant.image.as_ref().filter(|_| !variant.silent) {
        data.insert("image", image);
    }
    data
}

#[cfg(test)]
mod tests;

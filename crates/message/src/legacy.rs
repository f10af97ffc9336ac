//! From the `fcm` crate's notification and message (FCM's legacy format) to a variant, for callers who have them
//! already. Only behind the feature `fcm`. That crate hides its fields but serializes them, so this reads its JSON.

use model::Variant;
use serde_json::{Map, Value};

use crate::Error;

/// A legacy message in our words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Converted {
    /// What is shown, and the data.
    pub variant: Variant,
    /// Time to live in seconds, for the campaign's policy.
    pub time_to_live_s: Option<u32>,
    /// Fields that were set and have no place in a variant: targets, collapse keys and the like are the launch's own.
    pub dropped: Vec<String>,
}

/// Converts a notification. Its badge must be a number.
pub fn from_notification(notification: &fcm::Notification<'_>) -> Result<Converted, Error> {
    let mut converted = Converted::default();
    converted.add_notification("", object("notification", notification)?)?;
    Ok(converted)
}

/// Converts a whole message. Data values that are no texts become their JSON text, nested ones are refused: FCM v1 takes
/// texts only.
pub fn from_message(message: &fcm::Message<'_>) -> Result<Converted, Error> {
    let mut converted = Converted::default();
    for (field, value) in object("body", &message.body)? {
        match (field.as_str(), value) {
            ("notification", Value::Object(notification)) => {
                converted.add_notification("notification.", notification)?;
            }
            ("data", data) => converted.add_data(data)?,
            ("time_to_live", value) => {
                let seconds = value.as_u64().and_then(|seconds| u32::try_from(seconds).ok());
                converted.time_to_live_s = Some(seconds.ok_or_else(|| wrong(&field, "is negative"))?);
            }
            ("content_available", Value::Bool(is_silent)) => converted.variant.silent = is_silent,
            _ => converted.dropped.push(field),
        }
    }
    // With something to show, content-available only wakes the app beside it: that is no silent message.
    let variant = &mut converted.variant;
    variant.silent &= variant.title.is_empty() && variant.body.is_empty();
    Ok(converted)
}

impl Converted {
    fn add_notification(&mut self, prefix: &str, fields: Map<String, Value>) -> Result<(), Error> {
        for (field, value) in fields {
            let text = value.as_str().map(str::to_string);
            match (field.as_str(), text) {
                ("title", Some(text)) => self.variant.title = text,
                ("body", Some(text)) => self.variant.body = text,
                ("icon", text @ Some(_)) => self.variant.icon = text,
                ("sound", text @ Some(_)) => self.variant.sound = text,
                ("color", text @ Some(_)) => self.variant.android.color = text,
                ("badge", Some(text)) => {
                    let badge = text.parse().map_err(|_| wrong(&format!("{prefix}badge"), "is no number"))?;
                    self.variant.badge = Some(badge);
                }
                _ => self.dropped.push(format!("{prefix}{field}")),
            }
        }
        Ok(())
    }

    fn add_data(&mut self, data: Value) -> Result<(), Error> {
        let Value::Object(data) = data else { return Err(wrong("data", "is no object")) };
        for (key, value) in data {
            let text = match value {
                Value::String(text) => text,
                Value::Number(_) | Value::Bool(_) => value.to_string(),
                _ => return Err(wrong(&format!("data.{key}"), "is nested or null; FCM takes texts only")),
            };
            self.variant.data.insert(key, text);
        }
        Ok(())
    }
}

fn object(field: &str, value: &impl serde::Serialize) -> Result<Map<String, Value>, Error> {
    match serde_json::to_value(value) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(wrong(field, "is no object")),
        Err(error) => Err(wrong(field, &error.to_string())),
    }
}

fn wrong(field: &str, detail: &str) -> Error {
    Error::Legacy { field: field.to_string(), detail: detail.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::tests::content;
    use model::Timestamp;
    use serde_json::json;

    fn notification() -> fcm::NotificationBuilder<'static> {
        let mut builder = fcm::NotificationBuilder::new();
        builder.title("Kick-off").body("Now").icon("ic_owl").sound("hoot").badge("3").color("#58cc02");
        builder
    }

    #[test]
    fn a_notification_becomes_a_variant_that_composes() {
        let mut builder = notification();
        builder.tag("t").click_action("OPEN");
        let converted = from_notification(&builder.finalize()).unwrap();
        let expected = Variant {
            title: "Kick-off".into(),
            body: "Now".into(),
            icon: Some("ic_owl".into()),
            sound: Some("hoot".into()),
            badge: Some(3),
            android: model::extras::Android { color: Some("#58cc02".into()), channel_id: None },
            ..Variant::default()
        };
        assert_eq!(converted.variant, expected);
        assert_eq!(converted.dropped, ["click_action", "tag"]);
        let context = crate::Context {
            collapse_id: crate::compose::collapse_id(model::LaunchId(1)),
            not_after: Timestamp::from_secs(60),
            now: Timestamp::from_secs(0),
        };
        let composed = crate::compose(&content(&[("en", converted.variant)]), "en", &context).unwrap();
        let body: Value = serde_json::from_slice(&composed.fcm.body("a:b")).unwrap();
        assert_eq!(body["message"]["notification"], json!({"title": "Kick-off", "body": "Now"}));
    }

    #[test]
    fn a_message_gives_its_data_and_time_to_live_and_names_what_is_dropped() {
        let mut builder = fcm::MessageBuilder::new("key", "token");
        builder.data(&json!({"course": "es", "level": 3, "is_new": true})).unwrap();
        builder.notification(notification().finalize()).time_to_live(600).collapse_key("c");
        let converted = from_message(&builder.finalize()).unwrap();
        let data = [("course", "es"), ("is_new", "true"), ("level", "3")];
        assert_eq!(converted.variant.data, data.map(|(key, value)| (key.into(), value.into())).into());
        assert_eq!((converted.variant.title.as_str(), converted.time_to_live_s), ("Kick-off", Some(600)));
        assert_eq!(converted.dropped, ["collapse_key", "to"]);
    }

    #[test]
    fn content_available_alone_is_silent() {
        let mut silent = fcm::MessageBuilder::new("key", "token");
        silent.content_available(true);
        assert!(from_message(&silent.finalize()).unwrap().variant.silent);
        let mut shown = fcm::MessageBuilder::new("key", "token");
        shown.content_available(true).notification(notification().finalize());
        assert!(!from_message(&shown.finalize()).unwrap().variant.silent);
    }

    #[test]
    fn what_has_no_counterpart_is_refused_by_name() {
        let mut badge = fcm::NotificationBuilder::new();
        badge.badge("many");
        let error = from_notification(&badge.finalize()).unwrap_err().to_string();
        assert_eq!(error, "badge of the fcm message: is no number");
        for data in [json!({"a": {"b": 1}}), json!({"a": null}), json!([1])] {
            let mut nested = fcm::MessageBuilder::new("key", "token");
            nested.data(&data).unwrap();
            assert!(from_message(&nested.finalize()).is_err());
        }
        let mut past = fcm::MessageBuilder::new("key", "token");
        past.time_to_live(-1);
        assert!(from_message(&past.finalize()).is_err());
    }
}

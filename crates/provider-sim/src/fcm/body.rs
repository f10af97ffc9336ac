//! Finds the device in an FCM body. Bodies of one group differ in the key alone, so the text around it is
//! remembered: a body with the same text around a plain string is the same JSON and needs no parsing.

use std::borrow::Cow;

use model::Reason;
use serde::Deserialize;

use crate::fingerprint::Fingerprint;

/// The longest body that is kept while its frames arrive; a message is 4,096 bytes of payload at most.
pub(crate) const BODY_BYTES_MAX: usize = 16_384;
/// Texts remembered at once: more groups than one connection is likely to mix.
const TEMPLATES_MAX: usize = 16;

/// Whom a body is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// A device.
    Device(Fingerprint),
    /// `validate_only`: a probe that reaches nobody.
    Probe,
    /// A topic or a condition.
    Nobody,
    /// No message at all.
    Wrong(Reason),
}

/// The texts around a key.
#[derive(Debug)]
struct Template {
    before: Box<[u8]>,
    after: Box<[u8]>,
    is_probe: bool,
}

/// What was learned from earlier bodies, the latest first.
#[derive(Debug, Default)]
pub(crate) struct Templates(Vec<Template>);

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(default)]
    validate_only: bool,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    token: Option<Text<'a>>,
    #[serde(borrow)]
    fid: Option<Text<'a>>,
}

/// A string that stays borrowed when it has no escapes.
#[derive(Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Templates {
    /// Whom `body` is for.
    pub(crate) fn target(&mut self, body: &[u8]) -> Target {
        match self.remembered(body) {
            Some(target) => target,
            None => self.learn(body),
        }
    }

    fn remembered(&mut self, body: &[u8]) -> Option<Target> {
        let key_of = |template: &Template| {
            let key_bytes = body.len().checked_sub(template.before.len() + template.after.len())?;
            let (before, rest) = body.split_at(template.before.len());
            let (key, after) = rest.split_at(key_bytes);
            (*before == *template.before && *after == *template.after && is_plain(key)).then_some(key)
        };
        let (place, key) = self.0.iter().enumerate().find_map(|(place, t)| Some((place, key_of(t)?)))?;
        if place > 0 {
            self.0.swap(0, place);
        }
        Some(if self.0[0].is_probe { Target::Probe } else { Target::Device(Fingerprint::of_bytes(key)) })
    }

    #[cold]
    fn learn(&mut self, body: &[u8]) -> Target {
        let Ok(Body { message, validate_only }) = serde_json::from_slice(body) else {
            return Target::Wrong(Reason::InvalidArgument);
        };
        let key = match (message.token, message.fid) {
            (Some(key), None) | (None, Some(key)) => key.0,
            (None, None) => return if validate_only { Target::Probe } else { Target::Nobody },
            (Some(_), Some(_)) => return Target::Wrong(Reason::InvalidArgument),
        };
        if let Cow::Borrowed(text) = key {
            self.remember(body, text, validate_only);
        }
        if validate_only { Target::Probe } else { Target::Device(Fingerprint::of_bytes(key.as_bytes())) }
    }

    fn remember(&mut self, body: &[u8], key: &str, is_probe: bool) {
        let start = key.as_ptr() as usize - body.as_ptr() as usize;
        let (before, after) = (body[..start].into(), body[start + key.len()..].into());
        self.0.truncate(TEMPLATES_MAX - 1);
        self.0.insert(0, Template { before, after, is_probe });
    }
}

/// Whether `key` stands for itself between quotation marks: printable ASCII without quotes and escapes.
fn is_plain(key: &[u8]) -> bool {
    key.iter()
        .fold(true, |is_plain, byte| is_plain & matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn device(key: &str) -> Target {
        Target::Device(Fingerprint::of_bytes(key.as_bytes()))
    }

    #[test]
    fn token_and_fid_are_found_wherever_they_stand() {
        let mut templates = Templates::default();
        for _ in 0..2 {
            for (body, key) in [
                (r#"{"message":{"token":"a:b","data":{"token":"no"}}}"#, "a:b"),
                (r#"{"message":{"data":{"token":"no","fid":"no"},"token":"a:c"}}"#, "a:c"),
                (r#"{ "message" : { "notification" : {"body":"\"token\":\"no\""}, "fid" : "f1" } }"#, "f1"),
                (r#"{"validate_only":false,"message":{"token":"a\u003ab"}}"#, "a:b"),
            ] {
                assert_eq!(templates.target(body.as_bytes()), device(key), "{body}");
            }
        }
    }

    #[test]
    fn a_probe_reaches_nobody_even_where_only_the_text_after_the_key_says_so() {
        let mut templates = Templates::default();
        assert_eq!(templates.target(br#"{"message":{"token":"a"}}"#), device("a"));
        assert_eq!(templates.target(br#"{"message":{"token":"a"},"validate_only":true}"#), Target::Probe);
        assert_eq!(templates.target(br#"{"message":{"token":"b"},"validate_only":true}"#), Target::Probe);
        assert_eq!(templates.target(br#"{"message":{"token":"b"}}"#), device("b"));
    }

    #[test]
    fn what_is_no_message_is_an_invalid_argument() {
        let mut templates = Templates::default();
        for body in ["", "{", "[]", r#"{"message":{"token":"a","fid":"b"}}"#, r#"{"message":{"token":5}}"#] {
            assert_eq!(templates.target(body.as_bytes()), Target::Wrong(Reason::InvalidArgument), "{body}");
        }
        assert_eq!(templates.target(br#"{"message":{"topic":"t"}}"#), Target::Nobody);
    }

    proptest! {
        #[test]
        fn a_remembered_text_finds_what_parsing_finds(keys in prop::collection::vec(".{0,24}", 1..20)) {
            let mut templates = Templates::default();
            for key in keys {
                let body = serde_json::json!({"message": {"data": {"a": 1}, "token": key, "x": [key]}}).to_string();
                prop_assert_eq!(templates.target(body.as_bytes()), device(&key));
            }
        }

        #[test]
        fn text_that_would_end_the_string_is_never_taken_for_a_key(raw in r#"[a-z"\\:,{}]{0,12}"#) {
            let mut templates = Templates::default();
            templates.target(br#"{"message":{"token":"known"}}"#);
            let body = format!(r#"{{"message":{{"token":"{raw}"}}}}"#);
            let fresh = Templates::default().target(body.as_bytes());
            prop_assert_eq!(templates.target(body.as_bytes()), fresh);
        }
    }
}

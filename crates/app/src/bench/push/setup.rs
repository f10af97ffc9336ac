//! What the benchmark sends: a message of the wanted length, composed as a campaign's is.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use message::compose::{self, Composed, Context};
use model::{Content, LaunchId, Platform, Timestamp, Variant};
use push::{GroupMessage, Live, Pool};

use crate::demo::population::{PROJECT, TOPIC};

/// Of the key that a body is measured with: an FCM registration token.
const TOKEN_CHARS: usize = 163;
const TEXT: &str = "The match starts in five minutes. Are you watching? Tap to see who plays and where.";

/// The app of a provider.
pub(super) const fn app(platform: Platform) -> &'static str {
    match platform {
        Platform::Apns => TOPIC,
        Platform::Fcm => PROJECT,
    }
}

/// The message, with a body of `body_bytes` if that is said.
pub(super) fn message(
    pool: &Pool<Live>,
    platform: Platform,
    body_bytes: Option<u64>,
    now: Timestamp,
) -> Result<GroupMessage<Live>> {
    let composed = sized(platform, body_bytes.map(|bytes| bytes as usize), now)?;
    let message = match platform {
        Platform::Apns => pool.apns_message(LaunchId(1), &composed.apns),
        Platform::Fcm => pool.fcm_message(&composed.fcm, composed.fcm.ttl_s),
    };
    message.context("message")
}

/// Both messages, with a body of `body_bytes` if that is said.
pub(super) fn sized(platform: Platform, body_bytes: Option<usize>, now: Timestamp) -> Result<Composed> {
    let Some(wanted) = body_bytes else { return composed(TEXT.to_owned(), now) };
    let shortest = bytes_of(&composed("x".to_owned(), now)?, platform);
    let Some(more) = wanted.checked_sub(shortest) else {
        bail!("--body-bytes: the shortest message to {platform} has {shortest} bytes");
    };
    composed("x".repeat(1 + more), now)
}

fn bytes_of(composed: &Composed, platform: Platform) -> usize {
    match platform {
        Platform::Apns => composed.apns.body.len(),
        Platform::Fcm => composed.fcm.request_bytes(TOKEN_CHARS),
    }
}

fn composed(body: String, now: Timestamp) -> Result<Composed> {
    let variant = Variant { title: "Fanfare".into(), body, ..Variant::default() };
    let content = Content { variants: BTreeMap::from([("en".into(), variant)]), fallback: "en".into() };
    let not_after = now + Duration::from_secs(3_600);
    let context = Context { collapse_id: compose::collapse_id(LaunchId(1)), not_after, now };
    compose::compose(&content, "en", &context).map_err(|faults| {
        let details: Vec<_> = faults.into_iter().map(|fault| fault.detail).collect();
        anyhow::anyhow!("the message cannot be composed: {}", details.join("; "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_length_that_was_asked_for() {
        for platform in Platform::ALL {
            for wanted in [600, 1_000, 3_000] {
                let composed = sized(platform, Some(wanted), Timestamp::from_secs(1)).unwrap();
                assert_eq!(bytes_of(&composed, platform), wanted, "{platform}");
            }
            assert!(sized(platform, Some(4_000), Timestamp::from_secs(1)).is_ok());
            assert!(sized(platform, Some(30), Timestamp::from_secs(1)).is_err());
        }
    }
}

//! `fanfare bench request`: what `bench push --provider apns` sends, as JSON, so that other clients can send the same.

use anyhow::Result;
use clap::Args;
use message::ApnsMessage;
use model::{Platform, Timestamp};
use serde::Serialize;

use super::keys::apns_key;
use super::setup;
use crate::runtime;

/// Print what is sent to APNs.
#[derive(Args)]
pub(crate) struct Request {
    /// Bytes of a request's body; the usual message of the demo when absent.
    #[arg(long, value_name = "B", value_parser = clap::value_parser!(u64).range(150..=4_096))]
    body_bytes: Option<u64>,
    /// How many device tokens to print.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    tokens: u32,
}

/// A request to each of some devices. `authorization` and `apns-id` come on top.
#[derive(Serialize)]
struct Description {
    headers: [(&'static str, String); 5],
    body: String,
    tokens: Vec<String>,
}

impl Request {
    pub(crate) fn run(&self) -> Result<()> {
        let description = self.describe(runtime::real().clock.now())?;
        println!("{}", serde_json::to_string(&description)?);
        Ok(())
    }

    fn describe(&self, now: Timestamp) -> Result<Description> {
        let body_bytes = self.body_bytes.map(|bytes| bytes as usize);
        let message = setup::sized(Platform::Apns, body_bytes, now)?.apns;
        let headers = headers(&message);
        let hex = |number| apns_key(number).iter().map(|byte| format!("{byte:02x}")).collect();
        let tokens = (0..u64::from(self.tokens)).map(hex).collect();
        Ok(Description { headers, body: String::from_utf8(message.body)?, tokens })
    }
}

fn headers(message: &ApnsMessage) -> [(&'static str, String); 5] {
    [
        ("apns-topic", setup::app(Platform::Apns).to_owned()),
        ("apns-push-type", message.push_type.as_str().to_owned()),
        ("apns-priority", message.priority.as_str().to_owned()),
        ("apns-expiration", message.expiration_s.to_string()),
        ("apns-collapse-id", message.collapse_id.as_str().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_described_with_the_body_and_the_tokens_that_were_asked_for() {
        let request = Request { body_bytes: Some(191), tokens: 3 };
        let description = request.describe(Timestamp::from_secs(1)).unwrap();
        assert_eq!(description.body.len(), 191);
        assert!(description.tokens.iter().all(|token| token.len() == 64));
        let headers = serde_json::to_value(&description.headers).unwrap();
        assert_eq!(headers[1], serde_json::json!(["apns-push-type", "alert"]));
        assert_eq!(headers[3], serde_json::json!(["apns-expiration", "3601"]));
    }
}

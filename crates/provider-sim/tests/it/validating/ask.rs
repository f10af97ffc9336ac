//! Requests as they should be, to be spoilt one by one.

use std::time::SystemTime;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Request;
use provider_sim::config::Mode;
use provider_sim::{Config, Report, Simulator};

use crate::harness::{Answer, Client, finish, token};

/// A simulator that validates.
pub(super) fn validating(config: Config) -> Config {
    Config { mode: Mode::Validating, ..config }
}

/// The wall clock, in seconds.
#[allow(clippy::disallowed_methods, reason = "a provider token's age counts by the real clock")]
pub(super) fn now_s() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// A signing key of Apple's.
pub(super) struct Key(EcdsaKeyPair);

impl Key {
    pub(super) fn new() -> Self {
        Self(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    /// Its public half, as `openssl ec -pubout` writes it.
    pub(super) fn public_pem(&self) -> String {
        const FRONT: &str = "3059301306072a8648ce3d020106082a8648ce3d030107034200";
        let front = (0..FRONT.len()).step_by(2).map(|at| u8::from_str_radix(&FRONT[at..at + 2], 16).unwrap());
        let der: Vec<u8> = front.chain(self.0.public_key().as_ref().iter().copied()).collect();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    /// A signed token with this header and these claims.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let signature = self.0.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token as it should be, issued then.
    pub(super) fn token(&self, issued_s: u64) -> String {
        self.sign(
            r#"{"alg":"ES256","kid":"KEY0000001"}"#,
            &format!(r#"{{"iss":"TEAM000001","iat":{issued_s}}}"#),
        )
    }
}

/// A request.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: &'static str,
    pub(super) uri: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Ask {
    /// One that Apple takes.
    pub(super) fn apns(jwt: &str) -> Self {
        let headers = [
            ("authorization", &*format!("bearer {jwt}")),
            ("apns-id", "123e4567-e89b-12d3-a456-426655440000"),
            ("apns-topic", "org.example.app"),
            ("apns-push-type", "alert"),
            ("apns-priority", "10"),
            ("apns-expiration", "4000000000"),
            ("apns-collapse-id", "c"),
        ];
        Self {
            method: "POST",
            uri: format!("https://localhost/3/device/{}", token(1)),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: r#"{"aps":{"alert":{"title":"t","body":"b"}},"link":"x"}"#.to_owned(),
        }
    }

    /// One that Google takes.
    pub(super) fn fcm() -> Self {
        let headers = [("authorization", "Bearer ya29.token"), ("content-type", "application/json")];
        let token = format!("{}:{}", "c".repeat(22), "A".repeat(140));
        Self {
            method: "POST",
            uri: "https://localhost/v1/projects/demo/messages:send".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            body: format!(
                r#"{{"message":{{"token":"{token}","android":{{"ttl":"3.5s","priority":"HIGH"}},"data":{{"k":"v"}}}}}}"#
            ),
        }
    }

    pub(super) fn set(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn add(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(one, _)| one != name);
        self
    }

    pub(super) fn body(self, body: impl Into<String>) -> Self {
        Self { body: body.into(), ..self }
    }

    pub(super) fn path(self, path: &str) -> Self {
        Self { uri: format!("https://localhost{path}"), ..self }
    }

    pub(super) async fn send(&self, client: &mut Client) -> Result<Answer, h2::Error> {
        finish(self.start(client).await?).await
    }

    pub(super) async fn start(&self, client: &mut Client) -> Result<h2::client::ResponseFuture, h2::Error> {
        let mut request = Request::builder().method(self.method).uri(&self.uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut send = client.send.clone().ready().await?;
        let (answer, mut stream) = send.send_request(request.body(()).unwrap(), false)?;
        stream.send_data(Bytes::from(self.body.clone()), true)?;
        Ok(answer)
    }
}

/// Status and reason of an answer of APNs.
pub(super) fn reason(answer: &Answer) -> (u16, String) {
    let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    (answer.status, body["reason"].as_str().unwrap_or_default().to_owned())
}

/// What was found, without the counts.
pub(super) fn kinds(simulator: &Simulator) -> Vec<String> {
    simulator.report().unwrap().faults_found.into_keys().collect()
}

/// Whether any example shows `secret`.
pub(super) fn shows(report: &Report, secret: &str) -> bool {
    serde_json::to_string(report).unwrap().contains(secret)
}

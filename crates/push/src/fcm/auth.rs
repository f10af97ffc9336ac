//! Access tokens of FCM: from a Google service account, or made up for simulators.
//! Source: Google, "Using OAuth 2.0 for server to server applications", read in 2026.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gcp_auth::{CustomServiceAccount, TokenProvider};
use model::Timestamp;
use model::runtime::Randomness;
use serde::Deserialize;

use crate::error::Error;
use crate::secret::Secret;
use crate::token::{Renewal, Token, TokenSource};

/// What an access token is good for.
pub const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// Google's tokens live an hour and may be renewed at any time; a refused one is tried again at most every 10 s.
pub const RENEWAL: Renewal = Renewal {
    soonest: Duration::from_secs(10),
    ahead: Duration::from_secs(30 * 60),
    latest: Duration::from_secs(55 * 60),
};

/// A service account and the endpoint, named in its key file, that gives tokens for it.
pub struct ServiceAccount {
    json: Secret,
    email: String,
    project: Option<String>,
    token_uri: String,
}

#[derive(Deserialize)]
struct KeyFile {
    client_email: String,
    #[serde(default)]
    project_id: Option<String>,
    token_uri: String,
}

impl ServiceAccount {
    /// From the text of Google's JSON key file.
    ///
    /// # Errors
    /// The text is no service account's key file with a usable RSA key. The error does not show the key.
    pub fn from_json(json: &Secret) -> Result<Self, Error> {
        let text = text(json)?;
        let file: KeyFile = serde_json::from_str(text)
            .map_err(|_| Error::ServiceAccount("not a key file of a service account"))?;
        account(text)?;
        let KeyFile { client_email, project_id, token_uri } = file;
        Ok(Self { json: json.clone(), email: client_email, project: project_id, token_uri })
    }

    /// The project that it was made in, if its file says so. It may be allowed to send for others.
    pub fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    /// Where its tokens come from.
    pub fn token_uri(&self) -> &str {
        &self.token_uri
    }
}

fn text(json: &Secret) -> Result<&str, Error> {
    std::str::from_utf8(json.reveal()).map_err(|_| Error::ServiceAccount("not text"))
}

/// The library keeps a token until it ends; a new account each time lets us decide when to renew. It costs a TLS
/// session twice an hour.
fn account(json: &str) -> Result<CustomServiceAccount, Error> {
    // The library's own error may quote the file.
    CustomServiceAccount::from_json(json).map_err(|_| Error::ServiceAccount("its private key is not usable"))
}

impl std::fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccount").field("email", &self.email).finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenSource for ServiceAccount {
    async fn token(&self, now: Timestamp) -> Result<Token, Error> {
        let token = account(text(&self.json)?)?.token(&[SCOPE]).await.map_err(Error::AccessToken)?;
        let good_until = u64::try_from(token.expires_at().timestamp()).unwrap_or(0);
        Ok(Token {
            text: Secret::new(token.as_str()),
            minted_at: now,
            good_until: Timestamp::from_secs(good_until),
        })
    }

    fn name(&self) -> String {
        format!("fcm {}", self.email)
    }

    fn renewal(&self) -> Renewal {
        RENEWAL
    }

    fn is_throw_away(&self) -> bool {
        false
    }
}

/// Tokens that Google never gave: for simulators and benchmarks.
#[derive(Debug)]
pub struct ThrowAway {
    /// Different in each process, so that no two of them look like one account.
    seed: u64,
}

impl ThrowAway {
    /// A made-up account.
    pub fn new(randomness: &dyn Randomness) -> Self {
        Self { seed: randomness.u64() }
    }
}

#[async_trait]
impl TokenSource for ThrowAway {
    async fn token(&self, now: Timestamp) -> Result<Token, Error> {
        // As long as the usual token of a service account, which has about 1,000 bytes.
        let mut text = format!("throw-away.{:016x}.{}.", self.seed, now.as_micros());
        let padding = blake3::hash(text.as_bytes());
        while text.len() < 1_000 {
            URL_SAFE_NO_PAD.encode_string(padding.as_bytes(), &mut text);
        }
        Ok(Token { text: Secret::new(text), minted_at: now, good_until: now + Duration::from_secs(3_600) })
    }

    fn name(&self) -> String {
        format!("fcm throw-away {:016x}", self.seed)
    }

    fn renewal(&self) -> Renewal {
        RENEWAL
    }

    fn is_throw_away(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;

//! Apple's provider tokens: their form, their age, their signature, and how often a key's changes.
//! Source: Apple, "Establishing a token-based connection to APNs", read in 2026.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Reason;
use p256::ecdsa::signature::hazmat::PrehashVerifier;
use p256::ecdsa::{RecoveryId, Signature, VerifyingKey};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::finding::Finding;
use crate::error::Error;

/// A token is good for an hour.
const AGE_S_MAX: u64 = 3_600;
/// Key ids and team ids of Apple's are this long.
const ID_CHARS: usize = 10;
/// By how much the sender's clock may be ahead.
const AHEAD_S_MAX: u64 = 10;
/// The DER of an uncompressed P-256 key before its point (RFC 5480).
const SPKI_FRONT: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Who a token speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Claims {
    pub(super) team: String,
    pub(super) key_id: String,
    issued_at: u64,
}

impl Claims {
    /// Whether both speak for one team and key, whenever they were made.
    pub(super) fn is_same_sender(&self, other: &Claims) -> bool {
        (&self.team, &self.key_id) == (&other.team, &other.key_id)
    }

    /// What is odd about them, though APNs may let it pass.
    pub(super) fn odd(&self) -> impl Iterator<Item = Finding> {
        let is_odd = |id: &str| id.chars().count() != ID_CHARS;
        let key = is_odd(&self.key_id).then_some("a provider token whose kid is not 10 characters");
        let team = is_odd(&self.team).then_some("a provider token whose iss is not 10 characters");
        key.into_iter().chain(team).map(Finding::passed)
    }
}

/// What is known of a key id.
struct Known {
    team: String,
    /// The keys that may be the one: a signature leaves two, and a second one hardly ever both of them.
    keys: Vec<VerifyingKey>,
    /// When its latest token came.
    renewed_us: u64,
}

/// The keys and tokens that were seen.
pub(super) struct Keyring {
    given: Option<VerifyingKey>,
    updates_every_us: u64,
    known: HashMap<String, Known>,
    /// Tokens that were found to be good, whatever their age is now.
    good: HashMap<String, Claims>,
}

impl Keyring {
    /// Nothing seen. `public_key` is PEM.
    pub(super) fn new(public_key: Option<&str>, updates_every_us: u64) -> Result<Self, Error> {
        let given = public_key.map(read_key).transpose()?;
        Ok(Self { given, updates_every_us, known: HashMap::new(), good: HashMap::new() })
    }

    /// Whom `token` speaks for, at `now_us` on the simulator's clock and `now_s` on the wall's. Nothing is remembered of
    /// it.
    pub(super) fn admit(&self, token: &str, now_us: u64, now_s: u64) -> Result<Claims, Finding> {
        self.look(token, now_us, now_s).map(|(claims, _)| claims)
    }

    /// Remembers `token` and its key, if it is good: a request that had it was processed.
    pub(super) fn learn(&mut self, token: &str, now_us: u64, now_s: u64) {
        let Ok((claims, Some(keys))) = self.look(token, now_us, now_s) else { return };
        let known = Known { team: claims.team.clone(), keys, renewed_us: now_us };
        self.known.insert(claims.key_id.clone(), known);
        self.good.insert(token.to_owned(), claims);
    }

    /// Whom `token` speaks for; when it is new, the keys that may have signed it, too.
    fn look(
        &self,
        token: &str,
        now_us: u64,
        now_s: u64,
    ) -> Result<(Claims, Option<Vec<VerifyingKey>>), Finding> {
        if let Some(claims) = self.good.get(token) {
            check_age(claims, now_s)?;
            return Ok((claims.clone(), None));
        }
        let invalid = |kind| Finding::refused(Reason::InvalidProviderToken, kind);
        let (claims, signed, signature) = parse(token).map_err(invalid)?;
        check_age(&claims, now_s)?;
        let hash = digest(&SHA256, signed.as_bytes());
        let known = self.known.get(&claims.key_id);
        let mut keys = match (&self.given, known) {
            (Some(given), _) => vec![*given],
            (None, Some(known)) => known.keys.clone(),
            (None, None) => candidates(hash.as_ref(), &signature),
        };
        keys.retain(|key| key.verify_prehash(hash.as_ref(), &signature).is_ok());
        if keys.is_empty() {
            return Err(invalid("the provider token's signature is wrong"));
        }
        if let Some(known) = known {
            if known.team != claims.team {
                return Err(invalid("a key id of another team"));
            }
            if now_us - known.renewed_us < self.updates_every_us {
                let reason = Reason::TooManyProviderTokenUpdates;
                return Err(Finding::refused(reason, "the provider token was renewed too soon"));
            }
        }
        Ok((claims, Some(keys)))
    }
}

fn read_key(pem: &str) -> Result<VerifyingKey, Error> {
    let wrong = || Error::invalid("public-key", "", "PEM with PUBLIC KEY of the curve P-256");
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong())?;
    let point = der.strip_prefix(&SPKI_FRONT).ok_or_else(wrong)?;
    VerifyingKey::from_sec1_bytes(point).map_err(|_| wrong())
}

/// The two keys that could have made this signature.
fn candidates(hash: &[u8], signature: &Signature) -> Vec<VerifyingKey> {
    let recover =
        |is_odd| VerifyingKey::recover_from_prehash(hash, signature, RecoveryId::new(is_odd, false)).ok();
    [false, true].into_iter().filter_map(recover).collect()
}

fn check_age(claims: &Claims, now_s: u64) -> Result<(), Finding> {
    if claims.issued_at > now_s + AHEAD_S_MAX {
        return Err(Finding::refused(Reason::InvalidProviderToken, "the provider token is from the future"));
    }
    if now_s.saturating_sub(claims.issued_at) > AGE_S_MAX {
        let reason = Reason::ExpiredProviderToken;
        return Err(Finding::refused(reason, "the provider token is older than an hour"));
    }
    Ok(())
}

/// The claims, the text that is signed, and the signature; or what is wrong.
fn parse(token: &str) -> Result<(Claims, &str, Signature), &'static str> {
    let (signed, signature) = token.rsplit_once('.').ok_or("the provider token is no JWT")?;
    let (header, claims) = signed.split_once('.').ok_or("the provider token is no JWT")?;
    let (header, claims) = (object(header)?, object(claims)?);
    if header.get("alg").and_then(Value::as_str) != Some("ES256") {
        return Err("the provider token's alg is not ES256");
    }
    let text = |value: Option<&Value>| {
        value.and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let key_id = text(header.get("kid")).ok_or("the provider token has no kid")?;
    let team = text(claims.get("iss")).ok_or("the provider token has no iss")?;
    let issued_at =
        claims.get("iat").and_then(Value::as_u64).ok_or("the provider token has no iat in seconds")?;
    let bytes = URL_SAFE_NO_PAD
        .decode(signature)
        .map_err(|_| "the provider token is not base64url without padding")?;
    let signature =
        Signature::from_slice(&bytes).map_err(|_| "the provider token's signature is not r and s")?;
    Ok((Claims { team, key_id, issued_at }, signed, signature))
}

fn object(part: &str) -> Result<Value, &'static str> {
    let bytes =
        URL_SAFE_NO_PAD.decode(part).map_err(|_| "the provider token is not base64url without padding")?;
    serde_json::from_slice(&bytes).ok().filter(Value::is_object).ok_or("the provider token is no JWT")
}

impl std::fmt::Debug for Keyring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyring").field("keys", &self.known.len()).finish_non_exhaustive()
    }
}

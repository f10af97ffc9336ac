//! Provider tokens of APNs: ES256 JWTs from a `.p8` key, or from a throw-away key for simulators.
//! Source: Apple, "Establishing a token-based connection to APNs", read in 2026.

use async_trait::async_trait;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use model::Timestamp;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject;
use std::time::Duration;

use crate::error::Error;
use crate::secret::Secret;
use crate::token::{Renewal, Token, TokenSource};

/// Apple's rules: not more often than every 20 minutes, at least every 60. Five minutes are left for clocks that differ.
pub const RENEWAL: Renewal = Renewal {
    soonest: Duration::from_secs(20 * 60),
    ahead: Duration::from_secs(40 * 60),
    latest: Duration::from_secs(55 * 60),
};

const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Signs provider tokens for one team and key.
pub struct Signer {
    key: EcdsaKeyPair,
    key_id: String,
    team_id: String,
    is_throw_away: bool,
}

impl Signer {
    /// From the text of Apple's `.p8` file, the key's id and the team's id, ten characters each.
    ///
    /// # Errors
    /// The text is no PKCS#8 PEM of a P-256 key, or an id is not 10 letters and digits. Neither error shows the key.
    pub fn from_p8(pem: &Secret, key_id: &str, team_id: &str) -> Result<Self, Error> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.reveal())
            .map_err(|_| Error::SigningKey("no PEM section PRIVATE KEY"))?;
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der())
            .map_err(|_| Error::SigningKey("not a P-256 private key in PKCS#8"))?;
        for id in [key_id, team_id] {
            if id.len() != 10 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(Error::SigningKey("key id and team id have 10 letters and digits"));
            }
        }
        Ok(Self { key, key_id: key_id.into(), team_id: team_id.into(), is_throw_away: false })
    }

    /// A key made now that Apple has never seen: for simulators and benchmarks. Its id follows from the key, as no two keys
    /// of a team have one id.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn throw_away() -> Result<Self, Error> {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
            .map_err(|_| Error::SigningKey("no key could be made"))?;
        let hash = blake3::hash(key.public_key().as_ref()).to_hex();
        let key_id = format!("T{}", hash[..9].to_ascii_uppercase());
        Ok(Self { key, key_id, team_id: "SIMULATION".into(), is_throw_away: true })
    }

    /// A JWT whose age counts from `now`, to the second.
    ///
    /// # Errors
    /// The system has no randomness for the signature.
    pub fn sign(&self, now: Timestamp) -> Result<Secret, Error> {
        let header = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, self.key_id);
        let claims = format!(r#"{{"iss":"{}","iat":{}}}"#, self.team_id, now.as_secs());
        let mut jwt = URL_SAFE_NO_PAD.encode(header);
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut jwt);
        let signature = self
            .key
            .sign(&SystemRandom::new(), jwt.as_bytes())
            .map_err(|_| Error::SigningKey("signing failed"))?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(Secret::new(jwt))
    }

    /// The public key as an uncompressed point, for whoever checks a token.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer")
            .field("key_id", &self.key_id)
            .field("team_id", &self.team_id)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl TokenSource for Signer {
    async fn token(&self, now: Timestamp) -> Result<Token, Error> {
        // `iat` has whole seconds, and so has the age that counts.
        let minted_at = Timestamp::from_secs(now.as_secs());
        Ok(Token { text: self.sign(now)?, minted_at, good_until: minted_at + LIFETIME })
    }

    fn name(&self) -> String {
        if self.is_throw_away {
            // One is as good as another.
            return "apns throw-away".to_owned();
        }
        format!("apns {} {}", self.team_id, self.key_id)
    }

    fn renewal(&self) -> Renewal {
        RENEWAL
    }

    fn is_throw_away(&self) -> bool {
        self.is_throw_away
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn pem_of(key: &EcdsaKeyPair) -> Secret {
        let der = key.to_pkcs8v1().unwrap();
        let text = base64::engine::general_purpose::STANDARD.encode(der.as_ref());
        Secret::new(format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n"))
    }

    #[test]
    fn a_token_is_a_jwt_that_its_public_key_verifies() {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let signer = Signer::from_p8(&pem_of(&key), "ABC123DEFG", "DEF123GHIJ").unwrap();
        let jwt = signer.sign(Timestamp::from_secs(1_437_179_036)).unwrap();
        let jwt = String::from_utf8(jwt.reveal().to_vec()).unwrap();
        let (signed, signature) = jwt.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(signature.len(), 64, "raw r and s");
        let public_key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key());
        public_key.verify(signed.as_bytes(), &signature).unwrap();
        let parts: Vec<_> = signed.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap()).collect();
        assert_eq!(parts[0], br#"{"alg":"ES256","kid":"ABC123DEFG"}"#);
        assert_eq!(parts[1], br#"{"iss":"DEF123GHIJ","iat":1437179036}"#);
    }

    #[test]
    fn a_key_that_is_none_is_refused_without_showing_it() {
        let texts = ["", "hunter2", "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"];
        for text in texts {
            let error = Signer::from_p8(&Secret::new(text), "ABC123DEFG", "DEF123GHIJ").unwrap_err();
            assert!(!format!("{error:?} {error}").contains("hunter2"));
            assert!(!format!("{error:?} {error}").contains("aHVudGVyMg"));
        }
    }

    #[test]
    fn ids_that_could_break_the_json_are_refused() {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        for id in ["", "ABC", "ABC123\"EFG", "ABC123DEFGH"] {
            assert!(Signer::from_p8(&pem_of(&key), id, "DEF123GHIJ").is_err(), "{id:?}");
            assert!(Signer::from_p8(&pem_of(&key), "DEF123GHIJ", id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn a_signer_prints_no_key() {
        let signer = Signer::throw_away().unwrap();
        let printed = format!("{signer:?}");
        assert_eq!(
            printed,
            format!(r#"Signer {{ key_id: "{}", team_id: "SIMULATION", .. }}"#, signer.key_id)
        );
    }

    #[test]
    fn throw_away_keys_have_ids_of_their_own() {
        let [one, other] = [(); 2].map(|()| Signer::throw_away().unwrap().key_id);
        assert_ne!(one, other);
        assert!(one.len() == 10 && one.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{one}");
    }
}

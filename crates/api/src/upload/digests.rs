//! `Repr-Digest` and `Content-Digest` (RFC 9530) with SHA-256 and SHA-512, and BLAKE3, by which content is known here.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName};
use model::Digest;
use sha2::Digest as _;

use crate::problem::{Problem, Result};

/// The digest of the whole, however many requests it comes in.
pub(crate) const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");
/// The digest of what one request carries.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");

const SHA_256: &str = "sha-256";
const SHA_512: &str = "sha-512";

/// Digests that content must have: hexadecimal, by the algorithm's name.
pub(crate) type Wanted = BTreeMap<String, String>;

/// The digests that a field names. Algorithms that are not known here are passed over, as the RFC has it.
pub(crate) fn wanted(headers: &HeaderMap, field: &HeaderName) -> Result<Wanted> {
    let mut wanted = Wanted::new();
    let values = headers.get_all(field).iter().map(|value| value.to_str().unwrap_or_default());
    for member in values.flat_map(|value| value.split(',')) {
        let (name, value) = member.trim().split_once('=').unwrap_or((member.trim(), ""));
        let bytes = match name {
            SHA_256 => 32,
            SHA_512 => 64,
            _ => continue,
        };
        let value = value.split(';').next().unwrap_or_default().trim();
        let coded = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
        let digest =
            coded.and_then(|coded| STANDARD.decode(coded).ok()).filter(|digest| digest.len() == bytes);
        let Some(digest) = digest else {
            let detail = format!("{field}: {name} must be {bytes} bytes of base64 between colons");
            return Err(Problem::bad_request(detail));
        };
        wanted.insert(name.to_owned(), hex(&digest));
    }
    Ok(wanted)
}

/// Content being digested in each way that somebody asks for.
pub(crate) struct Hashes {
    blake3: Option<blake3::Hasher>,
    sha_256: Option<sha2::Sha256>,
    sha_512: Option<sha2::Sha512>,
}

impl Hashes {
    /// For what must have the digests `wanted`.
    pub(crate) fn of(wanted: &Wanted) -> Self {
        Self {
            blake3: None,
            sha_256: wanted.contains_key(SHA_256).then(Default::default),
            sha_512: wanted.contains_key(SHA_512).then(Default::default),
        }
    }

    /// The same, and BLAKE3.
    pub(crate) fn with_blake3(wanted: &Wanted) -> Self {
        Self { blake3: Some(blake3::Hasher::new()), ..Self::of(wanted) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.blake3 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha_256 {
            hasher.update(bytes);
        }
        if let Some(hasher) = &mut self.sha_512 {
            hasher.update(bytes);
        }
    }

    /// Whether the content has the digests `wanted`, those that this was made for; its BLAKE3 digest if that was asked for.
    pub(crate) fn check(self, wanted: &Wanted, field: &HeaderName) -> Result<Option<Digest>> {
        let found = [
            (SHA_256, self.sha_256.map(|hasher| hex(&hasher.finalize()))),
            (SHA_512, self.sha_512.map(|hasher| hex(&hasher.finalize()))),
        ];
        for (name, found) in found {
            if let (Some(wanted), Some(found)) = (wanted.get(name), found)
                && *wanted != found
            {
                return Err(Problem::digest_mismatch(field, name, wanted, &found));
            }
        }
        Ok(self.blake3.map(|hasher| Digest(*hasher.finalize().as_bytes())))
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELLO: &str = "sha-256=:LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=:";

    fn field(value: &str) -> HeaderMap {
        [(REPR_DIGEST, value.parse().unwrap())].into_iter().collect()
    }

    #[test]
    fn digests_are_checked_against_the_content() {
        let wanted = wanted(&field(&format!("md5=:AA==:, {HELLO}")), &REPR_DIGEST).unwrap();
        let check = |content: &[u8]| {
            let mut hashes = Hashes::with_blake3(&wanted);
            content.iter().for_each(|byte| hashes.update(&[*byte]));
            hashes.check(&wanted, &REPR_DIGEST)
        };
        assert_eq!(check(b"hello").unwrap(), Some(Digest::of(b"hello")));
        let problem = check(b"hallo").unwrap_err();
        let digests = ["2cf24dba5fb0a30e", "d3751d33f9cd5049"];
        assert!(
            problem.status == 400 && digests.iter().all(|digest| problem.detail.contains(digest)),
            "{problem:?}"
        );
    }

    #[test]
    fn a_digest_that_cannot_be_one_is_refused_and_an_unknown_kind_passed_over() {
        assert!(wanted(&field("unixsum=:AA==:"), &REPR_DIGEST).unwrap().is_empty());
        for value in ["sha-256", "sha-256=abc", "sha-256=:abc:", "sha-512=:AAAA:", "sha-256=:AAAA:"] {
            assert_eq!(wanted(&field(value), &REPR_DIGEST).unwrap_err().status, 400, "{value}");
        }
    }
}

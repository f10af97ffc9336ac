//! APNs: which device a request is for, and what each answer looks like.
//! Source: Apple, "Sending notification requests to APNs" and "Handling notification responses from APNs", 2026.

use model::Reason;

use crate::fingerprint::Fingerprint;

/// The text of an `apns-id`.
pub(crate) type ApnsId = [u8; 36];

/// The longest payload.
pub(crate) const BODY_BYTES_MAX: usize = 4_096;
/// The longest `apns-collapse-id`.
pub(crate) const COLLAPSE_ID_BYTES_MAX: usize = 64;

/// The device of a `:path`, or what is wrong with it.
#[inline]
pub(crate) fn device(path: &[u8]) -> Result<Fingerprint, Reason> {
    let token = path.strip_prefix(b"/3/device/").ok_or(Reason::BadPath)?;
    if token.is_empty() {
        return Err(Reason::MissingDeviceToken);
    }
    Fingerprint::of_hex(token).ok_or(Reason::BadDeviceToken)
}

/// The HTTP status of a reason of APNs.
pub(crate) fn status(reason: Reason) -> Option<&'static str> {
    use Reason as R;
    Some(match reason {
        R::ExpiredProviderToken | R::InvalidProviderToken | R::MissingProviderToken | R::Forbidden => "403",
        R::BadCertificate | R::BadCertificateEnvironment => "403",
        R::BadEnvironmentKeyIdInToken | R::UnrelatedKeyIdInToken => "403",
        R::BadPath => "404",
        R::MethodNotAllowed => "405",
        R::Unregistered | R::ExpiredToken => "410",
        R::PayloadTooLarge => "413",
        R::TooManyRequests | R::TooManyProviderTokenUpdates => "429",
        R::InternalServerError => "500",
        R::ServiceUnavailable | R::Shutdown => "503",
        other if (1..255).contains(&other.code()) => "400",
        _ => return None,
    })
}

/// The body of an answer other than 200; `timestamp_ms` goes with 410 only.
pub(crate) fn body(reason: Reason, timestamp_ms: Option<u64>) -> String {
    match timestamp_ms {
        Some(timestamp) => format!(r#"{{"reason":"{reason}","timestamp":{timestamp}}}"#),
        None => format!(r#"{{"reason":"{reason}"}}"#),
    }
}

/// Writes a number as a UUID; for answers to requests that brought no `apns-id`. Apple's are upper case.
pub(crate) fn uuid(number: u128) -> ApnsId {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let mut text = *b"00000000-0000-0000-0000-000000000000";
    let mut nibbles = (0..32).rev().map(|place| DIGITS[(number >> (4 * place)) as usize & 15]);
    for character in text.iter_mut().filter(|character| **character != b'-') {
        *character = nibbles.next().unwrap_or(b'0');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_device_or_a_reason() {
        let token = "00ff".repeat(20);
        let of = |token: &str| device(format!("/3/device/{token}").as_bytes());
        assert_eq!(of(&token), Ok(Fingerprint::of_bytes(&[0, 0xff].repeat(20))));
        assert_eq!(of(""), Err(Reason::MissingDeviceToken));
        assert_eq!(of("xyz"), Err(Reason::BadDeviceToken));
        assert_eq!(device(b"/4/device/00"), Err(Reason::BadPath));
    }

    #[test]
    fn every_reason_of_apns_has_a_status() {
        for reason in Reason::ALL {
            assert_eq!(status(*reason).is_some(), (1..255).contains(&reason.code()), "{reason}");
        }
    }

    #[test]
    fn generated_ids_are_uuids() {
        assert_eq!(&uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef), b"01234567-89AB-CDEF-0123-456789ABCDEF");
    }
}

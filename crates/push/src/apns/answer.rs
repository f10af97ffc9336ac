//! What an answer of APNs means: one table.
//! Source: Apple, "Handling notification responses from APNs", read in 2026.

use model::{Class, Outcome, Reason, Timestamp};
use serde::Deserialize;

use crate::verdict::{Effect, Fault, KeyState, Verdict};

/// Longer bodies are not read: a reason and a time take under 100 bytes.
const BODY_BYTES_MAX: usize = 4_096;

/// The body of an answer other than 200.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    reason: String,
    /// Milliseconds since the Unix epoch; with 410 only.
    timestamp: Option<u64>,
}

/// Reads an answer: `:status` and the body as far as it was kept. Takes any bytes.
pub fn judge(status: u16, body: &[u8]) -> Verdict {
    if status == 200 {
        return Verdict::ACCEPTED;
    }
    let Body { reason: text, timestamp } = read(body);
    match reason(status, &text) {
        Some(reason) => verdict(status, reason, timestamp).unless_cut(body),
        None => Verdict::not_understood(),
    }
}

fn read(body: &[u8]) -> Body {
    let fits = body.len() <= BODY_BYTES_MAX;
    fits.then(|| serde_json::from_slice(body).ok()).flatten().unwrap_or_default()
}

/// What APNs calls the goodbye of a connection: the `reason` in the debug data of its GOAWAY, when it is one we know.
pub fn goodbye(debug_data: &[u8]) -> Option<Reason> {
    known(&read(debug_data).reason)
}

fn known(text: &str) -> Option<Reason> {
    text.parse().ok().filter(|reason: &Reason| (1..=255).contains(&reason.code()))
}

/// The reason by its text, else what the status alone says.
fn reason(status: u16, text: &str) -> Option<Reason> {
    known(text).or(match status {
        400..=403 | 405..=409 | 411 | 412 | 414..=428 => Some(Reason::OtherApns),
        404 => Some(Reason::BadPath),
        410 => Some(Reason::Unregistered),
        413 => Some(Reason::PayloadTooLarge),
        429 => Some(Reason::TooManyRequests),
        500 | 502 | 504 => Some(Reason::InternalServerError),
        503 => Some(Reason::ServiceUnavailable),
        _ => None,
    })
}

fn verdict(status: u16, reason: Reason, timestamp: Option<u64>) -> Verdict {
    use Reason as R;
    let rejected = Verdict::rejected(reason);
    match reason {
        R::BadDeviceToken | R::DeviceTokenNotForTopic => rejected.with_key(KeyState::Dead(None)),
        R::Unregistered | R::ExpiredToken => {
            // Without its time a 410 says nothing about a registration that may be newer.
            match timestamp.and_then(|millis| millis.checked_mul(1_000)) {
                Some(micros) => rejected.with_key(KeyState::Dead(Some(Timestamp(micros)))),
                None => rejected,
            }
        }
        R::BadTopic | R::MissingTopic | R::TopicDisallowed | R::BadCollapseId | R::BadExpirationDate => {
            stop(reason, Fault::Message)
        }
        R::BadMessageId | R::BadPriority | R::InvalidPushType | R::DuplicateHeaders | R::PayloadEmpty => {
            stop(reason, Fault::Message)
        }
        R::MissingDeviceToken | R::BadPath | R::MethodNotAllowed | R::PayloadTooLarge => {
            stop(reason, Fault::Message)
        }
        R::IdleTimeout => rejected.with_effect(Effect::Reconnect),
        R::ExpiredProviderToken => rejected.with_effect(Effect::RenewToken { closes_connection: true }),
        R::InvalidProviderToken | R::MissingProviderToken | R::BadCertificate | R::Forbidden => {
            stop(reason, Fault::Credentials)
        }
        R::BadCertificateEnvironment | R::BadEnvironmentKeyIdInToken | R::UnrelatedKeyIdInToken => {
            stop(reason, Fault::Credentials)
        }
        R::TooManyProviderTokenUpdates => rejected.with_effect(Effect::KeepToken),
        R::Shutdown => rejected.with_effect(Effect::ReplaceConnection),
        // A reason that is new since 2026. 403 has always been about who sends; other faults may be one device's.
        R::OtherApns if status == 403 => stop(reason, Fault::Credentials),
        R::OtherApns => rejected.with_effect(Effect::Alarm),
        _ => rejected,
    }
}

fn stop(reason: Reason, fault: Fault) -> Verdict {
    Verdict { outcome: Outcome::new(Class::Rejected, reason), ..Verdict::rejected(reason) }
        .with_effect(Effect::StopLaunch(fault))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RENEW: Effect = Effect::RenewToken { closes_connection: true };
    const MESSAGE: Effect = Effect::StopLaunch(Fault::Message);
    const CREDENTIALS: Effect = Effect::StopLaunch(Fault::Credentials);

    /// Every row of Apple's table: status, reason, effect, whether the key is dead, whether a late retry may help.
    const TABLE: &[(u16, &str, Effect, bool, bool)] = &[
        (400, "BadDeviceToken", Effect::None, true, false),
        (400, "DeviceTokenNotForTopic", Effect::None, true, false),
        (400, "BadTopic", MESSAGE, false, false),
        (400, "MissingTopic", MESSAGE, false, false),
        (400, "TopicDisallowed", MESSAGE, false, false),
        (400, "BadCollapseId", MESSAGE, false, false),
        (400, "BadExpirationDate", MESSAGE, false, false),
        (400, "BadMessageId", MESSAGE, false, false),
        (400, "BadPriority", MESSAGE, false, false),
        (400, "InvalidPushType", MESSAGE, false, false),
        (400, "DuplicateHeaders", MESSAGE, false, false),
        (400, "PayloadEmpty", MESSAGE, false, false),
        (400, "MissingDeviceToken", MESSAGE, false, false),
        (400, "IdleTimeout", Effect::Reconnect, false, true),
        (403, "ExpiredProviderToken", RENEW, false, true),
        (403, "InvalidProviderToken", CREDENTIALS, false, false),
        (403, "MissingProviderToken", CREDENTIALS, false, false),
        (403, "BadCertificate", CREDENTIALS, false, false),
        (403, "BadCertificateEnvironment", CREDENTIALS, false, false),
        (403, "BadEnvironmentKeyIdInToken", CREDENTIALS, false, false),
        (403, "UnrelatedKeyIdInToken", CREDENTIALS, false, false),
        (403, "Forbidden", CREDENTIALS, false, false),
        (404, "BadPath", MESSAGE, false, false),
        (405, "MethodNotAllowed", MESSAGE, false, false),
        (413, "PayloadTooLarge", MESSAGE, false, false),
        (429, "TooManyRequests", Effect::None, false, true),
        (429, "TooManyProviderTokenUpdates", Effect::KeepToken, false, true),
        (500, "InternalServerError", Effect::None, false, true),
        (503, "ServiceUnavailable", Effect::None, false, true),
        (503, "Shutdown", Effect::ReplaceConnection, false, true),
    ];

    #[test]
    fn every_row_of_apples_table_has_its_verdict() {
        for &(status, text, effect, is_dead, is_transient) in TABLE {
            let verdict = judge(status, format!(r#"{{"reason":"{text}"}}"#).as_bytes());
            assert_eq!(verdict.outcome, Outcome::new(Class::Rejected, text.parse().unwrap()), "{text}");
            assert_eq!(verdict.effect, effect, "{text}");
            assert_eq!(verdict.key == KeyState::Dead(None), is_dead, "{text}");
            assert_eq!(verdict.outcome.reason().is_of_dead_key(), is_dead, "{text}");
            assert_eq!(verdict.outcome.is_transient(), is_transient, "{text}");
        }
    }

    #[test]
    fn the_table_names_every_reason_of_apns_but_the_410s_and_the_unknown() {
        let apns = Reason::ALL.iter().filter(|reason| (1..=255).contains(&reason.code()));
        let named = |reason: &&Reason| TABLE.iter().any(|row| row.1 == reason.text());
        let others: Vec<_> = apns.filter(|reason| !named(reason)).collect();
        assert_eq!(others, [&Reason::Unregistered, &Reason::ExpiredToken, &Reason::OtherApns]);
    }

    #[test]
    fn a_410_carries_the_time_since_which_the_key_is_dead() {
        for text in ["Unregistered", "ExpiredToken"] {
            let body = format!(r#"{{"reason":"{text}","timestamp":1454948015990}}"#);
            let verdict = judge(410, body.as_bytes());
            assert_eq!(verdict.key, KeyState::Dead(Some(Timestamp::from_millis(1_454_948_015_990))));
            assert_eq!(verdict.outcome.reason().text(), text);
            assert!(verdict.outcome.reason().is_of_dead_key());
            assert_eq!(judge(410, format!(r#"{{"reason":"{text}"}}"#).as_bytes()).key, KeyState::Alive);
        }
    }

    #[test]
    fn an_answer_without_a_readable_reason_is_judged_by_its_status() {
        let reason = |status, body: &[u8]| judge(status, body).outcome.reason();
        assert_eq!(reason(503, b""), Reason::ServiceUnavailable);
        assert_eq!(reason(410, b"{\"reason\""), Reason::Unregistered);
        assert_eq!(reason(400, b"{\"reason\":\"SomethingNew\"}"), Reason::OtherApns);
        assert_eq!(judge(400, b"{\"reason\":\"QUOTA_EXCEEDED\"}").effect, Effect::Alarm);
        assert_eq!(judge(403, b"{\"reason\":\"SomethingNew\"}").effect, CREDENTIALS);
    }

    #[test]
    fn an_answer_whose_body_is_missing_or_cut_stops_no_launch() {
        for status in [403, 404, 405, 413] {
            for body in [&b""[..], b"{\"reason\":\"BadPa"] {
                assert_eq!(judge(status, body).effect, Effect::Alarm, "{status}");
            }
            let of_proxy = judge(status, b"<html>");
            assert!(matches!(of_proxy.effect, Effect::StopLaunch(_)) || status == 405, "{of_proxy:?}");
        }
    }

    #[test]
    fn an_answer_no_table_knows_leaves_the_device_unknown() {
        for status in [0, 101, 201, 204, 301, 599] {
            assert_eq!(judge(status, b"{}"), Verdict::not_understood(), "{status}");
        }
    }

    #[test]
    fn the_reason_of_a_goodbye_is_read() {
        assert_eq!(goodbye(br#"{"reason":"ExpiredProviderToken"}"#), Some(Reason::ExpiredProviderToken));
        assert_eq!(goodbye(b"exceeded"), None);
    }

    proptest! {
        #[test]
        fn no_bytes_of_a_peer_make_reading_fail(
            status in any::<u16>(), body in proptest::collection::vec(any::<u8>(), 0..200)
        ) {
            let verdict = judge(status, &body);
            prop_assert_eq!(verdict.outcome == Outcome::ACCEPTED, status == 200);
        }

        #[test]
        fn no_time_of_a_peer_makes_reading_fail(millis in any::<u64>()) {
            let body = format!(r#"{{"reason":"Unregistered","timestamp":{millis}}}"#);
            prop_assert_eq!(judge(410, body.as_bytes()).outcome.reason(), Reason::Unregistered);
        }
    }
}

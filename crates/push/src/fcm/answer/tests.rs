//! Every row of Google's table, the levels it is read by, and bytes nobody should send.

use model::{Class, Outcome};
use proptest::prelude::*;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const RENEW: Effect = Effect::RenewToken { closes_connection: false };
const CREDENTIALS: Effect = Effect::StopLaunch(Fault::Credentials);
const MESSAGE: Effect = Effect::StopLaunch(Fault::Message);

fn of(status: u16, body: &str) -> Verdict {
    judge(status, body.as_bytes(), None, NOW)
}

fn with_code(status: u16, code: &str) -> Verdict {
    let detail =
        format!(r#"{{"@type":"type.googleapis.com/google.firebase.fcm.v1.FcmError","errorCode":"{code}"}}"#);
    of(status, &format!(r#"{{"error":{{"code":{status},"status":"SOMETHING","details":[{detail}]}}}}"#))
}

#[test]
fn every_row_of_googles_table_has_its_verdict() {
    let rows = [
        (400, "INVALID_ARGUMENT", Effect::None, false, false),
        (401, "UNAUTHENTICATED", RENEW, false, true),
        (401, "THIRD_PARTY_AUTH_ERROR", Effect::Alarm, false, false),
        (403, "SENDER_ID_MISMATCH", Effect::None, true, false),
        (403, "PERMISSION_DENIED", CREDENTIALS, false, false),
        (404, "UNREGISTERED", Effect::None, true, false),
        (429, "QUOTA_EXCEEDED", Effect::PauseQuota(PAUSE_DEFAULT), false, true),
        (500, "INTERNAL", Effect::None, false, true),
        (503, "UNAVAILABLE", Effect::None, false, true),
    ];
    for (status, code, effect, is_dead, is_transient) in rows {
        let verdict = with_code(status, code);
        assert_eq!(verdict.outcome, Outcome::new(Class::Rejected, code.parse().unwrap()), "{code}");
        assert_eq!(verdict.effect, effect, "{code}");
        assert_eq!(verdict.key == KeyState::Dead(None), is_dead, "{code}");
        assert_eq!(verdict.outcome.reason().is_of_dead_key(), is_dead, "{code}");
        assert_eq!(verdict.outcome.is_transient(), is_transient, "{code}");
    }
    let fcm = Reason::ALL.iter().filter(|reason| (256..511).contains(&reason.code()));
    assert!(fcm.clone().all(|reason| rows.iter().any(|row| row.1 == reason.text())), "a reason has no row");
}

#[test]
fn the_error_code_counts_before_the_status_and_the_status_before_the_number() {
    assert_eq!(with_code(404, "SENDER_ID_MISMATCH").outcome.reason(), Reason::SenderIdMismatch);
    assert_eq!(of(400, r#"{"error":{"status":"UNAVAILABLE"}}"#).outcome.reason(), Reason::Unavailable);
    assert_eq!(of(503, "<html>").outcome.reason(), Reason::Unavailable);
    assert_eq!(of(502, "<html>").outcome.reason(), Reason::Unavailable);
    assert_eq!(with_code(418, "SOMETHING_NEW").effect, Effect::Alarm);
    assert_eq!(of(404, r#"{"error":{"status":"NOT_FOUND"}}"#).effect, MESSAGE);
}

#[test]
fn a_bad_argument_is_the_devices_fault_unless_another_field_is_named() {
    let field = |name: &str| {
        let detail = format!(r#"{{"fieldViolations":[{{"field":"{name}","description":"x"}}]}}"#);
        of(400, &format!(r#"{{"error":{{"status":"INVALID_ARGUMENT","details":[{detail}]}}}}"#)).effect
    };
    assert_eq!(field("message.token"), Effect::None);
    assert_eq!(field("message.fid"), Effect::None);
    assert_eq!(field("message.android.ttl"), MESSAGE);
    assert_eq!(field("message.data[0].value"), MESSAGE);
    assert_eq!(with_code(400, "INVALID_ARGUMENT").effect, Effect::None);
}

#[test]
fn an_answer_whose_body_is_missing_or_cut_stops_no_launch() {
    for status in [403, 404] {
        for body in ["", r#"{"error":{"status":"NOT_FOU"#] {
            let verdict = of(status, body);
            assert_eq!(
                (verdict.outcome.class(), verdict.effect),
                (Class::Rejected, Effect::Alarm),
                "{status}"
            );
        }
        assert!(matches!(of(status, "<html>").effect, Effect::StopLaunch(_)), "{status}");
    }
}

#[test]
fn a_devices_own_quota_pauses_nobody() {
    let body = |subject: &str| {
        format!(
            r#"{{"error":{{"status":"RESOURCE_EXHAUSTED","details":[{{"errorCode":"QUOTA_EXCEEDED"}},
            {{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{{"subject":"{subject}"}}]}}]}}}}"#
        )
    };
    assert_eq!(of(429, &body("device:abc")).effect, Effect::None);
    assert_eq!(of(429, &body("Device message rate")).effect, Effect::None);
    assert_eq!(of(429, &body("project:abc")).effect, Effect::PauseQuota(PAUSE_DEFAULT));
}

#[test]
fn the_limit_per_minute_and_project_pauses_the_fleet_as_long_as_it_says() {
    let body = r#"{"error":{"code":429,"message":"Quota exceeded for quota metric 'Send requests'",
        "status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo",
        "reason":"RATE_LIMIT_EXCEEDED","metadata":{"quota_unit":"1/min/{project}"}}]}}"#;
    let after = |value: Option<&[u8]>| judge(429, body.as_bytes(), value, NOW).effect;
    assert_eq!(after(None), Effect::PauseQuota(PAUSE_DEFAULT));
    assert_eq!(after(Some(b"17")), Effect::PauseQuota(Duration::from_secs(17)));
    assert_eq!(after(Some(b"soon")), Effect::PauseQuota(PAUSE_DEFAULT));
    assert_eq!(after(Some(b"99999999")), Effect::PauseQuota(PAUSE_MAX));
}

#[test]
fn a_503_tells_how_long_to_wait_for_this_device() {
    let verdict = judge(503, b"", Some(b"30"), NOW);
    assert_eq!((verdict.effect, verdict.retry_after), (Effect::None, Some(Duration::from_secs(30))));
}

#[test]
fn an_answer_no_table_knows_leaves_the_device_unknown() {
    for status in [0, 201, 204, 302, 505] {
        assert_eq!(of(status, "{}"), Verdict::not_understood(), "{status}");
    }
}

proptest! {
    #[test]
    fn no_bytes_of_a_peer_make_reading_fail(
        status in any::<u16>(),
        body in proptest::collection::vec(any::<u8>(), 0..200),
        retry_after in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..40)),
    ) {
        let verdict = judge(status, &body, retry_after.as_deref(), NOW);
        prop_assert_eq!(verdict.outcome == Outcome::ACCEPTED, status == 200);
    }

    #[test]
    fn no_json_of_a_peer_makes_reading_fail(
        status in 400_u16..504, details in "[\\[\\]{}\":,a-z0-9]{0,80}", message in "[a-z ]{0,20}"
    ) {
        let body = format!(r#"{{"error":{{"message":"{message}","details":[{details}]}}}}"#);
        prop_assert_ne!(judge(status, body.as_bytes(), None, NOW).outcome, Outcome::ACCEPTED);
    }
}

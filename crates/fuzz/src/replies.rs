//! Answers of the providers: any status, any field, any body.

use model::{Class, Outcome, Reason, Timestamp};
use push::{Effect, Fault, Verdict, apns, fcm};

use crate::source::Source;

/// Status, then the body.
pub(crate) fn apns(data: &[u8]) {
    let mut source = Source::new(data);
    let status = source.u16();
    let body = source.bytes(usize::MAX);
    let verdict = apns::answer::judge(status, body);
    check(status, body, &verdict);
    assert!(!matches!(verdict.effect, Effect::PauseQuota(_)), "apns has no quota");
    let _ = apns::answer::goodbye(body);
    let _ = apns::answer::goodbye(data);
}

/// Status, `retry-after` with its length, the time, then the body.
pub(crate) fn fcm(data: &[u8]) {
    let mut source = Source::new(data);
    let status = source.u16();
    let field = source.short();
    let now = Timestamp::from_secs(source.u32().into());
    let body = source.bytes(usize::MAX);
    let verdict = fcm::answer::judge(status, body, (!field.is_empty()).then_some(field), now);
    check(status, body, &verdict);
    if let Effect::PauseQuota(pause) = verdict.effect {
        assert!(pause <= fcm::answer::PAUSE_MAX, "a pause of {pause:?}");
    }
    assert!(verdict.retry_after.is_none() || !field.is_empty(), "a wait that nobody asked for");
    let _ = fcm::retry_after::read(field, now);
}

fn check(status: u16, body: &[u8], verdict: &Verdict) {
    assert_eq!(verdict.outcome == Outcome::ACCEPTED, status == 200, "accepted is 200 and nothing else");
    let class = verdict.outcome.class();
    assert!(matches!(class, Class::Accepted | Class::Rejected | Class::Unknown), "{class:?}");
    if let Effect::StopLaunch(fault) = verdict.effect {
        assert!(!body.is_empty(), "an answer without its body stops a launch");
        let reason = verdict.outcome.reason();
        assert!(class == Class::Rejected && may_stop(reason, fault, status), "{status} {reason}: {fault:?}");
    }
}

/// Reasons that are the same for every device, by whose fault they are; a second list, written from the providers' tables.
/// What is one device's fault, or the provider's own, never stops a launch.
fn may_stop(reason: Reason, fault: Fault, status: u16) -> bool {
    use Reason as R;
    match fault {
        Fault::Message => {
            matches!(
                reason,
                R::BadTopic
                    | R::MissingTopic
                    | R::TopicDisallowed
                    | R::BadCollapseId
                    | R::BadExpirationDate
                    | R::BadMessageId
                    | R::BadPriority
                    | R::InvalidPushType
                    | R::DuplicateHeaders
                    | R::PayloadEmpty
                    | R::PayloadTooLarge
                    | R::MissingDeviceToken
                    | R::BadPath
                    | R::MethodNotAllowed
                    | R::InvalidArgument
            ) || reason == R::OtherFcm && status == 404
        }
        Fault::Credentials => {
            matches!(
                reason,
                R::InvalidProviderToken
                    | R::MissingProviderToken
                    | R::BadCertificate
                    | R::BadCertificateEnvironment
                    | R::BadEnvironmentKeyIdInToken
                    | R::UnrelatedKeyIdInToken
                    | R::Forbidden
                    | R::PermissionDenied
            ) || reason == R::OtherApns && status == 403
        }
    }
}

pub(crate) fn apns_seeds() -> Vec<Vec<u8>> {
    let with = |status: u16, body: &str| [&status.to_be_bytes()[..], body.as_bytes()].concat();
    let mut seeds = vec![with(200, ""), with(410, r#"{"reason":"Unregistered","timestamp":1454948015990}"#)];
    for reason in model::Reason::ALL.iter().filter(|reason| (1..=255).contains(&reason.code())) {
        for status in [400, 403, 429, 503] {
            seeds.push(with(status, &format!(r#"{{"reason":"{}"}}"#, reason.text())));
        }
    }
    seeds
}

pub(crate) fn fcm_seeds() -> Vec<Vec<u8>> {
    let with = |status: u16, field: &str, body: &str| {
        let time = 784_111_770u32.to_be_bytes();
        [&status.to_be_bytes()[..], &[field.len() as u8], field.as_bytes(), &time, body.as_bytes()].concat()
    };
    let error = |status: &str, details: &str| {
        format!(r#"{{"error":{{"code":400,"message":"m","status":"{status}","details":[{details}]}}}}"#)
    };
    let mut seeds = vec![
        with(200, "", "{}"),
        with(429, "Sun, 06 Nov 1994 08:49:37 GMT", &error("RESOURCE_EXHAUSTED", "")),
        with(429, "30", &error("QUOTA_EXCEEDED", r#"{"violations":[{"subject":"device:x"}]}"#)),
        with(400, "", &error("INVALID_ARGUMENT", r#"{"fieldViolations":[{"field":"message.android.ttl"}]}"#)),
        with(503, "99999999999999999999", ""),
    ];
    for reason in model::Reason::ALL.iter().filter(|reason| (256..511).contains(&reason.code())) {
        seeds.push(with(401, "", &error("X", &format!(r#"{{"errorCode":"{}"}}"#, reason.text()))));
    }
    seeds
}

//! What an answer of FCM means: one table, by `errorCode`, else by `status`, else by the HTTP status.
//! Source: Google, "ErrorCode" and "Handle errors in FCM HTTP v1", read in 2026.

use std::time::Duration;

use model::{Reason, Timestamp};
use serde::Deserialize;
use serde_json::Value;

use super::retry_after;
use crate::verdict::{Effect, Fault, KeyState, Verdict};

/// How long the fleet pauses when a 429 does not say: Google asks for a minute.
pub const PAUSE_DEFAULT: Duration = Duration::from_secs(60);
/// However long a 429 asks for: its quota is refilled each minute, so a longer pause would be somebody's mistake.
pub const PAUSE_MAX: Duration = Duration::from_secs(600);

/// Longer bodies are not read.
const BODY_BYTES_MAX: usize = 16 * 1_024;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body {
    error: Error,
}

/// `google.rpc.Status` as JSON.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Error {
    message: String,
    status: String,
    details: Vec<Value>,
}

/// Reads an answer: `:status`, the body as far as it was kept, and the `retry-after` field. Takes any bytes.
/// `now` turns a date in `retry-after` into a wait.
pub fn judge(status: u16, body: &[u8], retry_after: Option<&[u8]>, now: Timestamp) -> Verdict {
    if status == 200 {
        return Verdict::ACCEPTED;
    }
    let fits = body.len() <= BODY_BYTES_MAX;
    let read: Body = fits.then(|| serde_json::from_slice(body).ok()).flatten().unwrap_or_default();
    let Some(reason) = reason(status, &read.error) else { return Verdict::not_understood() };
    let wait = retry_after.and_then(|value| retry_after::read(value, now));
    let verdict = verdict(status, reason, &read.error, wait).unless_cut(body);
    Verdict { retry_after: wait, ..verdict }
}

fn reason(status: u16, error: &Error) -> Option<Reason> {
    let by_code = error.details.iter().find_map(|detail| detail.get("errorCode").and_then(Value::as_str));
    by_code.and_then(by_text).or_else(|| by_text(&error.status)).or_else(|| by_status(status))
}

fn by_text(text: &str) -> Option<Reason> {
    Some(match text {
        // What google.rpc.Code calls it when the limit is met before FCM itself is reached.
        "RESOURCE_EXHAUSTED" => Reason::QuotaExceeded,
        "DEADLINE_EXCEEDED" => Reason::Unavailable,
        _ => text.parse().ok().filter(|reason: &Reason| (256..511).contains(&reason.code()))?,
    })
}

fn by_status(status: u16) -> Option<Reason> {
    Some(match status {
        400 => Reason::InvalidArgument,
        401 => Reason::Unauthenticated,
        403 => Reason::PermissionDenied,
        429 => Reason::QuotaExceeded,
        402..=499 => Reason::OtherFcm,
        500 => Reason::Internal,
        502..=504 => Reason::Unavailable,
        _ => return None,
    })
}

fn verdict(status: u16, reason: Reason, error: &Error, wait: Option<Duration>) -> Verdict {
    use Reason as R;
    let rejected = Verdict::rejected(reason);
    match reason {
        R::InvalidArgument if blames_the_message(error) => {
            rejected.with_effect(Effect::StopLaunch(Fault::Message))
        }
        R::Unauthenticated => rejected.with_effect(Effect::RenewToken { closes_connection: false }),
        R::ThirdPartyAuthError => rejected.with_effect(Effect::Alarm),
        R::PermissionDenied => rejected.with_effect(Effect::StopLaunch(Fault::Credentials)),
        R::SenderIdMismatch | R::FcmUnregistered => rejected.with_key(KeyState::Dead(None)),
        R::QuotaExceeded if !blames_the_device(error) => {
            rejected.with_effect(Effect::PauseQuota(wait.unwrap_or(PAUSE_DEFAULT).min(PAUSE_MAX)))
        }
        // 404 without UNREGISTERED, for example: the project's path, hence everybody's fault, or something new.
        R::OtherFcm if status == 404 => rejected.with_effect(Effect::StopLaunch(Fault::Message)),
        R::OtherFcm => rejected.with_effect(Effect::Alarm),
        _ => rejected,
    }
}

/// Whether a `google.rpc.BadRequest` names a field that all devices share. Without one the fault is taken for the
/// token's: the message itself was tried with `validate_only` before anything was armed.
fn blames_the_message(error: &Error) -> bool {
    let violations =
        error.details.iter().filter_map(|detail| detail.get("fieldViolations")?.as_array()).flatten();
    let mut fields = violations.filter_map(|violation| violation.get("field")?.as_str());
    fields.any(|field| !matches!(field, "message.token" | "message.fid" | "token" | "fid"))
}

/// Whether the limit met is that of one device and not of the project. `google.rpc.QuotaFailure` says it in words; a
/// per-project limit comes as `google.rpc.ErrorInfo` (seen in 2025), or with nothing.
fn blames_the_device(error: &Error) -> bool {
    let violations = error.details.iter().filter_map(|detail| detail.get("violations")?.as_array()).flatten();
    let texts = ["subject", "description", "quotaMetric", "quotaId"];
    let mut said =
        violations.flat_map(|violation| texts.iter().filter_map(|text| violation.get(text)?.as_str()));
    let is_of_device = |text: &str| text.to_ascii_lowercase().contains("device");
    said.any(is_of_device) || is_of_device(&error.message)
}

#[cfg(test)]
mod tests;

//! What Google asks of a request. Source: Google, "Method: projects.messages.send", "REST Resource: projects.messages"
//! and "ErrorCode", read in 2026.

use http::Method;
use model::Reason;
use serde_json::{Value, json};

use super::arrived::{Arrived, short};
use super::finding::{Finding, Judged};
use super::{fcm_schema, json};
use crate::config::Checks;
use crate::fcm;
use crate::fingerprint::Fingerprint;

/// The keys and values of what a device gets.
const PAYLOAD_BYTES_MAX: usize = 4_096;
const FID_CHARS: usize = 22;
/// Registration tokens differ in length and grow: no shorter one was ever seen, and nothing says how long they may be.
const TOKEN_CHARS: std::ops::RangeInclusive<usize> = 64..=4_096;
/// Four weeks.
const TTL_S_MAX: f64 = 28.0 * 24.0 * 3_600.0;
const TARGETS: [&str; 4] = ["token", "fid", "topic", "condition"];

/// What is wrong with `request`.
pub(crate) fn judge(request: &Arrived, checks: &Checks) -> Judged {
    let mut judged = Judged::default();
    let invalid = |kind| Finding::refused(Reason::InvalidArgument, kind);
    if request.method != Method::POST {
        judged.findings.push(invalid("the method is not POST"));
    }
    match fcm::project(request.path.as_bytes()) {
        Ok(project) => judged.project = String::from_utf8_lossy(project).into_owned(),
        Err(reason) => {
            judged
                .findings
                .push(Finding::refused(reason, "the path is not /v1/projects/{project}/messages:send"));
        }
    }
    request.check(None, &mut judged.findings);
    judged.findings.extend(sender(request, checks, &judged.project).err());
    let kind = request.field("content-type").map(|kind| kind.split(';').next().unwrap_or_default().trim());
    if !kind.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        judged.findings.push(invalid("the content-type is not application/json"));
    }
    match json::read(&request.body).filter(|_| request.body_bytes == request.body.len()) {
        Some(body) => message(&body, &mut judged),
        None => judged.findings.push(invalid("the body is no JSON")),
    }
    judged
}

fn sender(request: &Arrived, checks: &Checks, project: &str) -> Result<(), Finding> {
    let unauthenticated = |kind| Err(Finding::refused(Reason::Unauthenticated, kind));
    let token = match request.bearer() {
        None => return unauthenticated("no authorization"),
        Some(Err(())) => return unauthenticated("the authorization is not Bearer and a token"),
        Some(Ok(token)) => token,
    };
    if !checks.access_tokens.is_empty() && !checks.access_tokens.iter().any(|known| known == token) {
        return unauthenticated("an access token that was never given out");
    }
    if !checks.projects.is_empty() && !checks.projects.iter().any(|known| known == project) {
        return Err(Finding::refused(
            Reason::PermissionDenied,
            "a project that is not the service account's",
        ));
    }
    Ok(())
}

fn message(body: &json::Strict, judged: &mut Judged) {
    let mut add = |kind, field: String| {
        judged.findings.push(Finding::refused(Reason::InvalidArgument, kind).at(field));
    };
    for key in &body.twice {
        add("a key stands twice in the body", key.clone());
    }
    fcm_schema::check(&body.value, &mut add);
    let Some(message) = body.value.get("message").and_then(Value::as_object) else {
        return add("the body has no message", "message".into());
    };
    // In proto3 JSON null is the default: as if it were not there.
    let given = |name: &str| message.get(name).filter(|value| !value.is_null());
    if TARGETS.into_iter().filter_map(given).count() != 1 {
        add("not exactly one of token, fid, topic and condition", "message".into());
    }
    for (name, is_fine) in [("token", is_token as fn(&str) -> bool), ("fid", is_fid), ("topic", is_topic)] {
        if message.get(name).and_then(Value::as_str).is_some_and(|text| !is_fine(text)) {
            add("a target of the wrong shape", format!("message.{name}"));
        }
    }
    for place in ["/message/data", "/message/android/data"] {
        let data = body.value.pointer(place).and_then(Value::as_object);
        for key in data.into_iter().flat_map(|data| data.keys()).filter(|key| is_reserved(key)) {
            add("a data key that is reserved", format!("{}.{}", place[1..].replace('/', "."), short(key)));
        }
    }
    let ttl = body
        .value
        .pointer("/message/android/ttl")
        .and_then(Value::as_str)
        .and_then(|ttl| ttl.strip_suffix('s'));
    if ttl.and_then(|ttl| ttl.parse::<f64>().ok()).is_some_and(|ttl| ttl > TTL_S_MAX) {
        add("a time to live of more than four weeks", "message.android.ttl".into());
    }
    let payload_bytes = payload_bytes(&body.value);
    if payload_bytes > PAYLOAD_BYTES_MAX {
        add("the payload is too large", format!("message: {payload_bytes} bytes of {PAYLOAD_BYTES_MAX}"));
    }
    let key = given("token").or_else(|| given("fid")).and_then(Value::as_str);
    judged.device = key.map(|key| Fingerprint::of_bytes(key.as_bytes()));
    judged.is_probe = body.value.get("validate_only").or_else(|| body.value.get("validateOnly"))
        == Some(&Value::Bool(true));
}

fn is_token(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_:".contains(&byte);
    TOKEN_CHARS.contains(&text.len()) && text.bytes().all(is_fine)
}

fn is_fid(text: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    text.len() == FID_CHARS && text.bytes().all(is_fine)
}

/// Google: `[a-zA-Z0-9-_.~%]+`, without `/topics/`.
fn is_topic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%".contains(&byte))
}

fn is_reserved(key: &str) -> bool {
    key == "from" || key == "message_type" || key.starts_with("google.") || key.starts_with("gcm.")
}

/// Keys and values of what reaches the device; nesting and quotation marks do not count.
fn payload_bytes(body: &Value) -> usize {
    let parts =
        ["/message/notification", "/message/data", "/message/android/notification", "/message/android/data"];
    parts.iter().filter_map(|part| body.pointer(part)).map(bytes_of).sum()
}

fn bytes_of(value: &Value) -> usize {
    match value {
        Value::Object(object) => object.iter().map(|(key, value)| key.len() + bytes_of(value)).sum(),
        Value::Array(values) => values.iter().map(bytes_of).sum(),
        Value::String(text) => text.len(),
        other => other.to_string().len(),
    }
}

/// The body of a 400 that names the fields: the first details are FCM's own, `google.rpc.BadRequest` follows.
pub(crate) fn bad_request(findings: &[Finding]) -> String {
    let ours = findings.iter().filter(|finding| finding.reason == Some(Reason::InvalidArgument));
    let violations: Vec<_> = ours
        .map(|finding| json!({"field": finding.detail, "description": format!("Invalid value: {}.", finding.kind)}))
        .collect();
    let error = json!({
        "code": 400,
        "message": violations.first().map_or(&Value::Null, |first| &first["description"]),
        "status": "INVALID_ARGUMENT",
        "details": [
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": "INVALID_ARGUMENT"},
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": violations},
        ],
    });
    json!({ "error": error }).to_string()
}

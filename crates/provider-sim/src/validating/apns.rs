//! What Apple asks of a request. Source: Apple, "Sending notification requests to APNs" and "Handling notification
//! responses from APNs", read in 2026. The order of the checks is not documented: here who sends comes before what.

use http::Method;
use model::Reason;

use super::aps;
use super::arrived::{Arrived, short};
use super::checker::Checker;
use super::finding::{Finding, Judged};
use super::provider_token::Claims;
use crate::apns::{BODY_BYTES_MAX, COLLAPSE_ID_BYTES_MAX};
use crate::config::Checks;
use crate::fingerprint::Fingerprint;

const VOIP_BODY_BYTES_MAX: usize = 5_120;
const TOPIC_BYTES_MAX: usize = 255;
const UUID_BYTES: usize = 36;
/// Header fields that begin with `apns-` and that APNs knows.
const KNOWN: [&str; 6] =
    ["apns-id", "apns-topic", "apns-push-type", "apns-priority", "apns-expiration", "apns-collapse-id"];
/// Push types, each with how its topic ends.
const PUSH_TYPES: [(&str, &str); 11] = [
    ("alert", ""),
    ("background", ""),
    ("location", ".location-query"),
    ("voip", ".voip"),
    ("complication", ".complication"),
    ("fileprovider", ".pushkit.fileprovider"),
    ("mdm", ""),
    ("liveactivity", ".push-type.liveactivity"),
    ("pushtotalk", ".voip-ptt"),
    ("widgets", ".push-type.widgets"),
    ("controls", ".push-type.controls"),
];

/// What a connection's first push has fixed.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    sender: Option<Claims>,
    topic: Option<String>,
    /// It has answered ExpiredProviderToken and goes on doing so.
    pub(crate) is_wedged: bool,
}

impl Bound {
    pub(super) fn learn(&mut self, lesson: &Lesson) {
        self.sender.get_or_insert_with(|| lesson.sender.clone());
        if self.topic.is_none() {
            self.topic.clone_from(&lesson.topic);
        }
    }
}

/// What a push fixes for its connection.
#[derive(Clone, Debug)]
pub(crate) struct Lesson {
    sender: Claims,
    /// `None` when it is none that may be pushed to.
    topic: Option<String>,
}

/// What is wrong with `request`.
pub(crate) fn judge(request: &Arrived, bound: &Bound, checker: &Checker, now: super::Now) -> Judged {
    let mut judged = Judged::default();
    if request.method != Method::POST {
        judged.findings.push(Finding::refused(Reason::MethodNotAllowed, "the method is not POST"));
    }
    let device = device(&request.path);
    judged.device = device.as_ref().ok().copied();
    // A device token that is none is found when everything else is right.
    let (path, token) = match device {
        Err(fault) if fault.reason == Some(Reason::BadPath) => (Some(fault), None),
        Err(fault) => (None, Some(fault)),
        Ok(_) => (None, None),
    };
    let findings = &mut judged.findings;
    findings.extend(path);
    request.check(Some(Reason::DuplicateHeaders), findings);
    let sender = sender(request, bound, checker, now).map_err(|finding| findings.push(finding)).ok();
    findings.extend(sender.iter().flat_map(Claims::odd));
    let push_type = push_type(request, findings);
    let topic =
        topic(request, bound, &checker.checks, push_type).map_err(|finding| findings.push(finding)).ok();
    judged.lesson = sender.map(|sender| Lesson { sender, topic: topic.map(str::to_owned) });
    findings.extend(priority(request, push_type).err());
    expiration(request, now.unix_s, findings);
    findings.extend(ids(request));
    let is_unknown =
        |name: &&http::HeaderName| name.as_str().starts_with("apns-") && !KNOWN.contains(&name.as_str());
    for name in request.headers.keys().filter(is_unknown) {
        findings
            .push(Finding::passed("an apns- header field that APNs does not know").at(short(name.as_str())));
    }
    findings.extend(token);
    body(request, push_type, findings);
    judged
}

/// The device of a path, in lower-case hex of any even length.
fn device(path: &str) -> Result<Fingerprint, Finding> {
    let token = path
        .strip_prefix("/3/device/")
        .filter(|token| !token.contains(['/', '?']))
        .ok_or_else(|| Finding::refused(Reason::BadPath, "the path is not /3/device/ and a token"))?;
    if token.is_empty() {
        return Err(Finding::refused(Reason::MissingDeviceToken, "the path ends without a device token"));
    }
    let bad = |kind| Finding::refused(Reason::BadDeviceToken, kind);
    if token.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return Err(bad("a device token in upper case"));
    }
    Fingerprint::of_hex(token.as_bytes()).ok_or_else(|| bad("a device token that is not hex of even length"))
}

/// Who sends: the same on a connection from its first push on.
fn sender(request: &Arrived, bound: &Bound, checker: &Checker, now: super::Now) -> Result<Claims, Finding> {
    let expired = || {
        Finding::refused(Reason::ExpiredProviderToken, "a request on a connection that had an expired token")
    };
    if bound.is_wedged {
        return Err(expired());
    }
    let token = match request.bearer() {
        None => return Err(Finding::refused(Reason::MissingProviderToken, "no authorization")),
        Some(Err(())) => {
            return Err(Finding::refused(
                Reason::InvalidProviderToken,
                "the authorization is not bearer and a token",
            ));
        }
        Some(Ok(token)) => token,
    };
    let claims = checker.admit(token, now)?;
    if bound.sender.as_ref().is_none_or(|sender| sender.is_same_sender(&claims)) {
        return Ok(claims);
    }
    Err(Finding::refused(Reason::InvalidProviderToken, "a connection for another team or key"))
}

/// The push type, and how its topic ends.
fn push_type(request: &Arrived, findings: &mut Vec<Finding>) -> Option<(&'static str, &'static str)> {
    let Some(text) = request.field("apns-push-type") else {
        findings.push(Finding::passed("no apns-push-type"));
        return None;
    };
    let known = PUSH_TYPES.into_iter().find(|(name, _)| *name == text);
    if known.is_none() {
        findings.push(Finding::refused(Reason::InvalidPushType, "an apns-push-type that APNs does not know"));
    }
    known
}

fn topic<'a>(
    request: &'a Arrived,
    bound: &Bound,
    checks: &Checks,
    push_type: Option<(&str, &str)>,
) -> Result<&'a str, Finding> {
    let Some(topic) = request.field("apns-topic") else {
        return Err(Finding::refused(Reason::MissingTopic, "no apns-topic"));
    };
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if topic.is_empty() || topic.len() > TOPIC_BYTES_MAX || !topic.bytes().all(is_fine) {
        return Err(Finding::refused(Reason::BadTopic, "an apns-topic that is no bundle id"));
    }
    if !checks.topics.is_empty() && !checks.topics.iter().any(|known| known == topic) {
        return Err(Finding::refused(Reason::TopicDisallowed, "an apns-topic that is not the team's"));
    }
    if push_type.is_some_and(|(_, ending)| !topic.ends_with(ending)) {
        return Err(Finding::refused(Reason::BadTopic, "an apns-topic without its push type's ending"));
    }
    if bound.topic.as_ref().is_none_or(|first| first == topic) {
        return Ok(topic);
    }
    Err(Finding::refused(Reason::TopicDisallowed, "another apns-topic than the connection's first push had"))
}

fn priority(request: &Arrived, push_type: Option<(&str, &str)>) -> Result<(), Finding> {
    let bad = |kind| Err(Finding::refused(Reason::BadPriority, kind));
    let is_background = push_type.is_some_and(|(name, _)| name == "background");
    match request.field("apns-priority") {
        // Without the field it is 10.
        None | Some("10") if is_background => bad("a background push with priority 10"),
        None | Some("10" | "5" | "1") => Ok(()),
        Some(_) => bad("an apns-priority other than 10, 5 and 1"),
    }
}

fn expiration(request: &Arrived, now_s: u64, findings: &mut Vec<Finding>) {
    /// September 2001: less than this are seconds from now, not seconds since 1970.
    const EARLIEST_S: u64 = 1_000_000_000;
    let Some(text) = request.field("apns-expiration") else { return };
    let seconds =
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse::<u64>().ok() } else { None };
    match seconds {
        None => {
            findings.push(Finding::refused(Reason::BadExpirationDate, "an apns-expiration that is no number"))
        }
        Some(seconds) if seconds > 0 && seconds < EARLIEST_S => {
            findings.push(Finding::passed("an apns-expiration that is a duration, not a time"));
        }
        // 0 is a push that is delivered at once or never.
        Some(seconds) if seconds > 0 && seconds < now_s => {
            findings.push(Finding::passed("an apns-expiration in the past"));
        }
        Some(_) => {}
    }
}

fn ids(request: &Arrived) -> impl Iterator<Item = Finding> {
    let collapse_id = request.field("apns-collapse-id");
    let is_bad = collapse_id.is_some_and(|id| id.is_empty() || id.len() > COLLAPSE_ID_BYTES_MAX);
    let collapse_id = is_bad
        .then(|| Finding::refused(Reason::BadCollapseId, "an apns-collapse-id that is not 1 to 64 bytes"));
    let is_bad = request.field("apns-id").is_some_and(|id| !is_uuid(id));
    let id =
        is_bad.then(|| Finding::refused(Reason::BadMessageId, "an apns-id that is no UUID in lower case"));
    collapse_id.into_iter().chain(id)
}

fn is_uuid(text: &str) -> bool {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let fits = |(place, byte)| if matches!(place, 8 | 13 | 18 | 23) { byte == b'-' } else { is_hex(byte) };
    text.len() == UUID_BYTES && text.bytes().enumerate().all(fits)
}

fn body(request: &Arrived, push_type: Option<(&str, &str)>, findings: &mut Vec<Finding>) {
    let name = push_type.map_or("", |(name, _)| name);
    let most = if name == "voip" { VOIP_BODY_BYTES_MAX } else { BODY_BYTES_MAX };
    if request.body_bytes == 0 {
        findings.push(Finding::refused(Reason::PayloadEmpty, "no payload"));
    } else if request.body_bytes > most {
        let sizes = format!("{} bytes of {most}", request.body_bytes);
        findings.push(Finding::refused(Reason::PayloadTooLarge, "the payload is too large").at(sizes));
    } else {
        aps::check(&request.body, name, findings);
    }
}

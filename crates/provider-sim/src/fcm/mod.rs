//! FCM HTTP v1: which device a request is for, and what each answer looks like.
//! Source: Google, "projects.messages.send", "FcmError" and "ErrorCode", 2026.

pub(crate) mod body;

use model::Reason;

/// The project of a `:path`, or what is wrong with it.
#[inline]
pub(crate) fn project(path: &[u8]) -> Result<&[u8], Reason> {
    let project = path.strip_prefix(b"/v1/projects/").and_then(|rest| rest.strip_suffix(b"/messages:send"));
    let is_project = |project: &&[u8]| !project.is_empty() && !project.contains(&b'/');
    project.filter(is_project).ok_or(Reason::InvalidArgument)
}

/// The HTTP status of a reason of FCM.
pub(crate) fn status(reason: Reason) -> Option<&'static str> {
    Some(match reason {
        Reason::InvalidArgument => "400",
        Reason::Unauthenticated | Reason::ThirdPartyAuthError => "401",
        Reason::SenderIdMismatch | Reason::PermissionDenied => "403",
        Reason::FcmUnregistered => "404",
        Reason::QuotaExceeded => "429",
        Reason::Internal => "500",
        Reason::Unavailable => "503",
        _ => return None,
    })
}

/// The body of an answer other than 200.
pub(crate) fn error_body(reason: Reason, is_project_quota: bool) -> String {
    let code = status(reason).unwrap_or("500");
    let (grpc, message) = match reason {
        Reason::InvalidArgument => {
            ("INVALID_ARGUMENT", "The registration token is not a valid FCM registration token")
        }
        Reason::Unauthenticated => ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
        Reason::ThirdPartyAuthError => ("UNAUTHENTICATED", "Auth error from APNS or Web Push Service"),
        Reason::SenderIdMismatch => ("PERMISSION_DENIED", "SenderId mismatch"),
        Reason::PermissionDenied => ("PERMISSION_DENIED", "The caller does not have permission"),
        Reason::FcmUnregistered => ("NOT_FOUND", "Requested entity was not found."),
        Reason::QuotaExceeded if is_project_quota => {
            ("RESOURCE_EXHAUSTED", "Quota exceeded for quota metric 'Messages'.")
        }
        Reason::QuotaExceeded => ("RESOURCE_EXHAUSTED", "Message rate to the device was exceeded."),
        Reason::Unavailable => ("UNAVAILABLE", "The service is currently unavailable."),
        _ => ("INTERNAL", "Internal error encountered."),
    };
    let quota_subject = if is_project_quota { "project" } else { "device" };
    let details = match reason {
        Reason::Unauthenticated | Reason::PermissionDenied => String::new(),
        Reason::QuotaExceeded => format!("\n{},\n{}\n    ", fcm_error(reason), quota_failure(quota_subject)),
        _ => format!("\n{}\n    ", fcm_error(reason)),
    };
    format!(
        "{{\n  \"error\": {{\n    \"code\": {code},\n    \"message\": \"{message}\",\n    \"status\": \"{grpc}\",\n    \
         \"details\": [{details}]\n  }}\n}}\n"
    )
}

fn fcm_error(reason: Reason) -> String {
    format!(
        "      {{\n        \"@type\": \"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\n        \
         \"errorCode\": \"{reason}\"\n      }}"
    )
}

fn quota_failure(subject: &str) -> String {
    format!(
        "      {{\n        \"@type\": \"type.googleapis.com/google.rpc.QuotaFailure\",\n        \
         \"violations\": [{{ \"subject\": \"{subject}\" }}]\n      }}"
    )
}

/// The text of a time in microseconds since the epoch, as message names begin with it.
pub(crate) type Stamp = [u8; 16];

/// Writes a time as a [`Stamp`].
pub(crate) fn stamp(unix_us: u64) -> Stamp {
    let (mut text, mut rest) = ([b'0'; 16], unix_us);
    for digit in text.iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    text
}

/// Appends the body of a 200: the name of the message, as Google forms it.
#[inline]
pub(crate) fn append_accepted_body(project: &[u8], stamp: &Stamp, id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\n  \"name\": \"projects/");
    out.extend_from_slice(project);
    out.extend_from_slice(b"/messages/0:");
    out.extend_from_slice(stamp);
    let mut end = *b"%0000000000000000\"\n}\n";
    let (high, low) = (hex_of((id >> 32) as u32), hex_of(id as u32));
    end[1..9].copy_from_slice(&high);
    end[9..17].copy_from_slice(&low);
    out.extend_from_slice(&end);
}

/// Eight hex digits, all at once: each nibble in a byte of its own, letters moved up from behind the digits.
fn hex_of(number: u32) -> [u8; 8] {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut spread = u64::from(number);
    spread = ((spread << 16) | spread) & 0x0000_ffff_0000_ffff;
    spread = ((spread << 8) | spread) & 0x00ff_00ff_00ff_00ff;
    spread = ((spread << 4) | spread) & 0x0f0f_0f0f_0f0f_0f0f;
    let is_letter = ((spread + 6 * ONES) >> 4) & ONES;
    (spread + 0x30 * ONES + is_letter * 39).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_project_or_is_wrong() {
        assert_eq!(project(b"/v1/projects/demo-1/messages:send"), Ok(&b"demo-1"[..]));
        for bad in
            ["/v1/projects//messages:send", "/v1/projects/a/b/messages:send", "/batch", "/v1/projects/a"]
        {
            assert_eq!(project(bad.as_bytes()), Err(Reason::InvalidArgument), "{bad}");
        }
    }

    #[test]
    fn the_bodies_are_json_with_what_a_sender_reads() {
        for reason in Reason::ALL.iter().filter(|reason| status(**reason).is_some()) {
            let body: serde_json::Value = serde_json::from_str(&error_body(*reason, true)).unwrap();
            assert_eq!(body["error"]["code"].to_string(), status(*reason).unwrap());
            let details = body["error"]["details"].as_array().unwrap();
            let has_code = !matches!(reason, Reason::Unauthenticated | Reason::PermissionDenied);
            assert_eq!(details.first().map(|d| d["errorCode"] == reason.text()), has_code.then_some(true));
        }
        let mut body = Vec::new();
        append_accepted_body(b"p", &stamp(1_770_000_000_123_456), 0x0123_4567_89ab_cdef, &mut body);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["name"], "projects/p/messages/0:1770000000123456%0123456789abcdef");
    }
}

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
    let detail = match reason {
        Reason::Unauthenticated | Reason::PermissionDenied => String::new(),
        Reason::QuotaExceeded => format!("{},\n{}", fcm_error(reason), quota_failure(quota_subject)),
        _ => fcm_error(reason),
    };
    format!(
        "{{\n  \"error\": {{\n    \"code\": {code},\n    \"message\": \"{message}\",\n    \"status\": \"{grpc}\",\n    \
         \"details\": [{detail}]\n  }}\n}}\n"
    )
}

fn fcm_error(reason: Reason) -> String {
    format!(
        "\n      {{\n        \"@type\": \"type.googleapis.com/google.firebase.fcm.v1.FcmError\",\n        \
         \"errorCode\": \"{reason}\"\n      }}"
    )
}

fn quota_failure(subject: &str) -> String {
    format!(
        "      {{\n        \"@type\": \"type.googleapis.com/google.rpc.QuotaFailure\",\n        \
         \"violations\": [{{ \"subject\": \"{subject}\" }}]\n      }}"
    )
}

/// Appends the body of a 200: the name of the message, as Google forms it.
pub(crate) fn append_accepted_body(project: &[u8], unix_us: u64, id: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\n  \"name\": \"projects/");
    out.extend_from_slice(project);
    out.extend_from_slice(b"/messages/0:");
    let mut digits = *b"0000000000000000%0000000000000000\"\n}\n";
    let mut rest = unix_us;
    for digit in digits[..16].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for (place, digit) in digits[17..33].iter_mut().rev().enumerate() {
        *digit = b"0123456789abcdef"[(id >> (4 * place)) as usize & 15];
    }
    out.extend_from_slice(&digits);
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
        append_accepted_body(b"p", 1_770_000_000_123_456, 0xab, &mut body);
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["name"], "projects/p/messages/0:1770000000123456%00000000000000ab");
    }
}

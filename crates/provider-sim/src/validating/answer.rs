//! Answers, as the providers write them.

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderValue, Response};
use model::{Platform, Reason};

use super::arrived::Arrived;
use super::finding::Judged;
use super::thread::House;
use crate::answers::FCM_CONSTANT;
use crate::apns::{self, ApnsId};
use crate::desk::Desk;
use crate::fcm;
use crate::fingerprint::Fingerprint;
use crate::judge::Verdict;

/// A hash of the authorization, as the judge of credentials knows it.
pub(super) fn credential(request: &Arrived) -> u64 {
    let text = request.headers.get("authorization").map_or(&b""[..], HeaderValue::as_bytes);
    (Fingerprint::of_bytes(text).to_bits() >> 64) as u64
}

/// The answer to a request, head and body.
pub(super) fn compose(
    house: &House,
    verdict: Verdict,
    record: u32,
    request: &Arrived,
    judged: &Judged,
) -> (Response<()>, Bytes) {
    let desk = &mut *house.desk();
    let reason = verdict.reason;
    let status = match house.config.provider {
        Platform::Apns => apns::status(reason),
        Platform::Fcm => fcm::status(reason),
    };
    let status = if reason == Reason::None { "200" } else { status.unwrap_or("500") };
    let mut builder = Response::builder().status(status);
    if let Some(seconds) = desk.retry_after_s(verdict) {
        builder = builder.header("retry-after", seconds);
    }
    let body = match house.config.provider {
        Platform::Apns => {
            builder = builder.header("apns-id", apns_id(request, desk));
            if house.config.answers.sandbox && reason == Reason::None {
                builder = builder.header("apns-unique-id", value(&new_id(desk)));
            }
            apns_body(reason, record, desk)
        }
        Platform::Fcm => {
            let are_realistic = house.config.answers.realistic;
            for (name, value) in &FCM_CONSTANT[..if are_realistic { FCM_CONSTANT.len() } else { 1 }] {
                builder = builder.header(*name, *value);
            }
            if are_realistic {
                builder = builder.header("date", desk.time.date().1);
            }
            fcm_body(verdict, judged, desk)
        }
    };
    let head = builder.body(()).expect("names and values are constants, numbers and UUIDs");
    (head, Bytes::from(body))
}

/// Sends it; false when nobody is left to read it.
pub(super) async fn send(respond: &mut SendResponse<Bytes>, (head, body): (Response<()>, Bytes)) -> bool {
    let is_bare = body.is_empty();
    match respond.send_response(head, is_bare) {
        Ok(_) if is_bare => true,
        // The library holds the body back until the client's windows take it.
        Ok(mut stream) => stream.send_data(body, true).is_ok(),
        Err(_) => false,
    }
}

/// The request's own, if it is one; a new one otherwise.
fn apns_id(request: &Arrived, desk: &mut Desk) -> HeaderValue {
    let own = request.headers.get("apns-id").filter(|id| id.len() == size_of::<ApnsId>());
    own.cloned().unwrap_or_else(|| value(&new_id(desk)))
}

fn new_id(desk: &mut Desk) -> ApnsId {
    apns::uuid(u128::from(desk.next_id()) << 64 | u128::from(desk.next_id()))
}

fn value(id: &ApnsId) -> HeaderValue {
    HeaderValue::from_bytes(id).expect("a UUID is visible ASCII")
}

fn apns_body(reason: Reason, record: u32, desk: &Desk) -> Vec<u8> {
    let is_gone = matches!(reason, Reason::Unregistered | Reason::ExpiredToken);
    match reason {
        Reason::None => Vec::new(),
        _ => apns::body(reason, is_gone.then(|| desk.unregistered_at_ms(record))).into_bytes(),
    }
}

fn fcm_body(verdict: Verdict, judged: &Judged, desk: &mut Desk) -> Vec<u8> {
    match verdict.reason {
        Reason::None => {
            let (mut body, id) = (Vec::new(), desk.next_id());
            fcm::append_accepted_body(judged.project.as_bytes(), desk.time.stamp(), id, &mut body);
            body
        }
        Reason::InvalidArgument if judged.reason() == Some(Reason::InvalidArgument) => {
            super::fcm::bad_request(&judged.findings).into_bytes()
        }
        reason => fcm::error_body(reason, verdict.is_project_quota).into_bytes(),
    }
}

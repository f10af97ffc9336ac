//! Uploads: bodies of any size in constant memory, whole in one request or in parts (draft-ietf-httpbis-resumable-upload), and
//! what is done with them once they are whole.

pub(crate) mod digests;
pub(crate) mod fields;
pub(crate) mod hand_over;
pub(crate) mod hold;
pub(crate) mod parts;
pub(crate) mod receive;
pub(crate) mod sweep;

use axum::response::{IntoResponse as _, Response};
use backend::blobs::Growing;
use backend::rows::upload::{Reading, Target};
use http::{HeaderMap, Method};
use model::audience::Upload;
use model::{Digest, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::Api;
use crate::asked::Asked;
use crate::problem::{Problem, Result};
use digests::Hashes;
use hand_over::Order;
use receive::{Bounds, receive};

/// Takes an upload for `target`: the whole of it, or its first part.
pub(crate) async fn take(
    api: &Api,
    target: Target,
    actor: String,
    asked: Asked,
    request: axum::extract::Request,
) -> Result<Response> {
    debug_assert!(*request.method() != Method::PATCH, "a part goes to its upload");
    let (request, body) = request.into_parts();
    let reading = Reading::from(asked);
    if fields::complete(&request.headers) == Some(false) {
        return parts::begin(api, target, actor, reading, &request.headers, body).await;
    }
    let idempotency_key = idempotency_key(&request.headers)?;
    let (growing, upload) = whole(api, target, reading, &request.headers, body).await?;
    let order = Order { target, actor, upload, idempotency_key, parts: None };
    let outcome = hand_over::carry_out(api, order, Some(growing)).await?;
    let mut response = outcome.into_response();
    if fields::complete(&request.headers).is_some() {
        response.headers_mut().insert(fields::COMPLETE, fields::boolean(true));
    }
    Ok(response)
}

/// The bytes of the whole upload that a request begins, where they are known.
pub(crate) fn bytes_of(request: &axum::extract::Request) -> Option<u64> {
    let is_first = fields::complete(request.headers()) == Some(false);
    let content = fields::content_length(request.body()).filter(|_| !is_first);
    fields::length(request.headers()).or(content)
}

/// Receives a body that is the whole upload; nothing of it stays when it does not come to its end.
async fn whole(
    api: &Api,
    target: Target,
    reading: Reading,
    headers: &HeaderMap,
    body: axum::body::Body,
) -> Result<(Box<dyn Growing>, Upload)> {
    let repr = digests::wanted(headers, &digests::REPR_DIGEST)?;
    let content = digests::wanted(headers, &digests::CONTENT_DIGEST)?;
    let length = fields::length(headers);
    let bounds = Bounds { bytes_max: api.config.upload_bytes_max, length };
    bounds.check(fields::content_length(&body).unwrap_or(0))?;
    let mut growing = once(api).await?;
    let mut hashes = [Hashes::with_blake3(&repr), Hashes::of(&content)];
    let never = CancellationToken::new();
    let received = receive(api, &mut *growing, body, &mut hashes, bounds, &never).await;
    let [whole, part] = hashes;
    let checked = received.and_then(|()| {
        part.check(&content, &digests::CONTENT_DIGEST)?;
        let digest = whole.check(&repr, &digests::REPR_DIGEST)?;
        check_length(growing.bytes(), length)?;
        Ok(digest.expect("the whole is digested by BLAKE3"))
    });
    match checked {
        Ok(digest) => {
            let upload = upload(reading, target.blob(attempt(api)), growing.bytes(), digest);
            Ok((growing, upload))
        }
        Err(problem) => {
            discard(growing).await;
            Err(problem)
        }
    }
}

/// A growing object for one request. Nobody knows its name, so that the sweep removes it if nobody holds it any more.
async fn once(api: &Api) -> Result<Box<dyn Growing>> {
    loop {
        let name = format!("once_{:032x}", api.runtime.randomness.u128());
        if let Some(growing) = api.backend.blobs.grow(&name).await? {
            return Ok(growing);
        }
    }
}

/// Whether the whole can be as long as it is.
pub(crate) fn check_length(bytes: u64, length: Option<u64>) -> Result<()> {
    match length {
        _ if bytes == 0 => Err(Problem::bad_request("the upload is empty")),
        Some(length) if length != bytes => {
            let detail = format!("it was to have {length} bytes, and has {bytes}");
            Err(Problem::inconsistent_length(detail))
        }
        _ => Ok(()),
    }
}

/// Removes what is not wanted any more. What stays is found by the sweep.
pub(crate) async fn discard(growing: Box<dyn Growing>) {
    if let Err(error) = growing.discard().await {
        tracing::warn!(%error, "what is left of an upload is not removed yet");
    }
}

/// What is stored of an upload.
pub(crate) fn upload(reading: Reading, blob: String, bytes: u64, digest: Digest) -> Upload {
    let Reading { format, packing, bad_rows, defaults } = reading;
    Upload { blob, bytes, digest, format, packing, bad_rows, defaults }
}

impl From<Asked> for Reading {
    fn from(asked: Asked) -> Self {
        let Asked { format, packing, bad_rows, defaults } = asked;
        Self { format, packing, bad_rows, defaults }
    }
}

/// The `Idempotency-Key` of a request, if it has one.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>> {
    let Some(key) = headers.get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().ok().filter(|key| (1..=256).contains(&key.len()));
    let wrong = || Problem::bad_request("Idempotency-Key must be 1 to 256 visible ASCII characters");
    key.map(|key| Some(key.to_owned())).ok_or_else(wrong)
}

/// A number that makes the blob of this attempt its own.
pub(crate) fn attempt(api: &Api) -> u64 {
    api.runtime.randomness.u64()
}

/// Now, by the service's clock.
pub(crate) fn now(api: &Api) -> Timestamp {
    api.runtime.clock.now()
}

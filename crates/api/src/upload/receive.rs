//! A body into a growing object, part by part, for as long as it comes, is wanted, and fits.

use axum::body::{Body, BodyDataStream, Bytes};
use backend::blobs::Growing;
use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::digests::Hashes;
use super::fields;
use crate::Api;
use crate::problem::{Problem, Result};

/// Bytes that are written at once.
const WRITE_BYTES: usize = 512 << 10;

/// What an upload may grow to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) bytes_max: u64,
    /// What its sender said.
    pub(crate) length: Option<u64>,
}

impl Bounds {
    /// Whether there may be as many bytes.
    pub(crate) fn check(self, bytes: u64) -> Result<()> {
        if bytes > self.bytes_max {
            let limit = http::HeaderValue::from_str(&format!("max-size={}", self.bytes_max));
            let limit = limit.expect("a number is visible ASCII");
            return Err(Problem::too_large(self.bytes_max).with_header(fields::LIMIT, limit));
        }
        match self.length {
            Some(length) if bytes > length => {
                let detail = format!("it was to have {length} bytes, and more came");
                Err(Problem::inconsistent_length(detail))
            }
            _ => Ok(()),
        }
    }
}

/// Appends `body`, digesting it on the way. Whatever ends it early, what came before that is in `growing`, except what is
/// beyond its bounds.
pub(crate) async fn receive(
    api: &Api,
    growing: &mut dyn Growing,
    body: Body,
    hashes: &mut [Hashes],
    bounds: Bounds,
    taken_over: &CancellationToken,
) -> Result<()> {
    let mut parts = body.into_data_stream();
    let mut buffer = Vec::new();
    let ended = loop {
        match next(api, &mut parts, taken_over).await {
            Ok(None) => break Ok(()),
            Err(problem) => break Err(problem),
            Ok(Some(part)) => {
                if let Err(problem) = bounds.check(growing.bytes() + (buffer.len() + part.len()) as u64) {
                    break Err(problem);
                }
                for hash in hashes.iter_mut() {
                    hash.update(&part);
                }
                buffer.extend_from_slice(&part);
            }
        }
        if buffer.len() >= WRITE_BYTES {
            growing.append(std::mem::replace(&mut buffer, Vec::with_capacity(2 * WRITE_BYTES))).await?;
        }
    };
    growing.append(buffer).await?;
    ended
}

/// The next part of a body, if it comes in time and is still wanted.
async fn next(
    api: &Api,
    parts: &mut BodyDataStream,
    taken_over: &CancellationToken,
) -> Result<Option<Bytes>> {
    tokio::select! {
        biased;
        () = taken_over.cancelled() => Err(Problem::taken_over()),
        () = api.shutdown.cancelled() => Err(Problem::stopping()),
        part = parts.next() => part.transpose().map_err(|error| {
            Problem::bad_request(format!("the upload broke off: {error}"))
        }),
        () = api.runtime.clock.sleep(api.config.idle) => Err(Problem::stood_still(api.config.idle)),
    }
}

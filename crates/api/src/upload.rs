//! A streamed body into a staged file, in constant memory, and from there into the blobs.

use std::path::{Path, PathBuf};

use axum::body::{Body, BodyDataStream, Bytes};
use futures::StreamExt as _;
use model::audience::Upload;
use model::{Digest, Timestamp};
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;

use crate::Api;
use crate::asked::Asked;
use crate::problem::{Problem, Result};

/// Removes a staged file when it is not needed any more, however the request ends.
struct Staged(PathBuf);

impl Drop for Staged {
    fn drop(&mut self) {
        // It is gone already when it was moved into the blobs.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Stores `body` as the blob `name`.
pub(crate) async fn store(api: &Api, name: String, asked: Asked, body: Body) -> Result<Upload> {
    let staged =
        Staged(api.backend.blobs.staging().join(format!("upload-{:032x}", api.runtime.randomness.u128())));
    let (bytes, digest) = receive(api, &staged.0, body).await?;
    if bytes == 0 {
        return Err(Problem::bad_request("the upload is empty"));
    }
    api.backend.blobs.put_file(&name, &staged.0).await?;
    api.metrics.uploaded(bytes);
    let Asked { format, packing, bad_rows, defaults } = asked;
    Ok(Upload { blob: name, bytes, digest, format, packing, bad_rows, defaults })
}

async fn receive(api: &Api, path: &Path, body: Body) -> Result<(u64, Digest)> {
    let bytes_max = api.config.upload_bytes_max;
    let failed = |error: std::io::Error| storage(path, error);
    let mut file = File::create(path).await.map_err(failed)?;
    let mut hasher = blake3::Hasher::new();
    let mut bytes = 0;
    let mut parts = body.into_data_stream();
    while let Some(part) = next_part(api, &mut parts).await? {
        let part = part.map_err(|error| Problem::bad_request(format!("the upload broke off: {error}")))?;
        bytes += part.len() as u64;
        if bytes > bytes_max {
            return Err(Problem::too_large(bytes_max));
        }
        hasher.update(&part);
        file.write_all(&part).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)?;
    Ok((bytes, Digest(*hasher.finalize().as_bytes())))
}

/// The next part of a body, if it comes in time.
async fn next_part(
    api: &Api,
    parts: &mut BodyDataStream,
) -> Result<Option<std::result::Result<Bytes, axum::Error>>> {
    tokio::select! {
        part = parts.next() => Ok(part),
        () = api.runtime.clock.sleep(api.config.idle) => {
            let seconds = api.config.idle.as_secs();
            Err(Problem::bad_request(format!("the upload stood still for {seconds} s; nothing of it was kept")))
        }
    }
}

fn storage(path: &Path, error: std::io::Error) -> Problem {
    let place = format!("{}: {error}", path.display());
    backend::Error::new(backend::ErrorKind::Storage, "upload", place).with_source(error).into()
}

/// A number that makes the blob of this attempt its own.
pub(crate) fn attempt(api: &Api) -> u64 {
    api.runtime.randomness.u64()
}

/// Now, by the service's clock.
pub(crate) fn now(api: &Api) -> Timestamp {
    api.runtime.clock.now()
}

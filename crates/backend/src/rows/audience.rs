//! Audiences, and the names of what is stored for them.

use model::{Audience, AudienceId, Digest, Manifest};

use super::{Versioned, decode, encode, read, versioned};
use crate::blobs::Blobs;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Expect, Key, Store, Write, query_all};

const AUDIENCES: &str = "audiences";

/// The row of an audience.
pub fn key(id: AudienceId) -> Key {
    Key::new(AUDIENCES, id.to_string())
}

/// Puts an audience if `expect` holds.
pub fn put(audience: &Audience, expect: Expect) -> Write {
    Write::put(key(audience.id), expect, encode(audience))
}

/// An audience, if it is there.
pub async fn get(store: &dyn Store, id: AudienceId) -> Result<Option<Versioned<Audience>>> {
    read(store, key(id)).await
}

/// Every audience.
pub async fn all(store: &dyn Store) -> Result<Vec<Audience>> {
    query_all(store, AUDIENCES).await?.iter().map(decode).collect()
}

/// At most `limit` audiences behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Audience>>, bool)> {
    let page = store.query(AUDIENCES, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

/// The blob of an upload; `attempt` is random, so that no upload overwrites another.
pub fn upload_blob(id: AudienceId, attempt: u64) -> String {
    format!("uploads/{id}/{attempt:016x}")
}

/// The blob that lists whom an audience's snapshot does not have; `attempt` is random, for another attempt may find others.
pub fn left_out_blob(id: AudienceId, attempt: u64) -> String {
    format!("uploads/{id}/{attempt:016x}.left-out")
}

/// The blob of a snapshot.
pub fn snapshot_blob(digest: Digest) -> String {
    format!("snapshots/{digest}.map")
}

/// The blob of a snapshot's user ids.
pub fn users_blob(digest: Digest) -> String {
    format!("snapshots/{digest}.users")
}

/// The blob of a snapshot's manifest.
pub fn manifest_blob(digest: Digest) -> String {
    format!("snapshots/{digest}.manifest.json")
}

/// A snapshot's manifest, if it is there.
pub async fn manifest(blobs: &dyn Blobs, digest: Digest) -> Result<Option<Manifest>> {
    let name = manifest_blob(digest);
    let Some(bytes) = blobs.get(&name).await? else { return Ok(None) };
    let damaged = |error| {
        let place = format!("{name} cannot be read: {error}");
        Error::new(ErrorKind::Storage, "blobs.get", place).with_source(error)
    };
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

/// The stored form of a manifest.
pub fn manifest_bytes(manifest: &Manifest) -> Vec<u8> {
    encode(manifest)
}

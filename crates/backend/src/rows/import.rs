//! Imports, of devices and of people for the late list, and the names of what is stored for them.

use model::ImportId;
use model::import::Import;

use super::{Versioned, decode, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const IMPORTS: &str = "imports";

/// The row of an import.
pub fn key(id: ImportId) -> Key {
    Key::new(IMPORTS, id.to_string())
}

/// Puts an import if `expect` holds.
pub fn put(import: &Import, expect: Expect) -> Write {
    Write::put(key(import.id), expect, encode(import))
}

/// An import, if it is there.
pub async fn get(store: &dyn Store, id: ImportId) -> Result<Option<Versioned<Import>>> {
    read(store, key(id)).await
}

/// Every import.
pub async fn all(store: &dyn Store) -> Result<Vec<Import>> {
    query_all(store, IMPORTS).await?.iter().map(decode).collect()
}

/// At most `limit` imports behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Import>>, bool)> {
    let page = store.query(IMPORTS, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

/// The blob of an import's file; `attempt` is random, so that no upload overwrites another.
pub fn upload_blob(id: ImportId, attempt: u64) -> String {
    format!("imports/{id}/{attempt:016x}")
}

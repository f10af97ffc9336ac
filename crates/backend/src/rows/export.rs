//! Exports of outcomes, and the names of what is stored for them.

use model::ExportId;
use model::export::Export;

use super::{Versioned, decode, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const EXPORTS: &str = "exports";

/// The row of an export.
pub fn key(id: ExportId) -> Key {
    Key::new(EXPORTS, id.to_string())
}

/// Puts an export if `expect` holds.
pub fn put(export: &Export, expect: Expect) -> Write {
    Write::put(key(export.id), expect, encode(export))
}

/// An export, if it is there.
pub async fn get(store: &dyn Store, id: ExportId) -> Result<Option<Versioned<Export>>> {
    read(store, key(id)).await
}

/// Every export.
pub async fn all(store: &dyn Store) -> Result<Vec<Export>> {
    query_all(store, EXPORTS).await?.iter().map(decode).collect()
}

/// At most `limit` exports behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Export>>, bool)> {
    let page = store.query(EXPORTS, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

/// The blob of an export; `attempt` is random, so that a second resolver at it writes its own.
pub fn blob(id: ExportId, attempt: u64) -> String {
    format!("exports/{id}/{attempt:016x}")
}

//! Erasures of people, and the name of what is stored for them until they are over.

use model::ErasureId;
use model::erasure::Erasure;

use super::{Versioned, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const ERASURES: &str = "erasures";

/// The row of an erasure.
pub fn key(id: ErasureId) -> Key {
    Key::new(ERASURES, id.to_string())
}

/// Puts an erasure if `expect` holds.
pub fn put(erasure: &Erasure, expect: Expect) -> Write {
    Write::put(key(erasure.id), expect, encode(erasure))
}

/// An erasure, if it is there.
pub async fn get(store: &dyn Store, id: ErasureId) -> Result<Option<Versioned<Erasure>>> {
    read(store, key(id)).await
}

/// Every erasure.
pub async fn all(store: &dyn Store) -> Result<Vec<Versioned<Erasure>>> {
    query_all(store, ERASURES).await?.iter().map(versioned).collect()
}

/// At most `limit` erasures behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Erasure>>, bool)> {
    let page = store.query(ERASURES, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

/// The blob with the user id: it can be removed without a trace, which a row cannot.
pub fn user_blob(id: ErasureId) -> String {
    format!("erasures/{id}/user")
}

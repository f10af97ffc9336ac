//! Inquiries about people, and the names of what is stored for them.

use model::InquiryId;
use model::inquiry::Inquiry;

use super::{Versioned, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const INQUIRIES: &str = "inquiries";

/// The row of an inquiry.
pub fn key(id: InquiryId) -> Key {
    Key::new(INQUIRIES, id.to_string())
}

/// Puts an inquiry if `expect` holds.
pub fn put(inquiry: &Inquiry, expect: Expect) -> Write {
    Write::put(key(inquiry.id), expect, encode(inquiry))
}

/// Forgets an inquiry.
pub fn delete(id: InquiryId) -> Write {
    Write::delete(key(id), Expect::Anything)
}

/// An inquiry, if it is there.
pub async fn get(store: &dyn Store, id: InquiryId) -> Result<Option<Versioned<Inquiry>>> {
    read(store, key(id)).await
}

/// Every inquiry.
pub async fn all(store: &dyn Store) -> Result<Vec<Versioned<Inquiry>>> {
    query_all(store, INQUIRIES).await?.iter().map(versioned).collect()
}

/// At most `limit` inquiries behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Inquiry>>, bool)> {
    let page = store.query(INQUIRIES, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

/// How all blobs of an inquiry begin.
pub fn blobs(id: InquiryId) -> String {
    format!("inquiries/{id}/")
}

/// The blob with the user id.
pub fn user_blob(id: InquiryId) -> String {
    format!("inquiries/{id}/user")
}

/// The blob of the answer; `attempt` is random, so that a second resolver at it writes its own.
pub fn answer_blob(id: InquiryId, attempt: u64) -> String {
    format!("inquiries/{id}/{attempt:016x}")
}

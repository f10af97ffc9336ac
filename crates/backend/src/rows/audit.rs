//! The audit: every change of state and every refused press, each entry with the hash of the one before.

use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Versioned, decode, encode, read};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Transacted, Write};

/// What happened, who did it, to what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// A person, or the part of the service that had to.
    pub actor: String,
    /// For example `launch.pressed`, `launch.refused`, `launch.aborted`.
    pub action: String,
    /// What it was done to: an identifier.
    pub subject: String,
    /// What else is worth knowing; no content of a message, no key.
    pub detail: serde_json::Value,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// 1, 2, 3, ...
    pub number: u64,
    /// Hash of the entry before; zeros for the first.
    pub before: Digest,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

impl Entry {
    /// BLAKE3 of the stored JSON.
    pub fn hash(&self) -> Digest {
        Digest::of(&encode(self))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    number: u64,
    hash: Digest,
}

const AUDIT: &str = "audit";

fn head_key() -> Key {
    Key::new("audit-head", "head")
}

/// The two writes that append `event`, to go into the transaction of the change itself. They fail when another event came first:
/// read again and try again.
pub async fn append(store: &dyn Store, event: Event) -> Result<[Write; 2]> {
    let head: Option<Versioned<Head>> = read(store, head_key()).await?;
    let (number, before, expect) = match head {
        Some(head) => (head.body.number + 1, head.body.hash, Expect::Version(head.version)),
        None => (1, Digest([0; 32]), Expect::Absent),
    };
    let entry = Entry { number, before, event };
    let key = Key::new(AUDIT, format!("{number:020}"));
    let head = Head { number, hash: entry.hash() };
    Ok([Write::put(key, Expect::Absent, encode(&entry)), Write::put(head_key(), expect, encode(&head))])
}

/// Appends an event that changes nothing else, for example a refused press.
pub async fn record(store: &dyn Store, event: Event) -> Result<()> {
    while store.transact(append(store, event.clone()).await?.into()).await? != Transacted::Done {}
    Ok(())
}

/// How many entries there are: they are numbered, and none is ever deleted.
pub async fn count(store: &dyn Store) -> Result<u64> {
    let head: Option<Versioned<Head>> = read(store, head_key()).await?;
    Ok(head.map_or(0, |head| head.body.number))
}

/// At most `limit` entries behind number `after`, oldest first, and whether there are more.
pub async fn list(store: &dyn Store, after: u64, limit: u32) -> Result<(Vec<Entry>, bool)> {
    let page = store.query(AUDIT, &format!("{after:020}"), limit, false).await?;
    Ok((page.rows.iter().map(decode).collect::<Result<_>>()?, page.has_more))
}

/// A chain that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the audit is broken at entry {number}: {what}")]
pub struct Broken {
    /// The first entry that does not fit.
    pub number: u64,
    /// In which way.
    pub what: &'static str,
}

/// Checks that `entries` (all of them, in order) follow one another.
pub fn verify(entries: &[Entry]) -> std::result::Result<(), Broken> {
    let mut before = Digest([0; 32]);
    for (index, entry) in entries.iter().enumerate() {
        let number = index as u64 + 1;
        if entry.number != number {
            return Err(Broken { number, what: "an entry is missing" });
        }
        if entry.before != before {
            return Err(Broken { number, what: "it does not carry the hash of the entry before" });
        }
        before = entry.hash();
    }
    Ok(())
}

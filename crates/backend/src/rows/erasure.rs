//! Erasures of people, and the name of what is stored for them until they are over. Receipts are kept for ever: two lists say which
//! erasures there is something to do about, so that nobody reads the others. And the claim of whoever does it.

use model::erasure::Erasure;
use model::{ErasureId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Versioned, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const ERASURES: &str = "erasures";
/// Those that can go on at any time.
const OPEN: &str = "erasures-open";
/// Those that wait for snapshots to go, as they do for weeks.
const NAMED: &str = "erasures-named";
/// Most rows of one read.
const KEYS_MAX: usize = 100;

/// The row of an erasure.
pub fn key(id: ErasureId) -> Key {
    Key::new(ERASURES, id.to_string())
}

/// The list that an erasure is on.
fn list_of(erasure: &Erasure) -> Option<Key> {
    let list = match erasure.cleared_at {
        _ if erasure.is_over() => return None,
        Some(_) if erasure.is_named() => NAMED,
        _ => OPEN,
    };
    Some(Key::new(list, erasure.id.to_string()))
}

/// The writes that make an erasure, to go into one transaction.
pub fn create(erasure: &Erasure) -> Vec<Write> {
    let listed = list_of(erasure).map(|list| Write::put(list, Expect::Anything, b"{}".to_vec()));
    let row = Write::put(key(erasure.id), Expect::Absent, encode(erasure));
    [row].into_iter().chain(listed).collect()
}

/// The writes that change an erasure from what was read: its row first, and when it comes onto another list that too, all in one
/// transaction.
pub fn change(old: &Versioned<Erasure>, new: &Erasure) -> Vec<Write> {
    let mut writes = vec![Write::put(key(new.id), Expect::Version(old.version), encode(new))];
    let (before, after) = (list_of(&old.body), list_of(new));
    if before != after {
        writes.extend(before.map(|list| Write::delete(list, Expect::Anything)));
        writes.extend(after.map(|list| Write::put(list, Expect::Anything, b"{}".to_vec())));
    }
    writes
}

/// An erasure, if it is there.
pub async fn get(store: &dyn Store, id: ErasureId) -> Result<Option<Versioned<Erasure>>> {
    read(store, key(id)).await
}

/// Erasures that can go on.
pub async fn open(store: &dyn Store) -> Result<Vec<Versioned<Erasure>>> {
    listed(store, OPEN).await
}

/// Erasures that only wait for snapshots to go.
pub async fn named(store: &dyn Store) -> Result<Vec<Versioned<Erasure>>> {
    listed(store, NAMED).await
}

async fn listed(store: &dyn Store, list: &str) -> Result<Vec<Versioned<Erasure>>> {
    let ids: Vec<Key> =
        query_all(store, list).await?.into_iter().map(|row| Key::new(ERASURES, row.key.sort)).collect();
    let mut erasures = Vec::with_capacity(ids.len());
    for part in ids.chunks(KEYS_MAX) {
        for row in store.get(part).await?.into_iter().flatten() {
            erasures.push(versioned(&row)?);
        }
    }
    Ok(erasures)
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

/// Who forgets people at this time: one of all resolvers. Whoever has it puts it again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Of whoever has it: a number of its own for each time.
    pub owner: u64,
    /// When it was put.
    pub at: Timestamp,
    /// Whether it was given back.
    pub is_over: bool,
}

/// The row of the claim.
pub fn claim_key() -> Key {
    Key::new("claims", "erasures")
}

/// The claim, if anybody ever had it.
pub async fn claim(store: &dyn Store) -> Result<Option<Versioned<Claim>>> {
    read(store, claim_key()).await
}

/// Puts the claim if `expect` holds.
pub fn put_claim(claim: &Claim, expect: Expect) -> Write {
    Write::put(claim_key(), expect, encode(claim))
}

#[cfg(test)]
mod tests {
    use model::Digest;
    use model::erasure::{ErasureState, NamingSnapshot};
    use model::suppression::UserHash;

    use super::*;
    use crate::store::Change;

    fn moves(old: &Erasure, new: &Erasure) -> Vec<(String, bool)> {
        let old = Versioned { version: 1, body: old.clone() };
        let lists = change(&old, new).into_iter().skip(1);
        lists.map(|write| (write.key.partition, matches!(write.change, Change::Put(_)))).collect()
    }

    #[test]
    fn an_erasure_is_on_the_list_of_what_it_waits_for() {
        let asked = Erasure::asked(ErasureId(1), UserHash([1; 16]), "ann".into(), Timestamp(1));
        assert_eq!(create(&asked)[1].key, Key::new(OPEN, asked.id.to_string()));
        let looked = Erasure { waits_for: Some(Vec::new()), ..asked.clone() };
        assert_eq!(moves(&asked, &looked), []);
        let naming = |gone_at| NamingSnapshot {
            snapshot: Digest([1; 32]),
            released_at: Timestamp(2),
            goes_by: Timestamp(3),
            gone_at,
        };
        let named =
            Erasure { cleared_at: Some(Timestamp(2)), snapshots: vec![naming(None)], ..asked.clone() };
        assert_eq!(moves(&asked, &named), [(OPEN.into(), false), (NAMED.into(), true)]);
        let unnamed = Erasure { snapshots: vec![naming(Some(Timestamp(3)))], ..named.clone() };
        assert_eq!(moves(&named, &unnamed), [(NAMED.into(), false), (OPEN.into(), true)]);
        let over = Erasure { state: ErasureState::Erased { at: Timestamp(4) }, ..unnamed.clone() };
        assert_eq!(moves(&named, &over), [(NAMED.into(), false)]);
        let failed = ErasureState::Failed { at: Timestamp(4), why: "lost".into() };
        assert_eq!(moves(&asked, &Erasure { state: failed, ..asked.clone() }), [(OPEN.into(), false)]);
    }
}

//! The late list as it is stored, and what of it each snapshot has taken in. Most people of the list are in a blob, the last ones in
//! the row: one more costs a small write.

use model::runtime::Randomness;
use model::suppression::{Entry, HashKey, Suppressed, UserBits, UserHash, Versions};
use model::{Digest, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Versioned, encode, read};
use crate::blobs::Blobs;
use crate::error::{Error, ErrorKind, Result};
use crate::store::{Expect, Key, Store, Write, Written};

/// People in the row before they go to the blob: some 60 KB.
const TAIL_MAX: usize = 1_000;

/// The list's row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct List {
    /// Its last versions.
    pub versions: Versions,
    /// People by cause, in the order of `Cause::ALL`.
    pub by_cause: [u64; 3],
    /// Since when whoever is on it longest is.
    #[serde(default)]
    pub oldest: Option<Timestamp>,
    /// Where most of them are.
    base: Option<Base>,
    /// Those that came since.
    tail: Vec<Entry>,
}

/// A blob with people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Base {
    blob: String,
    digest: Digest,
}

fn key() -> Key {
    Key::new("suppression", "list")
}

/// The list's row; an empty one of version 0 when nobody was ever added.
pub async fn list(store: &dyn Store) -> Result<Versioned<List>> {
    let row = read(store, key()).await?;
    Ok(row.unwrap_or_else(|| Versioned { version: 0, body: List::default() }))
}

/// The list's row unless it still has this version, which is then not taken apart: it may be long.
pub async fn newer_list(store: &dyn Store, version: u64) -> Result<Option<Versioned<List>>> {
    let row = store.get(&[key()]).await?.into_iter().next().flatten();
    row.filter(|row| row.version != version).map(|row| super::versioned(&row)).transpose()
}

impl List {
    /// The blob that the row names; others are left behind by changes that were overtaken.
    pub fn blob(&self) -> Option<&str> {
        self.base.as_ref().map(|base| &*base.blob)
    }

    /// Everybody on it.
    pub async fn read(&self, blobs: &dyn Blobs) -> Result<Suppressed> {
        let mut all = match &self.base {
            None => Suppressed::default(),
            Some(base) => base.read(blobs).await?,
        };
        all.add(self.tail.iter().copied());
        Ok(all)
    }
}

impl Base {
    async fn read(&self, blobs: &dyn Blobs) -> Result<Suppressed> {
        let damaged = || {
            let place = format!("{} is missing or damaged", self.blob);
            Error::new(ErrorKind::Storage, "blobs.get", place)
        };
        let bytes = blobs.get(&self.blob).await?.filter(|bytes| Digest::of(bytes) == self.digest);
        bytes.and_then(|bytes| Suppressed::from_bytes(&bytes)).ok_or_else(damaged)
    }
}

/// The list's row with everybody on it.
#[derive(Clone, Debug)]
pub struct Current {
    /// The row, as it was read.
    pub row: Versioned<List>,
    /// Everybody.
    pub people: Suppressed,
}

/// The list as it stands. A change removes the blob that it replaces: whoever was about to read that reads the row again.
pub async fn current(store: &dyn Store, blobs: &dyn Blobs) -> Result<Current> {
    let mut row = list(store).await?;
    loop {
        let error = match row.body.read(blobs).await {
            Ok(people) => return Ok(Current { row, people }),
            Err(error) => error,
        };
        match newer_list(store, row.version).await? {
            Some(newer) => row = newer,
            None => return Err(error),
        }
    }
}

/// A change of the list as it was read. Its blob is stored first, then its row is written.
pub struct Change {
    /// The list's row, expected as it was read.
    pub write: Write,
    /// The blob that is named no more once the row is written.
    pub replaced: Option<String>,
    /// The blob that nobody names if the row is not written.
    pub new_blob: Option<String>,
    /// What is to be stored there.
    bytes: Vec<u8>,
    /// The version that it makes.
    pub version: u64,
    /// People who come onto the list.
    pub came: u64,
    /// People on it who get a stronger cause.
    pub changed: u64,
    /// People who go off it.
    pub went: u64,
}

/// Adds people to the list, or takes some off; `None` when that changes nothing. A blob is stored here, the row by the caller.
pub async fn change(
    store: &dyn Store,
    blobs: &dyn Blobs,
    randomness: &dyn Randomness,
    now: Timestamp,
    added: &[Entry],
    removed: &[UserHash],
) -> Result<Option<Change>> {
    let current = current(store, blobs).await?;
    let Some(mut change) = current.change(randomness, now, added.iter().copied(), removed) else {
        return Ok(None);
    };
    change.store_blob(blobs).await?;
    Ok(Some(change))
}

impl Current {
    /// Adds people, or takes some off; `None` when that changes nothing. Somebody may be named twice.
    pub fn change(
        self,
        randomness: &dyn Randomness,
        now: Timestamp,
        added: impl IntoIterator<Item = Entry>,
        removed: &[UserHash],
    ) -> Option<Change> {
        let Self { row: old, people: mut all } = self;
        let is_news = |entry: &Entry| all.find(&entry.user).is_none_or(|known| known < entry.cause);
        let mut news = Suppressed::default();
        news.add(added.into_iter().filter(is_news));
        let mut gone: Vec<UserHash> =
            removed.iter().filter(|user| all.find(user).is_some()).copied().collect();
        gone.sort_unstable();
        gone.dedup();
        if news.is_empty() && gone.is_empty() {
            return None;
        }
        let before = all.len();
        all.add(news.iter());
        let came = (all.len() - before) as u64;
        let (changed, went) = (news.len() as u64 - came, gone.len() as u64);
        all.remove(&gone);
        let oldest = all.iter().map(|entry| entry.since).min();
        let mut list = List { by_cause: all.by_cause(), oldest, ..old.body };
        list.versions.advance(now);
        let (mut replaced, mut new_blob, mut bytes) = (None, None, Vec::new());
        if gone.is_empty() && list.tail.len() + news.len() <= TAIL_MAX {
            list.tail.extend(news.iter());
        } else {
            // A long list takes its memory once more as bytes.
            drop(news);
            bytes = all.to_bytes();
            let base =
                Base { digest: Digest::of(&bytes), blob: format!("suppression/{:032x}", randomness.u128()) };
            new_blob = Some(base.blob.clone());
            list.tail.clear();
            replaced = list.base.replace(base).map(|base| base.blob);
        }
        let expect = if old.version == 0 { Expect::Absent } else { Expect::Version(old.version) };
        let (write, version) = (Write::put(key(), expect, encode(&list)), list.versions.last());
        Some(Change { write, replaced, new_blob, bytes, version, came, changed, went })
    }
}

impl Change {
    /// People who come onto the list, go off it, or get a stronger cause.
    pub const fn people(&self) -> u64 {
        self.came + self.changed + self.went
    }

    /// Stores its blob, if it has one.
    pub async fn store_blob(&mut self, blobs: &dyn Blobs) -> Result<()> {
        match &self.new_blob {
            Some(blob) => blobs.put(blob, std::mem::take(&mut self.bytes)).await.map(drop),
            None => Ok(()),
        }
    }
}

/// How far a snapshot has taken the list in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// The snapshot.
    pub snapshot: Digest,
    /// The list's version.
    pub version: u64,
    /// Its users that are on the list.
    pub users: u64,
    /// Which: a bit for each user. `None`: there are none.
    pub bits: Option<Bits>,
}

/// A stored bitmap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bits {
    /// Its blob.
    pub blob: String,
    /// BLAKE3 of the blob.
    pub digest: Digest,
    /// Users of the snapshot.
    pub of: u64,
}

const APPLIED: &str = "suppressed";

fn applied_key(snapshot: Digest) -> Key {
    Key::new(APPLIED, snapshot.to_string())
}

/// How far each of these snapshots has taken the list in, in their order.
pub async fn applied(store: &dyn Store, snapshots: &[Digest]) -> Result<Vec<Option<Versioned<Applied>>>> {
    let keys: Vec<Key> = snapshots.iter().map(|snapshot| applied_key(*snapshot)).collect();
    let rows = store.get(&keys).await?;
    rows.iter().map(|row| row.as_ref().map(super::versioned).transpose()).collect()
}

/// Puts it if `expect` holds.
pub fn put_applied(applied: &Applied, expect: Expect) -> Write {
    Write::put(applied_key(applied.snapshot), expect, encode(applied))
}

/// Forgets it, with the snapshot.
pub fn delete_applied(snapshot: Digest) -> Write {
    Write::delete(applied_key(snapshot), Expect::Anything)
}

impl Bits {
    /// The name of a new bitmap's blob.
    pub fn blob_name(snapshot: Digest, randomness: &dyn Randomness) -> String {
        format!("suppressed/{snapshot}/{:016x}", randomness.u64())
    }

    /// The bitmap.
    pub async fn read(&self, blobs: &dyn Blobs) -> Result<UserBits> {
        let damaged = || {
            let place = format!("{} is missing or damaged", self.blob);
            Error::new(ErrorKind::Storage, "blobs.get", place)
        };
        let bytes = blobs.get(&self.blob).await?.filter(|bytes| Digest::of(bytes) == self.digest);
        bytes.and_then(|bytes| UserBits::from_bytes(&bytes, self.of)).ok_or_else(damaged)
    }
}

/// The installation's key for hashes of people and keys; made when it is first asked for.
pub async fn hash_key(store: &dyn Store, randomness: &dyn Randomness) -> Result<HashKey> {
    let key = Key::new("installation", "hash-key");
    let stored = |body: &[u8]| {
        let bytes = <[u8; 32]>::try_from(body);
        let damaged =
            |_| Error::new(ErrorKind::Storage, "store.read", "row installation/hash-key is damaged");
        bytes.map(HashKey::new).map_err(damaged)
    };
    if let Some(row) = store.get(std::slice::from_ref(&key)).await?.into_iter().flatten().next() {
        return stored(&row.body);
    }
    let new = HashKey::random(randomness);
    let write = Write::put(key, Expect::Absent, new.bytes().to_vec());
    match store.write(vec![write]).await?.into_iter().next() {
        Some(Written::Conflict(Some(row))) => stored(&row.body),
        _ => Ok(new),
    }
}

//! Keeps every snapshot that may be sent up to date with the late list: which of its users are on it, as a bitmap that workers take.

use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::path::Path;
use std::sync::Arc;

use backend::Expect;
use backend::rows::suppression::{self, Applied, Bits, List};
use backend::rows::{Versioned, audience, fleet, launch};
use device_map::{Snapshot, Users};
use model::Digest;
use model::suppression::{HashKey, Suppressed, UserBits};
use tokio_util::sync::CancellationToken;

use crate::desk::Desk;
use crate::error::{Error, Failure, Result};
use crate::upload::step;

/// Looks after it until `shutdown`.
pub(crate) async fn keep(desk: &Desk, shutdown: &CancellationToken) {
    let work = async || catch_up(desk).await.map(drop);
    desk.keep(shutdown, desk.config.suppress_every, "snapshots stay behind the late list", work).await;
}

/// Brings every snapshot that may be sent to the list's version; how many were behind.
pub(crate) async fn catch_up(desk: &Desk) -> Result<usize> {
    let store = &*desk.backend.store;
    let wanted = suppression::list(store).await?.body.versions.last();
    if wanted == 0 {
        return Ok(0);
    }
    let snapshots: Vec<Digest> = in_use(desk).await?.into_iter().collect();
    let mut behind = Vec::new();
    for part in snapshots.chunks(KEYS_MAX) {
        let applied = suppression::applied(store, part).await?;
        let pairs = part.iter().copied().zip(applied);
        behind.extend(
            pairs.filter(|(_, applied)| applied.as_ref().is_none_or(|row| row.body.version < wanted)),
        );
    }
    if behind.is_empty() {
        return Ok(0);
    }
    let suppression::Current { row, people } = suppression::current(store, &*desk.backend.blobs).await?;
    let list = row.body;
    let key = suppression::hash_key(store, &*desk.runtime.randomness).await?;
    let (people, number) = (Arc::new((people, key)), behind.len());
    for (snapshot, applied) in behind {
        // One that cannot be read keeps no other behind; workers are not ready with it.
        if let Err(error) = apply(desk, &list, snapshot, applied, &people).await {
            tracing::warn!(%snapshot, error = &error as &dyn StdError, "a snapshot stays behind the late list");
        }
    }
    Ok(number)
}

/// Rows that are read in one call, at most.
const KEYS_MAX: usize = 100;

/// What workers hold, or have to.
async fn in_use(desk: &Desk) -> Result<BTreeSet<Digest>> {
    let store = &*desk.backend.store;
    let wanted = fleet::wanted(store).await?;
    let mut snapshots: BTreeSet<Digest> = wanted.into_iter().map(|wanted| wanted.snapshot).collect();
    for id in launch::open(store).await? {
        snapshots.extend(launch::get(store, id).await?.map(|launch| launch.snapshot));
    }
    Ok(snapshots)
}

/// Stores which of a snapshot's users are on the list.
async fn apply(
    desk: &Desk,
    list: &List,
    snapshot: Digest,
    old: Option<Versioned<Applied>>,
    people: &Arc<(Suppressed, HashKey)>,
) -> Result<()> {
    let blobs = &*desk.backend.blobs;
    let users = desk.file(&audience::users_blob(snapshot)).await?;
    let map = desk.file(&audience::snapshot_blob(snapshot)).await?;
    let people = Arc::clone(people);
    let found = step(move || find(&map, &users, &people.0, &people.1));
    let mut bits = found.await.map_err(Failure::broken)?;
    // Whoever was left out once stays out: the list only takes away.
    if let Some(before) = old.as_ref().and_then(|row| row.body.bits.as_ref()) {
        bits.add(&before.read(blobs).await?);
    }
    let count = bits.count();
    let stored = if count == 0 {
        None
    } else {
        let (bytes, blob) = (bits.to_bytes(), Bits::blob_name(snapshot, &*desk.runtime.randomness));
        let stored = Bits { digest: Digest::of(&bytes), blob, of: bits.users() };
        blobs.put(&stored.blob, bytes).await?;
        Some(stored)
    };
    let expect = old.as_ref().map_or(Expect::Absent, |row| Expect::Version(row.version));
    let applied = Applied { snapshot, version: list.versions.last(), users: count, bits: stored };
    let put = desk.put(suppression::put_applied(&applied, expect)).await;
    // The blob that is named no more, or the one that never was because another resolver came first.
    let unnamed = match &put {
        Ok(_) => old.and_then(|row| row.body.bits),
        Err(_) => applied.bits,
    };
    if let Some(bits) = unnamed {
        blobs.delete(&bits.blob).await?;
    }
    match put {
        Ok(_) => tracing::info!(%snapshot, version = applied.version, users = count, "late list is taken in"),
        Err(Error::Overtaken) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// The users of a snapshot who are on the list.
fn find(
    map: &Path,
    users: &Path,
    people: &Suppressed,
    key: &HashKey,
) -> std::result::Result<UserBits, Failure> {
    let users = Users::open(users, Snapshot::read_users_digest(map)?)?;
    let mut bits = UserBits::new(u64::from(users.len()));
    for ordinal in 0..users.len() {
        let id = users.id(ordinal).unwrap_or_default();
        if people.find(&key.user(id)).is_some() {
            bits.set(u64::from(ordinal));
        }
    }
    Ok(bits)
}

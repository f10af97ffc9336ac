//! The late list as far as this worker has taken it in: which users of a snapshot that it holds must not be sent to any more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use backend::rows::suppression::{self, Applied};
use device_map::Snapshot;
use model::Digest;
use model::suppression::UserBits;
use push::Side;
use report::Positions;
use tracing::{info, warn};

use crate::Worker;
use crate::launches::lock;

/// What is known of each snapshot.
#[derive(Default)]
pub(crate) struct LateList(Mutex<BTreeMap<Digest, Known>>);

#[derive(Clone)]
struct Known {
    /// The list's version.
    version: u64,
    users: Option<Arc<UserBits>>,
}

impl LateList {
    /// Users of a snapshot who are on the list; none when nobody is.
    pub(crate) fn users(&self, snapshot: Digest) -> Option<Arc<UserBits>> {
        lock(&self.0).get(&snapshot)?.users.clone()
    }

    /// The list's version that each snapshot has taken in; those that have taken in none are missing.
    pub(crate) fn versions(&self) -> Vec<(Digest, u64)> {
        lock(&self.0).iter().map(|(digest, known)| (*digest, known.version)).collect()
    }

    /// The list's version that a snapshot has taken in.
    pub(crate) fn version(&self, snapshot: Digest) -> u64 {
        lock(&self.0).get(&snapshot).map_or(0, |known| known.version)
    }

    fn set(&self, applied: &Applied, users: Option<UserBits>) {
        let known = Known { version: applied.version, users: users.map(Arc::new) };
        lock(&self.0).insert(applied.snapshot, known);
    }

    fn keep_only(&self, wanted: &BTreeSet<Digest>) {
        lock(&self.0).retain(|digest, _| wanted.contains(digest));
    }
}

/// Rows that are read in one call, at most.
const KEYS_MAX: usize = 100;

impl<S: Side> Worker<S> {
    /// Takes in what resolvers have found of the list in these snapshots, and forgets all others. A snapshot for which that
    /// fails stays at its version, and is not ready once a later one is wanted; it keeps no other from being so.
    pub(crate) async fn follow_late_list(&self, snapshots: &BTreeSet<Digest>) {
        self.late_list.keep_only(snapshots);
        let snapshots: Vec<Digest> = snapshots.iter().copied().collect();
        for part in snapshots.chunks(KEYS_MAX) {
            let rows = match suppression::applied(&*self.backend.store, part).await {
                Ok(rows) => rows,
                Err(failure) => {
                    warn!(error = &failure as &dyn std::error::Error, "late list cannot be read");
                    continue;
                }
            };
            let applied = rows.into_iter().flatten().map(|row| row.body);
            for applied in applied.filter(|row| row.version > self.late_list.version(row.snapshot)) {
                let (snapshot, version, users) = (applied.snapshot, applied.version, applied.users);
                match self.take_in(&applied).await {
                    Ok(()) => info!(%snapshot, version, users, "late list is taken in"),
                    Err(failure) => warn!(
                        %snapshot, version, error = &failure as &dyn std::error::Error,
                        "late list cannot be taken in"
                    ),
                }
            }
        }
    }

    async fn take_in(&self, applied: &Applied) -> backend::Result<()> {
        let users = match &applied.bits {
            None => None,
            Some(bits) => Some(bits.read(&*self.backend.blobs).await?),
        };
        self.late_list.set(applied, users);
        Ok(())
    }
}

/// Parts a shard's positions: those to send to, and those of users who are on the list.
pub(crate) fn part(
    positions: Positions,
    users: Option<&UserBits>,
    snapshot: &Snapshot,
    (group, start, count): (u32, u32, u32),
) -> (Positions, Vec<u32>) {
    let Some(users) = users else { return (positions, Vec::new()) };
    let Ok(range) = snapshot.range(group, start, count) else { return (positions, Vec::new()) };
    let ordinals: Vec<u32> = range.map(|device| device.user_ordinal()).collect();
    let is_on_list = |position: &u32| {
        ordinals.get(*position as usize).is_some_and(|ordinal| users.contains(u64::from(*ordinal)))
    };
    let suppressed: Vec<u32> = positions.iter().filter(is_on_list).collect();
    if suppressed.is_empty() {
        return (positions, suppressed);
    }
    (positions.iter().filter(|position| !is_on_list(position)).collect(), suppressed)
}

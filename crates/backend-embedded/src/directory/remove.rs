//! Forgetting users and pruning dead devices: their entries are written anew without them.

use backend::directory::DeadDevice;

use super::batch::{Batch, Before};
use super::entry::{FORGOTTEN, Labels, Stored, USER, pack, write_device};
use super::index::hash;
use super::shared::Shared;
use super::window::Window;
use crate::error::Failure;

/// Forgets users; how many devices that were.
pub(super) fn delete_users(shared: &Shared, users: &[String]) -> Result<u64, Failure> {
    let mut users: Vec<&str> = users.iter().map(String::as_str).collect();
    users.sort_unstable();
    users.dedup();
    remove(shared, FORGOTTEN, users.into_iter().map(|user| (user, |_: &Labels, _: &Stored<'_>| true)))
}

/// Removes dead devices; how many were there and old enough.
pub(super) fn prune(shared: &Shared, mut dead: Vec<DeadDevice>) -> Result<u64, Failure> {
    dead.sort_by(|one, other| one.user.cmp(&other.user));
    let groups = dead.chunk_by(|one, other| one.user == other.user);
    remove(
        shared,
        USER,
        groups.map(|group| {
            let is_dead = move |labels: &Labels, device: &Stored<'_>| {
                group.iter().any(|one| names(one, labels, device))
            };
            (group[0].user.as_str(), is_dead)
        }),
    )
}

fn names(dead: &DeadDevice, labels: &Labels, device: &Stored<'_>) -> bool {
    let mut key = Vec::new();
    let is_packed = pack(dead.platform, &dead.key, &mut key);
    let label = labels.get(device.label);
    device.key == key
        && device.is_packed == is_packed
        && label.is_some_and(|label| label.platform == dead.platform && label.app == dead.app)
        && device.registered_at <= dead.dead_since
}

/// Removes devices of each user, who comes once, for which the function says so, and writes an entry of `kind`.
fn remove<'u, Goes>(
    shared: &Shared,
    kind: u8,
    users: impl Iterator<Item = (&'u str, Goes)>,
) -> Result<u64, Failure>
where
    Goes: Fn(&Labels, &Stored<'_>) -> bool,
{
    let _turn = shared.begin()?;
    remove_each(shared, kind, users).inspect_err(|_| shared.forget())
}

fn remove_each<'u, Goes>(
    shared: &Shared,
    kind: u8,
    users: impl Iterator<Item = (&'u str, Goes)>,
) -> Result<u64, Failure>
where
    Goes: Fn(&Labels, &Stored<'_>) -> bool,
{
    let mut batch = Batch::new(shared);
    let mut users = users.peekable();
    let mut removed = 0;
    while users.peek().is_some() {
        {
            let state = shared.state();
            let mut window = Window::new(&state.log);
            while let Some((user, goes)) = users.next_if(|_| !batch.is_full()) {
                let hash = hash(user.as_bytes());
                let Some(offset) = state.find(hash, user.as_bytes(), &mut window)? else { continue };
                let (entry, bytes) = window.user(offset, 0)?;
                let known: Option<Vec<Stored<'_>>> = entry.devices().collect();
                let mut kept = known.ok_or_else(|| state.log.damaged(offset))?;
                let is_forgotten = entry.is_forgotten;
                let before = Before { offset, bytes, devices: kept.len() as u64, is_forgotten };
                kept.retain(|device| !goes(&state.labels, device));
                let gone = before.devices - kept.len() as u64;
                // Somebody without a device is forgotten, too.
                if gone > 0 || (kind == FORGOTTEN && !is_forgotten) {
                    removed += gone;
                    batch.user(kind, hash, user, Some(before), kept.len() as u64, |bytes| {
                        kept.iter().for_each(|device| write_device(device, bytes));
                    });
                }
            }
        }
        batch.append()?;
    }
    Ok(removed)
}

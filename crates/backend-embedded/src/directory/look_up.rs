//! Looking up many users: in the order in which they lie in the log, so that neighbours share a read.

use model::Device;

use super::entry::User;
use super::index::hash;
use super::shared::Shared;
use super::state::State;
use super::window::Window;
use crate::error::Failure;

/// Bytes between two entries that are rather read than skipped.
const GAP_BYTES: u64 = 4_096;
/// The most that is read at once.
const READ_BYTES_MAX: u64 = 256 << 10;

/// The devices of each user.
pub(super) fn devices(shared: &Shared, users: &[String]) -> Result<Vec<Vec<Device>>, Failure> {
    let state = shared.current()?;
    let first = |user: &String| state.index.candidates(hash(user.as_bytes())).next();
    let mut places: Vec<(u64, usize)> =
        users.iter().enumerate().filter_map(|(position, user)| Some((first(user)?, position))).collect();
    places.sort_unstable();
    let mut window = Window::new(&state.log);
    let mut found = vec![Vec::new(); users.len()];
    for (at, &(offset, position)) in places.iter().enumerate() {
        let ahead = if window.covers(offset) { 0 } else { ahead(&places[at..]) };
        let user = &users[position];
        let (entry, _) = window.user(offset, ahead)?;
        found[position] = if entry.user == user.as_bytes() {
            read(&state, user, &entry, offset)?
        } else {
            search(&state, user, &mut window)?
        };
    }
    Ok(found)
}

/// Whether each user is known.
pub(super) fn knows(shared: &Shared, users: &[String]) -> Result<Vec<bool>, Failure> {
    let state = shared.current()?;
    let mut window = Window::new(&state.log);
    let mut is_known = |user: &String| {
        let Some(offset) = state.find(hash(user.as_bytes()), user.as_bytes(), &mut window)? else {
            return Ok(false);
        };
        Ok(!window.user(offset, 0)?.0.is_forgotten)
    };
    users.iter().map(&mut is_known).collect()
}

/// How far to read from the first of `places` on.
fn ahead(places: &[(u64, usize)]) -> usize {
    let start = places[0].0;
    let mut end = start;
    for (offset, _) in places {
        if offset - end > GAP_BYTES || offset - start > READ_BYTES_MAX {
            break;
        }
        end = *offset;
    }
    if end == start { 0 } else { (end - start + GAP_BYTES) as usize }
}

fn read(state: &State, user: &str, entry: &User<'_>, offset: u64) -> Result<Vec<Device>, Failure> {
    let devices = entry.devices().map(|device| device?.device(user, &state.labels));
    devices.collect::<Option<_>>().ok_or_else(|| state.log.damaged(offset))
}

/// A user who shares the hash with another.
fn search(state: &State, user: &str, window: &mut Window<'_>) -> Result<Vec<Device>, Failure> {
    match state.find(hash(user.as_bytes()), user.as_bytes(), window)? {
        Some(offset) => read(state, user, &window.user(offset, 0)?.0, offset),
        None => Ok(Vec::new()),
    }
}

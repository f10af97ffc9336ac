//! Looking up many users: in the order in which they lie in the log, so that neighbours share a read.

use backend::directory::{Holdings, UserIds};

use super::entry::{Stored, User};
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
pub(super) fn holdings(shared: &Shared, users: &UserIds) -> Result<Holdings, Failure> {
    let state = shared.current()?;
    let mut places = first_places(&state, users);
    places.sort_unstable();
    let mut window = Window::new(&state.log);
    let mut taking = Taking { state: &state, holdings: Holdings::of_users(users.len()), labels: Vec::new() };
    for (at, &(offset, position)) in places.iter().enumerate() {
        let ahead = if window.covers(offset) { 0 } else { ahead(&places[at..]) };
        let user = users.get(position).as_bytes();
        let (entry, _) = window.user(offset, ahead)?;
        if entry.user == user {
            taking.take(position, &entry, offset)?;
        } else if let Some(offset) = state.find(hash(user), user, &mut window)? {
            // A user who shares the hash with another.
            taking.take(position, &window.user(offset, 0)?.0, offset)?;
        }
    }
    Ok(taking.holdings)
}

/// Where the first entry that may be each user's lies, and the user's position; nothing of those whom the index does not have.
fn first_places(state: &State, users: &UserIds) -> Vec<(u64, usize)> {
    let hashes: Vec<u64> = users.iter().map(|user| hash(user.as_bytes())).collect();
    // In a loop of its own, so that many of these far reads are under way at once; what it reads is near for the next.
    std::hint::black_box(hashes.iter().fold(0, |all, hash| all ^ state.index.touch(*hash)));
    let first = |(position, hash): (usize, &u64)| Some((state.index.candidates(*hash).next()?, position));
    hashes.iter().enumerate().filter_map(first).collect()
}

/// Devices on their way from the log to whoever asked.
struct Taking<'a> {
    state: &'a State,
    holdings: Holdings,
    /// The number there of each of the log's labels that was met.
    labels: Vec<Option<u32>>,
}

impl Taking<'_> {
    fn take(&mut self, position: usize, entry: &User<'_>, offset: u64) -> Result<(), Failure> {
        let damaged = || self.state.log.damaged(offset);
        for device in entry.devices() {
            let device = device.filter(Stored::is_whole).ok_or_else(damaged)?;
            let known = self.labels.get(device.label as usize).copied().flatten();
            let label = match known {
                Some(label) => label,
                None => self.meet(device.label).ok_or_else(damaged)?,
            };
            self.holdings.add(position, label, device.registered_at, |text| device.write_key(text));
        }
        Ok(())
    }

    fn meet(&mut self, number: u32) -> Option<u32> {
        let label = self.holdings.label(self.state.labels.get(number)?.clone());
        let number = number as usize;
        self.labels.resize(self.labels.len().max(number + 1), None);
        self.labels[number] = Some(label);
        Some(label)
    }
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

//! Writing the log anew without what was replaced: once that is more than half of it, or when somebody must leave no trace.

use std::sync::Arc;

use super::entry::{
    LABEL, Labels, Stored, USER, User, read_label, read_user, user_bytes, write_device, write_label,
    write_user,
};
use super::index::hash;
use super::log::{FRAME_HEAD_BYTES, Frame, HEAD_BYTES, Log, Totals};
use super::shared::{Shared, Turn};
use super::state::State;
use crate::error::Failure;

/// Less waste than this is left alone.
const WASTE_BYTES_MIN: u64 = 32 << 20;

/// Compacts if it is worth it. Nobody else may write meanwhile; look-ups go on. When it fails, the log stays as it is.
pub(super) fn compact(shared: &Shared) {
    if let Err(failure) = compact_from(shared, WASTE_BYTES_MIN) {
        tracing::warn!(?failure, "the directory's log could not be compacted");
    }
}

pub(super) fn compact_from(shared: &Shared, waste_bytes_min: u64) -> Result<(), Failure> {
    let turn = shared.begin()?;
    let Totals { waste, .. } = shared.state().totals;
    let bytes = shared.state().end - HEAD_BYTES;
    if waste < waste_bytes_min || waste * 2 < bytes { Ok(()) } else { rewrite(shared, &turn) }
}

/// Leaves nothing of what was replaced or forgotten, however little that is, nor of a compaction that was cut short.
pub(super) fn erase(shared: &Shared) -> Result<(), Failure> {
    let turn = shared.begin()?;
    remove_unfinished(shared);
    let Totals { waste, .. } = shared.state().totals;
    if waste == 0 { Ok(()) } else { rewrite(shared, &turn) }
}

fn rewrite(shared: &Shared, _turn: &Turn<'_>) -> Result<(), Failure> {
    let before = shared.state();
    let paths = shared.paths();
    let copied = || -> Result<State, Failure> {
        let log = match &paths {
            Some((new, _)) => Log::make(new).map_err(before.log.failed())?,
            None => Log::memory(),
        };
        let mut after = copy(&before, log)?;
        if let Some((_, path)) = &paths {
            let log = Arc::into_inner(after.log).expect("nobody else has the new log yet");
            after.log = Arc::new(log.replace(path, after.end).map_err(before.log.failed())?);
        }
        Ok(after)
    };
    let after = copied().inspect_err(|_| remove_unfinished(shared))?;
    drop(before);
    *shared.state_mut() = after;
    Ok(())
}

/// Removes a log that did not come to take the place of the other.
fn remove_unfinished(shared: &Shared) {
    if let Some((new, _)) = shared.paths() {
        // Most often there is none. One that stays is overwritten by the next compaction.
        let _ = std::fs::remove_file(new);
    }
}

/// Copies every entry that is the last of its user, frame by frame, and the labels that their devices have.
fn copy(before: &State, log: Log) -> Result<State, Failure> {
    let mut after = State::new(Arc::new(log));
    let mut renumbering = Renumbering { labels: &before.labels, numbers: Vec::new() };
    let (mut content, mut frame, mut moves) = (Vec::new(), vec![0; FRAME_HEAD_BYTES], Vec::new());
    let mut at = HEAD_BYTES;
    while at < before.end {
        let Frame::Whole(_) = before.log.frame(at, &mut content).map_err(before.log.failed())? else {
            return Err(before.log.damaged(at));
        };
        let start = at + FRAME_HEAD_BYTES as u64;
        let base = after.end;
        keep(before, start, &content, |hash, entry, user| {
            let is_same = renumbering.meet(user, &mut after.labels, &mut frame)?;
            moves.push((hash, base + frame.len() as u64));
            if is_same {
                frame.extend_from_slice(entry);
                return Some(());
            }
            renumbering.write(user, &mut frame)
        })?;
        at = start + content.len() as u64;
        append(&mut after, before.totals, &mut frame, &mut moves)?;
    }
    Ok(after)
}

/// Labels get new numbers, in the order in which devices with them are met; those that no device has are left behind.
struct Renumbering<'a> {
    labels: &'a Labels,
    /// The new number of each that was met.
    numbers: Vec<Option<u32>>,
}

impl Renumbering<'_> {
    /// Writes the labels of a user's devices that were not met before; whether all of them keep their numbers. `None` when the
    /// entry is damaged.
    fn meet(&mut self, user: &User<'_>, after: &mut Labels, frame: &mut Vec<u8>) -> Option<bool> {
        let mut is_same = true;
        for device in user.devices() {
            let label = device?.label;
            let number = match self.number(label) {
                Some(number) => number,
                None => {
                    let known = self.labels.get(label)?;
                    write_label(known, frame);
                    let number = after.add(known.clone());
                    let place = label as usize;
                    self.numbers.resize(self.numbers.len().max(place + 1), None);
                    self.numbers[place] = Some(number);
                    number
                }
            };
            is_same &= number == label;
        }
        Some(is_same)
    }

    fn number(&self, label: u32) -> Option<u32> {
        self.numbers.get(label as usize).copied().flatten()
    }

    /// Writes a user's entry anew, whose labels were met.
    fn write(&self, user: &User<'_>, frame: &mut Vec<u8>) -> Option<()> {
        let name = std::str::from_utf8(user.user).ok()?;
        write_user(USER, name, frame, |bytes| {
            for device in user.devices().flatten() {
                let label = self.number(device.label).unwrap_or(device.label);
                write_device(&Stored { label, ..device }, bytes);
            }
        });
        Some(())
    }
}

/// Hands over the entries of a frame that are the last of a user who is there. What cannot be taken is damaged.
fn keep(
    before: &State,
    start: u64,
    content: &[u8],
    mut take: impl FnMut(u64, &[u8], &User<'_>) -> Option<()>,
) -> Result<(), Failure> {
    let mut rest = content;
    while let Some(&kind) = rest.first() {
        let offset = start + (content.len() - rest.len()) as u64;
        let damaged = || before.log.damaged(offset);
        if kind == LABEL {
            rest = read_label(rest).ok_or_else(damaged)?.1;
            continue;
        }
        let bytes = user_bytes(rest).ok_or_else(damaged)?;
        let (entry, behind) = rest.split_at_checked(bytes).ok_or_else(damaged)?;
        let user = read_user(entry).ok_or_else(damaged)?;
        let hash = hash(user.user);
        if !user.is_forgotten && before.index.has(hash, offset) {
            take(hash, entry, &user).ok_or_else(damaged)?;
        }
        rest = behind;
    }
    Ok(())
}

fn append(
    after: &mut State,
    totals: Totals,
    frame: &mut Vec<u8>,
    moves: &mut Vec<(u64, u64)>,
) -> Result<(), Failure> {
    if frame.len() == FRAME_HEAD_BYTES {
        return Ok(());
    }
    // Users and devices are those of the end from the first frame on: a copy that is cut short is thrown away.
    after.totals = Totals { waste: 0, ..totals };
    after.end = after.log.append(after.end, after.totals, frame).map_err(after.log.failed())?;
    for (hash, new) in moves.drain(..) {
        after.index.set(hash, None, new);
    }
    frame.truncate(FRAME_HEAD_BYTES);
    Ok(())
}

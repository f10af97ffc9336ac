//! Writing the log anew without what was replaced: once that is more than half of it, or when somebody must leave no trace.

use std::sync::Arc;

use super::entry::{LABEL, read_label, read_user, user_bytes, write_label};
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

/// Copies every entry that is the last of its user, frame by frame.
fn copy(before: &State, log: Log) -> Result<State, Failure> {
    let mut after = State::new(Arc::new(log));
    let (mut content, mut frame, mut moves) = (Vec::new(), vec![0; FRAME_HEAD_BYTES], Vec::new());
    for label in before.labels.iter() {
        write_label(label, &mut frame);
        after.labels.add(label.clone());
    }
    let mut at = HEAD_BYTES;
    while at < before.end {
        let Frame::Whole(_) = before.log.frame(at, &mut content).map_err(before.log.failed())? else {
            return Err(before.log.damaged(at));
        };
        let start = at + FRAME_HEAD_BYTES as u64;
        let base = after.end;
        keep(before, start, &content, |hash, entry| {
            moves.push((hash, base + frame.len() as u64));
            frame.extend_from_slice(entry);
        })?;
        at = start + content.len() as u64;
        append(&mut after, before.totals, &mut frame, &mut moves)?;
    }
    Ok(after)
}

/// Hands over the entries of a frame that are the last of a user who is there.
fn keep(before: &State, start: u64, content: &[u8], mut take: impl FnMut(u64, &[u8])) -> Result<(), Failure> {
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
            take(hash, entry);
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

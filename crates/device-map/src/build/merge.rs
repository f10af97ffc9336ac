//! The source that merges the segments of a spill file.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::groups::Groups;
use super::output::TOO_MANY_USERS;
use super::rows::{ROW_HEAD, Row};
use super::source::{Loser, Lost, Source, Survivor};
use super::spill::{Cursor, Indexed, Spill};
use crate::error::Error;
use crate::hash::hash;
use model::Timestamp;

/// All segments of a build, their users merged into one list.
pub(super) struct Merged<'a> {
    spill: Spill,
    groups: &'a Groups,
    /// Each group's place among the groups in their order.
    group_ranks: Vec<u32>,
    /// The merged list of users.
    users: Indexed,
    /// For each segment the place in the merged list of each of its users.
    places: Vec<Vec<u32>>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(spill: Spill, groups: &'a Groups) -> Result<Self, Error> {
        let (users, places) = merge_users(&spill)?;
        let mut in_order: Vec<u32> = (0..groups.len() as u32).collect();
        in_order.sort_by(|one, other| groups.compare(*one, *other));
        let mut group_ranks = vec![0; in_order.len()];
        for (rank, group) in (0..).zip(in_order) {
            group_ranks[group as usize] = rank;
        }
        Ok(Self { spill, groups, group_ranks, users, places })
    }

    /// The rows of a bucket, from every segment that has it; duplicates within a segment too, if that is asked.
    fn inputs(&self, bucket: u32, with_lost: bool) -> Vec<RowInput<'_>> {
        let row_bytes = ROW_HEAD + self.groups.buckets()[bucket as usize].key_bytes();
        let segments = self.spill.segments.iter().zip(&self.places);
        let inputs = segments.flat_map(|(segment, places)| {
            let stretches = segment.stretches_of(bucket).into_iter();
            let stretches = stretches.flat_map(move |all| all.into_iter().take(1 + usize::from(with_lost)));
            stretches.filter(|stretch| stretch.items > 0).map(move |stretch| {
                let cursor = self.spill.read(stretch, buffer_bytes(&self.spill));
                RowInput { cursor, places, row_bytes, row: Vec::new() }
            })
        });
        inputs.collect()
    }

    /// Of equal keys the one registered last comes first, then by user, market and locale.
    fn compare(&self, one: &OwnedRow, other: &OwnedRow) -> Ordering {
        let rank = |row: &OwnedRow| {
            let group = self.group_ranks[row.row().group() as usize];
            (Reverse(row.row().registered_at()), row.user, group)
        };
        one.row().key().cmp(other.row().key()).then_with(|| rank(one).cmp(&rank(other)))
    }
}

impl Source for Merged<'_> {
    fn users(&self) -> usize {
        self.users.list.items as usize
    }

    fn user(&self, place: u32, id: &mut Vec<u8>) -> Result<(), Error> {
        let is_there = self.spill.read_user(&self.users, place, id)?;
        assert!(is_there, "a row names a user of the list");
        Ok(())
    }

    fn each_user(&self, mut visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut cursor = self.spill.read(self.users.list, BUFFER_BYTES_MAX);
        let mut id = Vec::new();
        while cursor.read_id(&mut id)? {
            visit(&id)?;
        }
        Ok(())
    }

    fn each_device(
        &self,
        bucket: u32,
        mut lose: Option<Loser<'_>>,
        mut visit: impl FnMut(Survivor<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut merge = RowMerge::new(self.inputs(bucket, lose.is_some()))?;
        while let Some(alike) = merge.next_alike()? {
            if alike.len() > 1 {
                alike.sort_by(|one, other| self.compare(one, other));
            }
            for duplicates in alike.chunk_by(|one, other| one.row().key() == other.row().key()) {
                let (kept, lost) = duplicates.split_first().expect("a chunk is never empty");
                visit(kept.device())?;
                let Some(lose) = &mut lose else { continue };
                for row in lost {
                    let registered_at = Timestamp(row.row().registered_at());
                    lose(Lost { device: row.device(), registered_at, kept_by: kept.user })?;
                }
            }
        }
        Ok(())
    }
}

/// A segment's rows of one bucket being read.
struct RowInput<'a> {
    cursor: Cursor<'a>,
    /// The place in the merged list of each of the segment's users.
    places: &'a [u32],
    row_bytes: usize,
    /// The row that comes next.
    row: Vec<u8>,
}

impl RowInput<'_> {
    /// Reads the next row and gives its hash; `None` at the end.
    fn advance(&mut self) -> Result<Option<u64>, Error> {
        let is_row = self.cursor.read_row(self.row_bytes, &mut self.row)?;
        Ok(is_row.then(|| hash(Row(&self.row).key())))
    }
}

#[derive(Default)]
struct OwnedRow {
    bytes: Vec<u8>,
    /// Its owner's place in the merged list.
    user: u32,
}

impl OwnedRow {
    fn row(&self) -> Row<'_> {
        Row(&self.bytes)
    }

    fn device(&self) -> Survivor<'_> {
        Survivor { user: self.user, ..self.row().into() }
    }
}

/// Gives out the rows of all inputs by hash.
struct RowMerge<'a> {
    inputs: Vec<RowInput<'a>>,
    /// The hash of each input's next row, and the input.
    next: BinaryHeap<Reverse<(u64, usize)>>,
    alike: Vec<OwnedRow>,
}

impl<'a> RowMerge<'a> {
    fn new(mut inputs: Vec<RowInput<'a>>) -> Result<Self, Error> {
        let mut next = BinaryHeap::new();
        for (number, input) in inputs.iter_mut().enumerate() {
            next.extend(input.advance()?.map(|hash| Reverse((hash, number))));
        }
        Ok(Self { inputs, next, alike: Vec::new() })
    }

    /// The rows with the next hash, seldom more than one.
    fn next_alike(&mut self) -> Result<Option<&mut [OwnedRow]>, Error> {
        let Some(Reverse((wanted, _))) = self.next.peek().copied() else { return Ok(None) };
        let mut count = 0;
        while let Some(mut least) = self.next.peek_mut() {
            let Reverse((hash, number)) = *least;
            if hash != wanted {
                break;
            }
            if self.alike.len() == count {
                self.alike.push(OwnedRow::default());
            }
            let (taken, input) = (&mut self.alike[count], &mut self.inputs[number]);
            std::mem::swap(&mut taken.bytes, &mut input.row);
            taken.user = input.places[taken.row().user() as usize];
            count += 1;
            match input.advance()? {
                Some(hash) => *least = Reverse((hash, number)),
                None => drop(PeekMut::pop(least)),
            }
        }
        Ok(Some(&mut self.alike[..count]))
    }
}

/// Merges the segments' users into one list at the end of the spill file.
fn merge_users(spill: &Spill) -> Result<(Indexed, Vec<Vec<u32>>), Error> {
    let (mut places, mut cursors, mut next) = (Vec::new(), Vec::new(), BinaryHeap::new());
    for (number, segment) in spill.segments.iter().enumerate() {
        places.push(Vec::with_capacity(segment.users.items as usize));
        let mut cursor = spill.read(segment.users, buffer_bytes(spill));
        let mut id = Vec::new();
        if cursor.read_id(&mut id)? {
            next.push(Reverse((id, number)));
        }
        cursors.push(cursor);
    }
    // No user id is empty, so the first one differs from the last before it.
    let (mut last, mut users) = (Vec::new(), 0_u32);
    let list = spill.append_users(|out| {
        while let Some(mut least) = next.peek_mut() {
            let Reverse((id, number)) = &mut *least;
            if *id != last {
                users = users.checked_add(1).ok_or(TOO_MANY_USERS)?;
                out.write(id)?;
                last.clone_from(id);
            }
            places[*number].push(users - 1);
            if !cursors[*number].read_id(id)? {
                PeekMut::pop(least);
            }
        }
        Ok(())
    })?;
    Ok((list, places))
}

/// Read-ahead of all inputs together, and of one at least and at most.
const BUFFERS_BYTES: usize = 32 << 20;
const BUFFER_BYTES_MIN: usize = 16 << 10;
const BUFFER_BYTES_MAX: usize = 1 << 20;

fn buffer_bytes(spill: &Spill) -> usize {
    (BUFFERS_BYTES / spill.segments.len().max(1)).clamp(BUFFER_BYTES_MIN, BUFFER_BYTES_MAX)
}

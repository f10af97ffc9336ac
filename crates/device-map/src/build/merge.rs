//! The source that merges the segments of a spill file.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;

use super::groups::Groups;
use super::output::TOO_MANY_USERS;
use super::rows::{ROW_HEAD, Row};
use super::source::{Source, Survivor};
use super::spill::{Cursor, Spill, Stretch};
use crate::error::Error;
use crate::hash::hash;

/// All segments of a build, their users merged into one list.
pub(super) struct Merged<'a> {
    spill: Spill,
    groups: &'a Groups,
    /// Each group's place among the groups in their order.
    group_ranks: Vec<u32>,
    /// The merged list of users.
    users: Stretch,
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

    fn row_input(&self, segment: usize, stretch: Stretch, row_bytes: usize) -> Input<'_, RowHead<'_>> {
        let (places, group_ranks) = (&self.places[segment], &self.group_ranks);
        let head = RowHead { row_bytes, places, group_ranks, row: Vec::new(), hash: 0 };
        Input { head, cursor: self.spill.read(stretch, buffer_bytes(&self.spill)) }
    }
}

impl Source for Merged<'_> {
    fn users(&self) -> usize {
        self.users.items as usize
    }

    fn each_user(&self, mut visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut cursor = self.spill.read(self.users, BUFFER_BYTES_MAX);
        let mut id = Vec::new();
        while cursor.read_id(&mut id)? {
            visit(&id)?;
        }
        Ok(())
    }

    fn each_device(
        &self,
        bucket: u32,
        mut visit: impl FnMut(Survivor<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let row_bytes = ROW_HEAD + self.groups.buckets()[bucket as usize].key_bytes();
        let inputs = self.spill.segments.iter().enumerate().filter_map(|(number, segment)| {
            let (_, stretch) = segment.buckets.iter().find(|(number, _)| *number == bucket)?;
            Some(self.row_input(number, *stretch, row_bytes))
        });
        let mut last = Vec::new();
        merge(inputs, |head| {
            let row = Row(&head.row);
            // The heads of one key come in the order of preference.
            if row.key() == last {
                return Ok(());
            }
            last.clear();
            last.extend_from_slice(row.key());
            visit(Survivor { key: row.key(), group: row.group(), user: head.user() })
        })
    }
}

/// Merges the segments' users into one list at the end of the spill file.
fn merge_users(spill: &Spill) -> Result<(Stretch, Vec<Vec<u32>>), Error> {
    let room = |stretch: Stretch| Vec::with_capacity(stretch.items as usize);
    let mut places: Vec<Vec<u32>> = spill.segments.iter().map(|segment| room(segment.users)).collect();
    let inputs = spill.segments.iter().enumerate().map(|(segment, stretches)| {
        let head = IdHead { id: Vec::new(), segment };
        Input { head, cursor: spill.read(stretches.users, buffer_bytes(spill)) }
    });
    // No user id is empty, so the first one differs from the last before it.
    let (mut last, mut users) = (Vec::new(), 0_u32);
    let list = spill.append(|out| {
        merge(inputs, |head| {
            if head.id != last {
                users = users.checked_add(1).ok_or(TOO_MANY_USERS)?;
                out.write_id(&head.id)?;
                last.clone_from(&head.id);
            }
            places[head.segment].push(users - 1);
            Ok(())
        })
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

/// What an input holds ready; ordered as the merge shall give it out.
trait Head: Ord {
    /// Becomes the next item; false at the end.
    fn advance(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Error>;
}

/// A sorted stretch being read.
struct Input<'a, H> {
    head: H,
    cursor: Cursor<'a>,
}

/// Gives out the heads of all inputs in order.
fn merge<'a, H: Head>(
    inputs: impl Iterator<Item = Input<'a, H>>,
    mut visit: impl FnMut(&H) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut heap = BinaryHeap::new();
    for mut input in inputs {
        if input.head.advance(&mut input.cursor)? {
            heap.push(Reverse(input));
        }
    }
    while let Some(mut least) = heap.peek_mut() {
        let Reverse(Input { head, cursor }) = &mut *least;
        visit(head)?;
        if !head.advance(cursor)? {
            PeekMut::pop(least);
        }
    }
    Ok(())
}

impl<H: Ord> Ord for Input<'_, H> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head)
    }
}

impl<H: Ord> PartialOrd for Input<'_, H> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<H: Ord> PartialEq for Input<'_, H> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<H: Ord> Eq for Input<'_, H> {}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct IdHead {
    id: Vec<u8>,
    segment: usize,
}

impl Head for IdHead {
    fn advance(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Error> {
        cursor.read_id(&mut self.id)
    }
}

struct RowHead<'a> {
    row_bytes: usize,
    places: &'a [u32],
    group_ranks: &'a [u32],
    row: Vec<u8>,
    hash: u64,
}

impl RowHead<'_> {
    fn user(&self) -> u32 {
        self.places[Row(&self.row).user() as usize]
    }

    /// Of equal keys the one registered last comes first, then by user, market and locale.
    fn preference(&self) -> (Reverse<u64>, u32, u32) {
        let row = Row(&self.row);
        (Reverse(row.registered_at()), self.user(), self.group_ranks[row.group() as usize])
    }
}

impl Head for RowHead<'_> {
    fn advance(&mut self, cursor: &mut Cursor<'_>) -> Result<bool, Error> {
        let is_row = cursor.read_row(self.row_bytes, &mut self.row)?;
        if is_row {
            self.hash = hash(Row(&self.row).key());
        }
        Ok(is_row)
    }
}

impl Ord for RowHead<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = || Row(&self.row).key().cmp(Row(&other.row).key());
        let by_hash = self.hash.cmp(&other.hash);
        by_hash.then_with(by_key).then_with(|| self.preference().cmp(&other.preference()))
    }
}

impl PartialOrd for RowHead<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for RowHead<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for RowHead<'_> {}

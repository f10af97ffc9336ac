//! Where the output takes users and devices from, in their final order; and the source that is all in memory.

use model::Timestamp;

use super::groups::Groups;
use super::parallel;
use super::rows::{Bucket, ROW_HEAD, Row, row_head};
use super::user_list::{SortedUsers, UserList};
use crate::error::Error;

/// A device as a source gives it.
#[derive(Clone, Copy)]
pub(super) struct Survivor<'a> {
    pub(super) key: &'a [u8],
    pub(super) group: u32,
    /// Its owner's place among the source's users.
    pub(super) user: u32,
}

impl<'a> From<Row<'a>> for Survivor<'a> {
    fn from(row: Row<'a>) -> Self {
        Self { key: row.key(), group: row.group(), user: row.user() }
    }
}

/// A device that is a duplicate of one that stayed.
#[derive(Clone, Copy)]
pub(super) struct Lost<'a> {
    pub(super) device: Survivor<'a>,
    pub(super) registered_at: Timestamp,
    /// The place of the owner of the one that stayed.
    pub(super) kept_by: u32,
}

/// Takes the duplicates of a walk.
pub(super) type Loser<'a> = &'a mut dyn FnMut(Lost<'_>) -> Result<(), Error>;

/// Users and devices in their final order, without duplicates. Whatever is asked may be asked again.
pub(super) trait Source {
    /// Number of users, those included whose devices were all dropped.
    fn users(&self) -> usize;

    /// Puts the id of the user at a place into `id`.
    fn user(&self, place: u32, id: &mut Vec<u8>) -> Result<(), Error>;

    /// Every user's id, sorted.
    fn each_user(&self, visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>;

    /// Every device of a bucket, by hash and key; and, if somebody asks, those of its duplicates that were remembered.
    fn each_device(
        &self,
        bucket: u32,
        lose: Option<Loser<'_>>,
        visit: impl FnMut(Survivor<'_>) -> Result<(), Error>,
    ) -> Result<(), Error>;
}

/// What came and was not spilled yet.
#[derive(Default)]
pub(super) struct Held {
    pub(super) users: UserList,
    /// By number; those that are not held are `None`.
    buckets: Vec<Option<Bucket>>,
    row_bytes: usize,
    rows: u32,
}

impl Held {
    pub(super) fn push(&mut self, bucket: u32, key: &[u8], registered_at: Timestamp, user: u32, group: u32) {
        let index = bucket as usize;
        if index >= self.buckets.len() {
            self.buckets.resize_with(index + 1, || None);
        }
        let bucket = self.buckets[index].get_or_insert_with(|| {
            self.row_bytes += Bucket::EMPTY_BYTES;
            Bucket::new(key.len())
        });
        bucket.push(key, &row_head(registered_at.0, user, group));
        self.row_bytes += ROW_HEAD + key.len();
        self.rows += 1;
    }

    /// Memory in use, and what sorting will add.
    pub(super) fn bytes(&self) -> usize {
        self.row_bytes + self.users.bytes()
    }

    /// Whether a counter of 32 bits is about to overflow.
    pub(super) fn is_full(&self) -> bool {
        self.users.is_full() || self.rows == u32::MAX
    }
}

/// What is held, sorted and without duplicates; rows name users by their place.
pub(super) struct Sorted {
    pub(super) users: SortedUsers,
    buckets: Vec<Option<Bucket>>,
}

impl Sorted {
    /// Remembers `room` of the rows that it drops, and takes them off it.
    pub(super) fn new(held: Held, groups: &Groups, room: &mut u64, threads: usize) -> Self {
        let Held { users, mut buckets, .. } = held;
        let users = users.sort();
        let prefer = |one: Row<'_>, other: Row<'_>| {
            let later_first = other.registered_at().cmp(&one.registered_at());
            later_first
                .then_with(|| users.rank(one.user()).cmp(&users.rank(other.user())))
                .then_with(|| groups.compare(one.group(), other.group()))
        };
        let partitions = buckets.iter_mut().flatten().flat_map(Bucket::partitions);
        parallel::each(threads, partitions, |partition| {
            partition.sort(&prefer, &|entry| users.rank(entry), *room);
        });
        buckets.iter_mut().flatten().for_each(|bucket| bucket.limit_lost(room));
        Self { users, buckets }
    }

    /// The buckets that are held, with their numbers.
    pub(super) fn buckets(&self) -> impl Iterator<Item = (u32, &Bucket)> {
        let buckets = (0..).zip(&self.buckets);
        buckets.filter_map(|(number, bucket)| Some((number, bucket.as_ref()?)))
    }
}

impl Source for Sorted {
    fn users(&self) -> usize {
        self.users.len()
    }

    fn user(&self, place: u32, id: &mut Vec<u8>) -> Result<(), Error> {
        id.clear();
        id.extend_from_slice(self.users.id(place));
        Ok(())
    }

    fn each_user(&self, visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.users.ids().try_for_each(visit)
    }

    fn each_device(
        &self,
        bucket: u32,
        lose: Option<Loser<'_>>,
        mut visit: impl FnMut(Survivor<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(bucket) = self.buckets.get(bucket as usize).and_then(Option::as_ref) else {
            return Ok(());
        };
        bucket.rows().try_for_each(|row| visit(row.into()))?;
        let Some(lose) = lose else { return Ok(()) };
        bucket.lost().try_for_each(|(row, kept_by)| {
            lose(Lost { device: row.into(), registered_at: Timestamp(row.registered_at()), kept_by })
        })
    }
}

//! Where the output takes users and devices from, in their final order; and the source that is all in memory.

use model::Timestamp;

use super::groups::Groups;
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

/// Users and devices in their final order, without duplicates. Whatever is asked may be asked again.
pub(super) trait Source {
    /// Number of users, those included whose devices were all dropped.
    fn users(&self) -> usize;

    /// Every user's id, sorted.
    fn each_user(&self, visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>;

    /// Every device of a bucket, by hash and key.
    fn each_device(
        &self,
        bucket: u32,
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
        // Four more for its place in the order.
        self.row_bytes += ROW_HEAD + key.len() + 4;
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

/// What is held, sorted and without duplicates.
pub(super) struct Sorted {
    pub(super) users: SortedUsers,
    buckets: Vec<Option<SortedBucket>>,
}

struct SortedBucket {
    bucket: Bucket,
    /// Indices of rows, by partition.
    order: Vec<Vec<u32>>,
}

impl Sorted {
    pub(super) fn new(held: Held, groups: &Groups) -> Self {
        let users = held.users.sort();
        let prefer = |one: Row<'_>, other: Row<'_>| {
            let later_first = other.registered_at().cmp(&one.registered_at());
            later_first
                .then_with(|| users.rank(one.user()).cmp(&users.rank(other.user())))
                .then_with(|| groups.compare(one.group(), other.group()))
        };
        let sort = |bucket: Bucket| SortedBucket { order: bucket.sort(&prefer), bucket };
        let buckets = held.buckets.into_iter().map(|bucket| bucket.map(sort)).collect();
        Self { users, buckets }
    }

    /// The numbers of the buckets that are held.
    pub(super) fn buckets(&self) -> impl Iterator<Item = u32> {
        let buckets = (0..).zip(&self.buckets);
        buckets.filter_map(|(number, bucket)| bucket.is_some().then_some(number))
    }

    /// The rows of a bucket; their users are entries, not places.
    pub(super) fn rows(&self, bucket: u32) -> impl Iterator<Item = Row<'_>> {
        let bucket = self.buckets.get(bucket as usize).and_then(Option::as_ref);
        bucket.into_iter().flat_map(|sorted| sorted.bucket.in_order(&sorted.order))
    }
}

impl Source for Sorted {
    fn users(&self) -> usize {
        self.users.len()
    }

    fn each_user(&self, visit: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.users.ids().try_for_each(visit)
    }

    fn each_device(
        &self,
        bucket: u32,
        mut visit: impl FnMut(Survivor<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.rows(bucket).try_for_each(|row| {
            let user = self.users.rank(row.user());
            visit(Survivor { key: row.key(), group: row.group(), user })
        })
    }
}

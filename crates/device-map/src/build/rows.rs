//! Packed devices in memory, gathered so that sorting touches little memory at a time.

use std::cmp::Ordering;

use crate::hash::hash;

/// Bytes of a row before its key: time of registration (u64), user (u32), group (u32).
pub(super) const ROW_HEAD: usize = 16;

/// A device as the build keeps it, in memory and in the spill file.
#[derive(Clone, Copy)]
pub(super) struct Row<'a>(pub(super) &'a [u8]);

impl<'a> Row<'a> {
    pub(super) fn registered_at(self) -> u64 {
        u64::from_le_bytes(*self.0.first_chunk().expect("a row has its head"))
    }

    pub(super) fn user(self) -> u32 {
        u32::from_le_bytes(*self.0[8..].first_chunk().expect("a row has its head"))
    }

    pub(super) fn group(self) -> u32 {
        u32::from_le_bytes(*self.0[12..].first_chunk().expect("a row has its head"))
    }

    pub(super) fn key(self) -> &'a [u8] {
        &self.0[ROW_HEAD..]
    }
}

/// The head of a row.
pub(super) fn row_head(registered_at: u64, user: u32, group: u32) -> [u8; ROW_HEAD] {
    let mut head = [0; ROW_HEAD];
    head[..8].copy_from_slice(&registered_at.to_le_bytes());
    head[8..12].copy_from_slice(&user.to_le_bytes());
    head[12..].copy_from_slice(&group.to_le_bytes());
    head
}

/// Rows of one size, in the order in which they came. Kept in chunks, so that growing copies nothing large.
#[derive(Default)]
pub(super) struct Rows {
    chunks: Vec<Vec<u8>>,
    len: u32,
}

const CHUNK_ROWS: u32 = 512;

impl Rows {
    fn push(&mut self, head: &[u8; ROW_HEAD], key: &[u8]) {
        if self.len.is_multiple_of(CHUNK_ROWS) {
            // The first chunk grows as it must: most partitions of a rare bucket hold a row or two.
            let room = if self.len == 0 { 0 } else { CHUNK_ROWS as usize * (ROW_HEAD + key.len()) };
            self.chunks.push(Vec::with_capacity(room));
        }
        let chunk = self.chunks.last_mut().expect("a chunk was pushed before the first row");
        chunk.extend_from_slice(head);
        chunk.extend_from_slice(key);
        self.len += 1;
    }

    fn row(&self, index: u32, row_bytes: usize) -> Row<'_> {
        let at = (index % CHUNK_ROWS) as usize * row_bytes;
        Row(&self.chunks[(index / CHUNK_ROWS) as usize][at..at + row_bytes])
    }

    fn iter(&self, row_bytes: usize) -> impl Iterator<Item = Row<'_>> {
        self.chunks.iter().flat_map(move |chunk| chunk.chunks_exact(row_bytes).map(Row))
    }
}

/// Partitions of a bucket, by the upper bits of the key's hash: of three million rows one partition holds a
/// megabyte or so, and sorting and reading it stays in the cache.
const PARTITIONS: usize = 256;

/// The rows of one bucket.
pub(super) struct Bucket {
    row_bytes: usize,
    partitions: Vec<Rows>,
}

impl Bucket {
    pub(super) fn new(key_bytes: usize) -> Self {
        let partitions = (0..PARTITIONS).map(|_| Rows::default()).collect();
        Self { row_bytes: ROW_HEAD + key_bytes, partitions }
    }

    /// Memory that a bucket takes before its first row.
    pub(super) const EMPTY_BYTES: usize = PARTITIONS * size_of::<Rows>();

    pub(super) fn push(&mut self, key: &[u8], head: &[u8; ROW_HEAD]) {
        self.partitions[(hash(key) >> 56) as usize].push(head, key);
    }

    /// The indices of each partition's rows in the order of hash and key, of equal keys only the first by `prefer`.
    pub(super) fn sort(&self, prefer: &impl Fn(Row<'_>, Row<'_>) -> Ordering) -> Vec<Vec<u32>> {
        let mut entries = Vec::new();
        self.partitions.iter().map(|rows| self.sort_rows(rows, &mut entries, prefer)).collect()
    }

    fn sort_rows(
        &self,
        rows: &Rows,
        entries: &mut Vec<(u64, u32)>,
        prefer: &impl Fn(Row<'_>, Row<'_>) -> Ordering,
    ) -> Vec<u32> {
        entries.clear();
        entries.extend((0..).zip(rows.iter(self.row_bytes)).map(|(index, row)| (hash(row.key()), index)));
        entries.sort_unstable();
        let mut order = Vec::with_capacity(entries.len());
        for alike in entries.chunk_by_mut(|one, other| one.0 == other.0) {
            if let [(_, index)] = alike {
                order.push(*index);
            } else {
                self.sort_alike(rows, alike, prefer, &mut order);
            }
        }
        order
    }

    /// The same for rows whose keys have the same hash: nearly always duplicates.
    fn sort_alike(
        &self,
        rows: &Rows,
        alike: &mut [(u64, u32)],
        prefer: &impl Fn(Row<'_>, Row<'_>) -> Ordering,
        order: &mut Vec<u32>,
    ) {
        let row = |entry: &(u64, u32)| rows.row(entry.1, self.row_bytes);
        alike.sort_by(|one, other| {
            let (one, other) = (row(one), row(other));
            one.key().cmp(other.key()).then_with(|| prefer(one, other))
        });
        let duplicates = alike.chunk_by(|one, other| row(one).key() == row(other).key());
        order.extend(duplicates.map(|duplicates| duplicates[0].1));
    }

    /// The rows that `order` names, partition by partition.
    pub(super) fn in_order<'a>(&'a self, order: &'a [Vec<u32>]) -> impl Iterator<Item = Row<'a>> {
        let partitions = self.partitions.iter().zip(order);
        partitions.flat_map(|(rows, order)| order.iter().map(|index| rows.row(*index, self.row_bytes)))
    }
}

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

/// Rows of one size. Kept in chunks, so that growing copies nothing large.
#[derive(Default)]
struct Rows {
    /// Each of [`CHUNK_ROWS`] rows.
    full: Vec<Vec<u8>>,
    open: Vec<u8>,
    len: u32,
}

const CHUNK_ROWS: u32 = 512;

impl Rows {
    fn push(&mut self, head: &[u8; ROW_HEAD], key: &[u8]) {
        if self.len.is_multiple_of(CHUNK_ROWS) && self.len > 0 {
            // The first chunk grows as it must, for most partitions of a rare bucket hold a row or two.
            let next = Vec::with_capacity(CHUNK_ROWS as usize * (ROW_HEAD + key.len()));
            self.full.push(std::mem::replace(&mut self.open, next));
        }
        self.open.extend_from_slice(head);
        self.open.extend_from_slice(key);
        self.len += 1;
    }

    fn row(&self, index: u32, row_bytes: usize) -> Row<'_> {
        let at = (index % CHUNK_ROWS) as usize * row_bytes;
        let chunk = self.full.get((index / CHUNK_ROWS) as usize).unwrap_or(&self.open);
        Row(&chunk[at..at + row_bytes])
    }

    fn iter(&self, row_bytes: usize) -> impl Iterator<Item = Row<'_>> {
        let chunks = self.full.iter().chain([&self.open]);
        chunks.flat_map(move |chunk| chunk.chunks_exact(row_bytes).map(Row))
    }
}

/// Partitions of a bucket, by the upper bits of the key's hash: of three million rows one partition holds a
/// megabyte or so, and sorting it stays in the cache.
const PARTITIONS: usize = 256;

/// The rows of one bucket.
pub(super) struct Bucket {
    row_bytes: usize,
    partitions: Vec<Partition>,
}

/// Rows of a bucket whose keys' hashes begin alike.
pub(super) struct Partition {
    row_bytes: usize,
    rows: Rows,
    lost: Lost,
}

/// Rows that sorting dropped, in the order of their keys.
#[derive(Default)]
struct Lost {
    rows: Rows,
    /// For each the owner of the row that stayed; as many rows as this has entries are remembered.
    kept_by: Vec<u32>,
}

impl Bucket {
    pub(super) fn new(key_bytes: usize) -> Self {
        let row_bytes = ROW_HEAD + key_bytes;
        let partition = || Partition { row_bytes, rows: Rows::default(), lost: Lost::default() };
        Self { row_bytes, partitions: std::iter::repeat_with(partition).take(PARTITIONS).collect() }
    }

    /// Memory that a bucket takes before its first row.
    pub(super) const EMPTY_BYTES: usize = PARTITIONS * size_of::<Partition>();

    pub(super) fn push(&mut self, key: &[u8], head: &[u8; ROW_HEAD]) {
        self.partitions[(hash(key) >> 56) as usize].rows.push(head, key);
    }

    /// Its partitions, each of which is sorted by itself.
    pub(super) fn partitions(&mut self) -> impl Iterator<Item = &mut Partition> + Send {
        self.partitions.iter_mut()
    }

    /// Forgets the rows that sorting dropped beyond the first `room`, and takes the others off it.
    pub(super) fn limit_lost(&mut self, room: &mut u64) {
        for Partition { lost, .. } in &mut self.partitions {
            if (lost.kept_by.len() as u64) > *room {
                lost.kept_by.truncate(*room as usize);
            }
            *room -= lost.kept_by.len() as u64;
        }
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.partitions.iter().flat_map(|partition| partition.rows.iter(self.row_bytes))
    }

    /// The rows that sorting dropped and remembered, each with the owner of the one that stayed.
    pub(super) fn lost(&self) -> impl Iterator<Item = (Row<'_>, u32)> {
        let lost = self.partitions.iter().map(|partition| &partition.lost);
        lost.flat_map(|lost| lost.rows.iter(self.row_bytes).zip(lost.kept_by.iter().copied()))
    }
}

impl Partition {
    /// Brings the rows into the order of hash and key, keeps of equal keys only the first by `prefer`, and renames
    /// users by `rank`. Of those dropped `room` are remembered. Takes no more memory than its rows.
    pub(super) fn sort(
        &mut self,
        prefer: &impl Fn(Row<'_>, Row<'_>) -> Ordering,
        rank: &impl Fn(u32) -> u32,
        room: u64,
    ) {
        let (mut entries, row_bytes) = (Vec::new(), self.row_bytes);
        let (rows, lost) = (&self.rows, &mut self.lost);
        sort_entries(rows, row_bytes, prefer, &mut entries, |kept, dropped| {
            if (lost.kept_by.len() as u64) < room {
                lost.kept_by.push(rank(kept.user()));
                let head = row_head(dropped.registered_at(), rank(dropped.user()), dropped.group());
                lost.rows.push(&head, dropped.key());
            }
        });
        // In a loop of its own, so that several of these far reads are under way at once.
        let users: Vec<u32> =
            entries.iter().map(|(_, index)| rank(rows.row(*index, row_bytes).user())).collect();
        let mut sorted = Rows::default();
        for ((_, index), user) in entries.iter().zip(&users) {
            let row = rows.row(*index, row_bytes);
            sorted.push(&row_head(row.registered_at(), *user, row.group()), row.key());
        }
        self.rows = sorted;
    }
}

/// Fills `entries` with the hashes and indices of the rows to keep, in order; `lose` is told of each other, behind the one
/// that is kept.
fn sort_entries(
    rows: &Rows,
    row_bytes: usize,
    prefer: &impl Fn(Row<'_>, Row<'_>) -> Ordering,
    entries: &mut Vec<(u64, u32)>,
    mut lose: impl FnMut(Row<'_>, Row<'_>),
) {
    entries.clear();
    entries.extend((0..).zip(rows.iter(row_bytes)).map(|(index, row)| (hash(row.key()), index)));
    entries.sort_unstable();
    let row = |entry: &(u64, u32)| rows.row(entry.1, row_bytes);
    // Rows whose keys hash alike are nearly always duplicates, and few.
    for alike in entries.chunk_by_mut(|one, other| one.0 == other.0).filter(|alike| alike.len() > 1) {
        alike.sort_by(|one, other| {
            let (one, other) = (row(one), row(other));
            one.key().cmp(other.key()).then_with(|| prefer(one, other))
        });
    }
    entries.dedup_by(|other, one| {
        let is_lost = one.0 == other.0 && row(one).key() == row(other).key();
        if is_lost {
            lose(row(one), row(other));
        }
        is_lost
    });
}

//! User ids sorted, each once, in bounded memory: what does not fit is written in sorted runs and merged.
//! Sorted, because a directory answers neighbours fastest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use backend::directory::UserIds;

/// Takes user ids in any order.
pub(crate) struct Sorter {
    folder: PathBuf,
    memory_bytes: usize,
    held: Held,
    runs: Vec<File>,
    pushed: u64,
}

/// Ids in memory.
#[derive(Default)]
struct Held {
    text: Vec<u8>,
    places: Vec<Place>,
}

/// Where an id stands, and its first bytes behind what all ids have in common.
#[derive(Clone, Copy)]
struct Place {
    start: u64,
    first: u32,
    bytes: u16,
}

impl Sorter {
    /// Sorts in `memory_bytes`; runs that do not fit go to `folder`.
    pub(crate) fn new(folder: &Path, memory_bytes: usize) -> Self {
        Self { folder: folder.to_owned(), memory_bytes, held: Held::default(), runs: Vec::new(), pushed: 0 }
    }

    /// Takes an id of at most 65,535 bytes.
    pub(crate) fn push(&mut self, id: &str) -> io::Result<()> {
        let too_long = |_| io::Error::new(io::ErrorKind::InvalidInput, "the id is too long");
        let bytes = u16::try_from(id.len()).map_err(too_long)?;
        let first = u32::try_from(self.held.text.len()).expect("a run is written before its text has 4 GiB");
        self.held.places.push(Place { start: 0, first, bytes });
        self.held.text.extend_from_slice(id.as_bytes());
        self.pushed += 1;
        if self.held.bytes() > self.memory_bytes || self.held.text.len() > u32::MAX as usize / 2 {
            self.spill()?;
        }
        Ok(())
    }

    /// Ids taken.
    pub(crate) const fn pushed(&self) -> u64 {
        self.pushed
    }

    /// All ids, sorted by their bytes, each once.
    pub(crate) fn finish(mut self) -> io::Result<Sorted> {
        if self.runs.is_empty() {
            self.held.sort();
            return Ok(Sorted {
                source: Source::Held { held: self.held, next: 0 },
                last: Vec::new(),
                given: 0,
            });
        }
        self.spill()?;
        let mut merge = Merge::default();
        for mut file in self.runs {
            file.rewind()?;
            merge.readers.push(BufReader::with_capacity(256 * 1024, file));
            merge.refill(merge.readers.len() - 1)?;
        }
        Ok(Sorted { source: Source::Merge(merge), last: Vec::new(), given: 0 })
    }

    fn spill(&mut self) -> io::Result<()> {
        let mut held = std::mem::take(&mut self.held);
        held.sort();
        let path = self.folder.join(format!("users-{}", self.runs.len()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        // The open file is enough; without a name nothing is left behind.
        std::fs::remove_file(&path)?;
        let mut writer = BufWriter::with_capacity(256 * 1024, file);
        for place in &held.places {
            writer.write_all(&place.bytes.to_le_bytes())?;
            writer.write_all(held.id(place))?;
        }
        self.runs.push(writer.into_inner().map_err(io::IntoInnerError::into_error)?);
        Ok(())
    }
}

impl Held {
    const fn bytes(&self) -> usize {
        self.text.len() + self.places.len() * size_of::<Place>()
    }

    fn id(&self, place: &Place) -> &[u8] {
        let first = place.first as usize;
        &self.text[first..first + usize::from(place.bytes)]
    }

    fn sort(&mut self) {
        let common = self.common_bytes();
        let text = &self.text;
        let rest = |place: &Place| {
            let first = place.first as usize;
            &text[first + common..first + usize::from(place.bytes)]
        };
        for place in &mut self.places {
            let mut start = [0; 8];
            let rest = rest(place);
            let bytes = rest.len().min(8);
            start[..bytes].copy_from_slice(&rest[..bytes]);
            place.start = u64::from_be_bytes(start);
        }
        // Ids have no zero byte, so padding sorts before every longer id.
        self.places
            .sort_unstable_by(|one, two| one.start.cmp(&two.start).then_with(|| rest(one).cmp(rest(two))));
    }

    /// Bytes with which every id begins: often the same word, which would make all `start`s equal.
    fn common_bytes(&self) -> usize {
        let Some(model) = self.places.first().map(|place| self.id(place)) else { return 0 };
        self.places.iter().fold(model.len(), |common, place| {
            let pairs = model[..common].iter().zip(self.id(place));
            pairs.take_while(|(one, two)| one == two).count()
        })
    }
}

/// Sorted ids, each once.
pub(crate) struct Sorted {
    source: Source,
    last: Vec<u8>,
    given: u64,
}

enum Source {
    Held { held: Held, next: usize },
    Merge(Merge),
}

impl Sorted {
    /// Ids given so far.
    pub(crate) const fn given(&self) -> u64 {
        self.given
    }

    /// The next `most` ids; fewer only at the end.
    pub(crate) fn next_batch(&mut self, most: usize) -> io::Result<UserIds> {
        let mut batch = UserIds::default();
        let mut id = Vec::new();
        while batch.len() < most && self.source.next(&mut id)? {
            if id == self.last && self.given > 0 {
                continue;
            }
            self.last.clone_from(&id);
            self.given += 1;
            let text = std::str::from_utf8(&id)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            batch.push(text);
        }
        Ok(batch)
    }
}

impl Source {
    fn next(&mut self, into: &mut Vec<u8>) -> io::Result<bool> {
        into.clear();
        match self {
            Source::Held { held, next } => {
                let Some(place) = held.places.get(*next) else { return Ok(false) };
                into.extend_from_slice(held.id(place));
                *next += 1;
                Ok(true)
            }
            Source::Merge(merge) => {
                let Some(Reverse((id, run))) = merge.heads.pop() else { return Ok(false) };
                into.extend_from_slice(&id);
                merge.refill(run)?;
                Ok(true)
            }
        }
    }
}

/// Sorted runs, and the next id of each.
#[derive(Default)]
struct Merge {
    readers: Vec<BufReader<File>>,
    heads: BinaryHeap<Reverse<(Vec<u8>, usize)>>,
}

impl Merge {
    fn refill(&mut self, run: usize) -> io::Result<()> {
        let reader = &mut self.readers[run];
        let mut bytes = [0; 2];
        match reader.read_exact(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            read => read?,
        }
        let mut id = vec![0; usize::from(u16::from_le_bytes(bytes))];
        reader.read_exact(&mut id)?;
        self.heads.push(Reverse((id, run)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn sort(ids: &[String], memory_bytes: usize, batch: usize) -> (Vec<String>, u64) {
        let folder = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(folder.path(), memory_bytes);
        ids.iter().for_each(|id| sorter.push(id).unwrap());
        let mut sorted = sorter.finish().unwrap();
        let mut all = Vec::new();
        loop {
            let next = sorted.next_batch(batch).unwrap();
            if next.is_empty() {
                break;
            }
            all.extend(next.iter().map(str::to_owned));
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "runs have no names");
        (all, sorted.given())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_order_is_that_of_a_set_whatever_fits_in_memory(
            prefix in "[a-c]{0,9}",
            ids in proptest::collection::vec("[a-cü]{1,12}", 0..120),
            memory_bytes in prop_oneof![Just(1 << 20), 50_usize..900],
            batch in 1_usize..40,
        ) {
            let ids: Vec<String> = ids.iter().map(|id| format!("{prefix}{id}")).collect();
            let wanted: Vec<String> = ids.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect();
            let (found, given) = sort(&ids, memory_bytes, batch);
            prop_assert_eq!(given as usize, wanted.len());
            prop_assert_eq!(found, wanted);
        }
    }
}

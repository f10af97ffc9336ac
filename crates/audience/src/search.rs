//! Whether files that were written here name somebody: CSV and NDJSON, packed by zstd or not.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::path::Path;

use memchr::memmem::Finder;

use crate::error::{Error, Failure};

const BUFFER_BYTES: usize = 1 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What somebody is named by, in each of the ways in which it is written.
pub(crate) struct Needles(Vec<String>);

impl Needles {
    /// A user id and keys.
    pub(crate) fn new<'a>(user: &str, keys: impl Iterator<Item = &'a str>) -> Self {
        let json = serde_json::to_string(user).expect("a text always serializes");
        let mut texts = vec![user.to_owned(), json[1..json.len() - 1].to_owned(), user.replace('"', "\"\"")];
        texts.extend(keys.map(str::to_owned));
        texts.sort_unstable();
        texts.dedup();
        Self(texts)
    }
}

/// A search for many people at once: a file is gone through once, however many they are.
pub(crate) struct Search {
    /// What is looked for text by text, with whose it is: quicker for a few, and right for texts that an edge cuts.
    finders: Vec<(Finder<'static>, usize)>,
    /// The others, and whose they are: every field is looked up.
    fields: HashMap<Box<[u8]>, Vec<usize>>,
    /// Lengths of those, so that few fields have to be.
    lengths: Vec<bool>,
    people: usize,
}

/// Most texts that are looked for one by one.
const FINDERS_MAX: usize = 32;

impl Search {
    /// For these people.
    pub(crate) fn new(people: &[Needles]) -> Self {
        let are_few = people.iter().map(|needles| needles.0.len()).sum::<usize>() <= FINDERS_MAX;
        let mut search =
            Self { finders: Vec::new(), fields: HashMap::new(), lengths: Vec::new(), people: people.len() };
        for (owner, needles) in people.iter().enumerate() {
            needles.0.iter().for_each(|text| search.add(text.as_bytes(), owner, are_few));
        }
        search
    }

    fn add(&mut self, text: &[u8], owner: usize, are_few: bool) {
        if are_few || text.iter().any(is_edge) {
            self.finders.push((Finder::new(text).into_owned(), owner));
            return;
        }
        self.lengths.resize(self.lengths.len().max(text.len() + 1), false);
        self.lengths[text.len()] = true;
        self.fields.entry(text.into()).or_default().push(owner);
    }

    /// Notes who stands in `bytes` as a whole field.
    fn note(&self, bytes: &[u8], found: &mut [bool]) {
        for (finder, owner) in self.finders.iter().filter(|(_, owner)| !found[*owner]).collect::<Vec<_>>() {
            let is_at_edge = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_none_or(is_edge);
            let is_whole =
                |at: usize| is_at_edge(at.checked_sub(1)) && is_at_edge(Some(at + finder.needle().len()));
            found[*owner] |= finder.find_iter(bytes).any(is_whole);
        }
        if self.fields.is_empty() {
            return;
        }
        for field in bytes.split(is_edge) {
            if self.lengths.get(field.len()).is_some_and(|is_one| *is_one)
                && let Some(owners) = self.fields.get(field)
            {
                owners.iter().for_each(|owner| found[*owner] = true);
            }
        }
    }
}

/// Whether a field may begin behind this byte, or end before it.
const fn is_edge(byte: &u8) -> bool {
    matches!(byte, b',' | b'"' | b'\'' | b'\n' | b'\r')
}

/// Which of these people the file at `path` names.
pub(crate) fn search(path: &Path, whom: &Search) -> Result<Vec<bool>, Failure> {
    match File::open(path) {
        Ok(file) => Ok(search_file(file, whom).map_err(Error::io("search a file for somebody"))?),
        // It went meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![false; whom.people]),
        Err(error) => Err(Error::io("open a file that may name somebody")(error).into()),
    }
}

fn search_file(mut file: File, whom: &Search) -> io::Result<Vec<bool>> {
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.rewind()?;
    if magic == ZSTD_MAGIC {
        search_lines(zstd::stream::read::Decoder::with_buffer(BufReader::new(file))?, whom)
    } else {
        search_lines(file, whom)
    }
}

/// Reads as many whole lines at once as fit.
fn search_lines(mut file: impl Read, whom: &Search) -> io::Result<Vec<bool>> {
    let mut found = vec![false; whom.people];
    let (mut buffer, mut filled) = (vec![0; BUFFER_BYTES], 0);
    loop {
        if filled == buffer.len() {
            // A line longer than that.
            buffer.resize(2 * filled, 0);
        }
        let read = file.read(&mut buffer[filled..])?;
        filled += read;
        let end = match memchr::memrchr(b'\n', &buffer[..filled]) {
            _ if read == 0 => filled,
            Some(last) => last + 1,
            None => continue,
        };
        whom.note(&buffer[..end], &mut found);
        if read == 0 || !found.contains(&false) {
            return Ok(found);
        }
        buffer.copy_within(end..filled, 0);
        filled -= end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &[u8], user: &str, keys: &[&str]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let packed = zstd::encode_all(text, 1).unwrap();
        let found = [text, &packed].map(|bytes| {
            std::fs::write(&path, bytes).unwrap();
            let somebody = Needles::new(user, keys.iter().copied());
            // Beside enough others for the other way to search.
            let others = (0..40).map(|number| Needles::new(&format!("other-{number}"), [].into_iter()));
            let many: Vec<Needles> = [Needles(somebody.0.clone())].into_iter().chain(others).collect();
            let found =
                [Search::new(&[somebody]), Search::new(&many)].map(|whom| search(&path, &whom).unwrap()[0]);
            assert_eq!(found[0], found[1], "few or many");
            found[0]
        });
        assert_eq!(found[0], found[1], "packed or not");
        found[0]
    }

    #[test]
    fn somebody_is_found_as_a_whole_field_however_it_is_written() {
        let csv = b"user,platform\nann,apns\n\"b,o\"\"b\",fcm\n\"'=eve\",fcm\n";
        assert!(["ann", "b,o\"b", "=eve"].iter().all(|user| names(csv, user, &[])));
        assert!(!["an", "nn", "eve", "1"].iter().any(|user| names(csv, user, &[])));
        assert!(names(b"{\"user\":\"a\\\"n\\\\n\"}\n", "a\"n\\n", &[]));
        assert!(names(b"{\"user\":\"x\",\"key\":\"c0ffee\"}", "ann", &["c0ffee"]));
        assert!(!names(b"", "ann", &[]));
    }

    #[test]
    fn everybody_is_found_by_their_own_fields_in_one_go_be_they_few_or_many() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // One stands within another, one key is of two people, and a part of a quoted field passes for a whole one.
        std::fs::write(&path, "user,key\njoann,k1\nbob,k2\n\"b,o\",k3\r\n'=eve,k4\nlast,k5").unwrap();
        let people = ["ann", "joann", "o", "b,o", "=eve", "eve", "last"].map(|user| (user.to_owned(), "x"));
        let keys = [("carl", "k2"), ("carla", "k2"), ("k", "k")].map(|(user, key)| (user.to_owned(), key));
        let mut people: Vec<_> = people.into_iter().chain(keys).collect();
        let wanted = [false, true, true, true, true, false, true, true, true, false];
        for others in [0, 100] {
            people.extend((0..others).map(|number| (format!("other-{number}"), "x")));
            let needles = people.iter().map(|(user, key)| Needles::new(user, [*key].into_iter()));
            let whom = Search::new(&needles.collect::<Vec<_>>());
            assert_eq!(whom.fields.is_empty(), others == 0);
            let found = search(&path, &whom).unwrap();
            assert_eq!(found[..wanted.len()], wanted, "{others}");
            assert!(!found[wanted.len()..].contains(&true));
            assert_eq!(search(&folder.path().join("gone"), &whom).unwrap(), vec![false; people.len()]);
        }
    }

    #[test]
    fn somebody_is_found_wherever_reads_are_cut() {
        for ahead in [BUFFER_BYTES - 9, BUFFER_BYTES - 2, BUFFER_BYTES, 3 * BUFFER_BYTES] {
            let mut text = b"u\n".repeat(ahead / 2);
            text.extend_from_slice(b"ann,apns\n");
            text.extend(b"v\n".repeat(1_000));
            assert!(names(&text, "ann", &[]), "{ahead}");
        }
        let mut line = vec![b'x'; 3 * BUFFER_BYTES];
        line.extend_from_slice(b",ann");
        assert!(names(&line, "ann", &[]), "one line without end");
    }
}

//! Whether files that were written here name somebody: CSV and NDJSON, packed by zstd or not.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::path::Path;

use memchr::memmem::Finder;

use crate::error::{Error, Failure};

const BUFFER_BYTES: usize = 1 << 20;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// What somebody is named by, in each of the ways in which it is written.
pub(crate) struct Needles(Vec<Finder<'static>>);

impl Needles {
    /// A user id and keys.
    pub(crate) fn new<'a>(user: &str, keys: impl Iterator<Item = &'a str>) -> Self {
        let json = serde_json::to_string(user).expect("a text always serializes");
        let mut texts = vec![user.to_owned(), json[1..json.len() - 1].to_owned(), user.replace('"', "\"\"")];
        texts.extend(keys.map(str::to_owned));
        texts.sort_unstable();
        texts.dedup();
        Self(texts.iter().map(|text| Finder::new(text).into_owned()).collect())
    }

    /// Whether any stands in `bytes` as a whole field.
    fn are_in(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|finder| {
            let whole = |at: usize| {
                is_edge(bytes, at.checked_sub(1)) && is_edge(bytes, Some(at + finder.needle().len()))
            };
            finder.find_iter(bytes).any(whole)
        })
    }
}

/// Whether a field may begin behind, or end before, this place.
fn is_edge(bytes: &[u8], at: Option<usize>) -> bool {
    let byte = at.and_then(|at| bytes.get(at));
    byte.is_none_or(|byte| matches!(byte, b',' | b'"' | b'\'' | b'\n' | b'\r'))
}

/// Which of these people the file at `path` names.
pub(crate) fn search(path: &Path, needles: Vec<Needles>) -> Result<(Vec<Needles>, Vec<bool>), Failure> {
    let found = match File::open(path) {
        Ok(file) => search_file(file, &needles).map_err(Error::io("search a file for somebody"))?,
        // It went meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => vec![false; needles.len()],
        Err(error) => return Err(Error::io("open a file that may name somebody")(error).into()),
    };
    Ok((needles, found))
}

fn search_file(mut file: File, needles: &[Needles]) -> io::Result<Vec<bool>> {
    let mut magic = Vec::new();
    Read::by_ref(&mut file).take(ZSTD_MAGIC.len() as u64).read_to_end(&mut magic)?;
    file.rewind()?;
    if magic == ZSTD_MAGIC {
        search_lines(zstd::stream::read::Decoder::with_buffer(BufReader::new(file))?, needles)
    } else {
        search_lines(file, needles)
    }
}

/// Reads as many whole lines at once as fit.
fn search_lines(mut file: impl Read, needles: &[Needles]) -> io::Result<Vec<bool>> {
    let mut found = vec![false; needles.len()];
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
        for (found, needles) in found.iter_mut().zip(needles) {
            *found = *found || needles.are_in(&buffer[..end]);
        }
        if read == 0 {
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
            search(&path, vec![Needles::new(user, keys.iter().copied())]).unwrap().1[0]
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

//! A list of rows that are bad, or of people who are left out, written while they are found: a line of JSON each, up to a
//! number of them. No file is made while there is none.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Quick: the lines are much alike.
const ZSTD_LEVEL: i32 = 1;

/// A list being written.
pub(crate) struct RowList {
    path: PathBuf,
    is_packed: bool,
    /// Rows for which there is room.
    room: u64,
    file: Option<Out>,
}

enum Out {
    Plain(BufWriter<File>),
    Packed(zstd::Encoder<'static, BufWriter<File>>),
}

impl RowList {
    /// A list of at most `rows_max` rows in a new file at `path`.
    pub(crate) fn new(path: &Path, is_packed: bool, rows_max: u64) -> Self {
        Self { path: path.to_owned(), is_packed, room: rows_max, file: None }
    }

    pub(crate) const fn has_room(&self) -> bool {
        self.room > 0
    }

    pub(crate) fn push(&mut self, row: &impl Serialize) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            empty => {
                let file = BufWriter::new(File::create_new(&self.path)?);
                empty.insert(if self.is_packed {
                    Out::Packed(zstd::Encoder::new(file, ZSTD_LEVEL)?)
                } else {
                    Out::Plain(file)
                })
            }
        };
        self.room = self.room.saturating_sub(1);
        let mut line = serde_json::to_vec(row)?;
        line.push(b'\n');
        match file {
            Out::Plain(file) => file.write_all(&line),
            Out::Packed(file) => file.write_all(&line),
        }
    }

    /// Writes what is left to write; the file, if there is one.
    pub(crate) fn finish(self) -> io::Result<Option<PathBuf>> {
        match self.file {
            None => return Ok(None),
            Some(Out::Plain(mut file)) => file.flush()?,
            Some(Out::Packed(file)) => file.finish()?.flush()?,
        }
        Ok(Some(self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::audience::BadRow;

    fn listed(is_packed: bool, rows_max: u64) -> Option<Vec<u8>> {
        let folder = tempfile::tempdir().unwrap();
        let mut list = RowList::new(&folder.path().join("list"), is_packed, rows_max);
        let mut line = 0;
        while list.has_room() {
            line += 1;
            list.push(&BadRow { line, byte: 7, reason: "user".into(), cause: "c".into() }).unwrap();
        }
        list.finish().unwrap().map(|path| std::fs::read(path).unwrap())
    }

    #[test]
    fn a_list_reads_back_and_ends_where_it_should() {
        let plain = listed(false, 3).unwrap();
        let lines: Vec<BadRow> = plain
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect();
        assert_eq!(lines.iter().map(|bad| bad.line).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(zstd::decode_all(&listed(true, 3).unwrap()[..]).unwrap(), plain);
    }

    #[test]
    fn without_bad_rows_there_is_no_file() {
        assert_eq!(listed(true, 0), None);
    }
}

//! Lines of every kind, read in one piece and in many.

use std::io::Cursor;

use proptest::prelude::*;

use super::*;

type Seen = (u64, u64, Result<String, Cause>);

/// Gives at most as many bytes at a time as its parts say, again and again.
pub(crate) struct Parted<R> {
    pub(crate) inner: R,
    pub(crate) parts: Vec<usize>,
    pub(crate) next: usize,
}

impl<R: Read> Read for Parted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let part = self.parts[self.next % self.parts.len()].min(buffer.len());
        self.next += 1;
        self.inner.read(&mut buffer[..part])
    }
}

fn read_parted(text: &[u8], line_bytes_max: usize, parts: &[usize], is_csv: bool) -> Vec<Seen> {
    let reader = Parted { inner: Cursor::new(text.to_vec()), parts: parts.to_vec(), next: 0 };
    let mut lines = Lines::new(reader, line_bytes_max);
    // Small, so that it is emptied and moved often.
    lines.buffer = vec![0; 2 * (line_bytes_max + 2)].into_boxed_slice();
    let mut found = Vec::new();
    while if is_csv { lines.advance_record() } else { lines.advance() }.unwrap() {
        found.push((lines.number(), lines.byte(), lines.text().map(str::to_owned)));
    }
    assert_eq!(lines.bytes_read(), text.len() as u64);
    found
}

fn read(text: &[u8], line_bytes_max: usize) -> Vec<Seen> {
    read_parted(text, line_bytes_max, &[3], false)
}

fn texts(found: &[Seen]) -> Vec<&str> {
    found.iter().map(|(_, _, text)| text.as_deref().unwrap_or("!")).collect()
}

proptest! {
    #[test]
    fn however_the_bytes_arrive_the_lines_are_the_same(
        text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'"'), Just(b'a'), any::<u8>()], 0..60),
        parts in proptest::collection::vec(1..9_usize, 1..6),
        line_bytes_max in 1..20_usize,
        is_csv in any::<bool>(),
    ) {
        let whole = read_parted(&text, line_bytes_max, &[1_000], is_csv);
        prop_assert_eq!(&read_parted(&text, line_bytes_max, &parts, is_csv), &whole);
        for (number, byte, line) in whole {
            prop_assert!(number > 0 && byte < text.len() as u64);
            prop_assert!(line.is_err() || line.unwrap().len() <= line_bytes_max);
        }
    }
}

#[test]
fn every_line_end_and_a_byte_order_mark_are_taken_off() {
    let found = read(b"\xef\xbb\xbfa\r\n\nbc\n\r\nd", 9);
    let wanted = [(1, 0, "a"), (2, 6, ""), (3, 7, "bc"), (4, 10, ""), (5, 12, "d")];
    assert_eq!(found, wanted.map(|(number, byte, text)| (number, byte, Ok(text.to_owned()))));
}

#[test]
fn lines_that_end_with_cr_alone_are_lines() {
    assert_eq!(texts(&read(b"a\rbc\r\rd", 9)), ["a", "bc", "", "d"]);
    assert_eq!(texts(&read(b"a\r", 9)), ["a"]);
}

#[test]
fn a_cr_within_a_line_is_part_of_it() {
    assert_eq!(texts(&read(b"a\nb\rc\nd\r\r\n", 9)), ["a", "b\rc", "d\r"]);
    assert_eq!(texts(&read(b"a\rb\nc\r", 9)), ["a", "b\nc"]);
}

#[test]
fn a_line_beyond_the_limit_is_passed_over_and_the_next_is_read() {
    let found = read(b"1234\r\n12345\r\n123456789012345\nx", 4);
    let texts: Vec<_> = found.iter().map(|(_, byte, text)| (*byte, text.as_deref())).collect();
    let long = &Cause::TooLong(4);
    assert_eq!(texts, [(0, Ok("1234")), (6, Err(long)), (13, Err(long)), (29, Ok("x"))]);
}

#[test]
fn bytes_that_are_no_text_are_named_by_their_place() {
    assert_eq!(read(b"ab\xffc\n", 9)[0].2, Err(Cause::NotUtf8(3)));
}

#[test]
fn a_quoted_line_end_belongs_to_the_record() {
    let found = read_parted(b"a,\"b\r\n\nc\"\n\"d\"\ne", 20, &[2], true);
    let wanted = [(1, 0, "a,\"b\r\n\nc\""), (4, 10, "\"d\""), (5, 14, "e")];
    assert_eq!(found, wanted.map(|(number, byte, text)| (number, byte, Ok(text.to_owned()))));
}

#[test]
fn a_quote_that_is_never_closed_spoils_its_own_line_only() {
    let found = read_parted(b"a\n\"b\nc\nd\n", 20, &[2], true);
    assert_eq!(texts(&found), ["a", "\"b", "c", "d"]);
    let far = [b"\"b\n".to_vec(), b"cc\n".repeat(9), b"d\"\n".to_vec()].concat();
    let found = read_parted(&far, 20, &[2], true);
    assert_eq!((found.len(), found[1].0, found[10].0), (11, 2, 11));
}

#[test]
fn a_line_of_hundreds_of_megabytes_takes_no_more_memory_than_another() {
    const BYTES: u64 = 300 << 20;
    let long = io::repeat(b'x').take(BYTES);
    let mut lines = Lines::new(Cursor::new("a\n").chain(long).chain(Cursor::new("\nb\n")), 1_000);
    let bytes = lines.buffer.len();
    assert!(lines.advance().unwrap() && lines.advance().unwrap());
    assert_eq!(lines.text(), Err(Cause::TooLong(1_000)));
    assert!(lines.advance().unwrap());
    assert_eq!((lines.text(), lines.byte()), (Ok("b"), 2 + BYTES + 1));
    assert_eq!(lines.buffer.len(), bytes);
}

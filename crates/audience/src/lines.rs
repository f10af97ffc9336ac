//! The lines of an upload, each with its number and place, none longer in memory than the limit.

use std::io::{self, BufRead, Read as _};

use crate::cause::Cause;

/// Reads lines one after the other.
pub(crate) struct Lines<R> {
    reader: R,
    line_bytes_max: usize,
    /// The line being looked at, without its end.
    line: Vec<u8>,
    is_too_long: bool,
    /// Whether the next `advance` stays on the line.
    is_held: bool,
    /// Its number, from 1; 0 before the first.
    number: u64,
    /// Offset of its first byte.
    byte: u64,
    /// Offset of the line after it.
    next_byte: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(reader: R, line_bytes_max: usize) -> Self {
        Self {
            reader,
            line_bytes_max,
            line: Vec::new(),
            is_too_long: false,
            is_held: false,
            number: 0,
            byte: 0,
            next_byte: 0,
        }
    }

    /// Goes to the next line; false at the end.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_held) {
            return Ok(true);
        }
        self.line.clear();
        // Two more than the limit: CR and LF do not count.
        let read_max = self.line_bytes_max as u64 + 2;
        let mut read = self.reader.by_ref().take(read_max).read_until(b'\n', &mut self.line)?;
        if read == 0 {
            return Ok(false);
        }
        if self.line.last() != Some(&b'\n') && read as u64 == read_max {
            read += self.reader.skip_until(b'\n')?;
        }
        self.number += 1;
        self.byte = self.next_byte;
        self.next_byte += read as u64;
        self.trim();
        Ok(true)
    }

    fn trim(&mut self) {
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        }
        if self.line.last() == Some(&b'\r') {
            self.line.pop();
        }
        const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
        if self.number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
            self.line.drain(..BYTE_ORDER_MARK.len());
        }
        self.is_too_long = self.line.len() > self.line_bytes_max;
    }

    /// Makes the next `advance` stay here.
    pub(crate) const fn hold(&mut self) {
        self.is_held = true;
    }

    /// The line's text.
    pub(crate) fn text(&self) -> Result<&str, Cause> {
        if self.is_too_long {
            return Err(Cause::TooLong(self.line_bytes_max));
        }
        std::str::from_utf8(&self.line).map_err(|error| Cause::NotUtf8(error.valid_up_to() + 1))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.line
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn byte(&self) -> u64 {
        self.byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], line_bytes_max: usize) -> Vec<(u64, u64, Result<String, Cause>)> {
        // A tiny buffer, so that lines span many reads.
        let reader = io::BufReader::with_capacity(3, text);
        let mut lines = Lines::new(reader, line_bytes_max);
        let mut found = Vec::new();
        while lines.advance().unwrap() {
            found.push((lines.number(), lines.byte(), lines.text().map(str::to_owned)));
        }
        found
    }

    #[test]
    fn every_line_end_and_a_byte_order_mark_are_taken_off() {
        let found = read(b"\xef\xbb\xbfa\r\n\nbc\n\r\nd", 9);
        let wanted = [(1, 0, "a"), (2, 6, ""), (3, 7, "bc"), (4, 10, ""), (5, 12, "d")];
        assert_eq!(found, wanted.map(|(number, byte, text)| (number, byte, Ok(text.to_owned()))));
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
}

//! The lines of an upload, each with its number and place. Memory is one buffer: a line longer than the limit is passed
//! over, however long it is.

use std::io::{self, Read};
use std::ops::Range;

use memchr::{memchr, memchr_iter, memchr2};

use crate::cause::Cause;

const BUFFER_BYTES_MIN: usize = 1 << 20;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lines one after the other. How the first one ends says how all end: with CR alone, or with LF and perhaps a CR
/// before it. Whatever else stands in a line belongs to it.
pub(crate) struct Lines<R> {
    reader: R,
    line_bytes_max: usize,
    /// At least twice the longest line, so that what was read of one fits before there is need to read on.
    buffer: Box<[u8]>,
    /// Bytes of the buffer that were read.
    end: usize,
    is_read_up: bool,
    /// Offset in the upload of the buffer's first byte.
    base: u64,
    /// What ends lines, once that is known.
    terminator: Option<u8>,
    /// Where the line being looked at begins in the buffer.
    at: usize,
    /// Its extent.
    line: Extent,
    /// That of its first line alone, where it is a record of several.
    first: Extent,
    is_too_long: bool,
    /// Whether the next `advance` stays on the line.
    is_held: bool,
    /// Its number, from 1; 0 before the first.
    number: u64,
    /// Offset of its first byte.
    byte: u64,
}

/// Of one line or several, in bytes from where it begins.
#[derive(Clone, Copy, Debug, Default)]
struct Extent {
    /// Bytes at the front that are no text: a byte order mark.
    mark: usize,
    /// Where its text ends.
    text: usize,
    /// Where the next line begins.
    next: usize,
    /// How many lines it is.
    lines: u64,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R, line_bytes_max: usize) -> Self {
        let bytes = BUFFER_BYTES_MIN.max(2 * (line_bytes_max + 2));
        Self {
            reader,
            line_bytes_max,
            buffer: vec![0; bytes].into_boxed_slice(),
            end: 0,
            is_read_up: false,
            base: 0,
            terminator: None,
            at: 0,
            line: Extent::default(),
            first: Extent::default(),
            is_too_long: false,
            is_held: false,
            number: 0,
            byte: 0,
        }
    }

    /// Goes to the next line; false at the end.
    pub(crate) fn advance(&mut self) -> io::Result<bool> {
        if std::mem::take(&mut self.is_held) {
            return Ok(true);
        }
        self.at += self.line.next;
        self.number += self.line.lines.max(1);
        self.byte = self.base + self.at as u64;
        self.line = Extent::default();
        self.is_too_long = false;
        match self.find_end(0)? {
            Found::Line(line) => self.line = line,
            Found::TooLong => {
                self.is_too_long = true;
                self.pass_over()?;
            }
            Found::Nothing => return Ok(false),
        }
        if self.byte == 0 && self.buffer[self.at..self.at + self.line.text].starts_with(BYTE_ORDER_MARK) {
            self.line.mark = BYTE_ORDER_MARK.len();
        }
        self.first = self.line;
        Ok(true)
    }

    /// The same for records of CSV, which go on where a quote is open at the end of a line. A quote that no line within
    /// the limit closes is its own line's fault.
    pub(crate) fn advance_record(&mut self) -> io::Result<bool> {
        if self.is_held {
            return self.advance();
        }
        if !self.advance()? {
            return Ok(false);
        }
        let is_odd = |bytes: &[u8]| memchr_iter(b'"', bytes).count() % 2 == 1;
        let mut is_open = !self.is_too_long && memchr(b'"', self.bytes()).is_some() && is_odd(self.bytes());
        while is_open {
            let before = self.line.text;
            if !self.extend()? {
                self.retreat();
                break;
            }
            is_open = !is_odd(&self.buffer[self.at + before..self.at + self.line.text]);
        }
        Ok(true)
    }

    /// Takes the next line in; false when there is none, or the whole becomes too long.
    fn extend(&mut self) -> io::Result<bool> {
        let Found::Line(more) = self.find_end(self.line.next)? else { return Ok(false) };
        self.line = Extent { mark: self.line.mark, lines: self.line.lines + 1, ..more };
        Ok(true)
    }

    /// Goes back to the record's first line alone; the next `advance` goes to its second.
    pub(crate) const fn retreat(&mut self) {
        self.line = self.first;
    }

    /// Whether it is a record of several lines.
    pub(crate) const fn is_record(&self) -> bool {
        self.line.lines > 1
    }

    /// The end of the line that begins `from` bytes behind where the present one begins.
    fn find_end(&mut self, from: usize) -> io::Result<Found> {
        let mut looked = from;
        loop {
            let unseen = &self.buffer[self.at + looked..self.end];
            if let Some(place) = self.terminator.and_then(|end| memchr(end, unseen)) {
                return Ok(self.found(looked + place));
            }
            if self.terminator.is_none() && self.know_terminator(looked) {
                continue;
            }
            // CR and LF do not count: whether a CR at the end is part of the line is not known yet.
            let known = self.end - self.at;
            if known >= self.line_bytes_max + 2 {
                return Ok(Found::TooLong);
            }
            if self.is_read_up {
                let is_over = known == from;
                let text = known;
                return Ok(if is_over { Found::Nothing } else { self.sized(text, known) });
            }
            // A CR whose next byte is not known is looked at again.
            looked = if self.terminator.is_some() { known } else { looked };
            self.fill()?;
        }
    }

    /// Finds out how lines end, if the bytes there tell.
    fn know_terminator(&mut self, looked: usize) -> bool {
        let unseen = &self.buffer[self.at + looked..self.end];
        let Some(place) = memchr2(b'\n', b'\r', unseen) else { return false };
        self.terminator = match (unseen[place], unseen.get(place + 1)) {
            (b'\n', _) | (_, Some(b'\n')) => Some(b'\n'),
            (_, None) if !self.is_read_up => None,
            _ => Some(b'\r'),
        };
        self.terminator.is_some()
    }

    fn found(&self, place: usize) -> Found {
        let is_crlf =
            self.terminator == Some(b'\n') && place > 0 && self.buffer[self.at + place - 1] == b'\r';
        self.sized(place - usize::from(is_crlf), place + 1)
    }

    const fn sized(&self, text: usize, next: usize) -> Found {
        let line = Extent { mark: 0, text, next, lines: 1 };
        if text > self.line_bytes_max { Found::TooLong } else { Found::Line(line) }
    }

    /// Goes to the end of a line that is too long, and keeps nothing of it.
    fn pass_over(&mut self) -> io::Result<()> {
        loop {
            if self.terminator.is_none() {
                self.know_terminator(0);
            }
            let unseen = &self.buffer[self.at..self.end];
            let place = self.terminator.and_then(|end| memchr(end, unseen));
            if let Some(place) = place {
                self.line = Extent { mark: 0, text: 0, next: place + 1, lines: 1 };
                return Ok(());
            }
            // While it is not known how lines end, a CR may be the last byte: its next one tells.
            let kept = usize::from(self.terminator.is_none() && unseen.last() == Some(&b'\r'));
            if self.is_read_up {
                self.line = Extent { mark: 0, text: 0, next: self.end - self.at, lines: 1 };
                return Ok(());
            }
            self.at = self.end - kept;
            self.fill()?;
        }
    }

    /// Reads on, at least one byte unless there is none, and makes room for that if need be.
    fn fill(&mut self) -> io::Result<()> {
        if self.end == self.buffer.len() {
            self.buffer.copy_within(self.at..self.end, 0);
            self.base += self.at as u64;
            self.end -= self.at;
            self.at = 0;
        }
        let read = loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        self.is_read_up = read == 0;
        self.end += read;
        Ok(())
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
        std::str::from_utf8(self.bytes()).map_err(|error| Cause::NotUtf8(error.valid_up_to() + 1))
    }

    fn bytes(&self) -> &[u8] {
        &self.buffer[self.range()]
    }

    const fn range(&self) -> Range<usize> {
        self.at + self.line.mark..self.at + self.line.text
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.line.text == self.line.mark && !self.is_too_long
    }

    pub(crate) const fn number(&self) -> u64 {
        self.number
    }

    pub(crate) const fn byte(&self) -> u64 {
        self.byte
    }

    /// Bytes up to the end of the line being looked at.
    pub(crate) const fn bytes_read(&self) -> u64 {
        self.base + (self.at + self.line.next) as u64
    }
}

enum Found {
    Line(Extent),
    TooLong,
    Nothing,
}

#[cfg(test)]
pub(crate) mod tests;

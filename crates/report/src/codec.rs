//! The bytes of records and progress: LEB128 numbers and length-prefixed byte strings, read with every bound checked.

use crate::error::Error;

/// Appends to a buffer.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(crate) fn number(&mut self, number: u64) {
        let mut rest = number;
        while rest >= 0x80 {
            self.bytes.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        self.bytes.push(rest as u8);
    }

    /// Zero for none, else the number plus one. `u64::MAX` is written as `u64::MAX - 1`.
    pub(crate) fn maybe(&mut self, number: Option<u64>) {
        self.number(number.map_or(0, |number| number.min(u64::MAX - 1) + 1));
    }

    pub(crate) fn text(&mut self, text: &[u8]) {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text);
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }
}

/// Reads what a [`Writer`] wrote.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, bytes, at: 0 }
    }

    /// Reads the two bytes at the head of everything stored: what it is, and its version.
    pub(crate) fn head(&mut self, kind: u8, known: u8) -> Result<(), Error> {
        if self.byte()? != kind {
            return Err(Error::Damaged { what: self.what, at: 0 });
        }
        let found = self.byte()?;
        if found != known {
            return Err(Error::Version { what: self.what, found, known });
        }
        Ok(())
    }

    pub(crate) const fn damaged(&self) -> Error {
        Error::Damaged { what: self.what, at: self.at }
    }

    pub(crate) const fn is_at_end(&self) -> bool {
        self.at >= self.bytes.len()
    }

    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.is_at_end() { Ok(()) } else { Err(self.damaged()) }
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Error> {
        let byte = *self.bytes.get(self.at).ok_or(self.damaged())?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Error> {
        let mut number: u64 = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(self.damaged())
    }

    pub(crate) fn number_u32(&mut self) -> Result<u32, Error> {
        let number = self.number()?;
        u32::try_from(number).map_err(|_| self.damaged())
    }

    pub(crate) fn maybe(&mut self) -> Result<Option<u64>, Error> {
        Ok(self.number()?.checked_sub(1))
    }

    pub(crate) fn raw(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let end = self.at.checked_add(length).ok_or(self.damaged())?;
        let bytes = self.bytes.get(self.at..end).ok_or(self.damaged())?;
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn text(&mut self) -> Result<&'a [u8], Error> {
        let length = self.number()?;
        let length = usize::try_from(length).map_err(|_| self.damaged())?;
        self.raw(length)
    }

    pub(crate) fn string(&mut self) -> Result<String, Error> {
        let text = self.text()?;
        String::from_utf8(text.to_vec()).map_err(|_| self.damaged())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(number in any::<u64>(), maybe in proptest::option::of(0..u64::MAX - 1)) {
            let mut writer = Writer::default();
            writer.number(number);
            writer.maybe(maybe);
            writer.text(b"end");
            let mut reader = Reader::new("test", &writer.bytes);
            prop_assert_eq!(reader.number(), Ok(number));
            prop_assert_eq!(reader.maybe(), Ok(maybe));
            prop_assert_eq!(reader.text(), Ok(&b"end"[..]));
            prop_assert!(reader.end().is_ok());
        }
    }

    #[test]
    fn numbers_beyond_64_bits_and_short_texts_are_refused() {
        assert!(Reader::new("test", &[0xff; 11]).number().is_err());
        assert!(Reader::new("test", &[0x80; 3]).number().is_err());
        assert!(Reader::new("test", &[5, b'a']).text().is_err());
    }
}

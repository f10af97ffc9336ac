//! The fields of one record of CSV (RFC 4180).

use std::borrow::Cow;

use memchr::memchr;

use crate::cause::Cause;

/// The fields of a record, from left to right.
pub(crate) struct Fields<'a> {
    rest: Option<&'a str>,
    /// Most lines have no quote: one look at the whole line is cheaper than one at each field.
    has_quotes: bool,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(line: &'a str) -> Self {
        Self { rest: Some(line), has_quotes: memchr(b'"', line.as_bytes()).is_some() }
    }

    fn quoted(&mut self, text: &'a str) -> Result<Cow<'a, str>, Cause> {
        let mut doubled = String::new();
        let mut rest = text;
        loop {
            let end = rest.find('"').ok_or(Cause::OpenQuote)?;
            let (part, after) = (&rest[..end], &rest[end + 1..]);
            if let Some(after) = after.strip_prefix('"') {
                doubled.push_str(part);
                doubled.push('"');
                rest = after;
                continue;
            }
            self.rest = match after.strip_prefix(',') {
                Some(after) => Some(after),
                None if after.is_empty() => None,
                None => return Err(Cause::StrayQuote),
            };
            if doubled.is_empty() {
                return Ok(Cow::Borrowed(part));
            }
            doubled.push_str(part);
            return Ok(Cow::Owned(doubled));
        }
    }

    fn plain(&mut self, text: &'a str) -> Result<Cow<'a, str>, Cause> {
        let (field, rest) = match memchr(b',', text.as_bytes()) {
            Some(comma) => (&text[..comma], Some(&text[comma + 1..])),
            None => (text, None),
        };
        self.rest = rest;
        if self.has_quotes && field.contains('"') { Err(Cause::StrayQuote) } else { Ok(Cow::Borrowed(field)) }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Cow<'a, str>, Cause>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?;
        Some(match text.strip_prefix('"').filter(|_| self.has_quotes) {
            Some(text) => self.quoted(text),
            None => self.plain(text),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Result<Vec<String>, Cause> {
        Fields::new(line).map(|field| field.map(Cow::into_owned)).collect()
    }

    proptest! {
        #[test]
        fn what_another_writer_wrote_is_read(fields in proptest::collection::vec("[a-c\", ü]{0,6}", 1..6)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(read(line.trim_end_matches('\n')), Ok(fields));
        }

        #[test]
        fn rubbish_is_an_error_and_never_a_panic(line in "[a\",]{0,12}") {
            let _ = read(&line);
        }
    }

    #[test]
    fn faults_of_quoting_are_told_apart() {
        assert_eq!(read("\"a,b"), Err(Cause::OpenQuote));
        assert_eq!(read("\"a\"b,c"), Err(Cause::StrayQuote));
        assert_eq!(read("a\"b\""), Err(Cause::StrayQuote));
        assert_eq!(read("a,,\"\""), Ok(vec!["a".into(), String::new(), String::new()]));
    }
}

//! One line of NDJSON: an object whose values are texts.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use crate::cause::Cause;
use crate::columns::Column;
use crate::taking::Texts;

/// The texts of the object in `line`, into `texts`.
pub(crate) fn read<'a>(line: &'a str, texts: &mut Texts<'a>) -> Result<(), Cause> {
    if !line.trim_start().starts_with('{') {
        return Err(Cause::NotAnObject);
    }
    let (mut fault, mut not_text) = (None, None);
    let mut reader = serde_json::Deserializer::from_str(line);
    let read = reader.deserialize_map(Object { texts, fault: &mut fault, not_text: &mut not_text });
    let read = read.and_then(|()| reader.end());
    read.map_err(|error| match (fault, cause(&error), not_text) {
        (Some(fault), ..) => fault,
        (None, Cause::Field(byte), Some(name)) => Cause::NotText(name, byte),
        (None, cause, _) => cause,
    })
}

/// What an error of the JSON reader says of a line. Its own message would repeat the value.
pub(crate) fn cause(error: &serde_json::Error) -> Cause {
    match error.classify() {
        Category::Data => Cause::Field(error.column()),
        _ => Cause::NotJson(error.column()),
    }
}

struct Object<'b, 'de> {
    texts: &'b mut Texts<'de>,
    /// Set when a field is wrong of which more can be said than where it stands.
    fault: &'b mut Option<Cause>,
    /// The name of a field whose value could not be read.
    not_text: &'b mut Option<&'static str>,
}

impl<'de> Visitor<'de> for Object<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Text(name)) = map.next_key()? {
            let Some(column) = Column::ALL.into_iter().find(|column| column.name() == name) else {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("an unknown field"));
            };
            let value = map.next_value().inspect_err(|_| *self.not_text = Some(column.name()))?;
            // No value is as good as no field.
            let Some(Text(value)) = value else { continue };
            if self.texts[column as usize].replace(value).is_some() {
                *self.fault = Some(Cause::Twice(column.name()));
                return Err(A::Error::custom("a field stands twice"));
            }
        }
        Ok(())
    }
}

/// A text, borrowed from the line where it has no escapes.
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Text<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(line: &str) -> Result<Texts<'_>, Cause> {
        let mut texts = Texts::default();
        super::read(line, &mut texts).map(|()| texts)
    }

    #[test]
    fn an_object_of_texts_is_read_and_escapes_are_resolved() {
        let texts = read(r#" {"key":"a","user":"\u00fc\n"} "#).unwrap();
        assert_eq!(texts[Column::User as usize].as_deref(), Some("ü\n"));
        assert_eq!(texts[Column::Key as usize].as_deref(), Some("a"));
    }

    #[test]
    fn faults_are_told_apart_and_show_no_value() {
        assert_eq!(read("[\"u\"]"), Err(Cause::NotAnObject));
        assert_eq!(read("\"secret\""), Err(Cause::NotAnObject));
        assert_eq!(read("{\"user\":\"u\""), Err(Cause::NotJson(11)));
        assert_eq!(read("{\"user\":\"u\"} {"), Err(Cause::NotJson(14)));
        assert_eq!(read("{\"user\":7}"), Err(Cause::NotText("user", 9)));
        assert_eq!(read("{\"user\":tru"), Err(Cause::NotJson(11)));
        assert_eq!(read("{\"usr\":\"secret\"}"), Err(Cause::Field(16)));
        assert_eq!(read("{\"user\":\"a\",\"user\":\"b\"}"), Err(Cause::Twice("user")));
    }

    #[test]
    fn null_is_no_value() {
        let texts = read("{\"key\":null,\"user\":\"u\"}").unwrap();
        assert_eq!((texts[Column::Key as usize].as_deref(), texts[0].as_deref()), (None, Some("u")));
    }

    proptest! {
        #[test]
        fn rubbish_is_an_error_and_never_a_panic(line in "[{}\"a:,\\\\u0]{0,20}") {
            let _ = read(&line);
        }
    }
}

//! One line of NDJSON: an object whose values are texts.

use std::borrow::Cow;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;

use crate::cause::Cause;
use crate::columns::Column;
use crate::rows::Texts;

/// The texts of the object in `line`.
pub(crate) fn read(line: &str) -> Result<Texts<'_>, Cause> {
    if !line.trim_start().starts_with('{') {
        return Err(Cause::NotAnObject);
    }
    let mut twice = None;
    let mut reader = serde_json::Deserializer::from_str(line);
    let read = reader.deserialize_map(Object { twice: &mut twice });
    let read = read.and_then(|texts| reader.end().map(|()| texts));
    read.map_err(|error| match (twice, error.classify()) {
        (Some(name), _) => Cause::Twice(name),
        // The message would repeat the value.
        (None, Category::Data) => Cause::Field(error.column()),
        (None, _) => Cause::NotJson(error.column()),
    })
}

struct Object<'b> {
    /// Set when a field stands twice.
    twice: &'b mut Option<&'static str>,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<'de>, A::Error> {
        let mut texts = Texts::default();
        while let Some(Text(name)) = map.next_key()? {
            let Some(column) = Column::ALL.into_iter().find(|column| column.name() == name) else {
                map.next_value::<IgnoredAny>()?;
                return Err(A::Error::custom("an unknown field"));
            };
            let Text(value) = map.next_value()?;
            if texts[column as usize].replace(value).is_some() {
                *self.twice = Some(column.name());
                return Err(A::Error::custom("a field stands twice"));
            }
        }
        Ok(texts)
    }
}

/// A text, borrowed from the line where it has no escapes.
struct Text<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Text<'de> {
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
        assert_eq!(read("{\"user\":7}"), Err(Cause::Field(9)));
        assert_eq!(read("{\"usr\":\"secret\"}"), Err(Cause::Field(16)));
        assert_eq!(read("{\"user\":\"a\",\"user\":\"b\"}"), Err(Cause::Twice("user")));
        assert_eq!(read("{\"key\":null}"), Err(Cause::Field(11)));
    }

    proptest! {
        #[test]
        fn rubbish_is_an_error_and_never_a_panic(line in "[{}\"a:,\\\\u0]{0,20}") {
            let _ = read(&line);
        }
    }
}

//! Reads JSON and tells what a lenient reader would swallow: keys that stand twice in an object.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::arrived::short;

/// A value, and the keys that occurred twice in an object.
pub(super) struct Strict {
    pub(super) value: Value,
    pub(super) twice: Vec<String>,
}

/// Reads `bytes`; `None` when they are no JSON.
pub(super) fn read(bytes: &[u8]) -> Option<Strict> {
    let twice = RefCell::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Reader(&twice).deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(Strict { value, twice: twice.into_inner() })
}

#[derive(Clone, Copy)]
struct Reader<'a>(&'a RefCell<Vec<String>>);

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let value = entries.next_value_seed(self)?;
            if all.contains_key(&key) {
                self.0.borrow_mut().push(short(&key));
            }
            all.insert(key, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_key_that_stands_twice_is_named_wherever_it_is() {
        let strict = read(br#"{"a":[{"b":1,"b":2.5}],"a":null,"c":"\u00e9"}"#).unwrap();
        assert_eq!(strict.twice, ["b", "a"]);
        assert_eq!(strict.value, json!({"a": null, "c": "é"}));
        assert_eq!(read(br#"{"a":{"a":1},"b":{"a":-1}}"#).unwrap().twice, Vec::<String>::new());
    }

    #[test]
    fn what_is_no_json_is_none() {
        for bytes in [&b""[..], b"{", b"{}x", b"{\"a\":1,}", b"\"\xff\""] {
            assert!(read(bytes).is_none(), "{bytes:?}");
        }
    }
}

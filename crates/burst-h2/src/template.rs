//! What a family of requests has in common: header fields that cost a byte each once sent, the constant parts of the
//! body, and the places that each request fills.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::request::Values;

/// One header field of a [`Template`]. Names are lower-case; pseudo headers stand before all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    /// The same value in each request. It enters the peer's dynamic table, so from the second request of a
    /// connection on it takes one or two bytes.
    Constant {
        /// Lower-case name, or `:method`, `:scheme`, `:authority`, `:path`.
        name: Box<str>,
        /// The value as it goes out.
        value: Box<[u8]>,
    },
    /// A value per request, given by its [`Values`](crate::Values) in the order of these fields. It never enters a table.
    Varying {
        /// Lower-case name, or a pseudo header.
        name: Box<str>,
    },
}

impl Field {
    /// A constant field.
    pub fn constant(name: &str, value: impl AsRef<[u8]>) -> Field {
        Field::Constant { name: name.into(), value: value.as_ref().into() }
    }

    /// A field whose value each request gives.
    pub fn varying(name: &str) -> Field {
        Field::Varying { name: name.into() }
    }

    /// The field's name.
    pub fn name(&self) -> &str {
        match self {
            Field::Constant { name, .. } | Field::Varying { name } => name,
        }
    }
}

/// A part of the body of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// The same in each request.
    Constant(Box<[u8]>),
    /// Given by each request's [`Values`](crate::Values), behind those of the fields.
    Varying,
}

impl Part {
    /// A constant part.
    pub fn constant(bytes: impl AsRef<[u8]>) -> Part {
        Part::Constant(bytes.as_ref().into())
    }
}

/// Why fields do not make a [`Template`] (RFC 9113, section 8.2 and 8.3).
#[derive(Debug, PartialEq, Eq)]
pub struct TemplateError {
    name: Box<str>,
    what: &'static str,
}

impl std::fmt::Display for TemplateError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "header field {:?} {}", self.name, self.what)
    }
}

impl std::error::Error for TemplateError {}

/// What a family of requests has in common. Cheap to clone; make it once per family, and a new one when a constant
/// changes.
#[derive(Clone, Debug)]
pub struct Template(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    fields: Box<[Field]>,
    body: Box<[Part]>,
    varying_fields: usize,
    varying_parts: usize,
    body_constant_bytes: usize,
}

impl Template {
    /// Requests with these fields and no body.
    ///
    /// # Errors
    /// A name that is empty, upper-case, hop-by-hop or a repeated or unknown pseudo header; a pseudo header behind
    /// an ordinary one; `:method`, `:scheme` or `:path` missing; a value with NUL, CR or LF or with space around it.
    pub fn new(fields: Vec<Field>) -> Result<Template, TemplateError> {
        Template::with_body(fields, Vec::new())
    }

    /// Requests with these fields and a body of these parts, sent one behind the other.
    ///
    /// # Errors
    /// As those of [`Template::new`].
    pub fn with_body(fields: Vec<Field>, body: Vec<Part>) -> Result<Template, TemplateError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        check(&fields)?;
        let constant_bytes = |part: &Part| if let Part::Constant(bytes) = part { bytes.len() } else { 0 };
        Ok(Template(Arc::new(Inner {
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            varying_fields: fields.iter().filter(|f| matches!(f, Field::Varying { .. })).count(),
            varying_parts: body.iter().filter(|part| matches!(part, Part::Varying)).count(),
            body_constant_bytes: body.iter().map(constant_bytes).sum(),
            fields: fields.into(),
            body: body.into(),
        })))
    }

    /// Unique in this process.
    #[inline]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// The fields in the order of sending.
    pub fn fields(&self) -> &[Field] {
        &self.0.fields
    }

    /// The parts of the body in the order of sending.
    pub fn body(&self) -> &[Part] {
        &self.0.body
    }

    /// How many values each request must give: one for each varying field, then one for each varying part of the body.
    #[inline]
    pub fn varying_count(&self) -> usize {
        self.0.varying_fields + self.0.varying_parts
    }

    /// Bytes of the body of a request with these values.
    #[inline]
    pub(crate) fn body_bytes(&self, values: &(impl Values + ?Sized)) -> usize {
        let places = self.0.varying_fields..self.varying_count();
        self.0.body_constant_bytes + places.map(|place| values.bytes(place)).sum::<usize>()
    }

    /// Writes the body of a request with these values.
    pub(crate) fn put_body(&self, values: &(impl Values + ?Sized), out: &mut Vec<u8>) {
        let mut place = self.0.varying_fields;
        for part in self.body() {
            match part {
                Part::Constant(bytes) => out.extend_from_slice(bytes),
                Part::Varying => {
                    put_value(values, place, out);
                    place += 1;
                }
            }
        }
    }
}

/// Appends the value of a place.
pub(crate) fn put_value(values: &(impl Values + ?Sized), place: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + values.bytes(place), 0);
    values.put(place, &mut out[start..]);
}

fn check(fields: &[Field]) -> Result<(), TemplateError> {
    let mut is_pseudo_over = false;
    for (position, field) in fields.iter().enumerate() {
        let refuse = |what| Err(TemplateError { name: field.name().into(), what });
        if let Some(pseudo) = field.name().strip_prefix(':') {
            if !matches!(pseudo, "method" | "scheme" | "authority" | "path") {
                return refuse("is no pseudo header of a request");
            }
            if is_pseudo_over {
                return refuse("is a pseudo header behind an ordinary one");
            }
            if fields[..position].iter().any(|f| f.name() == field.name()) {
                return refuse("stands twice");
            }
        } else {
            is_pseudo_over = true;
            if let Some(what) = name_fault(field.name()) {
                return refuse(what);
            }
        }
        if let Field::Constant { value, .. } = field
            && let Some(what) = value_fault(value)
        {
            return refuse(what);
        }
    }
    for required in [":method", ":scheme", ":path"] {
        if !fields.iter().any(|f| f.name() == required) {
            return Err(TemplateError { name: required.into(), what: "is missing" });
        }
    }
    Ok(())
}

fn name_fault(name: &str) -> Option<&'static str> {
    const HOP_BY_HOP: [&str; 6] =
        ["connection", "host", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];
    let is_token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() {
        Some("is empty")
    } else if !name.bytes().all(is_token) {
        Some("is no lower-case name")
    } else if HOP_BY_HOP.contains(&name) {
        Some("belongs to http/1.1")
    } else {
        None
    }
}

fn value_fault(value: &[u8]) -> Option<&'static str> {
    let is_space = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
    if value.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
        Some("has a value with NUL, CR or LF")
    } else if is_space(value.first()) || is_space(value.last()) {
        Some("has a value with space around it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(field: Field) -> Result<Template, TemplateError> {
        let mut fields = vec![
            Field::constant(":method", "POST"),
            Field::constant(":scheme", "https"),
            Field::varying(":path"),
        ];
        fields.push(field);
        Template::new(fields)
    }

    #[test]
    fn templates_have_ids_of_their_own_and_clones_share_them() {
        let one = with(Field::constant("apns-topic", "a.b")).unwrap();
        let two = with(Field::constant("apns-topic", "a.b")).unwrap();
        assert_ne!(one.id(), two.id());
        assert_eq!(one.id(), one.clone().id());
        assert_eq!(one.varying_count(), 1);
    }

    #[test]
    fn fields_that_rfc_9113_forbids_are_refused() {
        for name in ["", "Upper", "a b", "connection", "transfer-encoding", ":status", ":path"] {
            assert!(with(Field::constant(name, "x")).is_err(), "{name:?}");
        }
        for value in ["a\nb", " a", "a ", "a\0"] {
            assert!(with(Field::constant("x", value)).is_err(), "{value:?}");
        }
        let late = vec![Field::constant("x", "y"), Field::constant(":method", "POST")];
        assert!(Template::new(late).unwrap_err().to_string().contains("behind an ordinary one"));
        let missing = vec![Field::constant(":method", "POST"), Field::constant(":scheme", "https")];
        assert_eq!(Template::new(missing).unwrap_err().to_string(), "header field \":path\" is missing");
    }
}

//! Headers of a family of requests: constants that cost a byte each once sent, and fields whose value each request gives.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
    /// A value per request, given by [`Request::varying`](crate::Request::varying) in the order of these fields.
    /// It never enters a table.
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

/// Headers of a family of requests. Cheap to clone; make it once per family, and a new one when a constant changes.
#[derive(Clone, Debug)]
pub struct Template(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    id: u64,
    fields: Box<[Field]>,
    varying_count: usize,
}

impl Template {
    /// Checks and keeps the fields.
    ///
    /// # Errors
    /// A name that is empty, upper-case, hop-by-hop or a repeated or unknown pseudo header; a pseudo header behind
    /// an ordinary one; `:method`, `:scheme` or `:path` missing; a value with NUL, CR or LF or with space around it.
    pub fn new(fields: Vec<Field>) -> Result<Template, TemplateError> {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        check(&fields)?;
        let varying_count = fields.iter().filter(|f| matches!(f, Field::Varying { .. })).count();
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Ok(Template(Arc::new(Inner { id, fields: fields.into(), varying_count })))
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

    /// How many values each request must give.
    #[inline]
    pub fn varying_count(&self) -> usize {
        self.0.varying_count
    }
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

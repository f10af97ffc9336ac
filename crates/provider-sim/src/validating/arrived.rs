//! A request as it arrived, and what both providers ask of its fields.

use http::{HeaderMap, Method};
use model::Reason;

use super::finding::Finding;

/// The longest body that is kept: more than any message of either provider may have.
pub(crate) const BODY_BYTES_KEPT: usize = 64 << 10;
/// Every HTTP/2 request of a client that has a server to speak to carries it (RFC 9113, 8.3.1).
const HOST: &str = "host";

/// A request, all of it.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) method: Method,
    pub(crate) scheme: String,
    pub(crate) authority: String,
    /// With its query, if it has one.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    /// At most [`BODY_BYTES_KEPT`].
    pub(crate) body: Vec<u8>,
    /// All bytes of the body, kept or not.
    pub(crate) body_bytes: usize,
    pub(crate) has_trailers: bool,
}

impl Arrived {
    /// Its front, before the body has come.
    pub(crate) fn front(parts: http::request::Parts) -> Self {
        let text = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Self {
            scheme: text(parts.uri.scheme_str()),
            authority: text(parts.uri.authority().map(http::uri::Authority::as_str)),
            path: text(parts.uri.path_and_query().map(http::uri::PathAndQuery::as_str)),
            method: parts.method,
            headers: parts.headers,
            body: Vec::new(),
            body_bytes: 0,
            has_trailers: false,
        }
    }

    /// Takes a part of the body.
    pub(crate) fn extend(&mut self, data: &[u8]) {
        self.body_bytes += data.len();
        let room = BODY_BYTES_KEPT - self.body.len();
        self.body.extend_from_slice(&data[..data.len().min(room)]);
    }

    /// The value of a field; an empty text when it is not visible ASCII.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap_or_default())
    }

    /// The token behind `bearer`, whose letters' case does not matter (RFC 9110, 11.1). `None` when there is no
    /// authorization at all, an error when it is of another kind.
    pub(crate) fn bearer(&self) -> Option<Result<&str, ()>> {
        let (scheme, token) = self.field("authorization")?.split_once(' ').unwrap_or_default();
        // RFC 6750, 2.1.
        let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
        let fits = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.bytes().all(is_fine);
        Some(if fits { Ok(token) } else { Err(()) })
    }

    /// What is wrong with it as an HTTP/2 request, beyond what the library refuses itself. `duplicate` is what the
    /// provider answers to a field that may stand only once.
    pub(crate) fn check(&self, duplicate: Option<Reason>, findings: &mut Vec<Finding>) {
        if self.scheme != "https" {
            findings.push(Finding::passed("the scheme is not https"));
        }
        match (self.authority.as_str(), self.field(HOST)) {
            ("", None) => findings.push(Finding::passed("neither :authority nor host")),
            ("", Some(_)) => findings.push(Finding::passed("host instead of :authority")),
            (authority, Some(host)) if authority != host => {
                findings.push(Finding::passed("host differs from :authority"));
            }
            _ => {}
        }
        for name in self.headers.keys().filter(|name| self.headers.get_all(*name).iter().count() > 1) {
            let finding = match duplicate {
                Some(reason) => Finding::refused(reason, "a header field stands twice"),
                None => Finding::passed("a header field stands twice"),
            };
            findings.push(finding.at(short(name.as_str())));
        }
        if self.headers.iter().any(|(name, value)| name != "authorization" && value.to_str().is_err()) {
            findings.push(Finding::passed("a header value is not visible ASCII"));
        }
        let length = self.field("content-length").map(str::parse::<usize>);
        if length.is_some_and(|length| length != Ok(self.body_bytes)) {
            findings.push(Finding::passed("content-length is not the body's"));
        }
        if self.has_trailers {
            findings.push(Finding::passed("trailers"));
        }
    }
}

/// A name that somebody else chose, as far as an example shows it.
pub(crate) fn short(text: &str) -> String {
    text.chars().take(60).collect()
}

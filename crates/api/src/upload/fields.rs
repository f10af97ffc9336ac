//! The header fields of resumable uploads (draft-ietf-httpbis-resumable-upload): structured fields (RFC 9651), of which
//! anything unexpected counts as absent.

use axum::body::{Body, HttpBody as _};
use http::{HeaderMap, HeaderName, HeaderValue};

pub(crate) const COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
pub(crate) const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(crate) const LENGTH: HeaderName = HeaderName::from_static("upload-length");
/// RFC 5789.
pub(crate) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
pub(crate) const LIMIT: HeaderName = HeaderName::from_static("upload-limit");

/// The media type of a part.
pub(crate) const PARTIAL: &str = "application/partial-upload";

/// The most digits of an integer of RFC 9651.
const DIGITS_MAX: usize = 15;

/// Whether a request completes its upload; `None`: it is no resumable upload.
pub(crate) fn complete(headers: &HeaderMap) -> Option<bool> {
    match item(headers, &COMPLETE)? {
        "?1" => Some(true),
        "?0" => Some(false),
        _ => None,
    }
}

/// Where the content of a request begins.
pub(crate) fn offset(headers: &HeaderMap) -> Option<u64> {
    integer(headers, &OFFSET)
}

/// The bytes of the whole, as `Upload-Length` says them.
pub(crate) fn length(headers: &HeaderMap) -> Option<u64> {
    integer(headers, &LENGTH)
}

/// The bytes of a request's content, where they are known before they come.
pub(crate) fn content_length(body: &Body) -> Option<u64> {
    body.size_hint().exact()
}

fn integer(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let digits = item(headers, name)?;
    let is_integer =
        (1..=DIGITS_MAX).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_integer { digits.parse().ok() } else { None }
}

/// The bare item of a field that stands there once; parameters are passed over.
fn item<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()?.split(';').next().map(str::trim)
}

/// `?1` or `?0`.
pub(crate) const fn boolean(value: bool) -> HeaderValue {
    HeaderValue::from_static(if value { "?1" } else { "?0" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|&(name, value)| (name.clone(), value.parse().unwrap())).collect()
    }

    #[test]
    fn items_are_read_with_their_parameters_passed_over() {
        let read = headers(&[(&COMPLETE, " ?0;a=1"), (&OFFSET, "25000000"), (&LENGTH, "0")]);
        assert_eq!((complete(&read), offset(&read), length(&read)), (Some(false), Some(25_000_000), Some(0)));
    }

    #[test]
    fn what_is_no_item_of_the_right_kind_counts_as_absent() {
        for value in ["", "1", "true", "?2", "??1"] {
            assert_eq!(complete(&headers(&[(&COMPLETE, value)])), None, "{value:?}");
        }
        for value in ["", "-1", "1.0", "+7", "\"7\"", "1234567890123456", "7, 8"] {
            assert_eq!(offset(&headers(&[(&OFFSET, value)])), None, "{value:?}");
        }
        let mut twice = headers(&[(&OFFSET, "7")]);
        twice.append(OFFSET, HeaderValue::from_static("7"));
        assert_eq!(offset(&twice), None);
    }
}

//! Which names and values a field of an answer may have (RFC 9113, section 8.2).

/// A byte of a lower-case field name. A colon begins pseudo headers only, so it is none.
#[inline]
pub(crate) fn is_name_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x39 | 0x3b..=0x40 | 0x5b..=0x7e)
}

/// Whether a field may have this name, pseudo headers apart.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().copied().all(is_name_byte) && !is_of_http_1(name)
}

/// Whether the field belongs to a connection of HTTP/1.1, which makes a message of HTTP/2 malformed.
#[inline]
pub(crate) fn is_of_http_1(name: &[u8]) -> bool {
    match name.len() {
        7 => name == b"upgrade",
        10 => name == b"connection" || name == b"keep-alive",
        16 => name == b"proxy-connection",
        NAME_OF_HTTP_1_BYTES_MAX => name == b"transfer-encoding",
        _ => false,
    }
}

/// The longest of these names.
pub(crate) const NAME_OF_HTTP_1_BYTES_MAX: usize = 17;

/// Whether a field may have this value.
pub(crate) fn is_value(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let is_edged = is_space(value.first()) || is_space(value.last());
    !is_edged && !value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_visible_lower_case_and_not_of_http_1() {
        for name in ["apns-id", "x!#$%&'*+-.^_`|~9", "te"] {
            assert!(is_name(name.as_bytes()), "{name}");
        }
        for name in ["", "A", "a b", "a\x7f", "a\u{e4}", ":status", "a:b", "connection", "transfer-encoding"]
        {
            assert!(!is_name(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn values_have_no_line_ends_and_no_space_around_them() {
        for (value, is_fine) in
            [("", true), ("a b", true), ("\u{e4}", true), (" a", false), ("a\t", false), ("a\nb", false)]
        {
            assert_eq!(is_value(value.as_bytes()), is_fine, "{value:?}");
        }
    }
}

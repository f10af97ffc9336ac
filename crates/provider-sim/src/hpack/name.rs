//! The header names that a provider looks at, as numbers, so that a request is read without comparing texts.

/// A known header name. `Other` is ignored, `Malformed` makes the request malformed (RFC 9113, 8.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Name {
    Method,
    Path,
    Scheme,
    Authority,
    Authorization,
    ApnsId,
    ApnsTopic,
    ApnsCollapseId,
    ApnsExpiration,
    ApnsPriority,
    ApnsPushType,
    Other,
    Malformed,
}

impl Name {
    /// Which name `text` is.
    pub(crate) fn of(text: &[u8]) -> Name {
        match text {
            b":method" => Name::Method,
            b":path" => Name::Path,
            b":scheme" => Name::Scheme,
            b":authority" => Name::Authority,
            b"authorization" => Name::Authorization,
            b"apns-id" => Name::ApnsId,
            b"apns-topic" => Name::ApnsTopic,
            b"apns-collapse-id" => Name::ApnsCollapseId,
            b"apns-expiration" => Name::ApnsExpiration,
            b"apns-priority" => Name::ApnsPriority,
            b"apns-push-type" => Name::ApnsPushType,
            _ if is_regular(text) => Name::Other,
            _ => Name::Malformed,
        }
    }

    /// Its bit in a set of names.
    pub(crate) const fn bit(self) -> u16 {
        1 << self as u8
    }
}

fn is_regular(text: &[u8]) -> bool {
    let is_fine = |byte: &u8| matches!(byte, b'!'..=b'9' | b';'..=b'@' | b'['..=b'~');
    let is_connection_specific = matches!(
        text,
        b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade"
    );
    !text.is_empty() && text.iter().all(is_fine) && !is_connection_specific
}

//! The static table of RFC 7541, appendix A, and the dynamic table of a decoder.

use std::collections::VecDeque;

use crate::field;

pub(crate) const STATIC_COUNT: usize = 61;
/// What an entry costs beyond its bytes (RFC 7541, section 4.1).
pub(crate) const ENTRY_OVERHEAD: usize = 32;

/// Index 1 stands first.
pub(crate) static STATIC: [(&str, &str); STATIC_COUNT] = [
    (":authority", ""),
    (":method", "GET"),
    (":method", "POST"),
    (":path", "/"),
    (":path", "/index.html"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "200"),
    (":status", "204"),
    (":status", "206"),
    (":status", "304"),
    (":status", "400"),
    (":status", "404"),
    (":status", "500"),
    ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"),
    ("accept-language", ""),
    ("accept-ranges", ""),
    ("accept", ""),
    ("access-control-allow-origin", ""),
    ("age", ""),
    ("allow", ""),
    ("authorization", ""),
    ("cache-control", ""),
    ("content-disposition", ""),
    ("content-encoding", ""),
    ("content-language", ""),
    ("content-length", ""),
    ("content-location", ""),
    ("content-range", ""),
    ("content-type", ""),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("expect", ""),
    ("expires", ""),
    ("from", ""),
    ("host", ""),
    ("if-match", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("if-range", ""),
    ("if-unmodified-since", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("max-forwards", ""),
    ("proxy-authenticate", ""),
    ("proxy-authorization", ""),
    ("range", ""),
    ("referer", ""),
    ("refresh", ""),
    ("retry-after", ""),
    ("server", ""),
    ("set-cookie", ""),
    ("strict-transport-security", ""),
    ("transfer-encoding", ""),
    ("user-agent", ""),
    ("vary", ""),
    ("via", ""),
    ("www-authenticate", ""),
];

pub(crate) fn static_index(name: &[u8], value: &[u8]) -> Option<usize> {
    STATIC.iter().position(|(n, v)| n.as_bytes() == name && v.as_bytes() == value).map(|i| i + 1)
}

pub(crate) fn static_name_index(name: &[u8]) -> Option<usize> {
    STATIC.iter().position(|(n, _)| n.as_bytes() == name).map(|i| i + 1)
}

struct Entry {
    name: Box<[u8]>,
    value: Box<[u8]>,
    /// Whether an answer may have such a field behind its status.
    is_ordinary: bool,
}

/// The pseudo headers stand first in the static table, and one field of it is of HTTP/1.1.
const PSEUDO_MAX: usize = 14;
const TRANSFER_ENCODING: usize = 57;

/// Entries as the peer's encoder put them in, newest first.
#[derive(Default)]
pub(crate) struct DynamicTable {
    entries: VecDeque<Entry>,
    bytes: usize,
    bytes_max: usize,
}

impl DynamicTable {
    pub(crate) fn new(bytes_max: usize) -> DynamicTable {
        DynamicTable { entries: VecDeque::new(), bytes: 0, bytes_max }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing can be in it.
    pub(crate) fn is_off(&self) -> bool {
        self.bytes_max == 0
    }

    /// By the index of a header block, which counts the static table first.
    pub(crate) fn get(&self, index: usize) -> Option<(&[u8], &[u8])> {
        if index == 0 {
            return None;
        }
        if let Some((name, value)) = STATIC.get(index - 1) {
            return Some((name.as_bytes(), value.as_bytes()));
        }
        self.entries.get(index - 1 - STATIC_COUNT).map(|entry| (&entry.name[..], &entry.value[..]))
    }

    /// Whether there is an entry of this index whose name may stand behind the status of an answer.
    #[inline]
    pub(crate) fn is_ordinary(&self, index: usize) -> bool {
        match index.checked_sub(1 + STATIC_COUNT) {
            None => index > PSEUDO_MAX && index != TRANSFER_ENCODING,
            Some(at) => self.entries.get(at).is_some_and(|entry| entry.is_ordinary),
        }
    }

    pub(crate) fn insert(&mut self, name: &[u8], value: &[u8]) {
        let bytes = name.len() + value.len() + ENTRY_OVERHEAD;
        if bytes > self.bytes_max {
            // Too large an entry empties the table and is not an error (section 4.4).
            self.evict_to(0);
            return;
        }
        // The name may lie in an entry that makes room: copy before evicting.
        let entry = Entry { name: name.into(), value: value.into(), is_ordinary: field::is_name(name) };
        self.evict_to(self.bytes_max - bytes);
        self.bytes += bytes;
        self.entries.push_front(entry);
    }

    pub(crate) fn resize(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.evict_to(bytes_max);
    }

    fn evict_to(&mut self, bytes: usize) {
        while self.bytes > bytes {
            let Some(entry) = self.entries.pop_back() else { break };
            self.bytes -= entry.name.len() + entry.value.len() + ENTRY_OVERHEAD;
        }
    }
}

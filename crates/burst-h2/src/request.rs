//! What goes into a connection and what comes out of it: requests and their ends.

use crate::{ErrorCode, Nanos, Template};

/// One request. Nothing in it is kept beyond the call that starts it, except body bytes that flow control holds back.
#[derive(Debug)]
pub struct Request<'a, V: ?Sized> {
    /// What it has in common with others.
    pub template: &'a Template,
    /// What it has not. The caller sees to it that values of header fields are legal.
    pub values: &'a V,
    /// The caller's name for it, given back with its end.
    pub tag: u64,
    /// When it ends without an answer; `Nanos::MAX` for never. Kept to the millisecond, rounded up.
    pub deadline: Nanos,
}

/// What fills the varying places of a [`Template`]: first those of its fields, then those of its body, in their order.
/// Values are asked for their length and then written where they go, so that nobody need compose them elsewhere.
pub trait Values {
    /// How many there are: as many as the template has places.
    fn count(&self) -> usize;

    /// Bytes of the value for a place, counted from 0.
    fn bytes(&self, place: usize) -> usize;

    /// Writes that value into `room`, which is as long as [`Values::bytes`] said.
    fn put(&self, place: usize, room: &mut [u8]);
}

impl Values for [&[u8]] {
    #[inline]
    fn count(&self) -> usize {
        self.len()
    }

    #[inline]
    fn bytes(&self, place: usize) -> usize {
        self[place].len()
    }

    #[inline]
    fn put(&self, place: usize, room: &mut [u8]) {
        room.copy_from_slice(self[place]);
    }
}

impl<const N: usize> Values for [&[u8]; N] {
    #[inline]
    fn count(&self) -> usize {
        N
    }

    #[inline]
    fn bytes(&self, place: usize) -> usize {
        self[place].len()
    }

    #[inline]
    fn put(&self, place: usize, room: &mut [u8]) {
        room.copy_from_slice(self[place]);
    }
}

/// The connection cannot take another request now; nothing of it was sent or kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

impl std::fmt::Display for Full {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection takes no further request now")
    }
}

impl std::error::Error for Full {}

/// The one and only end of a request.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// As given with the request.
    pub tag: u64,
    /// When the request was started.
    pub started: Nanos,
    /// How it ended.
    pub result: EndResult<'a>,
}

/// How a request ended.
#[derive(Clone, Copy, Debug)]
pub enum EndResult<'a> {
    /// The final status arrived. Body and fields may be cut by the limits of
    /// [`ConnectionConfig`](crate::ConnectionConfig), or by a reset or close behind the status.
    Answered {
        /// The final `:status`; never 1xx.
        status: u16,
        /// Fields of the answer except the status. Kept for statuses other than 2xx only.
        fields: &'a Fields,
        /// Body of the answer. Kept for statuses other than 2xx, and for those when the configuration asks.
        body: &'a [u8],
    },
    /// The peer has not processed it: it may be sent again elsewhere at once.
    NotProcessed(Cause),
    /// Sent, and nobody knows what became of it.
    Unknown(Cause),
}

/// Why a request ended without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The peer refused the stream (REFUSED_STREAM).
    Refused,
    /// Its stream is above the last one of the peer's GOAWAY.
    GoAway,
    /// The peer reset the stream with another code.
    Reset(ErrorCode),
    /// Its deadline, or one of the connection's, passed.
    Timeout,
    /// The answer broke HTTP, for example by lacking a status.
    Malformed,
    /// The peer closed the connection.
    PeerClosed,
    /// Socket or TLS failed.
    Transport,
    /// The connection ended by an error of protocol.
    Protocol,
    /// The caller took it back before it was sent ([`Connection::revoke`](crate::Connection::revoke)).
    Revoked,
    /// The caller closed the connection.
    Local,
}

/// Receives the ends of requests, and what else a connection has to say.
pub trait Ends {
    /// A request ended. Called exactly once for each request started.
    fn end(&mut self, end: End<'_>);

    /// Something about the connection as a whole.
    fn event(&mut self, event: Event<'_>) {
        let _ = event;
    }
}

/// What a connection says about itself while it receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The peer's first SETTINGS arrived: requests may start. Holds the stream limit in force, ours included.
    Settings(u32),
    /// The stream limit changed.
    StreamLimit(u32),
    /// No new requests; those in flight go on.
    Draining {
        /// Why.
        reason: DrainReason,
        /// Debug data of a GOAWAY; empty for other reasons. Comes from the peer: do not trust its text.
        debug_data: &'a [u8],
    },
    /// Our PING came back.
    Pong {
        /// From its queueing to its acknowledgement.
        round_trip: Nanos,
    },
}

/// Why a connection takes no new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainReason {
    /// The peer sent GOAWAY with this code and last stream.
    GoAway {
        /// Its error code.
        code: ErrorCode,
        /// The last stream that it has processed or will.
        last_stream: u32,
    },
    /// We were told to.
    Asked,
    /// Too many requests of this connection ran into their deadlines.
    Timeouts,
    /// We have reset as many streams as a server bears from one connection.
    Resets,
    /// All its stream ids are used up.
    StreamIds,
}

/// Header fields of an answer, kept within limits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields {
    bytes: Vec<u8>,
    /// Name and value end.
    ends: Vec<(u32, u32)>,
}

impl Fields {
    pub(crate) const EMPTY: Fields = Fields { bytes: Vec::new(), ends: Vec::new() };

    /// The first field of this lower-case name.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, value)| value)
    }

    /// All fields in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|&(_, value)| value as usize));
        starts.zip(&self.ends).map(|(start, &(name, value))| {
            (&self.bytes[start..name as usize], &self.bytes[name as usize..value as usize])
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn push(&mut self, name: &[u8], value: &[u8]) {
        self.bytes.extend_from_slice(name);
        let name_end = self.bytes.len() as u32;
        self.bytes.extend_from_slice(value);
        self.ends.push((name_end, self.bytes.len() as u32));
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

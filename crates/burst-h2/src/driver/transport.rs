//! The seam between a driver and the bytes' way to the peer.

use std::io;

use crate::ConnectionError;

/// The largest plaintext of a TLS record.
pub(crate) const RECORD_BYTES: usize = 16 * 1024;
const READ_BYTES: usize = 64 * 1024;

/// Memory that all connections of a thread share, so that an idle one needs none.
pub struct Buffers {
    /// For bytes from the socket, behind the beginning of a record that an earlier read left over.
    pub(crate) read: Vec<u8>,
    /// TLS records of one write.
    pub(crate) records: usize,
    /// For encrypted bytes on their way to the socket, where they are not encrypted in place.
    pub(crate) cipher: Vec<u8>,
    /// For what stands before, between and behind records that are.
    pub(crate) margins: Vec<u8>,
}

impl Buffers {
    /// For writes of up to this many plaintext bytes.
    pub fn new(write_bytes: usize) -> Buffers {
        const RECORD_OVERHEAD: usize = 256;
        let records = write_bytes.div_ceil(RECORD_BYTES) + 1;
        Buffers {
            read: vec![0; READ_BYTES + RECORD_BYTES + RECORD_OVERHEAD],
            records,
            cipher: vec![0; records * (RECORD_BYTES + RECORD_OVERHEAD)],
            margins: Vec::new(),
        }
    }
}

/// What one read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes from the socket.
    pub bytes: usize,
    /// Nothing more is there: the poll will tell when there is.
    pub is_drained: bool,
    /// The peer sends nothing more.
    pub is_closed: bool,
}

/// A connected or connecting, non-blocking way to the peer, registered edge-triggered.
pub trait Transport {
    /// Announces itself to the poll.
    ///
    /// # Errors
    /// When the poll refuses.
    fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()>;

    /// Whether it is connected, and authenticated where that belongs to it: requests may be written.
    fn is_open(&self) -> bool;

    /// Goes on with opening, or reads once, and hands plaintext to `sink`.
    ///
    /// # Errors
    /// When the transport or the sink fails.
    fn read(
        &mut self,
        buffers: &mut Buffers,
        sink: impl FnMut(&[u8]) -> Result<(), ConnectionError>,
    ) -> Result<Received, ConnectionError>;

    /// Takes plaintext and hands it to the kernel as far as that takes it; returns how many bytes were taken, which may
    /// hold anything afterwards. The last byte of `plaintext` is none of it but room, and not counted. What the kernel
    /// does not take waits here, and nothing more is taken until it is gone. At most the size given to [`Buffers::new`]
    /// and one record wait.
    ///
    /// # Errors
    /// When the transport fails; the plaintext may hold anything then.
    fn write(&mut self, plaintext: &mut [u8], buffers: &mut Buffers) -> Result<usize, ConnectionError>;

    /// Goes on with opening, or hands what waits to the kernel.
    ///
    /// # Errors
    /// When the transport fails.
    fn flush(&mut self) -> Result<(), ConnectionError>;

    /// Whether bytes wait for the kernel.
    fn is_blocked(&self) -> bool;

    /// Of all plaintext bytes taken, those before this offset are wholly with the kernel, the records they lie in
    /// included: exactly these can have reached the peer as anything it can read. Exact after a failure too.
    fn written_through(&self) -> u64;

    /// Says goodbye as far as the kernel takes it.
    fn shutdown(&mut self, buffers: &mut Buffers);
}

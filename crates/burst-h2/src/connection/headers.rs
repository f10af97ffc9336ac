//! A header block that comes in several frames.

/// What has arrived of a block whose END_HEADERS is still to come.
pub(super) struct HeaderBlock {
    pub(super) stream: u32,
    pub(super) is_end_stream: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) continuations: u32,
}

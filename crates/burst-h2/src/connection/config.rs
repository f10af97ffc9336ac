//! What a connection announces and the limits it keeps.

/// Limits and choices of one connection. The defaults suit APNs and FCM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// SETTINGS_HEADER_TABLE_SIZE that we announce. With 0 answers are stateless: the peer repeats its fields, and
    /// the usual block needs no decoding. 4096 is cheaper with a peer that repeats many fields and indexes them well,
    /// dearer with one that enters them anew each time (`docs/decisions/001-own-http2.md`).
    pub header_table_bytes: u32,
    /// Longest header block of an answer, CONTINUATION included, and the SETTINGS_MAX_HEADER_LIST_SIZE announced.
    pub header_block_bytes_max: u32,
    /// CONTINUATION frames per header block.
    pub continuations_max: u32,
    /// Bytes of fields kept of an answer other than 2xx; further fields are left out.
    pub answer_fields_bytes_max: usize,
    /// Bytes of body kept of an answer; the rest is dropped.
    pub answer_body_bytes_max: usize,
    /// Bytes kept of all unfinished answers of the connection together; beyond it bodies are dropped.
    pub answers_bytes_max: usize,
    /// Whether bodies of 2xx answers are kept too.
    pub keeps_success_bodies: bool,
    /// Our own limit on open requests, below or above the peer's.
    pub streams_max: u32,
    /// The last stream id to use; lower only to test what happens at its end. Odd.
    pub stream_id_max: u32,
    /// Body bytes that flow control may hold back here.
    pub held_bytes_max: usize,
    /// Requests that may run into their deadlines before the connection drains.
    pub timeouts_max: u32,
    /// RST_STREAM frames that we send before the connection drains; streams that would need another are left alone and end
    /// with the connection. Since the rapid reset attack of 2023 (CVE-2023-44487) servers count resets: hyper and h2 close
    /// a connection at 20 of streams that they have not taken up, and a wave of timeouts looks the same to others.
    pub resets_max: u32,
    /// Frames within a second that bring no request nearer to its end, before the peer is told to calm down. Each
    /// answer excuses four. Twice as many may come while the peer reads nothing of what we say.
    pub noise_max: u32,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        ConnectionConfig {
            header_table_bytes: 0,
            header_block_bytes_max: 16 * 1024,
            continuations_max: 8,
            answer_fields_bytes_max: 4 * 1024,
            answer_body_bytes_max: 8 * 1024,
            answers_bytes_max: 1024 * 1024,
            keeps_success_bodies: false,
            streams_max: 1000,
            stream_id_max: (1 << 31) - 1,
            held_bytes_max: 256 * 1024,
            timeouts_max: 8,
            resets_max: 16,
            noise_max: 2000,
        }
    }
}

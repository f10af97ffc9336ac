//! What can be set, and why it is what it is.

use std::time::Duration;

/// A resolver's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Memory for a snapshot's devices before they are spilled to disk.
    pub build_bytes_max: usize,
    /// Memory for sorting user ids before they are spilled to disk. 4 million ids of 40 bytes take 224 MB.
    pub sort_bytes_max: usize,
    /// What an upload may be.
    pub limits: Limits,
    /// Devices of one call that imports.
    pub import_devices: usize,
    /// Users of one call that looks them up.
    pub resolve_users: usize,
    /// Such calls at once, while the devices of an earlier one are packed.
    pub look_ups: usize,
    /// How often progress is stored.
    pub progress_every: Duration,
    /// How long one call waits for messages.
    pub receive_wait: Duration,
    /// How often is looked for snapshots that are behind the late list: each change of it costs a second of one core's time
    /// for ten million users.
    pub suppress_every: Duration,
    /// How often is looked for what nobody names any more.
    pub collect_every: Duration,
    /// How long it stays after that was seen first: time for whoever stores before naming, and for people who notice.
    pub garbage_kept: Duration,
    /// How long an audience's upload, and the lists of its bad rows and of those left out, stay after it was frozen or failed: they hold user ids.
    pub uploads_kept: Duration,
    /// How often is looked for people to forget: those who asked meanwhile are forgotten together, for that may write the whole
    /// directory anew.
    pub erase_every: Duration,
    /// How long an inquiry and its answer stay.
    pub inquiries_kept: Duration,
    /// How long an export stays.
    pub exports_kept: Duration,
    /// How long a launch keeps its snapshot: without it no outcome can be told by device.
    pub snapshots_kept: Duration,
    /// Pause before failed work is tried again.
    pub retry_after: Duration,
    /// Times that work is begun before it is given up: more means that it breaks whoever takes it.
    pub attempts_max: u32,
    /// How often is looked for work at which nobody is, and for what killed resolvers left.
    pub sweep_every: Duration,
    /// Work folders that were never finished being made are removed once they are this old.
    pub leftover_age: Duration,
}

const DAY: Duration = Duration::from_secs(24 * 3_600);
/// What an upload may be. Reading takes the same memory whatever it is: these say what is certainly a mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one line; a longer one is a bad row.
    pub line_bytes_max: usize,
    /// Columns of a file. A device has 7; an export of endpoints has one for each attribute.
    pub columns_max: usize,
    /// Rows of a file.
    pub rows_max: u64,
    /// Bytes of a file, unpacked.
    pub unpacked_bytes_max: u64,
    /// Unpacked bytes for each packed one: lists shrink to a tenth, a file made to harm to a thousandth.
    pub ratio_max: u64,
    /// Unpacked bytes for which the ratio is not looked at.
    pub ratio_free_bytes: u64,
    /// Bad rows that are listed one by one; those beyond are counted.
    pub bad_rows_listed_max: u64,
    /// Users and devices that are listed one by one as left out; those beyond are counted.
    pub left_out_listed_max: u64,
    /// People on the late list for which a file adds to it: whoever reads the list holds 32 bytes for each of them, and a file that
    /// is added takes some 90 for each.
    pub late_list_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_bytes_max: 64 << 10,
            columns_max: 1_000,
            rows_max: 100_000_000,
            unpacked_bytes_max: 64 << 30,
            ratio_max: 200,
            ratio_free_bytes: 16 << 20,
            bad_rows_listed_max: 1_000_000,
            left_out_listed_max: 1_000_000,
            late_list_max: 10_000_000,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            build_bytes_max: 1 << 30,
            sort_bytes_max: 256 << 20,
            limits: Limits::default(),
            import_devices: 20_000,
            resolve_users: 16_384,
            look_ups: 2,
            progress_every: Duration::from_secs(1),
            receive_wait: Duration::from_secs(1),
            suppress_every: Duration::from_secs(3),
            collect_every: Duration::from_secs(3_600),
            garbage_kept: DAY,
            uploads_kept: DAY * 7,
            erase_every: Duration::from_secs(3),
            inquiries_kept: DAY,
            exports_kept: DAY * 30,
            snapshots_kept: DAY * 90,
            retry_after: Duration::from_secs(5),
            attempts_max: 5,
            sweep_every: Duration::from_secs(30),
            leftover_age: Duration::from_secs(24 * 3_600),
        }
    }
}

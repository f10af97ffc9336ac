//! What comes from outside, as functions of arbitrary bytes that panic when something is wrong. `cargo xtask fuzz` hands
//! them to libFuzzer, an ordinary test replays the seeds and small changes of them.

mod connection;
mod heap;
mod hpack_decoder;
mod hpack_encoder;
mod messages;
#[cfg(feature = "parquet")]
mod parquet_files;
mod peer;
mod reference;
mod replies;
mod snapshots;
mod source;
mod uploads;
mod wire;

/// Something to fuzz.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name on the command line.
    pub name: &'static str,
    /// Takes any bytes and panics when something is wrong.
    pub run: fn(&[u8]),
    /// Inputs to begin with, each of which goes somewhere.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "connection", run: connection::run, seeds: connection::seeds },
    Target { name: "hpack-decoder", run: hpack_decoder::run, seeds: hpack_decoder::seeds },
    Target { name: "hpack-encoder", run: hpack_encoder::run, seeds: hpack_encoder::seeds },
    Target { name: "apns-replies", run: replies::apns, seeds: replies::apns_seeds },
    Target { name: "fcm-replies", run: replies::fcm, seeds: replies::fcm_seeds },
    Target { name: "uploads", run: uploads::run, seeds: uploads::seeds },
    #[cfg(feature = "parquet")]
    Target { name: "parquet", run: parquet_files::run, seeds: parquet_files::seeds },
    Target { name: "snapshots", run: snapshots::run, seeds: snapshots::seeds },
    Target { name: "messages", run: messages::run, seeds: messages::seeds },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

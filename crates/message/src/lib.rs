//! Composes and checks what is sent: once per campaign and locale, never per device. What is checked are the very bytes
//! that leave. It sends nothing: `a2` is used for its payload, options and collapse-id types only.

pub mod apns;
pub mod check;
pub mod compose;
pub mod fcm;
#[cfg(feature = "fcm")]
pub mod legacy;
pub mod warning;

mod faults;
mod texts;

pub use apns::{ApnsMessage, CollapseId, Priority, PushType};
pub use check::{Findings, VariantSize, check, check_locales};
pub use compose::{Composed, Context, compose};
pub use fcm::FcmMessage;
pub use warning::{Warning, WarningKind};

/// The most bytes of an APNs body ("Generating a remote notification": 4 KB for all but VoIP).
pub const APNS_BYTES_MAX: usize = 4_096;
/// The most bytes of an FCM payload ("Set and manage message types": 4096 for notification and data messages); see
/// [`FcmMessage::payload_bytes`](fcm::FcmMessage) for what is counted.
pub const FCM_BYTES_MAX: usize = 4_096;

/// What cannot be composed, besides the faults of what people wrote.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// APNs takes at most 64 bytes, and no empty one.
    #[error("collapse id has {bytes} bytes, must have 1 to 64 visible ASCII characters")]
    CollapseId {
        /// Its length.
        bytes: usize,
    },
    /// A message of the `fcm` crate that has no counterpart here.
    #[error("{field} of the fcm message: {detail}")]
    Legacy {
        /// The field, as that crate serializes it.
        field: String,
        /// What is wrong with it.
        detail: String,
    },
}

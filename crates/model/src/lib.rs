//! The words of Fanfare and the pure functions over them; nothing here does I/O.
//!
//! api --trigger--> dispatcher --shards--> worker --requests--> push --> APNs, FCM

pub mod audience;
pub mod campaign;
pub mod csv;
pub mod device;
pub mod erasure;
pub mod export;
pub mod extras;
pub mod forecast;
pub mod id;
pub mod import;
pub mod inquiry;
pub mod key_hash;
pub mod launch;
pub mod left_out;
pub mod manifest;
pub mod outcome;
pub mod plan;
pub mod queued;
pub mod reason;
pub mod retention;
pub mod runs;
pub mod runtime;
pub mod selection;
pub mod suppression;
pub mod time;

pub use audience::{Audience, AudienceReport, AudienceState};
pub use campaign::{Campaign, Content, OnUnknown, Policy, Variant, Wave};
pub use device::{Device, Market, Platform, UserId};
pub use id::{AudienceId, CampaignId, Digest, ErasureId, ExportId, ImportId, InquiryId, LaunchId, UploadId};
pub use key_hash::KeyHash;
pub use launch::{Launch, Purpose};
pub use manifest::{Group, Manifest};
pub use outcome::{Class, Outcome};
pub use plan::{Plan, ShardSizes, ShardSpec};
pub use reason::Reason;
pub use runs::OutcomeRuns;
pub use time::{Monotonic, Timestamp};

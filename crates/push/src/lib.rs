//! Sends shards of devices to APNs and FCM over `burst-h2`: requests from templates, answers into outcomes, pools of warm
//! connections, tokens, and the rule for sending again. What became of a device is an outcome, never an error.

pub mod again;
pub mod apns;
mod back_off;
mod engine;
mod error;
pub mod fcm;
mod gate;
mod group_message;
mod installation;
mod pinned;
mod pool;
mod secret;
mod target;
mod token;
mod trouble;
mod verdict;
mod work;

pub use engine::{Alarm, Engine, EngineConfig, Listener, Outside, Refused, Resolver, SystemResolver};
pub use error::Error;
pub use gate::{LEASE_MARGIN, LaunchGate};
pub use group_message::GroupMessage;
pub use installation::{Installation, Live, Rehearsal, Side};
/// What groups are sent is composed by this crate; re-exported for those who hand shards over.
pub use message;
pub use pool::{Pool, PoolConfig, PoolId, PoolStatus};
pub use secret::Secret;
pub use target::{Credential, Endpoint, Target, Trust};
pub use token::{NoShelf, Renewal, Token, TokenShelf, TokenSource};
pub use trouble::Trouble;
pub use verdict::{Effect, Fault, KeyState, Verdict};
pub use work::{
    DeadKey, Key, KeyBuf, Keys, LaunchStop, NO_ANSWER, ShardDone, ShardSoFar, ShardWork, WhyOpen,
};

//! How outcomes and latencies are counted and merged. Live figures come from workers' [`Progress`], final ones from
//! [`ShardRecord`]s only; both are merged, never averaged.

pub mod check;
pub mod curve;
pub mod error;
pub mod latencies;
pub mod launch;
pub mod live;
pub mod positions;
pub mod progress;
pub mod record;
pub mod stages;
pub mod tally;
pub mod text;
pub mod trouble;

mod codec;

pub use check::{BrokenInvariant, Invariant};
pub use curve::Curve;
pub use error::Error;
pub use latencies::{Latencies, Quantiles};
pub use launch::LaunchReport;
pub use live::Live;
pub use positions::Positions;
pub use progress::Progress;
pub use record::{Part, ShardRecord};
pub use stages::{Stage, Stages};
pub use tally::{Counts, Tally};
pub use trouble::Trouble;

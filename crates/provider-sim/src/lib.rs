//! Stand-ins for APNs and FCM over real TLS and HTTP/2: every latency, limit, quota and fault is configuration, every
//! device key that arrives is recorded. In *fast mode* a request costs well under a microsecond and nothing looks at what
//! a notification says; *validating mode* (`validating`) checks every request as the providers would.

mod account;
mod answers;
mod apns;
mod clock;
pub mod config;
pub mod control;
mod desk;
mod driver;
mod error;
mod fcm;
mod fingerprint;
mod h2;
mod hpack;
mod judge;
mod ledger;
mod report;
mod runner;
mod simulator;
mod tls;
mod validating;
mod weather;
mod wheel;

pub use config::Config;
pub use control::{Control, read_dump};
pub use error::Error;
pub use fingerprint::{Fingerprint, is_dead};
pub use judge::{Rules, Verdict};
pub use report::{Connections, Found, KeyCount, Latencies, Report, Stats};
pub use runner::run;
pub use simulator::{Ready, Simulator, start};

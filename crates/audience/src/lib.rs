//! Reads uploads, takes devices into the directory, resolves audiences and freezes them into snapshots, writes outcomes
//! out. All of it is the work of one role, the resolver, which is asked by messages and tells by rows.

mod cause;
mod columns;
mod config;
mod desk;
mod device_rows;
mod difference;
mod door;
mod erase;
mod error;
mod export;
mod export_file;
mod fields;
mod freeze;
mod garbage;
mod hold;
mod import;
mod inquire;
mod json;
mod late_list;
mod left_out;
mod lines;
mod members;
mod outbox;
mod outcome_rows;
mod outcomes;
#[cfg(feature = "parquet")]
mod parquet_file;
mod pinpoint;
mod presence;
mod resolve;
mod role;
mod row_list;
mod rows;
mod sample;
mod search;
mod sorter;
mod suppress;
mod taking;
mod unpack;
mod upload;
mod validate;

#[cfg(test)]
mod tests;

pub use config::{Config, Limits};
pub use error::{Error, Result};
pub use role::run;
pub use validate::{Asked, Verdict, validate, validate_reader};

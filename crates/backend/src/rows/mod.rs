//! What the rows say: their keys, their bodies, and the writes that change them. Every backend stores the same.

pub mod audience;
pub mod audit;
pub mod campaign;
pub mod erasure;
pub mod export;
pub mod fleet;
pub mod garbage;
pub mod import;
pub mod inquiry;
pub mod launch;
pub mod outcome;
pub mod project;
pub mod shard;
pub mod suppression;
pub mod upload;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind, Result};
use crate::store::{Key, Row, Store};

/// A body with the version it was read at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Versioned<T> {
    /// The row's version.
    pub version: u64,
    /// What it says.
    pub body: T,
}

/// The JSON of a body.
pub(crate) fn encode<T: Serialize>(body: &T) -> Vec<u8> {
    serde_json::to_vec(body).expect("rows are plain structs with string keys, which always serialize")
}

/// A row's body.
pub(crate) fn decode<T: DeserializeOwned>(row: &Row) -> Result<T> {
    serde_json::from_slice(&row.body).map_err(|error| {
        let place = format!("row {}/{} cannot be read: {error}", row.key.partition, row.key.sort);
        Error::new(ErrorKind::Storage, "store.read", place).with_source(error)
    })
}

/// A row's body with its version.
pub(crate) fn versioned<T: DeserializeOwned>(row: &Row) -> Result<Versioned<T>> {
    Ok(Versioned { version: row.version, body: decode(row)? })
}

/// One row, if it is there.
pub(crate) async fn read<T: DeserializeOwned>(store: &dyn Store, key: Key) -> Result<Option<Versioned<T>>> {
    let rows = store.get(&[key]).await?;
    rows.into_iter().next().flatten().map(|row| versioned(&row)).transpose()
}

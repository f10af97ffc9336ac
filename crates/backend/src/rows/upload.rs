//! Uploads that come in parts: what they are for, and how far they are. Their bytes are a growing object until they are whole.

use std::collections::BTreeMap;

use model::audience::{BadRows, Defaults, Packing, Upload, UploadFormat};
use model::suppression::Cause;
use model::{AudienceId, ImportId, Timestamp, UploadId};
use serde::{Deserialize, Serialize};

use super::{Versioned, decode, encode, read, versioned};
use crate::error::Result;
use crate::store::{Expect, Key, Store, Write, query_all};

const UPLOADS: &str = "uploads";

/// An upload that comes in parts, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// Identifier; whoever knows it may go on with the upload.
    pub id: UploadId,
    /// What it is for.
    pub target: Target,
    /// Who began it.
    pub actor: String,
    /// How it is to be read.
    pub reading: Reading,
    /// Its bytes, once somebody said.
    pub length: Option<u64>,
    /// Digests of the whole that it must have: hexadecimal, by the algorithm's name in RFC 9530.
    pub digests: BTreeMap<String, String>,
    /// The `Idempotency-Key` of the request that began it.
    pub idempotency_key: Option<String>,
    /// Where it stands.
    #[serde(flatten)]
    pub state: PartsState,
    /// Begun.
    pub created_at: Timestamp,
    /// When it is forgotten, unless something more comes.
    pub expires_at: Timestamp,
}

/// What an upload is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// An import, which is made once the upload is whole.
    Import(ImportId),
    /// The list of an audience.
    Audience(AudienceId),
    /// An import onto the late list.
    LateList {
        /// Which.
        import: ImportId,
        /// Why its people come onto the list.
        cause: Cause,
    },
}

impl Target {
    /// Where it is found over HTTP.
    pub fn path(self) -> String {
        match self {
            Target::Import(id) | Target::LateList { import: id, .. } => format!("/v1/imports/{id}"),
            Target::Audience(id) => format!("/v1/audiences/{id}"),
        }
    }

    /// The blob of an upload for it; `attempt` is random, so that no upload overwrites another.
    pub fn blob(self, attempt: u64) -> String {
        match self {
            Target::Import(id) | Target::LateList { import: id, .. } => {
                super::import::upload_blob(id, attempt)
            }
            Target::Audience(id) => super::audience::upload_blob(id, attempt),
        }
    }
}

/// How an upload is to be read, as [`Upload`] will say it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// How it is written.
    pub format: UploadFormat,
    /// How the sender said that it is packed.
    pub packing: Packing,
    /// What to do with rows that cannot be read.
    pub bad_rows: BadRows,
    /// What rows take that do not say it.
    pub defaults: Defaults,
}

/// Where an upload in parts stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum PartsState {
    /// More is to come.
    Receiving,
    /// It is whole and was checked; it is being handed over.
    Received {
        /// As it will be stored.
        upload: Upload,
    },
    /// It was handed over.
    Done,
    /// It is not taken, and nothing of it is kept.
    Refused {
        /// Why.
        why: String,
    },
}

/// The row of an upload.
pub fn key(id: UploadId) -> Key {
    Key::new(UPLOADS, id.to_string())
}

/// The growing object of an upload.
pub fn object(id: UploadId) -> String {
    id.to_string()
}

/// Puts an upload if `expect` holds.
pub fn put(parts: &Parts, expect: Expect) -> Write {
    Write::put(key(parts.id), expect, encode(parts))
}

/// Deletes an upload that was read at `version`.
pub fn delete(id: UploadId, version: u64) -> Write {
    Write::delete(key(id), Expect::Version(version))
}

/// An upload, if it is there.
pub async fn get(store: &dyn Store, id: UploadId) -> Result<Option<Versioned<Parts>>> {
    read(store, key(id)).await
}

/// Every upload.
pub async fn all(store: &dyn Store) -> Result<Vec<Parts>> {
    query_all(store, UPLOADS).await?.iter().map(decode).collect()
}

/// At most `limit` uploads behind `after` (an id's text; empty: from the first), and whether there are more.
pub async fn list(store: &dyn Store, after: &str, limit: u32) -> Result<(Vec<Versioned<Parts>>, bool)> {
    let page = store.query(UPLOADS, after, limit, false).await?;
    Ok((page.rows.iter().map(versioned).collect::<Result<_>>()?, page.has_more))
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Digest;

    #[test]
    fn an_upload_in_parts_reads_back_in_every_state() {
        let upload = Upload {
            blob: "b".into(),
            bytes: 7,
            digest: Digest([1; 32]),
            format: UploadFormat::Csv,
            packing: Packing::Gzip,
            bad_rows: BadRows::RejectAll,
            defaults: Defaults::default(),
        };
        let refused = PartsState::Refused { why: "w".into() };
        for state in [PartsState::Receiving, PartsState::Received { upload }, PartsState::Done, refused] {
            let late_list = Target::LateList { import: ImportId(3), cause: Cause::OptedOut };
            let is_done = state == PartsState::Done;
            let parts = Parts {
                id: UploadId(1),
                target: if is_done { late_list } else { Target::Audience(AudienceId(2)) },
                actor: "ann".into(),
                reading: Reading {
                    format: UploadFormat::Tokens,
                    packing: Packing::None,
                    bad_rows: BadRows::AcceptValid { share_ppm_max: 7 },
                    defaults: Defaults::default(),
                },
                length: Some(9),
                digests: [("sha-256".to_owned(), "00".to_owned())].into(),
                idempotency_key: None,
                state,
                created_at: Timestamp(1),
                expires_at: Timestamp(2),
            };
            let json = encode(&parts);
            assert_eq!(serde_json::from_slice::<Parts>(&json).unwrap(), parts);
        }
    }
}

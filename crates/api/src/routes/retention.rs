//! How long each kind of data is kept, and what of it there is now.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use backend::rows::upload::PartsState;
use backend::{Store, rows};
use model::export::ExportState;
use model::retention::Kind;
use model::{Timestamp, inquiry};
use serde::Serialize;
use utoipa::ToSchema;

use crate::problem::Result;
use crate::{Api, idempotency};

/// Rows of one page.
const PAGE_ROWS: u32 = 1_000;

/// A kind of data.
#[derive(Serialize, ToSchema)]
pub(crate) struct Kept {
    /// As the documentation of personal data names it.
    #[schema(value_type = String)]
    kind: Kind,
    /// What it is needed for.
    why: &'static str,
    /// How long it is kept, in seconds; absent where nothing but an event ends it.
    kept_s: Option<u64>,
    /// What ends it.
    until: &'static str,
    /// The key of the configuration that sets it.
    key: Option<&'static str>,
    /// How many there are: devices, files, rows or people.
    number: u64,
    /// Since when the oldest is there, where that is known.
    #[schema(value_type = Option<String>)]
    oldest: Option<Timestamp>,
}

/// See what is kept, how long, why, and how much of it there is.
#[utoipa::path(get, path = "/v1/retention", tag = "people", responses((status = 200, body = Vec<Kept>)))]
pub(crate) async fn list(State(api): State<Api>) -> Result<Json<Vec<Kept>>> {
    let mut list = Vec::with_capacity(Kind::ALL.len());
    for kind in Kind::ALL {
        let Held { number, oldest } = held(&api, kind).await?;
        let kept_s = kind.kept(&api.config.retention).map(|kept| kept.as_secs());
        list.push(Kept {
            kind,
            why: kind.why(),
            kept_s,
            until: kind.until(),
            key: kind.key(),
            number,
            oldest,
        });
    }
    Ok(Json(list))
}

/// How many, and the oldest.
#[derive(Default)]
struct Held {
    number: u64,
    oldest: Option<Timestamp>,
}

impl Held {
    const fn number(number: u64) -> Self {
        Self { number, oldest: None }
    }

    fn since(times: impl Iterator<Item = Timestamp>) -> Self {
        Self::default().and(times)
    }

    fn and(self, times: impl Iterator<Item = Timestamp>) -> Self {
        times.fold(self, |held, at| Self {
            number: held.number + 1,
            oldest: Some(held.oldest.map_or(at, |oldest| oldest.min(at))),
        })
    }
}

async fn held(api: &Api, kind: Kind) -> Result<Held> {
    let store = &*api.backend.store;
    Ok(match kind {
        Kind::Directory => Held::number(api.backend.directory.count().await?.1),
        Kind::Uploads => uploads(api).await?,
        Kind::Imports => imports(api).await?,
        Kind::UploadsInParts => {
            let rows = rows::upload::all(store).await?.into_iter();
            Held::since(rows.filter(|row| row.state == PartsState::Receiving).map(|row| row.created_at))
        }
        Kind::Snapshots => snapshots(api).await?,
        Kind::Records => records(store).await?,
        Kind::Exports => exports(api).await?,
        Kind::Inquiries => {
            let rows = rows::inquiry::all(store).await?;
            Held::since(rows.into_iter().map(|row: rows::Versioned<inquiry::Inquiry>| row.body.created_at))
        }
        Kind::Erasures => erasures(store).await?,
        Kind::LateList => {
            let list = rows::suppression::list(store).await?.body;
            Held { number: list.by_cause.iter().sum(), oldest: list.oldest }
        }
        Kind::LateListBySnapshot => Held::number(blobs(api, "suppressed/").await?.len() as u64),
        Kind::Idempotency => Held::since(idempotency::kept(api).await?.into_iter()),
        Kind::Audit => audit(store).await?,
    })
}

async fn blobs(api: &Api, prefix: &str) -> Result<BTreeSet<String>> {
    Ok(api.backend.blobs.list(prefix).await?.into_iter().collect())
}

/// Files, whoever named them or not; the oldest of those that are named.
fn named(files: &BTreeSet<String>, named: impl Iterator<Item = (String, Timestamp)>) -> Held {
    let oldest = named.filter(|(blob, _)| files.contains(blob)).map(|(_, at)| at).min();
    Held { number: files.len() as u64, oldest }
}

async fn uploads(api: &Api) -> Result<Held> {
    let audiences = rows::audience::all(&*api.backend.store).await?.into_iter();
    let files = audiences
        .flat_map(|row| row.blobs().map(|blob| (blob.to_owned(), row.created_at)).collect::<Vec<_>>());
    Ok(named(&blobs(api, "uploads/").await?, files))
}

async fn imports(api: &Api) -> Result<Held> {
    let imports = rows::import::all(&*api.backend.store).await?.into_iter();
    Ok(named(&blobs(api, "imports/").await?, imports.map(|row| (row.upload.blob, row.created_at))))
}

async fn exports(api: &Api) -> Result<Held> {
    let exports = rows::export::all(&*api.backend.store).await?.into_iter();
    let files = exports.filter_map(|row| match row.state {
        ExportState::Done { blob, at, .. } => Some((blob, at)),
        _ => None,
    });
    Ok(named(&blobs(api, "exports/").await?, files))
}

async fn snapshots(api: &Api) -> Result<Held> {
    let maps = blobs(api, "snapshots/").await?.into_iter().filter(|blob| blob.ends_with(".map")).collect();
    let audiences = rows::audience::all(&*api.backend.store).await?.into_iter();
    let frozen =
        audiences.filter_map(|row| Some((rows::audience::snapshot_blob(row.snapshot()?), row.created_at)));
    Ok(named(&maps, frozen))
}

async fn records(store: &dyn Store) -> Result<Held> {
    let mut pressed = Vec::new();
    for campaign in rows::campaign::all(store).await? {
        for (_, launch) in rows::campaign::wave_launches(store, campaign.id).await? {
            pressed.extend(rows::launch::get(store, launch).await?.map(|launch| launch.pressed_at));
        }
    }
    Ok(Held::since(pressed.into_iter()))
}

async fn audit(store: &dyn Store) -> Result<Held> {
    let (first, _) = rows::audit::list(store, 0, 1).await?;
    let number = rows::audit::count(store).await?;
    Ok(Held { number, oldest: first.first().map(|entry| entry.event.at) })
}

/// Page by page: receipts are kept for ever.
async fn erasures(store: &dyn Store) -> Result<Held> {
    let (mut held, mut after) = (Held::default(), String::new());
    loop {
        let (rows, has_more) = rows::erasure::list(store, &after, PAGE_ROWS).await?;
        after = rows.last().map(|row| row.body.id.to_string()).unwrap_or_default();
        held = held.and(rows.into_iter().map(|row| row.body.asked_at));
        if !has_more {
            return Ok(held);
        }
    }
}

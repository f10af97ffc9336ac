//! Forgets uploads that were given up, what killed processes left of others, and answers that were kept long enough.

use std::time::Duration;

use backend::rows::Versioned;
use backend::rows::upload::{self, Parts, PartsState, object};
use model::UploadId;

use super::{discard, now};
use crate::problem::{Problem, Result};
use crate::{Api, idempotency};

/// How often it is looked; an upload lives that much longer than it must.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(60);
const PAGE_ROWS: u32 = 500;

/// Looks again and again; never ends.
pub(crate) async fn run(api: &Api) -> std::convert::Infallible {
    loop {
        match sweep(api).await {
            Ok(0) => {}
            Ok(forgotten) => tracing::info!(forgotten, "abandoned uploads are forgotten"),
            Err(problem) => tracing::warn!(detail = problem.detail, "abandoned uploads cannot be looked for"),
        }
        if let Err(problem) = idempotency::sweep(api).await {
            tracing::warn!(detail = problem.detail, "answers that were kept long enough cannot be deleted");
        }
        api.runtime.clock.sleep(SWEEP_EVERY).await;
    }
}

/// Forgets what nobody went on with for too long, completes what was complete; how many uploads are forgotten.
pub(crate) async fn sweep(api: &Api) -> Result<usize> {
    let mut forgotten = 0;
    let mut after = String::new();
    loop {
        let (rows, has_more) = upload::list(&*api.backend.store, &after, PAGE_ROWS).await?;
        after = rows.last().map(|row| row.body.id.to_string()).unwrap_or_default();
        for row in rows {
            forgotten += usize::from(visit(api, &row).await?);
        }
        if !has_more {
            break;
        }
    }
    for name in api.backend.blobs.growing().await? {
        forgotten += usize::from(remove_orphan(api, &name).await?);
    }
    Ok(forgotten)
}

/// Does what is due for an upload; whether it was forgotten.
async fn visit(api: &Api, row: &Versioned<Parts>) -> Result<bool> {
    let (parts, id) = (&row.body, row.body.id);
    let is_expired = parts.expires_at < now(api);
    let is_over = matches!(parts.state, PartsState::Done | PartsState::Refused { .. });
    let is_due = match parts.state {
        PartsState::Receiving => is_expired,
        PartsState::Received { .. } => true,
        // A process killed at its end may have left the object.
        PartsState::Done | PartsState::Refused { .. } => {
            is_expired || api.backend.blobs.grown(&object(id)).await?.is_some()
        }
    };
    if !is_due {
        return Ok(false);
    }
    // Whoever is at it is left alone: a sweep ends no request.
    let Some(growing) = api.backend.blobs.grow(&object(id)).await? else { return Ok(false) };
    if let PartsState::Received { .. } = parts.state {
        drop(growing);
        return match super::parts::settle(api, id).await {
            Err(problem) if !problem.is_refusal() => Err(problem),
            _ => Ok(false),
        };
    }
    if is_over && !is_expired {
        discard(growing).await;
        return Ok(false);
    }
    forget(api, id, growing).await
}

async fn forget(api: &Api, id: UploadId, growing: Box<dyn backend::blobs::Growing>) -> Result<bool> {
    // Read again, for somebody may have gone on with it before it was held here.
    let Some(row) = upload::get(&*api.backend.store, id).await? else {
        discard(growing).await;
        return Ok(true);
    };
    if row.body.expires_at >= now(api) {
        return Ok(false);
    }
    api.backend.store.write(vec![upload::delete(id, row.version)]).await?;
    discard(growing).await;
    Ok(true)
}

/// Removes an object without a row: of a request whose process was killed, or of an upload whose row went first.
async fn remove_orphan(api: &Api, name: &str) -> Result<bool> {
    let id = name.parse::<UploadId>().ok();
    let has_row = async || -> Result<bool> {
        Ok(match id {
            Some(id) => upload::get(&*api.backend.store, id).await?.is_some(),
            None => false,
        })
    };
    if has_row().await? {
        return Ok(false);
    }
    let Some(growing) = api.backend.blobs.grow(name).await.map_err(Problem::from)? else { return Ok(false) };
    // Rows are made before their objects: without one now, there was none when this was held.
    if has_row().await? {
        return Ok(false);
    }
    discard(growing).await;
    Ok(true)
}

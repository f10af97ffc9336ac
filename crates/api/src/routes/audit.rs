//! The audit: who did what when, and whether its chain of hashes holds.

use axum::Json;
use axum::extract::State;
use backend::rows::audit::{self, Entry};
use serde::Serialize;
use utoipa::ToSchema;

use super::Listed;
use crate::Api;
use crate::extract::{Page, PageQuery};
use crate::problem::{Problem, Result};

/// List audit entries, oldest first.
#[utoipa::path(get, path = "/v1/audit", tag = "audit", params(PageQuery), responses((status = 200, body = Object)))]
pub(crate) async fn list(State(api): State<Api>, page: Page) -> Result<Json<Listed<Entry>>> {
    let after = match page.after.as_str() {
        "" => 0,
        number => number.parse().map_err(|_| Problem::bad_request("cursor is none of ours"))?,
    };
    let (entries, has_more) = audit::list(&*api.backend.store, after, page.limit).await?;
    let last = entries.last().map(|entry| entry.number.to_string());
    Ok(Listed::new(entries, has_more, last))
}

/// Whether the chain holds.
#[derive(Serialize, ToSchema)]
pub(crate) struct Verified {
    is_whole: bool,
    entries: u64,
    /// Where it breaks, if it does.
    broken: Option<String>,
}

/// Verify the whole audit.
#[utoipa::path(get, path = "/v1/audit/verify", tag = "audit", responses((status = 200, body = Verified)))]
pub(crate) async fn verify(State(api): State<Api>) -> Result<Json<Verified>> {
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let after = entries.last().map_or(0, |entry| entry.number);
        let (page, has_more) = audit::list(&*api.backend.store, after, 1_000).await?;
        entries.extend(page);
        if !has_more {
            break;
        }
    }
    let broken = audit::verify(&entries).err().map(|broken| broken.to_string());
    Ok(Json(Verified { is_whole: broken.is_none(), entries: entries.len() as u64, broken }))
}

//! Lists of users that are ready before they are sent, so that sending is measured and not making them; and what the disk does by
//! itself, to compare with.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use model::runtime::Clock;
use model::{Audience, AudienceState};
use reqwest::Method;
use serde_json::{Value, json};

use super::audience::LOOK_EVERY;
use crate::demo::client::Client;
use crate::demo::preparation::text;

/// Bytes handed on or written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// A file of user ids as CSV.
pub(super) struct List {
    text: Arc<Vec<u8>>,
    pub(super) rows: u64,
}

/// How long it took until a list was stored, and until its work was over.
pub(super) struct Uploaded {
    pub(super) id: String,
    pub(super) stored: Duration,
    pub(super) over: Duration,
}

impl List {
    pub(super) fn of(users: impl Iterator<Item = String>) -> Self {
        let (mut text, mut rows) = (b"user\n".to_vec(), 0);
        for user in users {
            text.extend_from_slice(user.as_bytes());
            text.push(b'\n');
            rows += 1;
        }
        Self { text: Arc::new(text), rows }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }

    async fn send(&self, client: &Client, method: Method, path: &str) -> Result<Value> {
        let list = Arc::clone(&self.text);
        let upload = client.upload(method, path, "text/csv", move |parts| {
            list.chunks(CHUNK_BYTES).for_each(|chunk| parts.line().extend_from_slice(chunk));
        });
        upload.await
    }

    /// Makes an audience of it.
    pub(super) async fn audience(&self, client: &Client, clock: &dyn Clock) -> Result<Uploaded> {
        let made = client.call(Method::POST, "/v1/audiences", Some(&json!({ "name": "all" }))).await?;
        let path = format!("/v1/audiences/{}", text(&made, "id")?);
        let begun = clock.monotonic();
        self.send(client, Method::PUT, &format!("{path}/upload")).await?;
        let stored = clock.monotonic().since(begun);
        loop {
            let audience: Audience = client.get(&path).await?;
            match audience.state {
                AudienceState::Frozen { .. } => break,
                AudienceState::Failed { why } => bail!("the audience failed: {why}"),
                _ => clock.sleep(LOOK_EVERY).await,
            }
        }
        Ok(Uploaded { id: text(&made, "id")?.to_owned(), stored, over: clock.monotonic().since(begun) })
    }

    /// Puts everybody of it on the late list.
    pub(super) async fn suppress(&self, client: &Client, clock: &dyn Clock) -> Result<Uploaded> {
        let begun = clock.monotonic();
        let made = self.send(client, Method::POST, "/v1/suppression?cause=opted_out").await?;
        let stored = clock.monotonic().since(begun);
        let path = format!("/v1/imports/{}", text(&made, "id")?);
        loop {
            let import: Value = client.get(&path).await?;
            match text(&import, "state")? {
                "done" => break,
                "failed" => bail!("the import failed: {}", import["why"]),
                _ => clock.sleep(LOOK_EVERY).await,
            }
        }
        Ok(Uploaded { id: text(&made, "id")?.to_owned(), stored, over: clock.monotonic().since(begun) })
    }
}

/// Writes so many bytes one after the other, and has them on the disk; how long that takes.
pub(super) fn write_plainly(folder: &Path, bytes: u64, clock: &dyn Clock) -> Result<Duration> {
    // No two blocks are alike, in case somebody below packs them.
    let block: Vec<u8> =
        (0..CHUNK_BYTES as u64 / 8).flat_map(|number| model::runtime::mix(number).to_le_bytes()).collect();
    let path = folder.join("plain");
    let begun = clock.monotonic();
    let mut file = File::create(&path).context("the file to compare with")?;
    let mut left = bytes;
    while left > 0 {
        let next = left.min(CHUNK_BYTES as u64) as usize;
        file.write_all(&block[..next]).context("the file to compare with")?;
        left -= next as u64;
    }
    file.sync_all().context("the file to compare with")?;
    let took = clock.monotonic().since(begun);
    std::fs::remove_file(&path).context("the file to compare with")?;
    Ok(took)
}

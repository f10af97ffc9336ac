//! `Idempotency-Key`: the same request sent twice is carried out once, and both get the same answer.

use std::future::Future;
use std::time::Duration;

use backend::store::{Written, query_all};
use backend::{Change, Expect, Key, Row, Write};
use http::HeaderMap;
use model::retention::IDEMPOTENCY;
use model::{Digest, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::Api;
use crate::problem::{Problem, Result};

/// A request that has no answer after this was cut off: its key may be used again.
const GIVEN_UP: Duration = Duration::from_secs(60);

const PARTITION: &str = "idempotency";
/// Rows that are looked at in one call.
const PAGE_ROWS: u32 = 500;

#[derive(Serialize, Deserialize)]
struct Kept {
    at: Timestamp,
    request: Digest,
    answer: Option<serde_json::Value>,
}

/// Carries out `work` once for the key of `headers`, or simply when there is none. `request` is what must be the same.
pub(crate) async fn once<T, F>(api: &Api, headers: &HeaderMap, request: &impl Serialize, work: F) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: Future<Output = Result<T>>,
{
    let Some(name) = headers.get("idempotency-key") else { return work.await };
    let key = Key::new(PARTITION, Digest::of(name.as_bytes()).to_string());
    let request = digest(request)?;
    if let Some(answer) = reserve(api, &key, request).await? {
        return read(&answer);
    }
    let result = work.await;
    let change = match &result {
        Ok(answer) => {
            let answer =
                serde_json::to_value(answer).map_err(|error| Problem::bad_request(error.to_string()))?;
            Change::Put(encode(&Kept { at: api.runtime.clock.now(), request, answer: Some(answer) }))
        }
        Err(_) => Change::Delete,
    };
    // What is done is done, whether or not its answer could be kept.
    if let Err(error) = api.backend.store.write(vec![Write { key, expect: Expect::Anything, change }]).await {
        tracing::warn!(%error, "the answer to an Idempotency-Key is not kept");
    }
    result
}

/// Takes the key, or gives the answer that was given before.
async fn reserve(api: &Api, key: &Key, request: Digest) -> Result<Option<serde_json::Value>> {
    let now = api.runtime.clock.now();
    let mut expect = Expect::Absent;
    loop {
        let body = encode(&Kept { at: now, request, answer: None });
        let written = api.backend.store.write(vec![Write::put(key.clone(), expect, body)]).await?;
        let Some(Written::Conflict(row)) = written.into_iter().next() else { return Ok(None) };
        let Some(row) = row else {
            expect = Expect::Absent;
            continue;
        };
        let kept: Kept = read(&serde_json::from_slice(&row.body).unwrap_or_default())?;
        let age = now.since(kept.at);
        match kept.answer {
            _ if age > IDEMPOTENCY => expect = Expect::Version(row.version),
            _ if kept.request != request => return Err(Problem::key_reused()),
            Some(answer) => return Ok(Some(answer)),
            None if age > GIVEN_UP => expect = Expect::Version(row.version),
            None => {
                let detail = "the first request with this Idempotency-Key is still being carried out";
                return Err(Problem::conflict("/problems/in-flight", "In flight", detail));
            }
        }
    }
}

/// A key whose answer is kept by the transaction that makes it: for work that may take any time, of which only its end counts.
pub(crate) struct Slot {
    key: Key,
}

/// What is known of a key.
pub(crate) enum Found<T> {
    /// The answer that was given to the same request.
    Answer(T),
    /// No answer yet; what [`Slot::keep`] must expect.
    Nothing(Expect),
}

impl Slot {
    /// Of an `Idempotency-Key`.
    pub(crate) fn of(name: &str) -> Self {
        Self { key: Key::new(PARTITION, Digest::of(name.as_bytes()).to_string()) }
    }

    /// Looks for the answer to `request`.
    pub(crate) async fn find<T: DeserializeOwned>(
        &self,
        api: &Api,
        request: &impl Serialize,
    ) -> Result<Found<T>> {
        let rows = api.backend.store.get(std::slice::from_ref(&self.key)).await?;
        let Some(row) = rows.into_iter().next().flatten() else { return Ok(Found::Nothing(Expect::Absent)) };
        let kept: Kept = read(&serde_json::from_slice(&row.body).unwrap_or_default())?;
        let age = api.runtime.clock.now().since(kept.at);
        match kept.answer {
            _ if age > IDEMPOTENCY => Ok(Found::Nothing(Expect::Version(row.version))),
            _ if kept.request != digest(request)? => Err(Problem::key_reused()),
            Some(answer) => Ok(Found::Answer(read(&answer)?)),
            None => Ok(Found::Nothing(Expect::Version(row.version))),
        }
    }

    /// Keeps the answer to `request`, if there is none yet.
    pub(crate) fn keep(
        &self,
        api: &Api,
        expect: Expect,
        request: &impl Serialize,
        answer: &impl Serialize,
    ) -> Result<Write> {
        let answer = serde_json::to_value(answer).map_err(|error| Problem::bad_request(error.to_string()))?;
        let kept = Kept { at: api.runtime.clock.now(), request: digest(request)?, answer: Some(answer) };
        Ok(Write::put(self.key.clone(), expect, encode(&kept)))
    }
}

/// When each answer that is kept was given.
pub(crate) async fn kept(api: &Api) -> Result<Vec<Timestamp>> {
    let rows = query_all(&*api.backend.store, PARTITION).await?;
    Ok(rows.iter().filter_map(|row| Some(serde_json::from_slice::<Kept>(&row.body).ok()?.at)).collect())
}

/// Deletes answers that were kept long enough; how many those were.
pub(crate) async fn sweep(api: &Api) -> Result<usize> {
    let (store, now) = (&*api.backend.store, api.runtime.clock.now());
    let (mut after, mut swept) = (String::new(), 0);
    loop {
        let page = store.query(PARTITION, &after, PAGE_ROWS, false).await?;
        after = page.rows.last().map(|row| row.key.sort.clone()).unwrap_or_default();
        let is_old = |row: &Row| {
            let kept = serde_json::from_slice::<Kept>(&row.body);
            kept.map_or(true, |kept| now.since(kept.at) > IDEMPOTENCY)
        };
        let old = page.rows.into_iter().filter(is_old);
        // A key that was taken anew meanwhile stays.
        let deletes: Vec<Write> =
            old.map(|row| Write::delete(row.key, Expect::Version(row.version))).collect();
        swept += deletes.len();
        store.write(deletes).await?;
        if !page.has_more {
            return Ok(swept);
        }
    }
}

/// What tells one request from another.
fn digest(request: &impl Serialize) -> Result<Digest> {
    let json = serde_json::to_vec(request).map_err(|error| Problem::bad_request(error.to_string()))?;
    Ok(Digest::of(&json))
}

fn encode(kept: &Kept) -> Vec<u8> {
    serde_json::to_vec(kept).expect("a struct of plain values always serializes")
}

fn read<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T> {
    T::deserialize(value).map_err(|error| Problem::bad_request(format!("kept answer: {error}")))
}

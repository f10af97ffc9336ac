//! Devices put and removed one by one, at a steady rate whatever the answers take: what an app's own backend does all day, also
//! while somebody imports millions.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, ensure};
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use model::runtime::Clock;
use reqwest::Method;
use serde::Serialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::demo::client::Client;

/// Calls begun each second: as many that put a device as that remove one.
const PER_SECOND: u32 = 1_000;
/// Calls without an answer with which the measurement is given up: the service does not keep up.
const UNANSWERED_MAX: usize = 30_000;
/// Devices that stay before each is removed again.
const KEPT: usize = 1_000;

/// How single calls fared.
#[derive(Serialize)]
pub(super) struct Singles {
    pub(super) calls: usize,
    pub(super) per_second: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) max_ms: f64,
}

/// Calls until `done`, and waits for the last answers.
pub(super) async fn run(client: &Client, clock: &dyn Clock, done: &CancellationToken) -> Result<Singles> {
    let begun = clock.monotonic();
    let (mut number, mut kept) = (0_u64, VecDeque::new());
    let mut under_way: FuturesUnordered<BoxFuture<'_, Result<Duration>>> = FuturesUnordered::new();
    let mut times = Vec::new();
    while !done.is_cancelled() || !under_way.is_empty() {
        let due = |number: u64| Duration::from_secs(1) / PER_SECOND * number as u32;
        // A clock that wakes late makes up for it.
        while !done.is_cancelled() && due(number) <= clock.monotonic().since(begun) {
            let old = if kept.len() > KEPT { kept.pop_front() } else { None };
            if old.is_none() {
                kept.push_back(number);
            }
            under_way.push(Box::pin(call(client, clock, number, old)));
            number += 1;
        }
        let wait = due(number).saturating_sub(clock.monotonic().since(begun));
        tokio::select! {
            () = clock.sleep(wait), if !done.is_cancelled() => {}
            Some(took) = under_way.next() => times.push(took?),
        }
        ensure!(under_way.len() <= UNANSWERED_MAX, "{UNANSWERED_MAX} single calls wait for an answer");
    }
    let elapsed = clock.monotonic().since(begun).as_secs_f64();
    times.sort_unstable();
    ensure!(!times.is_empty(), "the import was over before a single call was");
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    let per_second = times.len() as f64 / elapsed;
    Ok(Singles { calls: times.len(), per_second, p50_ms: at(0.5), p99_ms: at(0.99), max_ms: at(1.0) })
}

/// Puts device `number`, or removes an old one; how long that took.
async fn call(client: &Client, clock: &dyn Clock, number: u64, old: Option<u64>) -> Result<Duration> {
    let start = clock.monotonic();
    let of = old.unwrap_or(number);
    let path = format!("/v1/users/single-{of:08}/devices");
    let mut body = json!({ "platform": "apns", "key": format!("{of:064x}"), "app": "org.example.demo" });
    match old {
        Some(_) => client.call(Method::DELETE, &path, Some(&body)).await?,
        None => {
            (body["locale"], body["market"]) = ("en".into(), "us".into());
            client.call(Method::PUT, &path, Some(&body)).await?
        }
    };
    Ok(clock.monotonic().since(start))
}

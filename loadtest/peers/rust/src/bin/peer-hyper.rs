//! hyper as most services have it: `hyper-util`'s pooled client over HTTP/2, one client and so one connection for each of
//! the wanted connections, and as many tasks on it as there may be requests at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Result, bail};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt, Full};
use hyper::body::Body;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use peers::{Job, Requests, Watch};

/// Windows that answers never fill.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;

type Pool = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let job = Job::read()?;
    let requests = Arc::new(Requests::of(&job)?);
    let mut pools = Vec::new();
    for _ in 0..job.connections {
        let pool = pool(&job)?;
        // Opens the connection.
        if !send(&pool, &requests, job.requests).await? {
            bail!("the first request was refused");
        }
        pools.push(pool);
    }
    let answered = Arc::new(AtomicU64::new(0));
    let watch = Watch::start();
    let mut tasks = Vec::new();
    let mut first = 0;
    for (number, pool) in (0..).zip(&pools) {
        let (next, end) = (Arc::new(AtomicU64::new(first)), first + job.share(number));
        first = end;
        for _ in 0..job.streams {
            let (pool, requests) = (pool.clone(), Arc::clone(&requests));
            let (next, answered) = (Arc::clone(&next), Arc::clone(&answered));
            tasks.push(tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= end {
                        return anyhow::Ok(());
                    }
                    let is_good = send(&pool, &requests, number).await?;
                    answered.fetch_add(u64::from(is_good), Ordering::Relaxed);
                }
            }));
        }
    }
    for result in try_join_all(tasks).await? {
        result?;
    }
    watch.stop(&job, answered.load(Ordering::Relaxed))
}

fn pool(job: &Job) -> Result<Pool> {
    let mut socket = HttpConnector::new();
    socket.enforce_http(false);
    socket.set_nodelay(true);
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(job.tls()?)
        .https_only()
        .enable_http2()
        .wrap_connector(socket);
    Ok(Client::builder(TokioExecutor::new())
        .http2_only(true)
        .http2_initial_stream_window_size(STREAM_WINDOW)
        .http2_initial_connection_window_size(CONNECTION_WINDOW)
        .build(connector))
}

/// Sends a request and reads the whole answer; whether it was a 2xx.
async fn send(pool: &Pool, requests: &Requests, number: u64) -> Result<bool> {
    let answer = pool.request(requests.request(number, Full::new(requests.body.clone()))).await?;
    let is_good = answer.status().is_success();
    let body = answer.into_body();
    if !body.is_end_stream() {
        body.collect().await?;
    }
    Ok(is_good)
}

//! What the demo says to the service: HTTP and nothing else, as an engineer and two marketers would.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use futures::StreamExt as _;
use model::runtime::Clock;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::mpsc;

/// Parts of an upload that wait to be sent.
const UPLOAD_CHUNKS_WAITING: usize = 16;
/// Bytes of one part of an upload.
const UPLOAD_CHUNK_BYTES: usize = 256 * 1024;

/// How long an API that cannot be reached is called again: it may be starting.
const PATIENCE: Duration = Duration::from_secs(30);
/// Between two such calls.
const AGAIN_EVERY: Duration = Duration::from_millis(50);
/// A call whose answer makes no progress for this long has failed.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// A caller of the API.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    base: Arc<str>,
    http: reqwest::Client,
    actor: &'static str,
    clock: Arc<dyn Clock>,
}

impl Client {
    /// A caller named `actor` of the API at `base`, for example `http://127.0.0.1:8080`.
    pub(crate) fn new(base: &str, actor: &'static str, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self { base: base.into(), http: connections()?, actor, clock })
    }

    /// The same API, called by somebody else over connections of their own.
    pub(crate) fn acting_as(&self, actor: &'static str) -> Result<Self> {
        Ok(Self { actor, http: connections()?, ..self.clone() })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).header("fanfare-actor", self.actor)
    }

    /// Sends what `request` makes; again when the API cannot be reached or breaks off, as everybody does whose answer was
    /// lost.
    async fn send(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer> {
        let start = self.clock.monotonic();
        loop {
            match Answer::of(request().send().await).await {
                Err(error) if self.clock.monotonic().since(start) > PATIENCE => return Err(error.into()),
                Err(_) => self.clock.sleep(AGAIN_EVERY).await,
                Ok(answer) => return Ok(answer),
            }
        }
    }

    /// A request with a JSON body; the answer's JSON.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Value> {
        let request = || {
            let request = self.request(method.clone(), path);
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        };
        let answer = self.send(request).await.and_then(Answer::json);
        answer.with_context(|| format!("{method} {path}"))
    }

    /// What is at `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.call(Method::GET, path, None).await?;
        serde_json::from_value(answer).with_context(|| format!("GET {path}: not what was expected"))
    }

    /// What is at `path`, for reading.
    pub(crate) async fn get_text(&self, path: &str) -> Result<String> {
        let request = || self.request(Method::GET, path).header("accept", "text/plain");
        let text = self.send(request).await.and_then(Answer::text);
        text.with_context(|| format!("GET {path}"))
    }

    /// The entity tag of what is at `path`.
    pub(crate) async fn tag(&self, path: &str) -> Result<String> {
        let answer = self.send(|| self.request(Method::GET, path)).await;
        let tag = answer.and_then(|answer| {
            let tag = answer.tag.clone();
            answer.text()?;
            tag.context("no entity tag")
        });
        tag.with_context(|| format!("GET {path}"))
    }

    /// A press of Go on what was read with `tag`.
    pub(crate) async fn press(&self, path: &str, tag: &str) -> Result<Value> {
        let request = || self.request(Method::POST, path).header("if-match", tag);
        let answer = self.send(request).await.and_then(Answer::json);
        answer.with_context(|| format!("POST {path}"))
    }

    /// A streamed upload whose parts `produce` makes on a thread for blocking work.
    pub(crate) async fn upload(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        produce: impl FnOnce(&mut Parts) + Send + 'static,
    ) -> Result<Value> {
        let (sender, receiver) = mpsc::channel::<Vec<u8>>(UPLOAD_CHUNKS_WAITING);
        let producing = tokio::task::spawn_blocking(move || {
            let mut parts =
                Parts { sender, part: Vec::with_capacity(UPLOAD_CHUNK_BYTES + 1_024), is_cut: false };
            produce(&mut parts);
            parts.flush();
        });
        let parts = futures::stream::unfold(receiver, |mut receiver| async move {
            let part = receiver.recv().await?;
            Some((Ok::<_, std::io::Error>(part), receiver))
        });
        let request = self.request(method.clone(), path).header("content-type", content_type);
        let sent = request.body(reqwest::Body::wrap_stream(parts)).send().await;
        let answer = Answer::of(sent).await.map_err(anyhow::Error::from).and_then(Answer::json);
        producing.await.context("producing an upload")?;
        answer.with_context(|| format!("{method} {path}"))
    }

    /// A long answer, part by part. It is not asked for again when the API cannot be reached.
    pub(crate) async fn stream(&self, path: &str) -> Result<Response> {
        let sent = self.request(Method::GET, path).send().await;
        let response = sent.with_context(|| format!("GET {path}"))?;
        if response.status().is_success() {
            return Ok(response);
        }
        let refused = Answer::of(Ok(response)).await?.text();
        Err(refused.err().unwrap_or_else(|| anyhow!("no stream"))).with_context(|| format!("GET {path}"))
    }
}

fn connections() -> Result<reqwest::Client> {
    let builder = reqwest::Client::builder().no_proxy();
    Ok(builder.connect_timeout(Duration::from_secs(5)).read_timeout(SILENCE_MAX).build()?)
}

/// A whole answer.
struct Answer {
    status: StatusCode,
    tag: Option<String>,
    body: String,
}

impl Answer {
    async fn of(sent: reqwest::Result<Response>) -> reqwest::Result<Self> {
        let response = sent?;
        let status = response.status();
        let tag = response.headers().get("etag").and_then(|tag| tag.to_str().ok()).map(str::to_owned);
        Ok(Self { status, tag, body: response.text().await? })
    }

    /// Its text; a refusal is an error.
    fn text(self) -> Result<String> {
        if self.status.is_success() { Ok(self.body) } else { bail!("{}: {}", self.status, self.body) }
    }

    fn json(self) -> Result<Value> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("the answer is no JSON: {text:.200}"))
    }
}

/// An upload in the making.
#[derive(Debug)]
pub(crate) struct Parts {
    sender: mpsc::Sender<Vec<u8>>,
    part: Vec<u8>,
    is_cut: bool,
}

impl Parts {
    /// Room to append to.
    pub(crate) fn line(&mut self) -> &mut Vec<u8> {
        if self.part.len() >= UPLOAD_CHUNK_BYTES {
            self.flush();
        }
        &mut self.part
    }

    /// Whether nobody listens any more.
    pub(crate) const fn is_cut(&self) -> bool {
        self.is_cut
    }

    fn flush(&mut self) {
        let part = std::mem::replace(&mut self.part, Vec::with_capacity(UPLOAD_CHUNK_BYTES + 1_024));
        self.is_cut |= !part.is_empty() && self.sender.blocking_send(part).is_err();
    }
}

/// Reads a stream line by line.
pub(crate) async fn each_line(response: Response, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut parts = response.bytes_stream();
    let mut rest: Vec<u8> = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.context("the answer broke off")?;
        let mut lines = part.split(|byte| *byte == b'\n');
        let mut line = lines.next().unwrap_or_default();
        for next in lines {
            if rest.is_empty() {
                take(line)?;
            } else {
                rest.extend_from_slice(line);
                take(&rest)?;
                rest.clear();
            }
            line = next;
        }
        rest.extend_from_slice(line);
    }
    if rest.is_empty() { Ok(()) } else { take(&rest) }
}

//! An upload that gets through however often its connection breaks or the service starts anew
//! (draft-ietf-httpbis-resumable-upload): begun with nothing, so that its address is known before the first byte is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use model::UploadId;
use model::runtime::Clock;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::calls::{Answer, Calls, Patience, Refused};
use super::source::Source;

/// A connection on which nothing moves for this long has broken; the service's own limit is shorter.
const STILL_MAX: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// An upload to be made.
pub(super) struct Transfer<'a> {
    pub(super) calls: &'a Calls,
    pub(super) clock: &'a dyn Clock,
    pub(super) method: Method,
    /// With its query.
    pub(super) path: String,
    pub(super) media_type: &'static str,
    pub(super) give_up_after: Duration,
    pub(super) resume: Option<UploadId>,
    pub(super) named: &'a str,
}

/// An upload that got through.
pub(super) struct Done {
    /// The import or the audience.
    pub(super) answer: Value,
    pub(super) bytes: u64,
    /// How often it was broken off.
    pub(super) broken: u64,
}

/// Where an upload stands.
enum Standing {
    At(u64),
    /// Complete, and found there.
    Complete(String),
}

impl Transfer<'_> {
    pub(super) async fn run(self, source: Source) -> Result<Done> {
        let (upload, offset) = match self.resume {
            Some(id) => (format!("/v1/uploads/{id}"), None),
            None => (self.begin(source.bytes()).await?, Some(0)),
        };
        let bar = bar(source.bytes(), self.named);
        let done = self.send_all(&upload, offset, source, &bar).await;
        bar.finish_and_clear();
        let id = upload.rsplit('/').next().unwrap_or_default();
        done.map_err(|error| match error.downcast_ref::<Refused>() {
            Some(_) => error,
            None => {
                error.context(format!("what is there is kept for a while: --resume {id} goes on with it"))
            }
        })
    }

    /// Begins with nothing; the path of the upload.
    async fn begin(&self, bytes: Option<u64>) -> Result<String> {
        let request = || {
            let request = self.calls.request(self.method.clone(), &self.path);
            let request = request.header("content-type", self.media_type).header("upload-complete", "?0");
            let request = request.header("content-length", 0);
            match bytes {
                Some(bytes) => request.header("upload-length", bytes),
                None => request,
            }
        };
        let answer = self.calls.call(request).await?;
        if answer.status != StatusCode::CREATED {
            return Err(Refused(answer.problem()).into());
        }
        Ok(answer.header("location").context("an upload without Location")?.to_owned())
    }

    async fn send_all(
        &self,
        upload: &str,
        mut offset: Option<u64>,
        mut source: Source,
        bar: &ProgressBar,
    ) -> Result<Done> {
        let mut patience = Patience::new(self.clock, self.give_up_after);
        let (mut reached, mut broken) = (0, 0);
        loop {
            let at = match offset.take() {
                Some(at) => at,
                None => match self.ask(upload).await? {
                    Standing::At(at) => at,
                    Standing::Complete(path) => {
                        let answer = self.calls.get(&path).await?;
                        return Ok(Done { bytes: bytes_of(&answer), answer, broken });
                    }
                },
            };
            if at > reached {
                reached = at;
                patience.renew();
            }
            let why = match self.send(upload, at, &mut source, bar).await? {
                Ok(answer)
                    if answer.header("upload-complete") == Some("?1") && !answer.status.is_server_error() =>
                {
                    let answer = answer.json()?;
                    return Ok(Done { bytes: bytes_of(&answer), answer, broken });
                }
                Ok(answer) if answer.status.is_success() => {
                    offset = answer.header("upload-offset").and_then(|offset| offset.parse().ok());
                    continue;
                }
                Ok(answer) if answer.is_passing() || answer.status == StatusCode::CONFLICT => {
                    anyhow!("{}", answer.problem())
                }
                Ok(answer) => return Err(Refused(answer.problem()).into()),
                Err(error) => error,
            };
            broken += 1;
            bar.suspend(|| eprintln!("{}: broken off: {why:#}; going on", self.named));
            patience.pause(why).await?;
        }
    }

    /// Asks how far the upload is.
    async fn ask(&self, upload: &str) -> Result<Standing> {
        let answer = self.calls.call(|| self.calls.request(Method::HEAD, upload)).await?;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::GONE => {
                let shown = self.calls.get(upload).await?;
                let why = shown["why"].as_str().unwrap_or("nothing of it is kept").to_owned();
                return Err(Refused(why).into());
            }
            status => {
                return Err(Refused(format!("{upload}: {status}: it is not known, or was given up")).into());
            }
        }
        if answer.header("upload-complete") == Some("?1") {
            let path =
                answer.header("content-location").context("a complete upload without Content-Location")?;
            return Ok(Standing::Complete(path.to_owned()));
        }
        let offset = answer.header("upload-offset").and_then(|offset| offset.parse().ok());
        Ok(Standing::At(offset.context("an upload without Upload-Offset")?))
    }

    /// Sends a part from `at` on. The outer error is none of the connection.
    async fn send(
        &self,
        upload: &str,
        at: u64,
        source: &mut Source,
        bar: &ProgressBar,
    ) -> Result<Result<Answer>> {
        let sent = Arc::new(AtomicU64::new(at));
        let part = source.part(at, &sent).await?;
        let mut request = self
            .calls
            .request(Method::PATCH, upload)
            .header("content-type", "application/partial-upload")
            .header("content-length", part.bytes)
            .header("upload-offset", at)
            .header("upload-complete", if part.is_last { "?1" } else { "?0" });
        if let Some(digest) = part.digest {
            request = request.header("repr-digest", digest);
        }
        let answer = async { anyhow::Ok(Answer::of(request.body(part.body).send().await?).await?) };
        let mut answer = std::pin::pin!(answer);
        let (mut moved, mut last) = (self.clock.monotonic(), at);
        loop {
            tokio::select! {
                answer = &mut answer => return Ok(answer),
                () = self.clock.sleep(LOOK_EVERY) => {}
            }
            let (now, count) = (self.clock.monotonic(), sent.load(Ordering::Relaxed));
            bar.set_position(count);
            if count != last {
                (moved, last) = (now, count);
            } else if now.since(moved) > STILL_MAX {
                return Ok(Err(anyhow!("nothing moved for {} s", STILL_MAX.as_secs())));
            }
        }
    }
}

fn bytes_of(answer: &Value) -> u64 {
    answer["upload"]["bytes"].as_u64().unwrap_or(0)
}

/// Shown on a terminal only.
fn bar(bytes: Option<u64>, named: &str) -> ProgressBar {
    let (bar, template) = match bytes {
        Some(bytes) => {
            (ProgressBar::new(bytes), "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        }
        None => (ProgressBar::new_spinner(), "{msg} {spinner} {bytes} {bytes_per_sec}"),
    };
    let style = ProgressStyle::with_template(template).expect("the template is right");
    bar.with_style(style).with_message(named.to_owned())
}

//! Calls of the API: short ones are made again until they get through, or nothing did for too long.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use model::runtime::Clock;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::runtime;

/// How long a short call may take.
const CALL_MAX: Duration = Duration::from_secs(60);
/// The first pause before a call is made again, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(5)];

/// How often is looked whether work is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Whether a resolver's work is over, as its state says.
pub(super) fn is_over(work: &Value) -> bool {
    matches!(work["state"].as_str(), Some("done" | "frozen" | "failed"))
}

/// The service refused; to do it again is no use.
#[derive(Debug)]
pub(super) struct Refused(pub(super) String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

/// A caller.
pub(super) struct Calls {
    base: String,
    actor: String,
    http: reqwest::Client,
    clock: Arc<dyn Clock>,
    give_up_after: Duration,
}

/// A whole answer.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: reqwest::header::HeaderMap,
    pub(super) body: String,
}

impl Answer {
    pub(super) async fn of(response: Response) -> reqwest::Result<Self> {
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// Whether the same may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        let passing = [StatusCode::REQUEST_TIMEOUT, StatusCode::LOCKED, StatusCode::TOO_MANY_REQUESTS];
        self.status.is_server_error() || passing.contains(&self.status)
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What a refusal says.
    pub(super) fn problem(&self) -> String {
        let problem: Value = serde_json::from_str(&self.body).unwrap_or_default();
        match (problem["title"].as_str(), problem["detail"].as_str()) {
            (Some(title), Some(detail)) => format!("{title}: {detail}"),
            _ => format!("{} {:.200}", self.status, self.body),
        }
    }

    pub(super) fn json(&self) -> Result<Value> {
        if !self.status.is_success() {
            return Err(Refused(self.problem()).into());
        }
        serde_json::from_str(&self.body).with_context(|| format!("the answer is no JSON: {:.200}", self.body))
    }
}

/// Pauses that grow, until nothing got through for too long.
pub(super) struct Patience<'a> {
    clock: &'a dyn Clock,
    since: model::Monotonic,
    pause: Duration,
    give_up_after: Duration,
}

impl<'a> Patience<'a> {
    pub(super) fn new(clock: &'a dyn Clock, give_up_after: Duration) -> Self {
        Self { clock, since: clock.monotonic(), pause: PAUSES[0], give_up_after }
    }

    /// Something got through.
    pub(super) fn renew(&mut self) {
        *self = Self::new(self.clock, self.give_up_after);
    }

    /// Waits before the next attempt, or gives up for the reason `why`.
    pub(super) async fn pause(&mut self, why: anyhow::Error) -> Result<()> {
        if self.clock.monotonic().since(self.since) >= self.give_up_after {
            let seconds = self.give_up_after.as_secs();
            return Err(why.context(format!("nothing got through for {seconds} s")));
        }
        self.clock.sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSES[1]);
        Ok(())
    }
}

impl Calls {
    pub(super) fn new(
        base: String,
        actor: &str,
        clock: Arc<dyn Clock>,
        give_up_after: Duration,
    ) -> Result<Self> {
        let http = reqwest::Client::builder().no_proxy().connect_timeout(Duration::from_secs(5)).build()?;
        Ok(Self { base, actor: actor.to_owned(), http, clock, give_up_after })
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    /// A request that is not sent yet.
    pub(super) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).header("fanfare-actor", &self.actor)
    }

    /// Makes a short call until it gets through.
    pub(super) async fn call(&self, request: impl Fn() -> RequestBuilder) -> Result<Answer> {
        let mut patience = Patience::new(&*self.clock, self.give_up_after);
        loop {
            let sent = async { Answer::of(request().timeout(CALL_MAX).send().await?).await };
            let why = match sent.await {
                Ok(answer) if !answer.is_passing() => return Ok(answer),
                Ok(answer) => anyhow!("{}", answer.problem()),
                Err(error) if error.is_builder() => return Err(error.into()),
                Err(error) => error.into(),
            };
            patience.pause(why).await?;
        }
    }

    /// What is at `path`.
    pub(super) async fn get(&self, path: &str) -> Result<Value> {
        self.call(|| self.request(Method::GET, path)).await?.json()
    }

    /// Makes something, once however often it has to be asked for.
    pub(super) async fn make(&self, path: &str, body: &Value) -> Result<Value> {
        let key = format!("{:032x}", runtime::real().randomness.u128());
        let request = || self.request(Method::POST, path).header("idempotency-key", &key).json(body);
        self.call(request).await?.json()
    }

    /// Looks at `path` again and again until it is over there; `now` is how it was, `tell` sees each look.
    pub(super) async fn until(
        &self,
        path: &str,
        mut now: Value,
        is_over: impl Fn(&Value) -> bool,
        mut tell: impl FnMut(&Value),
    ) -> Result<Value> {
        while !is_over(&now) {
            self.clock.sleep(LOOK_EVERY).await;
            now = self.get(path).await?;
            tell(&now);
        }
        Ok(now)
    }

    pub(super) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
}

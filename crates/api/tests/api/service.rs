//! A service with its clock in hand, and how to call it.

use std::sync::Arc;
use std::time::Duration;

use api::{Api, Config};
use axum::Router;
use axum::body::Body;
use backend::fault::{self, Faults};
use backend::rows::fleet::{Heartbeat, Pool};
use backend::{Backend, rows};
use backend_embedded::{Embedded, Place};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use model::audience::{Audience, AudienceState};
use model::runtime::{
    BoxFuture, Clock as _, ManualClock, Randomness as _, Runtime, SeededRandomness, Spawner,
};
use model::{AudienceId, Digest, Group, Manifest, Platform, Timestamp};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

#[derive(Debug)]
struct TokioSpawner;

impl Spawner for TokioSpawner {
    #[allow(clippy::disallowed_methods, reason = "the tests' driver")]
    fn spawn(&self, _: &'static str, task: BoxFuture) {
        tokio::spawn(task);
    }
}

/// An answer, read to its end.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn etag(&self) -> String {
        self.headers["etag"].to_str().unwrap().to_owned()
    }

    /// The status and the problem's type, for a comparison in one line.
    pub(crate) fn problem(&self) -> (u16, String) {
        assert_eq!(self.headers["content-type"], "application/problem+json", "{}", self.text);
        (self.status, self.json()["type"].as_str().unwrap_or_default().to_owned())
    }
}

/// A service over a backend in memory.
pub(crate) struct Service {
    pub(crate) router: Router,
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) randomness: Arc<SeededRandomness>,
    /// As the router has it.
    pub(crate) api: Api,
    pub(crate) shutdown: CancellationToken,
    _embedded: Embedded,
}

impl Service {
    pub(crate) fn start() -> Self {
        Self::start_with(Config::default(), |backend, _| backend)
    }

    /// One whose backend fails when the handle says so.
    pub(crate) fn start_failing(seed: u64) -> (Self, Faults) {
        let mut faults = None;
        let service = Self::start_with(Config::default(), |backend, clock| {
            let (backend, handle) = fault::wrap(backend, clock, seed);
            faults = Some(handle);
            backend
        });
        (service, faults.unwrap())
    }

    /// One over a backend in a folder, where what it stores can be searched.
    pub(crate) fn start_in(folder: &std::path::Path) -> Self {
        Self::start_at(&Place::Folder(folder.to_owned()), Config::default(), |backend, _| backend)
    }

    pub(crate) fn start_with(
        config: Config,
        wrap: impl FnOnce(Backend, Arc<ManualClock>) -> Backend,
    ) -> Self {
        Self::start_at(&Place::Memory, config, wrap)
    }

    fn start_at(
        place: &Place,
        config: Config,
        wrap: impl FnOnce(Backend, Arc<ManualClock>) -> Backend,
    ) -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_000_000)));
        let randomness = Arc::new(SeededRandomness::new(7));
        let runtime =
            Runtime { clock: clock.clone(), randomness: randomness.clone(), spawner: Arc::new(TokioSpawner) };
        let embedded = backend_embedded::open(place, &runtime).unwrap();
        let backend = embedded.backend.clone();
        let served = wrap(backend.clone(), clock.clone());
        let shutdown = CancellationToken::new();
        let api = Api::new(served, runtime, config, shutdown.clone());
        let router = api::router(api.clone());
        Self { router, backend, clock, randomness, api, shutdown, _embedded: embedded }
    }

    /// Another process over the same backend, which knows of this one only what is stored.
    pub(crate) fn another(&self, config: Config) -> Router {
        let (clock, randomness) = (self.clock.clone(), self.randomness.clone());
        let runtime = Runtime { clock, randomness, spawner: Arc::new(TokioSpawner) };
        api::router(Api::new(self.backend.clone(), runtime, config, CancellationToken::new()))
    }

    /// What is left of uploads that are no blobs.
    pub(crate) async fn growing(&self) -> Vec<String> {
        self.backend.blobs.growing().await.unwrap()
    }

    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: impl Into<Body>,
    ) -> Response<Body> {
        let request: Request<Body> = request.header("host", "127.0.0.1:8080").body(body.into()).unwrap();
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub(crate) async fn call(&self, request: http::request::Builder, body: impl Into<Body>) -> Answer {
        let (parts, body) = self.send(request, body).await.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Answer { status: parts.status.as_u16(), headers: parts.headers, text }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call(Request::get(path), Body::empty()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: &Value) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.call(request, body.to_string()).await
    }

    /// An audience frozen into a snapshot of `apns` and `fcm` devices in market `us`.
    pub(crate) async fn frozen_audience(&self, apns: u32, fcm: u32) -> AudienceId {
        let digest = Digest::of(&self.randomness.u128().to_le_bytes());
        let group = |platform, app: &str, devices| Group {
            market: "us".into(),
            platform,
            app: app.into(),
            locale: "en-US".into(),
            devices,
        };
        let groups = vec![group(Platform::Apns, "topic", apns), group(Platform::Fcm, "project", fcm)];
        let devices = u64::from(apns + fcm);
        let manifest =
            Manifest { digest, devices, users: devices, duplicate_devices: 0, file_bytes: 9, groups };
        let blob = rows::audience::manifest_blob(digest);
        self.backend.blobs.put(&blob, rows::audience::manifest_bytes(&manifest)).await.unwrap();
        let now = self.clock.now();
        let audience = Audience {
            id: AudienceId::random(&*self.randomness),
            name: "fans".into(),
            rows: None,
            sample: None,
            control: None,
            sandbox: false,
            upload: None,
            state: AudienceState::Frozen { snapshot: digest, at: now },
            report: None,
            created_at: now,
            worked_at: None,
        };
        let put = rows::audience::put(&audience, backend::Expect::Absent);
        self.backend.store.write(vec![put]).await.unwrap();
        self.heartbeat(vec![digest]).await;
        audience.id
    }

    /// A worker that is alive now, holds `snapshots` and is connected to both apps.
    pub(crate) async fn heartbeat(&self, snapshots: Vec<Digest>) {
        let pool = |platform, app: &str| Pool {
            platform,
            app: app.into(),
            connections: 2,
            warm: 2,
            last_error: String::new(),
        };
        let heartbeat = Heartbeat {
            worker: "w1".into(),
            at: self.clock.now(),
            started_at: self.clock.now(),
            version: "1".into(),
            snapshots,
            late_list: Vec::new(),
            failed: Vec::new(),
            pools: vec![pool(Platform::Apns, "topic"), pool(Platform::Fcm, "project")],
            snapshot_bytes: 1,
            resident_bytes: 1,
            clock_error_us: 0,
        };
        self.backend.store.write(vec![rows::fleet::put_heartbeat(&heartbeat)]).await.unwrap();
    }

    /// A campaign of one wave `all` over `audience`; its path.
    pub(crate) async fn campaign(&self, audience: Option<AudienceId>) -> String {
        let answer = self.json("POST", "/v1/campaigns", &campaign_body(audience)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.headers["location"].to_str().unwrap().to_owned()
    }

    /// Presses Go on the wave `all`.
    pub(crate) async fn press(&self, campaign: &str, actor: &str, tag: Option<&str>) -> Answer {
        let mut request =
            Request::post(format!("{campaign}/waves/all/launch")).header("fanfare-actor", actor);
        if let Some(tag) = tag {
            request = request.header("if-match", tag);
        }
        self.call(request, Body::empty()).await
    }

    /// Lets time pass, with everybody doing in between what there is to do.
    pub(crate) async fn pass(&self, duration: Duration) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
            self.clock.advance(duration / 20);
        }
    }

    /// What happened to launches and projects, in order.
    pub(crate) async fn audited(&self) -> Vec<String> {
        let is_it = |action: &String| action.starts_with("launch.") || action.starts_with("project.");
        self.all_audited().await.into_iter().filter(is_it).collect()
    }

    /// The actions in the audit, in order; the chain is verified on the way.
    pub(crate) async fn all_audited(&self) -> Vec<String> {
        assert_eq!(self.get("/v1/audit/verify").await.json()["is_whole"], true);
        let entries = self.get("/v1/audit?limit=500").await.json();
        let entries = entries["items"].as_array().unwrap().clone();
        entries.iter().map(|entry| entry["action"].as_str().unwrap().to_owned()).collect()
    }
}

/// A campaign as people write it.
pub(crate) fn campaign_body(audience: Option<AudienceId>) -> Value {
    json!({
        "name": "Kick-off",
        "content": { "variants": { "en": { "title": "It starts", "body": "Now." } }, "fallback": "en" },
        "audience": audience,
        "waves": [{ "name": "all", "markets": [] }],
    })
}

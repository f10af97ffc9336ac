//! The HTTP API. It stores an upload and enqueues the work on it, judges a press of Go and writes the launch, and shows
//! what the others do; it resolves, plans and sends nothing itself.

mod asked;
mod change;
mod config;
mod extract;
mod guard;
mod idempotency;
mod late_list;
mod metrics;
mod packed;
mod problem;
mod routes;
mod upload;

use std::future::IntoFuture as _;
use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use backend::Backend;
use model::runtime::Runtime;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use config::Config;
pub use routes::openapi;

/// Most bytes of a JSON body: a campaign of fifty full variants.
pub(crate) const JSON_BYTES_MAX: usize = 1 << 20;

/// What every handler has.
#[derive(Clone)]
pub struct Api {
    pub(crate) backend: Backend,
    pub(crate) runtime: Runtime,
    pub(crate) config: Arc<Config>,
    pub(crate) metrics: Arc<metrics::Metrics>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) holders: Arc<upload::hold::Holders>,
    pub(crate) late_list: Arc<late_list::LateList>,
}

impl Api {
    /// An API over `backend`. Endless answers end when `shutdown` does.
    pub fn new(backend: Backend, runtime: Runtime, config: Config, shutdown: CancellationToken) -> Self {
        let (metrics, holders, late_list) = (Arc::default(), Arc::default(), Arc::default());
        Self { backend, runtime, config: Arc::new(config), metrics, shutdown, holders, late_list }
    }

    /// Forgets uploads in parts with which nobody went on, as [`serve`] does from time to time; how many those were.
    ///
    /// # Errors
    /// What the backend failed with, in words.
    pub async fn sweep_uploads(&self) -> Result<usize, String> {
        upload::sweep::sweep(self).await.map_err(|problem| problem.detail)
    }

    /// Deletes answers to requests with an `Idempotency-Key` that were kept long enough, as [`serve`] does from time to time;
    /// how many those were.
    ///
    /// # Errors
    /// What the backend failed with, in words.
    pub async fn sweep_answers(&self) -> Result<usize, String> {
        idempotency::sweep(self).await.map_err(|problem| problem.detail)
    }
}

/// All routes.
pub fn router(api: Api) -> Router {
    let router = routes::routes().split_for_parts().0;
    router
        .fallback(async || problem::Problem::not_found("such path; see /v1/openapi.json"))
        .method_not_allowed_fallback(async || problem::Problem::method_not_allowed())
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(api.clone(), guard::refuse_foreign_origins))
        .layer(middleware::from_fn_with_state(api.clone(), count))
        .layer(tower_http::catch_panic::CatchPanicLayer::new())
        .with_state(api)
}

/// Counts answers by route.
async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str).to_owned();
    let response = next.run(request).await;
    api.metrics.answered(&route, response.status().as_u16());
    response
}

/// Serves until `shutdown`; requests that have begun are answered.
///
/// # Errors
/// What the listener failed with.
pub async fn serve(listener: TcpListener, api: Api) -> io::Result<()> {
    let shutdown = api.shutdown.clone();
    let serving =
        axum::serve(listener, router(api.clone())).with_graceful_shutdown(shutdown.cancelled_owned());
    tokio::select! {
        served = serving.into_future() => served,
        never = upload::sweep::run(&api) => match never {},
    }
}

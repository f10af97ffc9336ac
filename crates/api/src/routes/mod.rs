//! Every route, registered once for the router and for the OpenAPI document.

pub(crate) mod audiences;
pub(crate) mod audit;
pub(crate) mod bad_rows;
pub(crate) mod campaigns;
pub(crate) mod devices;
pub(crate) mod directory;
pub(crate) mod erasures;
pub(crate) mod events;
pub(crate) mod exports;
pub(crate) mod fleet;
pub(crate) mod health;
pub(crate) mod imports;
pub(crate) mod inquiries;
pub(crate) mod interlocks;
pub(crate) mod launch;
pub(crate) mod launches;
pub(crate) mod left_out;
pub(crate) mod live;
pub(crate) mod people;
pub(crate) mod projects;
pub(crate) mod report;
pub(crate) mod retention;
pub(crate) mod suppression;
pub(crate) mod uploads;

use axum::Json;
use axum::routing::get;
use serde::Serialize;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::Api;
use crate::extract::cursor;

#[derive(OpenApi)]
#[openapi(info(
    title = "Fanfare",
    description = "One push notification to millions of phones, once, and with proof. Errors are \
                   application/problem+json (RFC 9457). The header Fanfare-Actor names who acts.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
))]
struct Document;

pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(imports::create, imports::list, imports::options))
        .routes(routes!(imports::get))
        .routes(routes!(bad_rows::of_import))
        .routes(routes!(directory::count))
        .routes(routes!(directory::delete_user))
        .routes(routes!(devices::put, devices::remove))
        .routes(routes!(audiences::create, audiences::list))
        .routes(routes!(audiences::get, audiences::delete))
        .routes(routes!(audiences::upload, audiences::options))
        .routes(routes!(suppression::count, suppression::add, suppression::options))
        .routes(routes!(suppression::get, suppression::remove))
        .routes(routes!(inquiries::create))
        .routes(routes!(inquiries::get))
        .routes(routes!(inquiries::file))
        .routes(routes!(erasures::create, erasures::list))
        .routes(routes!(erasures::get))
        .routes(routes!(retention::list))
        .routes(routes!(bad_rows::of_audience))
        .routes(routes!(left_out::of_audience))
        .routes(routes!(uploads::head, uploads::get, uploads::append, uploads::cancel))
        .routes(routes!(campaigns::create, campaigns::list))
        .routes(routes!(campaigns::get, campaigns::replace))
        .routes(routes!(campaigns::preview))
        .routes(routes!(campaigns::prepare, campaigns::release))
        .routes(routes!(interlocks::readiness))
        .routes(routes!(launch::press))
        .routes(routes!(launches::list))
        .routes(routes!(launches::get))
        .routes(routes!(launches::abort))
        .routes(routes!(launches::pause))
        .routes(routes!(launches::resume))
        .routes(routes!(events::events))
        .routes(routes!(report::report))
        .routes(routes!(report::stages))
        .routes(routes!(exports::create_of_launch))
        .routes(routes!(exports::create))
        .routes(routes!(exports::get))
        .routes(routes!(exports::file))
        .routes(routes!(projects::list))
        .routes(routes!(projects::get, projects::put))
        .routes(routes!(fleet::workers))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics))
        .route("/v1/openapi.json", get(async || Json(openapi())))
}

/// The OpenAPI document, made from the routes.
pub fn openapi() -> utoipa::openapi::OpenApi {
    routes().split_for_parts().1
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct Listed<T> {
    items: Vec<T>,
    /// Where the next page begins; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

impl<T> Listed<T> {
    /// A page whose last item is named `last`.
    pub(crate) fn new(items: Vec<T>, has_more: bool, last: Option<String>) -> Json<Self> {
        let next_cursor = last.filter(|_| has_more).map(|last| cursor(&last));
        Json(Self { items, next_cursor })
    }
}

/// A stored thing with its version, as it is shown.
#[derive(Serialize)]
pub(crate) struct Shown<T> {
    #[serde(flatten)]
    pub(crate) body: T,
    pub(crate) version: u64,
}

impl<T> From<backend::rows::Versioned<T>> for Shown<T> {
    fn from(row: backend::rows::Versioned<T>) -> Self {
        Self { body: row.body, version: row.version }
    }
}

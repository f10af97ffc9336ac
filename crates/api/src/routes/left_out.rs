//! The list of those whom an audience's snapshot does not have.

use std::io;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use backend::rows;
use http::header;
use model::AudienceId;
use model::export::ExportFormat;
use model::left_out::LeftOutRow;
use serde::Deserialize;
use utoipa::IntoParams;

use super::exports;
use crate::Api;
use crate::extract::{Params, Place};
use crate::packed::{self, Told};
use crate::problem::{Problem, Result};

/// How a list is told.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct FormatQuery {
    /// `ndjson` (when absent) or `csv`.
    #[param(value_type = Option<String>)]
    format: Option<ExportFormat>,
}

/// List who is not in an audience's snapshot, each with the reason: users, and devices whose key another one has. The report
/// says whether the list was cut.
#[utoipa::path(get, path = "/v1/audiences/{id}/left-out", tag = "audiences",
    params(("id" = String, Path), FormatQuery),
    responses((status = 200, content_type = "application/x-ndjson", body = String), (status = 409, body = Problem)))]
pub(crate) async fn of_audience(
    State(api): State<Api>,
    Place(id): Place<AudienceId>,
    Params(query): Params<FormatQuery>,
) -> Result<Response> {
    let row = rows::audience::get(&*api.backend.store, id).await?;
    let audience = row.ok_or_else(|| Problem::not_found(format!("audience {id}")))?.body;
    let Some(report) = audience.report else {
        let detail = "the audience is not resolved yet: look again when it is frozen";
        return Err(Problem::conflict("/problems/not-written", "There is no list yet", detail));
    };
    let format = query.format.unwrap_or(ExportFormat::Ndjson);
    let told = match format {
        ExportFormat::Ndjson => Told::AsItIs,
        ExportFormat::Csv => Told::Changed(LeftOutRow::HEADER, to_csv),
    };
    let (media_type, ending) = exports::media_type(format);
    let headers = [
        (header::CONTENT_TYPE, media_type.to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}-left-out.{ending}\"")),
    ];
    let Some(list) = report.left_out_list else {
        let head = if format == ExportFormat::Csv { LeftOutRow::HEADER } else { "" };
        return Ok((headers, Body::from(head)).into_response());
    };
    let path = api.backend.blobs.file(&list.blob).await?;
    let path =
        path.ok_or_else(|| Problem::not_found("the list of those left out: it was kept long enough"))?;
    Ok((headers, packed::body(path, told)).into_response())
}

fn to_csv(line: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    serde_json::from_slice::<LeftOutRow<'_>>(line)?.write_csv(out)
}

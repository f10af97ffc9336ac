//! How an upload is to be read, as the query and the headers of its request say it.

use http::{HeaderMap, header};
use model::Platform;
use model::audience::{BadRows, Defaults, Packing, UploadFormat};
use model::suppression::Cause;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::extract::media_type;
use crate::problem::{Problem, Result};

/// The query of an upload.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UploadQuery {
    /// How it is written, when the media type does not say it: `csv`, `ndjson`, `pinpoint`, `tokens`, `users` or `parquet`.
    #[param(value_type = Option<String>)]
    format: Option<UploadFormat>,
    /// `reject_all` (default): one bad row refuses the whole. `accept_valid`: bad rows are counted and left out.
    bad_rows: Option<String>,
    /// With `accept_valid`: the share of bad rows, from 0 to 1, beyond which the whole is refused; 0.01 when absent.
    bad_share_max: Option<f64>,
    /// `apns` or `fcm`, for rows that do not say it.
    #[param(value_type = Option<String>)]
    platform: Option<Platform>,
    /// App (topic) of APNs devices whose rows do not say it.
    apns_app: Option<String>,
    /// App (project) of FCM devices whose rows do not say it.
    fcm_app: Option<String>,
    /// Locale of devices whose rows do not say it.
    locale: Option<String>,
    /// Market of devices whose rows do not say it.
    market: Option<String>,
}

/// The query of a file of people for the late list.
#[derive(Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct LateListQuery {
    /// Of a file: `opted_out` or `blocked`.
    #[param(value_type = Option<String>)]
    pub(crate) cause: Option<Cause>,
    /// How the file is written, when the media type does not say it: `csv`, `ndjson`, `users` or `parquet`. `text/plain` is
    /// `users`: an id a line.
    #[param(value_type = Option<String>)]
    format: Option<UploadFormat>,
    /// `reject_all` (default): one bad row refuses the whole. `accept_valid`: bad rows are counted and left out.
    bad_rows: Option<String>,
    /// With `accept_valid`: the share of bad rows, from 0 to 1, beyond which the whole is refused; 0.01 when absent.
    bad_share_max: Option<f64>,
}

/// How an upload is to be read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    pub(crate) format: UploadFormat,
    pub(crate) packing: Packing,
    pub(crate) bad_rows: BadRows,
    pub(crate) defaults: Defaults,
}

impl Asked {
    /// Reads it off a request.
    pub(crate) fn read(query: UploadQuery, headers: &HeaderMap) -> Result<Self> {
        let UploadQuery { format, bad_rows, bad_share_max, platform, apns_app, fcm_app, locale, market } =
            query;
        let format = format.map_or_else(|| self::format(&media_type(headers)), Ok)?;
        let bad_rows = self::bad_rows(bad_rows.as_deref(), bad_share_max)?;
        let defaults = Defaults { platform, apns_app, fcm_app, locale, market };
        defaults.check().map_err(|error| Problem::bad_request(format!("the query: {error}")))?;
        Ok(Self { format, packing: packing(headers)?, bad_rows, defaults })
    }

    /// The same of a list of people, whom a plain text names by their ids.
    pub(crate) fn read_people(query: &LateListQuery, headers: &HeaderMap) -> Result<Self> {
        let format = match (query.format, &*media_type(headers)) {
            (Some(format), _) => format,
            (None, "text/plain") => UploadFormat::Users,
            (None, other) => format(other)?,
        };
        let bad_rows = bad_rows(query.bad_rows.as_deref(), query.bad_share_max)?;
        Ok(Self { format, packing: packing(headers)?, bad_rows, defaults: Defaults::default() })
    }
}

fn bad_rows(name: Option<&str>, share_max: Option<f64>) -> Result<BadRows> {
    let named = BadRows::named(name.unwrap_or("reject_all"), share_max);
    named.map_err(|error| Problem::bad_request(error.to_string()))
}

/// The format that a media type names.
fn format(media_type: &str) -> Result<UploadFormat> {
    match media_type {
        "text/csv" => Ok(UploadFormat::Csv),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(UploadFormat::Ndjson),
        "text/plain" => Ok(UploadFormat::Tokens),
        "application/vnd.apache.parquet" => Ok(UploadFormat::Parquet),
        other => {
            let names = UploadFormat::ALL.map(UploadFormat::name).join(", ");
            let detail = format!(
                "{other:?} does not say how the upload is written: send text/csv or application/x-ndjson, or say ?format= \
                 with one of {names}"
            );
            Err(Problem::media_type(detail))
        }
    }
}

fn packing(headers: &HeaderMap) -> Result<Packing> {
    let Some(coding) = headers.get(header::CONTENT_ENCODING) else { return Ok(Packing::None) };
    match coding.to_str().unwrap_or_default().to_ascii_lowercase().trim() {
        "identity" => Ok(Packing::None),
        "gzip" | "x-gzip" => Ok(Packing::Gzip),
        "zstd" => Ok(Packing::Zstd),
        _ => Err(Problem::media_type("Content-Encoding: gzip and zstd are taken")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str, headers: &[(&'static str, &str)]) -> std::result::Result<Asked, (u16, String)> {
        let uri = format!("http://h/?{query}").parse().unwrap();
        let query = axum::extract::Query::<UploadQuery>::try_from_uri(&uri).unwrap().0;
        let headers = headers
            .iter()
            .map(|(name, value)| (header::HeaderName::from_static(name), value.parse().unwrap()));
        Asked::read(query, &headers.collect()).map_err(|problem| (problem.status, format!("{problem:?}")))
    }

    #[test]
    fn the_query_says_what_the_media_type_does_not() {
        let csv = [("content-type", "text/csv; charset=utf-8"), ("content-encoding", "GZIP")];
        let asked =
            read("bad_rows=accept_valid&bad_share_max=0.5&platform=apns&apns_app=a.b&market=us", &csv);
        let wanted = Asked {
            format: UploadFormat::Csv,
            packing: Packing::Gzip,
            bad_rows: BadRows::AcceptValid { share_ppm_max: 500_000 },
            defaults: Defaults {
                platform: Some(Platform::Apns),
                apns_app: Some("a.b".into()),
                market: Some("us".into()),
                ..Defaults::default()
            },
        };
        assert_eq!(asked, Ok(wanted));
        let octets = [("content-type", "application/octet-stream")];
        assert_eq!(read("format=pinpoint", &octets).unwrap().format, UploadFormat::Pinpoint);
    }

    #[test]
    fn what_cannot_be_is_refused_before_the_body_is_read() {
        let csv = ("content-type", "text/csv");
        assert_eq!(read("", &[]).unwrap_err().0, 415);
        assert_eq!(read("", &[csv, ("content-encoding", "br")]).unwrap_err().0, 415);
        for query in [
            "bad_rows=maybe",
            "bad_share_max=0.1",
            "bad_rows=accept_valid&bad_share_max=2",
            "locale=",
            "fcm_app=a%20b",
        ] {
            assert_eq!(read(query, &[csv]).unwrap_err().0, 400, "{query}");
        }
    }
}

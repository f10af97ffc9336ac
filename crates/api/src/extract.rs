//! What handlers take out of a request: who acts, a JSON body, a page, an entity tag. Whatever cannot be read is a
//! problem that says where.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::request::Parts;
use http::{HeaderMap, header};
use model::campaign::Fault;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

use crate::Api;
use crate::problem::{Problem, Result};

/// Who acts, by the header `Fanfare-Actor`. Everybody who reaches the address is trusted to be who they say.
pub(crate) struct Actor(pub(crate) String);

/// The longest name of an actor, in bytes.
const ACTOR_BYTES_MAX: usize = 128;

impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self> {
        let Some(name) = parts.headers.get("fanfare-actor") else { return Ok(Self("anonymous".into())) };
        let name = name.to_str().unwrap_or_default().trim();
        if name.is_empty() || name.len() > ACTOR_BYTES_MAX {
            let detail = format!("Fanfare-Actor must be 1 to {ACTOR_BYTES_MAX} visible ASCII characters");
            return Err(Problem::bad_request(detail));
        }
        Ok(Self(name.into()))
    }
}

/// A body of JSON.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, api: &Api) -> Result<Self> {
        require_json(request.headers())?;
        let body = bytes(request, api).await?;
        read_json(&body).map(Self)
    }
}

/// A whole body, if it comes in time: it is small, so that the time in which an upload's next part must come is enough.
async fn bytes(request: Request, api: &Api) -> Result<Bytes> {
    tokio::select! {
        biased;
        body = Bytes::from_request(request, api) => body.map_err(|rejection| match rejection.status() {
            http::StatusCode::PAYLOAD_TOO_LARGE => Problem::too_large(crate::JSON_BYTES_MAX as u64),
            _ => Problem::bad_request(rejection.body_text()),
        }),
        () = api.runtime.clock.sleep(api.config.idle) => Err(Problem::stood_still(api.config.idle)),
    }
}

/// A body of JSON, if there is one that can be read: for what must not be refused for the sake of its body.
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<T: DeserializeOwned + Default> FromRequest<Api> for OptionalJson<T> {
    type Rejection = std::convert::Infallible;
    async fn from_request(request: Request, api: &Api) -> std::result::Result<Self, Self::Rejection> {
        let body = match bytes(request, api).await {
            Ok(body) if body.is_empty() => return Ok(Self(T::default())),
            Ok(body) => read_json(&body),
            Err(problem) => Err(problem),
        };
        Ok(Self(body.unwrap_or_else(|problem| {
            // Its detail may repeat what stood in the body.
            tracing::warn!(title = problem.title, "a body is passed over");
            T::default()
        })))
    }
}

/// Whether a body came with a request that should have none.
pub(crate) struct HasBody(pub(crate) bool);

impl FromRequest<Api> for HasBody {
    type Rejection = std::convert::Infallible;
    async fn from_request(request: Request, api: &Api) -> std::result::Result<Self, Self::Rejection> {
        let body = bytes(request, api).await;
        Ok(Self(body.map_or(true, |body| !body.is_empty())))
    }
}

fn require_json(headers: &HeaderMap) -> Result<()> {
    if media_type(headers) == "application/json" {
        return Ok(());
    }
    Err(Problem::media_type("send Content-Type: application/json"))
}

/// The media type of a body, lower case, without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn read_json<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let read = serde_path_to_error::deserialize(&mut json);
    let value = read.map_err(|error| unreadable(error.inner(), pointer(error.path())))?;
    json.end().map_err(|error| unreadable(&error, String::new()))?;
    Ok(value)
}

/// Where JSON is whole and does not say what it should, the place has a pointer; else there are line and column only.
fn unreadable(error: &serde_json::Error, pointer: String) -> Problem {
    let problem = Problem::bad_request(format!("the body: {error}"));
    let detail = error.to_string();
    if error.is_data() { Problem { errors: vec![Fault { pointer, detail }], ..problem } } else { problem }
}

/// RFC 6901.
fn pointer(path: &serde_path_to_error::Path) -> String {
    let escape = |key: &str| key.replace('~', "~0").replace('/', "~1");
    let parts = path.iter().map(|segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } => format!("/{}", escape(key)),
        Segment::Enum { variant } => format!("/{}", escape(variant)),
        Segment::Unknown => String::new(),
    });
    parts.collect()
}

/// What an `If-Match` asks for.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<u64> {
    let Some(value) = headers.get(header::IF_MATCH) else { return Err(Problem::if_match_required()) };
    let tag = value.to_str().unwrap_or_default().trim();
    let number = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).and_then(|tag| tag.parse().ok());
    number.ok_or_else(|| {
        let detail =
            "If-Match must be the ETag that was read: one number in double quotes, for example \"1\"";
        Problem::bad_request(detail)
    })
}

/// The entity tag of a version.
pub(crate) fn etag(version: u64) -> [(http::HeaderName, String); 1] {
    [(header::ETAG, format!("\"{version}\""))]
}

/// A page of a list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// Most items, 1 to 500; 50 when absent.
    limit: Option<u32>,
    /// Where the page begins: the `next_cursor` of the page before.
    cursor: Option<String>,
}

/// At most `limit` things behind `after`.
pub(crate) struct Page {
    pub(crate) limit: u32,
    pub(crate) after: String,
}

impl<S: Send + Sync> FromRequestParts<S> for Page {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Params(query) = Params::<PageQuery>::from_request_parts(parts, state).await?;
        let limit = query.limit.unwrap_or(50);
        if !(1..=500).contains(&limit) {
            return Err(Problem::bad_request("limit must be 1 to 500"));
        }
        let after = match query.cursor {
            Some(cursor) => {
                read_cursor(&cursor).ok_or_else(|| Problem::bad_request("cursor is none of ours"))?
            }
            None => String::new(),
        };
        Ok(Self { limit, after })
    }
}

/// An opaque cursor behind the thing named `last`.
pub(crate) fn cursor(last: &str) -> String {
    last.bytes().map(|byte| format!("{byte:02x}")).collect()
}

fn read_cursor(cursor: &str) -> Option<String> {
    let pairs = cursor.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

/// Query parameters.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(query)| Self(query)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

/// Parts of the path. They stand in names of rows, and no name that was ever given is this long.
pub(crate) struct Place<T>(pub(crate) T);

/// The longest path, in bytes; a row's name has as many.
const PATH_BYTES_MAX: usize = 512;

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Place<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        if parts.uri.path().len() > PATH_BYTES_MAX {
            return Err(Problem::not_found("such path: it is too long"));
        }
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|error| Problem::bad_request(error.body_text()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_rubbish_does_not() {
        assert_eq!(read_cursor(&cursor("cmp_1/ä")).as_deref(), Some("cmp_1/ä"));
        assert_eq!(read_cursor("zz"), None);
        assert_eq!(read_cursor("ff"), None);
    }

    #[test]
    fn an_entity_tag_is_a_quoted_number() {
        let tagged = |tag: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_MATCH, tag.parse().unwrap());
            if_match(&headers)
        };
        assert_eq!(tagged("\"7\"").unwrap(), 7);
        assert_eq!(tagged("7").unwrap_err().status, 400);
        assert_eq!(if_match(&HeaderMap::new()).unwrap_err().status, 428);
    }
}

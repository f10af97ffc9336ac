//! An upload that comes in parts: begun, looked at, appended to, ended.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use backend::rows::Versioned;
use backend::rows::upload::{Parts, PartsState, Reading, Target, object, put};
use backend::store::Written;
use backend::{Expect, Write, rows};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use model::{Digest, UploadId};
use tokio_util::sync::CancellationToken;

use super::digests::{self, Hashes, Wanted};
use super::hand_over::{self, Order};
use super::hold::{Hold, hold};
use super::receive::{Bounds, receive};
use super::{check_length, discard, fields, idempotency_key, now, upload};
use crate::Api;
use crate::extract::media_type;
use crate::problem::{Problem, Result};

/// Bytes that are read at once of what is digested again.
const READ_BYTES: usize = 1 << 20;

/// Begins an upload with its first part, which may be empty. Whoever does not learn its address cannot go on with it, so that
/// nothing stays of one whose first part does not come to its end.
pub(crate) async fn begin(
    api: &Api,
    target: Target,
    actor: String,
    reading: Reading,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response> {
    let content = digests::wanted(headers, &digests::CONTENT_DIGEST)?;
    let length = fields::length(headers);
    let bounds = Bounds { bytes_max: api.config.upload_bytes_max, length };
    bounds.check(length.unwrap_or(0))?;
    bounds.check(fields::content_length(&body).unwrap_or(0))?;
    check_number(api).await?;
    let parts = Parts {
        id: UploadId::random(&*api.runtime.randomness),
        target,
        actor,
        reading,
        length,
        digests: digests::wanted(headers, &digests::REPR_DIGEST)?,
        idempotency_key: idempotency_key(headers)?,
        state: PartsState::Receiving,
        created_at: now(api),
        expires_at: now(api) + api.config.retention.parts,
    };
    api.backend.store.write(vec![put(&parts, Expect::Absent)]).await?;
    let mut hold = hold(api, parts.id).await?;
    if let Err(problem) = append_body(api, &mut hold, body, &content, bounds).await {
        forget(api, hold).await?;
        return Err(problem);
    }
    hold.growing.sync().await?;
    let mut response = StatusCode::CREATED.into_response();
    let fields = standing(api, &hold.row.body, hold.growing.bytes());
    response.headers_mut().extend(fields);
    let location = format!("/v1/uploads/{}", parts.id);
    let location = HeaderValue::from_str(&location).expect("an id is visible ASCII");
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

async fn check_number(api: &Api) -> Result<()> {
    let most = api.config.uploads_max;
    let mut after = String::new();
    let mut open = 0;
    loop {
        let (rows, has_more) = rows::upload::list(&*api.backend.store, &after, 1_000).await?;
        open += rows.iter().filter(|row| row.body.state == PartsState::Receiving).count();
        after = rows.last().map(|row| row.body.id.to_string()).unwrap_or_default();
        match has_more {
            _ if open >= most => return Err(Problem::too_many_uploads(most)),
            true => {}
            false => return Ok(()),
        }
    }
}

/// How far an upload is, so that whoever asked can go on from there. Ends a request that is still at it.
pub(crate) async fn look(api: &Api, id: UploadId) -> Result<Response> {
    let mut hold = hold(api, id).await?;
    if let PartsState::Received { .. } = hold.row.body.state {
        // Whoever completed it was killed on the way: it is handed over now. What comes of it is found at its target.
        let outcome = hand_over_again(api, hold).await;
        let row = super::hold::read(api, id).await?;
        if row.body.state != PartsState::Done {
            return outcome;
        }
        return Ok(completed(api, &row.body));
    }
    let over = match &hold.row.body.state {
        PartsState::Refused { why } => Some(Err(Problem::upload_refused(why))),
        PartsState::Done => Some(Ok(completed(api, &hold.row.body))),
        PartsState::Receiving | PartsState::Received { .. } => None,
    };
    if let Some(answer) = over {
        // Holding it made an empty one.
        discard(hold.growing).await;
        return answer;
    }
    // What is told must still be so after a loss of power.
    hold.growing.sync().await?;
    Ok((StatusCode::OK, standing(api, &hold.row.body, hold.growing.bytes())).into_response())
}

/// The same of one that is over. 200 and not 204: with every answer to a HEAD the HTTP library says a length, which 204 may not
/// have (RFC 9110, 8.6).
fn completed(api: &Api, parts: &Parts) -> Response {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.extend(standing(api, parts, parts.length.unwrap_or(0)));
    headers.insert(fields::COMPLETE, fields::boolean(true));
    headers.insert(header::CONTENT_LOCATION, path(parts.target));
    response
}

fn path(target: Target) -> HeaderValue {
    HeaderValue::from_str(&target.path()).expect("a path of ids is visible ASCII")
}

/// The fields that say how far an upload is and what it may become.
fn standing(api: &Api, parts: &Parts, offset: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(fields::COMPLETE, fields::boolean(false));
    headers.insert(fields::OFFSET, offset.into());
    if let Some(length) = parts.length {
        headers.insert(fields::LENGTH, length.into());
    }
    headers.insert(fields::LIMIT, limit(api, parts.expires_at.since(now(api)).as_secs()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

/// `Upload-Limit`.
pub(crate) fn limit(api: &Api, age_s: u64) -> HeaderValue {
    let limit = format!("max-size={}, max-age={age_s}", api.config.upload_bytes_max);
    HeaderValue::from_str(&limit).expect("numbers are visible ASCII")
}

/// Appends a part; when it is the last, the upload is handed over.
pub(crate) async fn append(api: &Api, id: UploadId, headers: &HeaderMap, body: Body) -> Result<Response> {
    if media_type(headers) != fields::PARTIAL {
        let problem = Problem::media_type("send Content-Type: application/partial-upload");
        return Err(problem.with_header(fields::ACCEPT_PATCH, HeaderValue::from_static(fields::PARTIAL)));
    }
    let is_last = fields::complete(headers)
        .ok_or_else(|| Problem::bad_request("say Upload-Complete: ?1 with the last part, ?0 with others"))?;
    let offset = fields::offset(headers)
        .ok_or_else(|| Problem::bad_request("say Upload-Offset: where in the upload the part begins"))?;
    let content = digests::wanted(headers, &digests::CONTENT_DIGEST)?;
    let mut hold = hold(api, id).await?;
    let content_bytes = fields::content_length(&body);
    if let Some(refusal) = refusal(&hold.row.body, headers, content_bytes) {
        match hold.row.body.state {
            PartsState::Receiving => return Err(at(refusal, hold.growing.bytes())),
            // Its bytes are not handed over yet.
            PartsState::Received { .. } => {}
            PartsState::Done | PartsState::Refused { .. } => discard(hold.growing).await,
        }
        return Err(refusal);
    }
    let begins_at = hold.growing.bytes();
    if offset != begins_at {
        return Err(at(Problem::mismatching_offset(begins_at, offset), begins_at));
    }
    let bounds = learn(api, &mut hold, headers, content_bytes, is_last).await?;
    let appended = append_body(api, &mut hold, body, &content, bounds).await;
    let whole = match appended {
        Ok(whole) => whole,
        Err(problem) if problem.status == StatusCode::PAYLOAD_TOO_LARGE => {
            return Err(refuse(api, hold, problem).await);
        }
        Err(problem) => return Err(interrupted(hold, problem).await),
    };
    if is_last {
        return Box::pin(complete(api, hold, whole)).await;
    }
    hold.growing.sync().await?;
    save(api, &mut hold.row, PartsState::Receiving).await?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    response.headers_mut().extend(standing(api, &hold.row.body, hold.growing.bytes()));
    Ok(response)
}

/// A refusal that says where the upload stands.
fn at(problem: Problem, offset: u64) -> Problem {
    problem.with_header(fields::COMPLETE, fields::boolean(false)).with_header(fields::OFFSET, offset)
}

/// The answer to a part that did not come to its end: what of it is stored is told, if that can be.
async fn interrupted(mut hold: Hold<'_>, problem: Problem) -> Problem {
    match hold.growing.sync().await {
        Ok(()) => at(problem, hold.growing.bytes()),
        Err(_) => problem,
    }
}

/// Why nothing can be appended, if it is so.
fn refusal(parts: &Parts, headers: &HeaderMap, content_bytes: Option<u64>) -> Option<Problem> {
    match &parts.state {
        PartsState::Receiving => {
            let (known, said) = (parts.length, fields::length(headers));
            let differ = known.zip(said).filter(|(known, said)| known != said);
            let detail = differ.map(|(known, said)| format!("it has {known} bytes, as was said; now {said}"));
            detail.map(Problem::inconsistent_length)
        }
        PartsState::Refused { why } => Some(Problem::upload_refused(why)),
        PartsState::Received { .. } | PartsState::Done => {
            let problem = match content_bytes {
                Some(0) => Problem::completed_upload(),
                _ => Problem::inconsistent_length("the upload is complete: nothing can be added to it"),
            };
            Some(problem.with_header(header::CONTENT_LOCATION, path(parts.target)))
        }
    }
}

/// Stores what a request says of the whole, and that the upload lives; what it may grow to.
async fn learn(
    api: &Api,
    hold: &mut Hold<'_>,
    headers: &HeaderMap,
    content_bytes: Option<u64>,
    is_last: bool,
) -> Result<Bounds> {
    let begins_at = hold.growing.bytes();
    let said = fields::length(headers);
    let ends_at = content_bytes.map(|content| begins_at.saturating_add(content));
    let length = hold.row.body.length.or(said).or(ends_at.filter(|_| is_last));
    let bounds = Bounds { bytes_max: api.config.upload_bytes_max, length };
    // Told before anything comes, it costs nobody an upload.
    bounds.check(ends_at.unwrap_or(0).max(length.unwrap_or(0))).map_err(|problem| at(problem, begins_at))?;
    if let (true, Some(ends_at), Some(length)) = (is_last, ends_at, length)
        && ends_at != length
    {
        let detail = format!("it was to have {length} bytes, and would end at {ends_at}");
        return Err(at(Problem::inconsistent_length(detail), begins_at));
    }
    let wanted = digests::wanted(headers, &digests::REPR_DIGEST)?;
    let parts = &mut hold.row.body;
    parts.length = length;
    for (kind, digest) in wanted {
        let before = parts.digests.insert(kind.clone(), digest.clone());
        if let Some(before) = before.filter(|before| *before != digest) {
            return Err(at(
                Problem::digest_mismatch(&digests::REPR_DIGEST, &kind, &digest, &before),
                begins_at,
            ));
        }
    }
    save(api, &mut hold.row, PartsState::Receiving).await?;
    Ok(bounds)
}

/// Appends a body. The digests of the whole, where it all came now.
async fn append_body(
    api: &Api,
    hold: &mut Hold<'_>,
    body: Body,
    content: &Wanted,
    bounds: Bounds,
) -> Result<Option<Hashes>> {
    let begins_at = hold.growing.bytes();
    let repr = &hold.row.body.digests;
    let mut hashes = vec![Hashes::of(content)];
    hashes.extend((begins_at == 0).then(|| Hashes::with_blake3(repr)));
    let taken_over: CancellationToken = hold.taken_over().clone();
    receive(api, &mut *hold.growing, body, &mut hashes, bounds, &taken_over).await?;
    let mut hashes = hashes.into_iter();
    let part = hashes.next().expect("the part is digested");
    if let Err(problem) = part.check(content, &digests::CONTENT_DIGEST) {
        hold.growing.cut(begins_at).await?;
        return Err(problem);
    }
    Ok(hashes.next())
}

/// Checks an upload whose last part came, and hands it over. From here on it is complete, whatever comes of it.
async fn complete(api: &Api, mut hold: Hold<'_>, whole: Option<Hashes>) -> Result<Response> {
    let bytes = hold.growing.bytes();
    if let Err(problem) = check_length(bytes, hold.row.body.length) {
        return Err(if bytes == 0 { refuse(api, hold, problem).await } else { at(problem, bytes) });
    }
    let wanted = hold.row.body.digests.clone();
    let whole = match whole {
        Some(whole) => whole,
        None => digest_again(&mut hold, &wanted).await?,
    };
    let digest = match whole.check(&wanted, &digests::REPR_DIGEST) {
        Ok(digest) => digest.expect("the whole is digested by BLAKE3"),
        Err(problem) => return Err(refuse(api, hold, problem).await),
    };
    let parts = &mut hold.row.body;
    parts.length = Some(bytes);
    let upload = received(api, parts, bytes, digest);
    hold.growing.sync().await?;
    save(api, &mut hold.row, PartsState::Received { upload }).await?;
    let outcome = hand_over_again(api, hold).await;
    let mut response = outcome.unwrap_or_else(Problem::into_response);
    response.headers_mut().insert(fields::COMPLETE, fields::boolean(true));
    Ok(response)
}

fn received(api: &Api, parts: &Parts, bytes: u64, digest: Digest) -> model::audience::Upload {
    upload(parts.reading.clone(), parts.target.blob(super::attempt(api)), bytes, digest)
}

/// Digests what is stored.
async fn digest_again(hold: &mut Hold<'_>, wanted: &Wanted) -> Result<Hashes> {
    let path = hold.growing.file().await?;
    let mut hashes = Hashes::with_blake3(wanted);
    let digesting = tokio::task::spawn_blocking(move || {
        let mut file = std::fs::File::open(&path)?;
        let mut buffer = vec![0; READ_BYTES];
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(hashes),
                read => hashes.update(&buffer[..read]),
            }
        }
    });
    let digested = digesting.await.map_err(std::io::Error::other).flatten();
    digested.map_err(|error: std::io::Error| {
        let failed = format!("reading an upload again: {error}");
        backend::Error::new(backend::ErrorKind::Storage, "growing.file", failed).into()
    })
}

/// Hands over what was received: now, or after whoever received it was killed.
async fn hand_over_again(api: &Api, hold: Hold<'_>) -> Result<Response> {
    let Hold { growing, row, .. } = hold;
    let PartsState::Received { upload } = row.body.state.clone() else {
        return Err(Problem::completed_upload());
    };
    // Killed after the object had become the blob, it left none, and holding made an empty one.
    let growing = if growing.bytes() == upload.bytes {
        Some(growing)
    } else {
        discard(growing).await;
        None
    };
    let order = Order {
        target: row.body.target,
        actor: row.body.actor.clone(),
        upload,
        idempotency_key: row.body.idempotency_key.clone(),
        parts: Some(row),
    };
    Ok(hand_over::carry_out(api, order, growing).await?.into_response())
}

/// Hands over an upload that was complete when its process was killed, if nobody is at it.
pub(super) async fn settle(api: &Api, id: UploadId) -> Result<()> {
    let hold = hold(api, id).await?;
    hand_over_again(api, hold).await.map(drop)
}

/// Keeps nothing of an upload but why; the problem to answer with.
async fn refuse(api: &Api, hold: Hold<'_>, problem: Problem) -> Problem {
    let Hold { growing, mut row, .. } = hold;
    if let Err(error) = save(api, &mut row, PartsState::Refused { why: problem.detail.clone() }).await {
        return error;
    }
    discard(growing).await;
    problem.with_header(fields::COMPLETE, fields::boolean(true))
}

/// Stores a state; the upload lives on from now.
async fn save(api: &Api, row: &mut Versioned<Parts>, state: PartsState) -> Result<()> {
    row.body.state = state;
    row.body.expires_at = now(api) + api.config.retention.parts;
    let write = put(&row.body, Expect::Version(row.version));
    row.version = written(api, write).await?;
    Ok(())
}

async fn written(api: &Api, write: Write) -> Result<u64> {
    let written = api.backend.store.write(vec![write]).await?;
    match written.into_iter().next() {
        Some(Written::Done(version)) => Ok(version),
        // Nobody else writes it while it is held, unless an earlier call took effect after its answer was lost.
        _ => Err(Problem::not_known(
            "the upload was written meanwhile: ask for its offset and go on from there",
        )),
    }
}

/// Ends an upload that is not wanted any more. What it led to, if it was complete, stays.
pub(crate) async fn cancel(api: &Api, id: UploadId) -> Result<()> {
    let hold = hold(api, id).await?;
    if let PartsState::Received { .. } = hold.row.body.state {
        hand_over_again(api, hold).await?;
        return Ok(());
    }
    forget(api, hold).await
}

/// Removes an upload and what came of it.
pub(super) async fn forget(api: &Api, hold: Hold<'_>) -> Result<()> {
    let Hold { growing, row, .. } = hold;
    written(api, rows::upload::delete(row.body.id, row.version)).await?;
    discard(growing).await;
    Ok(())
}

/// How far an upload is, for reading; whoever is at it goes on.
pub(crate) async fn show(api: &Api, id: UploadId) -> Result<serde_json::Value> {
    let row = super::hold::read(api, id).await?.body;
    let received = match row.state {
        PartsState::Receiving => api.backend.blobs.grown(&object(id)).await?.unwrap_or(0),
        PartsState::Received { .. } | PartsState::Done => row.length.unwrap_or(0),
        PartsState::Refused { .. } => 0,
    };
    let (state, why) = match &row.state {
        PartsState::Receiving => ("receiving", None),
        PartsState::Received { .. } => ("received", None),
        PartsState::Done => ("done", None),
        PartsState::Refused { why } => ("refused", Some(why)),
    };
    Ok(serde_json::json!({
        "id": row.id,
        "target": row.target.path(),
        "state": state,
        "why": why,
        "bytes": received,
        "length": row.length,
        "created_at": row.created_at,
        "expires_at": row.expires_at,
    }))
}

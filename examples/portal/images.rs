//! Routes of images: streamed upload and download, in bounded memory.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, IF_RANGE, RANGE,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use chartlock::Error;
use chartlock::asynchronous::AsyncRecordWriter;
use futures_util::StreamExt;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use crate::caller::Caller;
use crate::failure::Failure;
use crate::names;
use crate::state::Portal;

/// Largest image, in bytes.
const IMAGE_MAX: u64 = 16 << 30;
/// Maximum time between two parts of an upload.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Media types that are accepted. A browser runs none of them as a script.
const MEDIA_TYPES: [&str; 5] = [
    "application/dicom",
    "application/pdf",
    "image/jp2",
    "image/jpeg",
    "image/png",
];

pub(crate) async fn put(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, id)): Path<(String, String)>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Failure> {
    let record = names::image(&patient, &id)?;
    let given = headers.get(CONTENT_TYPE);
    let given = given
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let media_type = MEDIA_TYPES.into_iter().find(|known| *known == given);
    let media_type = media_type.ok_or_else(unsupported)?;
    let session = caller.session_for(&portal, record.subject()).await?;
    let _permit = (portal.uploads.try_acquire())
        .map_err(|_| Failure::busy("too many uploads are running; try again later"))?;
    let writer = session.blocking().writer(&record);
    let writer = writer.content_type(media_type).label("clinical");
    // From here on, each early return drops the writer, so that no version is created.
    let mut writer = AsyncRecordWriter::from(writer);
    receive(body, &mut writer).await?;
    let version = writer.finish().await?;
    let status = match version {
        1 => StatusCode::CREATED,
        _ => StatusCode::OK,
    };
    Ok((status, [(ETAG, format!("\"{version}\""))]).into_response())
}

/// Writes the body of a request as it arrives.
async fn receive(body: Body, writer: &mut AsyncRecordWriter) -> Result<(), Failure> {
    let mut body = body.into_data_stream();
    let mut total = 0;
    loop {
        let part = timeout(IDLE_MAX, body.next()).await;
        let part =
            part.map_err(|_| Failure::new(StatusCode::REQUEST_TIMEOUT, "the upload stalled"))?;
        let Some(part) = part else { return Ok(()) };
        // The client disconnected, or violated the protocol.
        let part = part.map_err(|_| Failure::invalid("the upload is incomplete"))?;
        total += part.len() as u64;
        if total > IMAGE_MAX {
            return Err(Error::TooLarge.into());
        }
        let written = writer.write_all(&part).await;
        written.map_err(|error| error.downcast().unwrap_or(Error::NoRuntime))?;
    }
}

pub(crate) async fn get(
    State(portal): State<Arc<Portal>>,
    caller: Caller,
    Path((patient, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let record = names::image(&patient, &id)?;
    let session = caller.session_for(&portal, record.subject()).await?;
    let permit = Arc::clone(&portal.downloads).try_acquire_owned();
    let permit =
        permit.map_err(|_| Failure::busy("too many downloads are running; try again later"))?;
    let reader = session.reader(&record).await?;
    let reader = reader.ok_or_else(Failure::not_found)?;
    let (length, info) = (reader.len(), reader.info());
    let etag = format!("\"{}\"", info.version());
    let media_type = info.content_type().unwrap_or("application/octet-stream");
    let common = [
        (ETAG, etag.clone()),
        (CONTENT_TYPE, media_type.to_owned()),
        (ACCEPT_RANGES, "bytes".to_owned()),
    ];
    let (range, status) = match requested_range(&headers, &etag, length) {
        Requested::All => (0..length, StatusCode::OK),
        Requested::Part(range) => (range, StatusCode::PARTIAL_CONTENT),
        Requested::Unsatisfiable => {
            let range = [(CONTENT_RANGE, format!("bytes */{length}"))];
            return Ok((StatusCode::RANGE_NOT_SATISFIABLE, range).into_response());
        }
    };
    let size = [(CONTENT_LENGTH, (range.end - range.start).to_string())];
    let place = (status == StatusCode::PARTIAL_CONTENT).then(|| {
        [(
            CONTENT_RANGE,
            format!("bytes {}-{}/{length}", range.start, range.end - 1),
        )]
    });
    // Hold the permit until the last byte was sent, or the client disconnected.
    let parts = reader.with_range(range).inspect(move |_| _ = &permit);
    let mut response = (status, common, size, Body::from_stream(parts)).into_response();
    if let Some([(name, value)]) = place
        && let Ok(value) = value.parse()
    {
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

enum Requested {
    All,
    Part(Range<u64>),
    Unsatisfiable,
}

/// Reads one range of bytes. A header that is not such a range is ignored, as HTTP permits.
fn requested_range(headers: &HeaderMap, etag: &str, length: u64) -> Requested {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // The client has the beginning of another version.
    if text(IF_RANGE).is_some_and(|known| known != etag) {
        return Requested::All;
    }
    let range = text(RANGE).and_then(|value| value.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.split_once('-')) else {
        return Requested::All;
    };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| !text.starts_with('+'));
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(length),
        (Some(first), None) if last.is_empty() => first..length,
        (None, Some(last)) if first.is_empty() => length.saturating_sub(last)..length,
        _ => return Requested::All,
    };
    match range.start < range.end {
        true => Requested::Part(range),
        false => Requested::Unsatisfiable,
    }
}

fn unsupported() -> Failure {
    let text = format!(
        "an image has one of the media types {}",
        MEDIA_TYPES.join(", ")
    );
    Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
}

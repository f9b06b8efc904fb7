//! Requests for single objects, with retries.
//!
//! Guarantees: a request that changes an object is repeated only if it had no effect before; each request
//! ends within its time-outs. Must not know: the meaning of keys and values.

use std::future::Future;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion,
};
use tokio::time::{sleep, timeout};

use super::object_names::ObjectNames;
use super::request_failure::{ErrorCode, RequestFailure};
use crate::storage::limits::VALUE_BYTES_MAX;
use crate::storage::{CommitError, Expect, Revision, StorageError, Value};

/// First and last pause between two attempts of a request.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);
/// Maximum time of a call that lists, as a multiple of the maximum time of a request.
const LIST_WAITS: u32 = 8;
/// Maximum length of an ETag, in bytes.
const ETAG_BYTES_MAX: usize = 256;

/// The objects of one storage.
pub(super) struct Bucket {
    pub(super) store: AmazonS3,
    pub(super) names: ObjectNames,
    /// Maximum number of requests of one call that run at the same time.
    pub(super) requests: usize,
    pub(super) server_wait: Duration,
    pub(super) answer_wait: Duration,
    pub(super) is_closed: AtomicBool,
}

/// An object, or its first bytes.
pub(super) struct Fetched {
    pub(super) value: Bytes,
    /// Length of the whole object.
    pub(super) size: u64,
    pub(super) revision: Revision,
}

/// Result of a put.
pub(super) struct PutDone {
    pub(super) revision: Revision,
    /// `true` if the bucket keeps the former object.
    pub(super) is_versioned: bool,
}

impl Bucket {
    /// Sends a request, and repeats the request after failures that `may_repeat` accepts, until the server wait
    /// ends.
    pub(super) async fn repeated<T, F>(
        &self,
        may_repeat: fn(&RequestFailure) -> bool,
        request: impl Fn() -> F,
    ) -> Result<T, RequestFailure>
    where
        F: Future<Output = Result<T, RequestFailure>>,
    {
        let end = Instant::now() + self.server_wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let answer = timeout(self.answer_wait, request()).await;
            let failure = match answer.unwrap_or(Err(RequestFailure::TimedOut)) {
                Err(failure) => failure,
                answer => return answer,
            };
            if !may_repeat(&failure) || Instant::now() + pause > end {
                return Err(failure);
            }
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Limits the time of a call that lists, because a server may answer with endless lists.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let wait = (self.server_wait + self.answer_wait) * LIST_WAITS;
        let done = timeout(wait, call).await;
        done.unwrap_or(Err(StorageError::TimedOut))
    }

    /// Reads an object, or at most its first `head` bytes; `None` if it is absent.
    pub(super) async fn get(
        &self,
        key: &[u8],
        head: Option<u64>,
    ) -> Result<Option<Fetched>, RequestFailure> {
        let path = self.names.path(key);
        let range = head.map(|bytes| GetRange::Bounded(0..bytes));
        let fetch = || self.fetch(&path, range.clone());
        let fetched = self.repeated(RequestFailure::is_passing, fetch).await;
        match fetched {
            // An empty object has no range.
            Err(RequestFailure::Refused { status: 416, .. }) if range.is_some() => {
                let fetch = || self.fetch(&path, None);
                absent(self.repeated(RequestFailure::is_passing, fetch).await)
            }
            fetched => absent(fetched),
        }
    }

    async fn fetch(&self, path: &Path, range: Option<GetRange>) -> Result<Fetched, RequestFailure> {
        let options = GetOptions {
            range,
            ..GetOptions::default()
        };
        let answer = self.store.get_opts(path, options).await?;
        let size = answer.meta.size;
        let expected = answer.range.end.saturating_sub(answer.range.start);
        // Check the size first, because the library reserves memory for it.
        if size.max(expected) > VALUE_BYTES_MAX as u64 {
            return Err(RequestFailure::Oversized);
        }
        let revision = revision(answer.meta.e_tag.as_deref())?;
        let value = answer.bytes().await?;
        match value.len() as u64 == expected {
            true => Ok(Fetched {
                value,
                size,
                revision,
            }),
            false => Err(RequestFailure::Malformed),
        }
    }

    /// Returns the revision of an object; `None` if it is absent.
    pub(super) async fn revision(&self, key: &[u8]) -> Result<Option<Revision>, RequestFailure> {
        let path = self.names.path(key);
        let head = || async { Ok(self.store.head(&path).await?) };
        match self.repeated(RequestFailure::is_passing, head).await {
            // The answer to a HEAD request has no error code, so only a GET request proves that the object is absent.
            Err(RequestFailure::Refused { status: 404, .. }) => {
                Ok(self.get(key, Some(1)).await?.map(|object| object.revision))
            }
            head => revision(head?.e_tag.as_deref()).map(Some),
        }
    }

    /// Writes an object.
    pub(super) async fn put(
        &self,
        path: &Path,
        value: &Value,
        expect: &Expect,
    ) -> Result<PutDone, ChangeError> {
        let mode = match expect {
            Expect::Any => PutMode::Overwrite,
            Expect::Absent => PutMode::Create,
            Expect::Unchanged(revision) => update(revision).ok_or(ChangeError::Conflict)?,
        };
        let put = || async {
            let payload = Bytes::from(value.clone()).into();
            let options = PutOptions::from(mode.clone());
            let done = self.store.put_opts(path, payload, options).await?;
            Ok(PutDone {
                revision: revision(done.e_tag.as_deref())?,
                is_versioned: done.version.is_some(),
            })
        };
        let done = self.repeated(may_repeat_change(expect), put).await;
        done.map_err(|failure| ChangeError::of(failure, expect))
    }

    pub(super) async fn delete(&self, path: &Path) -> Result<(), ChangeError> {
        let delete = || async { Ok(self.store.delete(path).await?) };
        match self.repeated(may_repeat_change(&Expect::Any), delete).await {
            Err(failure) if failure.is_absence() => Ok(()),
            deleted => deleted.map_err(|failure| ChangeError::of(failure, &Expect::Any)),
        }
    }
}

/// Reason why a change failed.
pub(super) enum ChangeError {
    Conflict,
    Other(CommitError),
}

impl ChangeError {
    fn of(failure: RequestFailure, expect: &Expect) -> Self {
        match (failure, expect) {
            (
                RequestFailure::Refused { status: 412, .. }
                | RequestFailure::Refused {
                    status: 409,
                    code: ErrorCode::Other,
                },
                Expect::Absent | Expect::Unchanged(_),
            ) => Self::Conflict,
            (failure, Expect::Unchanged(_)) if failure.is_absence() => Self::Conflict,
            (failure, _) => Self::Other(failure.of_change()),
        }
    }
}

/// Returns a predicate for the failures after which a change had no effect, and so may be repeated.
///
/// Without a precondition, status 409 means that the server works on another change of the object.
fn may_repeat_change(expect: &Expect) -> fn(&RequestFailure) -> bool {
    match expect {
        Expect::Any => |failure| {
            let is_busy = matches!(
                failure,
                RequestFailure::Refused {
                    status: 409,
                    code: ErrorCode::Other
                }
            );
            is_busy || failure.is_refused_for_now()
        },
        _ => RequestFailure::is_refused_for_now,
    }
}

fn absent(fetched: Result<Fetched, RequestFailure>) -> Result<Option<Fetched>, RequestFailure> {
    match fetched {
        Err(failure) if failure.is_absence() => Ok(None),
        fetched => fetched.map(Some),
    }
}

/// Returns the revision for the ETag of an answer.
///
/// # Errors
/// [`RequestFailure::Malformed`] if the ETag is missing or empty, or cannot be a precondition. A weak ETag cannot,
/// because no precondition matches a weak ETag.
pub(super) fn revision(etag: Option<&str>) -> Result<Revision, RequestFailure> {
    let etag = etag.ok_or(RequestFailure::Malformed)?.trim_matches('"');
    match is_etag(etag.as_bytes()) && !etag.starts_with("W/") {
        true => Ok(Revision::new(etag.as_bytes())),
        false => Err(RequestFailure::Malformed),
    }
}

/// Returns the precondition for a revision; `None` if no object can have it.
fn update(revision: &Revision) -> Option<PutMode> {
    let etag = revision.as_bytes();
    let text = std::str::from_utf8(etag).ok().filter(|_| is_etag(etag))?;
    Some(PutMode::Update(UpdateVersion {
        e_tag: Some(format!("\"{text}\"")),
        version: None,
    }))
}

fn is_etag(etag: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'"';
    (1..=ETAG_BYTES_MAX).contains(&etag.len()) && etag.iter().all(is_plain)
}

//! Tests of lost answers, refused requests, and servers that do not answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use chartlock::storage::{
    BackendCode, CommitError, Expect, Projection, Scan, Storage, StorageError, Transaction,
};

use crate::common::http_proxy::{Action, HttpProxy};
use crate::common::s3_server;
use crate::fake_bucket::{bucket, open, options};

fn put(key: &[u8]) -> Transaction {
    Transaction::new().put(key, b"sealed", Expect::Absent)
}

fn all() -> Scan<'static> {
    Scan {
        prefix: b"",
        after: None,
        limit: 10,
        projection: Projection::Values,
    }
}

/// A second put would fail at its precondition, as if another writer had written first.
#[test]
fn put_without_an_answer_is_unknown_and_never_repeated() {
    let mut servers = s3_server::all().peekable();
    if servers.peek().is_none() {
        return;
    }
    for server in servers {
        let proxy = HttpProxy::start(server.port, |request| {
            match request.target.contains("probe") {
                false if request.is("PUT") => Action::Cut,
                _ => Action::Forward,
            }
        });
        let prefix = "cut";
        let storage = s3_server::options_at(proxy.port, prefix).open().unwrap();
        proxy.take();
        assert_eq!(storage.commit(&[put(b"r1")]), [Err(CommitError::Unknown)]);
        assert_eq!(proxy.take().len(), 1);
        assert!(storage.read(&[b"r1"]).unwrap()[0].is_some());
        assert!(storage.commit(&[Transaction::new().delete(b"r1")])[0].is_ok());
    }
}

#[test]
fn delete_without_an_answer_is_unknown_and_never_repeated() {
    let (proxy, objects) = bucket(|request| {
        let is_delete = request.is("DELETE") && !request.target.contains("probe");
        is_delete.then_some(Action::Cut)
    });
    objects.lock().unwrap().put("7231", b"sealed");
    let storage = open(&proxy);
    let delete = Transaction::new().delete(b"r1");
    assert_eq!(storage.commit(&[delete]), [Err(CommitError::Unknown)]);
    assert_eq!(proxy.take().len(), 1);
}

/// Starts a bucket that answers the first `count` puts with an error.
fn failing(count: usize, status: u16, code: &'static str) -> HttpProxy {
    let left = AtomicUsize::new(count);
    let (proxy, _) = bucket(move |request| {
        let is_put = request.is("PUT") && !request.target.contains("probe");
        let less = |left: usize| left.checked_sub(1);
        let fails = is_put
            && left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, less)
                .is_ok();
        fails.then(|| Action::error(status, code))
    });
    proxy
}

#[test]
fn put_refused_for_now_is_repeated() {
    for (status, code) in [(503, "SlowDown"), (429, "TooManyRequests")] {
        let proxy = failing(2, status, code);
        let storage = open(&proxy);
        assert!(storage.commit(&[put(b"r1")])[0].is_ok());
        assert_eq!(proxy.take().len(), 3);
    }
}

#[test]
fn put_refused_for_too_long_returns_error_and_writes_nothing() {
    let proxy = failing(usize::MAX, 503, "SlowDown");
    let storage = open(&proxy);
    let error = StorageError::Backend(BackendCode::Http(503));
    assert_eq!(storage.commit(&[put(b"r1")]), [Err(error.into())]);
    assert_eq!(storage.read(&[b"r1"]), Ok(vec![None]));
}

#[test]
fn error_of_the_server_during_a_put_is_unknown() {
    for status in [408, 500, 502, 503, 504] {
        let proxy = failing(1, status, "InternalError");
        let storage = open(&proxy);
        let result = storage.commit(&[put(b"r1")]);
        assert_eq!(result, [Err(CommitError::Unknown)], "{status}");
        assert_eq!(proxy.take().len(), 1);
    }
}

#[test]
fn each_refusal_of_a_put_returns_its_error() {
    let backend = |status| StorageError::Backend(BackendCode::Http(status));
    for (status, code, error) in [
        (401, "Unauthorized", StorageError::Denied),
        (403, "AccessDenied", StorageError::Denied),
        (403, "QuotaExceeded", StorageError::Full),
        (507, "XMinioStorageFull", StorageError::Full),
        (413, "", StorageError::TooLarge),
        (400, "EntityTooLarge", StorageError::TooLarge),
        (501, "NotImplemented", StorageError::Unsupported),
        (400, "InvalidRequest", backend(400)),
        (404, "NoSuchBucket", backend(404)),
        (301, "PermanentRedirect", backend(301)),
    ] {
        let proxy = failing(1, status, code);
        let storage = open(&proxy);
        assert_eq!(
            storage.commit(&[put(b"r1")]),
            [Err(error.into())],
            "{status}"
        );
        assert_eq!(proxy.take().len(), 1);
    }
}

#[test]
fn conflict_of_the_first_request_is_a_conflict() {
    for status in [409, 412] {
        let proxy = failing(1, status, "Refused");
        let storage = open(&proxy);
        let conflict = CommitError::Conflict { operation: 0 };
        assert_eq!(storage.commit(&[put(b"r1")]), [Err(conflict)]);
        assert_eq!(proxy.take().len(), 1);
    }
}

#[test]
fn unconditional_put_during_another_change_is_repeated() {
    let proxy = failing(2, 409, "OperationAborted");
    let storage = open(&proxy);
    let put = Transaction::new().put(b"r1", b"sealed", Expect::Any);
    assert!(storage.commit(&[put])[0].is_ok());
    assert_eq!(proxy.take().len(), 3);
}

/// A conflict would claim that another writer wrote the object.
#[test]
fn conditional_put_during_another_change_is_repeated() {
    for code in ["ConditionalRequestConflict", "OperationAborted"] {
        let proxy = failing(2, 409, code);
        let storage = open(&proxy);
        assert!(storage.commit(&[put(b"r1")])[0].is_ok());
        assert_eq!(proxy.take().len(), 3);
        let storage = open(&failing(usize::MAX, 409, code));
        let error = StorageError::Backend(BackendCode::Http(409));
        assert_eq!(storage.commit(&[put(b"r1")]), [Err(error.into())]);
    }
}

/// The server could apply the later transaction first.
#[test]
fn transaction_after_unknown_outcome_on_its_key_is_not_sent() {
    let proxy = failing(1, 500, "InternalError");
    let storage = open(&proxy);
    let later = Transaction::new().put(b"r1", b"later", Expect::Any);
    let results = storage.commit(&[put(b"r1"), later, put(b"r2")]);
    let not_sent = StorageError::Unreachable.into();
    assert_eq!(results[..2], [Err(CommitError::Unknown), Err(not_sent)]);
    assert!(results[2].is_ok());
    assert_eq!(proxy.take().len(), 2);
}

#[test]
fn reads_are_repeated_after_each_passing_failure() {
    for action in [
        || Action::error(500, "InternalError"),
        || Action::error(503, "SlowDown"),
        || {
            Action::Answer(
                200,
                "ETag: \"1\"\r\nContent-Length: 99\r\n".into(),
                Vec::new(),
            )
        },
        || {
            Action::Change(|_| {
                b"HTTP/1.1 200 OK\r\nETag: \"1\"\r\nContent-Length: 9\r\n\r\nseal".to_vec()
            })
        },
    ] {
        let is_first = AtomicUsize::new(0);
        let (proxy, objects) = bucket(move |request| {
            let is_hit = request.is("GET") && is_first.fetch_add(1, Ordering::SeqCst) == 0;
            is_hit.then(action)
        });
        objects.lock().unwrap().put("7231", b"sealed");
        let storage = open(&proxy);
        let read = storage.read(&[b"r1"]).unwrap();
        assert_eq!(read[0].as_ref().unwrap().value, b"sealed");
    }
}

#[test]
fn stalled_server_times_out() {
    let (proxy, objects) = bucket(|request| {
        let is_hit = !request.is_list() && !request.target.contains("probe");
        is_hit.then_some(Action::Stall)
    });
    objects.lock().unwrap().put("7231", b"sealed");
    let storage = open(&proxy);
    let start = Instant::now();
    assert_eq!(storage.read(&[b"r1"]), Err(StorageError::TimedOut));
    assert_eq!(storage.commit(&[put(b"r2")]), [Err(CommitError::Unknown)]);
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn unreachable_server_has_no_effect() {
    let (proxy, _) = bucket(|_| None);
    let storage = open(&proxy);
    let gone = crate::common::server_process::free_port();
    let refused = s3_server::options_at(gone, "north").wait_for_server(Duration::ZERO);
    assert_eq!(refused.open().unwrap_err(), StorageError::Unreachable);
    drop(storage);
}

#[test]
fn denied_requests_return_denied() {
    let (proxy, objects) = bucket(|request| {
        let is_probe = request.target.contains("probe") || request.is_list();
        (!is_probe).then(|| Action::error(403, "AccessDenied"))
    });
    objects.lock().unwrap().put("7231", b"sealed");
    let storage = open(&proxy);
    assert_eq!(storage.read(&[b"r1"]), Err(StorageError::Denied));
    assert_eq!(storage.scan(all()), Err(StorageError::Denied));
    let check = Transaction::new().check(b"r1", Expect::Any);
    assert_eq!(storage.commit(&[check]), [Err(StorageError::Denied.into())]);
    let (proxy, _) = bucket(|_| Some(Action::error(403, "AccessDenied")));
    assert_eq!(options(&proxy).open().unwrap_err(), StorageError::Denied);
}

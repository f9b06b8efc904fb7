//! Tests of options, and of a storage in async runtimes, after `close` and in forked processes.

use std::time::Duration;

use chartlock::storage::{CommitError, Expect, ObjectOptions, Storage, StorageError, Transaction};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};

use crate::common::s3_server::{self, KEY, SECRET, VERSIONED, options_at};
use crate::fake_bucket::{bucket, open, options};

#[test]
fn prefix_outside_the_allowed_names_is_refused() {
    let options = || ObjectOptions::new(AmazonS3Builder::new());
    for valid in ["", "north", "/clinic/north/", "a-b_c.d/E1"] {
        assert!(options().prefix(valid).is_ok(), "{valid}");
    }
    let long = "a".repeat(513);
    for name in [
        "a//b",
        "a b",
        "../a",
        "a/./b",
        "ä",
        "a%2F",
        "a\n",
        long.as_str(),
    ] {
        let refused = options().prefix(name);
        assert_eq!(refused.unwrap_err(), StorageError::InvalidOptions, "{name}");
    }
}

#[test]
fn contradictory_options_are_refused() {
    let opened = |builder: AmazonS3Builder| ObjectOptions::new(builder).open().unwrap_err();
    let http = AmazonS3Builder::new().with_endpoint("http://127.0.0.1:1");
    // No bucket; no TLS for Amazon S3 or another address; half a key; directories of S3 Express.
    assert_eq!(opened(http.clone()), StorageError::InvalidOptions);
    let named = AmazonS3Builder::new().with_bucket_name("clinic");
    assert_eq!(opened(named.clone()), StorageError::InvalidOptions);
    let https = named.clone().with_endpoint("https://s3.clinic.example");
    assert_eq!(opened(https), StorageError::InvalidOptions);
    let half = http
        .clone()
        .with_bucket_name("clinic")
        .with_access_key_id("id");
    assert_eq!(opened(half), StorageError::InvalidOptions);
    for express in ["true", "True", "1", "on", "YES", "y"] {
        let express = http
            .clone()
            .with_config(AmazonS3ConfigKey::S3Express, express);
        assert_eq!(opened(express), StorageError::Unsupported);
    }
}

#[test]
fn debug_of_options_and_storage_shows_no_secret() {
    let (proxy, _) = bucket(|_| None);
    let options = options(&proxy);
    let texts = [
        format!("{options:?}"),
        format!("{:?}", options.open().unwrap()),
    ];
    for text in texts {
        assert!(!text.contains(SECRET) && !text.contains(KEY), "{text}");
    }
}

/// Retries and switched-off preconditions of the app's builder would make results wrong.
#[test]
fn settings_of_the_builder_change_no_precondition_and_no_repetition() {
    let (proxy, _) = bucket(|request| {
        let is_put = request.is("PUT") && !request.target.contains("probe");
        is_put.then(|| crate::common::http_proxy::Action::error(500, "InternalError"))
    });
    let builder = AmazonS3Builder::new()
        .with_endpoint(format!("http://127.0.0.1:{}", proxy.port))
        .with_bucket_name("clinic")
        .with_access_key_id("id")
        .with_secret_access_key("secret")
        .with_config(AmazonS3ConfigKey::ConditionalPut, "disabled")
        .with_retry(object_store::RetryConfig::default());
    let storage = ObjectOptions::new(builder).open().unwrap();
    proxy.take();
    let put = Transaction::new().put(b"r1", b"sealed", Expect::Absent);
    assert_eq!(storage.commit(&[put]), [Err(CommitError::Unknown)]);
    let sent = proxy.take();
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].header("if-none-match").as_deref(), Some("*"));
}

#[test]
fn storage_works_inside_an_async_runtime() {
    let (proxy, _) = bucket(|_| None);
    let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
    runtime.block_on(async {
        let storage = open(&proxy);
        let put = Transaction::new().put(b"r1", b"sealed", Expect::Absent);
        assert!(storage.commit(&[put])[0].is_ok());
        drop(storage);
    });
}

#[test]
fn closed_storage_returns_stopped() {
    let (proxy, _) = bucket(|_| None);
    let storage = open(&proxy);
    storage.close().unwrap();
    storage.close().unwrap();
    assert_eq!(storage.read(&[b"r1"]), Err(StorageError::Stopped));
    assert_eq!(storage.last(&[b"r"]), Err(StorageError::Stopped));
    let delete = Transaction::new().delete(b"r1");
    assert_eq!(
        storage.commit(&[delete]),
        [Err(StorageError::Stopped.into())]
    );
    assert!(proxy.take().is_empty());
}

#[test]
fn versioned_bucket_reports_deferred_destruction() {
    let Some(moto) = s3_server::moto() else {
        return;
    };
    let destroy = |storage: &dyn Storage| {
        let put = Transaction::new().put(b"p1", b"keys", Expect::Any);
        assert!(!storage.commit(&[put])[0].as_ref().unwrap().deferred);
        let put = Transaction::new().put_destroying(b"p1", b"none", Expect::Any);
        storage.commit(&[put])[0].as_ref().unwrap().deferred
    };
    let plain = options_at(moto.port, "plain").open().unwrap();
    assert!(!destroy(&plain));
    let versioned = options_at(moto.port, "versioned").bucket(VERSIONED);
    assert!(destroy(&versioned.open().unwrap()));
}

#[test]
fn waits_are_shorter_than_key_removal_delay() {
    // After a longer wait, a put could arrive after the key of its content was destroyed.
    let gone = crate::common::server_process::free_port();
    let forever = options_at(gone, "north").wait_for_answer(Duration::MAX);
    let refused = forever.wait_for_server(Duration::from_millis(100)).open();
    assert_eq!(refused.unwrap_err(), StorageError::Unreachable);
}

/// A child that sent requests on the connections of its parent would mix up their answers.
#[test]
#[allow(unsafe_code)]
fn storage_in_forked_child_returns_forked() {
    let (proxy, _) = bucket(|_| None);
    let storage = open(&proxy);
    // SAFETY: the child uses only the storage, which waits for no lock of its parent, and ends with `_exit`.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0);
    if pid == 0 {
        let read = storage.read(&[b"r1"]) == Err(StorageError::Forked);
        let delete = Transaction::new().delete(b"r1");
        let commit = storage.commit(&[delete]) == [Err(StorageError::Forked.into())];
        drop(storage);
        // SAFETY: this ends the child without the exit handlers of the test harness.
        unsafe { libc::_exit(i32::from(!read || !commit)) };
    }
    let mut status = 0;
    // SAFETY: `pid` is a child of this process, and `status` outlives the call.
    assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    assert_eq!(storage.read(&[b"r1"]), Ok(vec![None]));
}

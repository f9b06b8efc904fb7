//! Dropped futures, readers, writers and streams.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use chartlock::audit::AuditItem;
use chartlock::{Error, FileStorage, MemoryStorage, Operation, Vault};
use futures_util::{StreamExt, stream};
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep, timeout};

use super::common::{Fixed, subject};
use super::gated::Gated;
use super::{content, count, id, session, vault, vault_in};

/// Polls a future once, and drops it.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = future => Some(done),
        () = std::future::ready(()) => None,
    }
}

#[tokio::test]
async fn unpolled_put_writes_nothing() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    drop(session.put(&id, b"one"));
    sleep(Duration::from_millis(20)).await;
    assert!(session.get(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn dropped_put_is_written_and_journaled() {
    let storage = Gated::default();
    let (vault, id) = (vault_in(storage.clone()), id("note"));
    let session = session(&vault);
    session.put(&id, b"one").await.unwrap();
    storage.close();
    {
        let mut put = std::pin::pin!(session.put(&id, b"two"));
        assert_eq!(poll_once(&mut put).await, None);
        // The put is dropped once it has begun.
        storage.wait_for_commit();
    }
    storage.open();
    while session.get(&id).await.unwrap().unwrap().version() < 2 {}
    let entries = session.with(|session| {
        let entries = session.audit()?.entries(..)?;
        entries.collect::<Result<Vec<_>, _>>()
    });
    let puts = entries.await.unwrap().into_iter().filter(
        |item| matches!(item, AuditItem::Entry(entry) if entry.operation == Operation::Put),
    );
    assert_eq!(puts.count(), 2);
}

#[tokio::test]
async fn dropped_put_that_waits_is_not_written() {
    let storage = Gated::default();
    let vault = vault_in(storage.clone()).max_operations(1);
    let (session, first, second) = (session(&vault), id("first"), id("second"));
    storage.close();
    let mut running = std::pin::pin!(session.put(&first, b"one"));
    assert_eq!(poll_once(&mut running).await, None);
    storage.wait_for_commit();
    assert_eq!(poll_once(session.put(&second, b"two")).await, None);
    storage.open();
    assert_eq!(running.await, Ok(1));
    assert!(session.get(&second).await.unwrap().is_none());
}

#[tokio::test]
async fn close_does_not_wait_for_operations_that_stall() {
    let storage = Gated::default();
    let vault = vault_in(storage.clone()).max_operations(1);
    let (session, id) = (session(&vault), id("note"));
    storage.close();
    let mut stalled = std::pin::pin!(session.put(&id, b"one"));
    assert_eq!(poll_once(&mut stalled).await, None);
    storage.wait_for_commit();
    let mut closing = std::pin::pin!(vault.close());
    assert_eq!(poll_once(&mut closing).await, None);
    // The keys are wiped although the storage does not answer.
    while vault.blocking().recovery_kit() != Err(Error::Locked) {
        sleep(Duration::from_millis(1)).await;
    }
    storage.open();
    closing.await.unwrap();
    assert!(stalled.await.is_ok(), "the put had begun");
}

#[tokio::test]
async fn dropped_writer_leaves_no_version_and_no_segment() {
    let storage = Arc::new(MemoryStorage::new());
    let vault = vault_in(Arc::clone(&storage));
    let (session, id) = (session(&vault), id("ImagingStudy/ct"));
    session.put(&id, b"before").await.unwrap();
    // Drop the writer between writes, and while the pool writes.
    for is_writing in [false, true] {
        let mut writer = session.writer(&id);
        writer.write_all(&content(6 << 20)).await.unwrap();
        match is_writing {
            false => writer.flush().await.unwrap(),
            true => drop(poll_once(writer.flush()).await),
        }
        drop(writer);
        let removed = async {
            while count(&*storage, b"s") + count(&*storage, b"w") > 0 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(30), removed).await.unwrap();
    }
    let history = session.history(&id).await.unwrap();
    assert_eq!(history.len(), 1);
    assert_eq!(&session.get(&id).await.unwrap().unwrap()[..], b"before");
    let accesses = session.with(|session| session.audit()?.accesses(&subject("MRN-1042"), ..));
    let refused = accesses.await.unwrap().accesses.into_iter();
    let refused = refused.filter(|access| {
        access.operation == Operation::Put
            && access.outcome == chartlock::access::AccessOutcome::Refused
    });
    assert_eq!(refused.count(), 2, "each abandoned upload is journaled");
    assert!(
        vault
            .with(|vault| vault.verify(None))
            .await
            .unwrap()
            .is_clean()
    );
}

#[tokio::test]
async fn dropped_write_stream_creates_no_version() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let body = |length| stream::iter([Ok::<_, io::Error>(content(length))]);
    let cut = Error::Source(io::ErrorKind::UnexpectedEof);
    // The task waits for the stream, or for the pool.
    for length in [1_000, 1_000_000] {
        let mut writer = session.writer(&id);
        writer.write_all(b"begin").await.unwrap();
        let stalled = body(length).chain(stream::pending());
        assert_eq!(poll_once(writer.write_stream(stalled)).await, None);
        let refused = writer.write_all(b"more").await.unwrap_err();
        assert_eq!(refused.downcast::<Error>().unwrap(), cut);
        let refused = writer.write_stream(body(1)).await;
        assert_eq!(refused, Err(cut.clone()));
        assert_eq!(writer.finish().await, Err(cut.clone()));
    }
    assert!(session.get(&id).await.unwrap().is_none());
    // Streams that end can follow each other.
    let mut writer = session.writer(&id);
    for length in [1_000_000, 0, 1_000] {
        let written = writer.write_stream(body(length)).await;
        assert_eq!(written, Ok(length as u64));
    }
    assert_eq!(writer.finish().await, Ok(1));
}

#[tokio::test]
async fn dropped_finish_creates_whole_version_or_none() {
    let storage = Gated::default();
    let (vault, id) = (vault_in(storage.clone()), id("ImagingStudy/ct"));
    let session = session(&vault);
    session.put(&id, b"before").await.unwrap();
    let written = content(3 << 20);
    let mut writer = session.writer(&id);
    writer.write_all(&written).await.unwrap();
    writer.flush().await.unwrap();
    storage.close();
    assert_eq!(poll_once(writer.finish()).await, None);
    storage.wait_for_commit();
    storage.open();
    while session.history(&id).await.unwrap().len() < 2 {}
    assert!(session.get(&id).await.unwrap().unwrap()[..] == written[..]);
}

#[tokio::test]
async fn dropped_handles_release_storage() {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("clinic");
    let vault = vault_in(FileStorage::open(&directory).unwrap());
    let (session, id) = (session(&vault), id("ImagingStudy/ct"));
    session.put(&id, content(5 << 20)).await.unwrap();
    let mut reader = session.reader(&id).await.unwrap().unwrap();
    reader.next().await.unwrap().unwrap();
    drop(poll_once(reader.next()).await);
    let mut records = session.get_all(id.subject()).await.unwrap();
    drop(poll_once(records.next()).await);
    let mut writer = session.writer(&id);
    writer.write_all(&content(5 << 20)).await.unwrap();
    drop((vault, session, reader, records, writer));
    // Each handle ends on the pool, at the latest after the part that is running.
    let reopened = async {
        loop {
            match FileStorage::open(&directory) {
                Ok(storage) => break storage,
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let storage = timeout(Duration::from_secs(30), reopened).await.unwrap();
    let vault = Vault::open(storage, &Fixed(1)).unwrap();
    assert!(vault.verify(None).unwrap().is_clean());
}

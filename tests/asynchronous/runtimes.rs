//! Kinds of runtimes, no runtime, and a runtime that is shut down.

use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use chartlock::{Document, Error, MemoryStorage};
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::{Builder, Runtime};

use super::gated::Gated;
use super::{content, count, id, session, vault, vault_in};

/// Polls a future on this thread, without a runtime.
fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls a future until it is ready, without a runtime.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    loop {
        match poll(future.as_mut()) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

/// Returns a runtime with one thread for tasks and one for blocking operations.
fn smallest() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.max_blocking_threads(1).build().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_tasks_put_and_get_on_several_threads() {
    let vault = vault();
    let tasks = (0..64).map(|number| {
        let session = session(&vault);
        tokio::spawn(async move {
            let id = id(&format!("Observation/{number}"));
            session
                .put(&id, Document::owned(vec![number; 100]))
                .await
                .unwrap();
            session.get(&id).await.unwrap().unwrap()[..] == [number; 100]
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        assert!(task.await.unwrap());
    }
}

#[test]
fn runtime_with_one_thread_runs_operations() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    smallest().block_on(async {
        session.put(&id, b"one").await.unwrap();
        assert_eq!(&session.get(&id).await.unwrap().unwrap()[..], b"one");
    });
}

#[test]
fn calls_without_runtime_return_no_runtime() {
    let storage = Arc::new(MemoryStorage::new());
    let (vault, id) = (vault_in(Arc::clone(&storage)), id("note"));
    let session = session(&vault);
    assert_eq!(ready(session.put(&id, b"one")), Err(Error::NoRuntime));
    assert_eq!(ready(session.get(&id)).unwrap_err(), Error::NoRuntime);
    assert_eq!(ready(vault.close()), Err(Error::NoRuntime));
    let mut writer = session.writer(&id);
    ready(writer.write_all(b"one")).unwrap();
    assert_eq!(ready(writer.finish()), Err(Error::NoRuntime));
    assert_eq!(count(&*storage, b"r"), 0);

    // Readers that were opened in a runtime.
    let runtime = smallest();
    runtime
        .block_on(session.put(&id, content(1 << 20)))
        .unwrap();
    let mut reader = runtime.block_on(session.reader(&id)).unwrap().unwrap();
    let mut stream = runtime.block_on(session.get_all(id.subject())).unwrap();
    let error = ready(reader.read(&mut [0; 10])).unwrap_err();
    assert_eq!(error.downcast::<Error>().unwrap(), Error::NoRuntime);
    assert_eq!(ready(stream.next()).unwrap().unwrap_err(), Error::NoRuntime);
    assert!(ready(stream.next()).is_none());
}

#[test]
fn writer_dropped_without_runtime_removes_its_segments() {
    let storage = Arc::new(MemoryStorage::new());
    let vault = vault_in(Arc::clone(&storage));
    let runtime = smallest();
    let mut writer = session(&vault).writer(&id("ImagingStudy/ct"));
    // Segments are stored by a thread of the writer, some megabytes later.
    for _ in 0..100 {
        runtime
            .block_on(writer.write_all(&content(1 << 20)))
            .unwrap();
    }
    assert!(count(&*storage, b"s") > 0);
    drop(runtime);
    drop(writer);
    assert_eq!(count(&*storage, b"s") + count(&*storage, b"w"), 0);
}

#[tokio::test]
async fn panic_of_operation_continues_in_waiting_task() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    let panics = session.with(|_| -> Result<(), Error> { panic!("in the closure") });
    let panic = AssertUnwindSafe(panics).catch_unwind().await.unwrap_err();
    assert_eq!(*panic.downcast::<&str>().unwrap(), "in the closure");
    // The vault still works.
    session.put(&id, b"one").await.unwrap();
    assert!(session.get(&id).await.unwrap().is_some());
}

#[test]
fn put_that_runs_during_shutdown_is_whole() {
    let storage = Gated::default();
    let (vault, first, second) = (vault_in(storage.clone()), id("first"), id("second"));
    let session = session(&vault);
    let runtime = smallest();
    storage.close();
    let mut running = pin!(session.put(&first, b"one"));
    let mut waiting = pin!(session.put(&second, b"two"));
    runtime.block_on(async {
        assert!(poll(running.as_mut()).is_pending());
        storage.wait_for_commit();
        assert!(poll(waiting.as_mut()).is_pending());
    });
    runtime.shutdown_background();
    storage.open();
    assert_eq!(ready(running), Ok(1));
    let blocking = session.blocking();
    assert_eq!(&blocking.get(&first).unwrap().unwrap()[..], b"one");
    // The runtime may or may not begin an operation that waits for a thread.
    let stored = blocking
        .get(&second)
        .map(|found| found.map(|it| it.version()));
    match ready(waiting) {
        Ok(version) => assert_eq!(blocking.get(&second).unwrap().unwrap().version(), version),
        Err(error) => assert_eq!((error, stored), (Error::NoRuntime, Ok(None))),
    }
}

#[test]
fn calls_after_shutdown_return_no_runtime_and_no_end_of_content() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let runtime = smallest();
    runtime
        .block_on(session.put(&id, content(1 << 20)))
        .unwrap();
    let mut reader = runtime.block_on(session.reader(&id)).unwrap().unwrap();
    let mut records = runtime.block_on(session.get_all(id.subject())).unwrap();
    let mut writer = session.writer(&id);
    let handle = runtime.handle().clone();
    drop(runtime);

    let _entered = handle.enter();
    assert_eq!(ready(session.put(&id, b"two")), Err(Error::NoRuntime));
    for _ in 0..2 {
        let error = ready(reader.read(&mut [0; 10])).unwrap_err();
        assert_eq!(error.downcast::<Error>().unwrap(), Error::NoRuntime);
    }
    let no_record = ready(records.next()).unwrap();
    assert_eq!(no_record.unwrap_err(), Error::NoRuntime);
    assert!(ready(writer.write_all(&content(1 << 20))).is_err());
    assert_eq!(ready(writer.finish()), Err(Error::NoRuntime));
    assert_eq!(session.blocking().history(&id).unwrap().len(), 1);
}

#[test]
fn waiting_operation_runs_after_shutdown_of_another_runtime() {
    let storage = Gated::default();
    let vault = vault_in(storage.clone()).max_operations(1);
    let (session, first, second) = (session(&vault), id("first"), id("second"));
    let (one, other) = (smallest(), smallest());
    storage.close();
    let mut running = pin!(session.put(&first, b"one"));
    let mut waiting = pin!(session.put(&second, b"two"));
    one.block_on(async {
        assert!(poll(running.as_mut()).is_pending());
        storage.wait_for_commit();
    });
    other.block_on(async { assert!(poll(waiting.as_mut()).is_pending()) });
    one.shutdown_background();
    storage.open();
    assert_eq!(ready(running), Ok(1));
    assert_eq!(ready(waiting), Ok(1));
    // The operation no longer counts towards the limit.
    let found = other.block_on(session.get(&second)).unwrap();
    assert_eq!(&found.unwrap()[..], b"two");
}

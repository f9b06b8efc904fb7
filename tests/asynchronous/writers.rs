//! Async writers.

use std::convert::Infallible;
use std::io::ErrorKind;
use std::sync::Arc;

use bytes::Bytes;
use chartlock::asynchronous::AsyncRecordWriter;
use chartlock::{Error, MemoryStorage, Precondition};
use futures_util::stream;
use tokio::io::AsyncWriteExt;

use super::{content, count, id, session, vault, vault_in};

#[tokio::test]
async fn writer_stores_content_written_in_parts_of_any_size() {
    let vault = vault();
    let session = session(&vault);
    for (number, part) in [1, 1000, 65_536, 262_144, 300_000, 5 << 20]
        .into_iter()
        .enumerate()
    {
        // Parts of one byte take long, so they make up less.
        let written = content(if part == 1 { 3000 } else { (1 << 20) + 4321 });
        let id = id(&number.to_string());
        let mut writer = session.writer(&id);
        for part in written.chunks(part) {
            writer.write_all(part).await.unwrap();
        }
        assert_eq!(writer.finish().await, Ok(1));
        assert!(session.get(&id).await.unwrap().unwrap()[..] == written[..]);
    }
}

#[tokio::test]
async fn writer_of_nothing_creates_empty_version() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    assert_eq!(session.writer(&id).finish().await, Ok(1));
    assert!(session.get(&id).await.unwrap().unwrap().is_empty());
}

#[tokio::test]
async fn written_stream_becomes_version_with_metadata() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let written = content(3 << 20);
    let parts: Vec<_> = (written.chunks(99_999))
        .map(|part| Ok::<_, Infallible>(Bytes::copy_from_slice(part)))
        .collect();
    let writer = session.blocking().writer(&id).content_type("image/jp2");
    let mut writer = AsyncRecordWriter::from(writer.label("CT"));
    let length = writer.write_stream(stream::iter(parts)).await;
    assert_eq!(length, Ok(3 << 20));
    writer.finish().await.unwrap();
    let record = session.get(&id).await.unwrap().unwrap();
    assert!(record[..] == written[..]);
    assert_eq!(record.info().content_type(), Some("image/jp2"));
    assert!(record.info().labels().eq(["CT"]));
}

#[tokio::test]
async fn failed_source_creates_no_version() {
    let storage = Arc::new(MemoryStorage::new());
    let (vault, id) = (vault_in(Arc::clone(&storage)), id("ImagingStudy/ct"));
    let session = session(&vault);
    for length in [10, 1 << 20] {
        let mut writer = session.writer(&id);
        let parts = [Ok(content(length)), Err("the client went away")];
        let failed = writer.write_stream(stream::iter(parts)).await;
        assert_eq!(failed, Err(Error::Source(ErrorKind::Other)));
        assert!(writer.write_all(b"more").await.is_err());
        let finished = writer.finish().await;
        assert_eq!(finished, Err(Error::Source(ErrorKind::Other)));
    }
    assert!(session.get(&id).await.unwrap().is_none());
    vault.close().await.unwrap();
    while count(&*storage, b"s") + count(&*storage, b"w") > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn shutdown_of_writer_creates_no_version() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    let mut writer = session.writer(&id);
    writer.write_all(b"one").await.unwrap();
    writer.shutdown().await.unwrap();
    assert!(session.get(&id).await.unwrap().is_none());
    writer.write_all(b", two").await.unwrap();
    assert_eq!(writer.finish().await, Ok(1));
    assert_eq!(&session.get(&id).await.unwrap().unwrap()[..], b"one, two");
}

#[tokio::test]
async fn error_of_write_is_returned_by_next_calls() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    session.put(&id, b"one").await.unwrap();
    let blocking = session.blocking().writer(&id);
    let mut writer = AsyncRecordWriter::from(blocking.expecting(Precondition::Absent));
    let failed = loop {
        if let Err(error) = writer.write_all(&[7; 100_000]).await {
            break error;
        }
    };
    assert_eq!(failed.downcast::<Error>().unwrap(), Error::Conflict);
    let flushed = writer.flush().await.unwrap_err();
    assert_eq!(flushed.downcast::<Error>().unwrap(), Error::Conflict);
    assert_eq!(writer.finish().await, Err(Error::Conflict));
    assert_eq!(&session.get(&id).await.unwrap().unwrap()[..], b"one");
}

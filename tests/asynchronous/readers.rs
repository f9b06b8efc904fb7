//! Async readers.

use std::io::SeekFrom;
use std::ops::Range;

use bytes::Bytes;
use chartlock::Error;
use futures_util::StreamExt;
use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::{content, id, session, vault};

const LENGTH: usize = (2 << 20) + 12_345;

#[tokio::test]
async fn reader_streams_whole_content_in_bounded_parts() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let written = content(LENGTH);
    session.put(&id, written.clone()).await.unwrap();
    let reader = session.reader(&id).await.unwrap().unwrap();
    assert_eq!((reader.len(), reader.is_empty()), (LENGTH as u64, false));
    let parts: Vec<Bytes> = reader.map(Result::unwrap).collect().await;
    assert!(parts.iter().all(|part| part.len() <= 256 << 10));
    assert!(parts.concat() == written);
}

#[tokio::test]
async fn empty_content_yields_no_part() {
    let (vault, id) = (vault(), id("note"));
    let session = session(&vault);
    session.put(&id, b"").await.unwrap();
    let mut reader = session.reader(&id).await.unwrap().unwrap();
    assert!(reader.is_empty());
    assert!(reader.next().await.is_none());
}

#[tokio::test]
async fn reader_range_yields_exactly_its_bytes() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let written = content(LENGTH);
    session.put(&id, written.clone()).await.unwrap();
    let end = LENGTH as u64;
    for range in [
        0..1,
        0..end,
        65_535..65_537,
        262_143..262_145,
        1_000_000..1_600_000,
        end - 1..end,
        end - 5..end + 5,
        end..end,
        end + 7..end + 9,
        Range { start: 9, end: 3 },
    ] {
        let reader = session.reader(&id).await.unwrap().unwrap();
        let mut read = Vec::new();
        let mut reader = reader.with_range(range.clone());
        reader.read_to_end(&mut read).await.unwrap();
        let (from, to) = (range.start.min(end) as usize, range.end.min(end) as usize);
        assert!(read == written[from.min(to)..to], "{range:?}");
    }
}

#[tokio::test]
async fn range_set_after_a_partial_read_yields_exactly_its_bytes() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let written = content(LENGTH);
    session.put(&id, written.clone()).await.unwrap();
    for range in [4..8, 4..4, 4..600_000, 2..5, 0..300_000] {
        let expected = &written[range.start as usize..range.end as usize];
        // The buffer contains more than the range.
        let mut reader = session.reader(&id).await.unwrap().unwrap();
        reader.read_exact(&mut [0; 4]).await.unwrap();
        let parts: Vec<Bytes> = (reader.with_range(range.clone()))
            .map(Result::unwrap)
            .collect()
            .await;
        assert!(parts.concat() == expected, "{range:?}");
        // The pool reads more than the range.
        let mut reader = session.reader(&id).await.unwrap().unwrap();
        reader.seek(SeekFrom::Start(range.start)).await.unwrap();
        let mut begun = [0; 4];
        tokio::select! {
            biased;
            _ = reader.read(&mut begun) => {}
            () = std::future::ready(()) => {}
        }
        let mut read = Vec::new();
        let mut reader = reader.with_range(range.clone());
        reader.read_to_end(&mut read).await.unwrap();
        assert!(read == expected, "{range:?}");
    }
}

#[tokio::test]
async fn seek_moves_stream_position_like_blocking_reader() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let written = content(LENGTH);
    session.put(&id, written.clone()).await.unwrap();
    let mut reader = session.reader(&id).await.unwrap().unwrap();
    let mut read = [0; 100];
    for (to, position) in [
        (SeekFrom::Start(1_000_000), 1_000_000),
        (SeekFrom::Current(-500), 999_600),
        (SeekFrom::Current(0), 999_700),
        (SeekFrom::End(-100), LENGTH - 100),
        (SeekFrom::Start(0), 0),
    ] {
        assert_eq!(reader.seek(to).await.unwrap(), position as u64);
        reader.read_exact(&mut read).await.unwrap();
        assert!(read[..] == written[position..position + 100], "{to:?}");
    }
    assert!(reader.seek(SeekFrom::Current(-1_000)).await.is_err());
    reader.seek(SeekFrom::End(5)).await.unwrap();
    assert_eq!(reader.read(&mut read).await.unwrap(), 0);
}

#[tokio::test]
async fn cancelled_read_then_seek_returns_bytes_of_new_position() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    let written = content(LENGTH);
    session.put(&id, written.clone()).await.unwrap();
    let mut reader = session.reader(&id).await.unwrap().unwrap();
    let mut read = [0; 100];
    // Poll once, so that the read has usually begun, and drop its future.
    tokio::select! {
        biased;
        _ = reader.read(&mut read) => {}
        () = std::future::ready(()) => {}
    }
    reader.seek(SeekFrom::Start(1_234_567)).await.unwrap();
    reader.read_exact(&mut read).await.unwrap();
    assert!(read[..] == written[1_234_567..1_234_667]);
}

#[tokio::test]
async fn locked_vault_ends_stream_with_one_error() {
    let (vault, id) = (vault(), id("ImagingStudy/ct"));
    let session = session(&vault);
    session.put(&id, content(LENGTH)).await.unwrap();
    let mut stream = session.reader(&id).await.unwrap().unwrap();
    let mut reader = session.reader(&id).await.unwrap().unwrap();
    assert!(stream.next().await.unwrap().is_ok());
    let mut read = vec![0; 1 << 20];
    assert!(reader.read(&mut read).await.unwrap() > 0);

    vault.blocking().lock();
    assert_eq!(stream.next().await.unwrap(), Err(Error::Locked));
    assert!(stream.next().await.is_none());
    // `AsyncRead` must never report the end of the content.
    for _ in 0..3 {
        let error = reader.read(&mut read).await.unwrap_err();
        assert_eq!(error.downcast::<Error>().unwrap(), Error::Locked);
    }
}

#[test]
fn waiting_readers_and_writers_occupy_no_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()
        .unwrap();
    runtime.block_on(async {
        let (vault, id) = (vault(), id("ImagingStudy/ct"));
        let session = session(&vault);
        session.put(&id, content(LENGTH)).await.unwrap();
        let (mut readers, mut writers) = (Vec::new(), Vec::new());
        for number in 0..10 {
            let mut reader = session.reader(&id).await.unwrap().unwrap();
            reader.next().await.unwrap().unwrap();
            readers.push(reader);
            let mut writer = session.writer(&super::id(&format!("upload/{number}")));
            let part = tokio::io::AsyncWriteExt::write_all(&mut writer, &[7; 600_000]);
            part.await.unwrap();
            writers.push(writer);
        }
        // The only thread is free for this, and for the end of each reader and writer.
        session.put(&id, b"next").await.unwrap();
        for mut reader in readers {
            reader.next().await.unwrap().unwrap();
        }
        for writer in writers {
            assert_eq!(writer.finish().await, Ok(1));
        }
    });
}

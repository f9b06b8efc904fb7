//! Async reader for one version of a record.

use std::fmt;
use std::io::{self, Seek, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio::task::JoinHandle;

use crate::asynchronous::blocking_pool;
use crate::asynchronous::drop_on_pool::DropOnPool;
use crate::error::{Error, Result};
use crate::records::document::RecordInfo;
use crate::secret::Plaintext;
use crate::session::record_reader::RecordReader;

/// Number of content bytes that one step on the pool reads. Steps end at multiples of this size,
/// which is a multiple of the length of an authenticated chunk.
const STEP_BYTES: u64 = 256 << 10;

/// Reader for one version of a record, for async tasks; created by
/// [`AsyncSession::reader`](crate::asynchronous::AsyncSession::reader).
///
/// The reader implements `AsyncRead`, `AsyncSeek` and `Stream<Item = Result<Bytes>>`, for example for the
/// body of an HTTP response. Each step on the pool reads up to 256 KiB, which the [`RecordReader`] has
/// authenticated. The stream releases these bytes without a copy. The bytes are wiped when the last clone of
/// the [`Bytes`] is dropped. Between steps, the reader occupies no thread. The reader takes 256 KiB of
/// memory in addition to that of the [`RecordReader`].
///
/// After an error, the stream ends, but `AsyncRead` tries again. [`io::Error::downcast`] returns the
/// [`Error`].
///
/// ```
/// # use chartlock::{*, asynchronous::AsyncVault};
/// use tokio::io::AsyncReadExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = AsyncVault::from(vault).session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// # let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
/// # session.put(&id, Document::owned([&[0; 128][..], b"DICM"].concat())).await?;
/// let reader = session.reader(&id).await?.ok_or("no such record")?;
/// let mut magic = String::new();
/// reader.with_range(128..132).read_to_string(&mut magic).await?;
/// assert_eq!(magic, "DICM");
/// # Ok(())
/// # }
/// ```
pub struct AsyncRecordReader {
    state: ReaderState,
    info: RecordInfo,
    length: u64,
    position: u64,
    /// Position at which reading ends.
    end: u64,
    /// Content from `position` on that was already read.
    read: Bytes,
    has_failed: bool,
}

enum ReaderState {
    Idle(DropOnPool<RecordReader>),
    Reading(JoinHandle<ReadStep>),
    /// A read panicked, or its runtime was shut down.
    Lost,
}

struct ReadStep {
    reader: DropOnPool<RecordReader>,
    position: u64,
    read: Result<Bytes>,
}

impl From<RecordReader> for AsyncRecordReader {
    fn from(reader: RecordReader) -> Self {
        Self {
            info: reader.info().clone(),
            length: reader.len(),
            position: 0,
            end: reader.len(),
            read: Bytes::new(),
            has_failed: false,
            state: ReaderState::Idle(DropOnPool::new(reader)),
        }
    }
}

impl AsyncRecordReader {
    /// Returns the metadata of this version.
    pub fn info(&self) -> &RecordInfo {
        &self.info
    }

    /// Returns the length of the content in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Returns `true` if the content is empty.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Limits the reader to a range of the content, and moves the stream position to the start of the
    /// range. A range beyond the end of the content is cut at that end.
    #[must_use]
    pub fn with_range(mut self, range: Range<u64>) -> Self {
        self.end = range.end.min(self.length);
        self.move_to(range.start.min(self.end));
        self.cut_at_end();
        self
    }

    /// Discards bytes beyond the end of the range. The reader may have read them before the range was set.
    fn cut_at_end(&mut self) {
        let left = self.end.saturating_sub(self.position);
        self.read
            .truncate(usize::try_from(left).unwrap_or(usize::MAX));
    }

    fn move_to(&mut self, position: u64) {
        if position != self.position {
            self.read = Bytes::new();
            self.position = position;
        }
    }

    /// Returns bytes from the stream position without moving it; no bytes at the end.
    fn poll_fill(&mut self, task: &mut Context<'_>) -> Poll<Result<&mut Bytes>> {
        while self.read.is_empty() && self.position < self.end {
            match std::mem::replace(&mut self.state, ReaderState::Lost) {
                ReaderState::Lost => return Poll::Ready(Err(Error::NoRuntime)),
                ReaderState::Idle(reader) => {
                    let next = self.position..step_end(self.position, self.end);
                    let step = blocking_pool::send(move || read_step(reader, next));
                    self.state = ReaderState::Reading(step?);
                }
                ReaderState::Reading(mut step) => {
                    let Poll::Ready(joined) = Pin::new(&mut step).poll(task) else {
                        self.state = ReaderState::Reading(step);
                        return Poll::Pending;
                    };
                    let step = blocking_pool::joined(joined)?;
                    self.state = ReaderState::Idle(step.reader);
                    // Discard the bytes if a seek moved the position during the read.
                    if step.position == self.position {
                        self.read = step.read?;
                        self.cut_at_end();
                    }
                }
            }
        }
        Poll::Ready(Ok(&mut self.read))
    }
}

/// Returns the position at which a step that begins at `position` ends.
fn step_end(position: u64, end: u64) -> u64 {
    let next = (position / STEP_BYTES + 1).saturating_mul(STEP_BYTES);
    next.min(end)
}

/// Reads a range of the content on the pool.
fn read_step(mut reader: DropOnPool<RecordReader>, range: Range<u64>) -> ReadStep {
    let read = match reader.get_mut() {
        Some(reader) => read(reader, range.clone()),
        None => Err(Error::NoRuntime),
    };
    ReadStep {
        reader,
        position: range.start,
        read,
    }
}

fn read(reader: &mut RecordReader, range: Range<u64>) -> Result<Bytes> {
    let length = usize::try_from(range.end - range.start).map_err(|_| Error::TooLarge)?;
    let mut content = Plaintext::new(vec![0; length]);
    reader
        .seek(SeekFrom::Start(range.start))
        .map_err(|_| Error::Malformed)?;
    let mut filled = 0;
    while let Some(rest) = content.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match reader.read_next(rest)? {
            // The length was authenticated when the reader was opened.
            0 => return Err(Error::Malformed),
            bytes => filled += bytes,
        }
    }
    Ok(Bytes::from_owner(Wiped(content)))
}

/// Owner of the bytes that a step read, which wipes them when the last clone is dropped.
struct Wiped(Plaintext);

impl AsRef<[u8]> for Wiped {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Stream for AsyncRecordReader {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.has_failed {
            return Poll::Ready(None);
        }
        let next = ready!(this.poll_fill(task)).map(std::mem::take);
        this.has_failed = next.is_err();
        if let Ok(read) = &next {
            this.position += read.len() as u64;
        }
        let is_end = next.as_ref().is_ok_and(Bytes::is_empty);
        Poll::Ready((!is_end).then_some(next))
    }
}

impl AsyncRead for AsyncRecordReader {
    fn poll_read(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = ready!(this.poll_fill(task))?;
        let bytes = read.len().min(out.remaining());
        out.put_slice(&read.split_to(bytes));
        this.position += bytes as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for AsyncRecordReader {
    /// Moves the stream position, as [`RecordReader`] does. Reads still end where
    /// [`AsyncRecordReader::with_range`] set the end.
    fn start_seek(self: Pin<&mut Self>, to: SeekFrom) -> io::Result<()> {
        let position = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.get_mut()
            .move_to(position.ok_or(io::ErrorKind::InvalidInput)?);
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.position))
    }
}

impl fmt::Debug for AsyncRecordReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AsyncRecordReader(version {}, ..)", self.info.version())
    }
}

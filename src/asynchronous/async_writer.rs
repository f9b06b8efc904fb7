//! Async writer for one version of a record.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::io::AsyncWrite;
use tokio::task::JoinHandle;

use crate::asynchronous::blocking_pool;
use crate::asynchronous::drop_on_pool::DropOnPool;
use crate::error::{Error, Result};
use crate::secret::{Plaintext, plaintext};
use crate::session::record_writer::RecordWriter;

/// Number of content bytes that one step on the pool encrypts.
const STEP_BYTES: usize = 256 << 10;

/// Writer for one version of a record, for async tasks; created by
/// [`AsyncSession::writer`](crate::asynchronous::AsyncSession::writer), or from a [`RecordWriter`].
///
/// The writer implements `AsyncWrite`. [`AsyncRecordWriter::finish`] creates the version; a shutdown of
/// the `AsyncWrite` does not. If the writer is dropped or fails, no version is created; see
/// [`RecordWriter`] for what remains.
///
/// While the pool encrypts up to 256 KiB, the task can write another 256 KiB, and then waits. The writer
/// takes 512 KiB of memory in addition to that of the [`RecordWriter`]. The next call returns the error of
/// an earlier write.
///
/// If the future of [`AsyncRecordWriter::write_stream`] is dropped before the end of its stream, for example by
/// a timeout, the writer accepts no more content, and `finish` creates no version.
///
/// ```
/// # use chartlock::{*, asynchronous::*};
/// use tokio::io::AsyncWriteExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = AsyncVault::from(vault).session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
/// let writer = session.blocking().writer(&id).content_type("application/dicom");
/// let mut writer = AsyncRecordWriter::from(writer);
/// for _slice in 0..3 {
///     writer.write_all(&[0; 100_000]).await?; // as the device delivers it
/// }
/// assert_eq!(writer.finish().await?, 1);
/// # Ok(())
/// # }
/// ```
pub struct AsyncRecordWriter {
    state: WriterState,
    /// Content that the writer has not yet sent to the pool.
    waiting: Plaintext,
    /// `true` from the start of a stream until its end or its error, and after the future was dropped in between.
    is_within_stream: bool,
}

enum WriterState {
    /// No step runs. The buffer is empty, and is reused.
    Idle(DropOnPool<RecordWriter>, Plaintext),
    Writing(JoinHandle<WriteStep>),
    Failed(Error),
}

struct WriteStep {
    writer: DropOnPool<RecordWriter>,
    buffer: Plaintext,
    written: Result<()>,
}

impl From<RecordWriter> for AsyncRecordWriter {
    fn from(writer: RecordWriter) -> Self {
        Self {
            state: WriterState::Idle(DropOnPool::new(writer), Plaintext::default()),
            waiting: Plaintext::default(),
            is_within_stream: false,
        }
    }
}

impl AsyncRecordWriter {
    /// Writes all parts of a stream, such as the body of an HTTP request, and returns the number of bytes.
    /// Does not finish the version.
    ///
    /// # Errors
    /// After an error the writer accepts no more content, and `finish` returns the same error.
    /// - [`Error::Source`] when the stream yields an error, or when the future of an earlier call was dropped.
    /// - The errors of [`RecordWriter::read_from`], and [`Error::NoRuntime`].
    pub async fn write_stream<B: AsRef<[u8]>, E>(
        &mut self,
        stream: impl Stream<Item = std::result::Result<B, E>>,
    ) -> Result<u64> {
        self.require_whole_streams()?;
        self.is_within_stream = true;
        let written = self.write_parts(stream).await;
        self.is_within_stream = false;
        written
    }

    async fn write_parts<B: AsRef<[u8]>, E>(
        &mut self,
        stream: impl Stream<Item = std::result::Result<B, E>>,
    ) -> Result<u64> {
        let mut stream = pin!(stream);
        let mut total = 0;
        while let Some(part) = poll_fn(|task| stream.as_mut().poll_next(task)).await {
            let Ok(part) = part else {
                // Content that lacks its end must not become a version.
                let error = Error::Source(io::ErrorKind::Other);
                self.state = WriterState::Failed(error.clone());
                return Err(error);
            };
            let mut rest = part.as_ref();
            total += rest.len() as u64;
            while !rest.is_empty() {
                let written = poll_fn(|task| self.poll_take(task, rest)).await?;
                rest = rest.get(written..).unwrap_or_default();
            }
        }
        Ok(total)
    }

    /// Commits the content as the next version of the record, and returns the version number; see
    /// [`RecordWriter::finish`].
    ///
    /// # Errors
    /// - [`Error::Source`] when the future of a `write_stream` was dropped before the end of its stream.
    /// - The errors of [`RecordWriter::finish`], and [`Error::NoRuntime`].
    pub async fn finish(mut self) -> Result<u64> {
        self.require_whole_streams()?;
        poll_fn(|task| self.poll_idle(task)).await?;
        let state = std::mem::replace(&mut self.state, WriterState::Failed(Error::NoRuntime));
        let WriterState::Idle(mut writer, _) = state else {
            return Err(Error::NoRuntime);
        };
        let waiting = std::mem::take(&mut self.waiting);
        let finished = blocking_pool::send(move || {
            let mut writer = writer.take().ok_or(Error::NoRuntime)?;
            writer.read_from(&waiting[..])?;
            drop(waiting);
            writer.finish()
        });
        blocking_pool::joined(finished?.await)?
    }

    /// Fails after a dropped `write_stream`, because content that lacks a part must not become a version.
    fn require_whole_streams(&self) -> Result<()> {
        match self.is_within_stream {
            true => Err(Error::Source(io::ErrorKind::UnexpectedEof)),
            false => Ok(()),
        }
    }

    /// Copies bytes into the buffer, and sends a full buffer to the pool. Returns the number of copied
    /// bytes, which is 0 only if `bytes` is empty.
    fn poll_take(&mut self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.waiting.len() >= STEP_BYTES {
            ready!(self.poll_idle(task))?;
            self.send()?;
        } else if let WriterState::Failed(error) = &self.state {
            return Poll::Ready(Err(error.clone()));
        }
        if self.waiting.capacity() < STEP_BYTES {
            // Allocate the whole capacity first, because a growing buffer would leave an unwiped copy.
            let first = std::mem::replace(&mut self.waiting, plaintext(STEP_BYTES));
            self.waiting.extend_from_slice(&first);
        }
        let free = STEP_BYTES.saturating_sub(self.waiting.len());
        let part = bytes.get(..free.min(bytes.len())).unwrap_or_default();
        self.waiting.extend_from_slice(part);
        if self.waiting.len() >= STEP_BYTES && matches!(self.state, WriterState::Idle(..)) {
            self.send()?;
        }
        Poll::Ready(Ok(part.len()))
    }

    /// Waits until no step of this writer runs on the pool.
    fn poll_idle(&mut self, task: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.state {
            WriterState::Idle(..) => Poll::Ready(Ok(())),
            WriterState::Failed(error) => Poll::Ready(Err(error.clone())),
            WriterState::Writing(step) => {
                let joined = ready!(Pin::new(step).poll(task));
                self.state = WriterState::Failed(Error::NoRuntime);
                let step = blocking_pool::joined(joined)?;
                self.state = match &step.written {
                    Ok(()) => WriterState::Idle(step.writer, step.buffer),
                    Err(error) => WriterState::Failed(error.clone()),
                };
                Poll::Ready(step.written)
            }
        }
    }

    /// Sends the waiting content to the pool, unless a step of this writer runs there.
    fn send(&mut self) -> Result<()> {
        let state = std::mem::replace(&mut self.state, WriterState::Failed(Error::NoRuntime));
        let WriterState::Idle(writer, buffer) = state else {
            self.state = state;
            return Ok(());
        };
        let waiting = std::mem::replace(&mut self.waiting, buffer);
        self.state =
            WriterState::Writing(blocking_pool::send(move || write_step(writer, waiting))?);
        Ok(())
    }
}

/// Encrypts the content of a buffer on the pool, and empties the buffer.
fn write_step(mut writer: DropOnPool<RecordWriter>, mut buffer: Plaintext) -> WriteStep {
    let written = match writer.get_mut() {
        Some(writer) => writer.read_from(&buffer[..]).map(|_| ()),
        None => Err(Error::NoRuntime),
    };
    buffer.clear();
    WriteStep {
        writer,
        buffer,
        written,
    }
}

impl AsyncWrite for AsyncRecordWriter {
    fn poll_write(
        self: Pin<&mut Self>,
        task: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.require_whole_streams()?;
        let written = ready!(this.poll_take(task, bytes));
        Poll::Ready(Ok(written?))
    }

    /// Waits until the pool has encrypted the written content. Only [`AsyncRecordWriter::finish`] makes
    /// content durable.
    fn poll_flush(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            ready!(this.poll_idle(task))?;
            if this.waiting.is_empty() {
                return Poll::Ready(Ok(()));
            }
            this.send()?;
        }
    }

    /// Flushes, and does not create the version: [`AsyncRecordWriter::finish`] creates it.
    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(task)
    }
}

impl fmt::Debug for AsyncRecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncRecordWriter(..)")
    }
}

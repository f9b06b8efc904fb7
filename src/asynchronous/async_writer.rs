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
use crate::asynchronous::on_pool::OnPool;
use crate::error::{Error, Result};
use crate::secret::{Plaintext, plaintext};
use crate::session::record_writer::RecordWriter;

/// Number of content bytes that one visit to the pool encrypts.
const VISIT: usize = 256 << 10;

/// Writer for one version of a record, for async tasks; created by
/// [`AsyncSession::writer`](crate::asynchronous::AsyncSession::writer), or from a [`RecordWriter`].
///
/// It implements `AsyncWrite`. [`AsyncRecordWriter::finish`] creates the version; a shutdown of the
/// `AsyncWrite` does not. If the writer is dropped or fails, no version is created; [`RecordWriter`]
/// says what remains.
///
/// While the pool encrypts up to 256 KiB, the task can write as much again, and then waits. The writer
/// takes 512 KiB beside the memory of the [`RecordWriter`]. An error of an earlier write is returned by
/// the next call.
///
/// ```
/// # use chartlock::{*, asynchronous::*};
/// use tokio::io::AsyncWriteExt;
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
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
    state: State,
    /// Content that was not sent to the pool yet.
    waiting: Plaintext,
}

enum State {
    /// The buffer is for reuse.
    Idle(OnPool<RecordWriter>, Plaintext),
    Writing(JoinHandle<Visit>),
    Failed(Error),
}

struct Visit {
    writer: OnPool<RecordWriter>,
    buffer: Plaintext,
    written: Result<()>,
}

impl From<RecordWriter> for AsyncRecordWriter {
    fn from(writer: RecordWriter) -> Self {
        Self {
            state: State::Idle(OnPool::new(writer), Plaintext::default()),
            waiting: Plaintext::default(),
        }
    }
}

impl AsyncRecordWriter {
    /// Writes everything that a stream yields, such as the body of an HTTP request, and returns the
    /// number of bytes. Does not finish the version.
    ///
    /// # Errors
    /// After an error the writer accepts no more content, and `finish` returns the same error.
    /// - [`Error::Source`] when the stream yields an error.
    /// - The errors of [`RecordWriter::read_from`], and [`Error::NoRuntime`].
    pub async fn write_stream<B: AsRef<[u8]>, E>(
        &mut self,
        stream: impl Stream<Item = std::result::Result<B, E>>,
    ) -> Result<u64> {
        let mut stream = pin!(stream);
        let mut total = 0;
        while let Some(part) = poll_fn(|task| stream.as_mut().poll_next(task)).await {
            let Ok(part) = part else {
                // Content that lacks its end must not become a version.
                let error = Error::Source(io::ErrorKind::Other);
                self.state = State::Failed(error.clone());
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
    /// The errors of [`RecordWriter::finish`], and [`Error::NoRuntime`].
    pub async fn finish(mut self) -> Result<u64> {
        poll_fn(|task| self.poll_idle(task)).await?;
        let state = std::mem::replace(&mut self.state, State::Failed(Error::NoRuntime));
        let State::Idle(mut writer, _) = state else {
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

    /// Copies bytes into the buffer, and sends a full buffer to the pool. Returns the number of bytes
    /// copied, which is 0 only for no bytes.
    fn poll_take(&mut self, task: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        if self.waiting.len() >= VISIT {
            ready!(self.poll_idle(task))?;
            self.send()?;
        } else if let State::Failed(error) = &self.state {
            return Poll::Ready(Err(error.clone()));
        }
        if self.waiting.capacity() < VISIT {
            // Take the whole capacity at once, because growing would leave an unwiped copy.
            let first = std::mem::replace(&mut self.waiting, plaintext(VISIT));
            self.waiting.extend_from_slice(&first);
        }
        let free = VISIT.saturating_sub(self.waiting.len());
        let part = bytes.get(..free.min(bytes.len())).unwrap_or_default();
        self.waiting.extend_from_slice(part);
        if self.waiting.len() >= VISIT && matches!(self.state, State::Idle(..)) {
            self.send()?;
        }
        Poll::Ready(Ok(part.len()))
    }

    /// Waits until the pool writes nothing.
    fn poll_idle(&mut self, task: &mut Context<'_>) -> Poll<Result<()>> {
        match &mut self.state {
            State::Idle(..) => Poll::Ready(Ok(())),
            State::Failed(error) => Poll::Ready(Err(error.clone())),
            State::Writing(visit) => {
                let joined = ready!(Pin::new(visit).poll(task));
                self.state = State::Failed(Error::NoRuntime);
                let visit = blocking_pool::joined(joined)?;
                self.state = match &visit.written {
                    Ok(()) => State::Idle(visit.writer, visit.buffer),
                    Err(error) => State::Failed(error.clone()),
                };
                Poll::Ready(visit.written)
            }
        }
    }

    /// Sends the waiting content to the pool, if it is idle.
    fn send(&mut self) -> Result<()> {
        let state = std::mem::replace(&mut self.state, State::Failed(Error::NoRuntime));
        let State::Idle(writer, buffer) = state else {
            self.state = state;
            return Ok(());
        };
        let waiting = std::mem::replace(&mut self.waiting, buffer);
        self.state = State::Writing(blocking_pool::send(move || visit(writer, waiting))?);
        Ok(())
    }
}

/// Encrypts the content of a buffer on the pool, and empties the buffer.
fn visit(mut writer: OnPool<RecordWriter>, mut buffer: Plaintext) -> Visit {
    let written = match writer.get_mut() {
        Some(writer) => writer.read_from(&buffer[..]).map(|_| ()),
        None => Err(Error::NoRuntime),
    };
    buffer.clear();
    Visit {
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
        let written = ready!(self.get_mut().poll_take(task, bytes));
        Poll::Ready(Ok(written?))
    }

    /// Waits until the pool has encrypted what was written. Only [`AsyncRecordWriter::finish`] makes
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

    /// Flushes. Does not create the version: [`AsyncRecordWriter::finish`] does.
    fn poll_shutdown(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(task)
    }
}

impl fmt::Debug for AsyncRecordWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AsyncRecordWriter(..)")
    }
}

//! Uploads of content beyond the inline limit: segments are stored before the record that
//! references them. The code block shows the order of writes in the notation of the architecture
//! page:
//!
//! ```text
//! [ put w Absent ] ; [ put s|i Absent ]*
//! ```
//! Separate threads seal and commit the segments in batches, so that all cores seal while the
//! storage writes. The number of running batches bounds memory, and buffers are reused.

use std::collections::VecDeque;
use std::io::Read;
use std::thread::{self, JoinHandle};

use crate::crypto::{self, ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::{Error, Result, StorageError};
use crate::format::envelope::{Intent, Segment, StreamSealer, Unsealed};
use crate::format::storage_keys;
use crate::records::live_stream::LiveStream;
use crate::secret::{AN_OPERATION, wipe_stack};
use crate::storage::{CommitError, Expect, Operation, Revision, Transaction, Value};
use crate::vault::Vault;
use crate::vault::progress::{Monitor, Phase};
use crate::vault::store::Store;

/// Memory budget of one upload, in segments of 1 MiB. The budget covers the batches being filled,
/// sealed and sent, and the memory that the allocator keeps for ended threads.
const MEMORY: usize = 36;
/// Part of the budget that the allocator may keep for each thread, in segments. glibc trims a
/// thread's arena only if the free end exceeds twice the largest mapped block freed so far, here a
/// segment.
const THREAD_OVERHEAD: usize = 2;
/// Maximum number of segments in one batch, because a storage backend may have to wait for each
/// segment.
const BATCH_MAX: usize = 8;
const THREADS_MAX: usize = 8;
/// Lifetime of an upload in milliseconds. An upload expires long before garbage collection treats
/// its intent as abandoned.
const EXPIRES_AFTER: i64 = 24 * 60 * 60 * 1000;

/// A stored content stream that no record references yet. The upload intent protects the stream
/// from garbage collection.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) chart: ChartId,
    pub(crate) stream: StreamId,
    pub(crate) key: StreamKey,
    pub(crate) length: u64,
    pub(crate) intent: Revision,
    started_at: i64,
    /// Keeps garbage collection from treating the upload as abandoned.
    _live: LiveStream,
}

impl Upload {
    /// Returns the storage key of the upload intent.
    pub(crate) fn intent_key(&self) -> Vec<u8> {
        storage_keys::intent(&self.chart, &self.stream)
    }

    /// Returns `true` if the upload has expired. An expired upload must not be used, because
    /// garbage collection may soon remove its intent.
    pub(crate) fn is_expired(&self, now: i64) -> bool {
        now.saturating_sub(self.started_at) > EXPIRES_AFTER
    }
}

/// An upload in progress, with its buffers and threads.
pub(crate) struct Uploading {
    sender: SegmentSender,
    key: StreamKey,
    intent: Revision,
    started_at: i64,
    live: LiveStream,
    sealer: StreamSealer,
    /// Segment being filled; `None` once the content has ended.
    segment: Option<Segment>,
    batch: Vec<Unsealed>,
    threads: usize,
    in_flight: VecDeque<JoinHandle<Result<Vec<Value>>>>,
    /// Buffers whose segments are stored, kept for reuse.
    memory: Vec<Vec<u8>>,
    monitor: Monitor,
    sent: u64,
}

impl Vault {
    /// Begins an upload with its first bytes. Draws a new stream id and key, so that an interrupted
    /// upload is never resumed under the same key.
    pub(crate) fn begin_upload(
        &self,
        suite: CipherSuite,
        chart: &ChartId,
        first: Segment,
    ) -> Result<Uploading> {
        let (stream, key) = (crypto::fresh()?, StreamKey::random()?);
        let live = LiveStream::new(&stream);
        let sealer = StreamSealer::new(suite, &key, chart, &stream)?;
        let intent = Intent {
            suite,
            started_at: self.core.store.clock.now(),
            writer: crypto::fresh()?,
        };
        let object_key = storage_keys::intent(chart, &stream);
        let transaction = Transaction::new().put(&object_key[..], intent.encode(), Expect::Absent);
        Ok(Uploading {
            intent: self.core.store.put_own(transaction, &object_key)?,
            sender: SegmentSender {
                store: self.core.store.clone(),
                chart: *chart,
                stream,
            },
            key,
            started_at: intent.started_at,
            live,
            sealer,
            segment: Some(first),
            batch: Vec::new(),
            threads: self.core.threads.get().min(THREADS_MAX),
            in_flight: VecDeque::new(),
            memory: Vec::new(),
            monitor: self.monitor().clone(),
            sent: 0,
        })
    }

    /// Uploads all bytes that `source` writes, until `source` writes none.
    pub(crate) fn upload(
        &self,
        suite: CipherSuite,
        chart: &ChartId,
        source: impl FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<Upload> {
        let mut uploading = self.begin_upload(suite, chart, Segment::new(None))?;
        let filled = uploading.fill(source);
        self.end_upload(uploading, filled)
    }

    /// Ends an upload. After a failure, deletes the stored segments and the upload intent.
    pub(crate) fn end_upload(
        &self,
        mut uploading: Uploading,
        filled: Result<()>,
    ) -> Result<Upload> {
        match filled.and_then(|()| uploading.end()) {
            Ok(length) => Ok(uploading.done(length)),
            Err(error) => {
                self.abandon(uploading);
                Err(error)
            }
        }
    }

    /// Waits for the threads of an unfinished upload, then deletes the upload.
    pub(crate) fn abandon(&self, mut uploading: Uploading) {
        uploading.join_all();
        self.core.store.discard(&uploading.done(0));
    }
}

impl Uploading {
    /// Fills segments with the bytes that `source` writes into the given buffer, until `source`
    /// writes none.
    pub(crate) fn fill(
        &mut self,
        mut source: impl FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<()> {
        while let Some(segment) = &mut self.segment {
            // A source can be slow, and a batch can need many reads.
            self.monitor.check()?;
            if segment.is_full() {
                self.next_segment()?;
                continue;
            }
            let bytes = source(segment.free())?;
            if bytes == 0 {
                break;
            }
            segment.advance(bytes);
        }
        Ok(())
    }

    fn next_segment(&mut self) -> Result<()> {
        if let Some(full) = self.segment.take() {
            let unsealed = self.sealer.next(full)?;
            self.queue_segment(unsealed)?;
        }
        self.segment = Some(Segment::new(self.memory.pop()));
        Ok(())
    }

    /// Pads and sends the rest, waits for all threads, and returns the content's length in bytes.
    fn end(&mut self) -> Result<u64> {
        let mut segment = self.segment.take().ok_or(Error::Malformed)?;
        let length = self.sealer.end(&segment)?;
        while let Some(unsealed) = self.sealer.pad(segment)? {
            self.queue_segment(unsealed)?;
            segment = Segment::new(self.memory.pop());
        }
        if self.in_flight.is_empty() {
            // Send a sole batch on this thread, because another thread would have no concurrent
            // work.
            self.send_inline()?;
        } else {
            self.send_on_thread()?;
        }
        while !self.in_flight.is_empty() {
            self.wait_for_first()?;
        }
        Ok(length)
    }

    fn queue_segment(&mut self, unsealed: Unsealed) -> Result<()> {
        if self.batch.len() == self.batch_size() {
            if self.threads > 1 {
                self.send_on_thread()?;
            } else {
                self.send_inline()?;
            }
        }
        self.batch.push(unsealed);
        Ok(())
    }

    /// Returns the number of segments in a batch. The memory budget is divided among the batches
    /// that threads seal, one batch being filled, and one batch that waits for the storage.
    fn batch_size(&self) -> usize {
        let segments = MEMORY.saturating_sub(THREAD_OVERHEAD * self.threads);
        (segments / (self.threads + 2)).clamp(1, BATCH_MAX)
    }

    fn send_inline(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let memory = self.sender.send(batch)?;
        self.count(memory)?;
        Ok(())
    }

    fn send_on_thread(&mut self) -> Result<()> {
        // Allow one batch more than there are threads, because one batch waits for the storage.
        if self.in_flight.len() > self.threads {
            self.wait_for_first()?;
        }
        let batch = std::mem::take(&mut self.batch);
        let sender = self.sender.clone();
        let thread = thread::Builder::new()
            .name("chartlock-seal".into())
            .spawn(move || {
                let sent = sender.send(batch);
                wipe_stack::<AN_OPERATION>();
                sent
            })
            .map_err(StorageError::from)?;
        self.in_flight.push_back(thread);
        Ok(())
    }

    fn wait_for_first(&mut self) -> Result<()> {
        if let Some(thread) = self.in_flight.pop_front() {
            // Report an unknown outcome, because a backend that panicked may have committed the
            // segments.
            let memory = thread.join().unwrap_or(Err(Error::CommitUnknown))?;
            self.count(memory)?;
        }
        Ok(())
    }

    fn count(&mut self, sent: Vec<Value>) -> Result<()> {
        self.sent += sent.iter().map(|sealed| sealed.len() as u64).sum::<u64>();
        // A storage in memory keeps the sent values, so their memory cannot be reused.
        self.memory
            .extend(sent.into_iter().flat_map(Value::into_unshared));
        self.monitor.report(Phase::Storing, self.sent)
    }

    /// Waits for all threads and ignores their results.
    fn join_all(&mut self) {
        for thread in self.in_flight.drain(..) {
            let _ = thread.join();
        }
    }

    fn done(self, length: u64) -> Upload {
        Upload {
            chart: self.sender.chart,
            stream: self.sender.stream,
            key: self.key,
            length,
            intent: self.intent,
            started_at: self.started_at,
            _live: self.live,
        }
    }
}

/// Moves as many bytes from `left` into `free` as fit, and returns the number of bytes.
pub(crate) fn move_into(free: &mut [u8], left: &mut &[u8]) -> usize {
    // Default to 0, because reading from memory cannot fail.
    left.read(free).unwrap_or(0)
}

/// Sender of the segments of one stream; each upload thread uses a clone.
#[derive(Debug, Clone)]
struct SegmentSender {
    store: Store,
    chart: ChartId,
    stream: StreamId,
}

impl SegmentSender {
    /// Seals a batch of segments and commits them in one call. Returns the buffers for reuse.
    fn send(&self, batch: Vec<Unsealed>) -> Result<Vec<Value>> {
        let transactions = batch
            .into_iter()
            .map(|unsealed| {
                let object_key = storage_keys::segment(&self.chart, &self.stream, unsealed.index());
                Ok(Transaction::new().put(object_key, unsealed.seal()?, Expect::Absent))
            })
            .collect::<Result<Vec<_>>>()?;
        let results = self.store.storage.commit(&transactions).into_iter();
        let unknown = std::iter::repeat_with(|| Err(CommitError::Unknown));
        let mut memory = Vec::with_capacity(transactions.len());
        for (result, transaction) in results.chain(unknown).zip(transactions) {
            match result {
                Ok(_) => {}
                Err(CommitError::Io(error)) => return Err(error.into()),
                Err(_) => {
                    let put = transaction.operations().first();
                    let object_key = put.map(|put| put.key().to_vec()).unwrap_or_default();
                    self.store.put_own(transaction.clone(), &object_key)?;
                }
            }
            memory.extend(transaction.into_operations().filter_map(value));
        }
        Ok(memory)
    }
}

fn value(operation: Operation) -> Option<Value> {
    match operation {
        Operation::Put { value, .. } => Some(value),
        Operation::Check { .. } | Operation::Delete { .. } => None,
    }
}

//! Uploads content beyond the inline limit: segments are stored before the record that names them.
//!
//! ```text
//! [ put w Absent ] ; [ put s|i Absent ]*
//! ```
//! Segments are sealed and sent a few at a time, each few by a thread of its own, so that all cores
//! seal while the storage writes. Memory is bounded by how many are under way, and used again.

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crate::crypto::{self, ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::{Error, Result, StorageError};
use crate::format::envelope::{Intent, Segment, StreamSealer, Unsealed};
use crate::format::storage_keys;
use crate::secret::{AN_OPERATION, wipe_stack};
use crate::storage::{CommitError, Expect, Operation, Revision, Transaction};
use crate::vault::Vault;
use crate::vault::progress::{Phase, ProgressListener, ProgressUpdate};
use crate::vault::store::Store;

/// Memory of one upload, in segments of 1 MiB: what is gathered, sealed and sent, and what an
/// allocator keeps for threads that are gone.
const MEMORY: usize = 36;
/// Of that for each thread: glibc gives back what is free at the end of a thread's arena only beyond
/// twice the largest block that was ever freed.
const KEPT_FOR_A_THREAD: usize = 2;
/// Most segments that are sealed and sent together: a storage may have to wait for each.
const BATCH_MAX: usize = 8;
/// Most threads that seal and send for one upload.
const THREADS_MAX: usize = 8;
/// Milliseconds after which a writer gives up: long before a sweeper takes its intent for abandoned.
const GIVE_UP_AFTER: i64 = 24 * 60 * 60 * 1000;

/// A content stream whose segments are in storage, kept there by its intent.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) chart: ChartId,
    pub(crate) stream: StreamId,
    pub(crate) key: StreamKey,
    pub(crate) length: u64,
    pub(crate) intent: Revision,
    started_at: i64,
}

impl Upload {
    /// Where its intent stands.
    pub(crate) fn intent_key(&self) -> Vec<u8> {
        storage_keys::intent(&self.chart, &self.stream)
    }

    /// Whether its intent may be taken for abandoned before long.
    pub(crate) fn is_expired(&self, now: i64) -> bool {
        now.saturating_sub(self.started_at) > GIVE_UP_AFTER
    }
}

/// An upload under way.
pub(crate) struct Uploading {
    sender: Sender,
    key: StreamKey,
    intent: Revision,
    started_at: i64,
    sealer: StreamSealer,
    /// What is gathered now; `None` once the content has ended.
    segment: Option<Segment>,
    batch: Vec<Unsealed>,
    threads: usize,
    under_way: VecDeque<JoinHandle<Result<Vec<Vec<u8>>>>>,
    /// Buffers of segments that were sent.
    memory: Vec<Vec<u8>>,
    progress: Option<Arc<dyn ProgressListener>>,
    sent: u64,
}

impl Vault {
    /// Begins a stream with its first bytes. Stream id and key are drawn here: an upload that broke
    /// off is never taken up again under the same key.
    pub(crate) fn begin_upload(
        &self,
        suite: CipherSuite,
        chart: &ChartId,
        first: Segment,
    ) -> Result<Uploading> {
        let (stream, key) = (crypto::fresh()?, StreamKey::random()?);
        let sealer = StreamSealer::new(suite, &key, chart, &stream)?;
        let intent = Intent {
            suite,
            started_at: self.core.store.clock.now(),
            writer: crypto::fresh()?,
        };
        let at = storage_keys::intent(chart, &stream);
        let transaction = Transaction::new().put(&at[..], intent.encode(), Expect::Absent);
        Ok(Uploading {
            intent: self.core.store.put_own(transaction, &at)?,
            sender: Sender {
                store: self.core.store.clone(),
                chart: *chart,
                stream,
            },
            key,
            started_at: intent.started_at,
            sealer,
            segment: Some(first),
            batch: Vec::new(),
            threads: self.core.threads.get().min(THREADS_MAX),
            under_way: VecDeque::new(),
            memory: Vec::new(),
            progress: self.watcher(),
            sent: 0,
        })
    }

    /// Uploads what `source` gives until it gives nothing more.
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

    /// Ends an upload; one that failed is removed.
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

    /// Removes an upload that was not ended, once nothing of it is under way any more.
    pub(crate) fn abandon(&self, mut uploading: Uploading) {
        uploading.settle();
        self.core.store.discard(&uploading.done(0));
    }
}

impl Uploading {
    /// Takes what `source` writes into the memory that it is given, until it writes nothing.
    pub(crate) fn fill(
        &mut self,
        mut source: impl FnMut(&mut [u8]) -> Result<usize>,
    ) -> Result<()> {
        while let Some(segment) = &mut self.segment {
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
            self.send_soon(unsealed)?;
        }
        self.segment = Some(Segment::new(self.memory.pop()));
        Ok(())
    }

    /// Pads what is left, sends it, and waits for all. Returns the content's length.
    fn end(&mut self) -> Result<u64> {
        let mut segment = self.segment.take().ok_or(Error::Malformed)?;
        let length = self.sealer.end(&segment)?;
        while let Some(unsealed) = self.sealer.pad(segment)? {
            self.send_soon(unsealed)?;
            segment = Segment::new(self.memory.pop());
        }
        if self.under_way.is_empty() {
            // What fits into one batch needs no thread.
            self.send_here()?;
        } else {
            self.send_aside()?;
        }
        while !self.under_way.is_empty() {
            self.wait_for_first()?;
        }
        Ok(length)
    }

    fn send_soon(&mut self, unsealed: Unsealed) -> Result<()> {
        if self.batch.len() == self.batch_size() {
            if self.threads > 1 {
                self.send_aside()?;
            } else {
                self.send_here()?;
            }
        }
        self.batch.push(unsealed);
        Ok(())
    }

    /// Beside what threads seal one batch is gathered, and one waits for the storage.
    fn batch_size(&self) -> usize {
        let segments = MEMORY.saturating_sub(KEPT_FOR_A_THREAD * self.threads);
        (segments / (self.threads + 2)).clamp(1, BATCH_MAX)
    }

    fn send_here(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let memory = self.sender.send(batch)?;
        self.count(memory);
        Ok(())
    }

    fn send_aside(&mut self) -> Result<()> {
        // One more than seal: it waits for the storage.
        if self.under_way.len() > self.threads {
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
        self.under_way.push_back(thread);
        Ok(())
    }

    fn wait_for_first(&mut self) -> Result<()> {
        if let Some(thread) = self.under_way.pop_front() {
            // A backend that panicked may have written or not.
            let memory = thread.join().unwrap_or(Err(Error::CommitUnknown))?;
            self.count(memory);
        }
        Ok(())
    }

    fn count(&mut self, memory: Vec<Vec<u8>>) {
        self.sent += memory.iter().map(|sealed| sealed.len() as u64).sum::<u64>();
        self.memory.extend(memory);
        if let Some(progress) = &self.progress {
            progress.step(ProgressUpdate {
                phase: Phase::Storing,
                done: self.sent,
            });
        }
    }

    /// Waits until nothing is under way, whatever came of it.
    fn settle(&mut self) {
        for thread in self.under_way.drain(..) {
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
        }
    }
}

/// Moves as much of `left` as fits into `free`; says how much that was.
pub(crate) fn move_into(free: &mut [u8], left: &mut &[u8]) -> usize {
    // Reading from memory cannot fail.
    left.read(free).unwrap_or(0)
}

/// Seals segments of one stream and puts them into storage.
#[derive(Debug, Clone)]
struct Sender {
    store: Store,
    chart: ChartId,
    stream: StreamId,
}

impl Sender {
    /// `[ put s|i Absent ]*`, in one commit. Returns the memory of what was sent.
    fn send(&self, batch: Vec<Unsealed>) -> Result<Vec<Vec<u8>>> {
        let transactions = batch
            .into_iter()
            .map(|unsealed| {
                let at = storage_keys::segment(&self.chart, &self.stream, unsealed.index());
                Ok(Transaction::new().put(at, unsealed.seal()?, Expect::Absent))
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
                    let at = put.map(|put| put.key().to_vec()).unwrap_or_default();
                    self.store.put_own(transaction.clone(), &at)?;
                }
            }
            memory.extend(transaction.into_operations().into_iter().filter_map(value));
        }
        Ok(memory)
    }
}

fn value(operation: Operation) -> Option<Vec<u8>> {
    match operation {
        Operation::Put { value, .. } => Some(value),
        Operation::Check { .. } | Operation::Delete { .. } => None,
    }
}

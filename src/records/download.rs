//! Downloads of segmented content: single segments, all content, or segments read ahead.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::crypto::{ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::{Error, Result, StorageError};
use crate::format::envelope::{OpenSegment, SEGMENT, StreamOpener};
use crate::format::storage_keys;
use crate::records::segment_threads::SegmentThreads;
use crate::secret::{AN_OPERATION, Plaintext, wipe_stack};
use crate::vault::store::Store;

/// Error of a read in which the storage panicked on a thread of its own.
pub(super) const READ_PANICKED: Error = Error::Storage(StorageError::Io(ErrorKind::Other));

/// Maximum number of segments read ahead, which keeps a reader's memory below 10 MiB.
const AHEAD_MAX: usize = 8;
/// Number of consecutively requested segments after which reads count as sequential. Two segments
/// are too few, because a single range may span two.
const SEQUENTIAL: u32 = 3;

/// Access to one content stream in the storage, for fetching and opening its segments.
#[derive(Debug)]
pub(crate) struct Download {
    store: Store,
    chart: ChartId,
    stream: StreamId,
    opener: StreamOpener,
    threads: NonZeroUsize,
}

impl Download {
    pub(crate) fn new(
        store: &Store,
        threads: NonZeroUsize,
        suite: CipherSuite,
        chart: &ChartId,
        (stream, key, length): (&StreamId, &StreamKey, u64),
    ) -> Result<Self> {
        Ok(Self {
            store: store.clone(),
            chart: *chart,
            stream: *stream,
            opener: StreamOpener::new(suite, key, chart, stream, length)?,
            threads,
        })
    }

    pub(crate) fn length(&self) -> u64 {
        self.opener.length()
    }

    pub(crate) fn stream(&self) -> &StreamId {
        &self.stream
    }

    pub(crate) fn chart(&self) -> &ChartId {
        &self.chart
    }

    /// Returns the number of segments of the stream.
    pub(crate) fn segments(&self) -> u32 {
        self.opener.segments()
    }

    /// Returns the length of the stored value of segment `index`.
    pub(crate) fn sealed_length(&self, index: u32) -> u64 {
        self.opener.sealed_length(index) as u64
    }

    /// Returns all content; opens the segments in several threads.
    pub(crate) fn whole(&self) -> Result<Plaintext> {
        let length = usize::try_from(self.length()).map_err(|_| Error::TooLarge)?;
        let mut content = Plaintext::new(vec![0; length]);
        let segments = self.opener.segments();
        let threads = self.threads.get().min(segments as usize);
        // Open segments that contain only padding into empty slices; otherwise nothing would
        // authenticate the padding.
        let targets = content.chunks_mut(SEGMENT);
        let targets = targets.chain(std::iter::repeat_with(Default::default));
        let work = Mutex::new((0..segments).zip(targets));
        let failed = AtomicBool::new(false);
        let open = || {
            let mut opened = Ok(());
            while opened.is_ok() && !failed.load(Ordering::Relaxed) {
                let next = work.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((index, target)) = next else { break };
                opened = self
                    .open_into(index, target)
                    .inspect_err(|_| failed.store(true, Ordering::Relaxed));
            }
            wipe_stack::<AN_OPERATION>();
            opened
        };
        let opened: Result<()> = thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, open).ok())
                .collect();
            let first = open();
            others.into_iter().fold(first, |all, other| {
                all.and(other.join().unwrap_or(Err(READ_PANICKED)))
            })
        });
        opened.map(|()| content)
    }

    fn open_into(&self, index: u32, target: &mut [u8]) -> Result<()> {
        let mut segment = self.fetch(index, Plaintext::default())?;
        segment.copy(&self.opener, 0, target)?;
        segment.open_padding(&self.opener)
    }

    /// Fetches segment `index` without opening it. For the last segment, also checks that no
    /// further segment is stored. `memory` is used only if the storage shares the value.
    fn fetch(&self, index: u32, memory: Plaintext) -> Result<OpenSegment> {
        let at = storage_keys::segment(&self.chart, &self.stream, index);
        let after = index + 1;
        let beyond = (after == self.opener.segments())
            .then(|| storage_keys::segment(&self.chart, &self.stream, after));
        let keys: Vec<_> = [Some(&at[..]), beyond.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        let mut found = self.store.storage.read(&keys)?.into_iter();
        let segment = found.next().flatten().ok_or(Error::SegmentMissing)?;
        if found.flatten().next().is_some() {
            return Err(Error::NotAuthentic);
        }
        match segment.value.into_unshared() {
            Ok(value) => self.opener.segment(index, value),
            Err(shared) => self.opener.shared_segment(index, shared.into(), memory),
        }
    }

    /// Fetches and opens segment `index`.
    pub(super) fn fetch_ahead(&self, index: u32, memory: Plaintext) -> Result<OpenSegment> {
        let mut segment = self.fetch(index, memory)?;
        // Ignore the error here, because a chunk that does not open fails when it is read, and the
        // chunks before it remain readable.
        let _ = segment.open(&self.opener);
        Ok(segment)
    }
}

/// Reader of a content stream, which fetches segments ahead for sequential reads.
#[derive(Debug)]
pub(crate) struct Ahead {
    download: Arc<Download>,
    /// Consecutive segments, beginning with the segment that was requested last.
    window: VecDeque<ReadAhead>,
    threads: SegmentThreads,
    /// Memory of former segments, reused for later segments.
    memory: Vec<Plaintext>,
    /// Number of consecutive segments requested so far.
    sequential: u32,
}

/// The extent that the caller expects to read, which limits reading ahead.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadExtent {
    /// Only the requested range.
    Range,
    /// Possibly the rest of the stream. Segments are read ahead once reads are sequential.
    Stream,
}

/// A segment in the window of a reader: fetched, or requested from a thread.
#[derive(Debug)]
enum ReadAhead {
    Fetched(OpenSegment),
    InFlight(u32, Receiver<Result<OpenSegment>>),
}

impl ReadAhead {
    fn index(&self) -> u32 {
        match self {
            Self::Fetched(segment) => segment.index(),
            Self::InFlight(index, _) => *index,
        }
    }

    fn wait(self) -> Result<OpenSegment> {
        match self {
            Self::Fetched(segment) => Ok(segment),
            Self::InFlight(_, reply) => reply.recv().unwrap_or(Err(READ_PANICKED)),
        }
    }
}

impl Ahead {
    pub(crate) fn new(download: Download) -> Self {
        Self {
            download: Arc::new(download),
            window: VecDeque::new(),
            threads: SegmentThreads::default(),
            memory: Vec::new(),
            sequential: 0,
        }
    }

    pub(crate) fn download(&self) -> &Download {
        &self.download
    }

    /// Copies content from byte `offset` of the stream into `out`, and returns the number of bytes
    /// copied. The number is 0 only at the end of the stream or for an empty `out`.
    ///
    /// A call copies from one segment, and starts to fetch the following segments that `wanted`
    /// covers. A byte is copied only after its chunk is authenticated.
    pub(crate) fn copy(
        &mut self,
        offset: u64,
        out: &mut [u8],
        wanted: ReadExtent,
    ) -> Result<usize> {
        if offset >= self.download.length() || out.is_empty() {
            return Ok(0);
        }
        let index = (offset / SEGMENT as u64) as u32;
        let within = (offset % SEGMENT as u64) as usize;
        self.move_to(index)?;
        let last = (within + out.len() - 1) / SEGMENT;
        let last = match wanted {
            ReadExtent::Stream if self.sequential >= SEQUENTIAL => u32::MAX,
            _ => u32::try_from(last).map_or(u32::MAX, |last| index.saturating_add(last)),
        };
        self.read_ahead(index, last)?;
        match self.window.front_mut() {
            Some(ReadAhead::Fetched(segment)) => segment.copy(&self.download.opener, within, out),
            _ => Err(READ_PANICKED),
        }
    }

    /// Moves the window, so that it begins with segment `index`.
    fn move_to(&mut self, index: u32) -> Result<()> {
        let former = self.window.front().map(ReadAhead::index);
        self.sequential = match former {
            Some(former) if former == index => self.sequential,
            Some(former) if former.checked_add(1) == Some(index) => {
                self.sequential.saturating_add(1)
            }
            _ => 1,
        };
        // Wait for skipped segments, so that the number of requested segments stays bounded.
        while self
            .window
            .front()
            .is_some_and(|first| first.index() != index)
        {
            let skipped = self.window.pop_front().map(ReadAhead::wait);
            self.memory.extend(
                skipped
                    .and_then(Result::ok)
                    .and_then(OpenSegment::into_memory),
            );
        }
        let segment = match self.window.pop_front() {
            Some(segment) => segment.wait()?,
            None => {
                let memory = self.memory.pop().unwrap_or_default();
                self.download.fetch(index, memory)?
            }
        };
        self.window.push_front(ReadAhead::Fetched(segment));
        Ok(())
    }

    /// Lets threads fetch and open the segments after `index`, up to `last`.
    fn read_ahead(&mut self, index: u32, last: u32) -> Result<()> {
        let at_most = match self.download.threads.get() {
            1 => 0,
            threads => (threads + 1).min(AHEAD_MAX),
        };
        let end = self.download.opener.segments().min(last.saturating_add(1));
        let next = index + self.window.len() as u32;
        for index in (next..end).take((at_most + 1).saturating_sub(self.window.len())) {
            let memory = self.memory.pop().unwrap_or_default();
            let fetched = self.threads.fetch(&self.download, index, memory, at_most)?;
            self.window.push_back(ReadAhead::InFlight(index, fetched));
        }
        // Wipe the memory that no segment needs now, so that the memory of a reader stays bounded.
        self.memory.clear();
        Ok(())
    }
}

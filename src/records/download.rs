//! Reads segmented content: one segment, all segments, or some ahead.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::crypto::{ChartId, CipherSuite, StreamId, StreamKey};
use crate::error::{Error, Result, StorageError};
use crate::format::envelope::{OpenSegment, SEGMENT, StreamOpener};
use crate::format::storage_keys;
use crate::secret::{AN_OPERATION, Plaintext, wipe_stack};
use crate::vault::store::Store;

/// Most segments read ahead, so that a reader's memory stays below 10 MiB.
const AHEAD_MAX: usize = 8;
/// Segments asked for one after the other, from which on more of the kind is expected: a range that
/// is wanted of a record may well lie in two.
const IN_ORDER: u32 = 3;

/// A content stream in storage.
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

    /// How many segments there are.
    pub(crate) fn segments(&self) -> u32 {
        self.opener.segments()
    }

    /// All content, opened by several threads where there are several segments.
    pub(crate) fn whole(&self) -> Result<Plaintext> {
        let length = usize::try_from(self.length()).map_err(|_| Error::TooLarge)?;
        let mut content = Plaintext::new(vec![0; length]);
        let segments = self.opener.segments();
        let threads = self.threads.get().min(segments as usize);
        // What is padding only has no place in the content, and is opened all the same.
        let places = content.chunks_mut(SEGMENT);
        let places = places.chain(std::iter::repeat_with(Default::default));
        let work = Mutex::new((0..segments).zip(places));
        let failed = AtomicBool::new(false);
        let open = || {
            let mut opened = Ok(());
            while opened.is_ok() && !failed.load(Ordering::Relaxed) {
                let next = work.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((index, place)) = next else { break };
                opened = self
                    .open_into(index, place)
                    .inspect_err(|_| failed.store(true, Ordering::Relaxed));
            }
            wipe_stack::<AN_OPERATION>();
            opened
        };
        let opened: Result<()> = thread::scope(|scope| {
            let others: Vec<_> = (1..threads)
                .map_while(|_| thread::Builder::new().spawn_scoped(scope, open).ok())
                .collect();
            let own = open();
            others.into_iter().fold(own, |all, other| {
                all.and(other.join().unwrap_or(Err(Error::CommitUnknown)))
            })
        });
        opened.map(|()| content)
    }

    fn open_into(&self, index: u32, place: &mut [u8]) -> Result<()> {
        let mut segment = self.fetch(index)?;
        segment.copy(&self.opener, 0, place)?;
        segment.open_padding(&self.opener)
    }

    /// Segment `index`, none of it opened yet. After the last one there must be no more.
    fn fetch(&self, index: u32) -> Result<OpenSegment> {
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
        self.opener.segment(index, segment.value)
    }
}

/// A stream as it is read: at once where it is asked for, and ahead where that goes in order.
#[derive(Debug)]
pub(crate) struct Ahead {
    download: Arc<Download>,
    /// Neighbours, ascending; the first one is what was asked for last.
    window: VecDeque<ReadAhead>,
    /// How many were asked for one after the other, up to the last one.
    in_order: u32,
}

/// How much will be asked for from some place on, as far as can be told.
#[derive(Debug, Clone, Copy)]
pub(crate) enum ReadExtent {
    /// What is asked for now, and no more.
    Range,
    /// More, once that goes in order.
    Stream,
}

#[derive(Debug)]
enum ReadAhead {
    Here(OpenSegment),
    UnderWay(u32, JoinHandle<Result<OpenSegment>>),
}

impl ReadAhead {
    fn index(&self) -> u32 {
        match self {
            Self::Here(segment) => segment.index(),
            Self::UnderWay(index, _) => *index,
        }
    }

    fn arrive(self) -> Result<OpenSegment> {
        match self {
            Self::Here(segment) => Ok(segment),
            Self::UnderWay(_, thread) => thread.join().unwrap_or(Err(Error::CommitUnknown)),
        }
    }
}

impl Ahead {
    pub(crate) fn new(download: Download) -> Self {
        Self {
            download: Arc::new(download),
            window: VecDeque::new(),
            in_order: 0,
        }
    }

    pub(crate) fn download(&self) -> &Download {
        &self.download
    }

    /// Copies content from byte `offset` of the stream on: some, unless `out` is empty or there is
    /// no more. It copies from one segment, and fetches others only if they are `wanted`; a byte is
    /// copied only after its chunk authenticated.
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
        self.go_to(index)?;
        let last = (within + out.len() - 1) / SEGMENT;
        let last = match wanted {
            ReadExtent::Stream if self.in_order >= IN_ORDER => u32::MAX,
            _ => u32::try_from(last).map_or(u32::MAX, |last| index.saturating_add(last)),
        };
        self.read_ahead(index, last)?;
        match self.window.front_mut() {
            Some(ReadAhead::Here(segment)) => segment.copy(&self.download.opener, within, out),
            _ => Err(Error::CommitUnknown),
        }
    }

    /// Makes a segment the first one in the window.
    fn go_to(&mut self, index: u32) -> Result<()> {
        let former = self.window.front().map(ReadAhead::index);
        self.in_order = match former {
            Some(former) if former == index => self.in_order,
            Some(former) if former.checked_add(1) == Some(index) => self.in_order.saturating_add(1),
            _ => 1,
        };
        // Passed over; waited for, so that no more is under way than is counted.
        while self
            .window
            .front()
            .is_some_and(|first| first.index() != index)
        {
            let _ = self.window.pop_front().map(ReadAhead::arrive);
        }
        let segment = match self.window.pop_front() {
            Some(coming) => coming.arrive()?,
            None => self.download.fetch(index)?,
        };
        self.window.push_front(ReadAhead::Here(segment));
        Ok(())
    }

    /// Fetches and opens what comes behind segment `index`, up to segment `last`.
    fn read_ahead(&mut self, index: u32, last: u32) -> Result<()> {
        let at_most = match self.download.threads.get() {
            1 => 0,
            threads => (threads + 1).min(AHEAD_MAX),
        };
        let end = self.download.opener.segments().min(last.saturating_add(1));
        let next = index + self.window.len() as u32;
        for index in (next..end).take((at_most + 1).saturating_sub(self.window.len())) {
            let download = Arc::clone(&self.download);
            let fetch = move || {
                let mut segment = download.fetch(index)?;
                // What does not open fails where it is read, and nothing before it.
                let _ = segment.open(&download.opener);
                wipe_stack::<AN_OPERATION>();
                Ok(segment)
            };
            let thread = thread::Builder::new()
                .name("chartlock-open".into())
                .spawn(fetch)
                .map_err(StorageError::from)?;
            self.window.push_back(ReadAhead::UnderWay(index, thread));
        }
        Ok(())
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        for coming in self.window.drain(..) {
            let _ = coming.arrive();
        }
    }
}

//! Threads of one reader, which fetch and open the segments that the reader will need.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{Result, StorageError};
use crate::format::envelope::OpenSegment;
use crate::records::download::{Download, READ_PANICKED};
use crate::secret::{AN_OPERATION, Plaintext, wipe_stack};

/// Time after which a thread without work ends, so that readers of slow callers keep no threads.
const IDLE_MAX: Duration = Duration::from_millis(100);

/// Threads of one reader. A thread opens many segments, because starting a thread takes half as long
/// as opening a segment.
#[derive(Debug, Default)]
pub(super) struct SegmentThreads {
    queue: Arc<SegmentQueue>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct SegmentQueue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    jobs: VecDeque<SegmentJob>,
    /// Number of threads that will look for another job.
    running: usize,
    /// Number of threads that wait for a job.
    idle: usize,
    has_ended: bool,
}

#[derive(Debug)]
struct SegmentJob {
    index: u32,
    memory: Plaintext,
    reply: SyncSender<Result<OpenSegment>>,
}

impl SegmentThreads {
    /// Requests segment `index` from a thread, which sends the opened segment to the receiver. Starts
    /// another thread if fewer threads are idle than jobs wait, and fewer than `at_most` run.
    ///
    /// If the storage panics, the receiver gets [`READ_PANICKED`].
    pub(super) fn fetch(
        &mut self,
        download: &Arc<Download>,
        index: u32,
        memory: Plaintext,
        at_most: usize,
    ) -> Result<Receiver<Result<OpenSegment>>> {
        let (reply, fetched) = mpsc::sync_channel(1);
        let mut state = self.queue.lock();
        state.jobs.push_back(SegmentJob {
            index,
            memory,
            reply,
        });
        if state.idle < state.jobs.len() && state.running < at_most {
            let (download, queue) = (Arc::clone(download), Arc::clone(&self.queue));
            let thread = thread::Builder::new().name("chartlock-open".into());
            match thread.spawn(move || queue.open_segments(&download)) {
                Ok(thread) => {
                    state.running += 1;
                    self.threads.retain(|thread| !thread.is_finished());
                    self.threads.push(thread);
                }
                Err(error) if state.running == 0 => {
                    state.jobs.clear();
                    return Err(StorageError::from(error).into());
                }
                // A running thread takes the job later.
                Err(_) => {}
            }
        }
        drop(state);
        self.queue.changed.notify_one();
        Ok(fetched)
    }
}

impl Drop for SegmentThreads {
    /// Ends and joins the threads, because they keep the storage open.
    fn drop(&mut self) {
        self.queue.lock().has_ended = true;
        self.queue.changed.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl SegmentQueue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fetches and opens segments until the reader ends, or no segment is requested for [`IDLE_MAX`].
    fn open_segments(&self, download: &Download) {
        while let Some(job) = self.next() {
            let SegmentJob {
                index,
                memory,
                reply,
            } = job;
            // A backend that panics must not end the thread, because later jobs would wait forever.
            let opened = catch_unwind(AssertUnwindSafe(|| download.fetch_ahead(index, memory)));
            wipe_stack::<AN_OPERATION>();
            let _ = reply.send(opened.unwrap_or(Err(READ_PANICKED)));
        }
    }

    /// Returns the next job; `None` if the calling thread must end.
    fn next(&self) -> Option<SegmentJob> {
        let mut state = self.lock();
        loop {
            if state.has_ended {
                return None;
            }
            if let Some(job) = state.jobs.pop_front() {
                return Some(job);
            }
            state.idle += 1;
            let waited = self.changed.wait_timeout(state, IDLE_MAX);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if timeout.timed_out() && state.jobs.is_empty() {
                // Decide under the lock, so that a job that is added later starts a thread.
                state.running -= 1;
                return None;
            }
        }
    }
}

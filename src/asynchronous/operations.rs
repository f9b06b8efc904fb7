//! Operations of one vault on the pool, with a limit on the number that run at the same time.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::asynchronous::blocking_pool;
use crate::error::{Error, Result};

/// Default maximum number of operations of one vault that run at the same time. More threads would
/// contend for the same locks. Fewer threads would leave connections of a slow database unused.
const OPERATIONS_MAX: usize = 16;
/// Number of times that a pool thread without work lets other threads run before it ends. Tasks often send
/// their next operation within this time, and to wake a thread takes as long as to read a small record.
const YIELDS: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// The operations of one vault on the pool. Clones share the limit.
///
/// A pool thread that has finished an operation runs a waiting operation. Handing that operation to another
/// thread would take several times as long as reading a small record.
#[derive(Clone)]
pub(super) struct Operations {
    queue: Arc<Mutex<OperationQueue>>,
    at_most: usize,
}

#[derive(Default)]
struct OperationQueue {
    workers: usize,
    waiting: VecDeque<Job>,
}

impl Default for Operations {
    fn default() -> Self {
        Self::at_most(OPERATIONS_MAX)
    }
}

impl Operations {
    pub(super) fn at_most(operations: usize) -> Self {
        Self {
            queue: Arc::default(),
            at_most: operations.max(1),
        }
    }

    /// Runs an operation on the pool once the limit permits, and waits for the result.
    ///
    /// If the future is dropped while the operation waits, the operation does not run.
    pub(super) async fn run<T, E>(
        &self,
        operation: impl FnOnce() -> std::result::Result<T, E> + Send + 'static,
    ) -> std::result::Result<T, E>
    where
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let operation = blocking_pool::prepared(operation);
        let (reply, replied) = oneshot::channel();
        self.submit(Box::new(move || {
            if !reply.is_closed() {
                // Ignore a dropped future: the result is then dropped here, on the pool.
                let _ = reply.send(catch_unwind(AssertUnwindSafe(operation)));
            }
        }))?;
        match replied.await {
            Ok(Ok(done)) => done,
            Ok(Err(panic)) => resume_unwind(panic),
            Err(_) => Err(Error::NoRuntime.into()),
        }
    }

    fn submit(&self, job: Job) -> Result<()> {
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let mut queue = lock(&self.queue);
        if queue.workers >= self.at_most {
            queue.waiting.push_back(job);
            return Ok(());
        }
        queue.workers += 1;
        drop(queue);
        let worker = PoolWorker {
            queue: Arc::clone(&self.queue),
            has_ended: false,
        };
        runtime.spawn_blocking(move || worker.run(job));
        Ok(())
    }
}

impl fmt::Debug for Operations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Operations(at most {})", self.at_most)
    }
}

/// A pool thread that runs operations until none waits.
struct PoolWorker {
    queue: Arc<Mutex<OperationQueue>>,
    has_ended: bool,
}

impl PoolWorker {
    fn run(mut self, first: Job) {
        let mut job = Some(first);
        while let Some(run) = job {
            run();
            self.yield_while_idle();
            job = self.next();
        }
    }

    fn yield_while_idle(&self) {
        for _ in 0..YIELDS {
            if !lock(&self.queue).waiting.is_empty() {
                return;
            }
            thread::yield_now();
        }
    }

    /// Returns the next job. If there is none, ends the worker under the same lock, so that no job is
    /// queued for an ended worker.
    fn next(&mut self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        let job = queue.waiting.pop_front();
        if job.is_none() {
            queue.workers -= 1;
            self.has_ended = true;
        }
        job
    }
}

impl Drop for PoolWorker {
    /// Handles a runtime that was shut down before it ran the worker. The last worker drops the waiting
    /// jobs, so that their futures return [`Error::NoRuntime`].
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        let mut queue = lock(&self.queue);
        queue.workers -= 1;
        let abandoned = match queue.workers {
            0 => std::mem::take(&mut queue.waiting),
            _ => VecDeque::new(),
        };
        drop(queue);
        drop(abandoned);
    }
}

fn lock(queue: &Mutex<OperationQueue>) -> MutexGuard<'_, OperationQueue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Thread that runs the async requests of a backend for the calling threads.
//!
//! Guarantees: a call works inside and outside an async runtime, and fails in a forked child process.
//! Must not know: the content of requests.

use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::process;
use std::sync::{Arc, mpsc};

use tokio::runtime::{Builder, Runtime};

use crate::storage::{CommitError, Committed, StorageError};

/// Async runtime with one thread. All clones share the thread, which ends when the last clone is dropped.
#[derive(Clone)]
pub(super) struct Worker {
    shared: Arc<SharedRuntime>,
}

struct SharedRuntime {
    /// `None` only while the worker is dropped.
    runtime: Option<Runtime>,
    pid: u32,
}

impl Worker {
    /// Starts the thread with this name.
    pub(super) fn start(name: &str) -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .enable_all()
            .build()?;
        let shared = Arc::new(SharedRuntime {
            runtime: Some(runtime),
            pid: process::id(),
        });
        Ok(Self { shared })
    }

    /// Runs a future on the thread, and blocks until it has a result.
    ///
    /// # Errors
    /// [`StorageError::Forked`] in a forked child process, which does not inherit the thread: the future did
    /// not run. [`StorageError::Io`] if the future panicked.
    pub(super) fn run<T: Send + 'static>(
        &self,
        future: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, StorageError> {
        if process::id() != self.shared.pid {
            return Err(StorageError::Forked);
        }
        let runtime = self.shared.runtime.as_ref().ok_or(StorageError::Stopped)?;
        let (sender, receiver) = mpsc::sync_channel(1);
        runtime.spawn(async move {
            // The send cannot fail, because the caller blocks until it receives the result.
            let _ = sender.send(future.await);
        });
        let lost = |_| StorageError::Io(std::io::ErrorKind::Other);
        receiver.recv().map_err(lost)
    }

    /// Runs the commit of `count` transactions as [`run`](Self::run) does, and returns a result for each.
    pub(super) fn commit(
        &self,
        count: usize,
        commit: impl Future<Output = Vec<Result<Committed, CommitError>>> + Send + 'static,
    ) -> Vec<Result<Committed, CommitError>> {
        match self.run(commit) {
            Ok(results) => results,
            // After a fork or `close`, this process sends nothing, so the outcome is known.
            Err(error @ (StorageError::Forked | StorageError::Stopped)) => {
                vec![Err(error.into()); count]
            }
            Err(_) => vec![Err(CommitError::Unknown); count],
        }
    }
}

impl Drop for SharedRuntime {
    fn drop(&mut self) {
        match self.runtime.take() {
            // A forked child does not have the thread, which may have held locks of the runtime.
            Some(runtime) if process::id() != self.pid => {
                let _leaked = ManuallyDrop::new(runtime);
            }
            // Do not wait for the thread, because the dropping thread may belong to another async runtime,
            // which it must not block.
            Some(runtime) => runtime.shutdown_background(),
            None => {}
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

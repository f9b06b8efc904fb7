//! Thread that runs the connections, and the calls of other threads to it.

use std::fmt;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::process;
use std::sync::{Arc, mpsc};

use tokio::runtime::{Builder, Runtime};

use crate::storage::StorageError;

/// An async runtime with one thread. Its clones share the thread, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Worker {
    shared: Arc<Shared>,
}

struct Shared {
    /// `None` only while the worker is dropped.
    runtime: Option<Runtime>,
    pid: u32,
}

impl Worker {
    /// Starts the thread.
    pub(super) fn start() -> Result<Self, StorageError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("chartlock-postgres")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            runtime: Some(runtime),
            pid: process::id(),
        });
        Ok(Self { shared })
    }

    /// Runs a future on the thread, and blocks until it has a result.
    ///
    /// # Errors
    /// [`StorageError::Forked`] in a forked child, which does not inherit the thread, so that nothing was
    /// run; [`StorageError::Io`] if the future panicked.
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
            // The caller waits for the result, so it is there to receive it.
            let _ = sender.send(future.await);
        });
        let lost = |_| StorageError::Io(std::io::ErrorKind::Other);
        receiver.recv().map_err(lost)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        match self.runtime.take() {
            // A forked child does not have the thread, which may have held locks of the runtime.
            Some(runtime) if process::id() != self.pid => {
                let _leaked = ManuallyDrop::new(runtime);
            }
            // Do not wait for the thread, because a runtime must not wait on the thread of another one.
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

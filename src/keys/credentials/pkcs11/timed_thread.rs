//! Thread on which all calls of one PKCS#11 module run, so that a caller can stop waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::error::{CredentialFailure, Error, Result};

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A thread that owns a state `S` and runs jobs on it, one at a time.
///
/// PKCS#11 has no time limits and no way to interrupt a call. A caller whose limit passes gets `TimedOut`:
/// - A job that waits for its turn is withdrawn, and never runs.
/// - A job that runs continues, and the thread drops its result. Until it ends, every other call returns
///   `TimedOut` at once, so that a vault does not wait again for each slot. The thread cannot be ended.
pub(super) struct TimedThread<S> {
    jobs: Sender<Job<S>>,
    is_stuck: Arc<AtomicBool>,
    process: u32,
}

impl<S: 'static> TimedThread<S> {
    /// Starts the thread, which creates its state itself. It runs until this handle is dropped.
    pub(super) fn start(create: impl FnOnce() -> S + Send + 'static) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job<S>>();
        let run = move || {
            let mut state = create();
            queue.into_iter().for_each(|job| job(&mut state));
        };
        let thread = thread::Builder::new().name("chartlock pkcs11".into());
        thread
            .spawn(run)
            .map_err(|_| Error::Credential(CredentialFailure::Other))?;
        Ok(Self {
            jobs,
            is_stuck: Arc::default(),
            process: std::process::id(),
        })
    }

    /// Runs a job on the thread, and waits at most `limit` for its result.
    pub(super) fn call<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&mut S) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        // A forked child has no copy of the thread.
        if !self.is_own_process() {
            return Err(Error::Credential(CredentialFailure::Unreachable));
        }
        if self.is_stuck.load(Ordering::SeqCst) {
            return Err(Error::Credential(CredentialFailure::TimedOut));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        // The thread sets it to run the job, and the caller to withdraw the job; the first of them wins.
        let is_taken = Arc::new(AtomicBool::new(false));
        let (taken, is_stuck) = (is_taken.clone(), self.is_stuck.clone());
        self.post(move |state| {
            if !taken.swap(true, Ordering::SeqCst) {
                // If the caller has gone, the result is dropped here, which wipes its secrets.
                let _ = sender.send(job(state));
                is_stuck.store(false, Ordering::SeqCst);
            }
        });
        match receiver.recv_timeout(limit) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => self.withdraw(&is_taken, &receiver),
            Err(RecvTimeoutError::Disconnected) => Err(Error::Credential(CredentialFailure::Other)),
        }
    }

    /// Runs a job on the thread after the jobs before it, without waiting.
    pub(super) fn post(&self, job: impl FnOnce(&mut S) + Send + 'static) {
        if self.is_own_process() {
            // The thread has ended only after a panic; then `call` sees that its job was dropped.
            let _ = self.jobs.send(Box::new(job));
        }
    }

    fn withdraw<T>(&self, is_taken: &AtomicBool, receiver: &Receiver<Result<T>>) -> Result<T> {
        let timed_out = Err(Error::Credential(CredentialFailure::TimedOut));
        if !is_taken.swap(true, Ordering::SeqCst) {
            return timed_out;
        }
        // Set the flag before the last look: a job that ends after the look clears the flag itself.
        self.is_stuck.store(true, Ordering::SeqCst);
        match receiver.try_recv() {
            Ok(result) => {
                self.is_stuck.store(false, Ordering::SeqCst);
                result
            }
            Err(_) => timed_out,
        }
    }

    fn is_own_process(&self) -> bool {
        self.process == std::process::id()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(600);

    fn timed_out<T>(result: Result<T>) -> bool {
        matches!(result, Err(Error::Credential(CredentialFailure::TimedOut)))
    }

    #[test]
    fn call_that_hangs_times_out_and_later_calls_work_after_its_end() {
        let thread = TimedThread::start(Vec::<u8>::new).unwrap();
        let (release, hang) = mpsc::channel::<()>();
        let hung = thread.call(SHORT, move |state| {
            let _ = hang.recv();
            state.push(1);
            Ok(())
        });
        assert!(timed_out(hung));
        // The limit of this call would exceed the time limit of the test run.
        assert!(timed_out(thread.call(LONG, |state| {
            state.push(2);
            Ok(())
        })));

        let (ended, end) = mpsc::channel();
        thread.post(move |_| ended.send(()).unwrap());
        release.send(()).unwrap();
        end.recv().unwrap();
        let state = thread.call(LONG, |state| Ok(state.clone()));
        assert_eq!(state.unwrap(), [1]);
    }

    #[test]
    fn call_that_times_out_in_the_queue_never_runs() {
        let thread = TimedThread::start(Vec::<u8>::new).unwrap();
        let (release, hang) = mpsc::channel::<()>();
        thread.post(move |_| {
            let _ = hang.recv();
        });
        let queued = thread.call(SHORT, |state| {
            state.push(1);
            Ok(())
        });
        assert!(timed_out(queued));
        release.send(()).unwrap();
        let state = thread.call(LONG, |state| Ok(state.clone()));
        assert!(state.unwrap().is_empty());
    }
}

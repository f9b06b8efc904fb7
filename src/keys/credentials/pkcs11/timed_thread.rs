//! Thread on which all calls of one PKCS#11 module run, so that a caller can stop waiting.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{CredentialFailure, Error, Result};

type Job<S> = Box<dyn FnOnce(&mut S) + Send>;

/// A thread that owns a state `S` and runs jobs on it, one at a time.
///
/// PKCS#11 has no time limits and no way to interrupt a call. A caller whose limit passes gets `TimedOut`:
/// - A job that waits for its turn is withdrawn, and never runs.
/// - A job that runs continues, and the thread drops its result. If it runs longer than its limit, every other
///   call returns `TimedOut` at once until it ends, so that a vault does not wait again for each slot. The thread
///   cannot be ended.
pub(super) struct TimedThread<S> {
    jobs: Sender<Job<S>>,
    running_until: RunningUntil,
    process: u32,
}

/// The end of the time limit of the job that runs; `None` if none runs.
type RunningUntil = Arc<Mutex<Option<Instant>>>;

impl<S: 'static> TimedThread<S> {
    /// Starts the thread, which creates its state itself. It runs until this handle is dropped.
    pub(super) fn start(create: impl FnOnce() -> S + Send + 'static) -> Result<Self> {
        let (jobs, queue) = mpsc::channel::<Job<S>>();
        let run = move || {
            let mut state = create();
            for job in queue {
                // A module that returns nonsense can make a job panic. Later jobs must still run.
                let _ = catch_unwind(AssertUnwindSafe(|| job(&mut state)));
            }
        };
        let thread = thread::Builder::new().name("chartlock pkcs11".into());
        thread
            .spawn(run)
            .map_err(|_| Error::Credential(CredentialFailure::Other))?;
        Ok(Self {
            jobs,
            running_until: Arc::default(),
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
        if is_overdue(&self.running_until) {
            return Err(Error::Credential(CredentialFailure::TimedOut));
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        // The thread sets it to run the job, and the caller to withdraw the job; the first of them wins.
        let is_taken = Arc::new(AtomicBool::new(false));
        let (taken, running_until) = (is_taken.clone(), self.running_until.clone());
        self.post(move |state| {
            if !taken.swap(true, Ordering::SeqCst) {
                let _running = Running::start(running_until, limit);
                // If the caller has gone, the result is dropped here, which wipes its secrets.
                let _ = sender.send(job(state));
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
            // Without a thread, the job is dropped, which `call` sees.
            let _ = self.jobs.send(Box::new(job));
        }
    }

    fn withdraw<T>(&self, is_taken: &AtomicBool, receiver: &Receiver<Result<T>>) -> Result<T> {
        let timed_out = Err(Error::Credential(CredentialFailure::TimedOut));
        if !is_taken.swap(true, Ordering::SeqCst) {
            return timed_out;
        }
        receiver.try_recv().unwrap_or(timed_out)
    }

    fn is_own_process(&self) -> bool {
        self.process == std::process::id()
    }
}

/// Guard that states since when a job runs.
struct Running(RunningUntil);

impl Running {
    fn start(running_until: RunningUntil, limit: Duration) -> Self {
        *lock(&running_until) = Instant::now().checked_add(limit);
        Self(running_until)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        *lock(&self.0) = None;
    }
}

fn is_overdue(running_until: &RunningUntil) -> bool {
    lock(running_until).is_some_and(|end| end <= Instant::now())
}

fn lock(running_until: &RunningUntil) -> MutexGuard<'_, Option<Instant>> {
    // No code panics while it has the lock.
    running_until.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
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
        // The limit of the job began after that of its call.
        thread::sleep(SHORT);
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
    fn panic_of_a_call_ends_only_this_call() {
        let thread = TimedThread::start(|| ()).unwrap();
        let panicked = thread.call::<()>(LONG, |()| panic!("the module returned nonsense"));
        let other = Error::Credential(CredentialFailure::Other);
        assert_eq!(panicked.unwrap_err(), other);
        assert!(!is_overdue(&thread.running_until));
        thread.call(LONG, |()| Ok(())).unwrap();
    }

    #[test]
    fn call_with_short_limit_stops_no_other_caller_of_a_busy_thread() {
        let thread = TimedThread::start(|| ()).unwrap();
        let (release, busy) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(|| {
                thread.call(LONG, move |()| {
                    let _ = busy.recv();
                    Ok(())
                })
            });
            while lock(&thread.running_until).is_none() {
                thread::yield_now();
            }
            assert!(timed_out(thread.call(SHORT, |()| Ok(()))));
            release.send(()).unwrap();
            thread.call(LONG, |()| Ok(())).unwrap();
        });
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

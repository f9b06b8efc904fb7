//! Leader election among threads that wait for the same kind of work.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Election that grants leadership to one thread at a time.
#[derive(Debug, Default)]
pub(crate) struct Election {
    is_led: Mutex<bool>,
    ended: Condvar,
}

/// Guard for the leadership of the current thread. Dropping the guard ends the leadership.
pub(crate) struct Leader<'a>(&'a Election);

impl Election {
    /// Waits until no other thread leads, and makes the current thread the leader. Returns `None` as
    /// soon as `is_done` returns `true`, because another leader has finished the caller's work.
    pub(crate) fn lead_unless(&self, is_done: impl Fn() -> bool) -> Option<Leader<'_>> {
        let mut is_led = lock(&self.is_led);
        loop {
            if is_done() {
                return None;
            }
            if !*is_led {
                *is_led = true;
                return Some(Leader(self));
            }
            let woken = self.ended.wait(is_led);
            is_led = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Leader<'_> {
    // Release leadership in `drop`, because `drop` also runs if the storage panics. Otherwise the
    // waiting threads would block forever.
    fn drop(&mut self) {
        *lock(&self.0.is_led) = false;
        self.0.ended.notify_all();
    }
}

/// Locks a mutex and ignores poisoning. Use this function only for content that stays valid if a
/// thread panics.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! One of many threads does for all what waits; the others wait for what it does, not for their turn.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Who is at it.
#[derive(Default)]
pub(crate) struct Turns {
    taken: Mutex<bool>,
    ended: Condvar,
}

/// A turn, until dropped.
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    /// A turn, once nobody else has it; `None` as soon as it is not needed any more.
    pub(crate) fn unless(&self, is_done: impl Fn() -> bool) -> Option<Turn<'_>> {
        let mut taken = lock(&self.taken);
        loop {
            if is_done() {
                return None;
            }
            if !*taken {
                *taken = true;
                return Some(Turn(self));
            }
            let woken = self.ended.wait(taken);
            taken = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Drop for Turn<'_> {
    /// Also when the storage panics: others must not wait for ever.
    fn drop(&mut self) {
        *lock(&self.0.taken) = false;
        self.0.ended.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

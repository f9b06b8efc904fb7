//! Values that are dropped on the blocking pool, because their drop blocks.

use crate::asynchronous::blocking_pool;

/// A reader, writer or iterator. Its drop can delete segments, journal an entry or join threads.
pub(super) struct DropOnPool<T: Send + 'static>(Option<Box<T>>);

impl<T: Send + 'static> DropOnPool<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Some(Box::new(value)))
    }

    /// Returns the value; `None` after [`DropOnPool::take`].
    pub(super) fn get_mut(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    pub(super) fn take(&mut self) -> Option<T> {
        self.0.take().map(|value| *value)
    }
}

impl<T: Send + 'static> Drop for DropOnPool<T> {
    fn drop(&mut self) {
        if let Some(value) = self.0.take() {
            // Without a runtime, drop the closure and the value here, because no task waits then.
            let _ = blocking_pool::send(move || drop(value));
        }
    }
}

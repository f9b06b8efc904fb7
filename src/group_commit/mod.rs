//! Group commit: one elected thread writes for all waiting threads.
//!
//! A caller queues its work, then calls [`Election::lead_unless`]. Either another leader finishes
//! the work, or this caller becomes the leader and takes the whole queue. There is no timer and no
//! background thread.

mod leader;

pub(crate) use leader::{Election, lock};

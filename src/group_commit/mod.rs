//! Group commit: one of many waiting threads writes for all of them.
//!
//! A caller queues its work, then calls [`Election::lead_unless`]. Either another leader finishes the
//! work meanwhile, or this caller becomes the leader and takes the whole queue. No thread waits for a
//! timer, and no thread is kept for it.

mod leader;

pub(crate) use leader::{Election, lock};

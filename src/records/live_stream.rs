//! Registry of the streams that this process uploads.
//!
//! On exclusive storage, garbage collection treats an upload outside this registry as abandoned. The
//! registry is for the whole process, because several vaults can share one storage.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::crypto::StreamId;

static LIVE: Mutex<BTreeSet<StreamId>> = Mutex::new(BTreeSet::new());

fn live() -> MutexGuard<'static, BTreeSet<StreamId>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registration of a stream, from before its intent is stored until its upload is committed or
/// discarded.
#[derive(Debug)]
pub(super) struct LiveStream(StreamId);

impl LiveStream {
    pub(super) fn new(stream: &StreamId) -> Self {
        live().insert(*stream);
        Self(*stream)
    }
}

impl Drop for LiveStream {
    fn drop(&mut self) {
        live().remove(&self.0);
    }
}

/// Returns `true` if an upload of this process still needs the stream.
pub(crate) fn is_live(stream: &StreamId) -> bool {
    live().contains(stream)
}

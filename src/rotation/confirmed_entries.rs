//! Patient entries that a rotation found or stored under the active master key, so that its later
//! passes need not open them again.

use std::collections::HashSet;

use crate::crypto;
use crate::storage::Revision;

/// Maximum number of remembered entries, for which a set grows to 17 MiB. Later passes open all others.
const REMEMBERED_MAX: usize = 7 << 17;

/// Fingerprints of the entries that are under one master key.
#[derive(Default)]
pub(super) struct ConfirmedEntries {
    master: u32,
    fingerprints: HashSet<[u8; 16]>,
}

impl ConfirmedEntries {
    /// Forgets all entries, unless they are under this master key.
    pub(super) fn restrict_to(&mut self, master: u32) {
        if self.master != master {
            self.fingerprints.clear();
            self.master = master;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fingerprints.is_empty()
    }

    pub(super) fn insert(&mut self, key: &[u8], revision: &Revision) {
        if self.fingerprints.len() < REMEMBERED_MAX {
            self.fingerprints.insert(fingerprint(key, revision));
        }
    }

    /// Returns `true` if the entry is unchanged since it was confirmed.
    pub(super) fn contains(&self, key: &[u8], revision: &Revision) -> bool {
        self.fingerprints.contains(&fingerprint(key, revision))
    }
}

/// Returns a digest of the key and the revision, because a digest takes less memory than both. No backend
/// can find two revisions with the same digest.
fn fingerprint(key: &[u8], revision: &Revision) -> [u8; 16] {
    let length = (key.len() as u64).to_le_bytes();
    *crypto::digest_prefix(&crypto::sha256(&[&length, key, revision.as_bytes()]))
}

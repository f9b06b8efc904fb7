//! Result of checking the structures of a backend.

use serde::Serialize;

/// Faults in the structures in which a backend keeps its objects, see
/// [`Storage::integrity`](crate::storage::Storage::integrity).
///
/// ```
/// use chartlock::storage::{MemoryStorage, Storage};
///
/// assert!(MemoryStorage::new().integrity()?.is_clean());
/// # Ok::<(), chartlock::storage::StorageError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Integrity {
    /// Number of faults in the structures, such as pages and indexes of a database. A backend may
    /// stop counting at 1,000.
    pub structure_faults: u64,
    /// Keys of the objects whose value is stored outside the database, and is missing or truncated.
    pub missing_values: Vec<Vec<u8>>,
}

impl Integrity {
    /// Returns `true` if the check found no fault.
    pub fn is_clean(&self) -> bool {
        self.structure_faults == 0 && self.missing_values.is_empty()
    }
}

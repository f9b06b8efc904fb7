//! Check of the structures of the storage itself.

use serde::Serialize;

use crate::error::Result;
use crate::storage::{Integrity, StorageError};
use crate::verify::Verification;

/// Faults that the storage found in its own structures.
///
/// A fault in an index can hide an object that is stored. Back up the storage, and salvage the
/// objects into a new one.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// assert_eq!(vault.verify(None)?.storage.structure_faults, 0);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct StorageFindings {
    /// Number of faults in structures such as pages and indexes of a database.
    pub structure_faults: u64,
    /// Number of objects whose values are stored outside the database, and are missing or cut. The
    /// report also has a finding for each record and journal page that is affected.
    pub missing_values: u64,
    /// Number of ranges of keys that could not be read, because the structures are damaged. Objects in
    /// them can be whole, and verification continues behind them. Journal pages in them appear as
    /// missing.
    pub unreadable_ranges: u64,
}

impl StorageFindings {
    /// Returns `true` if the storage found no fault.
    pub fn is_clean(&self) -> bool {
        self.structure_faults == 0 && self.missing_values == 0 && self.unreadable_ranges == 0
    }
}

impl Verification {
    /// Lets the storage check its structures, and keeps the keys of the missing values, so that the
    /// records to which they belong become findings.
    pub(super) fn check_storage(&mut self) -> Result<()> {
        let integrity = match self.vault.core.store.storage.integrity() {
            // The check met damage that prevented it from checking the rest.
            Err(StorageError::Damaged) => Integrity {
                structure_faults: 1,
                missing_values: Vec::new(),
            },
            checked => checked?,
        };
        self.report.storage = StorageFindings {
            structure_faults: integrity.structure_faults,
            missing_values: integrity.missing_values.len() as u64,
            unreadable_ranges: 0,
        };
        self.missing_values = integrity.missing_values.into_iter().collect();
        Ok(())
    }
}

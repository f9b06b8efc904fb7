//! Vaults in storage that is open read-only.

use std::sync::Arc;

use chartlock::storage::{FileStorage, MemoryStorage, StorageError};
use chartlock::{Error, Journaling, Purpose, Vault, VaultOptions};

use crate::common::{Fixed, record, scratch, session, session_as};
use crate::stage::Shared;

#[test]
fn read_in_read_only_storage_is_refused_until_a_fallback_journals_it() {
    let scratch = scratch::quick();
    let directory = scratch.path().join("vault");
    let vault = Vault::create(FileStorage::open(&directory).unwrap(), &Fixed(1)).unwrap();
    session(&vault)
        .put(&record("MRN-1", "note"), b"{}")
        .unwrap();
    drop(vault);
    for journaling in [Journaling::Grouped, Journaling::Strict] {
        let reader = FileStorage::open_read_only(&directory).unwrap();
        let options = VaultOptions::new().journaling(journaling);
        let vault = options.open(reader, &Fixed(1)).unwrap();
        let clinician = session(&vault);
        let refused = Error::Journal(StorageError::ReadOnly);
        for _ in 0..3 {
            assert_eq!(
                clinician.get(&record("MRN-1", "note")).unwrap_err(),
                refused
            );
        }
        let spool: Shared = Arc::new(MemoryStorage::new());
        session_as(&vault, "it.on.call", Purpose::Treatment)
            .begin_journal_fallback("read-only medium", Arc::clone(&spool))
            .unwrap();
        assert!(clinician.get(&record("MRN-1", "note")).unwrap().is_some());
    }
}

//! Conflicts that no other writer caused.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use chartlock::access::SecurityEvent;
use chartlock::storage::{
    CommitError, Committed, FaultPoint, Operation, Scan, ScanPage, Storage, StorageError, Stored,
    Transaction,
};
use chartlock::{Error, Journaling, Vault};

use crate::stage::{Fixed, Shared, Stage, record, session, writes_page};

/// Storage that can answer the commit of a page with a conflict, without committing it. `conflict` returns the
/// operation of the conflict, if any, from the number of the commit and its operations.
struct Conflicting {
    inner: Shared,
    commits: AtomicUsize,
    /// `true` after a security event of the vault.
    has_alarm: AtomicBool,
    conflict: fn(usize, &[Operation]) -> Option<usize>,
}

impl Conflicting {
    fn open(
        stage: &Stage,
        conflict: fn(usize, &[Operation]) -> Option<usize>,
    ) -> (Vault, Arc<Self>) {
        drop(stage.create_in(Journaling::Strict));
        let storage = Arc::new(Self {
            inner: stage.shared(),
            commits: AtomicUsize::new(0),
            has_alarm: AtomicBool::new(false),
            conflict,
        });
        let alarmed = Arc::clone(&storage);
        let options = stage.options_in(Journaling::Strict);
        let options = options.on_security_event(move |_: &SecurityEvent| {
            alarmed.has_alarm.store(true, Ordering::SeqCst);
        });
        let vault = options.open(Arc::clone(&storage), &Fixed(1)).unwrap();
        (vault, storage)
    }
}

impl fmt::Debug for Conflicting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Conflicting").field(&self.inner).finish()
    }
}

impl Storage for Conflicting {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.inner.scan(scan)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        let commit = |transaction: &Transaction| {
            let operations = transaction.operations();
            let number = match writes_page(&FaultPoint::Commit(operations)) {
                true => self.commits.fetch_add(1, Ordering::SeqCst),
                false => usize::MAX,
            };
            match (self.conflict)(number, operations) {
                Some(operation) => Err(CommitError::Conflict { operation }),
                None => {
                    let mut results = self.inner.commit(std::slice::from_ref(transaction));
                    results.pop().unwrap()
                }
            }
        };
        transactions.iter().map(commit).collect()
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

/// An earlier put of the same page can be in progress, so an alarm about a fork would be false.
#[test]
fn commit_after_conflict_on_absent_page_is_repeated() {
    for stage in [Stage::memory(), Stage::per_operation()] {
        let (vault, storage) = Conflicting::open(&stage, |number, operations| {
            let page = operations.iter().rposition(|one| one.key()[0] == b'j');
            page.filter(|_| number < 3)
        });
        session(&vault).put(&record("MRN-1", "a"), b"a").unwrap();
        assert!(storage.commits.load(Ordering::SeqCst) > 3);
        drop(vault);
        assert!(!storage.has_alarm.load(Ordering::SeqCst));
        let report = stage.open_in(Journaling::Strict).verify(None).unwrap();
        assert!(report.is_clean(), "{report:#?}");
    }
}

/// The header is unchanged, so the same commit would meet the same conflict again.
#[test]
fn put_with_endless_header_conflicts_returns_contended() {
    let stage = Stage::memory();
    let (vault, _) = Conflicting::open(&stage, |number, operations| {
        let header = operations.iter().position(|one| one.key() == b"v");
        header.filter(|_| number != usize::MAX)
    });
    let put = session(&vault).put(&record("MRN-1", "a"), b"a");
    assert_eq!(put, Err(Error::Contended));
}

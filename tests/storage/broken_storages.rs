//! Defective storages, one for each defect that the conformance kit must detect.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use chartlock::storage::{
    CommitError, Committed, Expect, Integrity, MemoryStorage, Operation, Projection, Revision,
    Scan, ScanPage, Snapshot, Storage, StorageError, Stored, Transaction, UnreadableRange,
};

use crate::broken_snapshots::{Halves, Live, Torn};
#[cfg(unix)]
use crate::mapped_values::MappedValues;

/// Wrapper that adds one defect to a storage.
#[derive(Debug)]
pub(crate) struct Broken<S> {
    inner: Arc<S>,
    defect: Defect,
    is_written: AtomicBool,
    closes: AtomicU32,
    #[cfg(unix)]
    mapped: MappedValues,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Defect {
    /// Reports transactions as supported, although the inner storage does not support them.
    ClaimsTransactions,
    IgnoresExpectations,
    IgnoresChecks,
    AfterIsInclusive,
    SignedOrder,
    DropsMoreFlag,
    ConstantRevision,
    LosesEmptyValues,
    TruncatesKeys,
    HeadIsWhole,
    DeleteOfAbsentFails,
    StopsAtFirstFailedTransaction,
    ReverseTransactions,
    NoRevisionForChecks,
    ContinuesAfterConflict,
    LostUpdates,
    #[cfg(unix)]
    ReusesSharedMemory,
    NamesUnreadableRange,
    EndsScanOfKeysEarly,
    RepeatsPageOfHeads,
    LengthOfProjection,
    LengthOfLargeValues,
    LastIsFirst,
    LastWithoutHighPrefixes,
    LastInFirstPage,
    LastInOrderOfPrefixes,
    SnapshotFails,
    SnapshotIsLive,
    SnapshotReadsLive,
    SnapshotScansLive,
    SnapshotDoesNotDefer,
    SnapshotIsTorn,
    IntegrityFails,
    IntegrityFindsFaults,
    ExclusiveUntilWritten,
    CloseFailsTwice,
    ClosedFailsWithIo,
    ClosedIsEmpty,
    ClosedCommits,
    ClosedLosesCommits,
    ClosedMakesSnapshots,
}

impl<S: Storage + 'static> Storage for Broken<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.check_open()?;
        let cut: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let asked: Vec<_> = cut.iter().map(Vec::as_slice).collect();
        let mut answers = self.inner.read(&asked)?;
        for answer in &mut answers {
            if let Some(stored) = answer {
                stored.revision = self.revision(&stored.revision);
                #[cfg(unix)]
                if self.defect == Defect::ReusesSharedMemory {
                    stored.value = self.mapped.map(&stored.value);
                }
                if self.defect == Defect::LosesEmptyValues && stored.value.is_empty() {
                    *answer = None;
                }
            }
        }
        if self.defect == Defect::ClosedIsEmpty && self.is_closed() {
            answers.fill(None);
        }
        Ok(answers)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        self.check_open()?;
        let before: Vec<u8>;
        let mut scan = scan;
        if self.defect == Defect::AfterIsInclusive
            && let Some((last, rest)) = scan.after.and_then(<[u8]>::split_last)
            && *last > 0
        {
            before = [rest, &[last - 1, 0xff]].concat();
            scan.after = Some(&before);
        }
        if self.defect == Defect::HeadIsWhole {
            scan.projection = Projection::Values;
        }
        if self.defect == Defect::RepeatsPageOfHeads
            && matches!(scan.projection, Projection::Head(_))
        {
            scan.after = None;
        }
        let mut page = self.inner.scan(scan)?;
        for entry in &mut page.items {
            entry.revision = self.revision(&entry.revision);
        }
        match self.defect {
            Defect::SignedOrder => page
                .items
                .sort_by_key(|entry| entry.key.iter().map(|b| *b as i8).collect::<Vec<_>>()),
            Defect::DropsMoreFlag => page.more = false,
            Defect::EndsScanOfKeysEarly if scan.projection == Projection::Keys => page.more = false,
            Defect::NamesUnreadableRange => {
                let last = page.items.last().map(|item| item.key.clone());
                page.unreadable.extend(last.map(|last| UnreadableRange {
                    first: last.clone(),
                    last,
                }));
            }
            _ => {}
        }
        for item in &mut page.items {
            match self.defect {
                Defect::LengthOfProjection => item.length = item.value.len() as u64,
                Defect::LengthOfLargeValues if item.length >= 256 << 10 => item.length = 0,
                _ => {}
            }
        }
        Ok(page)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        if self.is_closed() && self.defect == Defect::ClosedLosesCommits {
            let lost = MemoryStorage::new();
            return lost.commit(transactions);
        }
        if self.defect != Defect::ClosedCommits
            && let Err(error) = self.check_open()
        {
            return transactions.iter().map(|_| Err(error.into())).collect();
        }
        self.is_written.store(true, Ordering::SeqCst);
        #[cfg(unix)]
        self.mapped.overwrite();
        let mut order: Vec<usize> = (0..transactions.len()).collect();
        if self.defect == Defect::ReverseTransactions {
            order.reverse();
        }
        let mut answers: Vec<_> = transactions
            .iter()
            .map(|_| Err(CommitError::Unknown))
            .collect();
        for index in order {
            answers[index] = self.one(&transactions[index]);
            if self.defect == Defect::StopsAtFirstFailedTransaction && answers[index].is_err() {
                break;
            }
        }
        answers
    }

    fn is_transactional(&self) -> bool {
        self.defect == Defect::ClaimsTransactions || self.inner.is_transactional()
    }

    fn is_exclusive(&self) -> bool {
        self.defect != Defect::ExclusiveUntilWritten || !self.is_written.load(Ordering::SeqCst)
    }

    fn last(&self, prefixes: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StorageError> {
        self.check_open()?;
        let last = |prefix: &&[u8]| match self.defect {
            Defect::LastWithoutHighPrefixes if prefix.ends_with(b"\xff") => Ok(None),
            Defect::LastIsFirst => Ok(self.keys(prefix, 1)?.pop()),
            Defect::LastInFirstPage => Ok(self.keys(prefix, 1000)?.pop()),
            _ => Ok(self.inner.last(&[*prefix])?.remove(0)),
        };
        let mut prefixes = prefixes.to_vec();
        if self.defect == Defect::LastInOrderOfPrefixes {
            prefixes.sort_unstable();
        }
        prefixes.iter().map(last).collect()
    }

    fn snapshot(&self) -> Result<Box<dyn Snapshot>, StorageError> {
        if self.defect != Defect::ClosedMakesSnapshots {
            self.check_open()?;
        }
        let live = || Box::new(Live(Arc::clone(&self.inner)));
        let copy = || self.inner.snapshot();
        Ok(match self.defect {
            Defect::SnapshotFails => return Err(StorageError::TimedOut),
            Defect::SnapshotIsLive => live(),
            Defect::SnapshotReadsLive => Box::new(Halves {
                read: live(),
                scan: copy()?,
            }),
            Defect::SnapshotScansLive => Box::new(Halves {
                read: copy()?,
                scan: live(),
            }),
            Defect::SnapshotIsTorn => {
                let records = copy()?;
                std::thread::sleep(std::time::Duration::from_millis(1));
                Box::new(Torn {
                    records,
                    patients: copy()?,
                })
            }
            _ => copy()?,
        })
    }

    fn integrity(&self) -> Result<Integrity, StorageError> {
        match self.defect {
            Defect::IntegrityFails => Err(StorageError::Damaged),
            Defect::IntegrityFindsFaults => Ok(Integrity {
                structure_faults: 1,
                missing_values: Vec::new(),
            }),
            _ => self.inner.integrity(),
        }
    }

    fn close(&self) -> Result<(), StorageError> {
        let closes = self.closes.fetch_add(1, Ordering::SeqCst);
        match self.defect {
            Defect::CloseFailsTwice if closes > 0 => Err(StorageError::Stopped),
            _ => Ok(()),
        }
    }
}

impl<S: Storage> Broken<S> {
    pub(crate) fn new(inner: S, defect: Defect) -> Self {
        Self {
            inner: Arc::new(inner),
            defect,
            is_written: AtomicBool::new(false),
            closes: AtomicU32::new(0),
            #[cfg(unix)]
            mapped: MappedValues::new(),
        }
    }

    fn is_closed(&self) -> bool {
        self.closes.load(Ordering::SeqCst) > 0
    }

    /// Returns the error of a call after closing, for the defects of a storage that refuses such
    /// calls. With any other defect, the closed storage accepts calls.
    fn check_open(&self) -> Result<(), StorageError> {
        match self.defect {
            Defect::ClosedFailsWithIo if self.is_closed() => {
                Err(StorageError::Io(std::io::ErrorKind::Other))
            }
            Defect::ClosedCommits | Defect::ClosedMakesSnapshots if self.is_closed() => {
                Err(StorageError::Stopped)
            }
            _ => Ok(()),
        }
    }

    /// Returns the keys in the first page of a scan.
    fn keys(&self, prefix: &[u8], limit: usize) -> Result<Vec<Vec<u8>>, StorageError> {
        let page = self.inner.scan(Scan {
            prefix,
            after: None,
            limit,
            projection: Projection::Keys,
        })?;
        Ok(page.items.into_iter().map(|item| item.key).collect())
    }

    fn one(&self, transaction: &Transaction) -> Result<Committed, CommitError> {
        let mut operations = Vec::new();
        for (index, operation) in transaction.operations().iter().enumerate() {
            let mut operation = operation.clone();
            match &mut operation {
                Operation::Put { key, expect, .. } => {
                    *key = self.key(key);
                    *expect = self.expect(key, expect);
                }
                Operation::Check { key, expect } => {
                    *key = self.key(key);
                    *expect = self.expect(key, expect);
                    if self.defect == Defect::IgnoresChecks {
                        *expect = Expect::Any;
                    }
                }
                Operation::Delete { key } => {
                    *key = self.key(key);
                    if self.defect == Defect::DeleteOfAbsentFails
                        && self.inner.read(&[key])?[0].is_none()
                    {
                        return Err(CommitError::Conflict { operation: index });
                    }
                }
            }
            operations.push(operation);
        }
        if self.defect == Defect::ContinuesAfterConflict {
            let mut result = Ok(Committed::default());
            for (index, operation) in operations.into_iter().enumerate() {
                match self.inner.commit(&[[operation].into_iter().collect()])[0].clone() {
                    Ok(one) => {
                        if let Ok(all) = &mut result {
                            all.revisions.extend(one.revisions);
                        }
                    }
                    Err(_) => {
                        result = result.and(Err(CommitError::Conflict { operation: index }));
                    }
                }
            }
            return result;
        }
        let checks: Vec<_> = operations
            .iter()
            .map(|operation| matches!(operation, Operation::Check { .. }))
            .collect();
        let mut committed = self.inner.commit(&[operations.into_iter().collect()])[0].clone()?;
        for (revision, check) in committed.revisions.iter_mut().zip(checks) {
            if let Some(inner) = revision {
                *revision = Some(self.revision(inner));
            }
            if check && self.defect == Defect::NoRevisionForChecks {
                *revision = None;
            }
        }
        committed.deferred &= self.defect != Defect::SnapshotDoesNotDefer;
        Ok(committed)
    }

    fn key(&self, key: &[u8]) -> Vec<u8> {
        match self.defect {
            Defect::TruncatesKeys => key[..key.len().min(33)].to_vec(),
            _ => key.to_vec(),
        }
    }

    fn expect(&self, key: &[u8], expect: &Expect) -> Expect {
        match (self.defect, expect) {
            (Defect::IgnoresExpectations, _) => Expect::Any,
            // Check first and write after a pause, so that check and write are not atomic.
            (Defect::LostUpdates, expect) => {
                let standing = self.inner.read(&[key]).unwrap().pop().flatten();
                std::thread::sleep(std::time::Duration::from_micros(200));
                match expect.admits(standing.as_ref().map(|stored| &stored.revision)) {
                    true => Expect::Any,
                    false => expect.clone(),
                }
            }
            (Defect::ConstantRevision, Expect::Unchanged(_)) => Expect::Any,
            _ => expect.clone(),
        }
    }

    fn revision(&self, inner: &Revision) -> Revision {
        match self.defect {
            Defect::ConstantRevision => Revision::new(b"same"),
            _ => inner.clone(),
        }
    }
}

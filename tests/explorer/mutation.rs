//! Mutations that each break one rule of the order of writes, and that the explorer must detect.

use std::collections::HashMap;
use std::sync::Mutex;

use chartlock::storage::{
    CommitError, Committed, Expect, Operation, Projection, Scan, ScanPage, Storage, StorageError,
    Stored, Transaction,
};

pub(crate) use crate::outdated::Around;
use crate::outdated::Outdated;

/// Rule of the order of writes that a mutant breaks (see `src/architecture.md` for the rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutation {
    /// No rule is broken.
    None,
    /// The check of the patient entry accepts any stored value.
    EntryUnchecked,
    /// The check of the header accepts any stored value.
    HeaderUnchecked,
    /// The check of the patient entry comes first instead of last.
    EntryCheckedFirst,
    /// The write of the earlier version replaces any stored value.
    EarlierAny,
    /// The write of the earlier version is skipped.
    EarlierSkipped,
    /// The earlier version is written after the current version.
    EarlierLast,
    /// The write of the current version replaces any stored value, so that conflicts are lost.
    CurrentAny,
    /// The write of the patient entry replaces any stored value.
    EntryAny,
    /// The write of the header replaces any stored value.
    HeaderAny,
    /// Rotation and garbage collection scan records, but not history.
    HistoryUnlisted,
    /// Keys are destroyed without the key removal delay.
    NoDelay,
    /// Cached header and entries never expire.
    CachesForEver,
    /// Unknown commit outcomes are treated as conflicts.
    UnknownIsConflict,
    /// The check of the upload intent accepts any stored value.
    IntentUnchecked,
    /// The collector does not delete the intents of abandoned uploads.
    FenceSkipped,
    /// The collector lists intents before segments.
    IntentsFirst,
    /// The collector scans history before records.
    HistoryFirst,
    /// The collector does not scan records again after it deleted the intents.
    ScansOnce,
    /// No journal page is written.
    PageSkipped,
    /// The journal page is committed separately, after its changes.
    PageLast,
    /// The journal page is committed separately, before its changes, and records them as done.
    PageFirst,
    /// The check of the header in the transaction of a journal page accepts any stored value.
    PageHeaderUnchecked,
    /// A rotation of the journal keys walks the chains before it writes the header with the new keys.
    WalkFirst,
    /// A rotation of the journal keys lets the header name pages under closed keys that no closing named.
    LateNamed,
    /// A journal fallback begins although the vault's own storage can be written.
    FallbackOnHealthy,
    /// A journal fallback ends without the pages of its spool.
    SpoolForgotten,
    /// An erasure lists the chart before it writes the tombstone.
    ListedFirst,
    /// The acceptance of a restore does not make the plan again.
    PlanNotRepeated,
}

/// Storage wrapper that breaks one rule in the transactions and scans that it forwards.
#[derive(Debug)]
pub(crate) struct Mutant<S> {
    inner: S,
    mutation: Mutation,
    /// Scan pages that the mutation fetched too early, by prefix.
    early: Mutex<HashMap<Vec<u8>, ScanPage>>,
    /// A journal page whose commit is delayed until its changes are committed.
    delayed_page: Mutex<Option<Transaction>>,
    outdated: Outdated,
}

impl<S: Storage> Storage for Mutant<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.outdated.read(keys, || self.inner.read(keys))
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let chart = scan.prefix.len() == 17;
        if self.mutation == Mutation::HistoryUnlisted && chart && scan.prefix[0] == b'h' {
            return Ok(ScanPage::default());
        }
        self.outdated.scan(scan, || {
            self.early(scan)?.map_or_else(|| self.inner.scan(scan), Ok)
        })
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        if self.mutation == Mutation::None && !self.outdated.is_disk_full() {
            return self.inner.commit(transactions);
        }
        let send = |transaction: &Transaction| {
            let results = self.send(std::slice::from_ref(transaction));
            results.into_iter().next().unwrap()
        };
        let transactions = transactions.iter();
        let results = transactions.map(|transaction| self.outdated.commit(transaction, send));
        results.collect()
    }

    fn is_transactional(&self) -> bool {
        self.inner.is_transactional()
    }
}

impl<S: Storage> Mutant<S> {
    pub(crate) fn new(inner: S, mutation: Mutation, around: Around) -> Self {
        Self {
            inner,
            mutation,
            early: Mutex::default(),
            delayed_page: Mutex::default(),
            outdated: Outdated::new(around, mutation),
        }
    }

    /// Sends the mutated transactions.
    fn send(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        if let ([transaction], Mutation::PageLast | Mutation::PageFirst) =
            (transactions, self.mutation)
        {
            return vec![self.commit_separately(transaction)];
        }
        let (altered, orders): (Vec<_>, Vec<_>) = transactions
            .iter()
            .map(|transaction| self.mutation.alter(transaction))
            .unzip();
        let results = self.inner.commit(&altered);
        let results = results.into_iter().zip(orders);
        results
            .map(|(result, order)| self.mutation.answer(result, &order))
            .collect()
    }

    /// Commits a transaction and its journal page separately.
    fn commit_separately(&self, transaction: &Transaction) -> Result<Committed, CommitError> {
        let commit_one = |transaction| self.inner.commit(&[transaction]).pop().unwrap();
        let mut rest = transaction.operations().to_vec();
        let place = rest.iter().position(|operation| operation.key()[0] == b'j');
        let Some(place) = place else {
            let delayed = self.delayed_page.lock().unwrap().take();
            let done = commit_one(transaction.clone())?;
            delayed.map(commit_one).transpose()?;
            return Ok(done);
        };
        let page: Transaction = [rest.remove(place)].into_iter().collect();
        // Covered heads and the check of the header belong to the page.
        let has_changes = rest.iter().any(|operation| {
            operation.key()[0] != b'a' && !matches!(operation, Operation::Check { .. })
        });
        match (has_changes, self.mutation) {
            (false, Mutation::PageLast) => {
                let before = self.delayed_page.lock().unwrap().replace(page);
                before.map(commit_one).transpose()?;
                let revisions = vec![None; rest.len() + 1];
                let deferred = false;
                return Ok(Committed {
                    revisions,
                    deferred,
                });
            }
            (false, _) => return commit_one(transaction.clone()),
            (true, Mutation::PageFirst) => drop(commit_one(page.clone())?),
            (true, _) => {}
        }
        let done = commit_one(rest.into_iter().collect());
        let mut done = done.map_err(|error| match error {
            CommitError::Conflict { operation } if operation >= place => CommitError::Conflict {
                operation: operation + 1,
            },
            other => other,
        })?;
        if self.mutation == Mutation::PageLast {
            commit_one(page)?;
        }
        done.revisions.insert(place, None);
        Ok(done)
    }

    /// Returns the collector's scan page, if the mutation fetched the page too early.
    fn early(&self, scan: Scan<'_>) -> Result<Option<ScanPage>, StorageError> {
        let [class, chart @ ..] = scan.prefix else {
            return Ok(None);
        };
        if chart.len() != 16 {
            return Ok(None);
        }
        // The class and projection that the mutation fetches before this scan.
        let too_early = match (self.mutation, class, scan.projection) {
            (Mutation::IntentsFirst, b's', Projection::Keys) => Some((b'w', Projection::Values)),
            (Mutation::HistoryFirst, b'r', Projection::Head(112)) => Some((b'h', scan.projection)),
            (Mutation::ScansOnce, b'r' | b'h', Projection::Head(112)) => {
                let mut pages = self.early.lock().unwrap();
                if let Some(page) = pages.get(scan.prefix) {
                    return Ok(Some(page.clone()));
                }
                let page = self.inner.scan(scan)?;
                pages.insert(scan.prefix.to_vec(), page.clone());
                return Ok(Some(page));
            }
            _ => None,
        };
        if let Some((class, projection)) = too_early {
            let prefix = [&[class], chart].concat();
            let prefix = &prefix[..];
            let page = self.inner.scan(Scan {
                prefix,
                projection,
                ..scan
            })?;
            self.early.lock().unwrap().insert(prefix.to_vec(), page);
        }
        Ok(match self.mutation {
            Mutation::IntentsFirst | Mutation::HistoryFirst => {
                self.early.lock().unwrap().remove(scan.prefix)
            }
            _ => None,
        })
    }
}

impl Mutation {
    /// Returns the mutated transaction, with the original index of each operation.
    fn alter(self, transaction: &Transaction) -> (Transaction, Vec<usize>) {
        if let (Self::FenceSkipped, [Operation::Delete { key }]) = (self, transaction.operations())
            && key[0] == b'w'
        {
            let nothing = Transaction::new().check(&key[..], Expect::Any);
            return (nothing, vec![0]);
        }
        let mut operations: Vec<_> = (transaction.operations().iter().cloned())
            .map(|operation| self.weaken(operation))
            .enumerate()
            .collect();
        let is_page = |operation: &Operation| operation.key()[0] == b'j';
        match self {
            Self::PageHeaderUnchecked if transaction.operations().iter().any(is_page) => {
                for (_, operation) in &mut operations {
                    if let Operation::Check { key, expect } = operation
                        && key[0] == b'v'
                    {
                        *expect = Expect::Any;
                    }
                }
            }
            Self::EntryCheckedFirst => operations.sort_by_key(|(_, operation)| {
                !matches!(operation, Operation::Check { key, .. } if key.starts_with(b"p"))
            }),
            Self::EarlierLast => {
                let of_record = operations
                    .iter()
                    .filter(|(_, operation)| b"rh".contains(&operation.key()[0]))
                    .count();
                if of_record == 2 {
                    operations.sort_by_key(|(_, operation)| operation.key()[0] == b'h');
                }
            }
            _ => {}
        }
        let (order, operations): (Vec<_>, Vec<_>) = operations.into_iter().unzip();
        (operations.into_iter().collect(), order)
    }

    fn weaken(self, mut operation: Operation) -> Operation {
        let class = operation.key()[0];
        let put = matches!(operation, Operation::Put { .. });
        let skipped = match self {
            Self::EarlierSkipped => class == b'h',
            Self::PageSkipped => class == b'j',
            _ => false,
        };
        if put && skipped {
            return Operation::Check {
                key: operation.key().to_vec(),
                expect: Expect::Any,
            };
        }
        match &mut operation {
            Operation::Check { expect, .. } => {
                let weak = match self {
                    Self::EntryUnchecked => class == b'p',
                    Self::HeaderUnchecked => class == b'v',
                    Self::IntentUnchecked => class == b'w',
                    _ => false,
                };
                if weak {
                    *expect = Expect::Any;
                }
            }
            Operation::Put { expect, .. } => {
                let weak = match self {
                    Self::EarlierAny => class == b'h',
                    Self::CurrentAny => class == b'r',
                    Self::EntryAny => class == b'p',
                    Self::HeaderAny => class == b'v',
                    _ => false,
                };
                if weak {
                    *expect = Expect::Any;
                }
            }
            Operation::Delete { .. } => {}
        }
        operation
    }

    /// Translates the storage's reply to the order in which the caller listed the operations: the
    /// revisions of a commit, and the index of a conflict. `UnknownIsConflict` also reports an unknown
    /// outcome as a conflict.
    fn answer(
        self,
        result: Result<Committed, CommitError>,
        order: &[usize],
    ) -> Result<Committed, CommitError> {
        match result {
            Ok(mut committed) => {
                let mut revisions: Vec<_> = order.iter().zip(committed.revisions).collect();
                revisions.sort_by_key(|(place, _)| **place);
                committed.revisions = revisions
                    .into_iter()
                    .map(|(_, revision)| revision)
                    .collect();
                Ok(committed)
            }
            Err(CommitError::Conflict { operation }) => Err(CommitError::Conflict {
                operation: order.get(operation).copied().unwrap_or(operation),
            }),
            Err(CommitError::Unknown) if self == Self::UnknownIsConflict => {
                Err(CommitError::Conflict { operation: 0 })
            }
            other => other,
        }
    }
}

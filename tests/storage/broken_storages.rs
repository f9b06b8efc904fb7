//! Defective storages, one for each defect that the conformance kit must detect.

use chartlock::storage::{
    CommitError, Committed, Expect, MemoryStorage, Operation, PerOperation, Revision, Scan,
    ScanPage, Storage, StorageError, Stored, Transaction, conformance,
};

/// Memory storage with one defect.
#[derive(Debug)]
struct Broken<S> {
    inner: S,
    defect: Defect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
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
}

impl<S: Storage> Storage for Broken<S> {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        let cut: Vec<_> = keys.iter().map(|key| self.key(key)).collect();
        let asked: Vec<_> = cut.iter().map(Vec::as_slice).collect();
        let mut answers = self.inner.read(&asked)?;
        for answer in &mut answers {
            if let Some(stored) = answer {
                stored.revision = self.revision(&stored.revision);
                if self.defect == Defect::LosesEmptyValues && stored.value.is_empty() {
                    *answer = None;
                }
            }
        }
        Ok(answers)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
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
            scan.projection = chartlock::storage::Projection::Values;
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
            _ => {}
        }
        Ok(page)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
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
}

impl<S: Storage> Broken<S> {
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

#[track_caller]
fn assert_detected<S: Storage>(defect: Defect, make: impl Fn() -> S) {
    let failure = conformance::check(|| Broken {
        inner: make(),
        defect,
    })
    .expect_err("a broken storage passed the conformance kit");
    println!("{defect:?} was detected by {failure}");
}

#[test]
fn conformance_kit_detects_each_defect() {
    use Defect::*;
    for defect in [
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
        LostUpdates,
    ] {
        assert_detected(defect, MemoryStorage::new);
    }
    for defect in [ClaimsTransactions, ContinuesAfterConflict] {
        assert_detected(defect, || PerOperation::new(MemoryStorage::new()));
    }
}

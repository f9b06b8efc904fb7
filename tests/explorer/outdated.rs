//! Mutations that let a process see an outdated or altered storage, so that a rule about the order of
//! reads is broken.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chartlock::internals::crypto::sha256;
use chartlock::internals::journal::{ChainHead, PageId};
use chartlock::storage::{
    CommitError, Committed, Expect, MemoryStorage, Operation, Projection, Revision, Scan, ScanPage,
    Storage, StorageError, Stored, Transaction,
};

use crate::attacker::INSIDER;
use crate::common::journal::unlocked;
use crate::common::objects::{keys_of, scan_all, value_of};
use crate::equipment::LocalState;
use crate::mutation::Mutation;
use crate::verbs::Verb;

/// Suffix of the revision of an altered header.
const ALTERED: &[u8] = b"!";

/// What a mutant may look at without a step.
#[derive(Debug)]
pub(crate) struct Around {
    pub(crate) local: Arc<LocalState>,
    pub(crate) spool: Arc<MemoryStorage>,
    /// The storage that all processes share.
    pub(crate) memory: Arc<MemoryStorage>,
}

/// An outdated view of the storage.
#[derive(Debug)]
pub(crate) struct Outdated {
    around: Around,
    mutation: Mutation,
    /// Objects of some classes, as they were earlier.
    snapshot: Mutex<Option<MemoryStorage>>,
    /// Results of the scans and reads of a planned restore.
    plan: Mutex<PlanReads>,
}

#[derive(Debug, Default)]
struct PlanReads {
    scans: HashMap<String, ScanPage>,
    reads: HashMap<String, Vec<Option<Stored>>>,
}

impl Outdated {
    pub(crate) fn new(around: Around, mutation: Mutation) -> Self {
        Self {
            around,
            mutation,
            snapshot: Mutex::default(),
            plan: Mutex::default(),
        }
    }

    pub(crate) fn is_disk_full(&self) -> bool {
        self.around.local.is_disk_full()
    }

    fn runs(&self, verb: Verb) -> bool {
        self.around.local.runs(verb)
    }

    /// Returns the classes of objects of which the process sees an outdated listing.
    fn outdated_classes(&self) -> &'static [u8] {
        match self.mutation {
            Mutation::WalkFirst => b"j",
            Mutation::ListedFirst => b"wsrh",
            _ => b"",
        }
    }

    /// Takes the snapshot before a commit, if the mutation reads too early.
    fn before_commit(&self, transaction: &Transaction) {
        let puts = |class: u8| {
            let mut operations = transaction.operations().iter();
            operations
                .any(|operation| matches!(operation, Operation::Put { key, .. } if key[0] == class))
        };
        let is_first = match self.mutation {
            Mutation::WalkFirst => puts(b'v') && self.runs(Verb::RotateJournal),
            Mutation::ListedFirst => puts(b'p') && self.runs(Verb::Erase(0)),
            _ => false,
        };
        let mut snapshot = self.snapshot.lock().unwrap();
        if is_first && snapshot.is_none() {
            let copy = MemoryStorage::new();
            for class in self.outdated_classes() {
                let objects = scan_all(&*self.around.memory, &[*class], Projection::Values);
                let puts = objects
                    .into_iter()
                    .map(|(key, value)| Transaction::new().put(&key[..], &value[..], Expect::Any));
                copy.commit(&puts.collect::<Vec<_>>());
            }
            *snapshot = Some(copy);
        }
    }

    /// Applies the process's own change to the snapshot.
    fn after_commit(&self, transaction: &Transaction) {
        let is_erasure = transaction
            .operations()
            .iter()
            .any(|operation| matches!(operation, Operation::Put { key, .. } if key[0] == b'p'));
        if is_erasure {
            self.plan.lock().unwrap().clear();
        }
        let snapshot = self.snapshot.lock().unwrap();
        let Some(snapshot) = &*snapshot else {
            return;
        };
        for operation in transaction.operations() {
            let change = match operation {
                Operation::Put { key, value, .. } => {
                    Transaction::new().put(&key[..], &value[..], Expect::Any)
                }
                Operation::Delete { key } => Transaction::new().delete(&key[..]),
                Operation::Check { .. } => continue,
            };
            snapshot.commit(&[change]);
        }
    }

    /// Commits a transaction through `send`, or answers for the storage.
    pub(crate) fn commit(
        &self,
        transaction: &Transaction,
        send: impl FnOnce(&Transaction) -> Result<Committed, CommitError>,
    ) -> Result<Committed, CommitError> {
        if self.is_disk_full()
            || self.mutation == Mutation::FallbackOnHealthy && self.runs(Verb::BeginFallback)
        {
            return Err(CommitError::Io(StorageError::Full));
        }
        if self.is_of_spool(transaction.operations().iter().map(Operation::key)) {
            return Ok(Committed {
                revisions: vec![None; transaction.operations().len()],
                deferred: false,
            });
        }
        self.before_commit(transaction);
        let done = match self.mutation {
            Mutation::LateNamed => send(&with_real_revisions(transaction)),
            _ => send(transaction),
        };
        if done.is_ok() {
            self.after_commit(transaction);
        }
        done
    }

    /// Returns `true` if the process must believe that pages of its spool are home.
    fn is_of_spool<'a>(&self, mut keys: impl Iterator<Item = &'a [u8]>) -> bool {
        self.mutation == Mutation::SpoolForgotten
            && self.runs(Verb::EndFallback)
            && keys.any(|key| key[0] == b'j' && value_of(&*self.around.spool, key).is_some())
    }

    pub(crate) fn read(
        &self,
        keys: &[&[u8]],
        send: impl FnOnce() -> Result<Vec<Option<Stored>>, StorageError>,
    ) -> Result<Vec<Option<Stored>>, StorageError> {
        if self.is_of_spool(keys.iter().copied()) {
            return self.around.spool.read(keys);
        }
        if let Some(found) = self.planned(|plan| plan.reads.get(&format!("{keys:?}")).cloned()) {
            return Ok(found);
        }
        let mut found = send()?;
        if self.mutation == Mutation::LateNamed && keys == [b"v"] {
            self.alter_header(&mut found);
        }
        self.remember(|plan| plan.reads.insert(format!("{keys:?}"), found.clone()));
        Ok(found)
    }

    pub(crate) fn scan(
        &self,
        scan: Scan<'_>,
        send: impl FnOnce() -> Result<ScanPage, StorageError>,
    ) -> Result<ScanPage, StorageError> {
        let is_outdated =
            (scan.prefix.first()).is_some_and(|class| self.outdated_classes().contains(class));
        if let (Some(snapshot), true) = (&*self.snapshot.lock().unwrap(), is_outdated) {
            return snapshot.scan(scan);
        }
        if let Some(found) = self.planned(|plan| plan.scans.get(&format!("{scan:?}")).cloned()) {
            return Ok(found);
        }
        let found = send()?;
        self.remember(|plan| plan.scans.insert(format!("{scan:?}"), found.clone()));
        Ok(found)
    }

    /// Remembers what a planned restore reads.
    fn remember<T>(&self, add: impl FnOnce(&mut PlanReads) -> T) {
        if self.mutation == Mutation::PlanNotRepeated && self.runs(Verb::PlanRestore) {
            add(&mut self.plan.lock().unwrap());
        }
    }

    /// Returns what the planned restore read, until the acceptance erases a subject.
    fn planned<T>(&self, find: impl FnOnce(&PlanReads) -> Option<T>) -> Option<T> {
        let is_acceptance =
            self.mutation == Mutation::PlanNotRepeated && self.runs(Verb::AcceptRestore);
        is_acceptance
            .then(|| find(&self.plan.lock().unwrap()))
            .flatten()
    }

    /// Lets the newest closing name the page that a former insider planted.
    fn alter_header(&self, found: &mut [Option<Stored>]) {
        let memory = &*self.around.memory;
        let planted = keys_of(memory, &[b"j", &INSIDER[..]].concat());
        let (Some(planted), [Some(stored)]) = (planted.first(), found) else {
            return;
        };
        let (header, mut unlocked) = unlocked(memory);
        let head = ChainHead {
            page: PageId {
                writer: INSIDER,
                sequence: 0,
            },
            digest: sha256(&[&value_of(memory, planted).unwrap()]),
        };
        let Some(named) = unlocked.keyring.newest_closed_heads() else {
            return;
        };
        let named = [named, &[head]].concat();
        (unlocked.keyring)
            .replace_newest_closed_heads(named)
            .unwrap();
        let generation = header.generation();
        let altered = header.sealed_with(&unlocked.root, &unlocked.keyring, generation);
        stored.value = altered.unwrap().into();
        stored.revision = Revision::new(&[stored.revision.as_bytes(), ALTERED].concat());
    }
}

impl PlanReads {
    fn clear(&mut self) {
        self.scans.clear();
        self.reads.clear();
    }
}

/// Replaces the revisions of altered headers by those of the stored headers.
fn with_real_revisions(transaction: &Transaction) -> Transaction {
    let operations = transaction.operations().iter().cloned();
    let with_real = operations.map(|mut operation| {
        if let Operation::Put { expect, .. } | Operation::Check { expect, .. } = &mut operation
            && let Expect::Unchanged(revision) = expect
            && let Some(real) = revision.as_bytes().strip_suffix(ALTERED)
        {
            *expect = Expect::Unchanged(Revision::new(real));
        }
        operation
    });
    with_real.collect()
}

//! Test fixtures: vaults on a stage's clock, and access to their journal entries.

use std::collections::HashSet;
use std::sync::Arc;

use chartlock::internals::crypto;
use chartlock::internals::journal::{
    Entry, PageId, Sealer, Stage as EntryStage, Target, digest_of,
};
use chartlock::internals::vault;
use chartlock::storage::{FaultPoint, Faulty};
use chartlock::{Journaling, Operation, Vault, VaultOptions, access::AccessOutcome};

pub(crate) use crate::common::clock::NOON;
use crate::common::journal::{pages, unlocked};
use crate::common::objects::{Objects, objects_of};
pub(crate) use crate::common::{Fixed, Shared, Stage, record, session, session_as, subject};

impl Stage {
    /// Returns options on the stage's clock without background work, so that only calls write
    /// entries.
    pub(crate) fn options_in(&self, mode: Journaling) -> VaultOptions {
        self.options_on_clock().journaling(mode)
    }

    pub(crate) fn create_in(&self, mode: Journaling) -> Vault {
        self.create_by(self.options_in(mode))
    }

    pub(crate) fn open_in(&self, mode: Journaling) -> Vault {
        self.open_by(self.options_in(mode))
    }

    pub(crate) fn open_on(&self, storage: &Arc<Faulty<Shared>>, mode: Journaling) -> Vault {
        let storage = Arc::clone(storage);
        self.options_in(mode).open(storage, &Fixed(1)).unwrap()
    }

    pub(crate) fn sealer(&self) -> Sealer {
        let (header, unlocked) = unlocked(&*self.storage);
        vault::sealer(header.suite(), header.vault(), &unlocked.keyring)
    }

    /// Returns all entries of all chains.
    ///
    /// Asserts that every page opens and links to the page before it. Asserts also that the seen
    /// heads of each page match the stored pages.
    pub(crate) fn journal(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (id, page) in pages(&*self.storage) {
            for seen in &page.seen {
                let stored = digest_of(&*self.storage, &seen.page).unwrap();
                assert_eq!(stored, Some(seen.digest));
            }
            for (entry, index) in page.entries.iter().zip(0..) {
                lines.push(Line {
                    page: id,
                    index,
                    at: page.at(entry),
                    entry: entry.clone(),
                    actor: page.contexts[usize::from(entry.context)].actor.clone(),
                });
            }
        }
        lines
    }

    /// Returns the entries that were written as done, and the announced entries that a later entry
    /// settled. Omits the entries that only settle another entry.
    pub(crate) fn settled(&self) -> Vec<Line> {
        let lines = self.journal();
        let settled: HashSet<(PageId, u32)> = (lines.iter())
            .filter_map(|line| match line.entry.target {
                Target::Settled(page, index) => Some((page, index)),
                _ => None,
            })
            .collect();
        let was_done = |line: &Line| match line.entry.stage {
            EntryStage::Done => !matches!(line.entry.target, Target::Settled(..)),
            EntryStage::Announced => settled.contains(&(line.page, line.index)),
        };
        lines.into_iter().filter(was_done).collect()
    }

    /// Returns all objects of the storage.
    pub(crate) fn objects(&self) -> Objects {
        objects_of(&*self.storage, b"")
    }

    pub(crate) fn pages(&self) -> usize {
        self.objects().keys().filter(|key| key[0] == b'j').count()
    }
}

/// Journal entry with its position and actor.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) page: PageId,
    pub(crate) index: u32,
    pub(crate) at: i64,
    pub(crate) entry: Entry,
    pub(crate) actor: Box<str>,
}

impl Line {
    pub(crate) fn is(&self, operation: Operation, outcome: AccessOutcome) -> bool {
        self.entry.operation == operation && self.entry.outcome == outcome
    }
}

/// Makes one test for each pair of function and storage.
macro_rules! everywhere {
    ($($test:ident),* $(,)?) => {
        on_each!([memory per_operation split file] [$($test)*]);
    };
}

/// Returns `true` if a storage operation writes a journal page.
pub(crate) fn writes_page(point: &FaultPoint<'_>) -> bool {
    match point {
        FaultPoint::Commit(operations) => {
            (operations.iter()).any(|operation| operation.key()[0] == b'j')
        }
        FaultPoint::Read(_) | FaultPoint::Scan(_) => false,
    }
}

/// Returns the digest that a journal entry records for the version in a stored value.
pub(crate) fn digest(value: &[u8]) -> crypto::Digest {
    crypto::sha256(&[&value[96..]])
}

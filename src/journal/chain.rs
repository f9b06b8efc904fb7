//! Chain of journal pages that one writer extends. Each page is sealed and contains the digest of
//! the previous page.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use crate::crypto::{self, Digest};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, COVERAGE, WriterId};
use crate::journal::authority::{KeyNumbers, PageKind, Sealer};
use crate::journal::chain_span::{PageTimes, new_writer};
use crate::journal::coverage::{Coverage, CoveredHeads};
use crate::journal::entry::EntryDraft;
use crate::journal::page::{ChainHead, Page, Stage};
use crate::journal::pins::{PINS_MAX, Pins};
use crate::journal::writer::WriteTime;
use crate::storage::{
    CommitError, Committed, Expect, Operation, Storage, StorageError, Transaction,
};

/// Maximum number of attempts to resolve an unknown commit outcome before the caller gets the
/// error.
const COMMIT_ATTEMPTS: u32 = 8;

/// Time without a page after which the next page begins another chain. A chain that was idle for so
/// long cannot grow, so its pinned head stays its head.
const IDLE_MAX: Duration = Duration::from_secs(60 * 60);
/// Tolerated difference of two machines' clocks, in milliseconds: above the hour of a wrong summer time.
const LAG_TOLERATED: i64 = 90 * 60 * 1000;

/// Outcome of [`Chain::send`].
pub(super) enum SendOutcome {
    Committed(Committed),
    /// No attempt has committed the transaction, and none can still commit it. Contains the index
    /// of the operation whose precondition failed.
    Conflict(usize),
    Failed(CommitError),
}

/// State for extending one writer's chain: its storage, the next sequence number and the digest of
/// the previous page.
pub(super) struct Chain {
    pub(super) storage: Arc<dyn Storage>,
    /// Writer of the chain; `None` before the first page, and after a page whose commit outcome
    /// stayed unknown. Such a page may still be committed later. The next page therefore begins
    /// another chain instead of reusing the storage key.
    writer: Option<WriterId>,
    next: u64,
    last: Digest,
    /// Latest time on the pages of the chain; see [`Page::latest`].
    latest: i64,
    /// Numbers of the keys that seal the chain.
    keys: Option<KeyNumbers>,
    /// Uptime at which the last page was sealed.
    sealed_at: Duration,
    /// Head of this writer's former chain, until the new chain has pinned it.
    former: Option<ChainHead>,
    /// Heads of other chains that the next pages pin.
    pins: Vec<ChainHead>,
    /// Heads that are covered once `pins` are pinned; `None` to keep the stored object.
    covered: Option<CoveredHeads>,
    /// `true` if the chain is in the vault's own storage, whose covered heads it keeps.
    pub(super) is_home: bool,
    /// Milliseconds by which the clock was behind the start of a pinned chain; 0 if it was not. The
    /// writer takes the value.
    pub(super) clock_lag: Arc<AtomicI64>,
    /// `true` if a walk of all chains may find heads that this chain has not pinned.
    pub(super) is_walk_due: Arc<AtomicBool>,
}

/// A sealed page to commit, with the chain head after the commit.
pub(super) struct SealedPage {
    pub(super) head: ChainHead,
    pub(super) put: Operation,
    /// Number of heads that the page pins for the chain.
    pinned: usize,
    /// Latest time of the chain, with this page.
    latest: i64,
    /// Object of covered heads, to be stored together with the page or after it.
    pub(super) coverage: Option<Operation>,
}

impl SealedPage {
    /// Returns the operations of a transaction that stores the page, with the put of the page last.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let put = std::iter::once(&self.put);
        self.coverage.iter().chain(put).cloned().collect()
    }
}

impl Chain {
    /// Creates a chain in the vault's own storage.
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            is_home: true,
            ..Self::in_spool(storage)
        }
    }

    /// Creates a chain in a spool. The spool's pages come home without its other objects.
    pub(super) fn in_spool(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            writer: None,
            next: 0,
            last: [0; 32],
            latest: i64::MIN,
            keys: None,
            sealed_at: Duration::ZERO,
            former: None,
            pins: Vec::new(),
            covered: None,
            is_home: false,
            clock_lag: Arc::default(),
            is_walk_due: Arc::default(),
        }
    }

    /// Returns the head, or the head of the former chain before the first page of a new one.
    pub(super) fn tip(&self) -> Option<ChainHead> {
        self.head().or(self.former)
    }

    /// Returns the head, or `None` before the first page.
    pub(super) fn head(&self) -> Option<ChainHead> {
        let page = PageId {
            writer: self.writer?,
            sequence: self.next.checked_sub(1)?,
        };
        let digest = self.last;
        Some(ChainHead { page, digest })
    }

    /// Ends this chain; the next page then begins another chain. The latest time stays, so that the
    /// next chain shows that the clock was set back.
    pub(super) fn restart(&mut self) {
        self.writer = None;
        self.next = 0;
        self.last = [0; 32];
        self.pins = Vec::new();
        self.covered = None;
    }

    /// Ends this chain, and lets the next one pin its head.
    fn succeed(&mut self) {
        let head = self.head();
        self.restart();
        self.former = head.or(self.former);
    }

    /// Begins another chain if this one was idle for too long.
    fn end_idle(&mut self, uptime: Duration) {
        let is_idle = uptime.saturating_sub(self.sealed_at) >= IDLE_MAX;
        if self.head().is_some() && is_idle {
            self.succeed();
        }
        self.sealed_at = uptime;
    }

    /// Returns the times of the next page, which also records the heads in `seen`.
    fn times<'a>(
        &self,
        now: i64,
        seen: &[ChainHead],
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)>,
    ) -> PageTimes {
        let heads = seen.iter().chain(&self.pins);
        let begins = heads.map(|head| storage_keys::chain_began(&head.page.writer));
        let latest = begins.fold(self.latest, i64::max);
        PageTimes::new(drafts.map(|(draft, _)| draft), now, latest)
    }

    /// Adds heads that the next pages pin.
    pub(super) fn add_pins(&mut self, found: Pins, now: i64) {
        // Exclude steps of the clock within this process, which the vault's clock reports.
        let former = self.former.map(|head| head.page.writer);
        let others = found.heads.iter().map(|head| head.page.writer);
        let others = others.filter(|writer| Some(*writer) != former);
        let begins = others.map(|writer| storage_keys::chain_began(&writer));
        let lag = begins.max().map_or(0, |latest| latest.saturating_sub(now));
        if lag > LAG_TOLERATED {
            self.clock_lag.store(lag, Ordering::Release);
        }
        let known: HashSet<_> = self.pins.iter().map(|head| head.page).collect();
        let heads = found.heads.into_iter();
        (self.pins).extend(heads.filter(|head| !known.contains(&head.page)));
        self.covered = found.covered.or(self.covered.take());
    }

    /// Finds the heads that the first page of a chain pins.
    fn find_pins(&mut self, sealer: &Sealer, now: i64) -> Result<()> {
        // Heads on an auditor's page would prove nothing.
        if sealer.kind() == PageKind::Vault {
            // A walk before this chain has found all heads already.
            if self.covered.is_none() {
                let found = match Pins::at_start(&*self.storage, sealer, now) {
                    // A damaged part of the journal must not end the journaling. A walk finds the
                    // heads that can be read.
                    Err(Error::Storage(StorageError::Damaged)) => Pins::default(),
                    found => found?,
                };
                self.is_walk_due
                    .store(!found.is_complete, Ordering::Release);
                self.add_pins(found, now);
            }
            if let Some(former) = self.former {
                // Trust this process, not the storage, on the end of its own former chain.
                let is_other = |head: &ChainHead| head.page.writer != former.page.writer;
                self.pins.retain(is_other);
                self.pins.push(former);
            }
        }
        Ok(())
    }

    /// Seals the next page, which also pins heads of other chains. A chain ends when its keys change, so
    /// that all its pages are under the same keys.
    pub(super) fn seal<'a>(
        &mut self,
        sealer: &Sealer,
        time: WriteTime,
        seen: &[ChainHead],
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)> + Clone,
    ) -> Result<SealedPage> {
        self.end_idle(time.uptime);
        let former_keys = self.keys.replace(sealer.numbers());
        if former_keys.is_some_and(|former| former != sealer.numbers()) {
            self.restart();
        }
        let times = self.times(time.now, seen, drafts.clone());
        let writer = match self.writer {
            Some(writer) if times.continues(&writer) => writer,
            former => {
                if former.is_some() {
                    self.succeed();
                }
                self.find_pins(sealer, time.now)?;
                let times = self.times(time.now, seen, drafts.clone());
                let former = self.former.map(|head| head.page.writer);
                *self
                    .writer
                    .insert(new_writer(times.chain_start(former.as_ref()))?)
            }
        };
        let mut seen = seen.to_vec();
        let known: HashSet<_> = seen.iter().map(|head| head.page).collect();
        let pinned = self.pins.len().min(PINS_MAX);
        let pins = self.pins.iter().take(pinned);
        seen.extend(pins.filter(|head| !known.contains(&head.page)));
        let id = PageId {
            writer,
            sequence: self.next,
        };
        let page = Page {
            latest: self.latest,
            ..Page::new(self.last, seen, drafts)?
        };
        let value = page.seal(sealer, &id)?;
        let head = ChainHead {
            page: id,
            digest: crypto::sha256(&[&value]),
        };
        Ok(SealedPage {
            head,
            pinned,
            latest: page.latest_with_entries(),
            coverage: self.seal_coverage(sealer, head, pinned)?,
            put: Operation::Put {
                key: storage_keys::journal_page(&id),
                value: value.into(),
                expect: Expect::Absent,
                destroying: false,
            },
        })
    }

    /// Seals the object of covered heads, if a page with the digest of `head` pins all of them.
    fn seal_coverage(
        &self,
        sealer: &Sealer,
        head: ChainHead,
        pinned: usize,
    ) -> Result<Option<Operation>> {
        let covered = self.covered.as_ref();
        let covered = covered.filter(|_| self.is_home && pinned == self.pins.len());
        let Some(covered) = covered else {
            return Ok(None);
        };
        let value = Coverage::new(head, covered.clone()).seal(sealer)?;
        Ok(Some(Operation::Put {
            key: COVERAGE.to_vec(),
            value: value.into(),
            expect: Expect::Any,
            destroying: false,
        }))
    }

    /// Sets the chain's head to a page that was committed. On storage that is not transactional,
    /// stores the object of covered heads now.
    pub(super) fn advance_to(&mut self, page: SealedPage) {
        self.next = page.head.page.sequence + 1;
        self.last = page.head.digest;
        self.latest = page.latest;
        self.former = None;
        drop(self.pins.drain(..page.pinned.min(self.pins.len())));
        if let Some(put) = page.coverage {
            self.covered = None;
            if !self.storage.is_transactional() {
                // Without the object, a later chain pins the same heads again.
                let _ = self.storage.commit(&[[put].into_iter().collect()]);
            }
        }
    }

    /// Commits a transaction whose last put is a page, and retries while the commit outcome is
    /// unknown, with at most [`COMMIT_ATTEMPTS`] attempts. A stored page proves that the
    /// transaction was committed, because no other writer can have sealed this page. On storage
    /// that is not transactional, the transaction must contain only the page.
    ///
    /// If the outcome stays unknown, the next page begins another chain, because this page may
    /// still be committed.
    pub(super) fn send(&mut self, transaction: &Transaction) -> Result<SendOutcome> {
        let sent = self.send_until_known(transaction);
        if let Err(_) | Ok(SendOutcome::Failed(CommitError::Unknown)) = &sent {
            self.restart();
        }
        sent
    }

    fn send_until_known(&self, transaction: &Transaction) -> Result<SendOutcome> {
        let mut maybe_committed = false;
        for _ in 0..COMMIT_ATTEMPTS {
            let result = self.storage.commit(std::slice::from_ref(transaction)).pop();
            match result.unwrap_or(Err(CommitError::Unknown)) {
                Ok(done) => return Ok(SendOutcome::Committed(done)),
                Err(CommitError::Conflict { operation }) => {
                    match self.after_conflict(transaction, operation)? {
                        Some(outcome) => return Ok(outcome),
                        None => maybe_committed = true,
                    }
                }
                Err(error @ CommitError::Io(_)) if !maybe_committed => {
                    return Ok(SendOutcome::Failed(error));
                }
                Err(_) => maybe_committed = true,
            }
        }
        Ok(SendOutcome::Failed(CommitError::Unknown))
    }

    /// Returns the outcome after a conflict: committed, with the current revisions, if the page is
    /// stored. Returns `None` if the conflict is on the page although the page is absent. The caller then
    /// sends the transaction again, because an earlier put of the page may be in progress.
    fn after_conflict(&self, sent: &Transaction, conflict: usize) -> Result<Option<SendOutcome>> {
        let operations = sent.operations();
        let is_put = |one: &Operation| matches!(one, Operation::Put { .. });
        let page = operations.iter().rposition(is_put);
        let put = page.and_then(|page| operations.get(page));
        let Some(Operation::Put { key, value, .. }) = put else {
            return Ok(Some(SendOutcome::Conflict(conflict)));
        };
        // Check after every conflict, because a storage that retries requests may conflict with its
        // own earlier attempt.
        match self.storage.read(&[key])?.pop().flatten() {
            Some(stored) if stored.value == *value => {}
            None if page == Some(conflict) => return Ok(None),
            _ => return Ok(Some(SendOutcome::Conflict(conflict))),
        }
        let keys: Vec<&[u8]> = operations.iter().map(Operation::key).collect();
        let stored_now = self.storage.read(&keys)?;
        let revisions = stored_now
            .into_iter()
            .zip(operations)
            .map(|(stored, operation)| {
                let stored = stored?;
                match operation {
                    // A later write replaced this value, so no caller can use its revision.
                    Operation::Put { value, .. } if *value != stored.value => None,
                    _ => Some(stored.revision),
                }
            });
        Ok(Some(SendOutcome::Committed(Committed {
            revisions: revisions.collect(),
            // Report the purge of former bytes as deferred, because the storage did not confirm the
            // purge.
            deferred: true,
        })))
    }
}

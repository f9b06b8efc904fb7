//! Chain of journal pages that one writer extends. Each page is sealed and contains the digest of
//! the previous page.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::crypto::{self, Digest};
use crate::error::Result;
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, WriterId};
use crate::journal::authority::{KeyNumbers, PageKind, Sealer};
use crate::journal::entry::EntryDraft;
use crate::journal::heads;
use crate::journal::page::{ChainHead, Page, Stage};
use crate::storage::{CommitError, Committed, Expect, Operation, Storage, Transaction};

/// Maximum number of heads of other chains that the first page of a new chain records.
const SEEN_CHAINS: usize = 32;
/// Maximum number of attempts to resolve an unknown commit outcome before the caller gets the
/// error.
const COMMIT_ATTEMPTS: u32 = 8;

/// Difference of two machines' clocks that is normal, in milliseconds.
const LAG_TOLERATED: i64 = 5 * 60 * 1000;

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
    /// Numbers of the keys that seal the chain.
    keys: Option<KeyNumbers>,
    /// Milliseconds by which the clock was behind the start of another chain when this chain began;
    /// 0 if it was not. The writer takes the value.
    pub(super) clock_lag: Arc<AtomicI64>,
}

/// A sealed page to commit, with the chain head after the commit.
pub(super) struct SealedPage {
    pub(super) head: ChainHead,
    pub(super) put: Operation,
}

impl Chain {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            writer: None,
            next: 0,
            last: [0; 32],
            keys: None,
            clock_lag: Arc::default(),
        }
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

    /// Ends this chain; the next page then begins another chain.
    pub(super) fn restart(&mut self) {
        self.writer = None;
        self.next = 0;
        self.last = [0; 32];
    }

    /// Seals the next page. The first page of a chain also records the heads of recent chains. A chain
    /// ends when its keys change, so that all its pages are under the same keys.
    pub(super) fn seal<'a>(
        &mut self,
        sealer: &Sealer,
        now: i64,
        seen: &[ChainHead],
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)> + Clone,
    ) -> Result<SealedPage> {
        let mut seen = seen.to_vec();
        if self.keys.replace(sealer.numbers()) != Some(sealer.numbers()) {
            self.restart();
        }
        let writer = match self.writer {
            Some(writer) if self.next > 0 => writer,
            _ => {
                let recent = heads::recent(&*self.storage, now, SEEN_CHAINS)?;
                let begins = recent.iter().map(|head| began(&head.page.writer));
                let lag = begins.max().map_or(0, |latest| latest.saturating_sub(now));
                if lag > LAG_TOLERATED {
                    self.clock_lag.store(lag, Ordering::Release);
                }
                // Heads on an auditor's page would prove nothing.
                if sealer.kind() == PageKind::Vault {
                    seen.extend(recent);
                }
                *self.writer.insert(new_writer(now)?)
            }
        };
        let id = PageId {
            writer,
            sequence: self.next,
        };
        let page = Page::new(self.last, seen, drafts)?;
        let value = page.seal(sealer, &id)?;
        Ok(SealedPage {
            head: ChainHead {
                page: id,
                digest: crypto::sha256(&[&value]),
            },
            put: Operation::Put {
                key: storage_keys::journal_page(&id),
                value: value.into(),
                expect: Expect::Absent,
                destroying: false,
            },
        })
    }

    /// Sets the chain's head to a page that was committed.
    pub(super) fn advance_to(&mut self, head: &ChainHead) {
        self.next = head.page.sequence + 1;
        self.last = head.digest;
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
                    return match self.stored_result(transaction)? {
                        Some(done) => Ok(SendOutcome::Committed(done)),
                        None => Ok(SendOutcome::Conflict(operation)),
                    };
                }
                Err(error @ CommitError::Io(_)) if !maybe_committed => {
                    return Ok(SendOutcome::Failed(error));
                }
                Err(_) => maybe_committed = true,
            }
        }
        Ok(SendOutcome::Failed(CommitError::Unknown))
    }

    /// Returns the result of a transaction that an earlier attempt committed, with the current
    /// revisions. Returns `None` if the transaction's page is not stored.
    fn stored_result(&self, transaction: &Transaction) -> Result<Option<Committed>> {
        let operations = transaction.operations();
        let mut puts = operations.iter().rev();
        let page = puts.find_map(|operation| match operation {
            Operation::Put { key, value, .. } => Some((key, value)),
            _ => None,
        });
        let Some((key, value)) = page else {
            return Ok(None);
        };
        // Check after every conflict, because a storage that retries requests may conflict with its
        // own earlier attempt.
        let stored = self.storage.read(&[key])?.pop().flatten();
        if stored.is_none_or(|stored| stored.value != *value) {
            return Ok(None);
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
        Ok(Some(Committed {
            revisions: revisions.collect(),
            // Report the purge of former bytes as deferred, because the storage did not confirm the
            // purge.
            deferred: true,
        }))
    }
}

/// Returns the time at which a chain began, which the first 6 bytes of its writer id contain.
fn began(writer: &WriterId) -> i64 {
    let [a, b, c, d, e, f, ..] = *writer;
    i64::from_be_bytes([0, 0, a, b, c, d, e, f])
}

fn new_writer(now: i64) -> Result<WriterId> {
    let mut writer = crypto::fresh::<16>()?;
    let [_, _, since @ ..] = now.max(0).to_be_bytes();
    if let Some(place) = writer.first_chunk_mut() {
        *place = since;
    }
    Ok(writer)
}

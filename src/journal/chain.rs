//! One writer's chain: seals the next page and links it to the previous one.

use std::sync::Arc;

use crate::crypto::{self, CipherSuite, Digest, JournalKey, VaultId};
use crate::error::Result;
use crate::format::storage_keys::PageId;
use crate::format::storage_keys::{self, WriterId};
use crate::journal::entry::EntryDraft;
use crate::journal::heads;
use crate::journal::page::{ChainHead, Page, Stage};
use crate::storage::{CommitError, Committed, Expect, Operation, Storage, Transaction};

/// How many other chains a new one says that it has seen.
const SEEN: usize = 32;
/// How often an unknown outcome is asked about at once before it is left to the caller.
const ROUNDS: u32 = 8;

/// What seals pages.
pub struct Sealer {
    /// The vault's suite.
    pub suite: CipherSuite,
    /// The vault's id.
    pub vault: VaultId,
    /// The number of the journal key.
    pub number: u32,
    /// The active journal key.
    pub key: JournalKey,
}

/// What became of a transaction that was sent until that is certain.
pub(super) enum Sent {
    Landed(Committed),
    /// It certainly did not, and never will.
    Conflict(usize),
    Failed(CommitError),
}

/// Where a chain stands.
pub(super) struct Chain {
    pub(super) storage: Arc<dyn Storage>,
    /// `None` before the first page, and after a page whose outcome was never confirmed: it may still
    /// land, so its place is given up and another chain begun.
    writer: Option<WriterId>,
    next: u64,
    last: Digest,
}

/// A page that is ready to be sent, and what the chain's end is once it stands.
pub(super) struct ReadyPage {
    pub(super) tip: ChainHead,
    pub(super) put: Operation,
}

impl Chain {
    pub(super) fn new(storage: Arc<dyn Storage>) -> Self {
        Self {
            storage,
            writer: None,
            next: 0,
            last: [0; 32],
        }
    }

    /// The last page, once there is one.
    pub(super) fn tip(&self) -> Option<ChainHead> {
        let page = PageId {
            writer: self.writer?,
            sequence: self.next.checked_sub(1)?,
        };
        let digest = self.last;
        Some(ChainHead { page, digest })
    }

    /// Begins another chain with the next page.
    pub(super) fn restart(&mut self) {
        self.writer = None;
        self.next = 0;
        self.last = [0; 32];
    }

    /// The next page, sealed; the first of a chain tells which other chains there are.
    pub(super) fn seal<'a>(
        &mut self,
        sealer: &Sealer,
        now: i64,
        mut seen: Vec<ChainHead>,
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)> + Clone,
    ) -> Result<ReadyPage> {
        let writer = match self.writer {
            Some(writer) => writer,
            None => {
                seen.extend(heads::recent(&*self.storage, now, SEEN)?);
                *self.writer.insert(new_writer(now)?)
            }
        };
        let id = PageId {
            writer,
            sequence: self.next,
        };
        let page = Page::new(self.last, seen, drafts)?;
        let value = page.seal(
            sealer.suite,
            &sealer.vault,
            (sealer.number, &sealer.key),
            &id,
        )?;
        Ok(ReadyPage {
            tip: ChainHead {
                page: id,
                digest: crypto::sha256(&[&value]),
            },
            put: Operation::Put {
                key: storage_keys::journal_page(&id),
                value,
                expect: Expect::Absent,
                destroying: false,
            },
        })
    }

    /// The page stands.
    pub(super) fn stands(&mut self, tip: &ChainHead) {
        self.next = tip.page.sequence + 1;
        self.last = tip.digest;
    }

    /// Sends a transaction that ends with a page until its outcome is certain: where it is not, the
    /// page tells, for nobody else can have sealed it. On storage that is not transactional only a page
    /// alone may be sent so. Where its outcome stays open, another chain is begun: it may still land.
    pub(super) fn send(&mut self, transaction: &Transaction) -> Result<Sent> {
        let sent = self.send_until_certain(transaction);
        if let Err(_) | Ok(Sent::Failed(CommitError::Unknown)) = &sent {
            self.restart();
        }
        sent
    }

    fn send_until_certain(&self, transaction: &Transaction) -> Result<Sent> {
        let mut unsure = false;
        for _ in 0..ROUNDS {
            let result = self.storage.commit(std::slice::from_ref(transaction)).pop();
            match result.unwrap_or(Err(CommitError::Unknown)) {
                Ok(done) => return Ok(Sent::Landed(done)),
                Err(CommitError::Conflict { operation }) => {
                    return match self.standing(transaction)? {
                        Some(done) => Ok(Sent::Landed(done)),
                        None => Ok(Sent::Conflict(operation)),
                    };
                }
                Err(error @ CommitError::Io(_)) if !unsure => return Ok(Sent::Failed(error)),
                Err(_) => unsure = true,
            }
        }
        Ok(Sent::Failed(CommitError::Unknown))
    }

    /// If the page stands, the whole transaction has happened; the revisions are read.
    fn standing(&self, transaction: &Transaction) -> Result<Option<Committed>> {
        let operations = transaction.operations();
        let Some(Operation::Put { key, value, .. }) = operations.last() else {
            return Ok(None);
        };
        // A storage that repeats a request by itself may have met itself, so this is always asked.
        let stored = self.storage.read(&[key])?.pop().flatten();
        if stored.is_none_or(|stored| stored.value != *value) {
            return Ok(None);
        }
        let keys: Vec<&[u8]> = operations.iter().map(Operation::key).collect();
        let now = self.storage.read(&keys)?;
        let revisions = now.into_iter().zip(operations).map(|(stored, operation)| {
            let stored = stored?;
            match operation {
                // Replaced since: what this one wrote has no revision any more that anybody could expect.
                Operation::Put { value, .. } if *value != stored.value => None,
                _ => Some(stored.revision),
            }
        });
        Ok(Some(Committed {
            revisions: revisions.collect(),
            // It happened, but nobody said that former bytes are gone.
            deferred: true,
        }))
    }
}

fn new_writer(now: i64) -> Result<WriterId> {
    let mut writer = crypto::fresh::<16>()?;
    let [_, _, since @ ..] = now.max(0).to_be_bytes();
    if let Some(place) = writer.first_chunk_mut() {
        *place = since;
    }
    Ok(writer)
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

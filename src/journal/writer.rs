//! The journal writer: puts many changes into one page and one commit; entries of reads wait for
//! the next page or for a flush.
//!
//! On transactional storage a page and the changes that it tells of are one transaction. Elsewhere
//! the page goes first and announces them; a later one tells which were done.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::group_commit::{Election, lock};
use crate::journal::chain::{Chain, Sealer};
use crate::journal::entry::EntryDraft;
use crate::journal::page::{ChainHead, Stage};
use crate::journal::queue::{Answer, JournaledChange, Queue, Ticket, Waiting};
use crate::journal::send::send_alone;
use crate::storage::Storage;

/// When something is sent or noted.
#[derive(Debug, Clone, Copy)]
pub struct WriteTime {
    /// Milliseconds since 1970, for what is written down.
    pub now: i64,
    /// Time that never goes back, for ages.
    pub uptime: Duration,
}

/// Writes one chain at a time, for all threads of a vault.
pub struct Writer {
    pub(super) storage: Arc<dyn Storage>,
    sealer: Mutex<Option<Arc<Sealer>>>,
    pub(super) queue: Mutex<Queue>,
    /// Elects the thread that sends pages for all.
    election: Election,
    chain: Mutex<Chains>,
    /// What was sent last was not written. Changed by who holds the chain only, so that it tells of
    /// the last page whoever sent that.
    pub(super) failing: AtomicBool,
    pub(super) forked: AtomicBool,
}

pub(super) struct Chains {
    pub(super) main: Chain,
    /// Where notes go in an emergency.
    pub(super) spool: Option<Chain>,
}

impl Writer {
    /// A writer whose chain begins with its first page.
    pub fn new(storage: Arc<dyn Storage>, sealer: Sealer) -> Self {
        Self {
            sealer: Mutex::new(Some(Arc::new(sealer))),
            queue: Mutex::default(),
            election: Election::default(),
            chain: Mutex::new(Chains {
                main: Chain::new(Arc::clone(&storage)),
                spool: None,
            }),
            storage,
            failing: AtomicBool::new(false),
            forked: AtomicBool::new(false),
        }
    }

    /// Takes no more notes, writes what waits, and drops the key.
    ///
    /// # Errors
    /// Why something was not written: the key stays then, so that it can be.
    pub fn close(&self, moment: WriteTime) -> Result<()> {
        lock(&self.queue).close();
        let mut chain = lock(&self.chain);
        while self.waiting().is_some() {
            self.send_next(&mut chain, moment)?;
        }
        *lock(&self.sealer) = None;
        Ok(())
    }

    /// Whether the last page could not be written.
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Acquire)
    }

    pub(super) fn sealer(&self) -> Result<Arc<Sealer>> {
        lock(&self.sealer).clone().ok_or(Error::Locked)
    }

    /// Carries out changes, each for itself, and tells of those that happened. What returns was
    /// durable together with its entry.
    ///
    /// # Errors
    /// Those of sealing; nothing happened then.
    pub fn commit(&self, changes: Vec<JournaledChange>, moment: WriteTime) -> Result<Vec<Answer>> {
        let ticket = Arc::new(Ticket::new(changes.len()));
        let waiting = changes
            .into_iter()
            .enumerate()
            .map(|(index, change)| Waiting {
                change,
                ticket: Arc::clone(&ticket),
                index,
            });
        lock(&self.queue).changes.extend(waiting);
        while let Some(_leader) = self.election.lead_unless(|| ticket.is_complete()) {
            // Failures are told to those whom they concern.
            let _ = self.send_next(&mut lock(&self.chain), moment);
        }
        ticket.take()
    }

    /// Takes note of something; it becomes durable with the next page. Returns its number.
    ///
    /// # Errors
    /// [`Error::Locked`] once closed.
    pub fn note(&self, draft: EntryDraft, uptime: Duration) -> Result<u64> {
        lock(&self.queue).note(draft, uptime)
    }

    /// Since when the oldest note waits, and how many do.
    pub fn waiting(&self) -> Option<(Duration, usize)> {
        lock(&self.queue).waiting()
    }

    /// Makes all notes up to `number` durable, whoever took them.
    ///
    /// # Errors
    /// Why they are not durable; they are kept.
    pub fn flush(&self, number: u64, moment: WriteTime) -> Result<()> {
        let is_written = || !lock(&self.queue).waits(number);
        while let Some(_leader) = self.election.lead_unless(is_written) {
            self.send_next(&mut lock(&self.chain), moment)?;
        }
        Ok(())
    }

    /// Makes all notes durable that were taken before.
    ///
    /// # Errors
    /// Those of [`Writer::flush`].
    pub fn flush_all(&self, moment: WriteTime) -> Result<()> {
        let last = lock(&self.queue).last();
        last.map_or(Ok(()), |last| self.flush(last, moment))
    }

    /// Forgets a note of something that was not done after all.
    pub fn withdraw(&self, number: u64) {
        lock(&self.queue).withdraw(number);
    }

    /// Sends a page of its own with these entries, and what it is to say of other chains.
    ///
    /// # Errors
    /// Those of sealing and of the storage.
    pub fn send_page(
        &self,
        drafts: &[EntryDraft],
        seen: Vec<ChainHead>,
        moment: WriteTime,
    ) -> Result<ChainHead> {
        let mut chain = lock(&self.chain);
        let sealer = self.sealer()?;
        loop {
            let told = drafts.iter().map(|draft| (draft, Stage::Done));
            let ready = chain.main.seal(&sealer, moment.now, seen.clone(), told)?;
            if let Some(tip) = send_alone(&mut chain.main, ready)? {
                return Ok(tip);
            }
        }
    }

    /// Whether somebody else was found to have written this writer's chain, since this was last asked.
    pub fn was_forked(&self) -> bool {
        self.forked.swap(false, Ordering::AcqRel)
    }

    /// The end of this writer's chain.
    pub fn tip(&self) -> Option<ChainHead> {
        lock(&self.chain).main.tip()
    }

    /// From now on, notes go to a chain of their own in `spool`.
    pub fn begin_spool(&self, spool: Arc<dyn Storage>) {
        lock(&self.chain).spool = Some(Chain::new(spool));
    }

    /// From now on, notes go where changes go.
    pub fn end_spool(&self) {
        lock(&self.chain).spool = None;
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer(..)")
    }
}

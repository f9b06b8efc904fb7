//! Beginning of a verification: its own journal entry, and the first walk over the journal.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::journal::{self, AccessOutcome, ClosedPages, Target};
use crate::vault::Vault;
use crate::vault::header::OpenHeader;
use crate::verify::journal_scan::JournalScan;
use crate::verify::page_list::PageList;
use crate::verify::walk::{JournalWalk, WalkPosition};
use crate::verify::walk_keys::WalkKeys;
use crate::verify::{NextStep, Verification};

impl Vault {
    /// Returns the stored header. If it cannot be read or opened, returns the header in memory, because
    /// `check_header` reports the fault.
    pub(super) fn header_to_verify(&self) -> Result<Arc<OpenHeader>> {
        self.reload_header().or_else(|_| self.header_in_memory())
    }
}

impl Verification {
    /// Journals the verification. Continues if the stored header is missing or was replaced, because the
    /// report must name this; the entry then waits for a header that opens.
    pub(super) fn journal_start(&self) -> Result<()> {
        let (act, done) = (&self.act, AccessOutcome::Done);
        let journaled = self.vault.journal_before_release(act, Target::Vault, done);
        match journaled {
            Err(Error::Locked | Error::Journal(_) | Error::Storage(_)) | Ok(()) => journaled,
            Err(_) => {
                self.vault.journal_deferred(act, Target::Vault, done);
                Ok(())
            }
        }
    }

    /// Returns the header for the next step, which is the joined header of a planned restore. Reads the
    /// stored header again before the journal, because another process may have rotated the journal keys.
    /// A header that cannot be read is a finding of a later step.
    pub(super) fn current_header(&self) -> Result<Arc<OpenHeader>> {
        if let Some(header) = &self.planned_header {
            return Ok(Arc::clone(header));
        }
        match self.next {
            NextStep::Journal => self.vault.header_to_verify(),
            _ => self.vault.header_in_memory(),
        }
    }

    pub(super) fn read_journal(&mut self, header: &OpenHeader) -> Result<()> {
        if self
            .checkpoint
            .is_some_and(|checkpoint| !checkpoint.is_of(header.header.vault()))
        {
            return Err(Error::ForeignCheckpoint);
        }
        self.closed_pages = None;
        self.walk = self.new_walk(header)?;
        let storage = &*self.storage;
        let own_head = self.vault.core.journal.writer();
        let own_head = own_head.and_then(journal::Writer::tip);
        self.scan = JournalScan::default();
        let listed = PageList::read(storage)?;
        self.scan.add_foreign_objects(&listed);
        self.walk
            .advance_to(&listed, storage, header, &mut self.scan)?;
        let closed_heads = header.keyring.closed_heads().copied();
        for head in own_head.into_iter().chain(closed_heads) {
            self.scan.add_seen(&head, WalkPosition::NEVER);
        }
        self.scan.find_cuts(storage, header, &mut self.walk)?;
        self.scan.is_complete = true;
        let restored = !self.scan.restores.is_empty();
        self.scan.subjects.finish_scan(&self.walk, restored);
        self.scan.headers.finish_scan(&self.walk);
        self.report.counts = self.scan.counts;
        self.report.journal_keys_closing = header.keyring.is_closing();
        self.report.counts.chains = self.walk.chains();
        self.report.restores = self.scan.restores.clone();
        self.scan.has_findings = !self.scan.findings.is_empty();
        self.report.journal = std::mem::take(&mut self.scan.findings);
        self.progress(self.report.counts.pages)?;
        self.check_checkpoint()
    }

    /// Returns a walk over the journal. Unless the verification is that of a planned header, the walk uses
    /// the newer keys of a header that another process writes meanwhile.
    pub(super) fn new_walk(&mut self, header: &OpenHeader) -> Result<JournalWalk> {
        let closed_pages = self.closed_pages(header)?;
        let vault = self.planned_header.is_none().then(|| self.vault.clone());
        let walk = JournalWalk::with_keys(WalkKeys::new(closed_pages, vault));
        Ok(walk.cancelled_with(self.vault.monitor()))
    }

    /// Returns another walk over the journal after the first one. The new walk leaves out pages that the
    /// first walk refused, because an attacker can plant many of them.
    pub(super) fn later_walk(&mut self, header: &OpenHeader) -> Result<JournalWalk> {
        let walk = self.new_walk(header)?;
        Ok(walk.without_refused_pages(&self.walk))
    }

    /// Returns the covered pages under closed keys, which are read once for all walks.
    pub(super) fn closed_pages(&mut self, header: &OpenHeader) -> Result<Arc<ClosedPages>> {
        if let Some(closed_pages) = &self.closed_pages {
            return Ok(Arc::clone(closed_pages));
        }
        let closed_pages = header.read_closed_pages(&*self.storage)?;
        Ok(Arc::clone(self.closed_pages.insert(Arc::new(closed_pages))))
    }
}

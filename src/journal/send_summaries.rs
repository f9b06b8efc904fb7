//! Pages with summaries of archived pages. Each such page is a chain of its own, so that a reader finds the page
//! by its storage key.

use std::sync::Arc;

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::storage_keys::{self, PageId, SUMMARIES};
use crate::journal::authority::Sealer;
use crate::journal::chain::{Chain, SendOutcome};
use crate::journal::chain_span::new_writer;
use crate::journal::key_source::PageSealer;
use crate::journal::page::{ChainHead, Page};
use crate::journal::page_summary::Summaries;
use crate::journal::send::{PAGE_ATTEMPTS, commit_failure};
use crate::journal::writer::{WriteTime, Writer};
use crate::storage::{Expect, Transaction};

impl Writer {
    /// Writes a page with summaries, which is durable on return, and returns its head.
    ///
    /// # Errors
    /// [`Error::Contended`] after too many conflicts; errors of sealing and of the storage. The page may then be
    /// stored, which is harmless while the summarized pages are stored too.
    pub fn send_summaries(&self, summaries: &Summaries, time: WriteTime) -> Result<ChainHead> {
        let mut chain = Chain::new(Arc::clone(&self.storage));
        for _ in 0..PAGE_ATTEMPTS {
            let PageSealer {
                sealer,
                header_check,
            } = self.page_sealer(&chain, time)?;
            let (head, value) = seal(&sealer, summaries, time.now)?;
            let key = storage_keys::journal_page(&head.page);
            let put = Transaction::new().put(key, value, Expect::Absent);
            let transaction = put.into_operations().chain(header_check);
            match chain.send(&transaction.collect())? {
                SendOutcome::Committed(_) => return Ok(head),
                SendOutcome::Conflict(_) => self.renew_keys()?,
                SendOutcome::Failed(error) => return Err(commit_failure(error)),
            }
        }
        Err(Error::Contended)
    }
}

fn seal(sealer: &Sealer, summaries: &Summaries, now: i64) -> Result<(ChainHead, Vec<u8>)> {
    let page = PageId {
        writer: new_writer(storage_keys::marked_start(SUMMARIES, now))?,
        sequence: 0,
    };
    let content = Page {
        summaries: Some(summaries.clone()),
        ..Page::new([0; 32], Vec::new(), std::iter::empty())?
    };
    let value = content.seal(sealer, &page)?;
    let digest = crypto::sha256(&[&value]);
    Ok((ChainHead { page, digest }, value))
}

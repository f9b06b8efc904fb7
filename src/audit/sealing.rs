//! One sealing of a version: the journal page that names it, and the check that recomputes it.

use std::fmt;

use serde::Serialize;

use crate::audit::entry::{AuditEntry, EntryPosition};
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::time::Timestamp;
use crate::crypto::{self, ChartId, Digest, RecordTag};
use crate::error::Result;
use crate::format::envelope::Address;
use crate::journal::{self, Cursor, Operation, PageId, Target};

/// One sealing of a version.
///
/// ```
/// # use chartlock::audit::Sealing;
/// # fn show(sealing: &Sealing, page: &[u8]) {
/// println!("{}: {} {}", sealing.at, sealing.digest, sealing.is_page(page));
/// # }
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Sealing {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: Box<str>,
    /// By which operation: a put, a retraction, a re-encryption.
    pub operation: Operation,
    /// Whether it is certain that it was stored.
    pub settled: bool,
    /// SHA-256 of the stored value from its byte 96 on.
    pub digest: Hex<32>,
    /// The entry that says so.
    pub position: EntryPosition,
    /// SHA-256 of the whole page with that entry.
    pub page_digest: Hex<32>,
    /// The last page of that chain when the evidence was made.
    pub head: u64,
    /// SHA-256 of the whole last page.
    pub head_digest: Hex<32>,
}

/// What of one sealing could be recomputed.
///
/// ```
/// # use chartlock::audit::SealingCheck;
/// # fn show(check: &SealingCheck) -> bool {
/// check.page && check.entry && check.chain
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct SealingCheck {
    /// The page stands in its place, and has this digest.
    pub page: bool,
    /// It opens, and its entry names this version and digest.
    pub entry: bool,
    /// From it to the last page of then, each follows on the one before.
    pub chain: bool,
    /// Whether the checkpoint shows that the page stood before it was made.
    pub pinned: bool,
}

impl Sealing {
    /// Whether these are the bytes of the page that says so.
    pub fn is_page(&self, page: &[u8]) -> bool {
        crypto::sha256(&[page]) == self.page_digest.0
    }

    /// `None` if the page is gone since it was read.
    pub(super) fn new(source: &dyn JournalSource, entry: &AuditEntry) -> Result<Option<Self>> {
        let page = page_of(&entry.position);
        let (Some(digest), Some(page_digest), Some((head, head_digest, _))) = (
            entry.digest,
            journal::digest_of(source.storage(), &page)?,
            end_of(source, &page, None)?,
        ) else {
            return Ok(None);
        };
        Ok(Some(Self {
            at: entry.at,
            actor: entry.actor.clone(),
            operation: entry.operation,
            settled: entry.settled,
            digest,
            position: entry.position,
            page_digest: Hex(page_digest),
            head,
            head_digest: Hex(head_digest),
        }))
    }

    pub(super) fn check(
        &self,
        source: &dyn JournalSource,
        version: u64,
    ) -> Result<(SealingCheck, Option<Address>)> {
        let id = page_of(&self.position);
        let page = journal::digest_of(source.storage(), &id)? == Some(self.page_digest.0);
        let end = end_of(source, &id, Some(self.head))?;
        let chain = end.is_some_and(|(head, digest, linked)| {
            linked && (head, digest) == (self.head, self.head_digest.0)
        });
        let address = self.entry_names(source, &id, version)?;
        let check = SealingCheck {
            page,
            entry: address.is_some(),
            chain,
            pinned: false,
        };
        Ok((check, address))
    }

    /// Where the entry says that this version stands; `None` if it does not name it.
    fn entry_names(
        &self,
        source: &dyn JournalSource,
        id: &PageId,
        version: u64,
    ) -> Result<Option<Address>> {
        let mut found = None;
        let mut cursor = Cursor {
            writer: id.writer,
            next: id.sequence,
            last: None,
        };
        source.with_keys(&|_| {}, |keys| {
            cursor.step(source.storage(), keys, 1, &mut |at, page, _| {
                let page = page.filter(|_| at == *id);
                let index = self.position.index as usize;
                let target = page.and_then(|page| Some(page.entries.get(index)?.target));
                if let Some(Target::Version {
                    subject,
                    record,
                    version: told,
                    digest,
                }) = target
                    && (told, digest) == (version, self.digest.0)
                {
                    found = Some(address(subject.chart, record.tag));
                }
                Ok(())
            })
        })?;
        Ok(found)
    }
}

pub(super) fn address(chart: ChartId, record: RecordTag) -> Address {
    Address { chart, record }
}

pub(super) fn page_of(position: &EntryPosition) -> PageId {
    PageId {
        writer: position.writer.0,
        sequence: position.page,
    }
}

/// The last page of a chain, at most `until`, and whether each from `page` on follows on the one
/// before.
pub(super) fn end_of(
    source: &dyn JournalSource,
    page: &PageId,
    until: Option<u64>,
) -> Result<Option<(u64, Digest, bool)>> {
    let mut cursor = Cursor {
        writer: page.writer,
        next: page.sequence,
        last: None,
    };
    let mut linked = true;
    let mut more = true;
    while more && until.is_none_or(|until| cursor.next <= until) {
        more = source.with_keys(&|_| {}, |keys| {
            cursor.step(source.storage(), keys, 1, &mut |_, _, fault| {
                linked &= fault.is_none();
                Ok(())
            })
        })?;
    }
    let end = cursor.tip().filter(|(id, _)| id.sequence >= page.sequence);
    Ok(end.and_then(|(id, digest)| Some((id.sequence, digest?, linked))))
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({}, {:?}, ..)", self.at, self.operation)
    }
}

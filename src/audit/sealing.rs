//! Sealings of a version: the journal page that records each sealing, and a check against the
//! storage.

use std::fmt;

use serde::Serialize;

use crate::audit::entry::{AuditEntry, EntryPosition};
use crate::audit::hex::Hex;
use crate::audit::journal_source::JournalSource;
use crate::audit::time::Timestamp;
use crate::crypto::{self, ChartId, Digest, RecordTag};
use crate::error::Result;
use crate::format::envelope::Address;
use crate::journal::{self, Cursor, Operation, PageId};

/// A sealing of a version, as the journal records it.
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
    /// The time of the sealing.
    pub at: Timestamp,
    /// The actor, by the name that the app uses.
    pub actor: Box<str>,
    /// The operation that sealed the version: a put, a retraction or a re-encryption.
    pub operation: Operation,
    /// `false` if the journal announces the sealing but does not confirm that the value was stored.
    pub settled: bool,
    /// The SHA-256 digest of the stored value from byte 96 on.
    pub digest: Hex<32>,
    /// The position of the journal entry that records the sealing.
    pub position: EntryPosition,
    /// The SHA-256 digest of the whole page that contains this entry.
    pub page_digest: Hex<32>,
    /// The number of the last page in the entry's chain when the evidence was created.
    pub head: u64,
    /// The SHA-256 digest of the whole page with the number `head`.
    pub head_digest: Hex<32>,
}

/// The result of checking one sealing against the storage.
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
    /// `true` if the page is stored at its position and has the digest that the sealing contains.
    pub page: bool,
    /// `true` if the page opens and its entry records this version and digest.
    pub entry: bool,
    /// `true` if the chain is intact from this page to the page that was its last when the evidence
    /// was created.
    pub chain: bool,
    /// `true` if the checkpoint proves that the page existed before the checkpoint was created.
    pub pinned: bool,
}

impl Sealing {
    /// Returns `true` if `page` contains the bytes of the page that records this sealing.
    pub fn is_page(&self, page: &[u8]) -> bool {
        crypto::sha256(&[page]) == self.page_digest.0
    }

    /// Collects the digests of the entry's page and of the last page in its chain. Returns `None` if
    /// the page was deleted after the entry was read.
    pub(super) fn new(source: &dyn JournalSource, entry: &AuditEntry) -> Result<Option<Self>> {
        let page = page_of(&entry.position);
        let (Some(digest), Some(page_digest), Some((head, head_digest, _))) = (
            entry.digest,
            journal::digest_of(source.storage(), &page)?,
            head_of(source, &page, None)?,
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
        let head = head_of(source, &id, Some(self.head))?;
        let chain = head.is_some_and(|(head, digest, linked)| {
            linked && (head, digest) == (self.head, self.head_digest.0)
        });
        let address = self.named_address(source, &id, version)?;
        let check = SealingCheck {
            page,
            entry: address.is_some(),
            chain,
            pinned: false,
        };
        Ok((check, address))
    }

    /// Returns the storage address of the version that the entry records; `None` if the entry does
    /// not record the version.
    fn named_address(
        &self,
        source: &dyn JournalSource,
        id: &PageId,
        version: u64,
    ) -> Result<Option<Address>> {
        let mut found = None;
        let mut cursor = Cursor::at(id);
        source.with_keys(|keys| {
            cursor.step(source.storage(), keys, 1, &mut |at, page, _| {
                let page = page.filter(|_| at == *id);
                let index = self.position.index as usize;
                let target = page.and_then(|page| Some(page.entries.get(index)?.target.clone()));
                if let Some(target) = target
                    && target.sealed_version() == Some((version, self.digest.0))
                    && let (Some(subject), Some(record)) = (target.subject(), target.record())
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

/// Reads a chain from `page` to its last page, or only to page `until`.
///
/// Returns the number and digest of the last page read, and `true` if each page is linked to the
/// previous one.
pub(super) fn head_of(
    source: &dyn JournalSource,
    page: &PageId,
    until: Option<u64>,
) -> Result<Option<(u64, Digest, bool)>> {
    let mut cursor = Cursor::at(page);
    let mut linked = true;
    let mut more = true;
    while more && until.is_none_or(|until| cursor.next <= until) {
        more = source.with_keys(|keys| {
            cursor.step(source.storage(), keys, 1, &mut |_, _, fault| {
                linked &= fault.is_none();
                Ok(())
            })
        })?;
    }
    let head = cursor.tip().filter(|(id, _)| id.sequence >= page.sequence);
    Ok(head.and_then(|(id, digest)| Some((id.sequence, digest?, linked))))
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealing({}, {:?}, ..)", self.at, self.operation)
    }
}

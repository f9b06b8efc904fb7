//! Authority of journal pages: the proof that a vault wrote a page, not only a holder of the journal key.
//!
//! Auditors share the journal key, so a page that opens is only testimony. A vault ends the body of each
//! page with a tag under an authority key, which no auditor has. Pages of auditors have another kind,
//! no tag, and can record only that the journal was read.

use crate::crypto::{self, AuthorityKey, CipherSuite, JournalKey, VaultId, authority_tag};
use crate::error::{Error, Result};
use crate::format::storage_keys::PageId;
use crate::journal::Operation;
use crate::journal::entry::Target;
use crate::journal::page::Page;
use crate::journal::page_keys::PageKeys;

/// Number of bytes after the body of a vault's page: key number 4, tag 32.
pub(super) const TAIL: usize = 36;

/// The kind of writer of a chain, which each page of the chain contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PageKind {
    /// A vault, which has an authority key.
    Vault,
    /// An auditor, who has only a journal key.
    Auditor,
}

impl PageKind {
    /// Returns the kind byte of the stored page.
    pub fn code(self) -> u8 {
        match self {
            Self::Vault => 18,
            Self::Auditor => 19,
        }
    }
}

/// Authority key with its number in the keyring.
pub struct Authority {
    /// Number of the key.
    pub number: u32,
    /// The key.
    pub key: AuthorityKey,
}

/// Inputs for sealing journal pages: cipher suite, vault id, active journal key and authority key.
pub struct Sealer {
    /// Cipher suite of the vault.
    pub suite: CipherSuite,
    /// Id of the vault.
    pub vault: VaultId,
    /// Number of the journal key.
    pub number: u32,
    /// Active journal key.
    pub key: JournalKey,
    /// Active authority key; `None` for an auditor.
    pub authority: Option<Authority>,
    /// Former keys, under which other chains may be sealed.
    pub former: FormerPageKeys,
}

/// Former journal and authority keys with their numbers.
#[derive(Default)]
pub struct FormerPageKeys {
    /// Former journal keys.
    pub journal: Vec<(u32, JournalKey)>,
    /// Former authority keys.
    pub authority: Vec<(u32, AuthorityKey)>,
}

/// Numbers of the journal key and of the authority key that seal a page.
pub(super) type KeyNumbers = (u32, Option<u32>);

impl Sealer {
    pub(super) fn numbers(&self) -> KeyNumbers {
        let authority = self.authority.as_ref();
        (self.number, authority.map(|authority| authority.number))
    }

    /// Passes the keys that open pages to `with`.
    pub(super) fn with_page_keys<T>(&self, with: impl FnOnce(&PageKeys<'_>) -> T) -> T {
        let key = |number| match number == self.number {
            true => Some(&self.key),
            false => find(&self.former.journal, number),
        };
        let authority = |number| match &self.authority {
            Some(active) if active.number == number => Some(&active.key),
            _ => find(&self.former.authority, number),
        };
        with(&PageKeys {
            vault: self.vault,
            key: &key,
            authority: Some(&authority),
            closed_pages: None,
        })
    }

    /// Returns the kind of the pages.
    pub fn kind(&self) -> PageKind {
        match self.authority {
            Some(_) => PageKind::Vault,
            None => PageKind::Auditor,
        }
    }
}

fn find<K>(keys: &[(u32, K)], number: u32) -> Option<&K> {
    let (_, key) = keys.iter().find(|(other, _)| *other == number)?;
    Some(key)
}

impl Authority {
    /// Returns the tail of a body, with a tag of zeros.
    pub(super) fn tail(&self) -> [u8; TAIL] {
        let mut tail = [0; TAIL];
        if let Some(number) = tail.first_chunk_mut() {
            *number = self.number.to_le_bytes();
        }
        tail
    }

    /// Writes the tag into the tail of a body. `before` are the bytes before the ciphertext.
    pub(super) fn sign(
        &self,
        vault: &VaultId,
        place: &PageId,
        before: &[u8],
        body: &mut [u8],
    ) -> Result<()> {
        let (signed, tag) = body.split_last_chunk_mut().ok_or(Error::Malformed)?;
        *tag = tag_of(&self.key, vault, place, before, signed)?;
        Ok(())
    }
}

/// Returns `true` if the tail of a body contains the right tag under the authority key that it names.
/// `keys` returns the authority key with a number.
pub(super) fn is_signed<'a>(
    keys: &dyn Fn(u32) -> Option<&'a AuthorityKey>,
    vault: &VaultId,
    place: &PageId,
    before: &[u8],
    body: &[u8],
) -> Result<bool> {
    let (signed, tag) = body.split_last_chunk::<32>().ok_or(Error::Malformed)?;
    let number = signed.last_chunk().ok_or(Error::Malformed)?;
    match keys(u32::from_le_bytes(*number)) {
        Some(key) => Ok(crypto::equal(
            &tag_of(key, vault, place, before, signed)?,
            tag,
        )),
        None => Ok(false),
    }
}

fn tag_of(
    key: &AuthorityKey,
    vault: &VaultId,
    place: &PageId,
    before: &[u8],
    signed: &[u8],
) -> Result<[u8; 32]> {
    let digest = crypto::sha256(&[before, signed]);
    authority_tag(key, vault, (&place.writer, place.sequence), &digest)
}

/// Returns `true` if an auditor may write this page: each entry records that the journal was
/// opened or read, and the page contains no heads of other chains and no summaries of archived pages.
pub(super) fn is_of_auditor(page: &Page) -> bool {
    page.seen.is_empty()
        && page.summaries.is_none()
        && page.entries.iter().all(|entry| {
            entry.operation == Operation::ReadJournal
                && match entry.target {
                    Target::Vault | Target::Subject(_) => true,
                    Target::Slot(slot) => slot.is_journal_only(),
                    _ => false,
                }
        })
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(..)")
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

//! A journal page: 88 bytes beside the body, sealed under its own key, bound to its place.

use std::collections::HashMap;
use std::hash::Hash;

use crate::crypto::{CipherSuite, Digest, JournalKey, VaultId, page_key};
use crate::error::{Error, Result};
use crate::format::sealed::{self, FrameHead};
use crate::format::storage_keys::PageId;
use crate::journal::entry::{Context, EntryDraft, RecordRef, SubjectRef, Target};
use crate::journal::{AccessOutcome, Operation};

/// The kind byte of pages.
pub const JOURNAL_KIND: u8 = 18;

/// The end of another chain, as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainHead {
    /// Its last page then.
    pub page: PageId,
    /// SHA-256 of that page's value.
    pub digest: Digest,
}

/// Whether what an entry tells is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It holds: it became durable together with its change, or there was none.
    Done,
    /// The change was about to be sent; a later entry tells when it was done.
    Announced,
}

/// An entry as it stands on a page; its context and subject stand in the page's tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Milliseconds after the page's begin.
    pub after: u32,
    /// Who: a place in the page's contexts.
    pub context: u16,
    /// What.
    pub operation: Operation,
    /// How it ended.
    pub outcome: AccessOutcome,
    /// Whether it is settled.
    pub stage: Stage,
    /// To what; its subject is taken from the page's table.
    pub target: Target,
    /// In whose words; empty for none.
    pub note: Box<str>,
}

/// A page, opened or to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// SHA-256 of the whole value of the chain's page before; zeros on the first one.
    pub previous: Digest,
    /// The time of the earliest entry: milliseconds since 1970.
    pub began: i64,
    /// The ends of other chains.
    pub seen: Vec<ChainHead>,
    /// Who acted.
    pub contexts: Vec<Context>,
    /// Of whom the entries tell.
    pub subjects: Vec<SubjectRef>,
    /// What was done.
    pub entries: Vec<Entry>,
    /// What later releases add.
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
}

impl Page {
    /// A page of these entries; those for which `announced` holds out are not settled yet.
    pub fn new<'a>(
        previous: Digest,
        seen: Vec<ChainHead>,
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)> + Clone,
    ) -> Result<Self> {
        let began = drafts.clone().map(|(draft, _)| draft.at).min();
        let began = began.unwrap_or_default();
        let mut contexts = StringTable::default();
        let mut subjects = StringTable::default();
        let entries = drafts
            .map(|(draft, stage)| {
                if let Some(subject) = draft.target.subject() {
                    subjects.place(subject)?;
                }
                Ok(Entry {
                    after: u32::try_from(draft.at.saturating_sub(began)).unwrap_or(u32::MAX),
                    context: contexts.place(&*draft.act.context)?,
                    operation: draft.act.operation,
                    outcome: draft.outcome,
                    stage,
                    target: draft.target,
                    note: draft.act.note.clone(),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            previous,
            began,
            seen,
            contexts: contexts.rows,
            subjects: subjects.rows,
            entries,
            extensions: Vec::new(),
        })
    }

    /// The time of an entry on this page: milliseconds since 1970.
    pub fn at(&self, entry: &Entry) -> i64 {
        self.began.saturating_add(entry.after.into())
    }

    /// The page's value, sealed for its place under a salt of its own: so each sealing has its own
    /// key, and a page that was not stored may be sealed again with other entries.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a body above 1 MiB; [`Error::Randomness`].
    pub fn seal(
        &self,
        suite: CipherSuite,
        vault: &VaultId,
        (number, key): (u32, &JournalKey),
        place: &PageId,
    ) -> Result<Vec<u8>> {
        let head = FrameHead { suite, number }.encode(JOURNAL_KIND);
        let place = (&place.writer, place.sequence);
        sealed::seal(&head, self, |salt| {
            page_key(suite, key, salt, vault, place, &head)
        })
    }

    /// Opens the page that stands in `place`; `key` is the journal key of its number.
    ///
    /// # Errors
    /// In the order of checks: those of [`PageHead::parse`]; [`Error::Malformed`] for less than 88
    /// bytes or a body above 1 MiB; [`Error::NotAuthentic`], also for a journal key of another
    /// number; [`Error::Unsupported`] or [`Error::Malformed`] from what was sealed.
    pub fn open(value: &[u8], vault: &VaultId, key: &JournalKey, place: &PageId) -> Result<Self> {
        let PageHead { suite, .. } = PageHead::parse(value)?;
        let place = (&place.writer, place.sequence);
        sealed::open(value, |head, salt| {
            page_key(suite, key, salt, vault, place, head)
        })
    }
}

/// The first 8 bytes of a page: what tells which journal key it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHead {
    /// The suite that the page is sealed with.
    pub suite: CipherSuite,
    /// The number of the journal key that it is sealed under.
    pub number: u32,
}

impl PageHead {
    /// The head of a page's value, or of its first bytes.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for fewer than 8 bytes, [`Error::Unsupported`]
    /// for another format, [`Error::Malformed`] for a zero byte that is none, and
    /// [`Error::Unsupported`] for another suite or kind.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let FrameHead { suite, number } = FrameHead::parse(JOURNAL_KIND, value)?;
        Ok(Self { suite, number })
    }
}

impl Target {
    /// Of whom it tells.
    pub fn subject(&self) -> Option<&SubjectRef> {
        match self {
            Self::Subject(subject)
            | Self::Entry { subject, .. }
            | Self::Record { subject, .. }
            | Self::Version { subject, .. } => Some(subject),
            Self::Vault | Self::Header { .. } | Self::Settled(..) => None,
        }
    }

    /// The record that it tells of.
    pub fn record(&self) -> Option<&RecordRef> {
        match self {
            Self::Record { record, .. } | Self::Version { record, .. } => Some(record),
            _ => None,
        }
    }
}

/// Rows that many entries share, each kept once.
struct StringTable<T> {
    rows: Vec<T>,
    places: HashMap<T, u16>,
}

impl<T> Default for StringTable<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            places: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> StringTable<T> {
    fn place(&mut self, row: &T) -> Result<u16> {
        if let Some(place) = self.places.get(row) {
            return Ok(*place);
        }
        let place = u16::try_from(self.rows.len()).map_err(|_| Error::TooLarge)?;
        self.rows.push(row.clone());
        self.places.insert(row.clone(), place);
        Ok(place)
    }
}

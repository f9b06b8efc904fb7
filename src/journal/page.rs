//! Journal pages. Each page is sealed under its own key, is bound to its storage key, and takes 88
//! bytes and the filter of its subjects more than its body.

use std::collections::HashMap;
use std::hash::Hash;

use crate::crypto::{CipherSuite, Digest, FrameKey, Salt, page_key};
use crate::error::{Error, Result};
use crate::format::sealed::{FrameHead, FrameParts, SealingPlace};
pub use crate::format::storage_keys::ChainHead;
use crate::format::storage_keys::{self, PageId};
use crate::journal::authority::{PageKind, Sealer};
use crate::journal::entry::{
    Context, EntryDraft, EntryTexts, RecordRef, SealedEntry, SubjectRef, Target,
};
use crate::journal::filter::FilterDraft;
use crate::journal::page_summary::Summaries;
use crate::journal::{AccessOutcome, Operation};

/// The stage of a journal entry relative to its change: settled or announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Settled: the entry became durable together with its change, or has no change.
    Done,
    /// Announced: the page was committed before the change. A later entry settles the announced
    /// entry if the change was committed. Without such an entry, the commit outcome is unknown.
    Announced,
}

/// A journal entry on a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Time of the entry, in milliseconds after [`Page::began`].
    pub after: u32,
    /// Index of the entry's actor and purpose in [`Page::contexts`].
    pub context: u16,
    /// The operation.
    pub operation: Operation,
    /// Outcome of the operation.
    pub outcome: AccessOutcome,
    /// Stage of the entry: settled or announced.
    pub stage: Stage,
    /// Target of the operation. The target's subject, if any, is a row of [`Page::subjects`].
    pub target: Target,
    /// Texts of the entry; `None` without any. They are boxed, because a page can have many entries.
    pub(super) texts: Option<Box<EntryTexts>>,
}

impl Entry {
    pub(super) fn boxed(texts: EntryTexts) -> Option<Box<EntryTexts>> {
        (texts != EntryTexts::default()).then(|| texts.into())
    }

    /// Returns the reason from the app, if any.
    pub fn reason(&self) -> Option<&str> {
        self.texts.as_ref()?.reason.as_deref()
    }

    /// Returns the reference of the consent under which the policy permitted the operation, if any.
    pub fn consent(&self) -> Option<&str> {
        self.texts.as_ref()?.consent.as_deref()
    }

    /// Returns the remark of this crate, or the policy's reason for a denial, if any.
    pub fn note(&self) -> Option<&str> {
        self.texts.as_ref()?.note.as_deref()
    }
}

/// The content of a journal page, after opening or before sealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// SHA-256 of the whole value of the chain's previous page; zeros on the first page.
    pub previous: Digest,
    /// Time of the earliest entry in milliseconds since 1970.
    pub began: i64,
    /// The latest time that the chain contained before this page: of an entry, or at which a chain in
    /// [`Page::seen`] began. Includes the former chains of the same writer. `i64::MIN` if there is none.
    /// A reader that passed over earlier pages sees
    /// by this time that the clock was set back.
    pub latest: i64,
    /// Heads of other chains.
    pub seen: Vec<ChainHead>,
    /// Actors and purposes of the entries.
    pub contexts: Vec<Context>,
    /// Subjects of the entries.
    pub subjects: Vec<SubjectRef>,
    /// Entries of the page.
    pub entries: Vec<Entry>,
    /// Summaries of archived pages; `None` except in a chain of summaries.
    pub summaries: Option<Summaries>,
    /// Extensions of later releases: number and content.
    pub(super) extensions: Vec<(u16, Vec<u8>)>,
    /// Kind of the writer. The head of the stored page contains the kind, not the body.
    pub(super) kind: PageKind,
}

impl Page {
    /// Builds a page from journal entries and their stages.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than 65,536 different contexts or subjects.
    pub fn new<'a>(
        previous: Digest,
        seen: Vec<ChainHead>,
        drafts: impl Iterator<Item = (&'a EntryDraft, Stage)> + Clone,
    ) -> Result<Self> {
        let began = drafts.clone().map(|(draft, _)| draft.at).min();
        let began = began.unwrap_or_default();
        let mut contexts = SharedTable::default();
        let mut subjects = SharedTable::default();
        let entries = drafts
            .map(|(draft, stage)| {
                let subject = draft.target.subject().or(draft.settled_subject.as_ref());
                if let Some(subject) = subject {
                    subjects.index_of(subject)?;
                }
                Ok(Entry {
                    after: u32::try_from(draft.at.saturating_sub(began)).unwrap_or(u32::MAX),
                    context: contexts.index_of(&*draft.act.context)?,
                    operation: draft.act.operation,
                    outcome: draft.outcome,
                    stage,
                    target: draft.target.clone(),
                    texts: Entry::boxed(draft.act.texts()),
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            previous,
            began,
            latest: i64::MIN,
            seen,
            contexts: contexts.rows,
            subjects: subjects.rows,
            entries,
            summaries: None,
            extensions: Vec::new(),
            kind: PageKind::Vault,
        })
    }

    /// Returns the latest time that the chain contains up to this page, like [`Page::latest`].
    pub(super) fn latest_with_entries(&self) -> i64 {
        let seen = self.seen.iter();
        let seen = seen.map(|head| storage_keys::chain_began(&head.page.writer));
        let entries = self.entries.iter().map(|entry| self.at(entry));
        seen.chain(entries).fold(self.latest, i64::max)
    }

    /// Returns the time of an entry on this page, in milliseconds since 1970.
    pub fn at(&self, entry: &Entry) -> i64 {
        self.began.saturating_add(entry.after.into())
    }

    /// Seals the page for its position in the chain, and returns the stored value.
    ///
    /// Each sealing draws a fresh salt, so each sealed page has its own key. A page that was not
    /// stored may therefore be sealed again with other entries.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a body above 1 MiB; [`Error::Randomness`].
    pub fn seal(&self, sealer: &Sealer, place: &PageId) -> Result<Vec<u8>> {
        let Sealer {
            suite,
            vault,
            number,
            key,
            authority,
            former: _,
        } = sealer;
        let (suite, number) = (*suite, *number);
        let head = FrameHead { suite, number }.encode(sealer.kind().code());
        let sealing = SealingPlace {
            key: FrameKey::Journal(key),
            storage_key: &storage_keys::journal_page(place),
            version: place.sequence,
        };
        let filter = FilterDraft::new(self);
        let derive = |salt: &Salt, bytes: &mut [u8]| {
            filter.write(key, salt, bytes)?;
            let place = (&place.writer, place.sequence);
            page_key(suite, key, salt, vault, place, (&head, bytes))
        };
        match authority {
            None => {
                let parts = FrameParts {
                    head: &head,
                    filter: filter.length(),
                    place: &sealing,
                    tail: &[],
                };
                parts.seal(self, derive, |_, _| Ok(()))
            }
            Some(authority) => {
                let parts = FrameParts {
                    head: &head,
                    filter: filter.length(),
                    place: &sealing,
                    tail: &authority.tail(),
                };
                parts.seal(self, derive, |before, body| {
                    authority.sign(vault, place, before, body)
                })
            }
        }
    }
}

/// The first 8 bytes of a page, which identify the journal key that opens the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageHead {
    /// Cipher suite that seals the page.
    pub suite: CipherSuite,
    /// Kind of the page's writer.
    pub kind: PageKind,
    /// Number of the journal key that seals the page.
    pub number: u32,
}

impl PageHead {
    /// Parses the head of a page's value, or of its first 8 bytes.
    ///
    /// # Errors
    /// In the order of checks: [`Error::Malformed`] for fewer than 8 bytes, [`Error::Unsupported`]
    /// for another format, [`Error::Malformed`] for a reserved byte that is not zero, and
    /// [`Error::Unsupported`] for another suite or kind.
    pub fn parse(value: &[u8]) -> Result<Self> {
        let kind = match value.get(2) {
            Some(code) if *code == PageKind::Auditor.code() => PageKind::Auditor,
            _ => PageKind::Vault,
        };
        let FrameHead { suite, number } = FrameHead::parse(kind.code(), value)?;
        Ok(Self {
            suite,
            kind,
            number,
        })
    }
}

impl Target {
    /// Returns the target's subject, if any.
    pub fn subject(&self) -> Option<&SubjectRef> {
        match self {
            Self::Subject(subject)
            | Self::Entry { subject, .. }
            | Self::Record { subject, .. }
            | Self::Version { subject, .. }
            | Self::Reencrypted { subject, .. }
            | Self::Records { subject, .. }
            | Self::Retention { subject, .. }
            | Self::Hold { subject, .. } => Some(subject),
            Self::Vault
            | Self::Header { .. }
            | Self::Settled(..)
            | Self::Finding(_)
            | Self::Slot(_)
            | Self::MasterKey(_) => None,
        }
    }

    /// Returns the target's record, if the target is about one record.
    pub fn record(&self) -> Option<&RecordRef> {
        match self {
            Self::Record { record, .. }
            | Self::Version { record, .. }
            | Self::Reencrypted { record, .. } => Some(record),
            _ => None,
        }
    }

    /// Returns the patient entry that was written, if any.
    pub fn sealed_entry(&self) -> Option<SealedEntry> {
        match self {
            Self::Entry {
                sequence, digest, ..
            } => Some(SealedEntry {
                sequence: *sequence,
                digest: *digest,
            }),
            Self::Retention { written, .. } | Self::Hold { written, .. } => *written,
            _ => None,
        }
    }

    /// Returns the number and the digest of the version that was written or re-encrypted, if any.
    pub fn sealed_version(&self) -> Option<(u64, Digest)> {
        match self {
            Self::Version {
                version, digest, ..
            }
            | Self::Reencrypted {
                version,
                after: digest,
                ..
            } => Some((*version, *digest)),
            _ => None,
        }
    }
}

/// A table that stores each value once for all entries that share it.
struct SharedTable<T> {
    rows: Vec<T>,
    indexes: HashMap<T, u16>,
}

impl<T> Default for SharedTable<T> {
    fn default() -> Self {
        Self {
            rows: Vec::new(),
            indexes: HashMap::new(),
        }
    }
}

impl<T: Clone + Eq + Hash> SharedTable<T> {
    fn index_of(&mut self, row: &T) -> Result<u16> {
        if let Some(index) = self.indexes.get(row) {
            return Ok(*index);
        }
        let index = u16::try_from(self.rows.len()).map_err(|_| Error::TooLarge)?;
        self.rows.push(row.clone());
        self.indexes.insert(row.clone(), index);
        Ok(index)
    }
}

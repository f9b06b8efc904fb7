//! Summaries of archived pages: the parts that verification needs of a page that was moved to a journal archive.

use crate::crypto;
use crate::error::{Error, Result};
use crate::format::codec::{
    self, Decode, DecodeError, Decoded, Decoder, Encode, Encoded, Encoder, fields, refused,
};
use crate::format::storage_keys::PageId;
use crate::journal::AccessOutcome;
use crate::journal::authority::PageKind;
use crate::journal::codec::{decode_content, encode_content};
use crate::journal::entry::{Context, Target};
use crate::journal::page::{ChainHead, Entry, Page};

/// Summaries of archived pages on one page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summaries {
    /// Time in milliseconds since 1970 up to which pages were archived: the end of the latest period of an
    /// archived chain, on this page or on an earlier page with summaries.
    pub until: i64,
    /// The summaries.
    pub pages: Vec<PageSummary>,
}

/// Summary of an archived page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageSummary {
    /// The archived page, with the digest of its value.
    pub head: ChainHead,
    /// Kind of the writer.
    pub kind: PageKind,
    /// Indexes of the kept entries on the archived page, in ascending order.
    indexes: Vec<u32>,
    /// The page with only these entries, without actors, purposes and texts.
    page: Page,
}

impl PageSummary {
    /// Summarizes a page, whose stored value is `value`.
    pub fn new(id: PageId, value: &[u8], page: &Page) -> Self {
        let kept = page.entries.iter().zip(0..);
        let kept = kept
            .filter(|(entry, _)| entry.outcome == AccessOutcome::Done && is_needed(&entry.target));
        let (entries, indexes): (Vec<_>, _) = kept
            .map(|(entry, index)| {
                let entry = Entry {
                    context: 0,
                    texts: None,
                    ..entry.clone()
                };
                (entry, index)
            })
            .unzip();
        let mut subjects = page.subjects.clone();
        subjects.retain(|subject| {
            let mut targets = entries.iter().map(|entry| entry.target.subject());
            targets.any(|target| target == Some(subject))
        });
        let digest = crypto::sha256(&[value]);
        Self {
            head: ChainHead { page: id, digest },
            kind: page.kind,
            indexes,
            page: Page {
                contexts: vec![Context::default()],
                subjects,
                entries,
                extensions: Vec::new(),
                ..page.clone()
            },
        }
    }

    /// Returns the archived page with only the kept entries.
    pub fn page(&self) -> &Page {
        &self.page
    }

    /// Returns the kept entries, each with its index on the archived page.
    pub fn entries(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.indexes.iter().copied().zip(&self.page.entries)
    }

    /// Returns the encoded length, in bytes.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a summary that cannot be encoded.
    pub fn length(&self) -> Result<usize> {
        codec::encoded_length(self).map_err(|_| Error::TooLarge)
    }
}

/// Returns `true` if verification needs the entries with such a target: entries that record stored objects,
/// or settle changes. Accepted restores are not needed, because their chains are never archived.
fn is_needed(target: &Target) -> bool {
    match target {
        Target::Header { .. }
        | Target::Entry { .. }
        | Target::Version { .. }
        | Target::Reencrypted { .. }
        | Target::Settled(..) => true,
        Target::Retention { written, .. } | Target::Hold { written, .. } => written.is_some(),
        Target::Vault
        | Target::Subject(_)
        | Target::Record { .. }
        | Target::Records { .. }
        | Target::Finding(_)
        | Target::Slot(_)
        | Target::MasterKey(_) => false,
    }
}

fields! { Summaries { until pages } }

impl Encode for PageSummary {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.head.encode(encoder)?;
        self.kind.code().encode(encoder)?;
        self.indexes.encode(encoder)?;
        encode_content(&self.page, encoder)
    }
}

impl<C> Decode<C> for PageSummary {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let head = Decode::decode(decoder)?;
        let kind = kind(u8::decode(decoder)?)?;
        let indexes: Vec<u32> = Decode::decode(decoder)?;
        let page = Page {
            kind,
            ..decode_content(decoder)?
        };
        let is_ascending = indexes.is_sorted_by(|one, next| one < next);
        if !is_ascending || indexes.len() != page.entries.len() {
            return Err(refused(Error::Malformed));
        }
        Ok(Self {
            head,
            kind,
            indexes,
            page,
        })
    }
}

fn kind(code: u8) -> std::result::Result<PageKind, DecodeError> {
    let mut kinds = [PageKind::Vault, PageKind::Auditor].into_iter();
    let kind = kinds.find(|kind| kind.code() == code);
    kind.ok_or(refused(Error::Malformed))
}

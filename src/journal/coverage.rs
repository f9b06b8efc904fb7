//! Object of covered chain heads: the heads that need no further pin, so that a new chain finds the
//! other heads in a few storage calls.
//!
//! The object is sealed under the active authority key, and counts only while the page that it names
//! is stored. A lost or rolled-back object costs only work: the heads are pinned again.

use std::collections::BTreeMap;

use crate::crypto::{self, Digest, FrameKey, Salt, coverage_key};
use crate::error::{Error, Result};
use crate::format::codec::{
    Body, Decode, Decoded, Decoder, Encode, Encoded, Encoder, fields, refused,
};
use crate::format::sealed::{self, FrameHead, SealingPlace};
use crate::format::storage_keys::{self, COVERAGE, PageId, WriterId};
use crate::journal::authority::{Authority, Sealer};
use crate::journal::codec::extensions;
use crate::journal::page::ChainHead;

/// Kind byte of the stored object.
const KIND: u8 = 24;
/// Maximum number of heads that the object lists one by one.
const LISTED_MAX: usize = 4096;
/// Number of heads that share one digest.
const HEADS_PER_RANGE: usize = 256;

/// Stored content: the covered heads, and the page that proves them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// Page that pinned the heads last.
    pub page: ChainHead,
    /// The covered heads.
    pub covered: CoveredHeads,
    /// Extensions of later releases: number and content.
    extensions: Vec<(u16, Vec<u8>)>,
}

/// Chain heads that need no further pin, because a believed page pins them, or they do not open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CoveredHeads {
    /// Start of the period whose chains are listed one by one. The last walk of all chains put the heads
    /// of earlier chains into `ranges`, except of chains that may still grow.
    pub walked: i64,
    /// Digests of many heads each, in ascending order of writers.
    ranges: Vec<CoveredRange>,
    /// Writers with the sequence number up to which their chains are covered.
    listed: BTreeMap<WriterId, u64>,
}

/// Covered heads of consecutive chains, as one digest.
#[derive(Debug, Clone, PartialEq, Eq)]
struct CoveredRange {
    /// Writer of the last chain in the range. The range begins after the last chain of the previous
    /// range.
    last: WriterId,
    /// SHA-256 of writer and sequence number of each head.
    digest: Digest,
}

impl Coverage {
    /// Creates the content for a page that pins heads.
    pub fn new(page: ChainHead, covered: CoveredHeads) -> Self {
        Self {
            page,
            covered,
            extensions: Vec::new(),
        }
    }

    /// Seals the object, and returns the stored value.
    ///
    /// # Errors
    /// [`Error::NotAuthentic`] for an auditor's sealer; [`Error::Randomness`].
    pub fn seal(&self, sealer: &Sealer) -> Result<Vec<u8>> {
        let Sealer { suite, vault, .. } = sealer;
        let Authority { number, key } = sealer.authority.as_ref().ok_or(Error::NotAuthentic)?;
        let (suite, number) = (*suite, *number);
        let head = FrameHead { suite, number }.encode(KIND);
        let place = SealingPlace {
            key: FrameKey::Authority(key),
            storage_key: COVERAGE,
            version: self.page.page.sequence,
        };
        sealed::seal(&head, &place, self, |salt| {
            coverage_key(suite, key, salt, vault, &head)
        })
    }

    /// Opens a stored value. The caller must check that the named page is stored.
    ///
    /// # Errors
    /// In the order of checks: those of a frame's head; [`Error::NotAuthentic`] for another authority
    /// key than the active one; [`Error::Malformed`] for a wrong length; [`Error::NotAuthentic`] for
    /// an altered value; [`Error::Unsupported`] or [`Error::Malformed`] for the decoded body.
    pub fn open(value: &[u8], sealer: &Sealer) -> Result<Self> {
        let FrameHead { suite, number } = FrameHead::parse(KIND, value)?;
        let authority = sealer.authority.as_ref();
        let authority = authority.filter(|authority| authority.number == number);
        let key = &authority.ok_or(Error::NotAuthentic)?.key;
        sealed::open(value, |head, salt: &Salt| {
            coverage_key(suite, key, salt, &sealer.vault, head)
        })
    }

    /// Returns the heads that no page is known to pin. `heads` are in ascending order. Ignores the
    /// chain of the writer `own`.
    pub fn uncovered(&self, heads: &[PageId], own: Option<WriterId>) -> Vec<PageId> {
        let covered = &self.covered;
        let mut uncovered = Vec::new();
        let mut unlisted = Vec::new();
        for head in heads.iter().filter(|head| Some(head.writer) != own) {
            match covered.listed.get(&head.writer) {
                Some(listed) if head.sequence <= *listed => {}
                Some(_) => uncovered.push(*head),
                // No range contains the chain of the page, because the page pins the other chains.
                None if head.writer == self.page.page.writer => uncovered.push(*head),
                None => unlisted.push(*head),
            }
        }
        let mut rest = unlisted.as_slice();
        for range in &covered.ranges {
            let end = rest.partition_point(|head| head.writer <= range.last);
            let (heads, later) = rest.split_at(end);
            if digest_of(heads) != range.digest {
                uncovered.extend(heads);
            }
            rest = later;
        }
        uncovered.extend(rest);
        uncovered.sort_unstable();
        uncovered
    }
}

impl CoveredHeads {
    /// Returns `true` if the head is listed.
    pub(super) fn lists(&self, head: &PageId) -> bool {
        let listed = self.listed.get(&head.writer);
        listed.is_some_and(|listed| head.sequence <= *listed)
    }

    /// Returns the last writer and the digest of each range.
    #[cfg(feature = "internals")]
    pub fn ranges(&self) -> impl Iterator<Item = (&WriterId, &Digest)> {
        self.ranges.iter().map(|range| (&range.last, &range.digest))
    }

    /// Returns the listed heads.
    #[cfg(feature = "internals")]
    pub fn listed(&self) -> impl Iterator<Item = PageId> {
        let listed = self.listed.iter();
        listed.map(|(&writer, &sequence)| PageId { writer, sequence })
    }

    /// Returns the listed writers.
    pub(super) fn writers(&self) -> impl Iterator<Item = &WriterId> {
        self.listed.keys()
    }

    /// Returns `true` if many listed heads could be in ranges.
    pub(super) fn is_long(&self) -> bool {
        self.listed.len() > LISTED_MAX / 4
    }

    /// Lists a head.
    pub(super) fn add(&mut self, head: &PageId) {
        let listed = self.listed.entry(head.writer).or_insert(head.sequence);
        *listed = head.sequence.max(*listed);
        if self.listed.len() > LISTED_MAX {
            // The next walk pins this head again.
            self.listed.pop_first();
        }
    }

    /// Returns the content after a walk of all chains. `heads` are all covered heads, in ascending
    /// order. `is_live` returns `true` for a chain that may still grow.
    pub(super) fn after_walk(
        walked: i64,
        heads: &[PageId],
        is_live: impl Fn(&PageId) -> bool,
    ) -> Self {
        let is_listed =
            |head: &PageId| storage_keys::chain_began(&head.writer) >= walked || is_live(head);
        let (listed, mut quiet): (Vec<_>, Vec<_>) = heads.iter().copied().partition(is_listed);
        let surplus = listed.len().saturating_sub(LISTED_MAX);
        let (surplus, listed) = listed.split_at(surplus);
        quiet.extend(surplus);
        quiet.sort_unstable();
        let ranges = quiet.chunks(HEADS_PER_RANGE).filter_map(|heads| {
            Some(CoveredRange {
                last: heads.last()?.writer,
                digest: digest_of(heads),
            })
        });
        Self {
            walked,
            ranges: ranges.collect(),
            listed: (listed.iter())
                .map(|head| (head.writer, head.sequence))
                .collect(),
        }
    }
}

fn digest_of(heads: &[PageId]) -> Digest {
    let heads: Vec<u8> = heads
        .iter()
        .flat_map(|head| [&head.writer[..], &head.sequence.to_be_bytes()].concat())
        .collect();
    crypto::sha256(&[&heads])
}

impl Body for Coverage {}

fields! { CoveredRange { last digest } }

impl Encode for Coverage {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Encoded {
        self.page.encode(encoder)?;
        self.covered.walked.encode(encoder)?;
        self.covered.ranges.encode(encoder)?;
        (self.covered.listed.len() as u64).encode(encoder)?;
        for (writer, sequence) in &self.covered.listed {
            (writer, sequence).encode(encoder)?;
        }
        self.extensions.encode(encoder)
    }
}

impl<C> Decode<C> for Coverage {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Decoded<Self> {
        let page = Decode::decode(decoder)?;
        let walked = Decode::decode(decoder)?;
        let ranges: Vec<CoveredRange> = Decode::decode(decoder)?;
        if !ranges.is_sorted_by(|one, next| one.last < next.last) {
            return Err(refused(Error::Malformed));
        }
        let listed: Vec<PageId> = Decode::decode(decoder)?;
        if !listed.is_sorted_by(|one, next| one.writer < next.writer) {
            return Err(refused(Error::Malformed));
        }
        let listed = listed.iter().map(|head| (head.writer, head.sequence));
        Ok(Self {
            page,
            covered: CoveredHeads {
                walked,
                ranges,
                listed: listed.collect(),
            },
            extensions: extensions(Decode::decode(decoder)?)?,
        })
    }
}

//! Pages under closed keys, and which of these pages the closings name.
//!
//! A person who kept former keys can still seal pages under them. Therefore, a closing stores chain
//! heads in the header, which only the root key seals. These heads name pages by their digests, and
//! each page names the page before it and the heads of other chains. A page under closed keys is
//! believed only if it is named in this way.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use crate::crypto::{self, Digest};
use crate::error::{Error, Result};
use crate::format::storage_keys::{ChainHead, PageId, WriterId, journal_chain, journal_page_of};
use crate::journal::page::PageHead;
use crate::journal::page_keys::{PageError, PageKeys};
use crate::storage::{Projection, Scan, Storage, scan_page};

const PAGES_PER_SCAN: usize = 32;

/// The pages that the closings of former keys cover.
#[derive(Debug, Default)]
pub struct ClosedPages {
    /// Numbers of the closed journal keys.
    closed: HashSet<u32>,
    chains: HashMap<WriterId, Vec<Run>>,
    /// `true` if a page is missing that the closings name, or that could name other pages.
    is_incomplete: bool,
}

/// Consecutive pages of a chain, each of which contains the digest of the page before it.
#[derive(Debug)]
struct Run {
    first: u64,
    digests: Vec<Digest>,
    /// Heads of other chains on these pages, each with the index of its page in the run.
    seen: Vec<(usize, ChainHead)>,
    /// Number of covered pages, from the first one on.
    covered: usize,
}

impl ClosedPages {
    /// Reads the chains that `heads` name, directly or through other covered pages. `closed` are the
    /// numbers of the closed journal keys.
    ///
    /// # Errors
    /// Errors of the storage.
    pub fn read(
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        closed: HashSet<u32>,
        heads: Vec<ChainHead>,
    ) -> Result<Self> {
        let mut closed_pages = Self {
            closed,
            ..Self::default()
        };
        let mut named = heads;
        while let Some(head) = named.pop() {
            let writer = head.page.writer;
            if let Entry::Vacant(chain) = closed_pages.chains.entry(writer) {
                chain.insert(read_runs(storage, keys, &writer)?);
            }
            named.extend(closed_pages.cover(&head));
        }
        Ok(closed_pages)
    }

    /// Covers the page that `head` names and the pages before it. Returns the heads on the pages that
    /// were not covered before.
    fn cover(&mut self, head: &ChainHead) -> Vec<ChainHead> {
        let Some((run, index)) = self.find(&head.page, &head.digest) else {
            self.is_incomplete = true;
            return Vec::new();
        };
        let is_whole = run.first == 0;
        let newly = run.covered..=index;
        let seen = run.seen.iter().filter(|(index, _)| newly.contains(index));
        let seen = seen.map(|(_, head)| *head).collect();
        run.covered = run.covered.max(index + 1);
        self.is_incomplete |= !is_whole;
        seen
    }

    fn find(&mut self, page: &PageId, digest: &Digest) -> Option<(&mut Run, usize)> {
        let runs = self.chains.get_mut(&page.writer)?;
        let after = runs.partition_point(|run| run.first <= page.sequence);
        let run = runs.get_mut(after.checked_sub(1)?)?;
        let index = usize::try_from(page.sequence - run.first).ok()?;
        (run.digests.get(index) == Some(digest)).then_some((run, index))
    }

    /// Returns `true` if a page is missing that the closings name, or that could name other pages.
    pub fn is_incomplete(&self) -> bool {
        self.is_incomplete
    }

    /// Returns `true` if a page is under a key that is not closed, or if a closing covers the page.
    pub fn prove(&self, page: &PageId, value: &[u8]) -> bool {
        let number = PageHead::parse(value).map(|head| head.number);
        number.is_ok_and(|number| self.judge(number, page, value).is_ok())
    }

    /// Decides if a page may be believed that opens under the journal key `number`.
    ///
    /// # Errors
    /// [`PageError::Late`] for a page that no closing covers; [`PageError::Unproven`] if a page is
    /// missing that could have proved the opposite.
    pub(super) fn judge(
        &self,
        number: u32,
        page: &PageId,
        value: &[u8],
    ) -> std::result::Result<(), PageError> {
        if !self.closed.contains(&number) {
            return Ok(());
        }
        match (
            self.covers(page, &crypto::sha256(&[value])),
            self.is_incomplete,
        ) {
            (true, _) => Ok(()),
            (false, true) => Err(PageError::Unproven),
            (false, false) => Err(PageError::Late),
        }
    }

    fn covers(&self, page: &PageId, digest: &Digest) -> bool {
        let runs = self.chains.get(&page.writer).map_or(&[][..], Vec::as_slice);
        let after = runs.partition_point(|run| run.first <= page.sequence);
        let run = after.checked_sub(1).and_then(|index| runs.get(index));
        run.is_some_and(|run| {
            let index = usize::try_from(page.sequence - run.first);
            index.is_ok_and(|index| index < run.covered && run.digests.get(index) == Some(digest))
        })
    }
}

/// Reads all pages of a chain that open, as runs of linked pages.
fn read_runs(storage: &dyn Storage, keys: &PageKeys<'_>, writer: &WriterId) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan_page(
            storage,
            Scan {
                prefix: &journal_chain(writer),
                after: after.as_deref(),
                limit: PAGES_PER_SCAN,
                projection: Projection::Values,
            },
        )?;
        for item in &page.items {
            if let Some(id) = journal_page_of(&item.key) {
                add_page(&mut runs, keys, &id, &item.value);
            }
        }
        match (page.items.into_iter().next_back(), page.more) {
            (_, false) => return Ok(runs),
            (Some(last), true) => after = Some(last.key),
            (None, true) => return Err(Error::Contended),
        }
    }
}

fn add_page(runs: &mut Vec<Run>, keys: &PageKeys<'_>, id: &PageId, value: &[u8]) {
    let Ok(page) = keys.open(value, id) else {
        return;
    };
    let continues = runs.last().is_some_and(|run| {
        run.first + run.digests.len() as u64 == id.sequence
            && run.digests.last() == Some(&page.previous)
    });
    if !continues {
        runs.push(Run {
            first: id.sequence,
            digests: Vec::new(),
            seen: Vec::new(),
            covered: 0,
        });
    }
    if let Some(run) = runs.last_mut() {
        let index = run.digests.len();
        run.seen.extend(page.seen.iter().map(|head| (index, *head)));
        run.digests.push(crypto::sha256(&[value]));
    }
}

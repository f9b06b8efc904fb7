//! Pages under closed keys, and which of these pages the closings name.
//!
//! A person who kept former keys can still seal pages under them. Therefore, a closing stores chain
//! heads in the header, which only the root key seals. These heads name pages by their digests, and
//! each page names the page before it and the heads of other chains. A page under closed keys is
//! believed only if it is named in this way.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};

use crate::crypto::{self, Digest};
use crate::error::{Error, Result};
use crate::format::storage_keys::{ChainHead, PageId, WriterId, journal_chain, journal_page_of};
use crate::journal::page::PageHead;
use crate::journal::page_keys::{PageError, PageKeys};
use crate::journal::stored_summaries::StoredSummaries;
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
    /// A summary of an archived page stands for the page, if the page that contains the summary is itself
    /// believed.
    ///
    /// # Errors
    /// Errors of the storage.
    pub fn read(
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        closed: HashSet<u32>,
        heads: Vec<ChainHead>,
    ) -> Result<Self> {
        if closed.is_empty() && heads.is_empty() {
            return Ok(Self::default());
        }
        let mut known = HashSet::new();
        let mut pending = SummaryPage::read(storage, keys, &mut known)?;
        let mut believed = BTreeMap::new();
        loop {
            let closed_pages = Self {
                closed: closed.clone(),
                ..Self::default()
            };
            let chains = ClosedChains {
                storage,
                keys,
                archived: &believed,
            };
            let closed_pages = closed_pages.covering(&chains, heads.clone())?;
            let is_proven = |archived: &mut SummaryPage| closed_pages.proves(archived);
            let proven: Vec<_> = pending.extract_if(.., is_proven).collect();
            if proven.is_empty() {
                // Another process may have archived pages since the summaries were read.
                let more = match closed_pages.is_incomplete {
                    true => SummaryPage::read(storage, keys, &mut known)?,
                    false => Vec::new(),
                };
                if more.is_empty() {
                    return Ok(closed_pages);
                }
                pending.extend(more);
                continue;
            }
            believed.extend(proven.into_iter().flat_map(|archived| archived.pages));
        }
    }

    fn covering(mut self, chains: &ClosedChains<'_, '_>, heads: Vec<ChainHead>) -> Result<Self> {
        let mut named = heads;
        while let Some(head) = named.pop() {
            let writer = head.page.writer;
            if let Entry::Vacant(chain) = self.chains.entry(writer) {
                chain.insert(chains.read_runs(&writer)?);
            }
            named.extend(self.cover(&head));
        }
        Ok(self)
    }

    /// Returns `true` if the page that contains these summaries is believed.
    fn proves(&self, archived: &SummaryPage) -> bool {
        !self.closed.contains(&archived.number) || self.covers(&archived.id, &archived.digest)
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

/// Page that contains summaries of archived pages.
struct SummaryPage {
    id: PageId,
    digest: Digest,
    /// Number of the journal key that seals the page.
    number: u32,
    /// The archived pages.
    pages: Vec<(PageId, LinkedPage)>,
}

/// Digest of a page, and its links to other pages.
#[derive(Clone)]
struct LinkedPage {
    digest: Digest,
    previous: Digest,
    seen: Vec<ChainHead>,
}

impl SummaryPage {
    /// Reads the pages with summaries that are not in `known`, and adds them to it.
    fn read(
        storage: &dyn Storage,
        keys: &PageKeys<'_>,
        known: &mut HashSet<PageId>,
    ) -> Result<Vec<Self>> {
        let mut found = Vec::new();
        StoredSummaries { storage, keys }.each(&mut |id, value, page| {
            let Ok(head) = PageHead::parse(value) else {
                return;
            };
            if !known.insert(id) {
                return;
            }
            let summaries = page.summaries.iter().flat_map(|summaries| &summaries.pages);
            let pages = summaries.map(|summary| {
                let linked = LinkedPage {
                    digest: summary.head.digest,
                    previous: summary.page().previous,
                    seen: summary.page().seen.clone(),
                };
                (summary.head.page, linked)
            });
            found.push(Self {
                id,
                digest: crypto::sha256(&[value]),
                number: head.number,
                pages: pages.collect(),
            });
        })?;
        Ok(found)
    }
}

/// Reader of the chains whose pages a closing can cover.
struct ClosedChains<'a, 'k> {
    storage: &'a dyn Storage,
    keys: &'a PageKeys<'k>,
    /// The archived pages whose summaries are on believed pages.
    archived: &'a BTreeMap<PageId, LinkedPage>,
}

impl ClosedChains<'_, '_> {
    /// Reads all pages of a chain that open, archived pages included, as runs of linked pages.
    fn read_runs(&self, writer: &WriterId) -> Result<Vec<Run>> {
        let mut runs: Vec<Run> = Vec::new();
        let page = |sequence| PageId {
            writer: *writer,
            sequence,
        };
        let archived = self.archived.range(page(0)..=page(u64::MAX));
        let mut archived = archived.peekable();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = scan_page(
                self.storage,
                Scan {
                    prefix: &journal_chain(writer),
                    after: after.as_deref(),
                    limit: PAGES_PER_SCAN,
                    projection: Projection::Values,
                },
            )?;
            for item in &page.items {
                let Some(id) = journal_page_of(&item.key) else {
                    continue;
                };
                while let Some((id, linked)) = archived.next_if(|(archived, _)| **archived <= id) {
                    add_page(&mut runs, id, linked.clone());
                }
                if !self.archived.contains_key(&id)
                    && let Ok(page) = self.keys.open(&item.value, &id)
                {
                    let linked = LinkedPage {
                        digest: crypto::sha256(&[&item.value]),
                        previous: page.previous,
                        seen: page.seen,
                    };
                    add_page(&mut runs, &id, linked);
                }
            }
            match (page.items.into_iter().next_back(), page.more) {
                (_, false) => break,
                (Some(last), true) => after = Some(last.key),
                (None, true) => return Err(Error::Contended),
            }
        }
        for (id, linked) in archived {
            add_page(&mut runs, id, linked.clone());
        }
        Ok(runs)
    }
}

fn add_page(runs: &mut Vec<Run>, id: &PageId, page: LinkedPage) {
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
        run.digests.push(page.digest);
    }
}

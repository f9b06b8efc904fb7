//! Search for the heads of chains under closing or closed keys, as far as no other page names them.

use std::cell::Cell;
use std::collections::HashSet;

use crate::crypto::Digest;
use crate::error::{Error, Result};
use crate::journal::{self, ChainHead, ClosedPages, Cursor, PageId, PageKeys, WriterId};
use crate::storage::Storage;
use crate::vault::header::OpenHeader;

/// The heads that a closing must store, and the number of pages under the keys that it closes.
pub(crate) struct UncoveredHeads {
    pub(crate) heads: Vec<ChainHead>,
    pub(crate) pages: u64,
}

impl UncoveredHeads {
    /// Reads all chains for the pages under the journal keys `closing`. A page that does not open, or that
    /// `closed_pages` does not contain, is neither named nor believed.
    pub(crate) fn read(
        storage: &dyn Storage,
        header: &OpenHeader,
        closed_pages: Option<&ClosedPages>,
        closing: &[u32],
    ) -> Result<Self> {
        let active = header.keyring.active_journal_key().number;
        let mut found = Self {
            heads: Vec::new(),
            pages: 0,
        };
        let mut seen = HashSet::new();
        for writer in journal::writers(storage, ..)? {
            let mut chain = ChainPages {
                active,
                closing,
                ends: Vec::new(),
                last: None,
                pages: &mut found.pages,
                seen: &mut seen,
            };
            chain.read(storage, header, closed_pages, writer)?;
            for page in chain.ends.into_iter().chain(chain.last) {
                // The page was just read. Without its head, honest pages would count as late.
                let digest = journal::digest_of(storage, &page)?.ok_or(Error::Contended)?;
                found.heads.push(ChainHead { page, digest });
            }
        }
        found.heads.retain(|head| !seen.contains(&head.digest));
        Ok(found)
    }
}

/// Reader of one chain.
struct ChainPages<'a> {
    active: u32,
    closing: &'a [u32],
    /// Pages under the keys that are closing, each before a page that is missing or does not open.
    /// These pages are named too, because no later page proves them.
    ends: Vec<PageId>,
    /// The last page under the keys that are closing.
    last: Option<PageId>,
    pages: &'a mut u64,
    /// Digests of the pages that other pages name.
    seen: &'a mut HashSet<Digest>,
}

impl ChainPages<'_> {
    fn read(
        &mut self,
        storage: &dyn Storage,
        header: &OpenHeader,
        closed_pages: Option<&ClosedPages>,
        writer: WriterId,
    ) -> Result<()> {
        let number = Cell::new(0);
        let key = |requested| {
            number.set(requested);
            Some(&header.keyring.journal_key(requested)?.key)
        };
        let authority = |number| Some(&header.keyring.authority_key(number)?.key);
        let keys = PageKeys {
            vault: *header.header.vault(),
            key: &key,
            authority: Some(&authority),
            closed_pages,
        };
        Cursor::new(writer).advance(storage, &keys, &mut |id, page, fault| {
            if fault.is_some() {
                self.ends.extend(self.last.take());
            }
            let Some(page) = page else {
                return Ok(());
            };
            let number = number.get();
            if self.closing.contains(&number) {
                *self.pages += 1;
                self.last = Some(id);
            }
            // A page under the active keys names heads only for chains to come, and a closing does
            // not name such a page.
            if number != self.active {
                self.seen.extend(page.seen.iter().map(|head| head.digest));
            }
            Ok(())
        })
    }
}

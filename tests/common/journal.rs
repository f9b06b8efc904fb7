//! Access to the pages of a vault's journal.

use chartlock::internals::journal::{Cursor, Entry, Page, PageId, PageKeys, writers};
use chartlock::internals::keys::{Header, Unlocked};
use chartlock::storage::Storage;

use super::credential::Fixed;
use super::objects::value_of;

/// Parses the header of a storage, and unlocks it with `Fixed(1)`.
pub(crate) fn unlocked(storage: &dyn Storage) -> (Header, Unlocked) {
    let header = Header::parse(&value_of(storage, b"v").unwrap()).unwrap();
    let unlocked = header.unlock(&Fixed(1)).unwrap();
    (header, unlocked)
}

/// Returns note, reason and consent of an entry in one text, as far as the entry has them.
pub(crate) fn texts(entry: &Entry) -> String {
    let consent = entry.consent().map(|consent| format!("consent {consent}"));
    let texts = [entry.note(), entry.reason(), consent.as_deref()];
    texts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

/// Opens every page of every chain, chain by chain, and asserts that none is damaged or missing.
pub(crate) fn pages(storage: &dyn Storage) -> Vec<(PageId, Page)> {
    let (header, unlocked) = unlocked(storage);
    let keys = PageKeys {
        vault: *header.vault(),
        key: &|number| Some(&unlocked.keyring.journal_key(number)?.key),
        authority: Some(&|number| Some(&unlocked.keyring.authority_key(number)?.key)),
        closed_pages: None,
    };
    let mut pages = Vec::new();
    for writer in writers(storage, ..).unwrap() {
        let mut visit = |id, page: Option<Page>, fault| {
            assert_eq!(fault, None);
            pages.push((id, page.unwrap()));
            Ok(())
        };
        let mut cursor = Cursor::new(writer);
        cursor.advance(storage, &keys, &mut visit).unwrap();
    }
    pages
}

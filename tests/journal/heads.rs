//! Search for chains and their heads, among many chains, long chains and stray objects.

use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::Error;
use chartlock::internals::crypto::sha256;
use chartlock::internals::journal::{
    Cursor, PageFault, PageId, PageKeys, WriterId, recent, writers,
};
use chartlock::storage::{
    CommitError, Committed, Expect, MemoryStorage, Scan, ScanPage, Storage, StorageError, Stored,
    Transaction,
};

use crate::common::clock::NOON;

const DAY: i64 = 24 * 60 * 60 * 1000;

/// Storage that counts the items in its scan pages, or returns endless empty scan pages.
#[derive(Debug, Default)]
struct Counting {
    inner: MemoryStorage,
    entries: AtomicUsize,
    is_stuck: bool,
}

impl Storage for Counting {
    fn read(&self, keys: &[&[u8]]) -> Result<Vec<Option<Stored>>, StorageError> {
        self.inner.read(keys)
    }

    fn scan(&self, scan: Scan<'_>) -> Result<ScanPage, StorageError> {
        let mut page = self.inner.scan(scan)?;
        if self.is_stuck {
            page.items.clear();
            page.more = true;
        }
        self.entries.fetch_add(page.items.len(), Ordering::SeqCst);
        Ok(page)
    }

    fn commit(&self, transactions: &[Transaction]) -> Vec<Result<Committed, CommitError>> {
        self.inner.commit(transactions)
    }

    fn is_transactional(&self) -> bool {
        true
    }
}

fn put(storage: &dyn Storage, key: Vec<u8>, value: &[u8]) {
    let put = Transaction::new().put(key, value, Expect::Absent);
    assert!(storage.commit(&[put])[0].is_ok());
}

/// Stores a chain that began at `began` and has `pages` pages. The pages cannot be opened.
fn chain(storage: &dyn Storage, began: i64, pages: u64) -> WriterId {
    let mut writer = [7; 16];
    writer[..6].copy_from_slice(&began.to_be_bytes()[2..]);
    for sequence in 0..pages {
        let key = [b"j", &writer[..], &sequence.to_be_bytes()].concat();
        put(storage, key, &content(&writer, sequence));
    }
    writer
}

fn content(writer: &WriterId, sequence: u64) -> Vec<u8> {
    [&writer[..], &sequence.to_be_bytes()].concat()
}

/// Returns the writer and the last sequence number of each of the `limit` newest chains.
fn heads(storage: &dyn Storage, now: i64, limit: usize) -> Vec<(WriterId, u64)> {
    let seen = recent(storage, now, limit).unwrap().into_iter();
    seen.map(|seen| {
        let PageId { writer, sequence } = seen.page;
        assert_eq!(seen.digest, sha256(&[&content(&writer, sequence)]));
        (writer, sequence)
    })
    .collect()
}

#[test]
fn search_for_heads_returns_last_page_of_each_chain_once() {
    let storage = MemoryStorage::new();
    let lengths = [1, 3, 2];
    let chains: Vec<_> = (0..)
        .zip(lengths)
        .map(|(number, pages)| (chain(&storage, NOON + number, pages), pages - 1))
        .collect();
    for limit in 0..5 {
        let last = &chains[chains.len().saturating_sub(limit)..];
        assert_eq!(heads(&storage, NOON, limit), last);
    }
}

#[test]
fn search_for_heads_finds_last_page_of_long_chain() {
    let storage = MemoryStorage::new();
    let lengths = [1, 256, 257, 300, 511, 512, 513, 1025, 2];
    let chains: Vec<_> = (0..)
        .zip(lengths)
        .map(|(number, pages)| (chain(&storage, NOON + number, pages), pages - 1))
        .collect();
    assert_eq!(heads(&storage, NOON, 32), chains);
    let found = writers(&storage, None).unwrap();
    assert!(found.iter().eq(chains.iter().map(|(writer, _)| writer)));
    let after = writers(&storage, Some(&chains[3].0)).unwrap();
    assert_eq!(after, found[4..]);
}

/// A vault that was opened every day for years has many chains. The search must scan one page of
/// chains, and then only the chains of the last days.
#[test]
fn search_for_heads_among_many_chains_scans_few_items() {
    let storage = Counting::default();
    let days = 2_000;
    let now = NOON + days * DAY;
    let chains: Vec<_> = (0..days)
        .map(|day| {
            let noon = NOON + day * DAY + DAY / 2;
            (chain(&storage, noon, 1), 0)
        })
        .collect();
    // Numbers of days that the search scans, one after the other, until it finds enough chains.
    for (limit, scanned) in [
        (1, 1),
        (2, 1 + 10),
        (10, 1 + 10),
        (11, 1 + 10 + 100),
        (101, 1 + 10 + 100 + 1_000),
        (1_001, 1 + 10 + 100 + 1_000 + 2_000),
    ] {
        storage.entries.store(0, Ordering::SeqCst);
        let last = &chains[chains.len() - limit..];
        assert_eq!(heads(&storage, now, limit), last);
        let entries = storage.entries.load(Ordering::SeqCst);
        // Allow three more items for each scan page, because the search also checks if the page's
        // last chain continues.
        let more = (256 + scanned..=256 + scanned + 3 * (scanned / 256 + 1)).contains(&entries);
        assert!(more, "{entries} entries for {limit}");
    }
}

/// Returns the sequence numbers that one cursor step visits, and `true` if more pages follow.
fn step_of(cursor: &mut Cursor, storage: &dyn Storage, limit: usize) -> (Vec<u64>, bool) {
    let keys = PageKeys {
        vault: [0; 16],
        key: &|_| None,
        authority: None,
        closed_pages: None,
    };
    let mut sequences = Vec::new();
    let more = cursor.step(storage, &keys, limit, &mut |id, _, fault| {
        assert_eq!(fault, Some(PageFault::NotAuthentic));
        sequences.push(id.sequence);
        Ok(())
    });
    (sequences, more.unwrap())
}

#[test]
fn chain_cursor_steps_past_stray_objects() {
    let storage = MemoryStorage::new();
    let writer = chain(&storage, NOON, 25);
    // Add stray objects before the first page and after the tenth page, more than one cursor step
    // visits.
    for after in [vec![], 9_u64.to_be_bytes().to_vec()] {
        for number in 0..40_u16 {
            let junk = [b"j", &writer[..], &after, &number.to_be_bytes()].concat();
            put(&storage, junk, b"junk");
        }
    }
    let mut cursor = Cursor::new(writer);
    let mut sequences = Vec::new();
    loop {
        let (step, more) = step_of(&mut cursor, &storage, 10);
        assert!(step.len() <= 10);
        assert!(!step.is_empty() || !more, "a step without progress");
        sequences.extend(step);
        if !more {
            break;
        }
    }
    assert!(sequences.into_iter().eq(0..25));
    assert_eq!(step_of(&mut cursor, &storage, 10), (vec![], false));
}

#[test]
fn storage_with_endless_empty_scan_pages_returns_contended() {
    let storage = Counting {
        is_stuck: true,
        ..Counting::default()
    };
    let writer = chain(&storage, NOON, 3);
    let keys = PageKeys {
        vault: [0; 16],
        key: &|_| None,
        authority: None,
        closed_pages: None,
    };
    let step_of = Cursor::new(writer).advance(&storage, &keys, &mut |_, _, _| Ok(()));
    assert_eq!(step_of, Err(Error::Contended));
    assert_eq!(recent(&storage, NOON, 1), Err(Error::Contended));
    assert_eq!(writers(&storage, None), Err(Error::Contended));
}

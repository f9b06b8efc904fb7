//! Search for chains and their heads, among many chains, long chains and stray objects.

use chartlock::Error;
use chartlock::internals::journal::{Cursor, PageFault, PageKeys, WriterId, last_pages, writers};
use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction};

use crate::common::AlteredScans;
use crate::common::clock::NOON;

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

/// Returns the writer and the last sequence number of each chain.
fn heads(storage: &dyn Storage) -> Vec<(WriterId, u64)> {
    let heads = last_pages(storage, &|| false).unwrap().unwrap();
    let heads = heads.into_iter();
    heads.map(|head| (head.writer, head.sequence)).collect()
}

#[test]
fn search_for_heads_returns_last_page_of_each_chain_once() {
    let storage = MemoryStorage::new();
    let lengths = [1, 3, 2];
    let chains: Vec<_> = (0..)
        .zip(lengths)
        .map(|(number, pages)| (chain(&storage, NOON + number, pages), pages - 1))
        .collect();
    assert_eq!(heads(&storage), chains);
    assert_eq!(last_pages(&storage, &|| true), Ok(None));
}

#[test]
fn search_for_heads_finds_last_page_of_long_chain() {
    let storage = MemoryStorage::new();
    let lengths = [1, 256, 257, 300, 511, 512, 513, 1025, 2];
    let chains: Vec<_> = (0..)
        .zip(lengths)
        .map(|(number, pages)| (chain(&storage, NOON + number, pages), pages - 1))
        .collect();
    assert_eq!(heads(&storage), chains);
    let found = writers(&storage, ..).unwrap();
    assert!(found.iter().eq(chains.iter().map(|(writer, _)| writer)));
    assert_eq!(writers(&storage, NOON + 4..).unwrap(), found[4..]);
    assert_eq!(writers(&storage, NOON + 2..NOON + 5).unwrap(), found[2..5]);
    assert_eq!(writers(&storage, ..=NOON).unwrap(), found[..1]);
    assert!(writers(&storage, 1 << 47..).unwrap().is_empty());
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
    let storage = AlteredScans::endless(MemoryStorage::new(), b"");
    let writer = chain(&storage, NOON, 3);
    let keys = PageKeys {
        vault: [0; 16],
        key: &|_| None,
        authority: None,
        closed_pages: None,
    };
    let step_of = Cursor::new(writer).advance(&storage, &keys, &mut |_, _, _| Ok(()));
    assert_eq!(step_of, Err(Error::Contended));
    assert_eq!(last_pages(&storage, &|| false), Err(Error::Contended));
    assert_eq!(writers(&storage, ..), Err(Error::Contended));
}

//! Tests of memory wiping: a global allocator inspects every freed block for plaintext.
//!
//! The test target `memory` searches the memory of a whole process, but it cannot find blocks that
//! the allocator has returned to the system.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, unsafe_code)]

#[path = "common/mod.rs"]
mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::{Read, Write};
use std::slice;
use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::keys::{Cost, Passphrase};
use chartlock::{Document, MemoryStorage, RecordId, Session, Vault, VaultOptions};
use common::{record, session, subject};
use zeroize::Zeroizing;

/// Byte pattern that fills all content in these tests.
const PLANTED: [u8; 16] = *b"\xa7 planted bytes ";
/// Content lengths: two for inline content, one for a single segment, and one for several segments.
const LENGTHS: [usize; 4] = [100, 60_000, 70_000, 3_000_000];
/// Minimum memory in bytes of a passphrase key derivation. All other blocks in these tests are
/// smaller.
const KDF_MEMORY: usize = 8 << 20;

/// Allocator that inspects every freed block. New blocks are zeroed, so that a block contains only
/// bytes that the program wrote.
struct InspectingAllocator;

#[global_allocator]
static ALLOCATOR: InspectingAllocator = InspectingAllocator;

/// Number of freed blocks that contained content.
static WITH_CONTENT: AtomicUsize = AtomicUsize::new(0);
/// Number of freed blocks that a passphrase key derivation used.
static KDF_FREED: AtomicUsize = AtomicUsize::new(0);
/// Number of freed blocks that a passphrase key derivation used and did not wipe.
static KDF_UNWIPED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the allocator forwards to the system's allocator, and only reads blocks before it frees
// them.
unsafe impl GlobalAlloc for InspectingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller upholds the contract of `alloc`, which `alloc_zeroed` shares.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated zeroed with this layout, and nothing else refers to it.
        inspect(unsafe { slice::from_raw_parts(block, layout.size()) });
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Inspects a freed block. This function must not allocate, because the allocator calls it.
fn inspect(freed: &[u8]) {
    let mut rest = freed;
    while let Some(at) = rest.iter().position(|byte| *byte == PLANTED[0]) {
        rest = &rest[at..];
        if rest.starts_with(&PLANTED) {
            WITH_CONTENT.fetch_add(1, Ordering::SeqCst);
            break;
        }
        rest = &rest[1..];
    }
    if freed.len() >= KDF_MEMORY {
        KDF_FREED.fetch_add(1, Ordering::SeqCst);
        let unwiped = freed.iter().any(|byte| *byte != 0);
        KDF_UNWIPED.fetch_add(usize::from(unwiped), Ordering::SeqCst);
    }
}

fn passphrase() -> Passphrase {
    Passphrase::new("correct horse battery staple").with_cost(Cost {
        memory_kib: KDF_MEMORY as u32 / 1024,
        passes: 1,
        lanes: 1,
    })
}

fn content(length: usize) -> Zeroizing<Vec<u8>> {
    let mut content = Zeroizing::new(vec![0; length]);
    for part in content.chunks_mut(PLANTED.len()) {
        part.copy_from_slice(&PLANTED[..part.len()]);
    }
    content
}

fn id(length: usize) -> RecordId {
    record("MRN-1042", &format!("Media/{length}"))
}

fn write(session: &Session) {
    for length in LENGTHS {
        let (id, content) = (id(length), content(length));
        session.put(&id, &content).unwrap();
        session.put_reader(&id, &content[..]).unwrap();
        let mut writer = session.writer(&id);
        for part in content.chunks(70_001) {
            writer.write_all(part).unwrap();
        }
        writer.finish().unwrap();
        let many = [(&id, Document::new(&content))];
        session.put_many(many).unwrap().remove(0).unwrap();
        // Drop a writer without `finish`, as an aborted upload does.
        session.writer(&id).write_all(&content).unwrap();
    }
}

fn read(session: &Session) {
    for length in LENGTHS {
        let (id, content) = (id(length), content(length));
        assert!(session.get(&id).unwrap().unwrap()[..] == content[..]);
        assert!(session.get_version(&id, 2).unwrap().unwrap()[..] == content[..]);
        let mut all = Zeroizing::new(Vec::with_capacity(length + 100));
        let mut reader = session.reader(&id).unwrap().unwrap();
        reader.read_to_end(&mut all).unwrap();
        assert!(all[..] == content[..]);
        // Partial reads open a chunk in a separate buffer.
        let reader = session.reader(&id).unwrap().unwrap();
        for offset in [0, length / 2, length - 50] {
            let mut part = Zeroizing::new([0; 50]);
            reader.read_at(offset as u64, &mut part[..]).unwrap();
            assert_eq!(part[..], content[offset..offset + 50]);
        }
    }
}

#[test]
fn content_is_wiped_before_memory_is_freed() {
    let options = VaultOptions::new();
    let vault = options.create(MemoryStorage::new(), &passphrase()).unwrap();
    let session = session(&vault);
    write(&session);
    read(&session);
    vault.rotate_master_key().unwrap();
    let subject = subject("MRN-1042");
    vault.reencrypt_subject(&subject).unwrap();
    read(&session);
    drop(vault);
    assert_eq!(WITH_CONTENT.load(Ordering::SeqCst), 0);
    // The allocator must also detect content that is not wiped, otherwise the count above proves
    // nothing.
    drop(content(LENGTHS[0]).to_vec());
    assert_eq!(WITH_CONTENT.load(Ordering::SeqCst), 1);
}

#[test]
fn key_derivation_memory_is_wiped_before_it_is_freed() {
    let storage = std::sync::Arc::new(MemoryStorage::new());
    let created = Vault::create(std::sync::Arc::clone(&storage), &passphrase());
    drop(created.unwrap());
    drop(Vault::open(storage, &passphrase()).unwrap());
    assert!(KDF_FREED.load(Ordering::SeqCst) >= 2);
    assert_eq!(KDF_UNWIPED.load(Ordering::SeqCst), 0);
}

//! Fuzz target for journal pages of both kinds: the same body as a page of a vault and as a page of an
//! auditor, and chains that mix both kinds.

use chartlock::Operation;
use chartlock::internals::crypto::{CipherSuite, JournalKey, authority_tag, page_key, sha256};
use chartlock::internals::journal::{
    Cursor, OpenResult, Page, PageError, PageFault, PageHead, PageId, PageKeys, PageKind, Sealer,
    Target,
};
use chartlock::internals::keys::Keyring;
use chartlock::internals::vault::sealer;
use chartlock::storage::{Expect, MemoryStorage, Storage, Transaction};

use super::fixed::{choice, keyring, seal, suite};

const VAULT: [u8; 16] = [5; 16];
const WRITER: [u8; 16] = [6; 16];
/// The filter of a page that may be about any subject.
const ANY_SUBJECT: [u8; 2] = [0xff; 2];
/// The maximum number of pages of a chain.
const PAGES: usize = 6;

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    let keyring = keyring();
    match what >> 1 & 3 {
        0 => raw(data, &keyring),
        1 => chain(suite(what), data, &keyring),
        _ => both_kinds(suite(what), data, &keyring),
    }
}

fn place(sequence: u64) -> PageId {
    PageId {
        writer: WRITER,
        sequence,
    }
}

/// Calls `with` with the keys of a vault, or with those of an auditor.
fn with_keys<T>(keyring: &Keyring, is_auditor: bool, with: impl FnOnce(&PageKeys<'_>) -> T) -> T {
    let key = |_| Some(&keyring.active_journal_key().key);
    let authority = |number| Some(&keyring.authority_key(number)?.key);
    with(&PageKeys {
        vault: VAULT,
        key: &key,
        authority: (!is_auditor).then_some(&authority),
        closed_pages: None,
    })
}

fn open(value: &[u8], keyring: &Keyring, is_auditor: bool) -> OpenResult {
    with_keys(keyring, is_auditor, |keys| keys.open(value, &place(7)))
}

/// Returns an auditor's sealer.
fn auditor(suite: CipherSuite, keyring: &Keyring) -> Sealer {
    let vault = sealer(suite, &VAULT, keyring);
    Sealer {
        key: JournalKey::from_bytes(vault.key.expose()),
        authority: None,
        ..vault
    }
}

fn raw(value: &[u8], keyring: &Keyring) {
    for is_auditor in [false, true] {
        let error = open(value, keyring, is_auditor).unwrap_err();
        if let Err(refused) = PageHead::parse(value) {
            assert_eq!(error, PageError::Refused(refused));
        }
    }
}

/// Seals a body as a page of a kind. A vault's page is signed.
fn page_of(kind: PageKind, suite: CipherSuite, keyring: &Keyring, body: &[u8]) -> Vec<u8> {
    let journal = keyring.active_journal_key();
    let mut head = [1, suite.code(), kind.code(), 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&journal.number.to_le_bytes());
    let salt = [9; 32];
    let at = (&WRITER, 7);
    let (sealing, commitment) = page_key(
        suite,
        &journal.key,
        &salt,
        &VAULT,
        at,
        (&head, &ANY_SUBJECT),
    )
    .unwrap();
    let before = [&head[..], &salt, &commitment, &ANY_SUBJECT].concat();
    let mut body = body.to_vec();
    if kind == PageKind::Vault {
        let authority = keyring.active_authority_key();
        body.extend(authority.number.to_le_bytes());
        let digest = sha256(&[&before, &body]);
        body.extend(authority_tag(&authority.key, &VAULT, at, &digest).unwrap());
    }
    [before, seal(&sealing, &body)].concat()
}

/// Opens a body as a page of each kind. Only the kind decides what an auditor may not write.
fn both_kinds(suite: CipherSuite, body: &[u8], keyring: &Keyring) {
    let of_vault = page_of(PageKind::Vault, suite, keyring, body);
    let of_auditor = page_of(PageKind::Auditor, suite, keyring, body);
    let expected = open(&of_vault, keyring, false);
    assert_eq!(
        open(&of_vault, keyring, true),
        expected,
        "without authority keys"
    );
    let opened = open(&of_auditor, keyring, false);
    assert_eq!(
        open(&of_auditor, keyring, true),
        opened,
        "without authority keys"
    );
    match (&expected, &opened) {
        (Ok(page), Ok(auditors)) => {
            assert!(is_of_auditor(page), "an auditor writes {page:?}");
            assert_eq!(page.entries, auditors.entries);
            let sealer = auditor(suite, keyring);
            let again = auditors.seal(&sealer, &place(7)).unwrap();
            assert_eq!(open(&again, keyring, false), opened);
        }
        (Ok(page), Err(error)) => {
            assert_eq!(*error, PageError::Forged);
            assert!(!is_of_auditor(page), "an auditor cannot write {page:?}");
        }
        (Err(PageError::Refused(error)), Err(PageError::Refused(other))) => {
            assert_eq!(error, other)
        }
        other => panic!("{other:?}"),
    }
    // A page with the other kind's number does not open.
    for value in [of_vault, of_auditor] {
        let mut relabelled = value;
        relabelled[2] ^= PageKind::Vault.code() ^ PageKind::Auditor.code();
        let error = open(&relabelled, keyring, false).unwrap_err();
        assert!(matches!(error, PageError::Refused(_)), "{error:?}");
    }
}

fn is_of_auditor(page: &Page) -> bool {
    let may_be = |target: &Target| match target {
        Target::Vault | Target::Subject(_) => true,
        Target::Slot(slot) => slot.is_journal_only(),
        _ => false,
    };
    let mut entries = page.entries.iter();
    page.seen.is_empty()
        && entries.all(|entry| entry.operation == Operation::ReadJournal && may_be(&entry.target))
}

/// Reads a chain whose pages are of random kinds. Each page of another kind than the first is forged.
fn chain(suite: CipherSuite, kinds: &[u8], keyring: &Keyring) {
    let storage = MemoryStorage::new();
    let sealers = [auditor(suite, keyring), sealer(suite, &VAULT, keyring)];
    let mut previous = [0; 32];
    for (sequence, kind) in (0..).zip(kinds.iter().take(PAGES)) {
        let page = Page::new(previous, Vec::new(), std::iter::empty()).unwrap();
        let id = place(sequence);
        let value = page.seal(&sealers[usize::from(kind & 1)], &id).unwrap();
        previous = sha256(&[&value]);
        let key = [b"j", &WRITER[..], &sequence.to_be_bytes()].concat();
        let put = Transaction::new().put(key, &value[..], Expect::Absent);
        storage.commit(&[put]).pop().unwrap().unwrap();
    }
    let mut faults = Vec::new();
    with_keys(keyring, false, |keys| {
        let mut cursor = Cursor::new(WRITER);
        let read = cursor.advance(&storage, keys, &mut |_, _, fault| {
            faults.push(fault);
            Ok(())
        });
        read.unwrap();
    });
    let expected = kinds.iter().take(PAGES);
    let expected = expected.map(|kind| (kind & 1 != kinds[0] & 1).then_some(PageFault::Forged));
    assert!(faults.into_iter().eq(expected));
}

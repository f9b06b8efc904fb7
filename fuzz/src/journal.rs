//! Fuzz target for journal pages: raw bytes, and arbitrary bodies under a valid seal, to reach the
//! decoder.

use chartlock::Error;
use chartlock::internals::crypto::{CipherSuite, authority_tag, page_key, sha256};
use chartlock::internals::journal::{OpenResult, PageError, PageHead, PageId, PageKeys};
use chartlock::internals::keys::Keyring;
use chartlock::internals::vault::sealer;

use super::fixed::{choice, keyring, open, seal, suite};

const VAULT: [u8; 16] = [5; 16];
const PLACE: PageId = PageId {
    writer: [6; 16],
    sequence: 7,
};

/// The filter of a page that may be about any subject.
const ANY_SUBJECT: [u8; 2] = [0xff; 2];

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    let keyring = keyring();
    match what >> 1 & 1 {
        0 => raw(data, &keyring),
        _ => body(suite(what), data, &keyring),
    }
}

fn raw(value: &[u8], keyring: &Keyring) {
    let error = open_page(value, keyring, &PLACE).unwrap_err();
    if let Err(refused) = PageHead::parse(value) {
        assert_eq!(error, PageError::Refused(refused));
    }
}

fn open_page(value: &[u8], keyring: &Keyring, place: &PageId) -> OpenResult {
    let key = |_| Some(&keyring.active_journal_key().key);
    let authority = |number| Some(&keyring.authority_key(number)?.key);
    let keys = PageKeys {
        vault: VAULT,
        key: &key,
        authority: Some(&authority),
        closed_pages: None,
    };
    keys.open(value, place)
}

fn body(suite: CipherSuite, body: &[u8], keyring: &Keyring) {
    let journal = keyring.active_journal_key();
    let mut head = [1, suite.code(), 18, 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&journal.number.to_le_bytes());
    let salt = [9; 32];
    let place = (&PLACE.writer, PLACE.sequence);
    let clear = (&head, &ANY_SUBJECT[..]);
    let (sealing, commitment) = page_key(suite, &journal.key, &salt, &VAULT, place, clear).unwrap();
    let before = [&head[..], &salt, &commitment, &ANY_SUBJECT].concat();
    let authority = keyring.active_authority_key();
    let signed = [body, &authority.number.to_le_bytes()].concat();
    let digest = sha256(&[&before, &signed]);
    let tag = authority_tag(&authority.key, &VAULT, place, &digest).unwrap();
    let whole = [&signed[..], &tag].concat();
    let value = [before, seal(&sealing, &whole)].concat();
    let page = match open_page(&value, keyring, &PLACE) {
        Ok(page) => page,
        Err(
            error @ (PageError::Forged
            | PageError::UnknownKey
            | PageError::Late
            | PageError::Unproven),
        ) => panic!("a signed page under the active key is called {error:?}"),
        Err(PageError::Refused(error)) => {
            assert!(
                matches!(error, Error::Malformed | Error::Unsupported),
                "{error:?}"
            );
            return;
        }
    };
    for entry in &page.entries {
        assert!(usize::from(entry.context) < page.contexts.len());
        assert!(page.at(entry) >= page.began);
        if let Some(subject) = entry.target.subject() {
            assert!(page.subjects.contains(subject));
        }
    }
    let again = page.seal(&sealer(suite, &VAULT, keyring), &PLACE).unwrap();
    let salt = again[8..40].try_into().unwrap();
    let filter = usize::from(u16::from_le_bytes(again[72..74].try_into().unwrap()));
    let filter = if filter == 0xffff { 0 } else { 2 * filter };
    let (filter, sealed) = again[72..].split_at(2 + filter);
    let clear = (&head, filter);
    let (sealing, _) = page_key(suite, &journal.key, salt, &VAULT, place, clear).unwrap();
    assert_eq!(
        open(&sealing, sealed)[..body.len()],
        *body,
        "the page was encoded differently"
    );
    let again = open_page(&again, keyring, &PLACE);
    assert_eq!(again, Ok(page), "the page changed in a round trip");
    let other = PageId {
        sequence: PLACE.sequence + 1,
        ..PLACE
    };
    let elsewhere = open_page(&value, keyring, &other);
    assert_eq!(elsewhere, Err(PageError::Refused(Error::NotAuthentic)));
}

//! Fuzz target for journal pages. The input is raw bytes, or a body that the target seals, so that
//! the body reaches the decoder.

use chartlock::Error;
use chartlock::internals::crypto::{CipherSuite, page_key};
use chartlock::internals::journal::{Page, PageHead, PageId};
use chartlock::internals::keys::Keyring;

use super::fixed::{choice, keyring, open, seal, suite};

const VAULT: [u8; 16] = [5; 16];
const PLACE: PageId = PageId {
    writer: [6; 16],
    sequence: 7,
};

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
    let key = &keyring.active_journal_key().key;
    let error = Page::open(value, &VAULT, key, &PLACE).unwrap_err();
    if let Err(refused) = PageHead::parse(value) {
        assert_eq!(error, refused);
    }
}

fn body(suite: CipherSuite, body: &[u8], keyring: &Keyring) {
    let journal = keyring.active_journal_key();
    let mut head = [1, suite.code(), 18, 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&journal.number.to_le_bytes());
    let salt = [9; 32];
    let place = (&PLACE.writer, PLACE.sequence);
    let (sealing, commitment) = page_key(suite, &journal.key, &salt, &VAULT, place, &head).unwrap();
    let value = [&head[..], &salt, &commitment, &seal(&sealing, body)].concat();
    let page = match Page::open(&value, &VAULT, &journal.key, &PLACE) {
        Ok(page) => page,
        Err(error) => {
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
    let again = page.seal(suite, &VAULT, (journal.number, &journal.key), &PLACE);
    let again = again.unwrap();
    let salt = again[8..40].try_into().unwrap();
    let (sealing, _) = page_key(suite, &journal.key, salt, &VAULT, place, &head).unwrap();
    assert_eq!(
        open(&sealing, &again[72..]),
        body,
        "the page was encoded differently"
    );
    let again = Page::open(&again, &VAULT, &journal.key, &PLACE);
    assert_eq!(again, Ok(page), "the page changed in a round trip");
    let other = PageId {
        sequence: PLACE.sequence + 1,
        ..PLACE
    };
    let elsewhere = Page::open(&value, &VAULT, &journal.key, &other);
    assert_eq!(elsewhere, Err(Error::NotAuthentic));
}

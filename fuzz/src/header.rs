//! Headers: raw bytes, hostile slots before an honest keyring, and keyring bodies behind an honest
//! seal, where the decoder is.

use chartlock::Error;
use chartlock::internals::keys::Header;

use super::fixed::{
    Fixed, choice, frame, header_value, keyring_body, plain_keyring_body, root, slot, suite,
};

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    match what >> 1 & 3 {
        0 => raw(data),
        1 => slots(what, data),
        _ => body(what, data),
    }
}

fn raw(value: &[u8]) {
    let Ok(header) = Header::parse(value) else {
        return;
    };
    // Nobody knows the root key, so nothing opens; two slots may share a kind.
    for slot in header.slots() {
        header.unlock(&Fixed(slot.kind)).unwrap_err();
        header.unlock_journal(&Fixed(slot.kind)).unwrap_err();
    }
    let opened = header.open_keyring(&root());
    assert_eq!(opened.unwrap_err(), Error::RootKeyChanged);
}

fn slots(what: u8, data: &[u8]) {
    let Some((count, slots)) = choice(data) else {
        return;
    };
    let suite = suite(what);
    let value = header_value(suite, &frame(suite, count, slots), &plain_keyring_body());
    let Ok(header) = Header::parse(&value) else {
        return;
    };
    // The bytes of slots are parsed and written back as they were, or the commitment shows it.
    let keyring = header.open_keyring(&root()).unwrap();
    let next = header.sealed_with(&root(), &keyring, 2).unwrap();
    assert_eq!(next[36..36 + slots.len()], *slots);
}

fn body(what: u8, body: &[u8]) {
    let suite = suite(what);
    let value = header_value(suite, &frame(suite, 1, &slot()), body);
    let Ok(header) = Header::parse(&value) else {
        return;
    };
    match header.open_keyring(&root()) {
        Ok(keyring) => {
            let again = header.sealed_with(&root(), &keyring, 1).unwrap();
            assert_eq!(keyring_body(suite, &again), body, "one body, one encoding");
        }
        Err(error) => assert!(matches!(error, Error::Malformed | Error::Unsupported)),
    }
}

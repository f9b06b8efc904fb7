//! Fuzz target for patient entries. The input is raw bytes, or a body that the target seals, so
//! that the body reaches the decoder.

use chartlock::internals::crypto::{CipherSuite, PatientTag, entry_key, patient_tag};
use chartlock::internals::keys::{EntryHead, Keyring, open_entry, seal_entry};
use chartlock::{Error, Subject};

use super::fixed::{choice, keyring, open, seal, suite};

const VAULT: [u8; 16] = [5; 16];

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

fn tag(keyring: &Keyring) -> PatientTag {
    let subject = Subject::patient("MRN-1042").unwrap();
    let key = &keyring.active_name_key().key;
    patient_tag(key, subject.kind(), subject.identifier()).unwrap()
}

fn raw(value: &[u8], keyring: &Keyring) {
    let head = EntryHead::parse(value);
    let opened = open_entry(value, keyring, &VAULT, &tag(keyring));
    let error = opened.unwrap_err();
    if let Err(refused) = head {
        assert_eq!(error, refused);
    }
}

fn body(suite: CipherSuite, body: &[u8], keyring: &Keyring) {
    let tag = tag(keyring);
    let master = keyring.active_master();
    let mut head = [1, suite.code(), 16, 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&master.number.to_le_bytes());
    let salt = [9; 32];
    let (sealing, commitment) = entry_key(suite, &master.key, &salt, &VAULT, &tag, &head).unwrap();
    let value = [&head[..], &salt, &commitment, &seal(&sealing, body)].concat();
    let mut entry = match open_entry(&value, keyring, &VAULT, &tag) {
        Ok(entry) => entry,
        Err(error) => {
            let named = [Error::Malformed, Error::Unsupported, Error::NotAuthentic];
            assert!(named.contains(&error), "{error:?}");
            return;
        }
    };
    let (sequence, generation) = (entry.sequence(), entry.generation());
    let Ok(again) = seal_entry(suite, master, &VAULT, &tag, generation, &mut entry) else {
        assert_eq!(
            sequence,
            u64::MAX,
            "sealing may fail only if the sequence overflows"
        );
        return;
    };
    let salt = again[8..40].try_into().unwrap();
    let (sealing, _) = entry_key(suite, &master.key, salt, &VAULT, &tag, &head).unwrap();
    let mut expected = body.to_vec();
    expected[2..10].copy_from_slice(&(sequence + 1).to_le_bytes());
    assert_eq!(
        open(&sealing, &again[72..]),
        expected,
        "the entry body was encoded differently"
    );
}

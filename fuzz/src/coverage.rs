//! Fuzz target for the covered chain heads: raw bytes, and arbitrary bodies under a valid seal, to reach
//! the decoder.

use chartlock::Error;
use chartlock::internals::crypto::coverage_key;
use chartlock::internals::journal::{Coverage, PageId, Sealer};
use chartlock::internals::vault::sealer;

use super::fixed::{choice, keyring, open, seal, suite};

const VAULT: [u8; 16] = [5; 16];

pub fn run(data: &[u8]) {
    let Some((what, data)) = choice(data) else {
        return;
    };
    let sealer = sealer(suite(what), &VAULT, &keyring());
    match what >> 1 & 1 {
        0 => drop(Coverage::open(data, &sealer).unwrap_err()),
        _ => body(&sealer, data),
    }
}

fn body(sealer: &Sealer, body: &[u8]) {
    let authority = sealer.authority.as_ref().unwrap();
    let mut head = [1, sealer.suite.code(), 24, 0, 0, 0, 0, 0];
    head[4..].copy_from_slice(&authority.number.to_le_bytes());
    let derive =
        |salt: &[u8; 32]| coverage_key(sealer.suite, &authority.key, salt, &VAULT, &head).unwrap();
    let salt = [9; 32];
    let (sealing, commitment) = derive(&salt);
    let value = [&head[..], &salt, &commitment, &seal(&sealing, body)].concat();
    let coverage = match Coverage::open(&value, sealer) {
        Ok(coverage) => coverage,
        Err(error) => {
            assert!(
                matches!(error, Error::Malformed | Error::Unsupported),
                "{error:?}"
            );
            return;
        }
    };
    let again = coverage.seal(sealer).unwrap();
    let (sealing, _) = derive(again[8..40].try_into().unwrap());
    assert_eq!(
        open(&sealing, &again[72..]),
        body,
        "the object was encoded differently"
    );
    assert_eq!(Coverage::open(&again, sealer), Ok(coverage.clone()));
    let heads: Vec<PageId> = coverage.covered.listed().collect();
    assert!(coverage.uncovered(&heads, None).len() <= heads.len());
}

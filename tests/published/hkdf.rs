//! Published vectors of HKDF with SHA-256. Only Expand runs, on the pseudorandom keys of the
//! vectors.

use chartlock::Error;
use chartlock::internals::crypto::provider::active::expand;
use hkdf::Hkdf;
use sha2::Sha256;

use crate::records::{file, from_json, from_lines};

/// Derives a key with the info in one part and in two parts, and asserts that the results are
/// equal.
fn derived(prk: &[u8; 32], info: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let mut whole = vec![0; length];
    expand(prk, &[info], &mut whole)?;
    let (first, second) = info.split_at(info.len() / 3);
    let mut parts = vec![1; length];
    expand(prk, &[first, second], &mut parts)?;
    assert!(parts == whole);
    Ok(whole)
}

#[test]
fn hkdf_passes_rfc_5869_vectors() {
    let records = from_lines(&file("rfc/hkdf_rfc5869.txt"), "COUNT");
    assert_eq!(records.len(), 3);
    for record in records {
        let okm = derived(
            &record.array("PRK"),
            &record.bytes("info"),
            record.number("L"),
        );
        assert_eq!(okm, Ok(record.bytes("OKM")));
    }
}

#[test]
fn hkdf_passes_wycheproof_vectors() {
    let (mut equal, mut refused) = (0, 0);
    for record in from_json(&file("wycheproof/hkdf_sha256.json")) {
        // Compute the pseudorandom key with the `hkdf` crate, because this crate does not use
        // Extract.
        let salt = record.bytes("salt");
        let (prk, _) = Hkdf::<Sha256>::extract(Some(&salt), &record.bytes("ikm"));
        let okm = derived(&prk.into(), &record.bytes("info"), record.number("size"));
        match record.text("result") {
            "valid" => {
                assert_eq!(okm, Ok(record.bytes("okm")), "{}", record.text("tcId"));
                equal += 1;
            }
            _ => {
                assert_eq!(okm, Err(Error::Malformed), "{}", record.text("tcId"));
                refused += 1;
            }
        }
    }
    assert_eq!((equal, refused), (83, 3));
}

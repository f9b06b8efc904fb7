//! Published vectors of Argon2id, and vectors that were generated with the reference
//! implementation.
//!
//! The published vectors cannot run on this crate, because their salts are shorter than this
//! crate's salts. The vector of RFC 9106 also has a secret, associated data and a cost below the
//! minimum. Therefore, the tests run the published vectors on the `argon2` crate, which this crate
//! calls. The generated vectors run on this crate.

use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use chartlock::internals::crypto;
use chartlock::keys::Cost;

use crate::records::{Record, file, from_lines};

fn by_the_crate(record: &Record) -> Vec<u8> {
    let secret = match record.has("secret") {
        true => record.bytes("secret"),
        false => Vec::new(),
    };
    let mut params = ParamsBuilder::new();
    params
        .m_cost(record.number("memcost") as u32)
        .t_cost(record.number("iter") as u32)
        .p_cost(record.number("lanes") as u32)
        .output_len(record.number("length"));
    if record.has("ad") {
        params.data(AssociatedData::new(&record.bytes("ad")).unwrap());
    }
    let params = params.build().unwrap();
    let argon2 =
        Argon2::new_with_secret(&secret, Algorithm::Argon2id, Version::V0x13, params).unwrap();
    let mut out = vec![0; record.number("length")];
    argon2
        .hash_password_into(&record.bytes("pass"), &record.bytes("salt"), &mut out)
        .unwrap();
    out
}

#[test]
fn argon2_crate_passes_published_vectors() {
    let records = from_lines(&file("rfc/argon2id_rfc9106.txt"), "COUNT");
    assert_eq!(records.len(), 6);
    for record in records {
        let count = record.text("COUNT");
        assert_eq!(by_the_crate(&record), record.bytes("output"), "{count}");
    }
}

#[test]
fn argon2id_matches_reference_implementation() {
    let records = from_lines(&file("argon2id_reference.txt"), "COUNT");
    assert_eq!(records.len(), 5);
    for record in records {
        let cost = Cost {
            memory_kib: record.number("memcost") as u32,
            passes: record.number("iter") as u32,
            lanes: record.number("lanes") as u32,
        };
        let mut out = [0; 32];
        let salt = record.array("salt");
        crypto::argon2id(&record.bytes("pass"), &salt, cost, &mut out).unwrap();
        assert_eq!(out, record.array("output"), "{}", record.text("COUNT"));
    }
}

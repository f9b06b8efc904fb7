//! Published vectors of AES-256-GCM and ChaCha20-Poly1305.
//!
//! Some vectors have associated data, which this crate never uses. For such a vector, sealing must
//! yield the published ciphertext, but opening without the associated data must fail.

use chartlock::internals::crypto::provider::active::Cipher;
use chartlock::{CipherSuite, Error};

use crate::records::{Record, file, from_json, from_lines};

struct Vector {
    name: String,
    key: [u8; 32],
    nonce: [u8; 12],
    associated: Vec<u8>,
    /// Plaintext; `None` if the vector must be refused and no plaintext was published.
    plaintext: Option<Vec<u8>>,
    ciphertext: Vec<u8>,
    tag: [u8; 16],
    valid: bool,
}

impl Vector {
    fn of_nist(record: &Record) -> Self {
        Self {
            name: record.text("Count").into(),
            key: record.array("Key"),
            nonce: record.array("IV"),
            associated: record.bytes("AAD"),
            plaintext: record.has("PT").then(|| record.bytes("PT")),
            ciphertext: record.bytes("CT"),
            tag: record.array("Tag"),
            valid: !record.has("FAIL"),
        }
    }

    fn of_wycheproof(record: &Record) -> Self {
        let valid = record.text("result") == "valid";
        Self {
            name: record.text("tcId").into(),
            key: record.array("key"),
            nonce: record.array("iv"),
            associated: record.bytes("aad"),
            plaintext: valid.then(|| record.bytes("msg")),
            ciphertext: record.bytes("ct"),
            tag: record.array("tag"),
            valid,
        }
    }
}

/// Numbers of vectors by check: sealed and opened, refused, or compared by ciphertext alone.
#[derive(Debug, Default, PartialEq, Eq)]
struct Ran {
    whole: usize,
    refused: usize,
    ciphertext: usize,
}

fn run(suite: CipherSuite, vectors: &[Vector]) -> Ran {
    let mut ran = Ran::default();
    for vector in vectors {
        let cipher = Cipher::new(suite, &vector.key).unwrap();
        match (vector.valid, vector.associated.is_empty()) {
            (true, true) => {
                seals(&cipher, vector);
                opens(&cipher, vector);
                ran.whole += 1;
            }
            (true, false) => {
                let plaintext = vector.plaintext.as_ref().unwrap();
                let mut sealed = plaintext.clone();
                let tag = cipher.seal(&vector.nonce, &mut sealed).unwrap();
                assert!(sealed == vector.ciphertext, "{}", vector.name);
                assert_ne!(tag, vector.tag, "{}", vector.name);
                refuses(&cipher, vector);
                ran.ciphertext += 1;
            }
            (false, _) => {
                refuses(&cipher, vector);
                ran.refused += 1;
            }
        }
    }
    ran
}

fn seals(cipher: &Cipher, vector: &Vector) {
    let mut sealed = vector.plaintext.clone().unwrap();
    let tag = cipher.seal(&vector.nonce, &mut sealed).unwrap();
    assert!(sealed == vector.ciphertext, "{}", vector.name);
    assert_eq!(tag, vector.tag, "{}", vector.name);
}

fn opens(cipher: &Cipher, vector: &Vector) {
    let plaintext = vector.plaintext.as_ref().unwrap();
    let mut buffer = vector.ciphertext.clone();
    let mut out = vec![0; buffer.len()];
    cipher
        .open_to(&vector.nonce, &buffer, &vector.tag, &mut out)
        .unwrap();
    assert!(out == *plaintext, "{}", vector.name);
    cipher
        .open(&vector.nonce, &mut buffer, &vector.tag)
        .unwrap();
    assert!(buffer == *plaintext, "{}", vector.name);
}

fn refuses(cipher: &Cipher, vector: &Vector) {
    let mut buffer = vector.ciphertext.clone();
    let mut out = vec![0; buffer.len()];
    let opened = cipher.open_to(&vector.nonce, &buffer, &vector.tag, &mut out);
    assert_eq!(opened, Err(Error::NotAuthentic), "{}", vector.name);
    assert!(out.iter().all(|byte| *byte == 0), "{}", vector.name);
    let opened = cipher.open(&vector.nonce, &mut buffer, &vector.tag);
    assert_eq!(opened, Err(Error::NotAuthentic), "{}", vector.name);
}

fn nist(path: &str) -> Vec<Vector> {
    let records = from_lines(&file(path), "Count");
    records.iter().map(Vector::of_nist).collect()
}

fn wycheproof(path: &str) -> Vec<Vector> {
    let records = from_json(&file(path));
    records.iter().map(Vector::of_wycheproof).collect()
}

#[test]
fn aes_256_gcm_passes_nist_encryption_vectors() {
    let ran = run(CipherSuite::Aes256Gcm, &nist("nist/gcmEncryptExtIV256.rsp"));
    let expected = Ran {
        whole: 75,
        refused: 0,
        ciphertext: 75,
    };
    assert_eq!(ran, expected);
}

#[test]
fn aes_256_gcm_passes_nist_decryption_vectors() {
    let ran = run(CipherSuite::Aes256Gcm, &nist("nist/gcmDecrypt256.rsp"));
    let expected = Ran {
        whole: 42,
        refused: 69,
        ciphertext: 39,
    };
    assert_eq!(ran, expected);
}

#[test]
fn aes_256_gcm_passes_wycheproof_vectors() {
    let ran = run(
        CipherSuite::Aes256Gcm,
        &wycheproof("wycheproof/aes_gcm.json"),
    );
    let expected = Ran {
        whole: 21,
        refused: 27,
        ciphertext: 18,
    };
    assert_eq!(ran, expected);
}

#[test]
fn chacha20_poly1305_passes_rfc_8439_vectors() {
    let vectors = nist("rfc/chacha20_poly1305_rfc8439.txt");
    let ran = run(CipherSuite::ChaCha20Poly1305, &vectors);
    let expected = Ran {
        whole: 0,
        refused: 0,
        ciphertext: 2,
    };
    assert_eq!(ran, expected);
}

#[test]
fn chacha20_poly1305_passes_wycheproof_vectors() {
    let vectors = wycheproof("wycheproof/chacha20_poly1305.json");
    let ran = run(CipherSuite::ChaCha20Poly1305, &vectors);
    let expected = Ran {
        whole: 45,
        refused: 60,
        ciphertext: 211,
    };
    assert_eq!(ran, expected);
}

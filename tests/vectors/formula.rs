//! Second implementation of the primitives and derivations of format.md. The module calls
//! the cipher crates directly, and uses no code of chartlock.

use aes_gcm::aead::{Aead, KeyInit};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

pub type Key = [u8; 32];

pub fn sha256(parts: &[&[u8]]) -> Key {
    Sha256::digest(parts.concat()).into()
}

/// Derives `L` bytes from a key: X(K, info, L) of format.md.
fn x<const L: usize>(key: &Key, info: &[&[u8]]) -> [u8; L] {
    let mut out = [0; L];
    let hkdf = Hkdf::<Sha256>::from_prk(key).unwrap();
    hkdf.expand_multi_info(info, &mut out).unwrap();
    out
}

/// Derives 64 bytes, and splits the output into two values of 32 bytes.
fn both(key: &Key, info: &[&[u8]]) -> (Key, Key) {
    let both = x::<64>(key, info);
    (
        both[..32].try_into().unwrap(),
        both[32..].try_into().unwrap(),
    )
}

fn nonce(chunk: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[4..].copy_from_slice(&chunk.to_be_bytes());
    nonce
}

/// Seals a value under a chunk number: Seal(suite, key, n, m) of format.md. Only the chunks of a
/// content stream have numbers other than 0.
pub fn seal(suite: u8, key: &Key, chunk: u64, plain: &[u8]) -> Vec<u8> {
    let nonce = nonce(chunk);
    let nonce = (&nonce).into();
    match suite {
        1 => aes_gcm::Aes256Gcm::new(key.into()).encrypt(nonce, plain),
        _ => chacha20poly1305::ChaCha20Poly1305::new(key.into()).encrypt(nonce, plain),
    }
    .unwrap()
}

/// Opens a value under a chunk number: Open(suite, key, n, c) of format.md.
pub fn open(suite: u8, key: &Key, chunk: u64, sealed: &[u8]) -> Vec<u8> {
    try_open(suite, key, chunk, sealed).unwrap()
}

/// Opens a value that may have been altered; returns `None` if the tag does not match.
pub fn try_open(suite: u8, key: &Key, chunk: u64, sealed: &[u8]) -> Option<Vec<u8>> {
    let nonce = nonce(chunk);
    let nonce = (&nonce).into();
    match suite {
        1 => aes_gcm::Aes256Gcm::new(key.into()).decrypt(nonce, sealed),
        2 => chacha20poly1305::ChaCha20Poly1305::new(key.into()).decrypt(nonce, sealed),
        _ => panic!("unknown cipher suite"),
    }
    .ok()
}

pub fn argon2id(passphrase: &[u8], salt: &[u8], m: u32, t: u32, p: u32) -> Key {
    let params = argon2::Params::new(m, t, p, Some(32)).unwrap();
    let argon2 = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut out = [0; 32];
    argon2
        .hash_password_into(passphrase, salt, &mut out)
        .unwrap();
    out
}

fn tag16(key: &Key, info: &[&[u8]]) -> [u8; 16] {
    x::<32>(key, info)[..16].try_into().unwrap()
}

pub fn ptag(name_key: &Key, kind: u8, identifier: &str) -> [u8; 16] {
    let length = (identifier.len() as u64).to_le_bytes();
    tag16(
        name_key,
        &[b"cl1/ptag", &[kind], &length, identifier.as_bytes()],
    )
}

pub fn rtag(patient_name_key: &Key, name: &str) -> [u8; 16] {
    let length = (name.len() as u64).to_le_bytes();
    tag16(patient_name_key, &[b"cl1/rtag", &length, name.as_bytes()])
}

pub fn jsub(journal_key: &Key, kind: u8, identifier: &str) -> [u8; 16] {
    let length = (identifier.len() as u64).to_le_bytes();
    tag16(
        journal_key,
        &[b"cl1/jsub", &[kind], &length, identifier.as_bytes()],
    )
}

pub fn jnam(journal_key: &Key, name: &str) -> [u8; 16] {
    let length = (name.len() as u64).to_le_bytes();
    tag16(journal_key, &[b"cl1/jnam", &length, name.as_bytes()])
}

/// Derives the salt of a header, a patient entry or a journal page.
pub fn salt(sealing_key: &Key, random: &Key, at: &[u8], version: u64, body: &[u8]) -> Key {
    let sealed = sha256(&[at, &version.to_le_bytes(), body]);
    x(sealing_key, &[b"cl1/hedg", random, &sealed])
}

pub struct SlotInfo<'a> {
    pub suite: u8,
    pub vault: &'a [u8; 16],
    pub kind: u16,
    pub id: u16,
    pub salt: &'a [u8],
    pub parameters: &'a [u8],
}

pub fn slot_key(secret: &Key, slot: &SlotInfo<'_>) -> (Key, Key) {
    both(
        secret,
        &[
            b"cl1/slot",
            slot.vault,
            &slot.kind.to_le_bytes(),
            &slot.id.to_le_bytes(),
            &[slot.suite, 0, 0, 0],
            slot.salt,
            &sha256(&[slot.parameters]),
        ],
    )
}

pub fn secret_of_factors(first: &Key, second: &Key) -> Key {
    x(first, &[b"cl1/both", second])
}

pub fn ring_key(root: &Key, salt: &[u8], frame: &[u8]) -> (Key, Key) {
    both(root, &[b"cl1/ring", salt, &sha256(&[frame])])
}

pub fn entry_key(
    master: &Key,
    salt: &[u8],
    vault: &[u8; 16],
    ptag: &[u8; 16],
    head: &[u8],
) -> (Key, Key) {
    both(master, &[b"cl1/pent", salt, vault, ptag, head])
}

/// Derives the key of a journal page whose first 8 bytes are `head`.
pub fn page_key(
    journal_key: &Key,
    salt: &[u8],
    vault: &[u8; 16],
    (writer, sequence): (&[u8; 16], u64),
    (head, filter): (&[u8], &[u8]),
) -> (Key, Key) {
    let sequence = sequence.to_le_bytes();
    let filter = sha256(&[filter]);
    both(
        journal_key,
        &[b"cl1/jrnl", salt, vault, writer, &sequence, head, &filter],
    )
}

/// Derives the value of a subject in the filter of a journal page.
pub fn filter_value(journal_key: &Key, salt: &[u8], jsub: &[u8; 16]) -> u16 {
    // The first bytes of a longer output of HKDF-Expand are those of a shorter one.
    let [first, second, ..]: Key = x(journal_key, &[b"cl1/jflt", salt, jsub]);
    u16::from_le_bytes([first, second])
}

/// Derives the key that wraps a former journal key under its successor.
pub fn former_key(
    successor: &Key,
    vault: &[u8; 16],
    (successor_number, number): (u32, u32),
) -> Key {
    let (successor_number, number) = (successor_number.to_le_bytes(), number.to_le_bytes());
    x(successor, &[b"cl1/jfmr", vault, &successor_number, &number])
}

/// Derives the key of the covered chain heads, whose first 8 bytes are `head`.
pub fn coverage_key(authority_key: &Key, salt: &[u8], vault: &[u8; 16], head: &[u8]) -> (Key, Key) {
    both(authority_key, &[b"cl1/cvrg", salt, vault, head])
}

/// Derives the tag that proves that a vault wrote a journal page.
pub fn authority_tag(
    authority_key: &Key,
    vault: &[u8; 16],
    (writer, sequence): (&[u8; 16], u64),
    digest: &Key,
) -> Key {
    let sequence = sequence.to_le_bytes();
    x(
        authority_key,
        &[b"cl1/auth", vault, writer, &sequence, digest],
    )
}

/// Derives the key of a record value whose first 16 bytes are `head`.
pub fn body_key(data_key: &Key, chart: &[u8; 16], rtag: &[u8; 16], head: &[u8]) -> (Key, Key) {
    let last = [head[0], head[1], head[2], 0];
    both(data_key, &[b"cl1/body", chart, rtag, &head[8..16], &last])
}

pub fn wrap_key(patient_key: &Key, place: u8, number: u32, commitment: &Key) -> Key {
    let number = number.to_le_bytes();
    x(
        patient_key,
        &[b"cl1/wrap", &[place, 0, 0, 0], &number, commitment],
    )
}

/// Derives the key of the content stream of a record value that begins with `head`.
pub fn chunk_key(stream_key: &Key, chart: &[u8; 16], stream: &[u8; 16], head: &[u8]) -> Key {
    x(
        stream_key,
        &[b"cl1/strm", chart, stream, &[head[0], head[1], 0, 0]],
    )
}

/// Returns the padded length: Padmé(L) of format.md.
pub fn padme(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let e = length.ilog2();
    let s = e.checked_ilog2().map_or(1, |log| log + 1);
    length.next_multiple_of(1 << e.saturating_sub(s))
}

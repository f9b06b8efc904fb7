//! Second reader of sealed bodies, written from format.md. The module defines
//! its own types and offsets, and uses only the ciphers and key derivations of this crate.

use chartlock::internals::crypto::{
    CipherSuite, MasterKey, Nonce, PatientTag, RootKey, SealingKey, VaultId, entry_key, ring_key,
};
use wincode::{SchemaRead, SchemaWrite};

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Keyring {
    pub schema: u16,
    /// Number of the rings.
    pub rings: u64,
    /// Roles 1 to 4, each before its ring.
    pub master_role: u16,
    pub masters: Vec<Key>,
    pub name_role: u16,
    pub name_keys: Vec<Key>,
    pub journal_role: u16,
    pub journal_keys: Vec<Key>,
    pub authority_role: u16,
    pub authority_keys: Vec<Key>,
    pub closings: Vec<Closing>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub enum Closing {
    Open,
    Closed { heads: Vec<Head> },
    Later,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, Copy, PartialEq)]
pub struct Head {
    pub writer: [u8; 16],
    pub sequence: u64,
    pub digest: [u8; 32],
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Key {
    pub number: u32,
    pub state: u32,
    pub created: i64,
    pub key: [u8; 32],
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Entry {
    pub schema: u16,
    pub sequence: u64,
    pub generation: u64,
    pub state: State,
    pub kind: u8,
    pub identifier: String,
    pub charts: Vec<Chart>,
    pub moving_from: u8,
    pub dead_charts: Vec<[u8; 16]>,
    pub holds: Vec<Hold>,
    pub retention: Option<i64>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub enum State {
    Live,
    Erasing { chart: [u8; 16] },
    Erased,
    Alias { kind: u8, identifier: String },
    Later,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Chart {
    pub id: [u8; 16],
    pub name_key: [u8; 32],
    pub state: u32,
    pub created: i64,
    pub keys: Vec<PatientKey>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct PatientKey {
    pub number: u32,
    pub compartment: u16,
    pub state: u32,
    pub created: i64,
    pub key: [u8; 32],
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Hold {
    pub id: u64,
    pub since: i64,
    pub reason: String,
}

/// Splits a header at the end of the last slot.
pub fn split_header(value: &[u8]) -> (&[u8], &[u8]) {
    let mut end = 36;
    for _ in 0..value[11] {
        let length = u32::from_le_bytes(value[end + 4..end + 8].try_into().unwrap());
        end += 8 + length as usize;
    }
    // The former journal keys: the active number, a count, and numbers with wrapped keys.
    let former = u16::from_le_bytes(value[end + 4..end + 6].try_into().unwrap());
    end += 6 + 52 * usize::from(former);
    value.split_at(end)
}

/// Returns the keyring body that was sealed into a header.
pub fn keyring_body(value: &[u8], root: &RootKey) -> Vec<u8> {
    let suite = CipherSuite::from_code(value[10]).unwrap();
    let (frame, ring) = split_header(value);
    let (salt, rest) = ring.split_first_chunk::<32>().unwrap();
    let (commitment, rest) = rest.split_first_chunk::<32>().unwrap();
    let (sealing, derived) = ring_key(suite, root, salt, frame).unwrap();
    assert_eq!(&derived, commitment);
    let length = u32::from_le_bytes(rest[..4].try_into().unwrap());
    assert_eq!(rest.len(), 4 + length as usize + 16);
    open(&sealing, &rest[4..])
}

/// Returns the body that was sealed into a patient entry.
pub fn entry_body(value: &[u8], master: &MasterKey, vault: &VaultId, tag: &PatientTag) -> Vec<u8> {
    let suite = CipherSuite::from_code(value[1]).unwrap();
    let head = value.first_chunk().unwrap();
    let salt = value[8..40].try_into().unwrap();
    let (sealing, commitment) = entry_key(suite, master, salt, vault, tag, head).unwrap();
    assert_eq!(value[40..72], commitment);
    open(&sealing, &value[72..])
}

fn open(sealing: &SealingKey, sealed: &[u8]) -> Vec<u8> {
    let (body, tag) = sealed.split_last_chunk::<16>().unwrap();
    let mut body = body.to_vec();
    sealing.open(Nonce::ZERO, &mut body, tag).unwrap();
    body
}

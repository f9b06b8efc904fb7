//! Second writer of headers and patient entries, written from format.md. It replaces the sealed
//! body and keeps all other bytes.

use chartlock::internals::crypto::{
    CipherSuite, MasterKey, Nonce, PatientTag, RootKey, SealingKey, VaultId, entry_key, ring_key,
};

use crate::mirror::split_header;

/// Returns a copy of a header with this keyring body.
pub fn with_keyring_body(value: &[u8], root: &RootKey, body: &[u8]) -> Vec<u8> {
    let suite = CipherSuite::from_code(value[10]).unwrap();
    let (frame, _) = split_header(value);
    let salt = [9; 32];
    let (sealing, commitment) = ring_key(suite, root, &salt, frame).unwrap();
    let length = (body.len() as u32).to_le_bytes();
    let sealed = seal(&sealing, body);
    [frame, &salt, &commitment, &length, &sealed].concat()
}

/// Returns a copy of a patient entry with this body.
pub fn with_entry_body(
    value: &[u8],
    master: &MasterKey,
    vault: &VaultId,
    tag: &PatientTag,
    body: &[u8],
) -> Vec<u8> {
    let suite = CipherSuite::from_code(value[1]).unwrap();
    let head: &[u8; 8] = value.first_chunk().unwrap();
    let salt = [9; 32];
    let (sealing, commitment) = entry_key(suite, master, &salt, vault, tag, head).unwrap();
    let sealed = seal(&sealing, body);
    [head.as_slice(), &salt, &commitment, &sealed].concat()
}

fn seal(sealing: &SealingKey, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let tag = sealing.seal(Nonce::ZERO, &mut body).unwrap();
    [body.as_slice(), &tag].concat()
}

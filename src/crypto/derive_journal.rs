//! Key derivations of the journal: pages, covered chain heads, former journal keys and tags.

use crate::crypto::aead::{CipherSuite, SealingKey};
use crate::crypto::derive::{
    Commitment, NameTag, Salt, SubjectTag, VaultId, key_and_commitment, sealing_key, tag16,
};
use crate::crypto::key::{AuthorityKey, JournalKey};
use crate::crypto::reused_key::Expand;
use crate::error::Result;
use crate::id::SubjectKind;

/// Derives the key that seals a journal page, and its commitment: page key ‖ commitment = X(journal
/// key, "cl1/jrnl" ‖ salt ‖ vault id ‖ writer16 ‖ sequence u64 ‖ the page's bytes 0..8 ‖
/// SHA-256(filter), 64).
///
/// # Errors
/// None in practice.
pub fn page_key(
    suite: CipherSuite,
    key: &JournalKey,
    salt: &Salt,
    vault: &VaultId,
    (writer, sequence): (&[u8; 16], u64),
    (head, filter): (&[u8; 8], &[u8]),
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(
        suite,
        key,
        &[
            b"cl1/jrnl",
            salt,
            vault,
            writer,
            &sequence.to_le_bytes(),
            head,
            &crate::crypto::sha256(&[filter]),
        ],
    )
}

/// Derives the value of a subject in the filter of a journal page: value = X(journal key, "cl1/jflt" ‖
/// salt ‖ jsub16, 2), as u16 little-endian.
///
/// The salt is that of the page, so that two pages do not show which subjects they share.
///
/// # Errors
/// None in practice.
pub fn filter_value(key: &JournalKey, salt: &Salt, subject: &SubjectTag) -> Result<u16> {
    let mut value = [0; 2];
    key.expand(&[b"cl1/jflt", salt, subject], &mut value)?;
    Ok(u16::from_le_bytes(value))
}

/// Derives further values for the filter of a journal page, so that its length does not show the number
/// of subjects: 16 values = X(journal key, "cl1/jpad" ‖ salt ‖ block u32, 32), each u16 little-endian.
///
/// # Errors
/// None in practice.
pub fn filter_padding(key: &JournalKey, salt: &Salt, block: u32) -> Result<[u16; 16]> {
    let mut values = [[0; 2]; 16];
    let block = block.to_le_bytes();
    key.expand(&[b"cl1/jpad", salt, &block], values.as_flattened_mut())?;
    Ok(values.map(u16::from_le_bytes))
}

/// Derives the key that seals the object of covered chain heads, and its commitment: coverage key ‖
/// commitment = X(authority key, "cl1/cvrg" ‖ salt ‖ vault id ‖ the object's bytes 0..8, 64).
///
/// # Errors
/// None in practice.
pub fn coverage_key(
    suite: CipherSuite,
    key: &AuthorityKey,
    salt: &Salt,
    vault: &VaultId,
    head: &[u8; 8],
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(suite, key, &[b"cl1/cvrg", salt, vault, head])
}

/// Derives the key that seals a cursor of a report, and its commitment: cursor key ‖ commitment =
/// X(journal key, "cl1/jcur" ‖ salt ‖ vault id ‖ the cursor's bytes 0..8, 64).
///
/// # Errors
/// None in practice.
pub fn cursor_key(
    suite: CipherSuite,
    key: &JournalKey,
    salt: &Salt,
    vault: &VaultId,
    head: &[u8; 8],
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(suite, key, &[b"cl1/jcur", salt, vault, head])
}

/// Derives the authority tag of a journal page: tag = X(authority key, "cl1/auth" ‖ vault id ‖
/// writer16 ‖ sequence u64 ‖ digest, 32). `digest` is SHA-256 of the bytes before the ciphertext and
/// of the body up to the tag.
///
/// # Errors
/// None in practice.
pub fn authority_tag(
    key: &AuthorityKey,
    vault: &VaultId,
    (writer, sequence): (&[u8; 16], u64),
    digest: &[u8; 32],
) -> Result<[u8; 32]> {
    let mut tag = [0; 32];
    let sequence = sequence.to_le_bytes();
    key.expand(&[b"cl1/auth", vault, writer, &sequence, digest], &mut tag)?;
    Ok(tag)
}

/// Derives the key that wraps a former journal key: former key = X(the successor's journal key,
/// "cl1/jfmr" ‖ vault id ‖ number of the successor u32 ‖ number of the former key u32, 32).
///
/// The numbers identify both keys, so each such key wraps one journal key only, and sealing under
/// nonce zero is safe.
///
/// # Errors
/// None in practice.
pub fn former_key(
    suite: CipherSuite,
    successor: &JournalKey,
    vault: &VaultId,
    (successor_number, number): (u32, u32),
) -> Result<SealingKey> {
    sealing_key(
        suite,
        successor,
        &[
            b"cl1/jfmr",
            vault,
            &successor_number.to_le_bytes(),
            &number.to_le_bytes(),
        ],
    )
}

/// Derives the tag of a subject in the journal: jsub = X(first journal key, "cl1/jsub" ‖ subject kind ‖
/// length u64 ‖ identifier, 32)\[..16\].
///
/// # Errors
/// None in practice.
pub fn subject_tag(key: &JournalKey, kind: SubjectKind, identifier: &str) -> Result<SubjectTag> {
    let length = (identifier.len() as u64).to_le_bytes();
    tag16(
        key,
        &[b"cl1/jsub", &[kind.code()], &length, identifier.as_bytes()],
    )
}

/// Derives the tag of a record name in the journal: jnam = X(first journal key, "cl1/jnam" ‖ length u64 ‖
/// record name, 32)\[..16\].
///
/// # Errors
/// None in practice.
pub fn name_tag(key: &JournalKey, name: &str) -> Result<NameTag> {
    let length = (name.len() as u64).to_le_bytes();
    tag16(key, &[b"cl1/jnam", &length, name.as_bytes()])
}

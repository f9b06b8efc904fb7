//! Key derivation with HKDF: one function for each derivation, documented by its formula.
//!
//! `X(K, info, L)` is HKDF-Expand-SHA-256 with `L` output bytes. Input keys are uniformly random,
//! so HKDF-Extract is omitted (RFC 5869, section 3.3).
//!
//! Each info begins with an 8-byte label that no other derivation uses. Fields have fixed widths; a
//! variable-length field is preceded by its length as u64. Different inputs therefore never encode
//! to the same info.

use zeroize::Zeroizing;

use crate::crypto::aead::{CipherSuite, SealingKey};
use crate::crypto::digest::Digest;
use crate::crypto::key::*;
use crate::crypto::reused_key::Expand;
use crate::error::Result;
use crate::id::SubjectKind;

/// A commitment to a key and its context, stored beside the sealed bytes.
pub type Commitment = [u8; 32];
/// A salt, fresh for each sealing under a long-lived key.
pub type Salt = [u8; 32];
/// The random id of a vault.
pub type VaultId = [u8; 16];
/// The tag of a subject: a hash of kind and identifier, keyed with the keyring's name key.
pub type PatientTag = [u8; 16];
/// The random id of a chart.
pub type ChartId = [u8; 16];
/// The tag of a record name: a hash keyed with the chart's name key.
pub type RecordTag = [u8; 16];
/// The random id of one content stream.
pub type StreamId = [u8; 16];
/// The tag of a subject in the journal: a hash of kind and identifier, keyed with the journal key.
pub type SubjectTag = [u8; 16];
/// The tag of a record name in the journal: a hash keyed with the journal key.
pub type NameTag = [u8; 16];

pub(super) fn sealing_key(
    suite: CipherSuite,
    key: &impl Expand,
    info: &[&[u8]],
) -> Result<SealingKey> {
    let mut derived = Zeroizing::new([0; 32]);
    key.expand(info, &mut *derived)?;
    SealingKey::new(suite, &derived)
}

pub(super) fn key_and_commitment(
    suite: CipherSuite,
    key: &impl Expand,
    info: &[&[u8]],
) -> Result<(SealingKey, Commitment)> {
    let mut both = Zeroizing::new([[0; 32]; 2]);
    key.expand(info, both.as_flattened_mut())?;
    let [derived, commitment] = &*both;
    Ok((SealingKey::new(suite, derived)?, *commitment))
}

pub(super) fn tag16(key: &impl Expand, info: &[&[u8]]) -> Result<[u8; 16]> {
    let mut out = [[0; 16]; 2];
    key.expand(info, out.as_flattened_mut())?;
    Ok(out[0])
}

/// Derives the tag of a subject: ptag = X(name key, "cl1/ptag" ‖ subject kind ‖ length u64 ‖
/// identifier, 32)\[..16\].
///
/// # Errors
/// None in practice, because the output is shorter than HKDF's limit. The same applies to every
/// other function of this module.
pub fn patient_tag(key: &NameKey, kind: SubjectKind, identifier: &str) -> Result<PatientTag> {
    let length = (identifier.len() as u64).to_le_bytes();
    tag16(
        key,
        &[b"cl1/ptag", &[kind.code()], &length, identifier.as_bytes()],
    )
}

/// Derives the tag of a record name: rtag = X(patient name key, "cl1/rtag" ‖ length u64 ‖ record
/// name, 32)\[..16\].
///
/// # Errors
/// None in practice.
pub fn record_tag(key: &PatientNameKey, name: &str) -> Result<RecordTag> {
    let length = (name.len() as u64).to_le_bytes();
    tag16(key, &[b"cl1/rtag", &length, name.as_bytes()])
}

/// The context of a record, to which the body key and commitment are bound: ctx44 = chart16 ‖
/// rtag16 ‖ version u64 ‖ format ‖ suite ‖ kind ‖ 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordContext {
    /// The id of the record's chart.
    pub chart: ChartId,
    /// The tag of the record's name.
    pub record: RecordTag,
    /// The version number.
    pub version: u64,
    /// The format byte of the stored value.
    pub format: u8,
    /// The cipher suite of the stored value.
    pub suite: CipherSuite,
    /// The kind byte of the stored value.
    pub kind: u8,
}

/// Derives the key that seals a record body, and its commitment: body key ‖ commitment = X(data
/// key, "cl1/body" ‖ ctx44, 64).
///
/// # Errors
/// None in practice.
pub fn body_key(key: &DataKey, context: &RecordContext) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(
        context.suite,
        key,
        &[
            b"cl1/body",
            &context.chart,
            &context.record,
            &context.version.to_le_bytes(),
            &[context.format, context.suite.code(), context.kind, 0],
        ],
    )
}

/// The storage class of the version to which a wrapped data key belongs.
///
/// The derivation of the wrap key includes the class. So if an attacker copies the stored bytes of
/// an earlier version to the storage key of the current version, the data key does not unwrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The class of current versions, whose storage keys begin with `r`.
    Current,
    /// The class of earlier versions, whose storage keys begin with `h`.
    Earlier,
}

impl Place {
    /// Returns the byte that identifies this class in derivations and storage keys.
    pub fn code(self) -> u8 {
        match self {
            Self::Current => b'r',
            Self::Earlier => b'h',
        }
    }
}

/// Derives the key that wraps a data key: wrap key = X(patient key, "cl1/wrap" ‖ class ‖ 00 00 00 ‖
/// key number u32 ‖ commitment, 32).
///
/// The data key's commitment serves as the salt. A wrap key therefore wraps one data key only, and
/// sealing under nonce zero is safe.
///
/// # Errors
/// None in practice.
pub fn wrap_key(
    suite: CipherSuite,
    key: &PatientKey,
    place: Place,
    number: u32,
    commitment: &Commitment,
) -> Result<SealingKey> {
    sealing_key(
        suite,
        key,
        &[
            b"cl1/wrap",
            &[place.code(), 0, 0, 0],
            &number.to_le_bytes(),
            commitment,
        ],
    )
}

/// Derives the key that seals the chunks of a content stream: chunk key = X(stream key, "cl1/strm"
/// ‖ chart16 ‖ stream16 ‖ format ‖ suite ‖ 00 00, 32).
///
/// # Errors
/// None in practice.
pub fn chunk_key(
    suite: CipherSuite,
    key: &StreamKey,
    chart: &ChartId,
    stream: &StreamId,
    format: u8,
) -> Result<SealingKey> {
    sealing_key(
        suite,
        key,
        &[b"cl1/strm", chart, stream, &[format, suite.code(), 0, 0]],
    )
}

/// Derives the key that seals the root key in a slot, and its commitment: slot key ‖ commitment =
/// X(slot secret, "cl1/slot" ‖ vault id ‖ kind u16 ‖ id u16 ‖ suite ‖ 00 00 00 ‖ wrap salt ‖
/// SHA-256(parameters), 64).
///
/// # Errors
/// None in practice.
pub fn slot_key(
    suite: CipherSuite,
    secret: &SlotSecret,
    vault: &VaultId,
    (kind, id): (u16, u16),
    salt: &Salt,
    parameters: &[u8],
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(
        suite,
        secret,
        &[
            b"cl1/slot",
            vault,
            &kind.to_le_bytes(),
            &id.to_le_bytes(),
            &[suite.code(), 0, 0, 0],
            salt,
            &crate::crypto::sha256(&[parameters]),
        ],
    )
}

/// Combines the secrets of two factors: slot secret = X(first secret, "cl1/both" ‖ second secret, 32).
///
/// Without the first secret, the result is the output of a PRF with an unknown key. Without the second, it is
/// that of HMAC with 32 unknown uniformly random bytes in the message, which TLS 1.3 and HKDF-Extract
/// (RFC 5869, section 3) also rely on.
///
/// # Errors
/// None in practice.
pub fn secret_of_both(first: &SlotSecret, second: &SlotSecret) -> Result<SlotSecret> {
    SlotSecret::try_with(|out| first.expand(&[b"cl1/both", second.expose()], out))
}

/// Derives the key that seals the keyring, and its commitment: ring key ‖ commitment = X(root key,
/// "cl1/ring" ‖ salt ‖ SHA-256(header bytes up to the end of the last slot), 64).
///
/// # Errors
/// None in practice.
pub fn ring_key(
    suite: CipherSuite,
    root: &RootKey,
    salt: &Salt,
    header: &[u8],
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(
        suite,
        root,
        &[b"cl1/ring", salt, &crate::crypto::sha256(&[header])],
    )
}

/// Derives the key that seals a patient entry, and its commitment: entry key ‖ commitment =
/// X(master key, "cl1/pent" ‖ salt ‖ vault id ‖ ptag ‖ the entry's bytes 0..8, 64).
///
/// # Errors
/// None in practice.
pub fn entry_key(
    suite: CipherSuite,
    master: &MasterKey,
    salt: &Salt,
    vault: &VaultId,
    patient: &PatientTag,
    head: &[u8; 8],
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(suite, master, &[b"cl1/pent", salt, vault, patient, head])
}

/// Derives the key that seals a cursor of a list, and its commitment: cursor key ‖ commitment =
/// X(patient name key, "cl1/lcur" ‖ salt ‖ vault id ‖ the cursor's bytes 0..8 ‖ SHA-256(query), 64).
///
/// # Errors
/// None in practice.
pub fn list_cursor_key(
    suite: CipherSuite,
    key: &PatientNameKey,
    salt: &Salt,
    vault: &VaultId,
    head: &[u8; 8],
    query: &Digest,
) -> Result<(SealingKey, Commitment)> {
    key_and_commitment(suite, key, &[b"cl1/lcur", salt, vault, head, query])
}

/// The key under which a frame is sealed: a header, a patient entry, a journal page, the object of
/// covered chain heads or a cursor.
#[derive(Debug, Clone, Copy)]
pub enum FrameKey<'a> {
    /// The root key, which seals the header's keyring.
    Root(&'a RootKey),
    /// A master key, which seals patient entries.
    Master(&'a MasterKey),
    /// A journal key, which seals journal pages and cursors of reports.
    Journal(&'a JournalKey),
    /// An authority key, which seals the object of covered chain heads.
    Authority(&'a AuthorityKey),
    /// The name key of a chart, which seals cursors of lists.
    Names(&'a PatientNameKey),
}

/// Derives the salt of a sealed frame: salt = X(frame key, "cl1/hedg" ‖ fresh 32 ‖ SHA-256(storage
/// key ‖ version u64 ‖ body), 32).
///
/// The salt depends on what is sealed, so two frames never share a sealing key, even if a cloned
/// machine draws the same fresh bytes twice. The frame key keeps the salt from confirming a guess of
/// the body.
///
/// # Errors
/// None in practice.
pub fn hedged_salt(
    key: FrameKey<'_>,
    fresh: &[u8; 32],
    (storage_key, version): (&[u8], u64),
    body: &[u8],
) -> Result<Salt> {
    let key: &dyn Expand = match key {
        FrameKey::Root(key) => key,
        FrameKey::Master(key) => key,
        FrameKey::Journal(key) => key,
        FrameKey::Authority(key) => key,
        FrameKey::Names(key) => key,
    };
    let sealed = crate::crypto::sha256(&[storage_key, &version.to_le_bytes(), body]);
    let mut salt = [0; 32];
    key.expand(&[b"cl1/hedg", fresh, &sealed], &mut salt)?;
    Ok(salt)
}

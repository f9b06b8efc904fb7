//! Wrapping of 32-byte keys under other keys.

use zeroize::Zeroizing;

use crate::crypto::{
    CipherSuite, Commitment, DataKey, Nonce, PatientKey, Place, SealingKey, wrap_key,
};
use crate::error::{Error, Result};

/// A wrapped key: 32 bytes of ciphertext, then the 16-byte tag.
pub type Wrapped = [u8; 48];

/// Wraps a data key: AEAD-Seal(wrap key, 0, data key).
///
/// `number` is the number of the patient key, and `commitment` is that of the data key. The
/// commitment makes the wrap key unique to this data key. So a repeated wrap seals the same message
/// under the same key, and nonce zero stays safe.
///
/// # Errors
/// None in practice.
pub fn wrap(
    suite: CipherSuite,
    key: &PatientKey,
    place: Place,
    number: u32,
    commitment: &Commitment,
    data_key: &DataKey,
) -> Result<Wrapped> {
    let sealing = wrap_key(suite, key, place, number, commitment)?;
    seal_key(&sealing, data_key.expose())
}

/// Unwraps a data key in place: AEAD-Open(wrap key, 0, wrapped).
///
/// The caller must still derive the commitment from the data key and compare it with `commitment`.
///
/// # Errors
/// [`Error::NotAuthentic`] unless all arguments equal those of the wrap.
pub fn unwrap(
    suite: CipherSuite,
    key: &PatientKey,
    place: Place,
    number: u32,
    commitment: &Commitment,
    wrapped: &Wrapped,
) -> Result<DataKey> {
    let sealing = wrap_key(suite, key, place, number, commitment)?;
    DataKey::try_with(|out| open_key(&sealing, wrapped, out))
}

/// Seals 32 secret bytes under a key that is derived for these bytes only.
pub(super) fn seal_key(sealing: &SealingKey, secret: &[u8; 32]) -> Result<Wrapped> {
    // The buffer contains the secret until it is sealed, so it must be wiped if sealing fails.
    let mut buffer = Zeroizing::new([0; 48]);
    let (body, tag) = buffer
        .split_first_chunk_mut::<32>()
        .ok_or(Error::Malformed)?;
    body.copy_from_slice(secret);
    tag.copy_from_slice(&sealing.seal(Nonce::ZERO, body)?);
    Ok(*buffer)
}

/// Opens a key that [`seal_key`] sealed, and writes it to `out` without another copy.
pub(super) fn open_key(sealing: &SealingKey, wrapped: &Wrapped, out: &mut [u8; 32]) -> Result<()> {
    let (body, rest) = wrapped.split_first_chunk::<32>().ok_or(Error::Malformed)?;
    let tag = rest.try_into().map_err(|_| Error::Malformed)?;
    *out = *body;
    sealing.open(Nonce::ZERO, out, tag)
}

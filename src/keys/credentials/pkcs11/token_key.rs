//! AES-256 key on a token: its creation, and the encryption of slot secrets with it.

use cryptoki::mechanism::Mechanism;
use cryptoki::mechanism::aead::GcmParams;
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use zeroize::Zeroizing;

use crate::crypto::{self, SlotSecret};
use crate::error::CredentialFailure;
use crate::keys::credentials::pkcs11::open_token::Connection;
use crate::keys::credentials::pkcs11::pkcs11_key::Pkcs11Key;
use crate::keys::credentials::pkcs11::token_failure::{TokenFailure, TokenResult};

/// The length of an IV, in bytes.
pub(super) const IV_LENGTH: usize = 12;
/// The length of an encrypted slot secret: 32 bytes and the tag of 16 bytes.
pub(super) const SEALED_LENGTH: usize = 48;
const TAG_BITS: usize = 128;
const KEY_BYTES: usize = 32;
/// The AAD of the test value. It is shorter than the AAD of a slot, so the two never agree.
const CHECK: &[u8] = b"cl1/pkcs11-check";

/// An encrypted slot secret.
pub(super) struct Sealed {
    pub(super) iv: [u8; IV_LENGTH],
    pub(super) bytes: [u8; SEALED_LENGTH],
}

/// Draws a slot secret and encrypts it.
///
/// The IV is random, as NIST SP 800-38D, section 8.2.2, allows. Section 8.3 then limits a key to 2^32
/// encryptions. Each enrolment of a slot is one, and each slot that does not decrypt is one, for the test of
/// the token. So a key that opens a forged slot once a second stays below the limit for 136 years.
pub(super) fn seal(
    token: &Connection,
    name: &Pkcs11Key,
    aad: &[u8],
) -> TokenResult<(Sealed, SlotSecret)> {
    let session = token.session()?;
    let key = find(token, &session, name)?;
    check_length(&session, key)?;
    let secret = SlotSecret::random()?;
    let sealed = encrypt(&session, key, aad, secret.expose())?;
    // A slot that does not open would be found only when it is needed.
    let opened = decrypt(&session, key, &sealed, aad)?;
    crypto::equal(&opened, secret.expose())
        .then_some((sealed, secret))
        .ok_or_else(|| CredentialFailure::Other.into())
}

/// Decrypts a slot secret; `None` if it was encrypted with another key or AAD, or altered.
pub(super) fn open(
    token: &Connection,
    name: &Pkcs11Key,
    sealed: &Sealed,
    aad: &[u8],
) -> TokenResult<Option<SlotSecret>> {
    let session = token.session()?;
    let key = find(token, &session, name)?;
    match decrypt(&session, key, sealed, aad) {
        Ok(secret) => match secret.first_chunk::<32>() {
            Some(bytes) if secret.len() == 32 => Ok(Some(SlotSecret::from_bytes(bytes))),
            _ => Err(CredentialFailure::Other.into()),
        },
        // Tokens report a wrong tag with different codes. SoftHSM 2.6 reports CKR_GENERAL_ERROR, as a broken token
        // does. So test the token before the slot is skipped.
        Err(failure) if failure.is_unspecified() => match works(token, name)? {
            true => Ok(None),
            false => Err(failure),
        },
        Err(failure) => Err(failure),
    }
}

/// Encrypts and decrypts a test value in a new session, and returns `true` if that gives the value.
fn works(token: &Connection, name: &Pkcs11Key) -> TokenResult<bool> {
    let session = token.session()?;
    let key = find(token, &session, name)?;
    let value: [u8; 32] = crypto::fresh()?;
    let sealed = encrypt(&session, key, CHECK, &value)?;
    let opened = decrypt(&session, key, &sealed, CHECK)?;
    Ok(crypto::equal(&opened, &value))
}

/// Creates an AES-256 key that cannot leave the token. Refuses a name that a secret key has.
pub(super) fn create(token: &Connection, name: &Pkcs11Key) -> TokenResult<()> {
    let session = token.writable_session()?;
    let is_taken = |attribute: &Attribute| {
        let template = [Attribute::Class(ObjectClass::SECRET_KEY), attribute.clone()];
        Ok::<_, TokenFailure>(!session.find_objects(&template)?.is_empty())
    };
    for attribute in name.attributes() {
        if is_taken(&attribute)? {
            return Err(CredentialFailure::KeyExists.into());
        }
    }
    // Without a login, the search above found no private key.
    token.check_login()?;
    let mut template = vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Encrypt(true),
        Attribute::Decrypt(true),
        Attribute::Wrap(false),
        Attribute::Unwrap(false),
        Attribute::ValueLen(KEY_BYTES.try_into().map_err(|_| CredentialFailure::Other)?),
    ];
    template.extend(name.attributes());
    let key = session.generate_key(&Mechanism::AesKeyGen, &template)?;
    // Another process may have created a key of this name at the same time. Its key may be in use already.
    if session.find_objects(&search(name))?.len() > 1 {
        session.destroy_object(key)?;
        return Err(CredentialFailure::KeyExists.into());
    }
    Ok(())
}

fn search(name: &Pkcs11Key) -> Vec<Attribute> {
    let mut template = vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
    ];
    template.extend(name.attributes());
    template
}

/// Finds the key. Its handle is not kept, because it becomes invalid when the token is reset.
fn find(token: &Connection, session: &Session, name: &Pkcs11Key) -> TokenResult<ObjectHandle> {
    match session.find_objects(&search(name))?.as_slice() {
        [key] => Ok(*key),
        [] => {
            token.check_login()?;
            Err(CredentialFailure::KeyGone.into())
        }
        // Guessing would create a slot that opens only while the token lists its keys in the same order.
        _ => Err(CredentialFailure::Denied.into()),
    }
}

/// Refuses a key of another length, if the token reports the length.
fn check_length(session: &Session, key: ObjectHandle) -> TokenResult<()> {
    let attributes = session.get_attributes(key, &[AttributeType::ValueLen])?;
    let is_other = attributes.iter().any(|attribute| {
        matches!(attribute, Attribute::ValueLen(length) if usize::from(*length) != KEY_BYTES)
    });
    match is_other {
        true => Err(CredentialFailure::Denied.into()),
        false => Ok(()),
    }
}

fn encrypt(
    session: &Session,
    key: ObjectHandle,
    aad: &[u8],
    plaintext: &[u8; 32],
) -> TokenResult<Sealed> {
    let mut iv: [u8; IV_LENGTH] = crypto::fresh()?;
    let bytes = {
        let parameters = gcm(&mut iv, aad)?;
        session.encrypt(&Mechanism::AesGcm(parameters), key, plaintext)?
    };
    // Some tokens replace the IV by one that they generate, so `iv` is read after the call.
    let bytes = bytes.try_into().map_err(|_| CredentialFailure::Other)?;
    Ok(Sealed { iv, bytes })
}

fn decrypt(
    session: &Session,
    key: ObjectHandle,
    sealed: &Sealed,
    aad: &[u8],
) -> TokenResult<Zeroizing<Vec<u8>>> {
    let mut iv = sealed.iv;
    let parameters = gcm(&mut iv, aad)?;
    let plaintext = session.decrypt(&Mechanism::AesGcm(parameters), key, &sealed.bytes)?;
    Ok(Zeroizing::new(plaintext))
}

fn gcm<'a>(iv: &'a mut [u8; IV_LENGTH], aad: &'a [u8]) -> TokenResult<GcmParams<'a>> {
    let tag_bits = TAG_BITS.try_into().map_err(|_| CredentialFailure::Other)?;
    Ok(GcmParams::new(iv, aad, tag_bits)?)
}

//! The parameters of a slot as they are stored: those of an app's credential begin with its name.

use std::ops::RangeInclusive;

use crate::error::{Error, Result};
use crate::keys::credentials::credential::Credential;

/// The kinds of credentials that apps define.
const APP_KINDS: RangeInclusive<u16> = 0x7000..=0x7fff;
/// The highest kind. Higher numbers mark auditor slots.
const KIND_MAX: u16 = 0x7fff;
/// The maximum length of the name of an app's credential, in bytes.
const NAME_MAX: usize = 64;

/// Returns the credential's kind.
///
/// # Errors
/// [`Error::InvalidCredential`] for a kind above 0x7fff.
pub(in crate::keys) fn checked_kind(credential: &dyn Credential) -> Result<u16> {
    let kind = credential.kind();
    (kind <= KIND_MAX)
        .then_some(kind)
        .ok_or(Error::InvalidCredential)
}

/// Returns the stored form of parameters that the credential created.
///
/// # Errors
/// [`Error::InvalidCredential`] for an app's credential without a valid name.
pub(in crate::keys) fn with_name(credential: &dyn Credential, own: &[u8]) -> Result<Vec<u8>> {
    Ok([&name_prefix(credential)?, own].concat())
}

/// Returns the parameters as the credential created them, or `None` if another app created them.
///
/// # Errors
/// [`Error::InvalidCredential`] for an app's credential without a valid name.
pub(in crate::keys) fn without_name<'p>(
    credential: &dyn Credential,
    stored: &'p [u8],
) -> Result<Option<&'p [u8]>> {
    Ok(stored.strip_prefix(name_prefix(credential)?.as_slice()))
}

/// Returns the length of the credential's name and the name, for an app's kind.
fn name_prefix(credential: &dyn Credential) -> Result<Vec<u8>> {
    if !APP_KINDS.contains(&credential.kind()) {
        return Ok(Vec::new());
    }
    let name = credential.name().as_bytes();
    let is_name = (1..=NAME_MAX).contains(&name.len()) && name.iter().all(u8::is_ascii_graphic);
    let length = u8::try_from(name.len()).map_err(|_| Error::InvalidCredential)?;
    is_name
        .then(|| [&[length], name].concat())
        .ok_or(Error::InvalidCredential)
}

//! Credential of kind 4: two credentials that open a slot only together.

use crate::crypto::{SlotSecret, secret_of_both};
use crate::error::{Error, Result};
use crate::format::codec::{take, take_slice};
use crate::keys::credentials::credential::{Credential, SlotContext};
use crate::keys::credentials::passphrase;
use crate::keys::credentials::stored_parameters::{checked_kind, with_name, without_name};

const KIND: u16 = 4;
/// The maximum length of the parameters of one factor, in bytes: those of a slot without the kinds and lengths of
/// two factors.
const FACTOR_MAX: usize = 3_976;
/// The maximum number of levels of factors within factors.
const LEVELS_MAX: usize = 4;

/// Two factors, of which neither opens a slot alone, such as a passphrase and a key file.
///
/// Pass the factors in the order in which they were passed when the slot was added. A factor can be of any kind,
/// also `Both`, on at most four levels. Pass the cheaper factor first: the second is called only if the first
/// returns a secret.
///
/// A passphrase that is a factor must be as long as any new passphrase must be, unless it
/// [allows a weak one](crate::keys::Passphrase::allow_weak). Label the two factors together, because labels of the
/// factors are ignored.
///
/// Also add a slot for recovery: if one factor is lost, this slot never opens again.
///
/// ```
/// # use chartlock::{*, keys::{Both, KeyFile, Passphrase}};
/// # use std::sync::Arc;
/// let passphrase = Passphrase::new("correct horse battery staple");
/// let key_file = KeyFile::random()?;
/// let both = Both::new(&key_file, &passphrase);
/// # let storage = Arc::new(MemoryStorage::new());
/// let vault = Vault::create(Arc::clone(&storage), &both)?;
/// drop(vault);
///
/// assert!(Vault::open(Arc::clone(&storage), &both).is_ok());
/// // One factor alone is of another kind than the slot.
/// let alone = Vault::open(Arc::clone(&storage), &passphrase);
/// assert_eq!(alone.unwrap_err(), Error::NoSlotOfKind);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Both<'c> {
    first: &'c dyn Credential,
    second: &'c dyn Credential,
}

impl<'c> Both<'c> {
    /// Combines two factors.
    pub fn new(first: &'c dyn Credential, second: &'c dyn Credential) -> Self {
        Self { first, second }
    }
}

impl Credential for Both<'_> {
    fn kind(&self) -> u16 {
        KIND
    }

    /// Enrols both factors for the slot.
    ///
    /// # Errors
    /// Errors of the factors; [`Error::InvalidCredential`] if the parameters of the factors are longer than
    /// those of a slot.
    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        let mut parameters = Vec::new();
        let first = enrol_factor(self.first, context, &mut parameters)?;
        let second = enrol_factor(self.second, context, &mut parameters)?;
        Ok((parameters, secret_of_both(&first, &second)?))
    }

    /// Asks both factors for their secrets.
    ///
    /// # Errors
    /// Errors of the factors.
    fn secret(&self, parameters: &[u8], context: &SlotContext) -> Result<Option<SlotSecret>> {
        let Ok(stored) = parse(parameters) else {
            return Ok(None);
        };
        let [first, second] = stored;
        let (Some(first), Some(second)) = (own(self.first, first)?, own(self.second, second)?)
        else {
            return Ok(None);
        };
        let Some(first) = self.first.secret(first, context)? else {
            return Ok(None);
        };
        let Some(second) = self.second.secret(second, context)? else {
            return Ok(None);
        };
        secret_of_both(&first, &second).map(Some)
    }
}

/// Returns the parameters of a factor as it created them, or `None` for a factor of another kind.
fn own<'p>(factor: &dyn Credential, (kind, stored): (u16, &'p [u8])) -> Result<Option<&'p [u8]>> {
    let is_of_kind = kind == checked_kind(factor)?;
    Ok(without_name(factor, stored)?.filter(|_| is_of_kind))
}

/// Enrols a factor, and appends its kind and parameters.
fn enrol_factor(
    factor: &dyn Credential,
    context: &SlotContext,
    parameters: &mut Vec<u8>,
) -> Result<SlotSecret> {
    let (own, secret) = factor.enrol(context)?;
    let stored = with_name(factor, &own)?;
    let length = u16::try_from(stored.len()).map_err(|_| Error::InvalidCredential)?;
    if stored.len() > FACTOR_MAX {
        return Err(Error::InvalidCredential);
    }
    parameters.extend(checked_kind(factor)?.to_le_bytes());
    parameters.extend(length.to_le_bytes());
    parameters.extend(stored);
    Ok(secret)
}

/// Returns the work of stretching the passphrases for a slot with these parameters, in KiB times passes.
/// Returns the highest number for factors within factors beyond the maximum, so that such a slot is not
/// tried.
pub(in crate::keys) fn work(kind: u16, parameters: &[u8]) -> u64 {
    work_at(kind, parameters, LEVELS_MAX)
}

fn work_at(kind: u16, parameters: &[u8], levels: usize) -> u64 {
    match (kind, parse(parameters)) {
        (KIND, Ok(_)) if levels == 0 => u64::MAX,
        (KIND, Ok(factors)) => (factors.into_iter())
            .map(|(kind, stored)| work_at(kind, stored, levels - 1))
            .fold(0, u64::saturating_add),
        _ => passphrase::work(kind, parameters),
    }
}

/// Parses kind u16 ‖ length u16 ‖ parameters, twice.
fn parse(mut parameters: &[u8]) -> Result<[(u16, &[u8]); 2]> {
    let rest = &mut parameters;
    let factors = [factor(rest)?, factor(rest)?];
    match rest {
        [] => Ok(factors),
        _ => Err(Error::Malformed),
    }
}

fn factor<'p>(rest: &mut &'p [u8]) -> Result<(u16, &'p [u8])> {
    let kind = u16::from_le_bytes(*take(rest)?);
    let length = u16::from_le_bytes(*take(rest)?);
    Ok((kind, take_slice(rest, length.into(), FACTOR_MAX)?))
}

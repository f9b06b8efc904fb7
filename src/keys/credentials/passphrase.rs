//! Credential of kind 1: a passphrase.

use std::fmt;

use zeroize::Zeroizing;

use crate::crypto::{self, Cost, Salt, SlotSecret};
use crate::error::{Error, Result};
use crate::format::codec::take;
use crate::keys::credentials::credential::{Credential, SlotContext};

const KIND: u16 = 1;
/// The maximum length of a passphrase, in bytes.
const MAX: usize = 1024;

/// A passphrase of 1 to 1,024 bytes, stretched with Argon2id (RFC 9106).
///
/// The bytes are used as given, without Unicode normalization. An "é" typed on another system may
/// have other bytes, and then the slot does not open. Normalize the text first if your users'
/// keyboards differ. The bytes are wiped on drop; a `String` or `Vec` is moved in, not copied.
///
/// The slot's [`Cost`] determines the memory and time of stretching: at most 1 GiB and a few seconds.
/// The credential skips a slot whose cost is outside the bounds of [`Cost`], because such a slot was
/// forged.
///
/// ```
/// # use chartlock::keys::{Cost, Passphrase};
/// let passphrase = Passphrase::new("correct horse battery staple");
/// assert_eq!(format!("{passphrase:?}"), "Passphrase(..)");
///
/// let stronger = Cost { memory_kib: 256 * 1024, ..Cost::default() };
/// let passphrase = Passphrase::new("correct horse battery staple").with_cost(stronger);
/// ```
pub struct Passphrase {
    bytes: Zeroizing<Vec<u8>>,
    cost: Cost,
}

impl Passphrase {
    /// Creates a credential from a passphrase. The length is checked on use.
    pub fn new(passphrase: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: Zeroizing::new(passphrase.into()),
            cost: Cost::default(),
        }
    }

    /// Sets the cost of new slots. Existing slots keep their cost until they are replaced.
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    fn stretch(&self, cost: Cost, salt: &Salt) -> Result<SlotSecret> {
        if !(1..=MAX).contains(&self.bytes.len()) {
            return Err(Error::InvalidPassphrase);
        }
        SlotSecret::try_with(|out| crypto::argon2id(&self.bytes, salt, cost, out))
    }
}

impl Credential for Passphrase {
    fn kind(&self) -> u16 {
        KIND
    }

    /// Draws a fresh salt and stretches the passphrase with the cost of new slots.
    ///
    /// # Errors
    /// [`Error::InvalidPassphrase`] for a length out of bounds; [`Error::Stretching`] for a cost
    /// out of bounds or too little memory; [`Error::Randomness`] if the system provides no random
    /// bytes.
    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        let cost = self.cost.checked().map_err(|_| Error::Stretching)?;
        let salt = crypto::fresh()?;
        let secret = self.stretch(cost, &salt)?;
        Ok((encode(cost, &salt), secret))
    }

    /// Stretches the passphrase with the slot's cost and salt.
    ///
    /// # Errors
    /// [`Error::InvalidPassphrase`] for a length out of bounds; [`Error::Stretching`] for too
    /// little memory.
    fn secret(&self, parameters: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>> {
        match decode(parameters) {
            Ok((cost, salt)) => self.stretch(cost, &salt).map(Some),
            Err(_) => Ok(None),
        }
    }
}

impl fmt::Debug for Passphrase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Passphrase(..)")
    }
}

/// Returns the work of stretching a passphrase for a slot with these parameters: memory in KiB times
/// passes. Returns 0 for parameters that the credential skips.
pub(in crate::keys) fn work(kind: u16, parameters: &[u8]) -> u64 {
    match (kind, decode(parameters)) {
        (KIND, Ok((cost, _))) => u64::from(cost.memory_kib) * u64::from(cost.passes),
        _ => 0,
    }
}

/// Encodes the parameters: memory in KiB u32 ‖ passes u32 ‖ lanes u32 ‖ salt of 32 bytes.
fn encode(cost: Cost, salt: &Salt) -> Vec<u8> {
    let mut parameters = Vec::with_capacity(44);
    for number in [cost.memory_kib, cost.passes, cost.lanes] {
        parameters.extend(number.to_le_bytes());
    }
    parameters.extend(salt);
    parameters
}

fn decode(mut parameters: &[u8]) -> Result<(Cost, Salt)> {
    let rest = &mut parameters;
    let cost = Cost {
        memory_kib: u32::from_le_bytes(*take(rest)?),
        passes: u32::from_le_bytes(*take(rest)?),
        lanes: u32::from_le_bytes(*take(rest)?),
    };
    let salt = *take(rest)?;
    match rest {
        [] => Ok((cost.checked()?, salt)),
        _ => Err(Error::Malformed),
    }
}

//! Credential of kind 1: a passphrase.

use std::env;
use std::fmt;
use std::io;
use std::mem;
use std::path::Path;

use zeroize::Zeroizing;

use crate::crypto::{self, Cost, Salt, SlotSecret};
use crate::error::{Error, Result};
use crate::format::codec::take;
use crate::keys::credentials::credential::{Credential, SlotContext};
use crate::keys::credentials::secret_source::{self, LINE_END_MAX, Readers};

const KIND: u16 = 1;
/// The maximum length of a passphrase, in bytes.
const MAX: usize = 1024;
/// The minimum length of a new passphrase, in characters: that of a password without a second factor in NIST
/// SP 800-63B-4, section 3.1.1.2. An attacker with a copy of the header can try any number of passphrases.
const CHARACTERS_MIN: usize = 15;
/// The environment variable in which systemd passes the directory of a service's credentials.
const SYSTEMD_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// A passphrase of 1 to 1,024 bytes, stretched with Argon2id (RFC 9106).
///
/// The bytes are used as given, without Unicode normalization. An "é" typed on another system may
/// have other bytes, and then the slot does not open. Normalize the text first if your users'
/// keyboards differ. The bytes are wiped on drop; a `String` or `Vec` is moved in, not copied.
///
/// A new slot needs a passphrase of at least 15 characters (NIST SP 800-63B-4, section 3.1.1.2), and with the
/// feature `strength` one that is not easy to guess; see [`Passphrase::allow_weak`]. An existing slot opens
/// with the passphrase that it has. A rotation of the root key writes the slots again, as new ones.
///
/// With the feature `strength`, the estimate leaves copies of a new passphrase in memory that are not wiped.
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
    may_be_weak: bool,
}

impl Passphrase {
    /// Creates a credential from a passphrase. The length is checked on use.
    pub fn new(passphrase: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: Zeroizing::new(passphrase.into()),
            cost: Cost::default(),
            may_be_weak: false,
        }
    }

    /// Reads a passphrase from a file that only its owner can read (on Unix). One line end at the end of the
    /// file, which editors and `echo` add, is not part of the passphrase.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file cannot be read, or is a pipe or device; [`Error::KeyFileExposed`] if other
    /// users can access it; [`Error::InvalidPassphrase`] for an empty passphrase, or one of more than 1,024 bytes.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), Readers::OwnerOnly)
    }

    /// Reads a passphrase as [`Passphrase::from_file`] does, from a file that its group can also read, such
    /// as a secret that Kubernetes mounts for the group of the pod: set `fsGroup`, and `defaultMode: 0440`, because the
    /// default of 0644 is refused.
    ///
    /// # Errors
    /// Errors of [`Passphrase::from_file`].
    pub fn from_group_file(path: impl AsRef<Path>) -> Result<Self> {
        Self::read(path.as_ref(), Readers::Group)
    }

    /// Reads a passphrase from a credential that systemd passes to the service (`LoadCredential=` or
    /// `LoadCredentialEncrypted=` in the unit). `name` is the name of the credential. Its file may be readable for
    /// its group, as for [`Passphrase::from_group_file`].
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the process has no credentials, because systemd did not start it or its unit has none, or if `name` is not the name of a file; errors of
    /// [`Passphrase::from_file`].
    pub fn from_systemd_credential(name: &str) -> Result<Self> {
        let directory =
            env::var_os(SYSTEMD_DIRECTORY).ok_or(Error::KeyFile(io::ErrorKind::NotFound))?;
        let is_name = Path::new(name).file_name().is_some_and(|file| file == name);
        if !is_name {
            return Err(Error::KeyFile(io::ErrorKind::InvalidInput));
        }
        Self::from_group_file(Path::new(&directory).join(name))
    }

    /// Reads a passphrase from an environment variable. One line end at its end is not part of the
    /// passphrase.
    ///
    /// Processes of the same user and child processes can read the variable, and it stays in the memory of
    /// this process. Prefer a file.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if there is no such variable, or if it is not UTF-8;
    /// [`Error::InvalidPassphrase`] if it is empty or has more than 1,024 bytes.
    pub fn from_env(name: &str) -> Result<Self> {
        Self::checked(mem::take(&mut *secret_source::variable(name)?))
    }

    fn read(path: &Path, readers: Readers) -> Result<Self> {
        let line = secret_source::read_line::<{ MAX + LINE_END_MAX + 1 }>(path, readers);
        Self::checked(mem::take(&mut *line?))
    }

    fn checked(passphrase: impl Into<Vec<u8>>) -> Result<Self> {
        let passphrase = Self::new(passphrase);
        passphrase.check_length()?;
        Ok(passphrase)
    }

    fn check_length(&self) -> Result<()> {
        (1..=MAX)
            .contains(&self.bytes.len())
            .then_some(())
            .ok_or(Error::InvalidPassphrase)
    }

    /// Allows a weak passphrase for a new slot: one of less than 15 characters, or, with the feature
    /// `strength`, one that is easy to guess. Use this for tests, or for a passphrase that is one of two
    /// factors.
    pub fn allow_weak(self) -> Self {
        Self {
            may_be_weak: true,
            ..self
        }
    }

    /// Sets the cost of new slots. A slot keeps its cost until it is replaced, or until a rotation of the root key
    /// (or, for an auditor's slot, of the journal keys) enrols it again with the cost of the given passphrase,
    /// which can be lower.
    pub fn with_cost(self, cost: Cost) -> Self {
        Self { cost, ..self }
    }

    fn is_weak(&self) -> bool {
        let text = std::str::from_utf8(&self.bytes);
        let characters = text.map_or(self.bytes.len(), |text| text.chars().count());
        let is_weak = characters < CHARACTERS_MIN && !self.bytes.is_empty();
        #[cfg(feature = "strength")]
        let is_weak = is_weak || text.is_ok_and(super::strength::is_easy_to_guess);
        is_weak
    }

    fn stretch(&self, cost: Cost, salt: &Salt) -> Result<SlotSecret> {
        self.check_length()?;
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
    /// [`Error::InvalidPassphrase`] for a length out of bounds; [`Error::WeakPassphrase`];
    /// [`Error::Stretching`] for a cost
    /// out of bounds or too little memory; [`Error::Randomness`] if the system provides no random
    /// bytes.
    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        if !self.may_be_weak && self.is_weak() {
            return Err(Error::WeakPassphrase);
        }
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

//! Credential of kind 5: an AES-256 key on a PKCS#11 token, such as an HSM or a smart card.
//!
//! Guarantees: a process logs in to a token once, and refuses another PIN without asking the token; a caller
//! never waits longer than its time limit.
//! Must not know: the header, and the keys that a slot wraps.

mod module;
mod open_token;
mod pin;
mod pkcs11_key;
mod pkcs11_token;
mod pkcs11_uri;
mod timed_thread;
mod token_failure;
mod token_key;

use std::fmt;

pub use pkcs11_key::Pkcs11Key;
pub use pkcs11_token::{Pkcs11Options, Pkcs11Token};

use self::token_key::{IV_LENGTH, SEALED_LENGTH, Sealed};
use crate::crypto::SlotSecret;
use crate::error::Result;
use crate::keys::credentials::credential::{Credential, SlotContext};

const KIND: u16 = 5;
/// The version of the parameters: AES-256-GCM with the AAD of this release.
const VERSION: u8 = 1;
/// The first bytes of the AAD.
const LABEL: &[u8] = b"cl1/pkcs11";
const PARAMETERS_LENGTH: usize = 1 + IV_LENGTH + SEALED_LENGTH;

/// A key on an HSM or a smart card, through the vendor's PKCS#11 module.
///
/// The slot secret is 32 random bytes. The token encrypts them with AES-256-GCM under a key that never leaves the
/// token, and the slot stores the result. The associated data (AAD) contains the vault's id, the kind and the
/// slot's id, so the token does not decrypt a secret that was moved to another slot or vault.
///
/// ```no_run
/// use chartlock::keys::{KeyFile, Pkcs11, Pkcs11Key, Pkcs11Options};
/// use chartlock::{MemoryStorage, Vault};
///
/// # fn create() -> Result<(), Box<dyn std::error::Error>> {
/// let options = Pkcs11Options::new("/usr/lib/softhsm/libsofthsm2.so").token_label("clinic");
/// let token = options.pin_file("/run/secrets/token-pin")?.open()?;
/// let key = Pkcs11Key::label("chartlock")?;
/// Pkcs11::create_key(&token, &key)?; // once, when the app is set up: fails with `KeyExists` if there is a key
///
/// let hsm = Pkcs11::new(&token, key);
/// let vault = Vault::create(MemoryStorage::new(), &hsm)?;
/// vault.add_slot(&KeyFile::create("/media/safe/clinic.key")?)?; // see below
/// # Ok(())
/// # }
/// ```
///
/// # What the token protects
/// Without the token and its PIN, this slot does not open, also in a copy of the storage. The token does not
/// reveal its key. While the token is removed, only other slots open the vault.
///
/// The token does not protect a vault that is open: the app's memory then contains the root key. An
/// attacker who controls the app can read the root key, and needs no token afterwards. After such an
/// attack, rotate the root key.
///
/// # Keep a second slot
/// If the token breaks or is initialized again, its slots never open again. If its PIN is locked, they do not open
/// until it is unlocked. Always add a second slot, such as a key file in a safe, or a token with a copy of the key.
/// Many HSMs can copy keys to another HSM of the same vendor; do so before you need the copy. A key that was
/// created by [`Pkcs11::create_key`] cannot be exported in another way.
///
/// # PIN
/// A token locks its PIN after a few wrong attempts, often three. So a process sends the PIN once, when it opens
/// the token, and never for a slot. In PKCS#11, a process has one login per token. While the login lasts, the token
/// does not check another PIN. So [`Pkcs11Options::open`] remembers the PIN, and refuses another PIN itself. After
/// a reset of the token, the credential sends the PIN once more. If that login fails for any reason, the credential
/// does not repeat it, and the app must open the token again. The last attempt before a lock is not used; see
/// [`Pkcs11Options::allow_last_attempt`]. PIN pads are not supported.
///
/// If another part of the process logs in to the same token, the token can no longer check a PIN. Open the
/// token here first.
///
/// # Threads and processes
/// All calls of a module run on one thread of this crate, one after another. If a call exceeds the time
/// limit, the caller gets [`CredentialFailure::TimedOut`](crate::keys::CredentialFailure::TimedOut), and the
/// thread stays in the call, because PKCS#11 cannot interrupt a call. Until the call ends, all calls to this
/// module return `TimedOut` at once; if it never ends, restart the process. The module stays
/// loaded until the process ends.
///
/// A forked child process cannot use a module from which its parent opened a token: each call, also
/// [`Pkcs11Options::open`], returns
/// [`CredentialFailure::Unreachable`](crate::keys::CredentialFailure::Unreachable) until the child ends. Fork
/// before the parent opens its first token, or let the child execute a new program.
///
/// # Setting up a token
/// The key needs `CKM_AES_GCM` with an IV of 12 bytes. [`Pkcs11::create_key`] creates it, or the vendor's
/// tool: AES, 256 bits, `CKA_TOKEN`, `CKA_SENSITIVE`, not `CKA_EXTRACTABLE`, `CKA_ENCRYPT` and `CKA_DECRYPT`.
/// For tests, SoftHSM keeps a token in files (Debian: `softhsm2`):
///
/// ```text
/// softhsm2-util --init-token --free --label clinic --so-pin 12345678 --pin 1234
/// ```
///
/// # Failures
/// [`Error::Credential`](crate::Error::Credential) with these failures:
/// - `Unreachable`: the token is not there any more.
/// - `Denied`: the token refuses the PIN or the use of the key, the key is shorter than 256 bits, or several keys have
///   the name.
/// - `Locked`: the PIN is locked or expired.
/// - `KeyGone`: the token has no AES key of the name.
/// - `TimedOut`: the time limit passed.
/// - `Other`: the token fails otherwise. A slot of another token or key gives no failure; it does not open.
pub struct Pkcs11 {
    token: Pkcs11Token,
    key: Pkcs11Key,
}

impl Pkcs11 {
    /// Creates a credential with a key on an open token. The key is looked up at each use.
    pub fn new(token: &Pkcs11Token, key: Pkcs11Key) -> Self {
        let token = token.clone();
        Self { token, key }
    }

    /// Opens the token of a PKCS#11 URI that also names the key by `object`, `id` or both.
    ///
    /// # Errors
    /// Errors of [`Pkcs11Options::from_uri`], [`Pkcs11Options::open`] and [`Pkcs11Key::from_uri`].
    pub fn from_uri(uri: &str) -> Result<Self> {
        let key = Pkcs11Key::from_uri(uri)?;
        let token = Pkcs11Options::from_uri(uri)?.open()?;
        Ok(Self { token, key })
    }

    /// Creates an AES-256 key on the token, sensitive and not extractable, that only a login can use.
    ///
    /// # Errors
    /// [`Error::Credential`](crate::Error::Credential): `KeyExists` if a secret key has this label or this id;
    /// `Denied` if the token does not allow it; other failures as above. After `TimedOut`, the key may exist.
    pub fn create_key(token: &Pkcs11Token, key: &Pkcs11Key) -> Result<()> {
        let key = key.clone();
        token.run(move |token| token_key::create(token, &key))
    }
}

impl Credential for Pkcs11 {
    fn kind(&self) -> u16 {
        KIND
    }

    fn enrol(&self, context: &SlotContext) -> Result<(Vec<u8>, SlotSecret)> {
        let (key, aad) = (self.key.clone(), context.binding(LABEL));
        let (sealed, secret) = (self.token).run(move |token| token_key::seal(token, &key, &aad))?;
        Ok((encode(&sealed), secret))
    }

    fn secret(&self, parameters: &[u8], context: &SlotContext) -> Result<Option<SlotSecret>> {
        let Some(sealed) = decode(parameters) else {
            return Ok(None);
        };
        let (key, aad) = (self.key.clone(), context.binding(LABEL));
        (self.token).run(move |token| token_key::open(token, &key, &sealed, &aad))
    }
}

/// Encodes the parameters: version u8 ‖ IV of 12 bytes ‖ ciphertext of 32 bytes ‖ tag of 16 bytes.
fn encode(sealed: &Sealed) -> Vec<u8> {
    let mut parameters = Vec::with_capacity(PARAMETERS_LENGTH);
    parameters.push(VERSION);
    parameters.extend(sealed.iv);
    parameters.extend(sealed.bytes);
    parameters
}

fn decode(parameters: &[u8]) -> Option<Sealed> {
    let (version, rest) = parameters.split_first()?;
    let (iv, bytes) = rest.split_first_chunk()?;
    let bytes = bytes.try_into().ok()?;
    (*version == VERSION).then_some(Sealed { iv: *iv, bytes })
}

impl fmt::Debug for Pkcs11 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pkcs11(..)")
    }
}

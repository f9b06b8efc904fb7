//! Credentials, and the keys that they unlock: header, keyring, patient entries.
//!
//! Promises: keys are made in place, wiped on drop, and opened only after their commitment was
//! compared; every sealing has a key of its own; sealed bodies are decoded only once they
//! authenticated, and what a newer release added is carried through.
//! May not know: where anything is stored, what records hold.

mod codec;
mod credential;
pub(crate) mod entry;
pub(crate) mod extensions;
pub(crate) mod header;
mod hex;
pub(crate) mod holds;
mod key_file;
pub(crate) mod keyring;
mod passphrase;
pub(crate) mod ring;
pub(crate) mod sealed_entry;
mod slot;
pub(crate) mod wrap;

pub use crate::crypto::{Cost, SlotSecret};
pub use credential::{Credential, SlotContext};
pub use key_file::{KeyFile, KeyFileOptions};
pub use passphrase::Passphrase;
pub use slot::SlotInfo;

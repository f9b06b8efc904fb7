//! What opens a vault, and the keys inside.
//!
//! Promises: keys are made in place, wiped on drop, and opened only after their commitment was
//! compared; every sealing has a key of its own; sealed bodies are decoded only once they
//! authenticated, and what a newer release added is carried through.
//! May not know: where anything is stored, what records hold.

mod credential;
mod passphrase;
mod take;

pub use crate::crypto::{Cost, SlotSecret};
pub use credential::{Credential, SlotContext};
pub use passphrase::Passphrase;

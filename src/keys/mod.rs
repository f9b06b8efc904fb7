//! Credentials, and the objects that contain keys: header, keyring and patient entries.
//!
//! Guarantees: keys are generated in place, wiped on drop, and opened only after a commitment
//! check. Every sealed value has its own key. Sealed bodies are decoded only after authentication,
//! and extensions of newer releases are preserved.
//! Must not know: storage locations, or the content of records.

pub(crate) mod closing;
mod codec;
mod credentials;
pub(crate) mod entry;
pub(crate) mod extensions;
pub(crate) mod former_keys;
pub(crate) mod header;
pub(crate) mod hex;
pub(crate) mod holds;
mod join;
pub(crate) mod keyring;
pub(crate) mod ring;
pub(crate) mod sealed_entry;
mod slot;
mod slot_names;
pub(crate) mod wrap;

pub use crate::crypto::{Cost, SlotSecret};
pub use crate::error::{CredentialFailure, ShareError};
pub(crate) use credentials::cached_credential::CachedCredential;
#[cfg(feature = "aws-kms")]
pub use credentials::{AwsIdentity, AwsKms, AwsKmsOptions};
pub use credentials::{
    Both, Credential, KeyFile, KeyFileOptions, Labelled, Passphrase, Share, Shares, SlotContext,
    SlotLabel,
};
#[cfg(feature = "pkcs11")]
pub use credentials::{Pkcs11, Pkcs11Key, Pkcs11Options, Pkcs11Token};
#[cfg(feature = "transit")]
pub use credentials::{Transit, TransitOptions};
pub use slot::SlotInfo;

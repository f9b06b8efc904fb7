//! Credentials: what opens a slot. One file or directory for each kind.
//!
//! Guarantees: a credential returns the secret of a slot, returns `None` for a slot of another credential, or
//! reports a failure. A secret that a device or service wrapped is bound to the vault, the kind and the slot.
//! Must not know: the header, and the keys that a slot wraps.

#[cfg(feature = "aws-kms")]
mod aws_kms;
pub(in crate::keys) mod both;
pub(in crate::keys) mod cached_credential;
pub(in crate::keys) mod credential;
#[cfg(any(feature = "aws-kms", feature = "transit"))]
mod encoded_secret;
#[cfg(any(feature = "aws-kms", feature = "transit"))]
mod http;
mod key_file;
pub(in crate::keys) mod label;
pub(in crate::keys) mod passphrase;
#[cfg(feature = "pkcs11")]
mod pkcs11;
mod secret_source;
mod shares;
pub(in crate::keys) mod stored_parameters;
#[cfg(feature = "strength")]
mod strength;
#[cfg(feature = "transit")]
mod transit;

#[cfg(feature = "aws-kms")]
pub use aws_kms::{AwsIdentity, AwsKms, AwsKmsOptions};
pub use both::Both;
pub use credential::{Credential, SlotContext};
pub use key_file::{KeyFile, KeyFileOptions};
pub use label::{Labelled, SlotLabel};
pub use passphrase::Passphrase;
#[cfg(feature = "pkcs11")]
pub use pkcs11::{Pkcs11, Pkcs11Key, Pkcs11Options, Pkcs11Token};
pub use shares::{Share, Shares};
#[cfg(feature = "transit")]
pub use transit::{Transit, TransitOptions};

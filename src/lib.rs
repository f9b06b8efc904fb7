//! Encrypted patient-record storage for health apps.
#![forbid(unsafe_code)]

mod crypto;
mod envelope;
mod error;
mod id;
pub mod keys;
mod secret;
pub mod storage;

pub use crypto::Suite;
pub use error::{Error, StorageError};
pub use id::{Actor, Purpose, RecordId, Subject, SubjectKind};
pub use storage::MemoryStorage;

/// The inner layers, for this project's own tests, benches and fuzz targets. Not covered by semver.
#[cfg(feature = "internals")]
#[doc(hidden)]
pub mod internals {
    /// Ciphers and derivations.
    pub mod crypto {
        pub use crate::crypto::*;
    }
    /// Record values and content streams.
    pub mod envelope {
        pub use crate::envelope::*;
    }
}

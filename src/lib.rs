//! Encrypted patient-record storage for health apps.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(feature = "internals"),
    expect(
        dead_code,
        unused_imports,
        reason = "parts of the format that only its vectors, fuzz targets and later layers reach"
    )
)]

mod crypto;
mod envelope;
mod error;
mod id;
pub mod keys;
mod secret;
pub mod storage;
mod vault;

pub use crypto::Suite;
pub use error::{Error, StorageError};
pub use id::{Actor, Purpose, RecordId, Subject, SubjectKind};
#[cfg(feature = "file")]
pub use storage::FileStorage;
pub use storage::{MemoryStorage, SplitStorage};
pub use vault::{
    Activity, Document, ErasureReport, Expected, KeyCensus, KeyCount, Progress, Record, RecordInfo,
    Records, RecoveryKit, ReencryptionReport, RootRotationReport, RotationReport, Session, Step,
    Subjects, Vault, VaultOptions,
};

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
    /// The vault's clock.
    pub mod clock {
        pub use crate::vault::{Clock, SystemClock};
    }
    /// Header, patient entry and wrapped keys.
    pub mod keys {
        pub use crate::keys::entry::{Chart, ChartState, EntryState, PatientEntry};
        pub use crate::keys::extensions::Extensions;
        pub use crate::keys::header::{Header, Unlocked};
        pub use crate::keys::keyring::Keyring;
        pub use crate::keys::ring::{KeyState, Numbered, Ring};
        pub use crate::keys::sealed_entry::{EntryHead, open_entry, seal_entry};
        pub use crate::keys::wrap::{Wrapped, unwrap, wrap};
    }
}

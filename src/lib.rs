//! Encrypted patient-record storage for health apps.
//!
//! A record is bytes that your app owns (a FHIR resource, a C-CDA document, a DICOM instance), filed
//! under a patient and a name. Each version of each record is sealed under a data key of its own;
//! changing a master key or a passphrase rewrites no record; erasing a patient destroys a few keys.
//!
#![cfg_attr(feature = "file", doc = "```")]
#![cfg_attr(not(feature = "file"), doc = "```ignore")]
//! use chartlock::{Actor, FileStorage, Purpose, RecordId, Vault, keys::Passphrase};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let directory = scratch.path().join("clinic");
//! let storage = FileStorage::open(directory)?;
//! let vault = Vault::create(storage, &Passphrase::new("correct horse battery staple"))?; // later: open
//! let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
//!
//! let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
//! chart.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
//! let record = chart.get(&id)?.ok_or("just written")?; // derefs to [u8], wiped on drop
//!
//! vault.rotate_master_key()?; // no record is rewritten
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! - [`Vault`]: create, open, rotate, count what hangs on each key, collect garbage, recover. It is
//!   `Send + Sync`.
//! - [`Session`]: who acts and why, with all verbs on records: put, get, list, history, remove, expunge, erase.
//! - [`keys`]: what opens a vault: [`Passphrase`](keys::Passphrase), [`KeyFile`](keys::KeyFile), or a
//!   [`Credential`](keys::Credential) of your own.
//! - [`storage`]: where the bytes lie: [`FileStorage`], [`SplitStorage`], [`MemoryStorage`], or a
//!   [`Storage`](storage::Storage) of your own; and [`storage::archive`] for backups and moves.
//! - [`audit`]: what is answered from the journal: who looked at a patient's records, what an actor saw.
//! - [`AccessPolicy`], [`RulePolicy`], [`SecurityEvent`]: who may, and what is heard at once.
//! - [`Vault::verify`] and [`Vault::checkpoint`]: whether everything stands as it should; [`audit`]: who
//!   did what, for patients, officers and auditors.
//! - [`Error`]: what can go wrong. Each text names the next step, none repeats an id, a path, a key or a
//!   byte of a record. Absence is `None`, never an error.
//!
//! # Records of any size
//!
//! Content may be larger than memory: it is sealed as it comes and opened as it is asked for.
//!
//! ```
//! # use chartlock::*;
//! # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
//! # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
//! # let slices = vec![[7; 500_000]; 3];
//! # use std::io::Write;
//! let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
//! let mut writer = chart.writer(&id).content_type("application/dicom");
//! for slice in &slices {
//!     writer.write_all(slice)?; // as it comes from the device
//! }
//! writer.finish()?; // a version now, and not before
//!
//! let reader = chart.reader(&id)?.ok_or("just written")?; // Read + Seek
//! let mut range = [0; 1000];
//! assert_eq!(reader.read_at(1_234_567, &mut range)?, 1000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Session::put_reader`] and [`Session::writer`] store, [`Session::reader`] reads in parts.
//!   [`Session::get`] reads whole, up to [`VaultOptions::whole_record_limit`].
//! - A byte is handed out only after the 64 KiB around it authenticated. Count, order and end are known
//!   before the first one: content that was cut, extended, reordered or mixed is an error.
//! - Memory and threads are bounded, whatever the record's size: [`VaultOptions::threads`].
//! - What uploads left that a crash broke off is freed by [`Vault::collect_garbage`], not by itself.
//! - What a reader does when the record is amended, re-encrypted or erased meanwhile stands at
//!   [`RecordReader`]; what a writer leaves when it is not finished, at [`RecordWriter`].
//!
//! # What is good to know before
//!
//! - A put is durable when it returns, and a new version: earlier ones stay readable until the patient
//!   is erased or the record expunged. [`Session::put_if`] refuses to bury somebody else's amendment.
//! - Everything is synchronous. In async code, call it where blocking is allowed.
//! - Identifiers and names are compared byte for byte. Normalise them first if your sources differ.
//! - A lost header is a lost clinic: keep a [`RecoveryKit`] apart from the storage, and a new one after
//!   each rotation of the master or root key.
//! - What each rotation does *not* undo stands in the documentation of its verb.
//! - Every operation leaves an entry in the journal, and what cannot be journaled is not released: see
//!   [`Journaling`]. So a read writes, too.
//!
//! # Features
//!
//! - `file` (default): [`FileStorage`].
//! - `json` (default): [`Session::put_json`] and [`Session::get_json`].
//! - `conformance`: `storage::conformance`, the contract of a storage as checks that any backend can run.
//! - `internals`: for this project's own tests; not covered by semver.
//! - `full`: all of the above.
//! - `aws-lc-rs`: AWS-LC computes in place of the RustCrypto crates, all but Argon2id. The bytes are the
//!   same. Needs a C compiler. [`crypto_report`] says what runs.
//! - `fips`: that, on AWS-LC's FIPS module. Needs CMake and Go too. [`FipsBuild`] says what it does not mean.
#![forbid(unsafe_code)]
#![deny(trivial_casts, trivial_numeric_casts, clippy::mem_forget)]

mod access;
pub mod audit;
mod crypto;
mod error;
mod format;
mod group_commit;
mod id;
mod journal;
pub mod keys;
mod lifecycle;
mod records;
mod rotation;
mod secret;
mod session;
pub mod storage;
mod vault;
mod verify;

pub use access::security_event::{SecurityEvent, SecurityEventHandler};
pub use access::{
    AccessPolicy, AccessRequest, AllowAll, ConsentReference, Decision, Rule, RulePolicy,
};
pub use crypto::{CipherSuite, CryptoReport, FipsBuild, Implementation, crypto_report};
pub use error::{Error, StorageError};
pub use id::{Actor, Purpose, RecordId, Subject, SubjectKind};
pub use journal::checkpoint::Checkpoint;
pub use journal::{AccessOutcome, Operation, OperationGroup};
pub use lifecycle::holds::HoldInfo;
pub use lifecycle::report::{ErasureReport, ExpungeReport, GarbageReport};
pub use records::document::{Document, Precondition, Record, RecordInfo};
pub use records::list::{Records, Subjects};
pub use rotation::key_usage::{KeyCount, KeyUsage};
pub use rotation::report::{ReencryptionReport, RootRotationReport, RotationReport};
pub use session::Session;
pub use session::chart_reader::Contents;
pub use session::journal_fallback::JournalFallbackReport;
pub use session::record_reader::RecordReader;
pub use session::record_writer::RecordWriter;
#[cfg(feature = "file")]
pub use storage::FileStorage;
pub use storage::{MemoryStorage, SplitStorage};
pub use vault::Vault;
pub use vault::journaling::Journaling;
pub use vault::options::VaultOptions;
pub use vault::progress::{Phase, ProgressListener, ProgressUpdate};
pub use vault::recovery::RecoveryKit;
pub use verify::accept_restore::RestoreReport;
pub use verify::{
    AcceptedRestore, CheckpointStanding, Counts, EntryFinding, FindingKind, HeaderFinding,
    JournalFault, JournalFinding, RecordFinding, Verification, VerifyPosition, VerifyReport,
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
        pub use crate::format::envelope::*;
    }
    /// Pages and chains of the journal.
    pub mod journal {
        pub use crate::format::storage_keys::journal_page_of as page_of;
        pub use crate::journal::*;
    }
    /// The parts of deciding and of keeping watch that hold no vault.
    pub mod access {
        pub use crate::access::alarms::Alarms;
        pub use crate::access::break_glass::BrokenGlass;
        pub use crate::access::meter::{DenialMeter, FailureMeter, Meter};
        pub use crate::session::honeytoken::alarm;
    }
    /// The vault's clock.
    pub mod clock {
        pub use crate::vault::clock::{Clock, SystemClock};
    }
    /// Header, patient entry and wrapped keys.
    pub mod keys {
        pub use crate::keys::entry::{Chart, ChartState, EntryState, PatientEntry};
        pub use crate::keys::extensions::Extensions;
        pub use crate::keys::header::{Header, Unlocked};
        pub use crate::keys::holds::Hold;
        pub use crate::keys::keyring::Keyring;
        pub use crate::keys::ring::{KeyState, KeyVersion, Ring};
        pub use crate::keys::sealed_entry::{EntryHead, open_entry, seal_entry};
        pub use crate::keys::wrap::{Wrapped, unwrap, wrap};
    }
}

//! Encrypted patient-record storage for health apps.
//!
//! A record is bytes that your app supplies: a FHIR resource, a C-CDA document, a DICOM instance.
//! The app stores each record under a patient and a record name. The vault encrypts each version of
//! a record under its own data key. Rotating the master key or changing a passphrase rewrites no
//! record. Erasing a patient destroys the patient's keys, so every record of that patient becomes
//! unreadable.
//!
#![cfg_attr(feature = "file", doc = "```")]
#![cfg_attr(not(feature = "file"), doc = "```ignore")]
//! use chartlock::{Actor, FileStorage, Purpose, RecordId, Vault, keys::Passphrase};
//!
//! # let scratch = tempfile::tempdir()?;
//! # let directory = scratch.path().join("clinic");
//! let storage = FileStorage::open(directory)?;
//! let vault = Vault::create(storage, &Passphrase::new("correct horse battery staple"))?; // later: open
//! let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
//!
//! let id = RecordId::patient("MRN-1042", "Observation/bp-2026-11-21")?;
//! session.put(&id, br#"{"systolic":120,"diastolic":80}"#)?;
//! let record = session.get(&id)?.ok_or("just written")?; // derefs to [u8], wiped on drop
//!
//! vault.rotate_master_key()?; // rewrites no record
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to look
//!
//! - [`Vault`]: creates, opens, verifies and recovers a vault, rotates keys and collects garbage.
//!   Cloning it is cheap, and it is `Send + Sync`.
//! - [`Session`]: access by an actor for a purpose, with all operations on records and subjects:
//!   put, get, list, history, retract, expunge, erase.
//! - [`keys`]: credentials that open a vault: [`Passphrase`](keys::Passphrase),
//!   [`KeyFile`](keys::KeyFile), two factors ([`Both`](keys::Both)), recovery shares
//!   ([`Shares`](keys::Shares)), a device or service (features `pkcs11`, `transit`, `aws-kms`), or a
//!   [`Credential`](keys::Credential) of your own.
//! - [`storage`]: backends: [`FileStorage`], [`SplitStorage`](storage::SplitStorage),
//!   [`RouterStorage`](storage::RouterStorage), [`MemoryStorage`], `PostgresStorage` and `ObjectStorage`
//!   (with their features), or a [`Storage`](storage::Storage) of your own. [`FileStorage::backup`] copies a
//!   vault in use; [`storage::archive`] moves a vault to another backend.
//! - [`access`]: access policies and security events.
//! - [`audit`]: reports from the journal: who read a patient's records, what an actor read.
//! - [`verify`]: [`Vault::verify`] compares the storage with the journal; [`Vault::checkpoint`]
//!   pins the journal outside the storage.
//! - [`report`] and [`progress`]: results and progress of long operations.
//! - [`guides`]: one page for each task of a team: backups, incidents, moving in, many tenants, and others.
//! - [`architecture`]: structure of the crate, glossary, order of writes, and where to make which
//!   change.
//! - [`Error`]: [`Error::kind`] and [`Error::is_retryable`] classify an error; each text says what happened
//!   and what to do next. No text contains an id, a path, a key or a byte of a record. A record that does not exist is `None`, not an error.
//!
//! # Records of any size
//!
//! Content may be larger than memory: a writer encrypts the content as it arrives, and a reader
//! decrypts only the parts that the app reads.
//!
//! ```
//! # use chartlock::*;
//! # let vault = Vault::create(MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
//! # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
//! # let slices = vec![[7; 500_000]; 3];
//! # use std::io::Write;
//! let id = RecordId::patient("MRN-1042", "ImagingStudy/ct/1")?;
//! let mut writer = session.writer(&id).content_type("application/dicom");
//! for slice in &slices {
//!     writer.write_all(slice)?; // as it arrives from the device
//! }
//! writer.finish()?; // creates the version
//!
//! let reader = session.reader(&id)?.ok_or("just written")?; // Read + Seek
//! let mut range = [0; 1000];
//! assert_eq!(reader.read_at(1_234_567, &mut range)?, 1000);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`Session::put_reader`] and [`Session::writer`] store content; [`Session::reader`] reads parts
//!   of it. [`Session::get`] reads it whole, up to [`VaultOptions::whole_record_limit`].
//! - A reader releases a byte only after it has authenticated the 64 KiB chunk around that byte.
//!   The number, the order and the end of the chunks are known before the first byte is released,
//!   so truncated, extended or reordered content is an error.
//! - The record's size does not affect memory and threads, which are bounded: see
//!   [`VaultOptions::threads`].
//! - A crash can leave segments of an unfinished upload. [`Vault::collect_garbage`] frees them.
//! - [`RecordReader`] says what happens when a record is amended, re-encrypted or erased during
//!   reading; [`RecordWriter`] says what an unfinished writer leaves.
//!
//! # Backups
//!
//! A vault in use can be backed up. Both ways journal the beginning and the outcome of the backup.
//!
//! - [`Session::archive`] writes the whole storage into one stream.
//! - [`Session::backup`] runs a backup that the storage makes itself, such as
//!   `FileStorage::backup`, which copies a directory, or `SplitStorage::backup`, which copies keys
//!   and data into two.
//!
//! Create a checkpoint before each backup. Restore regularly for practice, on another machine:
//!
//! ```
//! # use chartlock::*;
//! # let credential = keys::Passphrase::new("correct horse battery staple");
//! # let vault = Vault::create(MemoryStorage::new(), &credential)?;
//! # let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
//! let checkpoint = vault.checkpoint()?;
//! let mut out = std::io::Cursor::new(Vec::new()); // a file
//! session.archive("nightly, to tape 7", &mut out)?;
//!
//! # out.set_position(0);
//! let restored = MemoryStorage::new(); // an empty directory
//! storage::archive::read(out, &restored)?;
//! let vault = Vault::open(restored, &credential)?;
//! assert!(vault.verify(Some(&checkpoint))?.is_clean());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! If the restored vault is to replace the original, call [`Session::plan_restore`], which lists what
//! the restore rolled back and which erasures it undid. Then call [`Session::accept_restore`], which
//! journals the restore and repeats these erasures. If keys were rotated since the backup, pass both the
//! header of the storage that the backup replaces, as [`verify::LaterHeader`]. [`storage::SplitStorage`] describes the
//! backup of keys and data.
//!
//! - A copy made by `FileStorage::backup` opens like the original, and opening it writes to it. To
//!   keep the backup unchanged, restore from it with
//!   `FileStorage::open_read_only(copy)?.backup(new_directory, ..)`, and open the new directory.
//! - A backup of a damaged storage succeeds and reports what it lacks (`missing_segment_files` of
//!   `BackupReport`, `unreadable` of the archive's report). Keep the earlier backups until both are 0.
//! - After `FileStorage::salvage`, open the vault in the new storage and call [`Vault::verify`], which
//!   names the records whose content is lost. Put these records again; [`Session::expunge`] removes
//!   the incomplete versions. Then plan and accept the restore, and make a new backup.
//! - A backup that fails removes its files. If the process ended first, delete the directory: it opens as
//!   [`storage::StorageError::UnfinishedBackup`].
//!
//! # Good to know
//!
//! - A put is durable when it returns, and creates a new version. Earlier versions stay readable
//!   until the record is expunged or the patient erased. [`Session::put_if`] refuses to replace a
//!   version that the caller has not seen.
//! - Every call blocks. In async code, use `asynchronous` (feature `tokio`), or call the crate where
//!   blocking is allowed.
//! - A session, reader, writer or iterator keeps its vault open. Drop them all before you open the
//!   same storage again. [`Vault::lock`] wipes the keys even while such handles remain.
//! - To shut down, call [`Vault::close`], which writes the last journal entries, closes the storage,
//!   and reports a failure that dropping the vault would discard.
//! - A `FileStorage` checks itself once a day while it is open. `FileStorage::last_scrub` reports faults that
//!   [`Vault::verify`] would also report.
//! - On a full disk (`StorageError::Full`) reads stop too, because they cannot be journaled. Erasing,
//!   expunging and `FileStorage::compact` make room, and the same vault then continues. If reading
//!   must go on meanwhile, [`Session::begin_journal_fallback`] journals reads to another storage.
//! - Identifiers and names are compared byte for byte. Normalise them first if your sources differ.
//! - No record of a vault can be read without the vault's header. Store a [`RecoveryKit`] away from
//!   the storage, and export a new one after each rotation of the master key, the root key or the journal keys, and
//!   after each change of the slots. A kit contains no records.
//! - Print errors with `{}`: their texts name the next step, which `{:?}` (as in an error that `main` returns) omits.
//! - The documentation of each rotation says what it does *not* undo.
//! - Every operation writes a journal entry, and the vault releases nothing that it cannot journal:
//!   see [`Journaling`]. Reads therefore also write to the storage.
//!
//! # Traces
//!
//! With the feature `tracing`, the app's `tracing` subscriber receives spans and events with the target
//! `chartlock`. No field contains an identifier, a name, an actor, a reason, a key, a path or content. Each
//! operation is a span `operation` at level `debug`:
//!
//! | field | value |
//! |---|---|
//! | `verb` | name of the operation, as in the journal ([`Operation`]) |
//! | `outcome` | `Done`, or the [`ErrorKind`] |
//! | `retries` | number of repeated rounds, after conflicts and unknown outcomes |
//! | `storage_calls` | number of storage calls that the thread of the operation made |
//! | `storage_bytes` | number of bytes of values that these calls read and wrote |
//! | `micros` | duration in microseconds |
//!
//! Threads share commits, so the span of one operation may count a commit that contains the journal
//! entries of another operation. A call that returns an iterator or a reader has a span, but the steps of the
//! iterator or reader have none. Examples are the records of [`Session::get_all`], the reads of a
//! [`RecordReader`], and the entries of a report on the journal. The span of [`RecordWriter::finish`] does not
//! include the content that the app wrote before. Work of the background thread is a span `background` without a parent. Conflicts and
//! retries are events at level `debug`. Unknown commit outcomes, failed storage calls, lost connections and
//! refused credentials are events at level `warn`.
//!
//! # Features
//!
//! - `file` (default): [`FileStorage`], on SQLite.
//! - `bundled` (default): builds SQLite from its source, which needs a C compiler. Without this
//!   feature, the system's SQLite is linked: 3.37 or newer. Apps that use `rusqlite` or `sqlx` share
//!   one SQLite with this crate.
//! - `json` (default): [`Session::put_json`] and [`Session::get_json`].
//! - `postgres`: `PostgresStorage`, on a PostgreSQL server.
//! - `object-store`: `ObjectStorage`, in a bucket of Amazon S3 or of an S3-compatible server. Needs a C
//!   compiler.
//! - `tokio`: `asynchronous`, a façade for async code, which runs each operation on the blocking pool
//!   of the app's tokio runtime.
//! - `tracing`: spans and events; see "Traces" above.
//! - `pkcs11`, `transit`, `aws-kms`: credentials of HSMs and smart cards, of Vault and OpenBao, and of AWS KMS; see
//!   [`keys`].
//! - `strength`: refuses new passphrases that are easy to guess.
//! - `conformance`: `storage::conformance`, checks of the storage contract that any backend can
//!   run.
//! - `internals`: for this project's own tests; not covered by semver.
//! - `full`: all of the above.
//! - `cli`: the program `chartlock` for operators, see `operator_tool`. The library does not use its crates.
//! - `aws-lc-rs`: AWS-LC replaces the RustCrypto crates, except for Argon2id. The stored bytes are
//!   the same. Needs a C compiler. [`crypto_report`](report::crypto_report) identifies the
//!   implementation in use.
//! - `fips`: AWS-LC's FIPS module. Also needs CMake and Go. [`FipsBuild`](report::FipsBuild) states
//!   what such a build does not guarantee.
#![forbid(unsafe_code)]
#![deny(trivial_casts, trivial_numeric_casts, clippy::mem_forget)]

pub mod access;
#[cfg(feature = "tokio")]
pub mod asynchronous;
pub mod audit;
mod crypto;
mod error;
mod format;
mod group_commit;
pub mod guides;
mod id;
mod journal;
pub mod keys;
mod lifecycle;
mod records;
mod rotation;
mod secret;
mod session;
pub mod storage;
mod telemetry;
mod vault;
pub mod verify;

pub use crypto::CipherSuite;
pub use error::{Error, ErrorKind};
pub use id::{Actor, Purpose, RecordId, Subject, SubjectKind};
pub use journal::Operation;
pub use journal::checkpoint::Checkpoint;
pub use records::document::{Document, Precondition, Record, RecordInfo};
pub use session::Session;
pub use session::chart_reader::Contents;
pub use session::import::{ImportItem, ImportOutcome};
pub use session::record_reader::RecordReader;
pub use session::record_writer::RecordWriter;
#[cfg(feature = "file")]
pub use storage::FileStorage;
pub use storage::MemoryStorage;
pub use vault::Vault;
pub use vault::journaling::Journaling;
pub use vault::options::VaultOptions;
pub use vault::recovery::RecoveryKit;

#[doc = include_str!("architecture.md")]
pub mod architecture {}

/// Pages and counts of lists: records of a subject, versions of a record.
pub mod lists {
    pub use crate::records::list_cursor::ListCursor;
    pub use crate::records::list_page::ListPage;
    pub use crate::records::list_query::{HistoryQuery, ListQuery};
    pub use crate::records::record_count::RecordCount;
}

#[cfg(feature = "cli")]
#[doc = include_str!("bin/chartlock/manual.md")]
pub mod operator_tool {}

/// Progress and cancellation of long operations.
pub mod progress {
    pub use crate::vault::progress::{CancelToken, Phase, ProgressListener, ProgressUpdate};
}

/// Refused input: the field, its limit, and the fault of the value.
pub mod input {
    pub use crate::error::{InputFault, InputField, InvalidInput};
}

/// Reports of operations. All report types implement `Serialize`.
pub mod report {
    pub use crate::crypto::{CryptoReport, FipsBuild, Implementation, crypto_report};
    pub use crate::lifecycle::archive_journal::JournalArchiveReport;
    pub use crate::lifecycle::holds::HoldInfo;
    pub use crate::lifecycle::report::{ErasureReport, ExpungeReport, GarbageReport};
    pub use crate::rotation::key_usage::{KeyCount, KeyUsage};
    pub use crate::rotation::report::{
        JournalRotationReport, ReencryptionReport, RootRotationReport, RotationReport,
    };
    pub use crate::session::import::ImportReport;
    pub use crate::session::journal_fallback::JournalFallbackReport;
    pub use crate::vault::recovery::RecoveryReport;
}

/// Internal modules for the tests, benches and fuzz targets of this project. Semver does not cover
/// them.
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
    /// Journal pages and chains.
    pub mod journal {
        pub use crate::format::storage_keys::journal_page_of as page_of;
        pub use crate::journal::*;
    }
    /// Parts of access control and security events that need no vault.
    pub mod access {
        pub use crate::access::alarms::Alarms;
        pub use crate::access::break_glass::BrokenGlass;
        pub use crate::access::meter::{DenialMeter, FailureMeter, Meter};
        pub use crate::session::honeytoken::alarm;
    }
    /// State of an open vault.
    pub mod vault {
        pub use crate::vault::entries::cached_entries;
        pub use crate::vault::page_keys::sealer;
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

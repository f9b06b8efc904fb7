//! Session methods that back up the vault, and journal the backups.

use std::io::{self, Write};
use std::sync::Arc;

use crate::audit::Hex;
use crate::error::{Error, Result, StorageError};
use crate::id::Reason;
use crate::journal::{AccessOutcome, Operation, Target};
use crate::session::Session;
use crate::session::audit_target::AuditTarget;
use crate::storage::archive::{self, ArchiveError};
use crate::telemetry;
use crate::vault::progress::{Counter, Phase};

impl Session {
    /// Writes a consistent archive of the whole storage, as [`archive::write`] does, and journals
    /// it with the digest of the archive.
    ///
    /// The journal entry of the beginning is durable before the archive begins, so a restored vault
    /// contains it. After a restore, call [`Session::plan_restore`] and [`Session::accept_restore`], which
    /// journals the restore.
    /// Objects that cannot be read are left out and counted; [`Vault::verify`](crate::Vault::verify)
    /// names them. `reason` has 1 to 255 bytes without control characters.
    ///
    /// ```
    /// # use chartlock::*;
    /// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
    /// let mut out = Vec::new(); // a file
    /// let report = session.archive("nightly, to tape 7", &mut out)?;
    /// assert_eq!(storage::archive::verify(&out[..]).expect("whole"), report);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Contended`] if the storage has no snapshots and was written meanwhile;
    /// [`Error::Archive`] if `out` failed; [`Error::Cancelled`]; [`Error::InvalidMetadata`] if the reason is out of
    /// bounds; [`Error::Denied`], [`Error::Journal`], [`Error::Locked`], and errors of the storage.
    /// After an error the archive is incomplete.
    pub fn archive(&self, reason: &str, out: impl Write) -> Result<archive::Report> {
        let storage = Arc::clone(&self.vault.core.store.storage);
        let out = MonitoredOutput {
            out,
            counter: Counter::new(self.vault.monitor(), Phase::Archiving),
        };
        let write = || {
            let written = archive::write(&*storage, out).map_err(error_of);
            written.or_else(|error| self.vault.monitor().check().and(Err(error)))
        };
        telemetry::verb(Operation::EndBackup.name(), || {
            self.journaled_backup(reason, write, note_of)
        })
    }

    /// Runs a backup that the storage makes itself, and journals its beginning and its outcome.
    ///
    /// The entry of the beginning is durable before `write` is called. `reason` has 1 to 255 bytes
    /// without control characters.
    ///
    #[cfg_attr(feature = "file", doc = "```")]
    #[cfg_attr(not(feature = "file"), doc = "```ignore")]
    /// # use chartlock::*;
    /// # let scratch = tempfile::tempdir().unwrap();
    /// # let (directory, copy) = (scratch.path().join("clinic"), scratch.path().join("copy"));
    /// let storage = std::sync::Arc::new(FileStorage::open(directory)?);
    /// let vault = Vault::create(storage.clone(), &keys::Passphrase::new("correct horse battery staple"))?;
    /// let session = vault.session(Actor::new("it.office")?, Purpose::SystemAdministration);
    /// let report = session.backup("nightly, to the NAS", || storage.backup(&copy, |_, _| {}))?;
    /// assert!(report.objects > 0);
    /// # Ok::<(), Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::InvalidMetadata`] when the reason is out of bounds; [`Error::Denied`],
    /// [`Error::Journal`], [`Error::Locked`], and the error of `write`.
    pub fn backup<T>(
        &self,
        reason: &str,
        write: impl FnOnce() -> std::result::Result<T, StorageError>,
    ) -> Result<T> {
        telemetry::verb(Operation::EndBackup.name(), || {
            self.journaled_backup(reason, || Ok(write()?), |_| String::new())
        })
    }

    fn journaled_backup<T>(
        &self,
        reason: &str,
        write: impl FnOnce() -> Result<T>,
        note: impl FnOnce(&T) -> String,
    ) -> Result<T> {
        let reason = Reason::new(reason)?;
        let on = AuditTarget::Vault;
        let begin = self.act_because(Operation::BeginBackup, &reason);
        let begin = self.permitted(begin, on, None)?.act;
        self.vault.header()?;
        self.vault
            .journal_before_release(&begin, Target::Vault, AccessOutcome::Done)?;
        self.vault.core.journal.flush()?;
        let mut end = self.act_because(Operation::EndBackup, &reason);
        let written = write().inspect_err(|error| self.failed(&end, on, error))?;
        end.note = note(&written).into();
        self.vault
            .journal_before_release(&end, Target::Vault, AccessOutcome::Done)?;
        Ok(written)
    }
}

/// Output that counts its bytes, and fails once the cancel token is cancelled.
struct MonitoredOutput<'a, W> {
    out: W,
    counter: Counter<'a>,
}

impl<W: Write> Write for MonitoredOutput<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.counter.add(written as u64)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns the journal note on an archive.
fn note_of(report: &archive::Report) -> String {
    let archive::Report {
        objects,
        unreadable,
        digest,
        ..
    } = report;
    let digest = Hex(*digest);
    format!("archive of {objects} objects, {unreadable} unreadable, sha256 {digest}")
}

fn error_of(error: ArchiveError) -> Error {
    match error {
        ArchiveError::Storage(error) => Error::Storage(error),
        ArchiveError::Io(kind) => Error::Archive(kind),
        ArchiveError::Changed => Error::Contended,
        // The storage returned an object that no archive can contain.
        _ => Error::Malformed,
    }
}

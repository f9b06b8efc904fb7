//! Reports of erasing, expunging and garbage collection.

use serde::Serialize;

/// Report of an erasure: what it removed, and what it cannot reach.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let session = vault.session(Actor::new("privacy.office")?, Purpose::PatientRequest);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let subject = Subject::patient("MRN-1042")?;
/// let report = session.erase_subject(&subject, "the patient asked")?;
/// assert_eq!((report.keys_destroyed, report.records), (true, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErasureReport {
    /// `true` if this call destroyed the chart's keys; `false` if an earlier call did.
    pub keys_destroyed: bool,
    /// Current versions removed.
    pub records: u64,
    /// Earlier versions removed.
    pub earlier_versions: u64,
    /// Content segments removed.
    pub segments: u64,
    /// Unfinished uploads removed.
    pub uploads: u64,
    /// `true` if bytes of the former patient entry may still be on the medium. These bytes contain
    /// the chart's keys, wrapped under the master key.
    pub purge_deferred: bool,
    /// Copies that an erasure cannot reach, one sentence each.
    pub not_reached: Vec<&'static str>,
}

/// Report of an expunge: what it removed, and what it cannot reach.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let session = vault.session(Actor::new("records.office")?, Purpose::Operations);
/// let id = RecordId::patient("MRN-1042", "Observation/of somebody else")?;
/// session.put(&id, b"{}")?;
/// let report = session.expunge(&id, "filed under the wrong patient")?;
/// assert_eq!((report.versions, report.resumed), (1, false));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ExpungeReport {
    /// Versions removed by this call, retractions included.
    pub versions: u64,
    /// Content segments removed by this call.
    pub segments: u64,
    /// `true` if an earlier call expunged the record. This call then removed what the earlier call
    /// left.
    pub resumed: bool,
    /// `true` if bytes of the versions may still be on the medium. These bytes can be decrypted as
    /// long as their patient key exists;
    /// [`Vault::rotate_subject_key`](crate::Vault::rotate_subject_key) destroys that key.
    pub purge_deferred: bool,
    /// Copies that an expunge cannot reach, one sentence each.
    pub not_reached: Vec<&'static str>,
}

/// Report of a garbage collection: what it freed, and what it kept.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "CT/slice-1")?, &[0; 100_000])?;
/// let report = vault.collect_garbage()?;
/// assert_eq!((report.segments, report.uploads_under_way), (0, 0)); // the record names its content
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GarbageReport {
    /// Charts with content segments or upload intents, unknown charts included.
    pub charts: u64,
    /// Content segments removed.
    pub segments: u64,
    /// Upload intents removed, of unfinished uploads and of finished uploads that left an intent.
    pub uploads: u64,
    /// Upload intents kept with their segments, because the intents are unreadable or too recent to
    /// count as abandoned.
    pub uploads_under_way: u64,
    /// Charts in which nothing was freed, because a version of one of their records is missing or
    /// does not open.
    pub charts_passed_over: u64,
    /// Record versions that do not open or are missing. The streams that they reference are
    /// unknown.
    pub unreadable_versions: u64,
    /// Streams that no record references, but that were kept because a record's key opens them: the
    /// reference in that record was altered. Restore the record from a backup.
    pub misnamed_streams: u64,
    /// Charts without a patient entry. The collector never frees anything in them, because a backup
    /// may restore the entry.
    pub unknown_charts: u64,
    /// Segments and intents in unknown charts.
    pub unknown_objects: u64,
    /// Patient entries that do not open. Unknown charts may belong to these entries.
    pub unreadable_entries: u64,
}

//! Reports of erasures, expunges and garbage collections.

use serde::Serialize;

/// Report of an erasure: the objects that it removed, and the copies that it cannot reach.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
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
    /// Number of current versions removed.
    pub records: u64,
    /// Number of earlier versions removed.
    pub earlier_versions: u64,
    /// Number of content segments removed.
    pub segments: u64,
    /// Number of unfinished uploads removed.
    pub uploads: u64,
    /// `true` if bytes of the former patient entry may still be on the medium. These bytes contain
    /// the chart's keys, wrapped under the master key.
    pub purge_deferred: bool,
    /// Descriptions of the copies that an erasure cannot reach, one sentence each.
    pub not_reached: Vec<&'static str>,
}

/// Report of an expunge: the objects that it removed, and the copies that it cannot reach.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
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
    /// Number of versions removed by this call, retractions included.
    pub versions: u64,
    /// Number of content segments removed by this call.
    pub segments: u64,
    /// `true` if an earlier call expunged the record. This call then removed the remaining versions
    /// and segments.
    pub resumed: bool,
    /// `true` if bytes of the versions may still be on the medium. These bytes can be decrypted
    /// until [`Vault::rotate_subject_key`](crate::Vault::rotate_subject_key) destroys their patient
    /// key.
    pub purge_deferred: bool,
    /// Descriptions of the copies that an expunge cannot reach, one sentence each.
    pub not_reached: Vec<&'static str>,
}

/// Report of a garbage collection: the objects that the collector freed, and those that it kept.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "CT/slice-1")?, &[0; 100_000])?;
/// let report = vault.collect_garbage()?;
/// assert_eq!((report.segments, report.uploads_under_way), (0, 0)); // the record names its content
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GarbageReport {
    /// Number of charts with content segments or upload intents, unknown charts included.
    pub charts: u64,
    /// Number of content segments removed.
    pub segments: u64,
    /// Number of upload intents removed: those of unfinished uploads, and leftovers of finished
    /// uploads.
    pub uploads: u64,
    /// Number of upload intents kept with their segments. These intents are unreadable, or too
    /// recent to count as abandoned.
    pub uploads_under_way: u64,
    /// Number of charts in which nothing was freed, because a version of one of their records is
    /// missing or does not open.
    pub charts_passed_over: u64,
    /// Number of record versions that do not open or are missing. The streams that such versions
    /// reference are unknown.
    pub unreadable_versions: u64,
    /// Number of streams that no record references, but that a record's key opens. The collector
    /// kept them, because the reference in that record was altered. Restore the record from a
    /// backup.
    pub misnamed_streams: u64,
    /// Number of streams that no record references, but whose first segment cannot be read. The
    /// collector kept them, because they may belong to a record whose reference was altered.
    pub unreadable_streams: u64,
    /// Number of charts without a patient entry. The collector never frees anything in such a
    /// chart, because a backup may restore the entry.
    pub unknown_charts: u64,
    /// Number of segments and intents in unknown charts.
    pub unknown_objects: u64,
    /// Number of patient entries that do not open. Unknown charts may belong to these entries.
    pub unreadable_entries: u64,
}

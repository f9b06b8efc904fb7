//! Reports of erasing, expunging and garbage collection. All reports serialize, to be kept or
//! shown.

use serde::Serialize;

/// What an erasure did, and what it could not reach.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("privacy.office")?, Purpose::PatientRequest);
/// chart.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let subject = Subject::patient("MRN-1042")?;
/// let report = chart.erase_subject(&subject, "the patient asked")?;
/// assert_eq!((report.keys_destroyed, report.records), (true, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ErasureReport {
    /// Whether this call destroyed the chart's keys; else an earlier one had.
    pub keys_destroyed: bool,
    /// Current versions removed.
    pub records: u64,
    /// Earlier versions removed.
    pub earlier_versions: u64,
    /// Content segments removed.
    pub segments: u64,
    /// Unfinished uploads removed.
    pub uploads: u64,
    /// Whether bytes of the former patient entry, and so its keys under the master key, may still
    /// be on the medium.
    pub purge_deferred: bool,
    /// What no call can reach from here.
    pub not_reached: Vec<&'static str>,
}

/// What an expunge did, and what it could not reach.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("records.office")?, Purpose::Operations);
/// let id = RecordId::patient("MRN-1042", "Observation/of somebody else")?;
/// chart.put(&id, b"{}")?;
/// let report = chart.expunge(&id, "filed under the wrong patient")?;
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
    /// Whether an earlier call had expunged the record: this one removed what that left, if anything.
    pub resumed: bool,
    /// Whether bytes of the versions may still be on the medium. They open as long as the patient
    /// key does under which they were: [`Vault::rotate_subject_key`](crate::Vault::rotate_subject_key)
    /// destroys that.
    pub purge_deferred: bool,
    /// What no call can reach from here.
    pub not_reached: Vec<&'static str>,
}

/// What a collection of garbage freed, and what it left alone.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse"))?;
/// # let chart = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// chart.put(&RecordId::patient("MRN-1042", "CT/slice-1")?, &[0; 100_000])?;
/// let report = vault.collect_garbage()?;
/// assert_eq!((report.segments, report.uploads_under_way), (0, 0)); // the record names its content
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct GarbageReport {
    /// Charts that hold content segments or upload intents, unknown ones included.
    pub charts: u64,
    /// Content segments removed.
    pub segments: u64,
    /// Intents of uploads that broke off, or of which nobody had removed the intent: removed.
    pub uploads: u64,
    /// Intents left alone with their segments: too young to be taken for abandoned, or not readable.
    pub uploads_under_way: u64,
    /// Charts of which nothing was freed, because not every version of their records opens.
    pub charts_passed_over: u64,
    /// Record versions that do not open, or are missing: what they name is not known.
    pub unreadable_versions: u64,
    /// Streams left alone that no record names, but that a record's key opens: the name in that
    /// record was altered. Restore the record from a backup.
    pub misnamed_streams: u64,
    /// Charts that no patient entry knows. Nothing of them is ever freed: a lost entry may come back
    /// from a backup.
    pub unknown_charts: u64,
    /// Segments and intents of those charts.
    pub unknown_objects: u64,
    /// Patient entries that do not open: unknown charts may be theirs.
    pub unreadable_entries: u64,
}

//! Counts of the objects under each key.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::format::envelope::{HEAD, Head};
use crate::format::storage_keys;
use crate::id::Subject;
use crate::journal::{AccessOutcome, Operation, Target};
use crate::keys::ring::KeyState;
use crate::storage::Projection;
use crate::telemetry;
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, Freshness, chart_id};
use crate::vault::progress::{Counter, Phase};

/// Number of objects under one key, to decide whether the key can be destroyed.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// let census = vault.key_usage()?;
/// assert_eq!((census.masters[0].active, census.masters[0].objects), (true, 0));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyCount {
    /// Key number, drawn at random. The order of key numbers has no meaning.
    pub number: u32,
    /// `true` if the key is the active one, which seals new objects.
    pub active: bool,
    /// Time of creation, in milliseconds since the Unix epoch.
    pub created: i64,
    /// Number of objects under the key: patient entries under a master key, or record versions
    /// under a patient key.
    pub objects: u64,
}

/// Number of objects under each key of a vault, to decide whether a rotation is complete.
///
/// ```
/// # use chartlock::*;
/// # let vault = Vault::create(storage::MemoryStorage::new(), &keys::Passphrase::new("correct horse battery staple"))?;
/// # let session = vault.session(Actor::new("dr.garcia")?, Purpose::Treatment);
/// session.put(&RecordId::patient("MRN-1042", "Observation/bp")?, b"{}")?;
/// let census = vault.key_usage()?;
/// assert_eq!((census.subjects, census.records), (1, 1));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct KeyUsage {
    /// Number of patient entries under each master key.
    pub masters: Vec<KeyCount>,
    /// Number of live subjects.
    pub subjects: u64,
    /// Number of subjects that are erased or being erased.
    pub erased: u64,
    /// Number of patient keys in all patient entries, active and former keys.
    pub patient_keys: u64,
    /// Number of current versions, retractions included.
    pub records: u64,
    /// Number of earlier versions.
    pub earlier_versions: u64,
    /// Number of versions, current and earlier, under a former patient key.
    pub under_former_keys: u64,
    /// Number of versions whose head references no key of their chart, or is malformed.
    pub unreadable_versions: u64,
    /// Number of patient entries that do not open.
    pub unreadable_entries: u64,
}

impl Vault {
    /// Counts the objects under each key, by the key numbers that stored values contain in
    /// plaintext. Readers and writers continue concurrently.
    ///
    /// # Errors
    /// [`Error::Locked`] and errors of the storage.
    pub fn key_usage(&self) -> Result<KeyUsage> {
        self.journaled_read(Operation::CountKeys, || self.count_all_keys())
    }

    fn count_all_keys(&self) -> Result<KeyUsage> {
        let header = self.reload_header()?;
        let mut census = KeyUsage::default();
        for master in header.keyring.masters() {
            census.masters.push(KeyCount {
                number: master.number,
                active: master.state == KeyState::Active,
                created: master.created,
                objects: 0,
            });
        }
        let mut counter = Counter::new(self.monitor(), Phase::Counting);
        self.each_entry(&mut |entry| {
            let cached = match self.open_listed(entry) {
                Ok(Some(cached)) => cached,
                Ok(None) => return Ok(()),
                Err(error @ (Error::Storage(_) | Error::Locked)) => return Err(error),
                Err(_) => {
                    census.unreadable_entries += 1;
                    return Ok(());
                }
            };
            let master = census
                .masters
                .iter_mut()
                .find(|count| count.number == cached.master);
            if let Some(master) = master {
                master.objects += 1;
            }
            if cached.entry.chart().is_none() {
                census.erased += 1;
                return Ok(());
            }
            self.count_subject(&cached, &mut census, &mut counter)
        })?;
        Ok(census)
    }

    /// Counts the record versions under each key of one subject. A version whose key number cannot be
    /// read is not counted; [`Vault::key_usage`] counts such versions.
    ///
    /// # Errors
    /// [`Error::UnknownSubject`], [`Error::Erased`], [`Error::Locked`] and errors of the storage.
    pub fn subject_key_usage(&self, subject: &Subject) -> Result<Vec<KeyCount>> {
        telemetry::verb(Operation::CountKeys.name(), || {
            let counts = self.count_patient_keys(subject);
            if counts.is_err() {
                return self.journaled_for_subject(Operation::CountKeys, subject, |_| counts);
            }
            let entry = Target::Subject(self.refer_subject(subject)?);
            let act = self.system_act(Operation::CountKeys);
            self.journal_before_release(&act, entry, AccessOutcome::Done)?;
            counts
        })
    }

    fn count_patient_keys(&self, subject: &Subject) -> Result<Vec<KeyCount>> {
        let (cached, _) = self.entry(subject, Freshness::Fresh)?;
        let cached = cached.ok_or(Error::UnknownSubject)?;
        let mut counter = Counter::new(self.monitor(), Phase::Counting);
        let mut counts = key_counts(&cached)?;
        self.count_versions(&cached, &mut counter, &mut |_, head| {
            let number = head.map(|head| head.key_number);
            if let Some(count) = counts.iter_mut().find(|count| Some(count.number) == number) {
                count.objects += 1;
            }
        })?;
        Ok(counts)
    }

    fn count_subject(
        &self,
        cached: &CachedEntry,
        census: &mut KeyUsage,
        counter: &mut Counter<'_>,
    ) -> Result<()> {
        let keys = key_counts(cached)?;
        census.subjects += 1;
        census.patient_keys += keys.len() as u64;
        self.count_versions(cached, counter, &mut |class, head| {
            match class {
                b'r' => census.records += 1,
                _ => census.earlier_versions += 1,
            }
            let number = head.map(|head| head.key_number);
            match keys.iter().find(|key| Some(key.number) == number) {
                Some(key) if key.active => {}
                Some(_) => census.under_former_keys += 1,
                None => census.unreadable_versions += 1,
            }
        })
    }

    /// Calls `count` for each version of a chart. Scans current records before history, because a
    /// concurrent put moves versions from the records to the history, never back.
    fn count_versions(
        &self,
        cached: &CachedEntry,
        counter: &mut Counter<'_>,
        count: &mut dyn FnMut(u8, Option<Head>),
    ) -> Result<()> {
        let chart = chart_id(cached)?;
        for class in *b"rh" {
            self.each_page(
                &storage_keys::chart(class, &chart),
                Projection::Head(HEAD),
                &mut |entries| {
                    counter.add(entries.len() as u64)?;
                    for entry in entries {
                        count(class, Head::parse(&entry.value).ok());
                    }
                    Ok(())
                },
            )?;
        }
        Ok(())
    }
}

fn key_counts(cached: &CachedEntry) -> Result<Vec<KeyCount>> {
    let keys = cached.chart()?.keys();
    Ok(keys
        .map(|key| KeyCount {
            number: key.number,
            active: key.state == KeyState::Active,
            created: key.created,
            objects: 0,
        })
        .collect())
}

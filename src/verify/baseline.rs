//! Baseline of an accepted restore: the objects that the restore journals as accepted.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::crypto::{self, ChartId, Digest, PatientTag, SubjectTag};
use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{RecordRef, Stage, SubjectRef, Target};
use crate::keys::entry::EntryState;
use crate::keys::header::Header;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::announced::ChangedObjects;
use crate::verify::compare::{OpenResult, StoredVersion};
use crate::verify::expected_state::RecordKey;
use crate::verify::open_entry::tag_of;
use crate::verify::records::Mismatch;
use crate::verify::report::{EntryFinding, FindingKind, VerifyReport};
use crate::verify::snapshot::{RECORDS_AT_ONCE, RecordSnapshot};

/// Condition under which the baseline contains an object with a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BaselineCondition {
    /// The object is stored and opens. The plan has a finding on it, the later verification has none: a
    /// change that is in progress can hide the finding until a page settles the change.
    Opens,
    /// No stored version is altered. The later verification has a finding on the object.
    Reported {
        /// `true` if the verification found that the object is missing.
        is_missing: bool,
    },
}

impl Verification {
    /// Returns the stored state of every object that opens and has a finding, in this report or in the
    /// one of the plan. An object that does not open is left out, so later verifications still report it.
    ///
    /// Each state has a stage. An announced change may still be written, although it comes before the
    /// page of the acceptance, so the baseline announces its result.
    pub(crate) fn baseline(
        &mut self,
        header: &OpenHeader,
        planned: &VerifyReport,
    ) -> Result<Vec<(Target, Stage)>> {
        let records = self.records_to_accept(planned);
        let entries = self.entries_to_accept(header, planned)?;
        let tags = entries.iter().filter_map(|(finding, _)| finding.tag);
        let objects = ChangedObjects {
            records: records.keys().copied().collect(),
            subjects: tags.collect(),
        };
        // Read the objects after the journal, so that a change is either stored or listed as announced.
        let announced = self.unsettled_changes(header, &objects)?;
        let mut targets: Vec<Target> = self.header_target(planned)?.into_iter().collect();
        for (finding, condition) in &entries {
            targets.extend(self.entry_target(header, finding, *condition)?);
        }
        self.push_record_targets(header, &records, &mut targets)?;
        let digests: HashSet<_> = targets.iter().filter_map(digest_of).collect();
        let announced = announced.into_iter();
        let announced = announced.filter(|target| {
            let digest = digest_of(target);
            digest.is_none_or(|digest| !digests.contains(&digest))
        });
        let announced = announced.map(|target| (target, Stage::Announced));
        let stored = targets.into_iter().map(|target| (target, Stage::Done));
        Ok(stored.chain(announced).collect())
    }

    fn records_to_accept(&self, planned: &VerifyReport) -> BTreeMap<RecordKey, BaselineCondition> {
        let planned = planned.records.iter().chain(&planned.unattested);
        let planned = planned.map(|finding| (finding.record_key(), BaselineCondition::Opens));
        let mut records: BTreeMap<_, _> = planned.collect();
        for finding in self.report.records.iter().chain(&self.report.unattested) {
            let key = finding.record_key();
            let known = records.get(&key).copied();
            let is_missing = finding.kind == FindingKind::Missing
                || known == Some(BaselineCondition::Reported { is_missing: true });
            records.insert(key, BaselineCondition::Reported { is_missing });
        }
        records
    }

    fn entries_to_accept(
        &self,
        header: &OpenHeader,
        planned: &VerifyReport,
    ) -> Result<Vec<(EntryFinding, BaselineCondition)>> {
        let reported = self.report.entries.iter();
        let reported = reported.chain(&self.report.unattested_entries);
        let known: HashSet<_> = reported
            .clone()
            .map(|finding| (finding.tag, finding.entry))
            .collect();
        let is_missing = |finding: &EntryFinding| finding.entry.is_none();
        let reported = reported.map(|finding| {
            let is_missing = is_missing(finding);
            (finding.clone(), BaselineCondition::Reported { is_missing })
        });
        let planned = planned.entries.iter().chain(&planned.unattested_entries);
        let planned = planned.filter(|finding| !known.contains(&(finding.tag, finding.entry)));
        let planned = planned.map(|finding| (finding.clone(), BaselineCondition::Opens));
        let mut findings: Vec<_> = reported.chain(planned).collect();
        // A concurrent session may have created an entry that was missing.
        let missing = findings.iter().filter(|(finding, _)| is_missing(finding));
        let missing: HashSet<_> = missing.filter_map(|(finding, _)| finding.tag).collect();
        let stored = self.entries_of_subjects(header, &missing)?;
        for (finding, _) in &mut findings {
            let found = finding.tag.and_then(|tag| stored.get(&tag).copied());
            finding.entry = finding.entry.or(found);
        }
        Ok(findings)
    }

    /// Returns the storage tags of the patient entries of these subjects.
    fn entries_of_subjects(
        &self,
        header: &OpenHeader,
        subjects: &HashSet<SubjectTag>,
    ) -> Result<HashMap<SubjectTag, PatientTag>> {
        let mut found = HashMap::new();
        if subjects.is_empty() {
            return Ok(found);
        }
        self.each_opened_entry(header, &mut |tag, cached| {
            let subject = tag_of(header, cached.entry.subject())?;
            if subjects.contains(&subject) {
                found.insert(subject, tag);
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn header_target(&self, planned: &VerifyReport) -> Result<Option<Target>> {
        // A missing page may have named the header, so that nothing is reported on it now. Once the
        // missing page is accepted, nothing would explain the header.
        let is_reported = self.report.header.is_some() || planned.header.is_some();
        if !is_reported && self.is_journal_intact() {
            return Ok(None);
        }
        let stored = self.vault.core.store.read_damaged(storage_keys::HEADER)?;
        Ok(stored.and_then(|stored| {
            let header = Header::parse(&stored.value).ok()?;
            Some(Target::Header {
                generation: header.generation(),
                digest: crypto::sha256(&[&stored.value]),
            })
        }))
    }

    fn entry_target(
        &self,
        header: &OpenHeader,
        finding: &EntryFinding,
        condition: BaselineCondition,
    ) -> Result<Option<Target>> {
        let stored = match finding.entry {
            Some(tag) => {
                let stored = self
                    .vault
                    .core
                    .store
                    .read_damaged(&storage_keys::entry(&tag))?;
                stored.map(|stored| (tag, stored))
            }
            None => None,
        };
        let opened = stored.and_then(|(tag, stored)| {
            let cached = self.vault.open_to_verify(header, tag, &stored).ok()?;
            Some((cached, crypto::sha256(&[&stored.value])))
        });
        let Some((cached, digest)) = opened else {
            // Sequence 0 in the baseline accepts a missing entry. An entry that does not open is
            // not accepted.
            let is_missing = condition == BaselineCondition::Reported { is_missing: true };
            return Ok(finding
                .tag
                .filter(|_| is_missing && finding.entry.is_none())
                .map(|tag| Target::Entry {
                    subject: SubjectRef {
                        chart: ChartId::default(),
                        tag,
                    },
                    sequence: 0,
                    digest: [0; 32],
                }));
        };
        let chart = match cached.entry.state() {
            EntryState::Live(chart) => Some(*chart.id()),
            EntryState::Erasing { chart } => Some(*chart),
            EntryState::Erased => cached.entry.dead_charts().last().copied(),
            EntryState::Alias(_) => None,
        };
        Ok(Some(Target::Entry {
            subject: SubjectRef {
                chart: chart.unwrap_or_default(),
                tag: tag_of(header, cached.entry.subject())?,
            },
            sequence: cached.entry.sequence(),
            digest,
        }))
    }

    fn push_record_targets(
        &mut self,
        header: &OpenHeader,
        records: &BTreeMap<RecordKey, BaselineCondition>,
        targets: &mut Vec<Target>,
    ) -> Result<()> {
        let records_and_conditions = records.iter();
        let mut mismatches: Vec<_> = records_and_conditions
            .map(|((chart, record), _)| Mismatch {
                chart: *chart,
                record: *record,
                entry: None,
            })
            .collect();
        self.find_entries(header, &mut mismatches.iter_mut().collect::<Vec<_>>())?;
        let mut conditions = records.values();
        for mismatches in mismatches.chunks(RECORDS_AT_ONCE) {
            let wanted: Vec<_> = mismatches.iter().map(|it| (*it, None)).collect();
            let snapshots = self.snapshots(header, &wanted)?.into_iter();
            for ((mismatch, snapshot), condition) in
                mismatches.iter().zip(snapshots).zip(&mut conditions)
            {
                push_targets(header, mismatch, snapshot, *condition, targets)?;
            }
        }
        Ok(())
    }
}

/// Returns the digest of the value that a target of a baseline names.
fn digest_of(target: &Target) -> Option<Digest> {
    match target {
        Target::Version { digest, .. } | Target::Entry { digest, .. } => Some(*digest),
        _ => None,
    }
}

/// Adds the stored versions of a record, or its absence. Adds nothing unless they meet the condition.
fn push_targets(
    header: &OpenHeader,
    mismatch: &Mismatch,
    snapshot: RecordSnapshot,
    condition: BaselineCondition,
    targets: &mut Vec<Target>,
) -> Result<()> {
    let RecordSnapshot {
        reading, subject, ..
    } = snapshot;
    let stored = reading.record;
    let tag = subject.map(|subject| tag_of(header, &subject));
    let subject = SubjectRef {
        chart: mismatch.chart,
        tag: tag.transpose()?.unwrap_or_default(),
    };
    let key = header.keyring.first_journal_key();
    let name = reading.name.map(|name| crypto::name_tag(key, &name));
    let record = RecordRef {
        tag: mismatch.record,
        name: name.transpose()?.unwrap_or_default(),
    };
    let is_usable = |seen: &&StoredVersion| match seen.opens {
        OpenResult::Yes => true,
        OpenResult::CannotTell => condition != BaselineCondition::Opens,
        OpenResult::No | OpenResult::Destroyed => false,
    };
    let current = stored.current.as_ref().filter(is_usable);
    let is_accepted = match &stored.current {
        Some(_) => current.is_some(),
        None => condition == BaselineCondition::Reported { is_missing: true },
    };
    if !is_accepted {
        return Ok(());
    }
    let below = current.map_or(0, |current| current.version);
    let earlier = stored.earlier.iter().filter(is_usable);
    let earlier = earlier.filter(|seen| seen.version < below);
    let version = |seen: &StoredVersion| Target::Version {
        subject,
        record,
        version: seen.version,
        digest: seen.digest,
    };
    targets.extend(earlier.chain(current).map(version));
    if current.is_none() {
        targets.push(Target::Record {
            subject,
            record,
            version: 0,
        });
    }
    Ok(())
}

//! The differences that an accepted restore journals.

use std::collections::BTreeSet;

use crate::crypto::{self, ChartId, RecordTag};
use crate::error::Result;
use crate::format::storage_keys;
use crate::journal::{RecordRef, SubjectRef, Target};
use crate::keys::entry::EntryState;
use crate::keys::header::Header;
use crate::vault::header::OpenHeader;
use crate::verify::Verification;
use crate::verify::compare::{OpenResult, StoredVersion};
use crate::verify::open_entry::tag_of;
use crate::verify::recheck::RecordSnapshot;
use crate::verify::records::Doubt;
use crate::verify::report::{EntryFinding, RecordFinding};

impl Verification {
    /// The charts that were erased, by what the journal tells for certain.
    pub(crate) fn erased_charts(mut self) -> Result<BTreeSet<ChartId>> {
        let header = self.vault.header_in_memory()?;
        let storage = &*self.vault.core.store.storage;
        self.walk.advance(storage, &header, &mut self.survey)?;
        Ok(self.survey.subjects.erased_charts(&self.walk))
    }

    /// The records that were rolled back to before they were expunged.
    pub(crate) fn back_from_expunged(&self) -> Vec<RecordFinding> {
        let records = self.report.records.iter();
        let back = records.filter(|found| {
            let markers = self.survey.expunged.get(&found.place());
            let mut markers = markers.into_iter().flatten();
            markers.any(|(marker, at)| {
                let before = found.standing.is_some_and(|standing| standing < *marker);
                before && self.walk.is_certain(at)
            })
        });
        back.cloned().collect()
    }

    /// What stands now of everything that was named and opens. What does not open stays named.
    pub(crate) fn baseline(&mut self, header: &OpenHeader) -> Result<Vec<Target>> {
        let mut targets: Vec<Target> = self.header_that_stands()?.into_iter().collect();
        let entries = [&self.report.entries[..], &self.report.unattested_entries].concat();
        for finding in &entries {
            targets.extend(self.entry_that_stands(header, finding)?);
        }
        let records = [&self.report.records[..], &self.report.unattested].concat();
        let records: BTreeSet<_> = records.iter().map(RecordFinding::place).collect();
        for (chart, record) in records {
            self.record_that_stands(header, (chart, record), &mut targets)?;
        }
        Ok(targets)
    }

    fn header_that_stands(&self) -> Result<Option<Target>> {
        if self.report.header.is_none() {
            return Ok(None);
        }
        let stored = self.vault.core.store.read_one(storage_keys::HEADER)?;
        Ok(stored.and_then(|stored| {
            let header = Header::parse(&stored.value).ok()?;
            Some(Target::Header {
                generation: header.generation(),
                digest: crypto::sha256(&[&stored.value]),
            })
        }))
    }

    fn entry_that_stands(
        &self,
        header: &OpenHeader,
        finding: &EntryFinding,
    ) -> Result<Option<Target>> {
        let stored = match finding.entry {
            Some(tag) => {
                let stored = self.vault.core.store.read_one(&storage_keys::entry(&tag))?;
                stored.map(|stored| (tag, stored))
            }
            None => None,
        };
        let opened = stored.and_then(|(tag, stored)| {
            let held = self.vault.open_to_verify(header, tag, &stored).ok()?;
            Some((held, crypto::sha256(&[&stored.value])))
        });
        let Some((held, digest)) = opened else {
            // Nothing stands; what stands and does not open is no baseline.
            return Ok(finding
                .tag
                .filter(|_| finding.entry.is_none())
                .map(|tag| Target::Entry {
                    subject: SubjectRef {
                        chart: ChartId::default(),
                        tag,
                    },
                    sequence: 0,
                    digest: [0; 32],
                }));
        };
        let chart = match held.entry.state() {
            EntryState::Live(chart) => Some(*chart.id()),
            EntryState::Erasing { chart } => Some(*chart),
            EntryState::Erased => held.entry.dead_charts().last().copied(),
            EntryState::Alias(_) => None,
        };
        Ok(Some(Target::Entry {
            subject: SubjectRef {
                chart: chart.unwrap_or_default(),
                tag: tag_of(header, held.entry.subject())?,
            },
            sequence: held.entry.sequence(),
            digest,
        }))
    }

    fn record_that_stands(
        &mut self,
        header: &OpenHeader,
        (chart, record): (ChartId, RecordTag),
        targets: &mut Vec<Target>,
    ) -> Result<()> {
        let mut doubt = Doubt {
            chart,
            record,
            entry: None,
        };
        self.find_entry_of(header, &mut doubt)?;
        let RecordSnapshot {
            look,
            subject,
            name,
            ..
        } = self.snapshot(header, Vec::new(), &doubt)?;
        let tag = subject.map(|subject| tag_of(header, &subject));
        let subject = SubjectRef {
            chart,
            tag: tag.transpose()?.unwrap_or_default(),
        };
        let key = &header.keyring.active_journal_key().key;
        let name = name.map(|name| crypto::name_tag(key, &name));
        let record = RecordRef {
            tag: record,
            name: name.transpose()?.unwrap_or_default(),
        };
        let stands =
            |seen: &&StoredVersion| matches!(seen.opens, OpenResult::Yes | OpenResult::CannotTell);
        let current = look.current.as_ref().filter(stands);
        if look.current.is_some() && current.is_none() {
            return Ok(());
        }
        let below = current.map_or(0, |current| current.version);
        let earlier = look.earlier.iter().filter(stands);
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
}

//! Baseline of an accepted restore: the objects that the restore journals as accepted.

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
use crate::verify::records::Mismatch;
use crate::verify::report::{EntryFinding, RecordFinding};
use crate::verify::snapshot::RecordSnapshot;

impl Verification {
    /// Returns the stored state of every object that has a finding and opens. An object that does
    /// not open is left out, so later verifications still report it.
    pub(crate) fn baseline(&mut self, header: &OpenHeader) -> Result<Vec<Target>> {
        let mut targets: Vec<Target> = self.header_target()?.into_iter().collect();
        let entries = [&self.report.entries[..], &self.report.unattested_entries].concat();
        for finding in &entries {
            targets.extend(self.entry_target(header, finding)?);
        }
        let records = [&self.report.records[..], &self.report.unattested].concat();
        let records: BTreeSet<_> = records.iter().map(RecordFinding::record_key).collect();
        for (chart, record) in records {
            self.push_record_targets(header, (chart, record), &mut targets)?;
        }
        Ok(targets)
    }

    fn header_target(&self) -> Result<Option<Target>> {
        // A missing page may have named the header, so that nothing is reported on it now. Once the
        // missing page is accepted, nothing would explain the header.
        if self.report.header.is_none() && self.is_journal_intact() {
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

    fn entry_target(&self, header: &OpenHeader, finding: &EntryFinding) -> Result<Option<Target>> {
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
        (chart, record): (ChartId, RecordTag),
        targets: &mut Vec<Target>,
    ) -> Result<()> {
        let mut mismatch = Mismatch {
            chart,
            record,
            entry: None,
        };
        self.find_entries(header, &mut [&mut mismatch])?;
        let snapshot = self.snapshots(header, &[(mismatch, None)])?.pop();
        let Some(RecordSnapshot {
            reading, subject, ..
        }) = snapshot
        else {
            return Ok(());
        };
        let stored = reading.record;
        let tag = subject.map(|subject| tag_of(header, &subject));
        let subject = SubjectRef {
            chart,
            tag: tag.transpose()?.unwrap_or_default(),
        };
        let key = header.keyring.first_journal_key();
        let name = reading.name.map(|name| crypto::name_tag(key, &name));
        let record = RecordRef {
            tag: record,
            name: name.transpose()?.unwrap_or_default(),
        };
        let is_usable =
            |seen: &&StoredVersion| matches!(seen.opens, OpenResult::Yes | OpenResult::CannotTell);
        let current = stored.current.as_ref().filter(is_usable);
        if stored.current.is_some() && current.is_none() {
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
}

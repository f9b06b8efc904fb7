//! The names that journal entries use for subjects, records and written versions.

use crate::crypto::{self, ChartId, RecordTag, SubjectTag};
use crate::error::Result;
use crate::format::envelope::{self, Address};
use crate::id::{RecordId, Subject};
use crate::journal::{AccessOutcome, Act, EntryDraft, RecordRef, SubjectRef, Target};
use crate::keys::entry::{EntryState, PatientEntry};
use crate::vault::Vault;
use crate::vault::entries::CachedEntry;

impl Vault {
    /// A subject, with the chart that is held of it, if any.
    pub(crate) fn refer_subject(&self, subject: &Subject) -> Result<SubjectRef> {
        let held = self
            .core
            .entries
            .get(subject, self.core.store.clock.uptime());
        let chart = held.as_ref().and_then(|held| held.entry.chart());
        let chart = chart.map(|chart| *chart.id());
        self.refer_chart(subject, chart.unwrap_or_default())
    }

    pub(crate) fn refer_chart(&self, subject: &Subject, chart: ChartId) -> Result<SubjectRef> {
        let header = self.header()?;
        let key = &header.keyring.active_journal_key().key;
        let tag = crypto::subject_tag(key, subject.kind(), subject.identifier())?;
        Ok(SubjectRef { chart, tag })
    }

    /// A record that was looked at, with the version that was found, if any was.
    pub(crate) fn refer_record(
        &self,
        id: &RecordId,
        found: Option<(Address, u64)>,
    ) -> Result<Target> {
        let held = self
            .core
            .entries
            .get(id.subject(), self.core.store.clock.uptime());
        let held = held.filter(|held| held.entry.chart().is_some());
        let address = match (found, &held) {
            (Some((address, _)), _) => address,
            (None, Some(held)) => held.address(id.name())?,
            (None, None) => Address {
                chart: ChartId::default(),
                record: RecordTag::default(),
            },
        };
        let tag = match &held {
            Some(held) => self.subject_tag(held)?,
            None => self.refer_chart(id.subject(), address.chart)?.tag,
        };
        Ok(Target::Record {
            subject: SubjectRef {
                chart: address.chart,
                tag,
            },
            record: self.refer_name(address.record, id.name())?,
            version: found.map_or(0, |(_, version)| version),
        })
    }

    /// Every version that is told of would derive it again.
    fn subject_tag(&self, held: &CachedEntry) -> Result<SubjectTag> {
        if let Some(tag) = held.journal_tag.get() {
            return Ok(*tag);
        }
        let tag = self
            .refer_chart(held.entry.subject(), ChartId::default())?
            .tag;
        Ok(*held.journal_tag.get_or_init(|| tag))
    }

    fn refer_name(&self, tag: RecordTag, name: &str) -> Result<RecordRef> {
        let header = self.header()?;
        let name = crypto::name_tag(&header.keyring.active_journal_key().key, name)?;
        Ok(RecordRef { tag, name })
    }

    /// What is told of a record value that is to be written.
    pub(crate) fn draft_of_version(
        &self,
        act: &Act,
        held: &CachedEntry,
        address: &Address,
        name: &str,
        value: &[u8],
    ) -> Result<EntryDraft> {
        let target = Target::Version {
            subject: SubjectRef {
                chart: address.chart,
                tag: self.subject_tag(held)?,
            },
            record: self.refer_name(address.record, name)?,
            version: envelope::Head::parse(value)?.version,
            digest: envelope::digest(value)?,
        };
        Ok(act.draft(self.core.store.clock.now(), target, AccessOutcome::Done))
    }

    /// What is told of a patient entry that is to be written.
    pub(crate) fn draft_of_entry(
        &self,
        act: &Act,
        entry: &PatientEntry,
        value: &[u8],
    ) -> Result<EntryDraft> {
        let chart = match entry.state() {
            EntryState::Live(chart) => Some(*chart.id()),
            EntryState::Erasing { chart } => Some(*chart),
            EntryState::Erased => entry.dead_charts().last().copied(),
            EntryState::Alias(_) => None,
        };
        let target = Target::Entry {
            subject: self.refer_chart(entry.subject(), chart.unwrap_or_default())?,
            sequence: entry.sequence(),
            digest: crypto::sha256(&[value]),
        };
        Ok(act.draft(self.core.store.clock.now(), target, AccessOutcome::Done))
    }

    /// What is told of a header that is to be written.
    pub(crate) fn draft_of_header(&self, act: &Act, generation: u64, value: &[u8]) -> EntryDraft {
        let target = Target::Header {
            generation,
            digest: crypto::sha256(&[value]),
        };
        act.draft(self.core.store.clock.now(), target, AccessOutcome::Done)
    }
}

//! Journal references to subjects, records and written versions.

use crate::crypto::{self, ChartId, Digest, RecordTag, SubjectTag};
use crate::error::Result;
use crate::format::envelope::{self, Address};
use crate::id::{RecordId, Subject};
use crate::journal::{
    AccessOutcome, Act, EntryDraft, RecordRef, SealedEntry, SlotRef, SubjectRef, Target,
};
use crate::keys::SlotInfo;
use crate::keys::entry::{EntryState, PatientEntry};
use crate::vault::Vault;
use crate::vault::entries::{CachedEntry, EntryChange};

/// Returns the journal reference to a slot.
pub(crate) fn slot_target(slot: &SlotInfo) -> Target {
    Target::Slot(SlotRef::new(slot.id, slot.kind, slot.journal_only))
}

impl Vault {
    /// Returns the journal reference to a subject. The reference contains the chart id if the
    /// subject's entry is cached.
    pub(crate) fn refer_subject(&self, subject: &Subject) -> Result<SubjectRef> {
        let cached = self
            .core
            .entries
            .get(subject, self.core.store.clock.uptime());
        let chart = cached.as_ref().and_then(|cached| cached.entry.chart());
        let chart = chart.map(|chart| *chart.id());
        self.refer_chart(subject, chart.unwrap_or_default())
    }

    pub(crate) fn refer_chart(&self, subject: &Subject, chart: ChartId) -> Result<SubjectRef> {
        let header = self.header()?;
        let key = header.keyring.first_journal_key();
        let tag = crypto::subject_tag(key, subject.kind(), subject.identifier())?;
        Ok(SubjectRef { chart, tag })
    }

    /// Returns the journal reference to a record. The version is 0 if `found` is `None`.
    pub(crate) fn refer_record(
        &self,
        id: &RecordId,
        found: Option<(Address, u64)>,
    ) -> Result<Target> {
        let cached = self
            .core
            .entries
            .get(id.subject(), self.core.store.clock.uptime());
        let cached = cached.filter(|cached| cached.entry.chart().is_some());
        let address = match (found, &cached) {
            (Some((address, _)), _) => address,
            (None, Some(cached)) => cached.address(id.name())?,
            (None, None) => Address {
                chart: ChartId::default(),
                record: RecordTag::default(),
            },
        };
        let tag = match &cached {
            Some(cached) => self.subject_tag(cached)?,
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

    /// Returns the journal tag of a subject, cached because every version's journal entry needs the
    /// tag.
    fn subject_tag(&self, cached: &CachedEntry) -> Result<SubjectTag> {
        if let Some(tag) = cached.journal_tag.get() {
            return Ok(*tag);
        }
        let tag = self
            .refer_chart(cached.entry.subject(), ChartId::default())?
            .tag;
        Ok(*cached.journal_tag.get_or_init(|| tag))
    }

    fn refer_name(&self, tag: RecordTag, name: &str) -> Result<RecordRef> {
        let header = self.header()?;
        let name = crypto::name_tag(header.keyring.first_journal_key(), name)?;
        Ok(RecordRef { tag, name })
    }

    /// Returns the journal references to a record value, and its version.
    fn refer_version(
        &self,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        value: &[u8],
    ) -> Result<(SubjectRef, RecordRef, u64)> {
        let subject = SubjectRef {
            chart: address.chart,
            tag: self.subject_tag(cached)?,
        };
        let record = self.refer_name(address.record, name)?;
        Ok((subject, record, envelope::Head::parse(value)?.version))
    }

    /// Drafts the journal entry for a record value that is about to be written.
    pub(crate) fn draft_of_version(
        &self,
        act: &Act,
        cached: &CachedEntry,
        address: &Address,
        name: &str,
        value: &[u8],
    ) -> Result<EntryDraft> {
        let (subject, record, version) = self.refer_version(cached, address, name, value)?;
        let target = Target::Version {
            subject,
            record,
            version,
            digest: envelope::digest(value)?,
        };
        Ok(act.draft(self.core.store.clock.now(), target, AccessOutcome::Done))
    }

    /// Drafts the journal entry for a version that is about to be re-encrypted. `before` is the
    /// digest of the stored value.
    pub(crate) fn draft_of_reencryption(
        &self,
        act: &Act,
        cached: &CachedEntry,
        address: &Address,
        (name, before): (&str, Digest),
        value: &[u8],
    ) -> Result<EntryDraft> {
        let (subject, record, version) = self.refer_version(cached, address, name, value)?;
        let target = Target::Reencrypted {
            subject,
            record,
            version,
            before,
            after: envelope::digest(value)?,
        };
        Ok(act.draft(self.core.store.clock.now(), target, AccessOutcome::Done))
    }

    /// Drafts the journal entry for a patient entry that is about to be written.
    pub(crate) fn draft_of_entry(
        &self,
        act: &Act,
        what: EntryChange,
        entry: &PatientEntry,
        value: &[u8],
    ) -> Result<EntryDraft> {
        let chart = match entry.state() {
            EntryState::Live(chart) => Some(*chart.id()),
            EntryState::Erasing { chart } => Some(*chart),
            EntryState::Erased => entry.dead_charts().last().copied(),
            EntryState::Alias(_) => None,
        };
        let subject = self.refer_chart(entry.subject(), chart.unwrap_or_default())?;
        let written = SealedEntry {
            sequence: entry.sequence(),
            digest: crypto::sha256(&[value]),
        };
        let target = what.target(subject, Some(written));
        Ok(act.draft(self.core.store.clock.now(), target, AccessOutcome::Done))
    }

    /// Returns the journal reference to a slot of the header in memory.
    pub(crate) fn refer_slot(&self, id: u16) -> Target {
        let header = self.header_in_memory();
        let slots = header.into_iter().flat_map(|header| header.header.slots());
        let slot = slots.into_iter().find(|slot| slot.id == id);
        slot.map_or(Target::Slot(SlotRef { id, kind: 0 }), |slot| {
            slot_target(&slot)
        })
    }

    /// Returns the journal references to the slots and the master keys of a new vault.
    pub(crate) fn refer_first_keys(&self) -> Result<Vec<Target>> {
        let header = self.header_in_memory()?;
        let masters = header.keyring.masters();
        let masters = masters.map(|master| Target::MasterKey(master.number));
        let slots = header.header.slots();
        Ok(slots.iter().map(slot_target).chain(masters).collect())
    }

    /// Drafts the journal entry for a header that is about to be written.
    pub(crate) fn draft_of_header(&self, act: &Act, generation: u64, value: &[u8]) -> EntryDraft {
        let target = Target::Header {
            generation,
            digest: crypto::sha256(&[value]),
        };
        act.draft(self.core.store.clock.now(), target, AccessOutcome::Done)
    }
}

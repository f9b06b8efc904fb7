//! Storage for audit tests, with a header, an auditor's slot and journal chains.

use std::sync::Arc;
use std::time::Duration;

use chartlock::audit::{AuditEntry, AuditItem, AuditTrail, Auditor};
use chartlock::internals::clock::Clock;
use chartlock::internals::crypto::{self, JournalKey};
use chartlock::internals::journal::{
    Act, Context, EntryDraft, JournaledChange, RecordRef, Sealer, SubjectRef, Target, WriteTime,
    Writer,
};
use chartlock::internals::keys::{Header, Keyring};
use chartlock::internals::vault;
use chartlock::storage::{Expect, MemoryStorage, PerOperation, Storage, Transaction};
use chartlock::{CipherSuite, Operation, Purpose, VaultOptions, access::AccessOutcome};

pub(crate) use crate::common::clock::{ManualClock, NOON};
pub(crate) use crate::common::objects::{self, keys_of, value_of};
pub(crate) use crate::common::{Fixed, actor, record, session, session_as, subject};

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;
/// The time at which auditors open the journal, unless a test sets another time.
pub(crate) const LATER: i64 = NOON + 9 * DAY;

/// Storage with a header, without a vault; tests write to it through the crate's journal module.
pub(crate) struct JournalStage {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) header: Header,
    pub(crate) clock: Arc<ManualClock>,
    keyring: Keyring,
}

impl JournalStage {
    pub(crate) fn new() -> Self {
        Self::on(MemoryStorage::new())
    }

    pub(crate) fn per_operation() -> Self {
        Self::on(PerOperation::new(MemoryStorage::new()))
    }

    /// Creates the header. `Fixed(1)` opens the vault, and `Fixed(2)` opens only the journal.
    fn on(storage: impl Storage + 'static) -> Self {
        let keyring = Keyring::new(NOON).unwrap();
        let (value, root) = Header::create(CipherSuite::default(), &keyring, &Fixed(1)).unwrap();
        let mut header = Header::parse(&value).unwrap();
        let key = &keyring.active_journal_key().key;
        header.add_auditor_slot(key, &Fixed(2), None).unwrap();
        let value = header.sealed_with(&root, &keyring, 2).unwrap();
        let put = Transaction::new().put(b"v", &value[..], Expect::Absent);
        assert!(storage.commit(&[put])[0].is_ok());
        Self {
            storage: Arc::new(storage),
            header: Header::parse(&value).unwrap(),
            clock: Arc::new(ManualClock::at(LATER)),
            keyring,
        }
    }

    pub(crate) fn key(&self) -> &JournalKey {
        &self.keyring.active_journal_key().key
    }

    /// Returns a new journal writer, such as another process would have.
    pub(crate) fn writer(&self) -> Writer {
        self.writer_to(Arc::clone(&self.storage))
    }

    pub(crate) fn sealer(&self) -> Sealer {
        vault::sealer(self.header.suite(), self.header.vault(), &self.keyring)
    }

    pub(crate) fn writer_to(&self, storage: Arc<dyn Storage>) -> Writer {
        Writer::new(storage, self.sealer())
    }

    pub(crate) fn open(&self) -> Auditor {
        self.try_open(Arc::clone(&self.storage)).unwrap()
    }

    pub(crate) fn try_open(&self, storage: Arc<dyn Storage>) -> Result<Auditor, chartlock::Error> {
        let options = VaultOptions::new().clock(Arc::clone(&self.clock) as Arc<dyn Clock>);
        let actor = actor("privacy.office");
        options.open_journal(storage, &Fixed(2), actor, Purpose::Operations)
    }

    pub(crate) fn subject(&self, identifier: &str) -> SubjectRef {
        let subject = subject(identifier);
        let tag = crypto::subject_tag(self.key(), subject.kind(), identifier);
        SubjectRef {
            chart: crypto::sha256(&[identifier.as_bytes()])[..16]
                .try_into()
                .unwrap(),
            tag: tag.unwrap(),
        }
    }

    pub(crate) fn record(&self, identifier: &str, name: &str, version: u64) -> Target {
        Target::Record {
            subject: self.subject(identifier),
            record: self.name(name),
            version,
        }
    }

    pub(crate) fn version(&self, identifier: &str, name: &str, version: u64) -> Target {
        Target::Version {
            subject: self.subject(identifier),
            record: self.name(name),
            version,
            digest: crypto::sha256(&[name.as_bytes(), &version.to_le_bytes()]),
        }
    }

    pub(crate) fn reencrypted(
        &self,
        identifier: &str,
        name: &str,
        version: u64,
        (before, after): ([u8; 32], [u8; 32]),
    ) -> Target {
        Target::Reencrypted {
            subject: self.subject(identifier),
            record: self.name(name),
            version,
            before,
            after,
        }
    }

    fn name(&self, name: &str) -> RecordRef {
        RecordRef {
            tag: [7; 16],
            name: crypto::name_tag(self.key(), name).unwrap(),
        }
    }
}

/// Returns the act of this actor with this purpose and operation.
pub(crate) fn by(actor: &str, purpose: Purpose, operation: Operation) -> Act {
    Act::new(
        Arc::new(Context {
            actor: actor.into(),
            purpose: purpose.code().into(),
            ..Context::default()
        }),
        operation,
        "",
    )
}

pub(crate) fn garcia(operation: Operation) -> Act {
    by("dr.garcia", Purpose::Treatment, operation)
}

/// Returns the draft of an entry with outcome `Done`.
pub(crate) fn done(act: Act, at: i64, target: Target) -> EntryDraft {
    act.draft(at, target, AccessOutcome::Done)
}

pub(crate) fn moment(now: i64) -> WriteTime {
    WriteTime {
        now,
        uptime: Duration::ZERO,
    }
}

/// Writes these entries on one page, at the time `now`.
pub(crate) fn write_page(writer: &Writer, now: i64, drafts: impl IntoIterator<Item = EntryDraft>) {
    for draft in drafts {
        writer.note(draft, Duration::ZERO).unwrap();
    }
    writer.flush_all(moment(now)).unwrap();
}

/// Returns a change that puts `key` and writes these entries.
pub(crate) fn change(key: &[u8], drafts: Vec<EntryDraft>) -> JournaledChange {
    JournaledChange {
        transaction: Transaction::new().put(key, b"sealed", Expect::Absent),
        drafts: drafts.into(),
    }
}

/// Returns all items of an audit trail except the entries of auditors.
pub(crate) fn items(trail: &AuditTrail) -> Vec<AuditItem> {
    let all = trail.entries(..).unwrap().map(Result::unwrap);
    all.filter(|item| {
        !matches!(item, AuditItem::Entry(entry) if entry.operation == Operation::ReadJournal)
    })
    .collect()
}

/// Returns the entries of an audit trail, and asserts that the trail has no fault.
pub(crate) fn entries(trail: &AuditTrail) -> Vec<AuditEntry> {
    let each = items(trail).into_iter().map(|item| match item {
        AuditItem::Entry(entry) => entry,
        AuditItem::Fault(fault) => panic!("{fault:?}"),
    });
    each.collect()
}

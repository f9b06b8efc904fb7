//! Operations that processes run on a vault, and their results.

use std::sync::Arc;

use chartlock::internals::clock::Clock;
use chartlock::storage::Storage;
use chartlock::{
    Document, Error, Journaling, Precondition, RecordId, Session, Subject, Vault, VaultOptions,
    report::GarbageReport, verify::VerifyReport,
};

use crate::common::because;
use crate::equipment::Equipment;

/// Record identifier: the number of the patient and the number of the record.
pub(crate) type Record = (u8, u8);

/// An operation of a process on a vault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Put(Record),
    /// Puts content above the inline limit.
    PutLarge(Record),
    PutIf(Record, Precondition),
    PutMany(&'static [Record]),
    Retract(Record),
    Get(Record),
    GetVersion(Record, u64),
    History(Record),
    List(u8),
    RotateSubject(u8),
    Reencrypt(u8),
    RotateMaster,
    /// Destroys the inactive master key that the setup left.
    DestroyMaster,
    Erase(u8),
    ReopenChart(u8),
    Hold(u8),
    CollectGarbage,
    /// Collects garbage with a clock that is days ahead, so that uploads in progress look
    /// abandoned.
    CollectGarbageAhead,
    /// Verifies the vault while other operations run.
    Verify,
    /// Lets days pass, so that uploads in progress become abandoned.
    Wait,
    RotateJournal,
    /// From now on the process cannot write the vault's storage.
    FillDisk,
    /// The process can write the vault's storage again.
    FreeDisk,
    BeginFallback,
    EndFallback,
    /// Plans a restore, for the next acceptance of this process.
    PlanRestore,
    AcceptRestore,
    /// Part of a setup: remembers all objects.
    TakeBackup,
    /// Part of a setup: puts back all objects except the journal.
    RestoreBackup,
    /// Move of a former insider: stores a journal page under the vault's first keys.
    PlantLate,
    /// Move of an auditor: stores a journal page in the name of the vault.
    PlantForged,
    /// Move of a storage writer: deletes a record.
    DeleteRecord,
}

/// Outcomes of puts and retractions. A success contains the new version, or `None` if there was
/// nothing to retract.
pub(crate) type Written = Vec<(Record, Result<Option<u64>, Error>)>;

/// The result of an operation.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Written(Written),
    /// A version with its content; `None` if the vault reports no such record or version.
    Read(Record, Option<(u64, Vec<u8>)>),
    /// The number of versions.
    History(Record, usize),
    Listed(u8, Vec<String>),
    /// Counts from the report of a rotation or re-encryption: blocking objects, then orphaned ones.
    Rotated(u64, u64),
    Collected(GarbageReport),
    Verified(Box<VerifyReport>),
    /// The numbers of items of an accepted restore: subjects erased again, and items left out.
    Accepted {
        erased: u64,
        left_out: u64,
    },
    Done,
    Failed(Error),
}

pub(crate) fn subject(patient: u8) -> Subject {
    crate::common::subject(&format!("P{patient}"))
}

pub(crate) fn name((_, number): Record) -> String {
    format!("R{number}")
}

pub(crate) fn id(record: Record) -> RecordId {
    crate::common::record(&format!("P{}", record.0), &name(record))
}

/// Returns the content of a put, unique to the process, the operation and the record.
pub(crate) fn content(process: usize, index: usize, record: Record, large: bool) -> Vec<u8> {
    let mut content = format!("{process}/{index}/{record:?}").into_bytes();
    if large {
        content.resize(64 * 1024 + 1, b'.');
    }
    content
}

impl Verb {
    /// Returns `true` if the operation must observe all puts that were acknowledged before it began.
    pub(crate) fn reads(self) -> bool {
        matches!(
            self,
            Self::Get(_) | Self::GetVersion(..) | Self::History(_) | Self::List(_)
        )
    }

    /// Returns `true` if the operation is a move of an attacker.
    pub(crate) fn is_attack(self) -> bool {
        matches!(
            self,
            Self::PlantLate | Self::PlantForged | Self::DeleteRecord
        )
    }

    /// Returns the records that the operation writes.
    pub(crate) fn records(self) -> Vec<Record> {
        match self {
            Self::Put(record)
            | Self::PutLarge(record)
            | Self::PutIf(record, _)
            | Self::Retract(record) => vec![record],
            Self::PutMany(records) => records.to_vec(),
            _ => Vec::new(),
        }
    }

    pub(crate) fn run(
        self,
        vault: &Vault,
        inactive_master: Option<u32>,
        (process, index): (usize, usize),
        equipment: &Equipment,
    ) -> Answer {
        let session = crate::common::session(vault);
        let content = |record, large| content(process, index, record, large);
        let written = |record, outcome| Answer::Written(vec![(record, outcome)]);
        let answer = match self {
            Self::Put(record) => {
                let put = session.put(&id(record), &content(record, false));
                return written(record, put.map(Some));
            }
            Self::PutLarge(record) => {
                let put = session.put(&id(record), &content(record, true));
                return written(record, put.map(Some));
            }
            Self::PutIf(record, expected) => {
                let put = session.put_if(&id(record), expected, &content(record, false));
                return written(record, put.map(Some));
            }
            Self::Retract(record) => return written(record, session.retract(&id(record))),
            Self::PutMany(records) => put_many(&session, records, &content),
            Self::Get(record) => session.get(&id(record)).map(|found| {
                let found = found.map(|found| (found.version(), found.to_vec()));
                Answer::Read(record, found)
            }),
            Self::GetVersion(record, version) => {
                session.get_version(&id(record), version).map(|found| {
                    let found = found.map(|found| (found.version(), found.to_vec()));
                    Answer::Read(record, found)
                })
            }
            Self::History(record) => (session.history(&id(record)))
                .map(|versions| Answer::History(record, versions.len())),
            Self::List(patient) => list(&session, patient),
            Self::Erase(patient) => {
                (session.erase_subject(&subject(patient), "asked for")).map(|_| Answer::Done)
            }
            Self::ReopenChart(patient) => {
                (session.reopen_chart(&subject(patient))).map(|()| Answer::Done)
            }
            Self::Hold(patient) => {
                (session.place_hold(&subject(patient), "subpoena")).map(|_| Answer::Done)
            }
            Self::FillDisk | Self::FreeDisk | Self::BeginFallback | Self::EndFallback => {
                self.run_fallback(&session, equipment)
            }
            Self::PlanRestore | Self::AcceptRestore => self.run_restore(&session, equipment),
            Self::PlantLate => equipment.plant(|moves| &moves.late).map(|()| Answer::Done),
            Self::PlantForged => (equipment.plant(|moves| &moves.forged)).map(|()| Answer::Done),
            Self::DeleteRecord => equipment.delete_record().map(|()| Answer::Done),
            Self::Wait | Self::TakeBackup | Self::RestoreBackup => Ok(Answer::Done),
            _ => self.run_maintenance(vault, inactive_master),
        };
        answer.unwrap_or_else(Answer::Failed)
    }

    fn run_maintenance(self, vault: &Vault, inactive_master: Option<u32>) -> Result<Answer, Error> {
        match self {
            Self::RotateSubject(patient) => vault
                .rotate_subject_key(&subject(patient))
                .map(|report| Answer::Rotated(report.blocking, report.orphaned)),
            Self::Reencrypt(patient) => vault
                .reencrypt_subject(&subject(patient))
                .map(|report| Answer::Rotated(report.blocking, report.orphaned)),
            Self::RotateMaster => (vault.rotate_master_key())
                .map(|report| Answer::Rotated(report.entries_blocking, report.entries_orphaned)),
            Self::DestroyMaster => vault
                .destroy_master_key(inactive_master.unwrap())
                .map(|report| Answer::Rotated(report.entries_blocking, report.entries_orphaned)),
            Self::RotateJournal => (vault.rotate_journal_keys(&[], &[])).map(|_| Answer::Done),
            Self::CollectGarbage | Self::CollectGarbageAhead => {
                vault.collect_garbage().map(Answer::Collected)
            }
            Self::Verify => (vault.verify(None)).map(|report| Answer::Verified(report.into())),
            other => unreachable!("{other:?} needs more than the vault"),
        }
    }

    fn run_fallback(self, session: &Session, equipment: &Equipment) -> Result<Answer, Error> {
        match self {
            Self::BeginFallback => {
                session.begin_journal_fallback("disk full", Arc::clone(&equipment.spool))?;
            }
            Self::EndFallback => drop(session.end_journal_fallback("disk free")?),
            _ => equipment.local.set_disk_full(self == Self::FillDisk),
        }
        Ok(Answer::Done)
    }

    fn run_restore(self, session: &Session, equipment: &Equipment) -> Result<Answer, Error> {
        let mut plan = equipment.plan.lock().unwrap();
        if self == Self::PlanRestore {
            *plan = Some(session.plan_restore(None, None)?);
            return Ok(Answer::Done);
        }
        let plan = plan.as_ref().ok_or(Error::PlanOutdated)?;
        let report = session.accept_restore(plan, because("disk failure"))?;
        Ok(Answer::Accepted {
            erased: report.erased_again,
            left_out: report.left_out,
        })
    }
}

fn put_many(
    session: &Session,
    records: &[Record],
    content: &dyn Fn(Record, bool) -> Vec<u8>,
) -> Result<Answer, Error> {
    let ids: Vec<_> = records.iter().map(|record| id(*record)).collect();
    let contents: Vec<_> = records
        .iter()
        .map(|record| content(*record, false))
        .collect();
    let documents = contents.iter().map(Document::from);
    let outcomes = session.put_many(ids.iter().zip(documents))?;
    let outcomes = outcomes.into_iter().map(|outcome| outcome.map(Some));
    Ok(Answer::Written(
        records.iter().copied().zip(outcomes).collect(),
    ))
}

fn list(session: &Session, patient: u8) -> Result<Answer, Error> {
    let infos = session.list(&subject(patient))?;
    let names = infos.map(|info| info.map(|info| info.name().to_owned()));
    Ok(Answer::Listed(patient, names.collect::<Result<_, _>>()?))
}

/// Opens a vault with a credential that needs no key stretching.
pub(crate) fn open(
    storage: impl Storage + 'static,
    clock: Arc<dyn Clock>,
    journal: Option<Journaling>,
) -> Result<Vault, Error> {
    options(journal, clock).open(storage, &crate::common::Fixed(1))
}

/// Returns vault options with a journaling mode, or without a journal.
pub(crate) fn options(journal: Option<Journaling>, clock: Arc<dyn Clock>) -> VaultOptions {
    let options = VaultOptions::new().clock(clock);
    match journal {
        Some(mode) => options.journaling(mode),
        None => options.without_journal(),
    }
}

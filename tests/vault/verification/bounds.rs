//! Bounds of a verification. Time and memory depend on stored objects and journal entries, never on
//! the numbers in them. No single object ends a verification.

use std::sync::Arc;

use chartlock::Operation;
use chartlock::access::AccessOutcome;
use chartlock::internals::envelope::{Body, VERSION_MAX, digest};
use chartlock::internals::journal::{
    Act, ChainHead, Context, Page, PageId, RecordRef, Stage as EntryStage, SubjectRef, Target,
};
use chartlock::verify::{FindingKind, JournalFault, RecordFinding};

use super::authority::insider;
use super::{chains, clinic, faults, record_key, records, verify};
use crate::common::accept_restore;
use crate::common::journal::unlocked;
use crate::forged_records::{sealed, sealed_with_length};
use crate::raw;
use crate::stage::{Shared, Stage, record, session_on, subject};

everywhere!(
    length_beyond_every_storage_is_one_finding,
    run_of_missing_versions_is_one_finding,
    removed_record_of_huge_version_is_two_findings,
    greatest_numbers_in_page_end_no_verification,
    run_of_missing_chain_pages_is_one_finding,
    run_of_planted_pages_is_one_finding,
    planted_last_page_hides_no_page_of_live_writer,
);

/// Stores a page that a holder of all keys of the vault sealed, at the beginning of a chain of its
/// own.
fn write_page(storage: &Shared, seen: Vec<ChainHead>, operation: Operation, target: Target) {
    let act = Act::new(Arc::new(Context::default()), operation, "");
    let draft = act.draft(1_800_000_000_000, target, AccessOutcome::Done);
    let entries = [(&draft, EntryStage::Done)].into_iter();
    let page = Page::new([0; 32], seen, entries).unwrap();
    let id = PageId {
        writer: [9; 16],
        sequence: 0,
    };
    let value = page.seal(&insider(storage), &id).unwrap();
    raw::put(storage, &page_key(&id), &value);
}

fn page_key(id: &PageId) -> Vec<u8> {
    [b"j", &id.writer[..], &id.sequence.to_be_bytes()].concat()
}

/// Returns the target of an entry that records the write of a version.
fn version_of(key: &[u8], version: u64, digest: [u8; 32]) -> Target {
    Target::Version {
        subject: SubjectRef {
            chart: key[1..17].try_into().unwrap(),
            ..SubjectRef::default()
        },
        record: RecordRef {
            tag: key[17..33].try_into().unwrap(),
            ..RecordRef::default()
        },
        version,
        digest,
    }
}

fn runs(found: &[RecordFinding]) -> Vec<(FindingKind, u64, u64)> {
    let found = found.iter();
    found
        .map(|found| (found.kind, found.version, found.versions))
        .collect()
}

/// A record and a journal page agree on the greatest version that a record can have.
fn run_of_missing_versions_is_one_finding(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Observation/1");
    let value = sealed(
        stage,
        &key,
        ("Observation/1", VERSION_MAX),
        Body::Inline(b"forged"),
    );
    raw::put(&stage.storage, &key, &value);
    let target = version_of(&key, VERSION_MAX, digest(&value).unwrap());
    write_page(&stage.storage, vec![], Operation::Put, target);
    let report = verify(stage);
    let missing = (FindingKind::Missing, 2, VERSION_MAX - 2);
    assert_eq!(runs(&report.records), [missing]);
    assert!(report.journal.is_empty());
}

fn removed_record_of_huge_version_is_two_findings(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Observation/1");
    for version in [VERSION_MAX, u64::MAX] {
        let target = version_of(&key, version, [1; 32]);
        write_page(&stage.storage, vec![], Operation::Put, target);
        raw::delete(&stage.storage, &key);
        let report = verify(stage);
        let missing = [(2, version - 2), (version, 1)];
        let missing = missing.map(|(first, count)| (FindingKind::Missing, first, count));
        let mut found = runs(&report.records);
        found.sort_unstable();
        assert_eq!(found, missing);
    }
}

fn greatest_numbers_in_page_end_no_verification(stage: &Stage) {
    clinic(&stage.create());
    let subject = SubjectRef {
        chart: [1; 16],
        tag: [1; 16],
    };
    let (generation, sequence, digest) = (u64::MAX, u64::MAX, [1; 32]);
    write_page(
        &stage.storage,
        vec![],
        Operation::RotateMaster,
        Target::Header { generation, digest },
    );
    let header = verify(stage).header.unwrap();
    let found = (header.kind, header.generation);
    assert_eq!(found, (FindingKind::RolledBack, Some(u64::MAX)));
    let entry = Target::Entry {
        subject,
        sequence,
        digest,
    };
    write_page(&stage.storage, vec![], Operation::Prepare, entry);
    let report = verify(stage);
    let [finding] = &report.entries[..] else {
        panic!("{report:#?}");
    };
    let found = (finding.kind, finding.sequence);
    assert_eq!(found, (FindingKind::Missing, Some(u64::MAX)));
}

fn run_of_missing_chain_pages_is_one_finding(stage: &Stage) {
    clinic(&stage.create());
    let writer = [1; 16];
    let seen = [0, 1 << 40, u64::MAX].map(|sequence| ChainHead {
        page: PageId { writer, sequence },
        digest: [1; 32],
    });
    write_page(&stage.storage, seen.into(), Operation::Read, Target::Vault);
    let report = verify(stage);
    assert_eq!(faults(&report), [JournalFault::Cut]);
    assert_eq!(
        (report.journal[0].page, report.journal[0].pages),
        (0, u64::MAX)
    );
}

/// A claimed length needs more segments than there are segment numbers.
fn length_beyond_every_storage_is_one_finding(stage: &Stage) {
    clinic(&stage.create());
    let key = record_key(stage, "MRN-1", "Observation/1");
    for length in [1 << 40, 1 << 52, u64::MAX >> 1, u64::MAX] {
        let value = sealed_with_length(stage, &key, ("Observation/1", 2), length);
        raw::put(&stage.storage, &key, &value);
        let altered = ("MRN-1 Observation/1".to_owned(), 2, FindingKind::Altered);
        let report = verify(stage);
        assert_eq!(records(&report), [altered], "{length}");
        assert!(report.journal.is_empty());
    }
    let vault = stage.open();
    let session = session_on(&vault);
    accept_restore(&session, "disk failure").unwrap();
    assert!(session.get(&record("MRN-2", "Observation/1")).is_ok());
}

/// Returns a value with the head of a page of the vault, which does not open.
pub(super) fn planted_page(storage: &Shared) -> Vec<u8> {
    let (_, unlocked) = unlocked(&**storage);
    let number = unlocked.keyring.active_journal_key().number;
    [&[1, 1, 18, 0], &number.to_le_bytes()[..], &[7; 192]].concat()
}

fn run_of_planted_pages_is_one_finding(stage: &Stage) {
    clinic(&stage.create());
    let writer = [9; 16];
    for sequence in (5..40).chain([u64::MAX]) {
        let key = page_key(&PageId { writer, sequence });
        raw::put(&stage.storage, &key, &planted_page(&stage.storage));
    }
    let report = verify(stage);
    let found = report.journal.iter();
    let found: Vec<_> = found.map(|it| (it.fault, it.page, it.pages)).collect();
    let expected = [
        (JournalFault::Missing, 0, 5),
        (JournalFault::Altered, 5, 35),
        (JournalFault::Missing, 40, u64::MAX - 40),
        (JournalFault::Altered, u64::MAX, 1),
    ];
    assert_eq!(found, expected);
}

/// Plants a page that does not open after the last page of a chain. The pages that the writer of the
/// chain adds before it still count.
fn planted_last_page_hides_no_page_of_live_writer(stage: &Stage) {
    let vault = stage.create();
    clinic(&vault);
    let chain = chains(&stage.storage).remove(0);
    for sequence in [u64::MAX - 1, u64::MAX] {
        let key = [&chain[0][..17], &sequence.to_be_bytes()].concat();
        raw::put(&stage.storage, &key, &planted_page(&stage.storage));
    }
    let mut verification = vault.verification();
    // The journal is read in the second step.
    for _ in 0..2 {
        assert!(verification.step().unwrap());
    }
    let session = session_on(&vault);
    for (patient, name) in [("MRN-1", "Observation/1"), ("MRN-3", "Observation/1")] {
        session.put(&record(patient, name), b"125/82").unwrap();
    }
    session
        .erase_subject(&subject("MRN-2"), "asked for")
        .unwrap();
    while verification.step().unwrap() {}
    let report = verification.report();
    let planted = [JournalFault::Missing, JournalFault::Altered];
    assert_eq!(faults(report), planted);
    assert!(report.records.is_empty() && report.unattested.is_empty());
    assert!(report.entries.is_empty() && report.unattested_entries.is_empty());
}

//! Filters of journal pages: reports about one subject pass over pages of other subjects, and omit
//! nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use chartlock::audit::{AccessReport, AuditItem, EntryPosition, FaultKind, Timestamp};
use chartlock::internals::journal::{Page, PageId, Stage as EntryStage, Target};
use chartlock::{Operation, Purpose, Vault};

use crate::common::Stage;
use crate::common::counting::Counting;
use crate::stage::*;

fn read(stage: &JournalStage, patient: &str, at: i64) -> chartlock::internals::journal::EntryDraft {
    done(garcia(Operation::Read), at, stage.record(patient, "a", 1))
}

/// Writes a chain of 40 pages: every tenth page is about MRN-1, the others are about other patients.
fn forty_pages() -> JournalStage {
    forty_pages_of(1)
}

/// Writes pages like [`forty_pages`], each with this number of entries. Only the first bytes of pages
/// with many entries are read to pass over them.
fn forty_pages_of(entries: usize) -> JournalStage {
    let stage = JournalStage::new();
    let writer = stage.writer();
    for page in 0..40 {
        let at = NOON + page * MINUTE;
        let patient = match page % 10 {
            0 => "MRN-1".to_owned(),
            other => format!("MRN-1{other}"),
        };
        write_page(
            &writer,
            at,
            (0..entries).map(|_| read(&stage, &patient, at)),
        );
    }
    stage
}

fn accesses(stage: &JournalStage, patient: &str) -> AccessReport {
    stage
        .open()
        .trail()
        .accesses(&subject(patient), ..)
        .unwrap()
}

/// Returns the accesses without those of auditors.
fn reads(report: &AccessReport) -> usize {
    let mut accesses = report.accesses.iter();
    let reads = accesses.by_ref();
    reads.filter(|it| it.operation == Operation::Read).count()
}

#[test]
fn report_passes_over_pages_of_other_patients() {
    let stage = forty_pages();
    let report = accesses(&stage, "MRN-1");
    assert_eq!((reads(&report), report.unreadable.count), (4, 0));
    let pages = keys_of(&*stage.storage, b"j").len() as u64;
    // A page about another patient is opened if two values of 2 bytes are equal by chance.
    let expected = pages - 8..pages - 4;
    assert!(expected.contains(&report.pages_passed_over), "{report:?}");
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["pages_passed_over"], report.pages_passed_over);
    let unknown = accesses(&stage, "MRN-404");
    assert_eq!(reads(&unknown), 0);
    assert!(unknown.pages_passed_over >= 36);
}

#[test]
fn report_of_any_patient_equals_full_trail() {
    for stage in [JournalStage::new(), JournalStage::per_operation()] {
        let writers = [stage.writer(), stage.writer(), stage.writer()];
        let mut random = 7_u64;
        let mut next = |below: u64| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) % below
        };
        for step in 0..120 {
            let at = NOON + step * MINUTE;
            let writer = &writers[next(3) as usize];
            let patient = format!("MRN-{}", next(6));
            let version = next(9) + 1;
            if next(2) == 0 {
                let target = stage.version(&patient, "a", version);
                let put = done(garcia(Operation::Put), at, target);
                let key = format!("x{step}");
                let changes = vec![change(key.as_bytes(), vec![put])];
                writer.commit(changes, moment(at)).unwrap();
            } else {
                let count = next(5);
                let reads = (0..count).map(|_| format!("MRN-{}", next(6)));
                let reads: Vec<_> = reads.map(|patient| read(&stage, &patient, at)).collect();
                write_page(writer, at, reads);
            }
        }
        for writer in &writers {
            writer.flush_all(moment(NOON + DAY)).unwrap();
        }
        let auditor = stage.open();
        for patient in (0..6).map(|n| format!("MRN-{n}")) {
            let report = accesses(&stage, &patient);
            let tag = stage.subject(&patient).tag;
            let of_patient = |item: &AuditItem| match item {
                AuditItem::Entry(entry) => {
                    let mark = entry.subject.as_ref().map(|mark| mark.tag.0);
                    (mark == Some(tag)).then_some((entry.position, entry.settled))
                }
                AuditItem::Fault(fault) => panic!("{fault:?}"),
            };
            let all = items(&auditor.trail());
            let expected: BTreeSet<(EntryPosition, bool)> =
                all.iter().filter_map(of_patient).collect();
            let listed = report.accesses.iter();
            let listed = listed.filter(|it| it.operation != Operation::ReadJournal);
            let listed = listed.map(|it| (it.position, it.certain)).collect();
            assert_eq!(expected, listed);
            assert!(report.unreadable.is_empty());
        }
    }
}

/// Returns the values of a page with its filter changed in each way that a storage writer can.
fn with_changed_filters(value: &[u8]) -> Vec<Vec<u8>> {
    let count = usize::from(u16::from_le_bytes([value[72], value[73]]));
    let (before, values) = (&value[..72], &value[74..74 + 2 * count]);
    let sealed = &value[74 + 2 * count..];
    let with = |count: u16, values: &[u8]| [before, &count.to_le_bytes(), values, sealed].concat();
    let changed = (0..2 * count).map(|at| {
        let mut values = values.to_vec();
        values[at] ^= 1;
        with(count as u16, &values)
    });
    let mut swapped = values.to_vec();
    swapped.rotate_left(2);
    let longer = [values, &[0xfc, 0xff, 0xfd, 0xff, 0xfe, 0xff, 0xff, 0xff]].concat();
    let other: Vec<u8> = (1..=count as u16).flat_map(u16::to_le_bytes).collect();
    let others = [
        with(0, &[]),
        with(count as u16 / 2, &values[..count]),
        with(2 * count as u16, &longer),
        with(count as u16, &swapped),
        with(count as u16, &other),
        with(0xffff, &[]),
        // The filter lists nothing, and its values are taken for ciphertext.
        with(0xffff, values),
        value[..74 + count].to_vec(),
        value[..73].to_vec(),
    ];
    changed.chain(others).collect()
}

#[test]
fn changed_filter_is_fault_of_report() {
    let stage = forty_pages();
    let keys = keys_of(&*stage.storage, b"j");
    for (key, has_patient) in [(&keys[10], true), (&keys[11], false)] {
        let value = value_of(&*stage.storage, key).unwrap();
        for changed in with_changed_filters(&value) {
            objects::put(&*stage.storage, key, &changed);
            let report = accesses(&stage, "MRN-1");
            assert_eq!(reads(&report), 4 - usize::from(has_patient));
            let faults = report.unreadable.first.iter();
            let faults: Vec<_> = faults.map(|fault| fault.what).collect();
            assert_eq!(faults[0], FaultKind::NotAuthentic, "{has_patient}");
        }
        objects::put(&*stage.storage, key, &value);
    }
    assert_eq!(accesses(&stage, "MRN-1").unreadable.count, 0);
}

#[test]
fn changed_filter_is_finding_of_verify() {
    let stage = Stage::memory();
    let vault = stage.create();
    let id = record("MRN-1", "Observation/1");
    for _ in 0..3 {
        session(&vault).put(&id, b"120/80").unwrap();
    }
    vault.close().unwrap();
    let keys = keys_of(&*stage.storage, b"j");
    let is_clean = |vault: &Vault| vault.verify(None).unwrap().is_clean();
    assert!(is_clean(&stage.open()));
    for key in &keys {
        let value = value_of(&*stage.storage, key).unwrap();
        for changed in with_changed_filters(&value) {
            objects::put(&*stage.storage, key, &changed);
            assert!(!is_clean(&stage.open()));
        }
        objects::put(&*stage.storage, key, &value);
    }
    assert!(is_clean(&stage.open()));
}

#[test]
fn missing_page_of_other_patient_is_fault_of_report() {
    let stage = forty_pages();
    let keys = keys_of(&*stage.storage, b"j");
    objects::delete(&*stage.storage, &keys[15]);
    let report = accesses(&stage, "MRN-1");
    assert_eq!((reads(&report), report.unreadable.count), (4, 1));
    assert_eq!(report.unreadable.first[0].what, FaultKind::Missing);
}

/// A holder of the journal key seals a page again with another filter. The page after it shows that, if
/// the report opens that page.
#[test]
fn page_sealed_again_before_page_of_patient_is_unlinked() {
    for entries in [1, 60] {
        page_sealed_again_is_unlinked(entries);
    }
}

fn page_sealed_again_is_unlinked(entries: usize) {
    let stage = forty_pages_of(entries);
    let key = &keys_of(&*stage.storage, b"j")[19];
    let position = PageId {
        writer: key[1..17].try_into().unwrap(),
        sequence: 19,
    };
    let page = Page::new([0; 32], vec![], std::iter::empty()).unwrap();
    let value = page.seal(&stage.sealer(), &position).unwrap();
    objects::put(&*stage.storage, key, &value);
    let report = accesses(&stage, "MRN-1");
    let found = (reads(&report), report.unreadable.count);
    assert_eq!(found, (4 * entries, 1));
    assert_eq!(report.unreadable.first[0].what, FaultKind::Unlinked);
}

#[test]
fn report_reads_only_the_heads_of_pages_that_it_passes_over() {
    let stage = forty_pages_of(60);
    let pages = objects::objects_of(&*stage.storage, b"j");
    let stored: usize = pages.values().map(Vec::len).sum();
    let storage = Arc::new(Counting::new(Arc::clone(&stage.storage)));
    let auditor = stage.try_open(storage.clone()).unwrap();
    let trail = auditor.trail();
    let cost = storage.cost_of(|| {
        let report = trail.accesses(&subject("MRN-1"), ..).unwrap();
        assert_eq!((reads(&report), report.unreadable.count), (240, 0));
        assert!(report.pages_passed_over >= 34);
    });
    assert!(cost.bytes * 2 < stored, "{cost:?} of {stored} bytes");
    assert!(cost.calls <= 8, "{cost:?}");
}

/// Faults of pages whose head alone is read: the report is as if it had read them whole.
#[test]
fn fault_of_large_page_of_other_patient_is_fault_of_report() {
    type Change = fn(&mut Vec<u8>);
    let changes: [(&str, Change, FaultKind); 5] = [
        ("head", |value| value[0] ^= 1, FaultKind::Unsupported),
        ("salt", |value| value[9] ^= 1, FaultKind::NotAuthentic),
        (
            "commitment",
            |value| value[41] ^= 1,
            FaultKind::NotAuthentic,
        ),
        ("filter", |value| value[75] ^= 1, FaultKind::NotAuthentic),
        (
            "length",
            |value| value.truncate(80),
            FaultKind::NotAuthentic,
        ),
    ];
    for (name, change, kind) in changes {
        let stage = forty_pages_of(60);
        let key = &keys_of(&*stage.storage, b"j")[15];
        let mut value = value_of(&*stage.storage, key).unwrap();
        change(&mut value);
        objects::put(&*stage.storage, key, &value);
        let report = accesses(&stage, "MRN-1");
        let found = (reads(&report), report.unreadable.count);
        assert_eq!(found, (240, 1), "{name}");
        assert_eq!(report.unreadable.first[0].what, kind, "{name}");
    }
}

#[test]
fn altered_end_of_large_page_before_page_of_patient_is_unlinked() {
    let stage = forty_pages_of(60);
    let keys = keys_of(&*stage.storage, b"j");
    for (page, faults) in [(15, 0), (19, 1)] {
        let before = value_of(&*stage.storage, &keys[page]).unwrap();
        let mut value = before.clone();
        *value.last_mut().unwrap() ^= 1;
        objects::put(&*stage.storage, &keys[page], &value);
        assert_eq!(accesses(&stage, "MRN-1").unreadable.count, faults);
        objects::put(&*stage.storage, &keys[page], &before);
    }
}

#[test]
fn page_with_too_many_subjects_is_opened_for_each_of_them() {
    let stage = JournalStage::new();
    for (count, length) in [(4096, 2 + 2 * 4096), (4097, 2)] {
        let drafts: Vec<_> = (0..count)
            .map(|n| read(&stage, &format!("MRN-{n}"), NOON))
            .collect();
        let staged = drafts.iter().map(|draft| (draft, EntryStage::Done));
        let page = Page::new([0; 32], vec![], staged).unwrap();
        let mut writer = [0; 16];
        writer[15] = count as u8;
        let position = PageId {
            writer,
            sequence: 0,
        };
        let value = page.seal(&stage.sealer(), &position).unwrap();
        let key = [b"j", &writer[..], &[0; 8]].concat();
        objects::put(&*stage.storage, &key, &value);
        let listed = u16::from_le_bytes([value[72], value[73]]);
        let expected = if length == 2 { 0xffff } else { 4096 };
        assert_eq!(listed, expected);
    }
    let report = accesses(&stage, "MRN-4095");
    assert_eq!((reads(&report), report.unreadable.count), (2, 0));
    assert_eq!(reads(&accesses(&stage, "MRN-4096")), 1);
}

#[test]
fn filter_length_is_power_of_two() {
    let stage = JournalStage::new();
    let cases = [(0, 4), (1, 4), (4, 4), (5, 8), (8, 8), (9, 16), (100, 128)];
    for (subjects, values) in cases {
        let drafts: Vec<_> = (0..subjects)
            .map(|n| read(&stage, &format!("MRN-{n}"), NOON))
            .collect();
        let staged = drafts.iter().map(|draft| (draft, EntryStage::Done));
        let page = Page::new([0; 32], vec![], staged).unwrap();
        let position = PageId {
            writer: [1; 16],
            sequence: 0,
        };
        let value = page.seal(&stage.sealer(), &position).unwrap();
        assert_eq!(u16::from_le_bytes([value[72], value[73]]), values);
    }
}

#[test]
fn clock_set_back_behind_passed_over_page_is_shown() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let ahead = NOON + 30 * DAY;
    write_page(&writer, NOON, [read(&stage, "MRN-1", NOON)]);
    write_page(&writer, ahead, [read(&stage, "MRN-2", ahead)]);
    for back in [MINUTE, 2 * MINUTE] {
        let at = NOON + back;
        write_page(&writer, at, [read(&stage, "MRN-1", at)]);
    }
    let auditor = stage.open();
    let since = Timestamp::from_millis(NOON + 29 * DAY);
    let report = auditor.trail().accesses(&subject("MRN-1"), since..);
    let report = report.unwrap();
    assert_eq!(reads(&report), 2);
    for access in &report.accesses {
        let before = access.not_before.map(Timestamp::millis);
        assert!(access.operation != Operation::Read || before == Some(ahead));
    }
}

#[test]
fn list_of_subjects_on_page_of_other_patient_is_counted() {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let list = done(garcia(Operation::ListSubjects), NOON, Target::Vault);
    write_page(&writer, NOON, [read(&stage, "MRN-2", NOON), list]);
    assert_eq!(accesses(&stage, "MRN-1").lists_of_all_subjects, 1);
}

#[test]
fn settled_entry_is_found_on_page_of_other_patient() {
    let stage = JournalStage::per_operation();
    let writer = stage.writer();
    let put = done(garcia(Operation::Put), NOON, stage.version("MRN-1", "a", 1));
    writer
        .commit(vec![change(b"x1", vec![put])], moment(NOON))
        .unwrap();
    // The page that settles the put has an entry about another patient.
    let at = NOON + MINUTE;
    write_page(&writer, at, [read(&stage, "MRN-2", at)]);
    let report = accesses(&stage, "MRN-1");
    let certain = report.accesses.iter().find(|it| it.version == Some(1));
    assert!(certain.unwrap().certain);
}

#[test]
fn disclosures_and_evidence_pass_over_pages_of_other_patients() {
    let stage = Stage::memory();
    let vault = stage.create();
    for n in 0..20 {
        let id = record(&format!("MRN-{n}"), "Observation/1");
        session(&vault).put(&id, b"120/80").unwrap();
    }
    let office = session_as(&vault, "records.office", Purpose::PublicHealth);
    let patient = subject("MRN-3");
    office.disclose(&patient, "Registry", "all").unwrap();
    let trail = office.audit().unwrap();
    let report = trail.disclosures(&patient).unwrap();
    assert_eq!(report.disclosures.len(), 1);
    assert!(report.pages_passed_over >= 15);
    let evidence = trail
        .evidence(&record("MRN-3", "Observation/1"), 1)
        .unwrap();
    assert_eq!(evidence.sealings.len(), 1);
    assert!(evidence.pages_passed_over >= 15);
}

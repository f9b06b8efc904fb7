//! Journal entries in the form that reports show.

use std::sync::Arc;

use chartlock::audit::{AuditItem, Timestamp};
use chartlock::internals::journal::{Context, SealedEntry, SlotRef, Target};
use chartlock::{Operation, Purpose, access::AccessOutcome};
use serde_json::json;

use crate::stage::*;

/// Writes the journal entry of one read, with every field set.
fn read_with_all(stage: &JournalStage) {
    let mut act = garcia(Operation::Read);
    act.context = Arc::new(Context {
        actor: "dr.garcia".into(),
        purpose: Purpose::BreakTheGlass.code().into(),
        request: "req-1".into(),
        organization: "Ward 3".into(),
        under_break_glass: true,
    });
    act.reason = "unconscious".into();
    act.consent = "Consent/7".into();
    act.note = "a note".into();
    let target = stage.record("MRN-1042", "Observation/bp", 3);
    write_page(
        &stage.writer(),
        NOON,
        [act.draft(NOON, target, AccessOutcome::Done)],
    );
}

#[test]
fn report_entry_shows_resolved_names() {
    let stage = JournalStage::new();
    read_with_all(&stage);
    let auditor = stage.open();
    let trail = (auditor.trail()).resolve_record(&record("MRN-1042", "Observation/bp"));
    let [entry] = &entries(&trail)[..] else {
        panic!("one entry")
    };
    let json = serde_json::to_value(entry).unwrap();
    let subject = stage.subject("MRN-1042");
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    };
    let tag = json["record"]["tag"].clone();
    assert_eq!(tag.as_str().unwrap().len(), 32);
    let writer = json["position"]["writer"].clone();
    assert_eq!(writer.as_str().unwrap()[..12], format!("{NOON:012x}"));
    assert_eq!(
        json,
        json!({
            "at": "2026-11-21T12:00:00.000Z",
            "actor": "dr.garcia",
            "purpose": "BTG",
            "under_break_glass": true,
            "operation": "read",
            "outcome": "done",
            "settled": true,
            "subject": {
                "tag": hex(&subject.tag),
                "chart": hex(&subject.chart),
                "kind": "patient",
                "identifier": "MRN-1042",
            },
            "record": { "tag": tag, "stored": "07".repeat(16), "name": "Observation/bp" },
            "version": 3,
            "request": "req-1",
            "organization": "Ward 3",
            "reason": "unconscious",
            "consent": "Consent/7",
            "note": "a note",
            "position": { "writer": writer, "page": 0, "index": 0 },
        })
    );
}

#[test]
fn report_entry_shows_slot_and_master_key() {
    let stage = JournalStage::new();
    let drafts = [
        Target::Slot(SlotRef::new(7, 2, true)),
        Target::MasterKey(99),
    ]
    .map(|target| done(garcia(Operation::AddSlot), NOON, target));
    write_page(&stage.writer(), NOON, drafts);
    let auditor = stage.open();
    let shown: Vec<_> = (items(&auditor.trail()).iter())
        .filter_map(|item| match item {
            AuditItem::Entry(entry) if entry.operation == Operation::AddSlot => {
                let json = serde_json::to_value(entry).unwrap();
                Some((json["slot"].clone(), json["master_key"].clone()))
            }
            _ => None,
        })
        .collect();
    let slot = json!({ "id": 7, "kind": 2, "journal_only": true });
    assert_eq!(shown, [(slot, json!(null)), (json!(null), json!(99))]);
}

#[test]
fn report_entry_shows_both_digests_of_reencryption() {
    let stage = JournalStage::new();
    let target = stage.reencrypted("MRN-1", "x", 2, ([1; 32], [2; 32]));
    write_page(
        &stage.writer(),
        NOON,
        [done(garcia(Operation::Reencrypt), NOON, target)],
    );
    let auditor = stage.open();
    let shown = items(&auditor.trail())
        .into_iter()
        .find_map(|item| match item {
            AuditItem::Entry(entry) if entry.operation == Operation::Reencrypt => Some(entry),
            _ => None,
        });
    let shown = serde_json::to_value(shown.unwrap()).unwrap();
    assert_eq!(shown["version"], json!(2));
    assert_eq!(shown["digest_before"], json!("01".repeat(32)));
    assert_eq!(shown["digest"], json!("02".repeat(32)));
}

#[test]
fn report_entry_shows_tags_of_unresolved_names() {
    let stage = JournalStage::new();
    read_with_all(&stage);
    let auditor = stage.open();
    let trail = auditor
        .trail()
        .resolve_record(&record("MRN-1043", "Observation/hr"));
    let text = serde_json::to_string(&items(&trail)).unwrap();
    for hidden in ["MRN-1042", "Observation", "identifier", "name"] {
        assert!(!text.contains(hidden), "{hidden}");
    }
}

#[test]
fn report_entry_debug_output_contains_no_names() {
    let stage = JournalStage::new();
    read_with_all(&stage);
    let auditor = stage.open();
    let trail = auditor
        .trail()
        .resolve_record(&record("MRN-1042", "Observation/bp"));
    let accesses = trail.accesses(&subject("MRN-1042"), ..).unwrap();
    let actor = actor("dr.garcia");
    let activity = trail.activity(&actor, ..).unwrap();
    let disclosures = trail.disclosures(&subject("MRN-1042")).unwrap();
    let printed = format!(
        "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?}",
        items(&trail),
        accesses,
        accesses.accesses,
        accesses.days(),
        activity,
        activity.entries,
        activity.subjects,
        disclosures,
        trail,
        auditor,
    );
    for hidden in [
        "MRN",
        "Observation",
        "garcia",
        "Ward",
        "unconscious",
        "req-1",
    ] {
        assert!(!printed.contains(hidden), "{hidden} in {printed}");
    }
}

#[test]
fn report_entries_of_writes_show_versions_and_digests() {
    let stage = JournalStage::new();
    let header = Target::Header {
        generation: 7,
        digest: [1; 32],
    };
    let entry = Target::Entry {
        subject: stage.subject("MRN-1"),
        sequence: 4,
        digest: [2; 32],
    };
    write_page(
        &stage.writer(),
        NOON,
        [
            done(garcia(Operation::AddSlot), NOON, header),
            done(garcia(Operation::PlaceHold), NOON + 1, entry),
            done(
                garcia(Operation::Put),
                NOON + 2,
                stage.version("MRN-1", "a", 9),
            ),
            done(
                garcia(Operation::History),
                NOON + 3,
                stage.record("MRN-1", "a", 0),
            ),
        ],
    );
    let auditor = stage.open();
    let shown: Vec<_> = entries(&auditor.trail())
        .into_iter()
        .map(|entry| {
            let digest = entry.digest.map(|digest| digest.0[0]);
            let is_subject = entry.subject.is_some();
            (
                entry.generation,
                entry.sequence,
                entry.version,
                digest,
                is_subject,
            )
        })
        .collect();
    assert_eq!(shown[0], (Some(7), None, None, Some(1), false));
    assert_eq!(shown[1], (None, Some(4), None, Some(2), true));
    assert_eq!((shown[2].2, shown[2].4), (Some(9), true));
    assert!(shown[2].3.is_some());
    assert_eq!(shown[3], (None, None, None, None, true));
}

#[test]
fn timestamps_display_as_calendar_dates() {
    // The cases are leap days in years divisible by 4 and by 400, the end of a year, and a date
    // before 1970.
    for (millis, text) in [
        (0, "1970-01-01T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_709_164_800_000, "2024-02-29T00:00:00.000Z"),
        (1_767_225_599_999, "2025-12-31T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (NOON, "2026-11-21T12:00:00.000Z"),
    ] {
        assert_eq!(Timestamp::from_millis(millis).to_string(), text);
    }
}

#[test]
fn report_entry_tells_retention_set_from_lifted_and_names_hold() {
    let stage = JournalStage::new();
    let of = stage.subject("MRN-1");
    let retention = |until| Target::Retention {
        subject: of,
        written: None,
        until,
    };
    let hold = Target::Hold {
        subject: of,
        written: Some(SealedEntry {
            sequence: 3,
            digest: [1; 32],
        }),
        hold: 17,
    };
    let drafts = [
        done(garcia(Operation::Retain), NOON, retention(Some(NOON))),
        done(garcia(Operation::Retain), NOON, retention(None)),
        done(garcia(Operation::PlaceHold), NOON, hold),
    ];
    write_page(&stage.writer(), NOON, drafts);
    let auditor = stage.open();
    let shown: Vec<_> = (entries(&auditor.trail()).iter())
        .map(|entry| serde_json::to_value(entry).unwrap())
        .map(|json| json!([json["retention"], json["hold"], json["sequence"]]))
        .collect();
    let until = json!({ "until": "2026-11-21T12:00:00.000Z" });
    let expected = [
        json!([until, null, null]),
        json!(["lifted", null, null]),
        json!([null, 17, 3]),
    ];
    assert_eq!(shown, expected);
    let report = auditor.trail().accesses(&subject("MRN-1"), ..).unwrap();
    let what: Vec<_> = report.accesses.iter().map(|it| &*it.what).collect();
    let expected = [
        "set a retention",
        "lift the retention",
        "place a legal hold",
    ];
    assert_eq!(what[..3], expected);
}

//! Evidence of the time at which a record version was sealed.

use chartlock::audit::SealEvidence;
use chartlock::internals::crypto;
use chartlock::internals::journal::{RecordRef, Target, page_of};
use chartlock::{Operation, Purpose};

use crate::stage::*;

const RECORD: [u8; 16] = [9; 16];

/// Returns a stored value with this version number.
fn value(version: u64, body: &[u8]) -> Vec<u8> {
    let mut value = vec![1, 1, 1, 1];
    value.extend(77_u32.to_le_bytes());
    value.extend(version.to_le_bytes());
    value.resize(96, 5);
    value.extend(body);
    value.resize(176, 6);
    value
}

fn written(stage: &JournalStage, version: u64, value: &[u8]) -> Target {
    Target::Version {
        subject: stage.subject("MRN-1"),
        record: RecordRef {
            tag: RECORD,
            name: crypto::name_tag(stage.key(), "Allergy/1").unwrap(),
        },
        version,
        digest: crypto::sha256(&[&value[96..]]),
    }
}

fn reencrypted(stage: &JournalStage, version: u64, (before, after): (&[u8], &[u8])) -> Target {
    Target::Reencrypted {
        subject: stage.subject("MRN-1"),
        record: RecordRef {
            tag: RECORD,
            name: crypto::name_tag(stage.key(), "Allergy/1").unwrap(),
        },
        version,
        before: crypto::sha256(&[&before[96..]]),
        after: crypto::sha256(&[&after[96..]]),
    }
}

fn storage_key(stage: &JournalStage, class: u8, version: Option<u64>) -> Vec<u8> {
    let chart = stage.subject("MRN-1").chart;
    let mut key = [&[class], &chart[..], &RECORD].concat();
    key.extend(version.into_iter().flat_map(u64::to_be_bytes));
    key
}

/// Writes journal pages about a record with two versions, of which the first is re-encrypted later.
fn history() -> JournalStage {
    let stage = JournalStage::new();
    let writer = stage.writer();
    let (first, again, second) = (value(1, b"one"), value(1, b"again"), value(2, b"two"));
    let reads = |at: i64| {
        [done(
            garcia(Operation::Read),
            NOON + at,
            stage.record("MRN-1", "x", 1),
        )]
    };
    let put = |at, version, value: &[u8]| {
        [done(
            garcia(Operation::Put),
            NOON + at,
            written(&stage, version, value),
        )]
    };
    write_page(&writer, NOON, reads(0));
    write_page(&writer, NOON + 1, put(1, 1, &first));
    write_page(&writer, NOON + 2, put(2, 2, &second));
    let reencrypt = by("vault", Purpose::SystemAdministration, Operation::Reencrypt);
    write_page(
        &writer,
        NOON + 3,
        [done(
            reencrypt,
            NOON + 3,
            reencrypted(&stage, 1, (&first, &again)),
        )],
    );
    write_page(&writer, NOON + 4, reads(4));
    objects::put(&*stage.storage, &storage_key(&stage, b'r', None), &second);
    objects::put(&*stage.storage, &storage_key(&stage, b'h', Some(1)), &again);
    stage
}

fn evidence(stage: &JournalStage, version: u64) -> SealEvidence {
    let auditor = stage.open();
    let id = record("MRN-1", "Allergy/1");
    auditor.trail().evidence(&id, version).unwrap()
}

fn holds(stage: &JournalStage, evidence: &SealEvidence) -> bool {
    let auditor = stage.open();
    auditor.trail().confirm(evidence).unwrap().holds()
}

fn page_key(stage: &JournalStage, page: u64) -> Vec<u8> {
    let keys = keys_of(&*stage.storage, b"j");
    let first = page_of(&keys[0]).unwrap().writer;
    let is_it =
        |key: &&Vec<u8>| page_of(key).is_some_and(|id| id.sequence == page && id.writer == first);
    keys.iter().find(is_it).unwrap().clone()
}

#[test]
fn evidence_lists_each_sealing_with_its_position() {
    let stage = history();
    let evidence = evidence(&stage, 1);
    let sealings: Vec<_> = evidence
        .sealings
        .iter()
        .map(|one| {
            (
                one.operation,
                one.at.millis() - NOON,
                one.position.page,
                one.head,
            )
        })
        .collect();
    assert_eq!(
        sealings,
        [(Operation::Put, 1, 1, 4), (Operation::Reencrypt, 3, 3, 4)]
    );
    assert!(evidence.covers(&value(1, b"again")).is_some());
    assert_eq!(
        evidence.covers(&value(1, b"one")),
        Some(&evidence.sealings[0])
    );
    assert_eq!(evidence.covers(&value(2, b"two")), None);
    assert_eq!(evidence.covers(&value(2, b"again")), None);
    assert_eq!(evidence.covers(b"short"), None);
    assert_eq!(evidence.stored, Some(evidence.sealings[1].digest));
    let page = value_of(&*stage.storage, &page_key(&stage, 1)).unwrap();
    assert!(evidence.sealings[0].is_page(&page));
    assert!(!evidence.sealings[1].is_page(&page));
    assert!(holds(&stage, &evidence));
    let json = serde_json::to_value(&evidence).unwrap();
    assert_eq!(json["sealings"][0]["at"], "2026-11-21T12:00:00.001Z");
    assert_eq!(
        json["sealings"][0]["page_digest"].as_str().unwrap().len(),
        64
    );
}

#[test]
fn evidence_of_current_version_contains_its_stored_digest() {
    let stage = history();
    let evidence = evidence(&stage, 2);
    assert_eq!(evidence.sealings.len(), 1);
    assert_eq!(evidence.stored, Some(evidence.sealings[0].digest));
    assert!(holds(&stage, &evidence));
}

#[test]
fn evidence_of_version_never_sealed_is_empty() {
    let stage = history();
    for version in [3, 77] {
        let evidence = evidence(&stage, version);
        assert_eq!((evidence.sealings.len(), evidence.stored), (0, None));
        assert!(!holds(&stage, &evidence));
    }
}

#[test]
fn evidence_after_any_alteration_is_not_confirmed() {
    type Change = fn(&JournalStage, &mut SealEvidence);
    let changes: &[(&str, Change)] = &[
        ("the value was altered", |stage, _| {
            let altered = value(1, b"other");
            objects::put(
                &*stage.storage,
                &storage_key(stage, b'h', Some(1)),
                &altered,
            );
        }),
        ("an earlier sealing was put back", |stage, _| {
            let old = value(1, b"one");
            objects::put(&*stage.storage, &storage_key(stage, b'h', Some(1)), &old);
        }),
        ("the value is gone", |stage, _| {
            objects::delete(&*stage.storage, &storage_key(stage, b'h', Some(1)));
        }),
        ("its page is gone", |stage, _| {
            objects::delete(&*stage.storage, &page_key(stage, 1));
        }),
        ("its page was altered", |stage, _| {
            let mut page = value_of(&*stage.storage, &page_key(stage, 3)).unwrap();
            page[80] ^= 1;
            objects::put(&*stage.storage, &page_key(stage, 3), &page);
        }),
        ("a page in between was altered", |stage, _| {
            let mut page = value_of(&*stage.storage, &page_key(stage, 2)).unwrap();
            page[80] ^= 1;
            objects::put(&*stage.storage, &page_key(stage, 2), &page);
        }),
        ("the chain was cut", |stage, _| {
            objects::delete(&*stage.storage, &page_key(stage, 4));
        }),
        ("the digest was altered in the evidence", |_, evidence| {
            evidence.sealings[0].digest.0[0] ^= 1;
        }),
        (
            "the page's digest was altered in the evidence",
            |_, evidence| {
                evidence.sealings[0].page_digest.0[0] ^= 1;
            },
        ),
        (
            "the head's digest was altered in the evidence",
            |_, evidence| {
                evidence.sealings[1].head_digest.0[0] ^= 1;
            },
        ),
        ("the version was altered in the evidence", |_, evidence| {
            evidence.version = 2;
        }),
        ("the position was altered in the evidence", |_, evidence| {
            evidence.sealings[1].position.page = 2;
        }),
    ];
    for (what, change) in changes {
        let stage = history();
        let mut evidence = evidence(&stage, 1);
        assert!(holds(&stage, &evidence), "before {what}");
        change(&stage, &mut evidence);
        assert!(!holds(&stage, &evidence), "{what}");
    }
}

#[test]
fn evidence_after_later_writes_is_confirmed() {
    let stage = history();
    let evidence = evidence(&stage, 1);
    // Another process writes to the same journal.
    write_page(
        &stage.writer(),
        NOON + 9,
        [done(
            garcia(Operation::Put),
            NOON + 9,
            stage.version("MRN-2", "x", 1),
        )],
    );
    assert!(holds(&stage, &evidence));
}

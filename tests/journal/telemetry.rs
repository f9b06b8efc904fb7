//! Spans and events of the feature `tracing`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chartlock::storage::{
    FaultAction, FaultOutcome, FaultPoint, Faulty, MemoryStorage, StorageError,
};
use chartlock::{Error, ErrorKind, Operation, Precondition, Vault};

use crate::common::recorded_spans::Recorded;
use crate::common::{Fixed, record, session, subject};
use crate::operations::{ROWS, run_row_within};

/// Texts in the identifiers, names, actors, reasons, recipients and contents that the operations get.
const PLANTED: [&str; 12] = [
    "MRN",
    "Observation",
    "dr.",
    "garcia",
    "house",
    "privacy",
    "office",
    "asked",
    "unconscious",
    "Health",
    "nightly",
    "planted",
];

const FIELDS: [&str; 6] = [
    "verb",
    "outcome",
    "retries",
    "storage_calls",
    "storage_bytes",
    "micros",
];

fn assert_nothing_planted(recorded: &Recorded) {
    for value in recorded.values() {
        let found = PLANTED.iter().find(|planted| value.contains(**planted));
        assert_eq!(found, None, "in {value:?}");
    }
}

#[test]
fn every_public_operation_has_a_span_without_identifiers() {
    for row in ROWS {
        let mut recorded = Recorded::default();
        run_row_within(row, &mut |run| recorded = Recorded::during(run));
        let verbs: BTreeSet<_> = recorded.operations().map(|span| &*span["verb"]).collect();
        let verb = |entry: &&str| entry.split_once(',').unwrap().0.to_owned();
        let names: BTreeSet<_> = row.entries.iter().map(verb).collect();
        let has_span = names.iter().any(|name| verbs.contains(&**name));
        assert!(has_span, "{}: {names:?} are not in {verbs:?}", row.name);
        for span in recorded.operations() {
            assert!(
                FIELDS.iter().all(|field| span.contains_key(*field)),
                "{span:?}"
            );
            assert_eq!(span.len(), FIELDS.len(), "{span:?}");
        }
        assert_nothing_planted(&recorded);
    }
}

fn vault_in(storage: &Arc<MemoryStorage>) -> Vault {
    Vault::create(Arc::clone(storage), &Fixed(1)).unwrap()
}

#[test]
fn span_counts_calls_and_bytes_of_its_operation() {
    let vault = vault_in(&Arc::default());
    let session = session(&vault);
    let id = record("MRN-1", "Observation/planted");
    session.put(&id, &[7; 5000][..]).unwrap();
    let recorded = Recorded::during(|| {
        session.get(&id).unwrap().unwrap();
        session.put(&id, &[7; 5000][..]).unwrap();
    });
    let spans: Vec<_> = recorded.operations().collect();
    let counts: Vec<_> = (spans.iter())
        .map(|span| (&*span["verb"], &*span["outcome"], &*span["storage_calls"]))
        .collect();
    let names = [Operation::Read, Operation::Put].map(|it| it.to_string());
    let expected = [(&*names[0], "Done", "1"), (&*names[1], "Done", "2")];
    assert_eq!(counts, expected);
    for span in spans {
        let bytes: u64 = span["storage_bytes"].parse().unwrap();
        assert!(bytes > 5000, "{span:?}");
    }
}

#[test]
fn archive_counts_the_reads_of_its_snapshot() {
    let vault = vault_in(&Arc::default());
    let session = session(&vault);
    for number in 0..3 {
        let id = record("MRN-1", &format!("Observation/{number}"));
        session.put(&id, &[7; 5000][..]).unwrap();
    }
    let mut objects = 0;
    let recorded = Recorded::during(|| {
        objects = session.archive("nightly", Vec::new()).unwrap().objects;
    });
    assert!(objects > 3);
    let name = Operation::EndBackup.to_string();
    let spans: Vec<_> = (recorded.operations())
        .filter(|span| span["verb"] == name)
        .collect();
    let count = |field| spans[0][field].parse::<u64>().unwrap();
    // The entry that journals the beginning, the snapshot, and a page of the snapshot.
    assert!(count("storage_calls") >= 3, "{spans:?}");
    assert!(count("storage_bytes") > 15_000, "{spans:?}");
}

#[test]
fn failed_operation_has_its_kind_as_outcome() {
    let vault = vault_in(&Arc::default());
    let session = session(&vault);
    let id = record("MRN-1", "Observation/planted");
    session.put(&id, b"planted").unwrap();
    let recorded = Recorded::during(|| {
        let stale = session.put_if(&id, Precondition::Version(7), b"planted");
        assert_eq!(stale, Err(Error::Conflict));
        let unknown = vault.rotate_subject_key(&subject("MRN-9"));
        assert_eq!(unknown, Err(Error::UnknownSubject));
    });
    let outcomes: Vec<_> = (recorded.operations())
        .map(|span| span["outcome"].clone())
        .collect();
    let kinds = [ErrorKind::Conflict, ErrorKind::NotFound];
    assert_eq!(outcomes, kinds.map(|kind| format!("{kind:?}")));
    assert_nothing_planted(&recorded);
}

#[test]
fn refused_credential_is_an_event() {
    let storage = Arc::default();
    drop(vault_in(&storage));
    let recorded = Recorded::during(|| {
        let opened = Vault::open(Arc::clone(&storage), &Fixed(9));
        assert_eq!(opened.unwrap_err(), Error::WrongKey);
    });
    let texts: Vec<_> = recorded
        .events
        .iter()
        .map(|event| &event["message"])
        .collect();
    assert_eq!(texts, ["the credential opens no slot"]);
}

#[test]
fn lost_outcome_and_failure_are_events() {
    let storage = Arc::default();
    drop(vault_in(&storage));
    let actions = [
        (
            FaultAction::Unknown(FaultOutcome::Applied),
            "the outcome of a commit is unknown",
        ),
        (FaultAction::Fail(StorageError::Full), "the storage failed"),
    ];
    for (action, text) in actions {
        let hook = move |step: u64, point: &FaultPoint<'_>| match point {
            FaultPoint::Commit(_) if step < 10 => action,
            _ => FaultAction::Proceed,
        };
        let faulty = Faulty::new(Arc::clone(&storage), hook);
        let recorded = Recorded::during(|| {
            let vault = Vault::open(faulty, &Fixed(1)).unwrap();
            let id = record("MRN-1", "Observation/planted");
            let _ = session(&vault).put(&id, b"planted");
        });
        assert!(has_event(&recorded, text), "{:?}", recorded.events);
        assert_nothing_planted(&recorded);
    }
}

#[test]
fn conflict_and_retry_are_events_and_counted() {
    let storage = Arc::default();
    let other = session(&vault_in(&storage));
    let id = record("MRN-1", "Observation/planted");
    other.put(&id, b"planted").unwrap();
    let hook = {
        let (id, is_first) = (id.clone(), AtomicBool::new(true));
        move |_: u64, point: &FaultPoint<'_>| {
            // Another process puts the record between the read and the commit.
            if matches!(point, FaultPoint::Commit(_)) && is_first.swap(false, Ordering::SeqCst) {
                other.put(&id, b"planted").unwrap();
            }
            FaultAction::Proceed
        }
    };
    let faulty = Faulty::new(Arc::clone(&storage), hook);
    let recorded = Recorded::during(|| {
        let vault = Vault::open(faulty, &Fixed(1)).unwrap();
        assert_eq!(session(&vault).put(&id, b"planted"), Ok(3));
    });
    assert!(has_event(&recorded, "conflict"));
    assert!(has_event(&recorded, "retry"));
    let mut operations = recorded.operations();
    let put = operations
        .find(|span| span["verb"] == Operation::Put.to_string() && span["retries"] != "0");
    assert!(put.is_some(), "{:?}", recorded.spans);
    assert_nothing_planted(&recorded);
}

fn has_event(recorded: &Recorded, text: &str) -> bool {
    let mut messages = recorded
        .events
        .iter()
        .filter_map(|event| event.get("message"));
    messages.any(|message| message == text)
}

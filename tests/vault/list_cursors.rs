//! Cursors of lists and histories: opaque, bound to their query, and valid after a restart.

use std::time::{Duration, UNIX_EPOCH};

use chartlock::access::{AccessPolicy, AccessRequest, Decision, Denial};
use chartlock::lists::{HistoryQuery, ListCursor, ListQuery};
use chartlock::storage::FileStorage;
use chartlock::{Error, Session, Subject, Vault};

use crate::common::Fixed;
#[cfg(unix)]
use crate::common::child;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    cursor_of_another_query_is_invalid,
    cursor_survives_restart_and_rotations,
);

fn fill(session: &Session, patient: &str) {
    for name in [
        "a",
        "b",
        "c",
        "d",
        "a name of more than a few characters",
        "f",
    ] {
        session.put(&record(patient, name), b"{}").unwrap();
    }
}

/// Returns the cursor after two records of a query.
fn cursor_of(session: &Session, patient: &Subject, query: &ListQuery) -> ListCursor {
    let page = session.list_page(patient, &query.clone().limit(2)).unwrap();
    page.next_cursor().unwrap().clone()
}

fn queries() -> Vec<ListQuery> {
    let query = ListQuery::new;
    vec![
        query(),
        query().by_name(),
        query().with_retracted(),
        query().name_prefix("a"),
        query().name_prefix("a").by_name(),
        query().name_prefix("a name"),
        query().changed_since(UNIX_EPOCH),
        query().changed_since(UNIX_EPOCH + Duration::from_millis(1)),
        query().changed_since(UNIX_EPOCH - Duration::from_millis(1)),
    ]
}

/// A cursor of each query continues that query only.
fn cursor_of_another_query_is_invalid(stage: &Stage) {
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, "MRN-1");
    fill(&session, "MRN-2");
    for name in ["a1", "a name/1", "a name/2", "a name/3"] {
        session.put(&record("MRN-1", name), b"{}").unwrap();
    }
    let queries = queries();
    for (made_by, query) in queries.iter().enumerate() {
        let cursor = cursor_of(&session, &subject("MRN-1"), query);
        for (used_by, other) in queries.iter().enumerate() {
            let page = session.list_page(&subject("MRN-1"), &other.clone().after(&cursor));
            let expected = (made_by != used_by).then_some(Error::InvalidCursor);
            assert_eq!(page.err(), expected, "{made_by} {used_by}");
        }
        for patient in ["MRN-2", "MRN-unknown"] {
            let page = session.list_page(&subject(patient), &query.clone().after(&cursor));
            assert_eq!(page.err(), Some(Error::InvalidCursor));
        }
        let history = HistoryQuery::new().after(&cursor);
        for id in [
            record("MRN-1", "a"),
            record("MRN-1", "never"),
            record("MRN-9", "a"),
        ] {
            let page = session.history_page(&id, &history);
            assert_eq!(page.err(), Some(Error::InvalidCursor));
        }
    }
    let other_stage = Stage::memory();
    let other_vault = other_stage.create();
    let other = session_on(&other_vault);
    fill(&other, "MRN-1");
    let query = ListQuery::new();
    let cursor = cursor_of(&session, &subject("MRN-1"), &query);
    let page = other.list_page(&subject("MRN-1"), &query.after(&cursor));
    assert_eq!(page.err(), Some(Error::InvalidCursor));
}

#[test]
fn cursor_of_another_history_is_invalid() {
    let stage = Stage::memory();
    let vault = stage.create();
    let session = session_on(&vault);
    let ids = [
        record("MRN-1", "a"),
        record("MRN-1", "b"),
        record("MRN-2", "a"),
    ];
    for id in ids.iter().cycle().take(9) {
        session.put(id, b"{}").unwrap();
    }
    let up = HistoryQuery::new().limit(1);
    let down = HistoryQuery::new().newest_first().limit(1);
    for query in [&up, &down] {
        let page = session.history_page(&ids[0], query).unwrap();
        let cursor = page.next_cursor().unwrap();
        assert!(
            session
                .history_page(&ids[0], &query.clone().after(cursor))
                .is_ok()
        );
        for id in &ids[1..] {
            let page = session.history_page(id, &query.clone().after(cursor));
            assert_eq!(page.err(), Some(Error::InvalidCursor));
        }
        let list = ListQuery::new().after(cursor);
        let page = session.list_page(&subject("MRN-1"), &list);
        assert_eq!(page.err(), Some(Error::InvalidCursor));
    }
    let page = session.history_page(&ids[0], &up).unwrap();
    let turned = down.after(page.next_cursor().unwrap());
    let page = session.history_page(&ids[0], &turned);
    assert_eq!(page.err(), Some(Error::InvalidCursor));
}

#[test]
fn altered_cursor_is_invalid() {
    let stage = Stage::memory();
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, "MRN-1");
    for query in [ListQuery::new(), ListQuery::new().by_name()] {
        let text = cursor_of(&session, &subject("MRN-1"), &query).to_string();
        let refused = |text: &str| match text.parse::<ListCursor>() {
            Ok(cursor) => {
                let page = session.list_page(&subject("MRN-1"), &query.clone().after(&cursor));
                page.err()
            }
            Err(error) => Some(error),
        };
        assert_eq!(refused(&text), None);
        // Each bit of each byte of the text, and of each byte of the cursor.
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut altered = text.clone().into_bytes();
                altered[at] ^= 1 << bit;
                let altered = String::from_utf8_lossy(&altered);
                assert_eq!(refused(&altered), Some(Error::InvalidCursor), "{at} {bit}");
            }
            let digit = u8::from_str_radix(&text[at..=at], 16).unwrap();
            for bit in 0..4 {
                let digit = digit ^ (1 << bit);
                let altered = format!("{}{digit:x}{}", &text[..at], &text[at + 1..]);
                assert_eq!(refused(&altered), Some(Error::InvalidCursor), "{at} {bit}");
            }
            assert_eq!(refused(&text[..at]), Some(Error::InvalidCursor));
            assert_eq!(refused(&text[at + 1..]), Some(Error::InvalidCursor));
        }
        for wrong in [
            format!("{text}00"),
            text.to_uppercase(),
            "0".repeat(5000),
            "é".into(),
        ] {
            assert_eq!(refused(&wrong), Some(Error::InvalidCursor));
        }
    }
}

#[test]
fn cursors_have_equal_length_and_differ_each_time() {
    let stage = Stage::memory();
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, "MRN-1");
    session.put(&record("MRN-1", "a"), b"again").unwrap();
    let mut texts: Vec<String> = Vec::new();
    for query in [ListQuery::new(), ListQuery::new().by_name()] {
        for limit in [1, 2, 3, 4, 5, 5] {
            let page = session.list_page(&subject("MRN-1"), &query.clone().limit(limit));
            texts.push(page.unwrap().next_cursor().unwrap().to_string());
        }
    }
    let history = session.history_page(&record("MRN-1", "a"), &HistoryQuery::new().limit(1));
    texts.push(history.unwrap().next_cursor().unwrap().to_string());
    assert!(texts.iter().all(|text| text.len() == 278));
    // Only the first 8 bytes, the head of the frame, are the same.
    for (at, text) in texts.iter().enumerate() {
        assert_eq!(text[..16], texts[0][..16]);
        assert!(
            texts[..at]
                .iter()
                .all(|other| other[16..80] != text[16..80])
        );
    }
    let cursor: ListCursor = texts[0].parse().unwrap();
    assert_eq!(format!("{cursor:?}"), "ListCursor(..)");
    let json = serde_json::to_string(&cursor).unwrap();
    assert_eq!(json, format!("\"{}\"", texts[0]));
    assert!(serde_json::from_str::<ListCursor>(&json).unwrap() == cursor);
    assert!(serde_json::from_str::<ListCursor>("\"no cursor\"").is_err());
}

fn cursor_survives_restart_and_rotations(stage: &Stage) {
    let vault = stage.create();
    fill(&session_on(&vault), "MRN-1");
    let queries = [ListQuery::new(), ListQuery::new().by_name()];
    let rest = |vault: &Vault, query: &ListQuery, text: &str| -> Vec<String> {
        let query = query.clone().after(&text.parse().unwrap());
        let page = session_on(vault).list_page(&subject("MRN-1"), &query);
        let names = page
            .unwrap()
            .into_iter()
            .map(|it| it.unwrap().name().to_owned());
        names.collect()
    };
    let texts = queries.each_ref().map(|query| {
        let cursor = cursor_of(&session_on(&vault), &subject("MRN-1"), query);
        cursor.to_string()
    });
    let expected = [0, 1].map(|at| rest(&vault, &queries[at], &texts[at]));
    assert!(expected.iter().all(|names| names.len() == 4));
    vault.rotate_master_key().unwrap();
    vault.rotate_subject_key(&subject("MRN-1")).unwrap();
    vault.reencrypt_subject(&subject("MRN-1")).unwrap();
    vault.rotate_root_key(&[&Fixed(1)], &[]).unwrap();
    drop(vault);
    let vault = stage.open();
    for at in [0, 1] {
        assert_eq!(rest(&vault, &queries[at], &texts[at]), expected[at]);
    }
}

/// Writes the records, prints a cursor, and dies without closing the vault.
#[cfg(unix)]
#[test]
fn child_prints_cursor_and_aborts() {
    let Some(directory) = child::directory_from_parent() else {
        return;
    };
    let storage = FileStorage::open(directory.join("vault")).unwrap();
    let vault = Vault::create(storage, &Fixed(1)).unwrap();
    let session = session_on(&vault);
    fill(&session, "MRN-1");
    let cursor = cursor_of(&session, &subject("MRN-1"), &ListQuery::new().by_name());
    println!("cursor {cursor}");
    std::process::abort();
}

#[cfg(unix)]
#[test]
fn cursor_of_killed_process_continues_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let name = "list_cursors::child_prints_cursor_and_aborts";
    let output = child::child(name, directory.path()).output().unwrap();
    assert!(!output.status.success());
    let output = String::from_utf8_lossy(&output.stdout).into_owned();
    let (_, text) = output.split_once("cursor ").unwrap();
    let cursor: ListCursor = text.lines().next().unwrap().parse().unwrap();
    let storage = FileStorage::open(directory.path().join("vault")).unwrap();
    let vault = Vault::open(storage, &Fixed(1)).unwrap();
    let query = ListQuery::new().by_name().after(&cursor);
    let page = session_on(&vault)
        .list_page(&subject("MRN-1"), &query)
        .unwrap();
    let names = page.into_iter().map(|it| it.unwrap().name().to_owned());
    assert_eq!(names.collect::<Vec<_>>(), ["b", "c", "d", "f"]);
}

/// Policy that answers every question as absence about one patient.
#[derive(Debug)]
struct Hides(&'static str);

impl AccessPolicy for Hides {
    fn decide(&self, request: &AccessRequest<'_>) -> Decision {
        match request.subject {
            Some(subject) if subject.identifier() == self.0 => {
                Decision::DenyWith(Denial::new().as_absence())
            }
            _ => Decision::Permit,
        }
    }
}

#[test]
fn hidden_patient_is_answered_like_unknown_patient() {
    let stage = Stage::memory();
    let vault = stage.create();
    let session = session_on(&vault);
    fill(&session, "MRN-1");
    let query = ListQuery::new();
    let cursor = cursor_of(&session, &subject("MRN-1"), &query);
    vault.set_policy(Hides("MRN-1"));
    for patient in ["MRN-1", "MRN-unknown"] {
        let page = session.list_page(&subject(patient), &query).unwrap();
        assert!(page.is_empty() && page.next_cursor().is_none());
        let page = session.list_page(&subject(patient), &query.clone().after(&cursor));
        assert_eq!(page.err(), Some(Error::InvalidCursor));
        let id = record(patient, "a");
        let history = HistoryQuery::new();
        assert!(session.history_page(&id, &history).unwrap().is_empty());
        let page = session.history_page(&id, &history.after(&cursor));
        assert_eq!(page.err(), Some(Error::InvalidCursor));
        let count = session.count_records(&subject(patient)).unwrap();
        assert_eq!(count.current, 0);
    }
}

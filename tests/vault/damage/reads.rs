//! Reads and writes of charts with unreadable objects.

use std::sync::Arc;

use chartlock::storage::UnreadableRange;
use chartlock::{Document, Error, RecordId, Session};

use super::unreadable::WithRange;
use super::{NAMES, PATIENTS, Scene, ids};
use crate::common::Fixed;
use crate::raw;
use crate::stage::{Stage, record, session_on, subject};

everywhere!(
    list_and_get_all_past_unreadable_record_return_one_error_item,
    history_with_unreadable_version_fails_and_others_succeed,
    put_over_unreadable_record_is_refused_and_its_batch_succeeds,
    subject_with_unreadable_entry_is_never_treated_as_absent,
    content_with_unreadable_segment_fails_and_others_succeed,
);

/// Returns the number of items without an error, and the number of errors.
fn tally<T>(items: impl Iterator<Item = Result<T, Error>>) -> (usize, usize) {
    let (whole, failed): (Vec<_>, Vec<_>) = items.partition(Result::is_ok);
    (whole.len(), failed.len())
}

/// Returns the number of records that `get` returns, and the number of errors. Asserts that no
/// record is absent.
fn tally_gets(session: &Session) -> (usize, usize) {
    let get = |id: &RecordId| session.get(id).map(|found| assert!(found.is_some()));
    tally(ids().iter().map(get))
}

fn list_and_get_all_past_unreadable_record_return_one_error_item(stage: &Stage) {
    let scene = Scene::new(stage);
    let session = scene.session();
    for key in scene.keys(b'r') {
        scene.damage(&key);
        let first = subject(PATIENTS[0]);
        assert_eq!(tally(session.list(&first).unwrap()), (2, 1));
        assert_eq!(tally(session.get_all(&first).unwrap()), (2, 1));
        assert_eq!(tally(session.list(&subject(PATIENTS[1])).unwrap()), (3, 0));
        assert_eq!(tally_gets(&session), (5, 1));
    }
    scene.assert_whole();
}

fn history_with_unreadable_version_fails_and_others_succeed(stage: &Stage) {
    let scene = Scene::new(stage);
    let session = scene.session();
    let (first, second) = (record(PATIENTS[0], NAMES[0]), record(PATIENTS[1], NAMES[0]));
    for (key, version) in scene.keys(b'h').iter().zip(1..) {
        scene.damage(key);
        assert!(session.history(&first).is_err());
        assert_eq!(session.history(&second).unwrap().len(), 3);
        for other in 1..=3 {
            match session.get_version(&first, other) {
                Err(_) => assert_eq!(other, version),
                found => assert!(other != version && found.unwrap().is_some()),
            }
        }
    }
    scene.assert_whole();
}

fn put_over_unreadable_record_is_refused_and_its_batch_succeeds(stage: &Stage) {
    let scene = Scene::new(stage);
    let session = scene.session();
    for key in scene.keys(b'r') {
        scene.damage(&key);
        let before = raw::objects(&stage.storage);
        let batch = ids();
        let put = batch.iter().map(|id| (id, Document::from(b"next")));
        let outcomes = session.put_many(put).unwrap();
        assert_eq!(tally(outcomes.into_iter()), (5, 1));
        assert!(session.retract(&refused(&session)).is_err());
        let after = raw::objects(&stage.storage);
        assert_eq!(after[&key], before[&key]);
    }
    scene.assert_whole();
}

/// Returns the id of the only record that cannot be read.
fn refused(session: &Session) -> RecordId {
    let mut ids = ids().into_iter();
    ids.find(|id| session.get(id).is_err()).unwrap()
}

fn subject_with_unreadable_entry_is_never_treated_as_absent(stage: &Stage) {
    let scene = Scene::new(stage);
    let [entry] = &scene.keys(b'p')[..] else {
        panic!("one entry");
    };
    scene.damage(entry);
    let before = raw::objects(&stage.storage);
    let vault = scene.open();
    let session = session_on(&vault);
    let id = record(PATIENTS[0], "Observation/new");
    assert!(session.put(&id, b"1").is_err());
    assert!(session.list(id.subject()).is_err());
    assert_eq!(tally_gets(&session), (3, 3));
    assert_eq!(tally(session.subjects().unwrap()), (1, 1));
    assert!(raw::objects(&stage.storage) == before);
    scene.assert_whole();
}

fn content_with_unreadable_segment_fails_and_others_succeed(stage: &Stage) {
    let scene = Scene::new(stage);
    let session = scene.session();
    for key in scene.keys(b's') {
        scene.damage(&key);
        assert_eq!(
            tally(session.get_all(&subject(PATIENTS[0])).unwrap()),
            (2, 1)
        );
        assert_eq!(tally(session.list(&subject(PATIENTS[0])).unwrap()), (3, 0));
        assert_eq!(tally_gets(&session), (5, 1));
    }
    scene.assert_whole();
}

#[test]
fn list_past_unreadable_range_returns_one_error_item() {
    let stage = Stage::memory();
    let scene = Scene::new(&stage);
    let keys = scene.keys(b'r');
    let storage = WithRange {
        inner: stage.shared(),
        range: UnreadableRange {
            first: keys[1].clone(),
            last: keys[2].clone(),
        },
    };
    let vault = stage.options().open(Arc::new(storage), &Fixed(1)).unwrap();
    let session = session_on(&vault);
    let first = subject(PATIENTS[0]);
    assert_eq!(tally(session.list(&first).unwrap()), (1, 1));
    assert_eq!(tally(session.get_all(&first).unwrap()), (1, 1));
}

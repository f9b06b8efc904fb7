//! Expunge: an expunge destroys all versions of a record, continues its version numbers, and can be
//! repeated after any interruption.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use chartlock::input::InputField;
use chartlock::internals::envelope::{HEAD, Head, INLINE_MAX, Kind};
use chartlock::storage::FaultAction;
use chartlock::{Error, Precondition, RecordId, Vault};

use crate::common::Fixed;
use crate::common::invalid::invalid_text;
use crate::erasure::Stall;
use crate::model::{Model, small_clinic, smaller_clinic};
use crate::raw::{self, Objects};
use crate::stage::{Stage, action_at, content, record, session_on, subject};

everywhere!(
    expunge_destroys_every_version,
    expunge_when_not_allowed_changes_nothing,
    expunge_interrupted_at_any_step_can_be_repeated,
    put_delayed_past_expunge_follows_the_marker,
    late_copy_of_expunged_version_stays_hidden,
    expunged_marker_survives_every_rotation,
    expunge_during_puts_and_rotation_hides_earlier_versions,
);

pub(crate) const WHY: &str = "filed under the wrong patient";

/// Returns the versions and segments that an expunge removed.
fn removed_versions(before: &Objects, after: &Objects) -> Objects {
    let gone = before
        .iter()
        .filter(|(key, value)| after.get(*key) != Some(value));
    gone.filter(|(key, _)| matches!(key[0], b'r' | b'h' | b's'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Asserts that no stored object contains the bytes of the removed objects.
fn assert_no_bytes_of(stage: &Stage, gone: &Objects) {
    for (key, value) in raw::all_objects(&stage.storage) {
        for (former, lost) in gone {
            // Compare segments as a whole. Compare only the sealed part of versions, because
            // rewrapping does not change this part.
            let from = if former[0] == b's' { 0 } else { HEAD };
            let lost = &lost[from..];
            let found =
                value.len() >= lost.len() && value.windows(lost.len()).any(|run| run == lost);
            assert!(
                !found,
                "bytes of {} found in {}",
                former[0] as char, key[0] as char
            );
        }
    }
}

/// Asserts that the record consists only of an expunged marker with this version.
fn assert_expunged(vault: &Vault, id: &RecordId, marker: u64) {
    let session = session_on(vault);
    assert!(session.get(id).unwrap().is_none());
    assert!(session.reader(id).unwrap().is_none());
    for version in 0..=marker + 1 {
        assert!(session.get_version(id, version).unwrap().is_none());
    }
    let history = session.history(id).unwrap();
    let listed: Vec<_> = history
        .iter()
        .map(|info| (info.version(), info.is_expunged(), info.is_retraction()))
        .collect();
    assert_eq!(listed, [(marker, true, true)]);
    assert_eq!(history[0].name(), id.name());
    let mut listed = session.list(id.subject()).unwrap().map(Result::unwrap);
    assert!(listed.all(|info| info.name() != id.name()));
}

/// Asserts that verify reports no finding for the expunged versions.
fn assert_no_finding(vault: &Vault) {
    let report = vault.verify(None).unwrap();
    assert!(report.records.is_empty() && report.journal.is_empty());
}

/// Asserts that exactly these versions follow the marker.
pub(crate) fn assert_follows_marker(vault: &Vault, id: &RecordId, marker: u64, versions: &[&[u8]]) {
    let session = session_on(vault);
    assert!(session.get(id).unwrap().unwrap()[..] == **versions.last().unwrap());
    for version in 0..=marker {
        assert!(session.get_version(id, version).unwrap().is_none());
    }
    let history = session.history(id).unwrap();
    assert_eq!(history.len(), versions.len() + 1);
    assert!(history[0].is_expunged() && history[0].version() == marker);
    for ((version, body), info) in (marker + 1..).zip(versions).zip(&history[1..]) {
        assert!(session.get_version(id, version).unwrap().unwrap()[..] == **body);
        assert_eq!((info.version(), info.is_expunged()), (version, false));
    }
}

fn expunge_destroys_every_version(stage: &Stage) {
    let vault = stage.create();
    let mut model = small_clinic(&vault);
    let other = stage.open();
    model.verify(&other);
    for (name, versions, segments) in [
        ("Observation/amended", 3, 0),
        ("Observation/retracted", 2, 0),
        ("CT/large", 2, 2),
        ("Observation/empty", 1, 0),
    ] {
        let id = record("MRN-1", name);
        let before = raw::objects(&stage.storage);
        let report = session_on(&vault).expunge(&id, WHY).unwrap();
        assert_eq!(
            (report.versions, report.segments, report.resumed),
            (versions, segments, false)
        );
        // Files of the database may still contain the replaced values.
        let is_deferred = stage.directory.is_some() || stage.defers_purges;
        assert_eq!(report.purge_deferred, is_deferred);
        assert!(report.not_reached.len() >= 3);
        model.0.remove(&id);
        let after = raw::objects(&stage.storage);
        let gone = removed_versions(&before, &after);
        assert_eq!(gone.len() as u64, versions + segments);
        assert_no_bytes_of(stage, &gone);
        for vault in [&vault, &other, &stage.open()] {
            assert_expunged(vault, &id, versions + 1);
            assert_eq!(raw::key_usage(vault), raw::brute_force(&stage.storage));
        }
        assert_no_finding(&vault);
        // A repeated expunge finds nothing to do and writes only its journal entry.
        let again = session_on(&other).expunge(&id, WHY).unwrap();
        assert_eq!(
            (again.versions, again.segments, again.resumed),
            (0, 0, true)
        );
        assert!(raw::objects(&stage.storage) == after);
        assert_eq!(session_on(&vault).retract(&id), Ok(None));
        // Version numbers continue, although the record satisfies `Precondition::Absent`.
        let session = session_on(&other);
        let stale = session.put_if(&id, Precondition::Version(versions), b"late");
        assert_eq!(stale, Err(Error::Conflict));
        let next = versions + 2;
        assert_eq!(session.put_if(&id, Precondition::Absent, b"anew"), Ok(next));
        let large = content(9, INLINE_MAX + 5);
        assert_eq!(session.put(&id, &large), Ok(next + 1));
        assert_follows_marker(&vault, &id, next - 1, &[b"anew", &large]);
        let garbage = vault.collect_garbage().unwrap();
        assert_eq!((garbage.segments, garbage.charts_passed_over), (0, 0));
        // A second expunge destroys the first marker and the versions after the marker.
        let report = session_on(&vault).expunge(&id, WHY).unwrap();
        assert_eq!((report.versions, report.segments), (3, 1));
        assert_expunged(&other, &id, next + 2);
        assert_no_finding(&other);
    }
    assert_eq!(raw::counts(&stage.storage)[2..], [13, 8, 4, 0]);
    let others = |id: &RecordId| id.subject() != &subject("MRN-1");
    model.0.retain(|id, _| others(id));
    let kept = session_on(&vault).erase_subject(&subject("MRN-1"), WHY);
    assert_eq!(kept.unwrap().records, 4);
    model.verify(&stage.open());
}

fn expunge_when_not_allowed_changes_nothing(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let session = session_on(&vault);
    let id = record("MRN-1", "Observation/amended");
    let before = raw::objects(&stage.storage);
    let of_unknown_subject = record("MRN-9", "Observation/amended");
    assert_eq!(
        session.expunge(&of_unknown_subject, WHY),
        Err(Error::UnknownSubject)
    );
    let unknown_record = record("MRN-1", "Observation/amendet");
    assert_eq!(
        session.expunge(&unknown_record, WHY),
        Err(Error::UnknownRecord)
    );
    for reason in ["", "a\nb", &"x".repeat(256)] {
        assert_eq!(
            session.expunge(&id, reason),
            Err(invalid_text(InputField::Reason, reason))
        );
    }
    assert!(raw::objects(&stage.storage) == before);
    // The second process caches the entry before the hold is placed.
    let other = stage.open();
    model.verify(&other);
    let patient = id.subject();
    let hold = session.place_hold(patient, "subpoena").unwrap();
    assert_eq!(session_on(&other).expunge(&id, WHY), Err(Error::OnHold));
    session.lift_hold(patient, hold).unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    session.retain_until(patient, Some(tomorrow)).unwrap();
    assert_eq!(session_on(&other).expunge(&id, WHY), Err(Error::Retained));
    model.verify(&other);
    session.retain_until(patient, None).unwrap();
    assert_eq!(session_on(&other).expunge(&id, WHY).unwrap().versions, 3);
    assert_expunged(&vault, &id, 4);
    // An expunge that has begun continues despite the hold.
    session.place_hold(patient, "subpoena").unwrap();
    assert!(session.expunge(&id, WHY).unwrap().resumed);
    let of_another = record("MRN-2", "Observation/1");
    session.erase_subject(of_another.subject(), WHY).unwrap();
    assert_eq!(session.expunge(&of_another, WHY), Err(Error::Erased));
}

fn expunge_interrupted_at_any_step_can_be_repeated(stage: &Stage) {
    let whole = smaller_clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    for (name, marker) in [("CT/large", 3), ("Observation/amended", 4)] {
        let id = record("MRN-1", name);
        let mut model = whole.clone();
        model.0.remove(&id);
        raw::reset(&stage.storage, &before);
        let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
        let opened = faulty.steps();
        session_on(&vault).expunge(&id, WHY).unwrap();
        drop(vault);
        let gone = removed_versions(&before, &raw::all_objects(&stage.storage));
        assert!(gone.len() as u64 >= marker - 1);
        let steps = faulty.steps() - opened;
        assert!(steps >= 8);
        for step in (0..steps).step_by(stage.stride) {
            for action in [FaultAction::Stop, FaultAction::StopAfter] {
                raw::reset(&stage.storage, &before);
                let (vault, _) = stage.open_with(action_at(step, action));
                // The last steps may only write the journal, so the call may succeed.
                let _ = session_on(&vault).expunge(&id, WHY);
                drop(vault);
                check_after_interruption(stage, (&whole, &model), &id, marker, step);
                session_on(&stage.open()).expunge(&id, WHY).unwrap();
                assert_no_bytes_of(stage, &gone);
            }
        }
    }
}

/// Asserts that either all versions or none are readable, and that any later operation works.
fn check_after_interruption(
    stage: &Stage,
    (whole, model): (&Model, &Model),
    id: &RecordId,
    marker: u64,
    step: u64,
) {
    let vault = stage.open();
    if session_on(&vault).get(id).unwrap().is_some() {
        return whole.verify(&vault);
    }
    assert_expunged(&vault, id, marker);
    assert_eq!(raw::key_usage(&vault), raw::brute_force(&stage.storage));
    match step % 4 {
        0 => {
            let report = vault.reencrypt_subject(id.subject()).unwrap();
            assert_eq!((report.blocking, report.patient_keys_destroyed), (0, 1));
        }
        1 => {
            let report = vault.collect_garbage().unwrap();
            assert_eq!(
                (report.charts_passed_over, report.unreadable_versions),
                (0, 0)
            );
        }
        2 => {
            let report = vault.rotate_subject_key(id.subject()).unwrap();
            assert_eq!((report.blocking, report.patient_keys_destroyed), (0, 1));
        }
        _ => {
            let mut marker = marker;
            session_on(&vault).put(id, b"goes on").unwrap();
            assert_follows_marker(&vault, id, marker, &[b"goes on"]);
            let report = vault.collect_garbage().unwrap();
            assert_eq!(
                (report.charts_passed_over, report.unreadable_versions),
                (0, 0)
            );
            marker += 2;
            session_on(&vault).expunge(id, WHY).unwrap();
            assert_expunged(&vault, id, marker);
            return;
        }
    }
    assert_expunged(&vault, id, marker);
    let after = session_on(&vault).expunge(id, WHY).unwrap();
    assert!(after.resumed);
    assert_expunged(&vault, id, marker);
    let subjects = model.0.keys().filter(|other| *other != id);
    for other in subjects {
        let last = model.0[other].last().unwrap();
        let now = session_on(&vault).get(other).unwrap();
        assert!(now.as_deref() == last.as_deref());
    }
}

fn put_delayed_past_expunge_follows_the_marker(stage: &Stage) {
    smaller_clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    let small = content(1, 50);
    let large = content(2, INLINE_MAX + 9);
    for body in [&small, &large] {
        for (name, marker) in [("CT/large", 3), ("Observation/amended", 4)] {
            raw::reset(&stage.storage, &before);
            let stall = Stall::new();
            let (slow, _) = stage.open_with(stall.at(b'r'));
            let id = record("MRN-1", name);
            let put = stall.across(
                || session_on(&slow).put(&id, body),
                || drop(session_on(&stage.open()).expunge(&id, WHY).unwrap()),
            );
            assert_eq!(put, Ok(marker + 1));
            assert_follows_marker(&stage.open(), &id, marker, &[body]);
            // The next expunge removes the copy that the put's first attempt may have made.
            session_on(&stage.open()).expunge(&id, WHY).unwrap();
            assert_expunged(&stage.open(), &id, marker + 2);
            let left = raw::objects_of(&stage.storage, b"h");
            let others = if name == "CT/large" { 3 } else { 2 };
            assert_eq!(left.len(), others);
        }
    }
}

/// Stores a copy of the expunged version in history, as a delayed put that lost a race does.
fn late_copy_of_expunged_version_stays_hidden(stage: &Stage) {
    smaller_clinic(&stage.create());
    let before = raw::all_objects(&stage.storage);
    for (name, marker) in [("CT/large", 3), ("Observation/amended", 4)] {
        let id = record("MRN-1", name);
        raw::reset(&stage.storage, &before);
        session_on(&stage.open())
            .put(&id, b"moves the former aside")
            .unwrap();
        let earlier = raw::objects_of(&stage.storage, b"h");
        let (place, copy) = earlier
            .iter()
            .find(|(key, _)| !before.contains_key(*key))
            .unwrap();
        for late in [false, true] {
            raw::reset(&stage.storage, &before);
            let vault = stage.open();
            session_on(&vault).expunge(&id, WHY).unwrap();
            if late {
                session_on(&vault).put(&id, b"goes on").unwrap();
            }
            raw::put(&stage.storage, place, copy);
            let check = |vault: &Vault| match late {
                true => assert_follows_marker(vault, &id, marker, &[b"goes on"]),
                false => assert_expunged(vault, &id, marker),
            };
            check(&vault);
            let garbage = vault.collect_garbage().unwrap();
            assert_eq!(
                (garbage.charts_passed_over, garbage.unreadable_versions),
                (0, 0)
            );
            vault.rotate_subject_key(id.subject()).unwrap();
            check(&vault);
            let report = vault.reencrypt_subject(id.subject()).unwrap();
            assert_eq!((report.blocking, report.patient_keys_destroyed), (0, 1));
            check(&stage.open());
            let again = session_on(&vault).expunge(&id, WHY).unwrap();
            assert_eq!(again.resumed, !late);
            assert!(!raw::all_objects(&stage.storage).contains_key(place));
        }
    }
}

fn expunged_marker_survives_every_rotation(stage: &Stage) {
    let vault = stage.create();
    let mut model = smaller_clinic(&vault);
    let session = session_on(&vault);
    let (first, second) = (
        record("MRN-1", "CT/large"),
        record("MRN-1", "Observation/amended"),
    );
    session.expunge(&first, WHY).unwrap();
    session.expunge(&second, WHY).unwrap();
    session.put(&second, b"goes on").unwrap();
    model.0.retain(|id, _| *id != first && *id != second);
    let patient = subject("MRN-1");
    for round in 0..4 {
        match round {
            0 => drop(vault.rotate_master_key().unwrap()),
            1 => drop(vault.rotate_subject_key(&patient).unwrap()),
            2 => {
                let report = vault.reencrypt_subject(&patient).unwrap();
                assert_eq!((report.reencrypted, report.blocking), (6, 0));
            }
            _ => drop(vault.collect_garbage().unwrap()),
        }
        for vault in [&vault, &stage.open()] {
            assert_expunged(vault, &first, 3);
            assert_follows_marker(vault, &second, 4, &[b"goes on"]);
            assert_eq!(raw::key_usage(vault), raw::brute_force(&stage.storage));
        }
        assert_no_finding(&vault);
    }
    let markers = raw::all_objects(&stage.storage)
        .into_iter()
        .filter(|(key, value)| {
            matches!(key[0], b'r' | b'h') && Head::parse(value).unwrap().kind == Kind::Retraction
        });
    // The storage contains two markers and the clinic's own retraction.
    assert_eq!(markers.count(), 3);
}

/// Runs two writers, an expunge and a re-encryption concurrently. No version from before the last
/// marker may be readable.
fn expunge_during_puts_and_rotation_hides_earlier_versions(stage: &Stage) {
    let options = stage.options_under_load();
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let (first, other) = (&first, &other);
    let id = &record("MRN-1", "CT/busy");
    session_on(first).put(id, b"first").unwrap();
    let done = &AtomicU32::new(0);
    thread::scope(|scope| {
        for (thread, vault) in [first, other].into_iter().enumerate() {
            scope.spawn(move || {
                let mut last = 0;
                for turn in 0..12 {
                    let length = if turn % 3 == 0 { INLINE_MAX + 1 } else { 40 };
                    let version = session_on(vault).put(id, &content(thread as u64, length));
                    let version = version.unwrap();
                    assert!(version > last, "a version number was repeated");
                    last = version;
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        scope.spawn(move || {
            let mut marker = 0;
            while done.load(Ordering::SeqCst) < 2 {
                session_on(other).expunge(id, WHY).unwrap();
                let history = session_on(first).history(id).unwrap();
                assert!(history[0].is_expunged() && history[0].version() >= marker);
                marker = history[0].version();
                assert!(
                    session_on(first)
                        .get_version(id, marker - 1)
                        .unwrap()
                        .is_none()
                );
            }
        });
        scope.spawn(move || {
            while done.load(Ordering::SeqCst) < 2 {
                first.reencrypt_subject(id.subject()).unwrap();
            }
        });
    });
    let vault = stage.open();
    session_on(&vault).expunge(id, WHY).unwrap();
    let marker = session_on(&vault).history(id).unwrap()[0].version();
    assert_expunged(&vault, id, marker);
    vault.collect_garbage().unwrap();
    assert_eq!(raw::counts(&stage.storage)[2..5], [1, 0, 0]);
}

//! An expunged record is gone for good, its numbers go on, and any call may break off.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use chartlock::internals::envelope::{HEAD, Head, INLINE_MAX, Kind};
use chartlock::storage::FaultAction;
use chartlock::{Error, Precondition, RecordId, Vault};

use crate::common::Fixed;
use crate::erasure::Stall;
use crate::model::{Model, small_clinic, smaller_clinic};
use crate::raw::{self, Objects};
use crate::stage::{Stage, content, record, session, subject, verdict_at};

everywhere!(
    gone_for_good,
    refused,
    broken_off_anywhere,
    a_put_delayed_across_it,
    a_copy_that_lands_late,
    through_every_rotation,
    others_beside_it,
);

pub(crate) const WHY: &str = "filed under the wrong patient";

/// What hangs on one record: its versions, and the segments that they name.
fn belongings(before: &Objects, after: &Objects) -> Objects {
    let gone = before
        .iter()
        .filter(|(key, value)| after.get(*key) != Some(value));
    gone.filter(|(key, _)| matches!(key[0], b'r' | b'h' | b's'))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// No stored byte of a version is left anywhere, under whatever key.
fn assert_nothing_of(stage: &Stage, gone: &Objects) {
    for (key, value) in raw::everything(&stage.storage) {
        for (former, lost) in gone {
            // The sealed part of a version, which re-wrapping leaves alone; a segment as it is.
            let from = if former[0] == b's' { 0 } else { HEAD };
            let lost = &lost[from..];
            let found =
                value.len() >= lost.len() && value.windows(lost.len()).any(|run| run == lost);
            assert!(!found, "a {} in a {}", former[0] as char, key[0] as char);
        }
    }
}

/// The record has nothing but a marker at this version.
fn assert_expunged(vault: &Vault, id: &RecordId, marker: u64) {
    let chart = session(vault);
    assert!(chart.get(id).unwrap().is_none());
    assert!(chart.reader(id).unwrap().is_none());
    for version in 0..=marker + 1 {
        assert!(chart.get_version(id, version).unwrap().is_none());
    }
    let history = chart.history(id).unwrap();
    let told: Vec<_> = history
        .iter()
        .map(|info| (info.version(), info.is_expunged(), info.is_retraction()))
        .collect();
    assert_eq!(told, [(marker, true, true)]);
    assert_eq!(history[0].name(), id.name());
    let mut listed = chart.list(id.subject()).unwrap().map(Result::unwrap);
    assert!(listed.all(|info| info.name() != id.name()));
}

/// What was expunged is missed by nobody.
fn assert_verifies(vault: &Vault) {
    let report = vault.verify(None).unwrap();
    assert!(report.records.is_empty() && report.journal.is_empty());
}

/// Content follows a marker, and nothing else.
pub(crate) fn assert_goes_on(vault: &Vault, id: &RecordId, marker: u64, versions: &[&[u8]]) {
    let chart = session(vault);
    assert!(chart.get(id).unwrap().unwrap()[..] == **versions.last().unwrap());
    for version in 0..=marker {
        assert!(chart.get_version(id, version).unwrap().is_none());
    }
    let history = chart.history(id).unwrap();
    assert_eq!(history.len(), versions.len() + 1);
    assert!(history[0].is_expunged() && history[0].version() == marker);
    for ((version, body), info) in (marker + 1..).zip(versions).zip(&history[1..]) {
        assert!(chart.get_version(id, version).unwrap().unwrap()[..] == **body);
        assert_eq!((info.version(), info.is_expunged()), (version, false));
    }
}

fn gone_for_good(stage: &Stage) {
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
        let report = session(&vault).expunge(&id, WHY).unwrap();
        assert_eq!(
            (report.versions, report.segments, report.resumed),
            (versions, segments, false)
        );
        // Files of an engine may still hold what was replaced.
        assert_eq!(report.purge_deferred, stage.directory.is_some());
        assert!(report.not_reached.len() >= 3);
        model.0.remove(&id);
        let after = raw::objects(&stage.storage);
        let gone = belongings(&before, &after);
        assert_eq!(gone.len() as u64, versions + segments);
        assert_nothing_of(stage, &gone);
        for vault in [&vault, &other, &stage.open()] {
            assert_expunged(vault, &id, versions + 1);
            assert_eq!(raw::census(vault), raw::brute_force(&stage.storage));
        }
        assert_verifies(&vault);
        // Once more: there is nothing left to do, and nothing is written but that it was asked.
        let again = session(&other).expunge(&id, WHY).unwrap();
        assert_eq!(
            (again.versions, again.segments, again.resumed),
            (0, 0, true)
        );
        assert!(raw::objects(&stage.storage) == after);
        assert_eq!(session(&vault).retract(&id), Ok(None));
        // Numbers go on, and what is written next may be expected to be the first.
        let chart = session(&other);
        let stale = chart.put_if(&id, Precondition::Version(versions), b"late");
        assert_eq!(stale, Err(Error::Conflict));
        let next = versions + 2;
        assert_eq!(chart.put_if(&id, Precondition::Absent, b"anew"), Ok(next));
        let large = content(9, INLINE_MAX + 5);
        assert_eq!(chart.put(&id, &large), Ok(next + 1));
        assert_goes_on(&vault, &id, next - 1, &[b"anew", &large]);
        let garbage = vault.collect_garbage().unwrap();
        assert_eq!((garbage.segments, garbage.charts_passed_over), (0, 0));
        // What came behind a marker goes with it.
        let report = session(&vault).expunge(&id, WHY).unwrap();
        assert_eq!((report.versions, report.segments), (3, 1));
        assert_expunged(&other, &id, next + 2);
        assert_verifies(&other);
    }
    assert_eq!(raw::counts(&stage.storage)[2..], [13, 8, 4, 0]);
    let others = |id: &RecordId| id.subject() != &subject("MRN-1");
    model.0.retain(|id, _| others(id));
    let kept = session(&vault).erase_subject(&subject("MRN-1"), WHY);
    assert_eq!(kept.unwrap().records, 4);
    model.verify(&stage.open());
}

fn refused(stage: &Stage) {
    let vault = stage.create();
    let model = smaller_clinic(&vault);
    let chart = session(&vault);
    let id = record("MRN-1", "Observation/amended");
    let before = raw::objects(&stage.storage);
    let nobody = record("MRN-9", "Observation/amended");
    assert_eq!(chart.expunge(&nobody, WHY), Err(Error::UnknownSubject));
    let nothing = record("MRN-1", "Observation/amendet");
    assert_eq!(chart.expunge(&nothing, WHY), Err(Error::UnknownRecord));
    for reason in ["", "a\nb", &"x".repeat(256)] {
        assert_eq!(chart.expunge(&id, reason), Err(Error::InvalidMetadata));
    }
    assert!(raw::objects(&stage.storage) == before);
    // Another process has looked at the entry before it changed.
    let other = stage.open();
    model.verify(&other);
    let patient = id.subject();
    let hold = chart.place_hold(patient, "subpoena").unwrap();
    assert_eq!(session(&other).expunge(&id, WHY), Err(Error::OnHold));
    chart.lift_hold(patient, hold).unwrap();
    let tomorrow = SystemTime::now() + Duration::from_secs(86_400);
    chart.retain_until(patient, Some(tomorrow)).unwrap();
    assert_eq!(session(&other).expunge(&id, WHY), Err(Error::Retained));
    model.verify(&other);
    chart.retain_until(patient, None).unwrap();
    assert_eq!(session(&other).expunge(&id, WHY).unwrap().versions, 3);
    assert_expunged(&vault, &id, 4);
    // What has begun goes on.
    chart.place_hold(patient, "subpoena").unwrap();
    assert!(chart.expunge(&id, WHY).unwrap().resumed);
    let of_another = record("MRN-2", "Observation/1");
    chart.erase_subject(of_another.subject(), WHY).unwrap();
    assert_eq!(chart.expunge(&of_another, WHY), Err(Error::Erased));
}

fn broken_off_anywhere(stage: &Stage) {
    let whole = smaller_clinic(&stage.create());
    let before = raw::everything(&stage.storage);
    for (name, marker) in [("CT/large", 3), ("Observation/amended", 4)] {
        let id = record("MRN-1", name);
        let mut model = whole.clone();
        model.0.remove(&id);
        raw::reset(&stage.storage, &before);
        let (vault, faulty) = stage.open_with(|_, _| FaultAction::Proceed);
        let opened = faulty.steps();
        session(&vault).expunge(&id, WHY).unwrap();
        drop(vault);
        let gone = belongings(&before, &raw::everything(&stage.storage));
        assert!(gone.len() as u64 >= marker - 1);
        let steps = faulty.steps() - opened;
        assert!(steps >= 8);
        for step in (0..steps).step_by(stage.stride) {
            for verdict in [FaultAction::Stop, FaultAction::StopAfter] {
                raw::reset(&stage.storage, &before);
                let (vault, _) = stage.open_with(verdict_at(step, verdict));
                // The last steps may be of its journal alone.
                let _ = session(&vault).expunge(&id, WHY);
                drop(vault);
                after_breaking_off(stage, (&whole, &model), &id, marker, step);
                session(&stage.open()).expunge(&id, WHY).unwrap();
                assert_nothing_of(stage, &gone);
            }
        }
    }
}

/// All of it is there, or none of it can be read; and whatever comes next is right.
fn after_breaking_off(
    stage: &Stage,
    (whole, model): (&Model, &Model),
    id: &RecordId,
    marker: u64,
    step: u64,
) {
    let vault = stage.open();
    if session(&vault).get(id).unwrap().is_some() {
        return whole.verify(&vault);
    }
    assert_expunged(&vault, id, marker);
    assert_eq!(raw::census(&vault), raw::brute_force(&stage.storage));
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
            session(&vault).put(id, b"goes on").unwrap();
            assert_goes_on(&vault, id, marker, &[b"goes on"]);
            let report = vault.collect_garbage().unwrap();
            assert_eq!(
                (report.charts_passed_over, report.unreadable_versions),
                (0, 0)
            );
            marker += 2;
            session(&vault).expunge(id, WHY).unwrap();
            assert_expunged(&vault, id, marker);
            return;
        }
    }
    assert_expunged(&vault, id, marker);
    let after = session(&vault).expunge(id, WHY).unwrap();
    assert!(after.resumed);
    assert_expunged(&vault, id, marker);
    let subjects = model.0.keys().filter(|other| *other != id);
    for other in subjects {
        let last = model.0[other].last().unwrap();
        let now = session(&vault).get(other).unwrap();
        assert!(now.as_deref() == last.as_deref());
    }
}

fn a_put_delayed_across_it(stage: &Stage) {
    smaller_clinic(&stage.create());
    let before = raw::everything(&stage.storage);
    let small = content(1, 50);
    let large = content(2, INLINE_MAX + 9);
    for body in [&small, &large] {
        for (name, marker) in [("CT/large", 3), ("Observation/amended", 4)] {
            raw::reset(&stage.storage, &before);
            let stall = Stall::new();
            let (slow, _) = stage.open_with(stall.at(b'r'));
            let id = record("MRN-1", name);
            let put = stall.across(
                || session(&slow).put(&id, body),
                || drop(session(&stage.open()).expunge(&id, WHY).unwrap()),
            );
            assert_eq!(put, Ok(marker + 1));
            assert_goes_on(&stage.open(), &id, marker, &[body]);
            // What its first try may have put aside goes with the next call.
            session(&stage.open()).expunge(&id, WHY).unwrap();
            assert_expunged(&stage.open(), &id, marker + 2);
            let left = raw::objects_of(&stage.storage, b"h");
            let others = if name == "CT/large" { 3 } else { 2 };
            assert_eq!(left.len(), others);
        }
    }
}

/// A copy of what `r` held, put aside by a put that never wins, lands after all is over.
fn a_copy_that_lands_late(stage: &Stage) {
    smaller_clinic(&stage.create());
    let before = raw::everything(&stage.storage);
    for (name, marker) in [("CT/large", 3), ("Observation/amended", 4)] {
        let id = record("MRN-1", name);
        raw::reset(&stage.storage, &before);
        session(&stage.open())
            .put(&id, b"moves the former aside")
            .unwrap();
        let aside = raw::objects_of(&stage.storage, b"h");
        let (place, copy) = aside
            .iter()
            .find(|(key, _)| !before.contains_key(*key))
            .unwrap();
        for late in [false, true] {
            raw::reset(&stage.storage, &before);
            let vault = stage.open();
            session(&vault).expunge(&id, WHY).unwrap();
            if late {
                session(&vault).put(&id, b"goes on").unwrap();
            }
            raw::put(&stage.storage, place, copy);
            let told = |vault: &Vault| match late {
                true => assert_goes_on(vault, &id, marker, &[b"goes on"]),
                false => assert_expunged(vault, &id, marker),
            };
            told(&vault);
            let garbage = vault.collect_garbage().unwrap();
            assert_eq!(
                (garbage.charts_passed_over, garbage.unreadable_versions),
                (0, 0)
            );
            vault.rotate_subject_key(id.subject()).unwrap();
            told(&vault);
            let report = vault.reencrypt_subject(id.subject()).unwrap();
            assert_eq!((report.blocking, report.patient_keys_destroyed), (0, 1));
            told(&stage.open());
            let again = session(&vault).expunge(&id, WHY).unwrap();
            assert_eq!(again.resumed, !late);
            assert!(!raw::everything(&stage.storage).contains_key(place));
        }
    }
}

fn through_every_rotation(stage: &Stage) {
    let vault = stage.create();
    let mut model = smaller_clinic(&vault);
    let chart = session(&vault);
    let (first, second) = (
        record("MRN-1", "CT/large"),
        record("MRN-1", "Observation/amended"),
    );
    chart.expunge(&first, WHY).unwrap();
    chart.expunge(&second, WHY).unwrap();
    chart.put(&second, b"goes on").unwrap();
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
            assert_goes_on(vault, &second, 4, &[b"goes on"]);
            assert_eq!(raw::census(vault), raw::brute_force(&stage.storage));
        }
        assert_verifies(&vault);
    }
    let markers = raw::everything(&stage.storage)
        .into_iter()
        .filter(|(key, value)| {
            matches!(key[0], b'r' | b'h') && Head::parse(value).unwrap().kind == Kind::Retraction
        });
    // Two markers, and a retraction of the clinic's.
    assert_eq!(markers.count(), 3);
}

/// Two processes put, one expunges, one rotates: what is told is never of before the last marker.
fn others_beside_it(stage: &Stage) {
    let options = stage.options_under_load();
    let mine = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let (mine, other) = (&mine, &other);
    let id = &record("MRN-1", "CT/busy");
    session(mine).put(id, b"first").unwrap();
    let done = &AtomicU32::new(0);
    thread::scope(|scope| {
        for (thread, vault) in [mine, other].into_iter().enumerate() {
            scope.spawn(move || {
                let mut last = 0;
                for turn in 0..12 {
                    let length = if turn % 3 == 0 { INLINE_MAX + 1 } else { 40 };
                    let version = session(vault).put(id, &content(thread as u64, length));
                    let version = version.unwrap();
                    assert!(version > last, "numbers never repeat");
                    last = version;
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        scope.spawn(move || {
            let mut marker = 0;
            while done.load(Ordering::SeqCst) < 2 {
                session(other).expunge(id, WHY).unwrap();
                let history = session(mine).history(id).unwrap();
                assert!(history[0].is_expunged() && history[0].version() >= marker);
                marker = history[0].version();
                assert!(session(mine).get_version(id, marker - 1).unwrap().is_none());
            }
        });
        scope.spawn(move || {
            while done.load(Ordering::SeqCst) < 2 {
                mine.reencrypt_subject(id.subject()).unwrap();
            }
        });
    });
    let vault = stage.open();
    session(&vault).expunge(id, WHY).unwrap();
    let marker = session(&vault).history(id).unwrap()[0].version();
    assert_expunged(&vault, id, marker);
    vault.collect_garbage().unwrap();
    assert_eq!(raw::counts(&stage.storage)[2..5], [1, 0, 0]);
}

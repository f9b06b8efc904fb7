//! Rotations under load: readers and writers continue without errors or lost records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::{Document, RecordId, Vault};

use super::{ROTATIONS, Rotation};
use crate::clock::AcceleratedClock;
use crate::common::Fixed;
use crate::model::{Model, small_clinic};
use crate::raw;
use crate::stage::{Stage, content, record, session_on};

everywhere!(
    readers_and_writers_during_rotation_lose_nothing,
    concurrent_rotations_complete
);

fn readers_and_writers_during_rotation_lose_nothing(stage: &Stage) {
    let clock = Arc::new(AcceleratedClock::default());
    let options = stage.options_by(Arc::clone(&clock));
    let first = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let before = small_clinic(&first);
    let mut model = before.clone();
    for rotation in ROTATIONS {
        let written = under_load(&first, &other, &clock, &before, rotation);
        for (id, versions) in written.0 {
            model.0.entry(id).or_default().extend(versions);
        }
        for vault in [&first, &other, &stage.open()] {
            model.verify(vault);
            assert_eq!(raw::key_usage(vault), raw::brute_force(&stage.storage));
        }
    }
    assert_eq!(
        raw::counts(&stage.storage)[5],
        0,
        "an upload intent remains"
    );
}

/// Runs a rotation while two threads write and two threads read on both vaults. Returns the
/// acknowledged records.
fn under_load(
    first: &Vault,
    other: &Vault,
    clock: &AcceleratedClock,
    before: &Model,
    rotation: Rotation,
) -> Model {
    let done = AtomicBool::new(false);
    let written = Mutex::new(Model::default());
    thread::scope(|scope| {
        for (thread, vault) in [first, other].into_iter().enumerate() {
            let (done, written) = (&done, &written);
            scope.spawn(move || {
                let model = write_until(done, vault, clock, rotation, thread);
                written.lock().unwrap().0.extend(model.0);
            });
            scope.spawn(move || read_until(done, vault, before));
        }
        let _done = SetOnDrop(&done);
        for _ in 0..2 {
            let report = rotation.run(first).unwrap();
            assert!(report.is_complete(), "{report:?}");
        }
    });
    written.into_inner().unwrap()
}

/// Guard that stops the other threads, even if this thread panics.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts small and large records, singly and in batches, at least twice.
fn write_until(
    done: &AtomicBool,
    vault: &Vault,
    clock: &AcceleratedClock,
    rotation: Rotation,
    thread: usize,
) -> Model {
    let session = session_on(vault);
    let mut model = Model::default();
    let names = ["small", "large", "batched", "batched too"];
    let ids = names.map(|name| {
        let patient = if thread == 0 { "MRN-1" } else { "MRN-2" };
        record(patient, &format!("{rotation:?} by {thread}, {name}"))
    });
    let mut turn = 0;
    while !done.load(Ordering::Relaxed) || turn < 2 {
        turn += 1;
        // The pause limits the number of versions, because the memory storage accepts thousands of
        // puts per second.
        thread::sleep(Duration::from_millis(10));
        let _operation = clock.operation();
        model.put(&session, &ids[0], &content(turn, 300));
        if turn % 8 == 1 {
            model.put(&session, &ids[1], &content(turn, INLINE_MAX + 300));
        }
        if turn % 5 == 2 {
            model.retract(&session, &ids[0]);
        }
        let body = content(turn, 77);
        let batch = ids[2..].iter().map(|id| (id, Document::from(&body)));
        for (id, outcome) in ids[2..].iter().zip(session.put_many(batch).unwrap()) {
            assert_eq!(outcome, Ok(turn));
            let versions = model.0.entry(id.clone()).or_default();
            versions.push(Some(body.clone()));
        }
    }
    model
}

/// Asserts that the records from before the rotation are readable at any time.
fn read_until(done: &AtomicBool, vault: &Vault, before: &Model) {
    let session = session_on(vault);
    let mut passes = 0;
    while !done.load(Ordering::Relaxed) || passes < 2 {
        passes += 1;
        for (id, versions) in &before.0 {
            let current = session.get(id).unwrap();
            assert!(current.as_deref() == versions.last().unwrap().as_deref());
            let first = session.get_version(id, 1).unwrap();
            assert!(first.as_deref() == versions[0].as_deref());
            assert_eq!(session.history(id).unwrap().len(), versions.len());
        }
        for subject in before.subjects() {
            let listed = session.list(subject).unwrap();
            let names: Vec<_> = listed.map(|info| info.unwrap().name().to_owned()).collect();
            let has_content = |(id, versions): &(&RecordId, &Vec<Option<Vec<u8>>>)| {
                id.subject() == subject && versions.last().is_some_and(Option::is_some)
            };
            for (id, _) in before.0.iter().filter(has_content) {
                assert!(names.iter().any(|name| name == id.name()));
            }
        }
        let subjects = session.subjects().unwrap().map(Result::unwrap);
        assert!(subjects.count() >= before.subjects().len());
    }
}

/// Runs each pair of rotations concurrently.
fn concurrent_rotations_complete(stage: &Stage) {
    let options = stage.options_under_load();
    let ours = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let model = small_clinic(&ours);
    let patient = [
        Rotation::Master,
        Rotation::Subject,
        Rotation::ReencryptSubject,
    ];
    let pairs = patient
        .iter()
        .enumerate()
        .flat_map(|(index, first)| patient[index..].iter().map(move |second| (first, second)));
    for (first, second) in pairs {
        thread::scope(|scope| {
            for (rotation, vault) in [(first, &ours), (second, &other)] {
                scope.spawn(move || {
                    let report = rotation.run(vault).unwrap();
                    assert!(report.is_complete(), "{rotation:?}: {report:?}");
                });
            }
        });
        model.verify(&ours);
        model.verify(&other);
        let usage = raw::key_usage(&other);
        assert_eq!(usage, raw::brute_force(&stage.storage));
        assert_eq!(usage.masters.len(), 1, "after {first:?} and {second:?}");
    }
}

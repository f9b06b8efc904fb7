//! Readers and writers run through each rotation without an error, and lose nothing.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use chartlock::internals::envelope::INLINE_MAX;
use chartlock::{Document, RecordId, Vault};

use super::{VERBS, Verb};
use crate::clock::QuickClock;
use crate::common::Fixed;
use crate::model::{Model, small_clinic};
use crate::raw;
use crate::stage::{Stage, content, record, session};

everywhere!(readers_and_writers, rotations_meet);

fn readers_and_writers(stage: &Stage) {
    let clock = Arc::new(QuickClock::default());
    let options = stage.options_by(Arc::clone(&clock));
    let mine = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let before = small_clinic(&mine);
    let mut model = before.clone();
    for verb in VERBS {
        let written = under_load(&mine, &other, &clock, &before, verb);
        for (id, versions) in written.0 {
            model.0.entry(id).or_default().extend(versions);
        }
        for vault in [&mine, &other, &stage.open()] {
            model.verify(vault);
            assert_eq!(raw::census(vault), raw::brute_force(&stage.storage));
        }
    }
    assert_eq!(raw::counts(&stage.storage)[5], 0, "an upload is left");
}

/// Runs a rotation while two threads write and two read, on both vaults; what was written.
fn under_load(
    mine: &Vault,
    other: &Vault,
    clock: &QuickClock,
    before: &Model,
    verb: Verb,
) -> Model {
    let done = AtomicBool::new(false);
    let written = Mutex::new(Model::default());
    thread::scope(|scope| {
        for (thread, vault) in [mine, other].into_iter().enumerate() {
            let (done, written) = (&done, &written);
            scope.spawn(move || {
                let model = write_until(done, vault, clock, verb, thread);
                written.lock().unwrap().0.extend(model.0);
            });
            scope.spawn(move || read_until(done, vault, before));
        }
        let _done = SetOnDrop(&done);
        for _ in 0..2 {
            let report = verb.run(mine).unwrap();
            assert!(report.is_complete(), "{report:?}");
        }
    });
    written.into_inner().unwrap()
}

/// Lets the other threads end, though this one may have failed.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Puts, one by one and in batches, small and large, at least a few.
fn write_until(
    done: &AtomicBool,
    vault: &Vault,
    clock: &QuickClock,
    verb: Verb,
    thread: usize,
) -> Model {
    let chart = session(vault);
    let mut model = Model::default();
    let names = ["small", "large", "batched", "batched too"];
    let ids = names.map(|name| {
        let patient = if thread == 0 { "MRN-1" } else { "MRN-2" };
        record(patient, &format!("{verb:?} by {thread}, {name}"))
    });
    let mut turn = 0;
    while !done.load(Ordering::Relaxed) || turn < 2 {
        turn += 1;
        // Memory takes thousands in a second, and all of them are compared in the end.
        thread::sleep(Duration::from_millis(10));
        let _operation = clock.operation();
        model.put(&chart, &ids[0], &content(turn, 300));
        if turn % 8 == 1 {
            model.put(&chart, &ids[1], &content(turn, INLINE_MAX + 300));
        }
        if turn % 5 == 2 {
            model.remove(&chart, &ids[0]);
        }
        let body = content(turn, 77);
        let batch = ids[2..].iter().map(|id| (id, Document::from(&body)));
        for (id, outcome) in ids[2..].iter().zip(chart.put_many(batch).unwrap()) {
            assert_eq!(outcome, Ok(turn));
            let versions = model.0.entry(id.clone()).or_default();
            versions.push(Some(body.clone()));
        }
    }
    model
}

/// Reads what was there before: it must be there all the time.
fn read_until(done: &AtomicBool, vault: &Vault, before: &Model) {
    let chart = session(vault);
    let mut passes = 0;
    while !done.load(Ordering::Relaxed) || passes < 2 {
        passes += 1;
        for (id, versions) in &before.0 {
            let current = chart.get(id).unwrap();
            assert!(current.as_deref() == versions.last().unwrap().as_deref());
            let first = chart.get_version(id, 1).unwrap();
            assert!(first.as_deref() == versions[0].as_deref());
            assert_eq!(chart.history(id).unwrap().len(), versions.len());
        }
        for subject in before.subjects() {
            let listed = chart.list(subject).unwrap();
            let names: Vec<_> = listed.map(|info| info.unwrap().name().to_owned()).collect();
            let standing = |(id, versions): &(&RecordId, &Vec<Option<Vec<u8>>>)| {
                id.subject() == subject && versions.last().is_some_and(Option::is_some)
            };
            for (id, _) in before.0.iter().filter(standing) {
                assert!(names.iter().any(|name| name == id.name()));
            }
        }
        let subjects = chart.subjects().unwrap().map(Result::unwrap);
        assert!(subjects.count() >= before.subjects().len());
    }
}

/// Two of them at once, of every kind beside every kind.
fn rotations_meet(stage: &Stage) {
    let options = stage.options_under_load();
    let mine = options.clone().create(stage.shared(), &Fixed(1)).unwrap();
    let other = stage.open_by(options);
    let model = small_clinic(&mine);
    let patient = [Verb::Master, Verb::Patient, Verb::ReencryptPatient];
    let pairs = patient
        .iter()
        .enumerate()
        .flat_map(|(index, first)| patient[index..].iter().map(move |second| (first, second)));
    for (first, second) in pairs {
        thread::scope(|scope| {
            for (verb, vault) in [(first, &mine), (second, &other)] {
                scope.spawn(move || {
                    let report = verb.run(vault).unwrap();
                    assert!(report.is_complete(), "{verb:?}: {report:?}");
                });
            }
        });
        model.verify(&mine);
        model.verify(&other);
        let census = raw::census(&other);
        assert_eq!(census, raw::brute_force(&stage.storage));
        assert_eq!(census.masters.len(), 1, "beside {first:?}, {second:?}");
    }
}

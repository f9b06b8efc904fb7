//! Garbage collection: the collector frees exactly the garbage, and reports the exact counts.

mod concurrent_writers;
mod damage;
mod leftovers;

use std::collections::BTreeSet;
use std::sync::Arc;

use chartlock::internals::envelope::{Head, Intent, Kind};
use chartlock::storage::{FaultAction, FaultPoint, Faulty, Operation};
use chartlock::{Vault, report::GarbageReport};

use crate::common::clock::ManualClock;
use crate::raw::{self, Objects};
use crate::stage::{Shared, Stage};

const DAY: i64 = 24 * 60 * 60 * 1000;
/// Time at which all interrupted uploads began, in milliseconds since the Unix epoch.
const START: i64 = 1_700_000_000_000;

/// Returns the age in milliseconds beyond which an intent counts as abandoned.
fn limit(stage: &Stage) -> i64 {
    if stage.storage.is_transactional() {
        DAY
    } else {
        7 * DAY
    }
}

/// Opens the vault with the clock at `time`, on a storage whose steps `hook` controls.
fn open_at(
    stage: &Stage,
    time: i64,
    hook: impl Fn(u64, &FaultPoint<'_>) -> FaultAction + Send + Sync + 'static,
) -> (Vault, Arc<Faulty<Shared>>) {
    let clock = Arc::new(ManualClock::at(time));
    stage.open_faulty(stage.options().clock(clock), hook)
}

fn vault_at(stage: &Stage, time: i64) -> Vault {
    open_at(stage, time, |_, _| FaultAction::Proceed).0
}

/// Garbage in a snapshot of all objects, taken without concurrent writers.
#[derive(Debug, Default)]
struct Garbage {
    segments: BTreeSet<Vec<u8>>,
    intents: BTreeSet<Vec<u8>>,
    under_way: u64,
}

impl Garbage {
    fn find(stage: &Stage, objects: &Objects, time: i64) -> Self {
        let mut garbage = Self::default();
        let mut kept = BTreeSet::new();
        for (key, value) in objects {
            match key[0] {
                b'r' | b'h' if Head::parse(value).unwrap().kind == Kind::Segmented => {
                    kept.insert([&key[1..17], &value[96..112]].concat());
                }
                b'w' if time - Intent::parse(value).unwrap().started_at > limit(stage) => {
                    garbage.intents.insert(key.clone());
                }
                b'w' => {
                    kept.insert(key[1..].to_vec());
                    garbage.under_way += 1;
                }
                _ => {}
            }
        }
        let segments = objects.keys().filter(|key| key[0] == b's');
        garbage.segments = segments
            .filter(|key| !kept.contains(&key[1..33]))
            .cloned()
            .collect();
        garbage
    }

    fn is_empty(&self) -> bool {
        self.segments.is_empty() && self.intents.is_empty()
    }
}

/// Collects garbage twice with the clock at `time`, and asserts that the report and the storage
/// match the expected garbage.
fn collect_and_compare(stage: &Stage, time: i64) -> GarbageReport {
    let mut objects = raw::objects(&stage.storage);
    let garbage = Garbage::find(stage, &objects, time);
    let vault = vault_at(stage, time);
    let report = vault.collect_garbage().unwrap();
    assert_eq!(report.segments, garbage.segments.len() as u64);
    assert_eq!(report.uploads, garbage.intents.len() as u64);
    assert_eq!(report.uploads_under_way, garbage.under_way);
    objects.retain(|key, _| !garbage.segments.contains(key) && !garbage.intents.contains(key));
    assert!(raw::objects(&stage.storage) == objects);
    let again = vault.collect_garbage().unwrap();
    assert_eq!(without_deletes(again), without_deletes(report.clone()));
    assert!(raw::objects(&stage.storage) == objects);
    report
}

/// Clears the counts that are expected to differ in a second collection.
fn without_deletes(mut report: GarbageReport) -> GarbageReport {
    (report.segments, report.uploads, report.charts) = (0, 0, 0);
    report
}

/// Asserts that a collection frees nothing, and returns its report.
fn assert_collects_nothing(stage: &Stage, time: i64) -> GarbageReport {
    let before = raw::objects(&stage.storage);
    let report = vault_at(stage, time).collect_garbage().unwrap();
    assert_eq!((report.segments, report.uploads), (0, 0));
    assert!(raw::objects(&stage.storage) == before);
    report
}

/// Stops a large put after all segments are stored, before its record is written.
pub(crate) fn stop_before_record(_: u64, point: &FaultPoint<'_>) -> FaultAction {
    match point {
        FaultPoint::Commit([Operation::Check { key, .. }, ..]) if key[0] == b'w' => {
            FaultAction::Stop
        }
        _ => FaultAction::Proceed,
    }
}

//! Power-cut test. After a power cut at any moment, acknowledged changes must be complete, and
//! unfinished changes must be complete or absent.
//!
//! A child process runs every operation that changes a vault over a `FileStorage` under `strace`.
//! The trace contains each call that changes a file, with its bytes, and each line that the child
//! prints. The test replays these calls on a model of a disk ([`disk`]). The test simulates power
//! cuts at syncs and after acknowledgements: unsynced changes are lost, kept, torn and reordered
//! ([`cut`]). The test writes each resulting state to a directory, opens the vault there, compares
//! it with the acknowledged changes, verifies it, and writes to it. From some states another
//! recorded child starts, whose calls are cut again.
//!
//! The index of SQLite's write-ahead log in shared memory is not part of a state. Half of the states
//! have arbitrary bytes in its place, because nothing syncs it.
//!
//! The child's operations and the model of their effects are those of `tests/crash`.
//! `CHARTLOCK_POWER_CUTS` makes the test continue with more cuts, for at least this number of
//! seconds. `CHARTLOCK_POWER_FAULTS` makes each kind of call fail with each error in each
//! operation. `CHARTLOCK_SEED` sets the contents of the records, the cuts, and which calls fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod campaign;
#[path = "../crash/child.rs"]
mod child;
#[path = "../common/mod.rs"]
mod common;
mod cut;
mod cutter;
mod disk;
mod faults;
mod file_content;
mod image;
#[path = "../crash/journal.rs"]
mod journal;
mod last_calls;
#[path = "../crash/model.rs"]
mod model;
mod place;
mod recorder;
mod script;
#[path = "../crash/sweep.rs"]
mod sweep;
mod trace;

use std::time::{Duration, Instant};

use campaign::{Campaign, FalseSyncs, Outcome, Run};
use common::content::{Random, seed};
use cut::Effort;
use script::{EVERY_OPERATION, every_operation_on_one};

/// One cut at each sync and after each acknowledgement.
const FEW: Effort = Effort {
    each: 1,
    random: 1,
    at_most: 1,
    every: 1,
};

const LONG: Effort = Effort {
    each: 4,
    random: 8,
    at_most: 12,
    every: 1,
};

/// The minimum number of states that the long form opens.
const LONG_STATES: u64 = 10_000;

fn clean(script: &str) -> Vec<Run<'_>> {
    processes(&[script])
}

/// Returns one run for each script.
fn processes<'a>(scripts: &[&'a str]) -> Vec<Run<'a>> {
    let run = |script: &&'a str| Run {
        script,
        fault: None,
    };
    scripts.iter().map(run).collect()
}

/// Returns a campaign with one cut at each point after the creation of the vault.
fn short<'a>(name: &'a str, runs: &'a [Run<'a>], seed: u64) -> Campaign<'a> {
    Campaign {
        name,
        runs,
        seed,
        effort: FEW,
        spared: 1,
        false_syncs: FalseSyncs::None,
        cut_again: 0,
    }
}

#[track_caller]
fn assert_no_failures(outcome: &Outcome) {
    println!(
        "\n{} syncs, {} operations acknowledged, {} states opened",
        outcome.syncs, outcome.acknowledged, outcome.states
    );
    let failures = outcome.failures.len();
    assert!(
        failures == 0,
        "{failures} failed:\n{}",
        outcome.failures.join("\n")
    );
}

#[test]
fn power_cut_during_every_operation_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let runs = clean(EVERY_OPERATION);
    let campaign = short("vault", &runs, seed().unwrap_or(7));
    assert_no_failures(&campaign.run());
    if let Ok(seconds) = std::env::var("CHARTLOCK_POWER_CUTS") {
        long_form(Duration::from_secs(seconds.parse().unwrap()));
    }
}

/// Runs campaigns with more cuts, each at least once, for at least `time`. Continues until
/// `LONG_STATES` states were opened.
fn long_form(time: Duration) {
    let end = Instant::now() + time;
    let first = Random::new().0;
    let (mut syncs, mut states) = (0, 0);
    for number in 0.. {
        let is_enough = number >= LONG_CAMPAIGNS && states >= LONG_STATES;
        if is_enough && Instant::now() >= end {
            break;
        }
        let outcome = long_campaign(number, first);
        syncs += outcome.syncs;
        states += outcome.states;
        println!("long form: {syncs} syncs, {states} states");
    }
}

const LONG_CAMPAIGNS: usize = 6;

/// Runs one of the campaigns of the long form. Each round over all campaigns uses the next seed.
fn long_campaign(number: usize, first_seed: u64) -> Outcome {
    let on_one = every_operation_on_one();
    let campaigns: [(&str, &[&str], usize); LONG_CAMPAIGNS] = [
        ("vault", &[EVERY_OPERATION], 0),
        ("split", &REOPENED, 0),
        ("shared", &["", PROCESSES], 0),
        ("vault", &[THREADS], 0),
        ("vault", &[&on_one], 12),
        ("vault", &REOPENED, 0),
    ];
    let (name, scripts, cut_again) = campaigns[number % LONG_CAMPAIGNS];
    let seed = first_seed.wrapping_add((number / LONG_CAMPAIGNS) as u64);
    println!("{name} {scripts:?}, CHARTLOCK_SEED={seed}");
    let runs = processes(scripts);
    let campaign = Campaign {
        effort: LONG,
        cut_again,
        ..short(name, &runs, seed)
    };
    let outcome = campaign.run();
    assert_no_failures(&outcome);
    outcome
}

#[test]
fn power_cut_during_creation_leaves_no_damage() {
    if !trace::can_record() {
        return;
    }
    for name in ["vault", "parent/other/vault", "split"] {
        let runs = processes(&["", "put"]);
        let campaign = Campaign {
            spared: 0,
            ..short(name, &runs, 11)
        };
        assert_no_failures(&campaign.run());
    }
}

/// Scripts of processes that run successively.
const REOPENED: [&str; 3] = [
    "put many 1:put-large backup use",
    "put-large remove 1:erase",
    "put collect archive use",
];

#[test]
fn power_cut_across_reopens_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    for (name, every) in [("vault", 4), ("split", 2)] {
        let runs = processes(&REOPENED);
        let campaign = Campaign {
            effort: Effort { every, ..FEW },
            ..short(name, &runs, 23)
        };
        assert_no_failures(&campaign.run());
    }
}

/// The script writes enough data for a checkpoint in the middle and another one at the end.
#[test]
fn power_cut_during_checkpoint_and_close_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let many = ["many"; 150].join(" ");
    let script = format!("{many} rotate-patient put many erase compact put");
    let runs = processes(&[&script, "put many"]);
    let campaign = Campaign {
        // Skip the cuts during the creation and the first 148 operations, because these only fill
        // the log.
        spared: 149,
        ..short("vault", &runs, 29)
    };
    let outcome = campaign.run();
    assert_no_failures(&outcome);
    assert!(outcome.emptied > 0, "no checkpoint emptied the log");
}

/// Cuts the power again while a child recovers from a cut.
#[test]
fn power_cut_during_recovery_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let script = every_operation_on_one();
    let runs = clean(&script);
    let campaign = Campaign {
        effort: Effort { every: 4, ..FEW },
        cut_again: 6,
        ..short("vault", &runs, 37)
    };
    assert_no_failures(&campaign.run());
}

/// Script of two threads, one of which also makes a backup.
const THREADS: &str = "put many put-large backup put erase put many put-huge \
| put put-large many put put many put-large put put rotate-patient put many";

#[test]
fn power_cut_with_several_writers_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    for script in [THREADS.to_owned(), format!("strict {THREADS}")] {
        let runs = clean(&script);
        let campaign = Campaign {
            effort: Effort { every: 2, ..FEW },
            ..short("vault", &runs, 41)
        };
        assert_no_failures(&campaign.run());
    }
}

/// Scripts of two concurrent processes on one storage. The process that makes a backup also erases, so that
/// the backup begins before the erasure and contains the chart.
const PROCESSES: &str = "put many put-large put backup put rotate-patient put erase put many \
& put put-large many put put many put-huge put put put many";

#[test]
fn power_cut_of_shared_storage_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let runs = processes(&["", PROCESSES, "put"]);
    assert_no_failures(&short("shared", &runs, 43).run());
}

/// Negative control: a campaign must report failures if no sync has an effect once the vault was
/// created. Of the campaigns in which a single sync has no effect, at least three must report
/// failures.
#[test]
fn syncs_without_effect_are_detected() {
    if !trace::can_record() {
        return;
    }
    let runs = clean("put put-huge");
    let campaign = |false_syncs| Campaign {
        effort: CONTROL,
        false_syncs,
        ..short("vault", &runs, 5)
    };
    let control = campaign(FalseSyncs::None).run();
    assert_no_failures(&control);
    let never = campaign(FalseSyncs::Numbers(control.created..u64::MAX)).run();
    assert!(!never.failures.is_empty());
    let syncs = control.created + 1..control.syncs;
    let detected = syncs.map(|sync| campaign(FalseSyncs::Numbers(sync..sync + 1)).run());
    let detected: Vec<_> = detected
        .map(|outcome| !outcome.failures.is_empty())
        .collect();
    println!("detected: {detected:?}");
    // Do not require a failure for each sync, because some syncs persist only data that no vault
    // needs later.
    assert!(detected.iter().filter(|detected| **detected).count() >= 3);
}

const CONTROL: Effort = Effort {
    each: 0,
    random: 0,
    at_most: 2,
    every: 1,
};

/// Predicate on the path of a synced file or directory.
type IsOfKind = fn(&str) -> bool;

/// Negative control: a campaign must report failures if all syncs of one kind have no effect.
#[test]
fn omitted_kind_of_sync_is_detected() {
    if !trace::can_record() {
        return;
    }
    let kinds: [(&str, IsOfKind); 7] = [
        ("marker", |path| path.ends_with("/marker.new")),
        ("database", |path| path.ends_with("/vault.db")),
        ("log", |path| path.ends_with("/vault.db-wal")),
        ("segment file", |path| path.contains("/segments/")),
        ("names of segment files", |path| path.ends_with("/segments")),
        ("names of the storage", |path| path == "parent/vault"),
        ("name of the storage", |path| path == "parent"),
    ];
    let runs = clean("put put-huge rotate-patient put");
    for (kind, of) in kinds {
        let campaign = Campaign {
            effort: CONTROL,
            false_syncs: FalseSyncs::Of(of),
            ..short("parent/vault", &runs, 5)
        };
        let outcome = campaign.run();
        assert!(!outcome.failures.is_empty(), "{kind}: not detected");
    }
}

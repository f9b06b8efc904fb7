//! Power-cut test. After a power cut at any moment, acknowledged changes must be complete, and
//! unfinished changes must be complete or absent.
//!
//! A child process runs every operation that changes a vault over a `FileStorage` under `strace`.
//! The trace contains each call that changes a file, with its bytes, and each line that the child
//! prints. The test replays these calls on a model of a disk ([`disk`]). The test cuts the power at
//! every sync and after every acknowledgement: unsynced changes are lost, kept, torn and reordered
//! ([`cut`]). The test writes each resulting state to a directory, opens the vault there, compares
//! it with the acknowledged changes, verifies it, and writes to it.
//!
//! The child's operations and the model of their effects are those of `tests/crash`.
//! `CHARTLOCK_POWER_CUTS` sets for how many seconds the test continues with more cuts.
//! `CHARTLOCK_SEED` sets the contents of the records, the cuts, and which calls fail.
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
#[path = "../crash/content.rs"]
mod content;
mod cut;
mod disk;
mod faults;
#[path = "../crash/journal.rs"]
mod journal;
#[path = "../crash/model.rs"]
mod model;
#[path = "../crash/place.rs"]
mod place;
mod recorder;
mod script;
#[path = "../crash/sweep.rs"]
mod sweep;
mod trace;

use std::time::{Duration, Instant};

use campaign::{Campaign, Outcome, Run};
use content::{Random, seed};
use cut::Effort;
use script::EVERY_VERB;

const SHORT: Effort = Effort {
    each: 2,
    random: 2,
    at_most: 3,
};

const LONG: Effort = Effort {
    each: 4,
    random: 8,
    at_most: 24,
};

fn clean(script: &str) -> [Run<'_>; 1] {
    [Run {
        script,
        fault: None,
    }]
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
    let mut campaign = Campaign {
        name: "vault",
        runs: &clean(EVERY_VERB),
        seed: seed().unwrap_or(7),
        effort: SHORT,
        spared: 1,
        false_syncs: 0..0,
    };
    assert_no_failures(&campaign.run());
    let seconds = std::env::var("CHARTLOCK_POWER_CUTS").map(|seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    campaign.effort = LONG;
    campaign.seed = Random::new().0;
    let (mut syncs, mut states) = (0, 0);
    while Instant::now() < end {
        println!("CHARTLOCK_SEED={}", campaign.seed);
        let outcome = campaign.run();
        assert_no_failures(&outcome);
        syncs += outcome.syncs;
        states += outcome.states;
        campaign.seed = campaign.seed.wrapping_add(1);
    }
    println!("long form: {syncs} syncs, {states} states");
}

#[test]
fn power_cut_during_creation_leaves_no_damage() {
    if !trace::can_record() {
        return;
    }
    let campaign = Campaign {
        name: "vault",
        runs: &clean(""),
        seed: 11,
        effort: SHORT,
        spared: 0,
        false_syncs: 0..0,
    };
    assert_no_failures(&campaign.run());
}

/// Runs several processes successively, also on a split storage.
#[test]
fn power_cut_across_reopens_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    for name in ["vault", "split"] {
        let scripts = [
            "put many 1:put-large",
            "put-large remove 1:erase",
            "put collect",
        ];
        let runs = scripts.map(|script| Run {
            script,
            fault: None,
        });
        let campaign = Campaign {
            name,
            runs: &runs,
            seed: 23,
            effort: SHORT,
            spared: 1,
            false_syncs: 0..0,
        };
        assert_no_failures(&campaign.run());
    }
}

/// Writes enough data that closing the vault empties the journal of the storage engine.
#[test]
fn power_cut_during_close_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let rotations = ["rotate-patient"; 4];
    let script = [&["many"; 150][..], &rotations].concat();
    let scripts = [&script.join(" "), "put many"];
    let runs = scripts.map(|script| Run {
        script,
        fault: None,
    });
    let campaign = Campaign {
        name: "vault",
        runs: &runs,
        seed: 29,
        effort: SHORT,
        // Cut the power only after the last rotation has begun.
        spared: script.len() as u64,
        false_syncs: 0..0,
    };
    let outcome = campaign.run();
    assert_no_failures(&outcome);
    assert!(outcome.emptied > 0, "closing kept the journal");
}

/// Negative control: the campaign must report failures if a disk loses synced data, or if changes
/// are acknowledged before any sync.
#[test]
fn syncs_without_effect_are_detected() {
    if !trace::can_record() {
        return;
    }
    let runs = clean("put put-large");
    let campaign = |false_syncs| Campaign {
        name: "vault",
        runs: &runs,
        seed: 5,
        effort: Effort {
            each: 0,
            random: 0,
            at_most: 2,
        },
        spared: 1,
        false_syncs,
    };
    let control = campaign(0..0).run();
    assert_no_failures(&control);
    let never = campaign(control.created..u64::MAX).run();
    assert!(!never.failures.is_empty());
    let syncs = control.created + 1..control.syncs;
    let detected = syncs.map(|sync| campaign(sync..sync + 1).run());
    let detected: Vec<_> = detected
        .map(|outcome| !outcome.failures.is_empty())
        .collect();
    println!("detected: {detected:?}");
    // Do not require a failure for each sync, because some syncs persist only data that no vault
    // needs later.
    assert!(detected.iter().filter(|detected| **detected).count() >= 3);
}

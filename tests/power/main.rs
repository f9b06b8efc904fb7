//! A power cut at any moment leaves what was acknowledged, and nothing half done.
//!
//! A child runs every changing verb over a `FileStorage` under `strace`, which notes each call that
//! changes a file, with its bytes, and each line that the child says. These calls are replayed on a
//! model of a disk ([`disk`]): at every sync, and after every acknowledgement, the power is cut, and
//! what was not synced is lost, kept, torn and reordered ([`cut`]). Each state that this leaves is laid
//! out in a directory, opened, compared with what was acknowledged by then, verified, and written to.
//!
//! The child's verbs and the model that it is compared with are those of `tests/crash`.
//! `CHARTLOCK_POWER_CUTS` sets for how many seconds it goes on with more and more of them,
//! `CHARTLOCK_SEED` the contents of the records, the cuts, and which calls fail.
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
fn assert_kept(outcome: &Outcome) {
    println!(
        "\n{} syncs, {} verbs acknowledged, {} states opened",
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
fn every_verb() {
    if !trace::can_record() {
        return;
    }
    let mut campaign = Campaign {
        name: "vault",
        runs: &clean(EVERY_VERB),
        seed: seed().unwrap_or(7),
        effort: SHORT,
        spared: 1,
        lies: 0..0,
    };
    assert_kept(&campaign.carry_out());
    let seconds = std::env::var("CHARTLOCK_POWER_CUTS").map(|seconds| seconds.parse().unwrap());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    campaign.effort = LONG;
    campaign.seed = Random::new().0;
    let (mut syncs, mut states) = (0, 0);
    while Instant::now() < end {
        println!("CHARTLOCK_SEED={}", campaign.seed);
        let outcome = campaign.carry_out();
        assert_kept(&outcome);
        syncs += outcome.syncs;
        states += outcome.states;
        campaign.seed = campaign.seed.wrapping_add(1);
    }
    println!("besides: {syncs} syncs, {states} states");
}

#[test]
fn creating() {
    if !trace::can_record() {
        return;
    }
    let campaign = Campaign {
        name: "vault",
        runs: &clean(""),
        seed: 11,
        effort: SHORT,
        spared: 0,
        lies: 0..0,
    };
    assert_kept(&campaign.carry_out());
}

/// Opened and closed in between, and with the keys apart from the data.
#[test]
fn over_several_openings() {
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
            lies: 0..0,
        };
        assert_kept(&campaign.carry_out());
    }
}

/// Where so much was written that closing empties the journal of the engine.
#[test]
fn closing() {
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
        // All but the last rotation.
        spared: script.len() as u64,
        lies: 0..0,
    };
    let outcome = campaign.carry_out();
    assert_kept(&outcome);
    assert!(outcome.emptied > 0, "closing kept the journal");
}

/// A control: the test must fail where a disk lies, or where nothing is synced before it is acknowledged.
#[test]
fn lies_are_noticed() {
    if !trace::can_record() {
        return;
    }
    let runs = clean("put put-large");
    let campaign = |lies| Campaign {
        name: "vault",
        runs: &runs,
        seed: 5,
        effort: Effort {
            each: 0,
            random: 0,
            at_most: 2,
        },
        spared: 1,
        lies,
    };
    let honest = campaign(0..0).carry_out();
    assert_kept(&honest);
    let never = campaign(honest.created..u64::MAX).carry_out();
    assert!(!never.failures.is_empty());
    let lies = honest.created + 1..honest.syncs;
    let noticed = lies.map(|lie| campaign(lie..lie + 1).carry_out());
    let noticed: Vec<_> = noticed
        .map(|outcome| !outcome.failures.is_empty())
        .collect();
    println!("noticed: {noticed:?}");
    // A sync of what nobody needs may be left out.
    assert!(noticed.iter().filter(|noticed| **noticed).count() >= 3);
}

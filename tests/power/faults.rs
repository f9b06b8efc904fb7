//! Injected failures of writes and syncs. Acknowledged changes persist, and the vault acknowledges
//! nothing that builds on changes that may be lost. The next process opens the vault, with or
//! without a power cut.

use crate::campaign::{Campaign, FalseSyncs, Outcome, Run};
use crate::content;
use crate::cut::Effort;
use crate::script::every_verb_on_one;
use crate::{assert_no_failures, trace};

/// Operations on another patient, for the process that follows the failed process.
const AFTERWARDS: &str = "1:put 1:put-large 1:many checkpoint";

const EFFORT: Effort = Effort {
    each: 1,
    random: 1,
    at_most: 1,
};

/// Creates a vault, runs one process until an injected fault hits one of its calls, and runs
/// another process after it.
fn with_fault(fault: &str, seed: u64) -> Outcome {
    let script = every_verb_on_one();
    let run = |script, fault| Run { script, fault };
    let runs = [
        run("", None),
        run(&script, Some(fault)),
        run(AFTERWARDS, None),
    ];
    let campaign = Campaign {
        name: "vault",
        runs: &runs,
        seed: seed.wrapping_add(content::seed().unwrap_or(0)),
        effort: EFFORT,
        spared: 1,
        false_syncs: FalseSyncs::None,
        cut_again: 0,
    };
    let outcome = campaign.run();
    println!("\n{fault}: {:?}", outcome.afterwards);
    assert_no_failures(&outcome);
    outcome
}

/// Injects a fault into every `every`-th call, in a new process each time, until a process makes
/// too few calls for a fault.
fn each(call: &str, error: &str, every: usize) -> (u64, Vec<Outcome>) {
    let first = 1 + (every / 2 + offset(every)) % every;
    let mut outcomes = Vec::new();
    for number in (first..).step_by(every) {
        let fault = format!("{call}:error={error}:when={number}");
        let outcome = with_fault(&fault, number as u64);
        if outcome.faults == 0 {
            break;
        }
        outcomes.push(outcome);
    }
    (outcomes.len() as u64, outcomes)
}

/// Returns the distance between failing calls, which is 1 in the long form of the test, so that
/// every call fails once.
fn step(short: usize) -> usize {
    match std::env::var_os("CHARTLOCK_POWER_CUTS") {
        Some(_) => 1,
        None => short,
    }
}

/// Shifts the failing calls by `CHARTLOCK_SEED`, so that successive seeds reach each of them.
fn offset(every: usize) -> usize {
    content::seed().unwrap_or(0) as usize % every
}

/// Returns `true` if the vault refused every put after the first failed operation.
fn is_refused(outcome: &Outcome) -> bool {
    let refused = |answer: &String| answer == "Err(Storage(Stopped))";
    outcome.afterwards.iter().all(refused)
}

#[test]
fn failed_sync_is_never_retried() {
    if !trace::can_record() {
        return;
    }
    let mut refused = 0;
    for (call, short) in [("fdatasync", 37), ("fsync", 29)] {
        let (count, outcomes) = each(call, "EIO", step(short));
        for outcome in &outcomes {
            assert!(outcome.failed_syncs == 0 || is_refused(outcome));
            refused += u64::from(!outcome.afterwards.is_empty());
        }
        println!("{count} times {call} failed");
    }
    assert!(refused > 0, "no operation ever failed");
}

#[test]
fn disk_full_at_every_write_loses_nothing() {
    if !trace::can_record() {
        return;
    }
    for (call, error, short) in [
        ("write", "ENOSPC", 97),
        ("write", "EIO", 151),
        ("fdatasync", "ENOSPC", 61),
        ("openat", "ENOSPC", 211),
    ] {
        let (count, _) = each(call, error, step(short));
        println!("{count} times {call} failed");
    }
}

/// Kills a process and then cuts the power. The kernel still has the names and bytes that the
/// killed process wrote, and the next process builds on them.
#[test]
fn kill_then_power_cut_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let (every, other) = (step(31), step(83));
    for number in (2 + offset(every)..90).step_by(every) {
        with_fault(&format!("fdatasync:signal=SIGKILL:when={number}"), 3);
    }
    for number in (3 + offset(other)..250).step_by(other) {
        with_fault(&format!("fsync:signal=SIGKILL:when={number}"), 4);
    }
}

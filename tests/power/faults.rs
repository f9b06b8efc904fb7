//! Tests that make system calls fail, or kill the process at a call. Acknowledged changes persist,
//! and the vault acknowledges nothing that builds on changes that may be lost. The next process
//! opens the vault, with or without a power cut.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::assert_no_failures;
use crate::campaign::{Campaign, FalseSyncs, Outcome, Run, calls_of_last};
use crate::common::content;
use crate::cut::Effort;
use crate::last_calls::{self, ERRORS, SCRIPTS};
use crate::script::every_operation_on_one;
use crate::trace::{self, Call};

/// The system calls that must fail with each error if `CHARTLOCK_POWER_FAULTS` is set.
const LAST_CALLS: [&str; 5] = ["pwrite64", "fsync", "rename", "unlink", "ftruncate"];

/// A fault at a call number that no process reaches.
const NEVER: &str = "fsync:error=EIO:when=65535";

/// Operations on another patient, for the process that follows the failed process.
const AFTERWARDS: &str = "1:put 1:put-large 1:many checkpoint";

const EFFORT: Effort = Effort {
    each: 1,
    random: 1,
    at_most: 1,
    every: 12,
};

/// Script of a process in which a call fails, with the scripts of the processes before and after.
struct Script {
    name: &'static str,
    before: &'static [&'static str],
    failing: Cow<'static, str>,
    after: &'static str,
    effort: Effort,
}

impl Script {
    /// Returns a script of every operation, on an existing vault.
    fn every_operation() -> Self {
        Self {
            name: "vault",
            before: &[""],
            failing: every_operation_on_one().into(),
            after: AFTERWARDS,
            effort: EFFORT,
        }
    }

    /// Returns a script that creates a vault in a new directory.
    fn creation() -> Self {
        Self {
            name: "parent/vault",
            before: &[],
            failing: "put".into(),
            after: AFTERWARDS,
            effort: EFFORT,
        }
    }

    /// Returns a script of some operations, on an existing vault.
    fn of(words: &'static str) -> Self {
        Self {
            failing: words.into(),
            ..Self::every_operation()
        }
    }

    /// Returns a script that commits many pages to an empty log. The next process copies the log
    /// into the database.
    fn first_commit() -> Self {
        Self {
            name: "vault",
            before: &["put many many many many"],
            failing: "many".into(),
            after: "1:put",
            effort: Effort {
                each: 6,
                random: 6,
                at_most: 8,
                every: 3,
            },
        }
    }

    fn runs_until<'a>(&'a self, fault: &'a str) -> Vec<Run<'a>> {
        let run = |script, fault| Run { script, fault };
        let before = self.before.iter().map(|script| run(*script, None));
        let failing = run(&self.failing, Some(fault));
        before.chain([failing]).collect()
    }

    /// Returns the calls of the failing script in a run without a fault.
    fn calls(&self) -> Vec<Call> {
        let runs = self.runs_until(NEVER);
        calls_of_last(self.name, &runs, content::seed().unwrap_or(0))
    }

    /// Runs the script once for each chosen combination of system call and error, and makes one
    /// call of the operation `word` fail. `is_chosen` receives the indices of the call and of the
    /// error.
    fn fail_calls(
        &self,
        calls: &[Call],
        word: &str,
        is_chosen: impl Fn(usize, usize) -> bool,
        tally: &mut Tally,
    ) {
        let numbers = last_calls::numbers(calls, word);
        for (kind, (call, numbers)) in numbers.into_iter().enumerate() {
            for (index, error) in ERRORS.into_iter().enumerate() {
                if !is_chosen(kind, index) {
                    continue;
                }
                let number = numbers[offset(numbers.len())];
                println!("\n{word}:");
                let fault = format!("{call}:error={error}:when={number}");
                let outcome = self.with_fault(&fault, number);
                match outcome.faults {
                    0 => tally.missed += 1,
                    _ => *tally.hit.entry((call, error)).or_default() += 1,
                }
            }
        }
    }

    /// Runs the script with a fault, and another process afterwards. Asserts that every state after
    /// a power cut passes the checks.
    fn with_fault(&self, fault: &str, seed: u64) -> Outcome {
        let mut runs = self.runs_until(fault);
        runs.push(Run {
            script: self.after,
            fault: None,
        });
        let campaign = Campaign {
            name: self.name,
            runs: &runs,
            seed: seed.wrapping_add(content::seed().unwrap_or(0)),
            effort: self.effort,
            spared: self.before.len() as u64,
            false_syncs: FalseSyncs::None,
            cut_again: 0,
        };
        let outcome = campaign.run();
        println!("\n{fault}: {:?}", outcome.afterwards);
        assert_no_failures(&outcome);
        outcome
    }

    /// Injects a fault into every `every`-th call of a kind, in a new process each time. `calls` are
    /// those of a run without a fault.
    fn each(&self, calls: &[Call], call: &str, error: &str, every: usize) -> Vec<Outcome> {
        let first = 1 + (every / 2 + offset(every)) % every;
        let numbers = (first..=last_calls::most(calls, call)).step_by(every);
        let fail = |number| {
            let fault = format!("{call}:{error}:when={number}");
            self.with_fault(&fault, number as u64)
        };
        let outcomes: Vec<_> = numbers.map(fail).collect();
        println!("{} times {call} failed: {error}", outcomes.len());
        outcomes
    }
}

/// Counts of the injected faults: those that hit a call, by call and error, and those that hit
/// none.
#[derive(Debug, Default)]
struct Tally {
    hit: BTreeMap<(&'static str, &'static str), u64>,
    missed: u64,
}

impl Tally {
    #[track_caller]
    fn assert_most_hit(&self) {
        println!("{self:?}");
        assert!(self.hit.values().sum::<u64>() > 5 * self.missed, "{self:?}");
    }
}

/// Returns the system calls of the script with every operation. The tests share one recording.
fn calls_of_every_operation() -> &'static [Call] {
    static CALLS: OnceLock<Vec<Call>> = OnceLock::new();
    CALLS.get_or_init(|| Script::every_operation().calls())
}

/// Returns `CHARTLOCK_SEED` modulo `every`, so that successive seeds select successive calls.
fn offset(every: usize) -> usize {
    content::seed().unwrap_or(0) as usize % every
}

/// Returns `true` if every put after the first failed operation returned `Stopped`.
fn is_refused(outcome: &Outcome) -> bool {
    let refused = |answer: &String| answer == "Err(Storage(Stopped))";
    outcome.afterwards.iter().all(refused)
}

#[test]
fn failed_sync_is_never_retried() {
    if !trace::can_record() {
        return;
    }
    let script = Script::every_operation();
    let outcomes = script.each(calls_of_every_operation(), "fsync", "error=EIO", 67);
    for outcome in &outcomes {
        assert!(outcome.failed_syncs == 0 || is_refused(outcome));
    }
    let has_gone_on = |outcome: &Outcome| !outcome.afterwards.is_empty();
    assert!(outcomes.iter().any(has_gone_on), "no operation ever failed");
}

/// After a failed sync, the log is in the page cache only, even if a later sync of the log
/// succeeds.
#[test]
fn failed_sync_of_first_commit_leaves_no_half_transaction() {
    if !trace::can_record() {
        return;
    }
    // The first commit syncs the directory, the log's header, the directory again, and the log.
    for number in 1..=4 {
        let fault = format!("fsync:error=EIO:when={number}");
        Script::first_commit().with_fault(&fault, number);
    }
}

#[test]
fn disk_full_at_every_write_loses_nothing() {
    if !trace::can_record() {
        return;
    }
    let script = Script::every_operation();
    for (call, every) in [("write", 149), ("pwrite64", 997), ("fsync", 199)] {
        script.each(calls_of_every_operation(), call, "error=ENOSPC", every);
    }
}

/// Makes one system call of each operation fail, runs another process, and cuts the power at points
/// after the fault.
///
/// By default, each operation gets one combination of call and error. With
/// `CHARTLOCK_POWER_FAULTS`, each operation gets every kind of call with every error, and successive
/// seeds select successive calls of a kind.
#[test]
fn failed_call_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let mut tally = Tally::default();
    let scripts = SCRIPTS.into_iter().chain(["put many close"]);
    for (index, script) in scripts.enumerate() {
        let (before, word) = script.rsplit_once(' ').unwrap_or(("", script));
        let script = Script::of(if word == "close" { before } else { script });
        let calls = script.calls();
        let kinds = last_calls::numbers(&calls, word).len();
        let chosen = index + content::seed().unwrap_or(0) as usize;
        let is_chosen = |kind, error| {
            is_long() || (kind, error) == (chosen % kinds, (chosen + chosen / 4) % ERRORS.len())
        };
        script.fail_calls(&calls, word, is_chosen, &mut tally);
    }
    tally.assert_most_hit();
    for error in ERRORS.into_iter().filter(|_| is_long()) {
        let is_hit = |call: &&str| tally.hit.contains_key(&(*call, error));
        let missed: Vec<_> = LAST_CALLS.iter().filter(|call| !is_hit(call)).collect();
        assert!(missed.is_empty(), "no {error} from {missed:?}");
    }
}

#[test]
fn failed_call_during_creation_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let is_chosen = |kind, error| is_long() || kind % ERRORS.len() == error;
    let script = Script::creation();
    let mut tally = Tally::default();
    script.fail_calls(&script.calls(), "create", is_chosen, &mut tally);
    tally.assert_most_hit();
}

/// Returns `true` if the tests must fail every kind of call with every error.
fn is_long() -> bool {
    std::env::var_os("CHARTLOCK_POWER_FAULTS").is_some()
}

/// Kills a process and then cuts the power. The unsynced changes of the killed process stay in the
/// page cache, and the next process builds on them. The power cut can still lose these changes.
#[test]
fn kill_then_power_cut_loses_no_acknowledged_change() {
    if !trace::can_record() {
        return;
    }
    let killed = "signal=SIGKILL";
    let (every_operation, creation) = (Script::every_operation(), Script::creation());
    let creating = creation.calls();
    for (script, calls, call, every) in [
        (&every_operation, calls_of_every_operation(), "fsync", 53),
        (
            &every_operation,
            calls_of_every_operation(),
            "pwrite64",
            997,
        ),
        (&creation, &creating, "fsync", 13),
        (&creation, &creating, "rename", 2),
    ] {
        script.each(calls, call, killed, every);
    }
}

//! Power-cut campaigns. A campaign records child processes, simulates power cuts at their syncs and
//! acknowledgements, and opens each resulting state.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::thread;

use crate::common::scratch;
use crate::cut::Effort;
use crate::cutter::Cutter;
use crate::image::open_all;
use crate::script::{FAULT, PROCESS, ROOT, SCRIPT, SEED};
use crate::trace;

/// The number of threads that open the states left by cuts.
const OPENERS: usize = 2;

/// Concurrent child processes to record, or a single one.
pub(crate) struct Run<'a> {
    /// The operations that the children run, in the syntax of [`crate::script`].
    pub(crate) script: &'a str,
    /// A fault that `strace` injects, in the syntax of its `inject` option.
    pub(crate) fault: Option<&'a str>,
}

/// Successive runs of child processes on one vault, and the selection of the power cuts.
pub(crate) struct Campaign<'a> {
    /// The path of the vault's directory below the disk's root. Its last name selects the kind of
    /// storage, see [`crate::place`].
    pub(crate) name: &'a str,
    pub(crate) runs: &'a [Run<'a>],
    pub(crate) seed: u64,
    pub(crate) effort: Effort,
    /// The minimum number of operations that are acknowledged before the first cut.
    pub(crate) spared: u64,
    /// The syncs that report success without making anything durable.
    pub(crate) false_syncs: FalseSyncs,
    /// The maximum number of states from which another child starts. The campaign also cuts the
    /// power at the calls of that child.
    pub(crate) cut_again: usize,
}

/// Selection of the syncs that report success without making anything durable.
#[derive(Clone)]
pub(crate) enum FalseSyncs {
    None,
    /// The syncs with these numbers, counted from 1 over the whole campaign.
    Numbers(Range<u64>),
    /// All syncs of the files and directories whose paths the function accepts.
    Of(fn(&str) -> bool),
}

impl FalseSyncs {
    pub(crate) fn contains(&self, number: u64, path: Option<&str>) -> bool {
        match self {
            Self::None => false,
            Self::Numbers(numbers) => numbers.contains(&number),
            Self::Of(accepts) => path.is_some_and(accepts),
        }
    }
}

/// The counts and failures of a campaign.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) syncs: u64,
    /// The number of syncs before the vault was created, which `syncs` includes.
    pub(crate) created: u64,
    pub(crate) acknowledged: u64,
    pub(crate) states: u64,
    /// The number of truncations of a file to length 0.
    pub(crate) emptied: u64,
    /// The number of system calls in which `strace` injected a fault.
    pub(crate) faults: u64,
    /// The number of storages that were closed without an error.
    pub(crate) closed: u64,
    /// The number of injected faults that hit a sync of the database or its log.
    pub(crate) failed_syncs: u64,
    /// The results of puts after an operation had failed.
    pub(crate) afterwards: Vec<String>,
    /// The states that failed, each with the reason.
    pub(crate) failures: Vec<String>,
}

impl Campaign<'_> {
    pub(crate) fn run(&self) -> Outcome {
        let scratch = scratch::quick();
        let root = scratch.path().join("disk");
        fs::create_dir(&root).unwrap();
        let (send, states) = sync_channel(OPENERS);
        let states = Mutex::new(states);
        let failures = Mutex::new(Vec::new());
        let mut outcome = thread::scope(|scope| {
            for opener in 0..OPENERS {
                let place = scratch.path().join(opener.to_string());
                let (states, failures) = (&states, &failures);
                scope.spawn(move || open_all(&place, self.name, states, failures));
            }
            let mut cutter = Cutter::new(self, send);
            for (index, run) in self.runs.iter().enumerate() {
                let log = scratch.path().join(format!("log.{index}"));
                cutter.record(&root, run, self.seed + index as u64, &log);
            }
            // A difference means that the recorder missed a change.
            let is_true = matches!(self.false_syncs, FalseSyncs::None);
            if is_true && self.runs.iter().all(|run| run.fault.is_none()) {
                cutter.assert_recorded(&root);
            }
            let again = std::mem::take(&mut cutter.again);
            for (index, state) in again.into_iter().enumerate() {
                cutter.cut_again(scratch.path(), index, state);
            }
            cutter.outcome
        });
        outcome.failures = failures.into_inner().unwrap();
        outcome
    }
}

/// Runs children successively, and returns the system calls of the last run.
pub(crate) fn calls_of_last(name: &str, runs: &[Run<'_>], seed: u64) -> Vec<trace::Call> {
    let scratch = scratch::quick();
    let root = scratch.path().join("disk");
    fs::create_dir(&root).unwrap();
    let log = scratch.path().join("log");
    for (index, run) in runs.iter().enumerate() {
        record(&root, name, run, seed + index as u64, &log);
    }
    trace::read(&fs::read_to_string(log).unwrap())
}

/// Runs children under `strace` until they exit.
pub(crate) fn record(root: &Path, name: &str, run: &Run<'_>, seed: u64, log: &Path) {
    let mut command = trace::strace(log, run.fault);
    add_children(&mut command, run.script.split('&').count());
    command.env(ROOT, root.join(name)).env(SCRIPT, run.script);
    command.env(SEED, seed.to_string());
    if let Some(fault) = run.fault {
        command.env(FAULT, fault);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let is_killed = run.fault.is_some_and(|fault| fault.contains("signal="));
    assert!(
        output.status.success() || is_killed || run.fault.is_some() && is_outside_test(&output),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Returns `true` if a fault also hit the dynamic loader or the test runner. `strace` counts the
/// calls of each thread separately, so a fault can hit one call in each thread.
fn is_outside_test(output: &Output) -> bool {
    let errors = String::from_utf8_lossy(&output.stderr);
    output.status.code() == Some(127) || errors.contains("io error when listing tests")
}

/// Adds the command of one child, or of several that run at the same time.
fn add_children(command: &mut Command, count: usize) {
    if count > 1 {
        let start = |number| format!("{PROCESS}={number} \"$0\" \"$@\" & p{number}=$!; ");
        let wait = |number| format!(" && wait $p{number}");
        let starts: String = (0..count).map(start).collect();
        let waits: String = (0..count).map(wait).collect();
        command.args(["sh", "-c", &format!("{starts} true{waits}")]);
    }
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "script::child_runs_script", "--nocapture"]);
    command.arg("--test-threads=1");
}

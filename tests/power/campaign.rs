//! Power-cut campaigns, which record a child process, cut the power at every sync, and open each
//! state that a cut leaves.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use crate::child::parse_line;
use crate::common::content::Random;
use crate::common::scratch;
use crate::cut::{Cut, Effort, cuts};
use crate::disk::{Disk, Tree, When, digest};
use crate::image::{CopyImage, Shelf, State, lay_out, open_all, read_tree};
use crate::model::Model;
use crate::recorder::{Event, Recorder};
use crate::script::{FAULT, PROCESS, ROOT, SCRIPT, SEED};
use crate::trace;

/// The number of threads that open the states left by cuts.
const OPENERS: usize = 2;

/// A child process to record.
pub(crate) struct Run<'a> {
    /// The operations that the child runs, in the syntax of [`crate::script`].
    pub(crate) script: &'a str,
    /// A fault that `strace` injects, in the syntax of its `inject` option.
    pub(crate) fault: Option<&'a str>,
}

/// Child processes that run successively on one directory.
pub(crate) struct Campaign<'a> {
    /// The name of the vault's directory, which [`place`] interprets.
    pub(crate) name: &'a str,
    pub(crate) runs: &'a [Run<'a>],
    pub(crate) seed: u64,
    pub(crate) effort: Effort,
    /// The number of operations that are acknowledged before the first cut.
    pub(crate) spared: u64,
    /// The syncs that report success without making anything durable.
    pub(crate) false_syncs: FalseSyncs,
    /// The number of states from which another child starts, whose calls are cut again.
    pub(crate) cut_again: usize,
}

/// Operations of a child that starts from the state that a cut left.
const AFTER_CUT: &str = "1:put 1:put-large 1:many checkpoint";

/// Syncs without an effect.
#[derive(Clone)]
pub(crate) enum FalseSyncs {
    None,
    /// The numbers of the syncs, counted from 1.
    Numbers(Range<u64>),
    /// All syncs of the files and directories whose paths the function accepts.
    Of(fn(&str) -> bool),
}

impl FalseSyncs {
    fn contains(&self, number: u64, path: Option<&str>) -> bool {
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

/// Runs children, and returns the calls of the last one.
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
fn record(root: &Path, name: &str, run: &Run<'_>, seed: u64, log: &Path) {
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

/// Returns `true` if a fault also hit the dynamic loader or the test runner. `strace` counts the calls
/// of each thread separately, so that a fault can hit one call in each.
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

/// Replay of the children's calls, which sends each state that a cut leaves to the checking
/// threads.
struct Cutter<'a> {
    campaign: &'a Campaign<'a>,
    disk: Disk,
    model: Model,
    begun: BTreeMap<String, String>,
    copies: Vec<CopyImage>,
    random: Random,
    seen: HashSet<u64>,
    /// The digests of the copies that were sent to be checked.
    seen_copies: HashSet<u64>,
    /// The number of points at which the campaign could cut the power so far.
    points: u64,
    send: SyncSender<State>,
    /// The states that are cut again, chosen at random from all states so far.
    again: Vec<State>,
    until: When,
    /// The number of children whose calls were replayed completely.
    ended: usize,
    outcome: Outcome,
}

impl<'a> Cutter<'a> {
    fn new(campaign: &'a Campaign<'a>, send: SyncSender<State>) -> Self {
        Self {
            campaign,
            disk: Disk::new(),
            model: Model::default(),
            begun: BTreeMap::new(),
            copies: Vec::new(),
            random: Random(campaign.seed),
            seen: HashSet::new(),
            seen_copies: HashSet::new(),
            points: 0,
            send,
            again: Vec::new(),
            until: 0,
            ended: 0,
            outcome: Outcome::default(),
        }
    }

    /// Runs children and replays their calls.
    fn record(&mut self, root: &Path, run: &Run<'_>, seed: u64, log: &Path) {
        record(root, self.campaign.name, run, seed, log);
        let calls = trace::read(&fs::read_to_string(log).unwrap());
        fs::remove_file(log).unwrap();
        self.replay(root.to_str().unwrap(), &calls);
    }

    /// Asserts that the model of the disk contains what the children left.
    fn assert_recorded(&self, root: &Path) {
        let all = self.disk.after(&Cut::Everything).into_iter();
        let all: Tree = all
            .map(|(path, content)| (path, content.map(|content| Arc::new(content.trimmed()))))
            .collect();
        assert!(all == read_tree(root), "the recording is not complete");
    }

    /// Starts a child from the state after a cut, and cuts its calls too.
    fn cut_again(&mut self, scratch: &Path, index: usize, state: State) {
        let root = scratch.join(format!("again.{index}"));
        let mut shelf = Shelf::new(scratch.join(format!("again.{index}.shelf")));
        lay_out(&root, &state.tree, &mut shelf);
        self.disk = Disk::of(&state.tree);
        self.model = state.model;
        self.copies = state.copies;
        // The outcome of these operations remains unknown.
        let begun = state.begun.into_iter();
        self.begun = begun
            .map(|(thread, verb)| (format!("cut/{thread}"), verb))
            .collect();
        let run = Run {
            script: AFTER_CUT,
            fault: None,
        };
        self.record(&root, &run, index as u64, &root.with_extension("log"));
        self.assert_recorded(&root);
        fs::remove_dir_all(&root).unwrap();
    }

    fn replay(&mut self, root: &str, calls: &[trace::Call]) {
        let mut recorder = Recorder::new(root, self.until);
        for call in calls {
            self.outcome.faults += u64::from(call.injected);
            let empties = call.name == "ftruncate" && call.number(1) == 0;
            self.outcome.emptied += u64::from(empties);
            match recorder.follow(&mut self.disk, call) {
                Event::Other => {}
                Event::Failed(id) => {
                    self.cut();
                    let path = self.disk.path_of(id).unwrap_or_default();
                    let database = format!("{}/vault.db", self.campaign.name);
                    self.outcome.failed_syncs += u64::from(path.starts_with(&database));
                    self.disk.lose(id);
                }
                Event::Synced(id, until) => {
                    self.cut();
                    self.outcome.syncs += 1;
                    let path = self.disk.path_of(id);
                    let syncs = self.outcome.syncs;
                    if self.campaign.false_syncs.contains(syncs, path.as_deref()) {
                        self.disk.lose(id);
                    } else {
                        self.disk.sync(id, until);
                    }
                }
                Event::Said(line) => {
                    if let Some(answer) = line.strip_prefix("then ") {
                        self.outcome.afterwards.push(answer.to_owned());
                    }
                    self.begin_copy(&line);
                    if let Some((verb, answer)) = parse_line(&line, &mut self.begun) {
                        self.model.acknowledge(&verb, &answer);
                        self.end_copy(&verb);
                        self.outcome.acknowledged += 1;
                        self.outcome.closed += u64::from(verb == "close");
                        if verb == "create" {
                            self.outcome.created = self.outcome.syncs;
                        }
                        self.cut();
                    }
                }
            }
        }
        self.cut_here();
        // The child has exited, so the outcome of its unfinished operations remains unknown. Store
        // them under new names, so that the next child's operations do not replace them.
        let unfinished = std::mem::take(&mut self.begun).into_iter();
        let until = self.until;
        self.begun = unfinished
            .map(|(thread, verb)| (format!("{until}/{thread}"), verb))
            .collect();
        self.ended += 1;
        self.until += calls.iter().map(|call| call.ended).max().unwrap_or(0) + 1;
    }

    fn begin_copy(&mut self, line: &str) {
        let Some((_, verb)) = line.split_once(" begin ") else {
            return;
        };
        for copy in self.copies.iter_mut().filter(|one| !one.is_acknowledged) {
            copy.is_alone = false;
        }
        let names = ["backup=", "archive="].map(|kind| verb.strip_prefix(kind));
        let Some(name) = names.into_iter().flatten().next() else {
            return;
        };
        self.copies.push(CopyImage {
            name: name.to_owned(),
            model: self.model.clone(),
            is_acknowledged: false,
            is_alone: self.begun.is_empty(),
            is_used: false,
        });
    }

    fn end_copy(&mut self, verb: &str) {
        let Some((verb, name)) = verb.split_once('=') else {
            return;
        };
        let mut copies = self.copies.iter_mut();
        let copy = copies.find(|copy| copy.name == name).unwrap();
        copy.is_acknowledged = true;
        copy.is_used = verb == "use";
    }

    /// Cuts the power at this point, in each way that [`cuts`] chooses.
    fn cut(&mut self) {
        self.points += u64::from(self.is_open_to_cuts());
        if self.points % self.campaign.effort.every == 1 % self.campaign.effort.every {
            self.cut_here();
        }
    }

    fn is_open_to_cuts(&self) -> bool {
        let runs = self.campaign.runs;
        let awaits_a_fault = runs.iter().any(|run| run.fault.is_some())
            && self.outcome.faults == 0
            && self.ended + 1 < runs.len();
        !awaits_a_fault && self.outcome.acknowledged >= self.campaign.spared
    }

    fn cut_here(&mut self) {
        if !self.is_open_to_cuts() {
            return;
        }
        for cut in cuts(&self.disk, self.campaign.effort, &mut self.random) {
            let tree = self.disk.after(&cut);
            let expected = self.outcome.acknowledged * 2 + self.begun.len() as u64;
            if !self.seen.insert(digest(tree.iter(), expected)) {
                continue;
            }
            self.outcome.states += 1;
            let mut state = State {
                number: self.outcome.states,
                tree,
                model: self.model.clone(),
                begun: self.begun.clone(),
                copies: self.copies.clone(),
                words: format!(
                    "{cut:?} before sync {}, {} operations acknowledged, within {:?}",
                    self.outcome.syncs + 1,
                    self.outcome.acknowledged,
                    self.begun
                ),
            };
            self.remember(&state);
            self.leave_out_known_copies(&mut state);
            self.send.send(state).unwrap();
        }
    }

    /// Leaves out the copies that are the same as in an earlier state.
    fn leave_out_known_copies(&mut self, state: &mut State) {
        let tree = &mut state.tree;
        state.copies.retain(|copy| {
            let directory = format!("{}/", copy.name);
            let files = tree.iter().filter(|(path, _)| path.starts_with(&directory));
            let is_new = self.seen_copies.insert(digest(files, copy.expectation()));
            if !is_new {
                tree.retain(|path, _| !path.starts_with(&directory));
            }
            is_new
        });
    }

    /// Keeps a random selection of the states.
    fn remember(&mut self, state: &State) {
        let count = self.campaign.cut_again;
        if count == 0 || !state.model.created || self.ended == self.campaign.runs.len() {
            return;
        }
        if self.again.len() < count {
            self.again.push(state.clone());
            return;
        }
        let place = self.random.below(self.outcome.states) as usize;
        if let Some(place) = self.again.get_mut(place) {
            *place = state.clone();
        }
    }
}

//! Replay of recorded system calls, with simulated power cuts.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use crate::campaign::{Campaign, Outcome, Run, record};
use crate::child::parse_line;
use crate::common::content::Random;
use crate::cut::{Cut, cuts};
use crate::disk::{Disk, Tree, When, digest};
use crate::image::{CopyImage, Shelf, State, lay_out, read_tree};
use crate::model::Model;
use crate::recorder::{Event, Recorder};
use crate::trace;

/// Operations of a child that starts from the state that a cut left.
const AFTER_CUT: &str = "1:put 1:put-large 1:many checkpoint";

/// Replay of the children's calls, which sends each state that a cut leaves to the checking
/// threads.
pub(crate) struct Cutter<'a> {
    campaign: &'a Campaign<'a>,
    disk: Disk,
    model: Model,
    begun: BTreeMap<String, String>,
    copies: Vec<CopyImage>,
    random: Random,
    seen: HashSet<u64>,
    /// The digests of the copies that were sent to be checked.
    seen_copies: HashSet<u64>,
    /// The number of points so far at which the campaign may cut the power. [`crate::cut::Effort`]
    /// selects some of them.
    points: u64,
    send: SyncSender<State>,
    /// A random sample of the states so far, from which other children start.
    pub(crate) again: Vec<State>,
    until: When,
    /// The number of runs whose calls were replayed completely.
    ended: usize,
    pub(crate) outcome: Outcome,
}

impl<'a> Cutter<'a> {
    pub(crate) fn new(campaign: &'a Campaign<'a>, send: SyncSender<State>) -> Self {
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
    pub(crate) fn record(&mut self, root: &Path, run: &Run<'_>, seed: u64, log: &Path) {
        record(root, self.campaign.name, run, seed, log);
        let calls = trace::read(&fs::read_to_string(log).unwrap());
        fs::remove_file(log).unwrap();
        self.replay(root.to_str().unwrap(), &calls);
    }

    /// Asserts that the model of the disk equals the directory that the children wrote.
    pub(crate) fn assert_recorded(&self, root: &Path) {
        let all = self.disk.after(&Cut::Everything).into_iter();
        let all: Tree = all
            .map(|(path, content)| (path, content.map(|content| Arc::new(content.trimmed()))))
            .collect();
        assert!(all == read_tree(root), "the recording is not complete");
    }

    /// Starts a child from the state after a cut, and cuts the power again at its calls.
    pub(crate) fn cut_again(&mut self, scratch: &Path, index: usize, state: State) {
        let root = scratch.join(format!("again.{index}"));
        let mut shelf = Shelf::new(scratch.join(format!("again.{index}.shelf")));
        lay_out(&root, &state.tree, &mut shelf);
        self.disk = Disk::of(&state.tree);
        self.model = state.model;
        self.copies = state.copies;
        // The cut interrupted these operations, so their outcome remains unknown.
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
        // these operations under new thread names, so that the next child's operations do not
        // replace them.
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

    /// Counts a point, and cuts the power there if the campaign's effort selects the point.
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

    /// Removes from a state the copies that equal those of an earlier state, with their files.
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

    /// Adds a state to the random sample of states, or ignores it.
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

//! Power-cut campaigns, which record a child process, cut the power at every sync, and open each
//! state that a cut leaves.

use std::any::Any;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use chartlock::{Error, Vault};

use crate::child::parse_line;
use crate::common::{Fixed, ids, scratch, session};
use crate::content::Random;
use crate::cut::{Cut, Effort, cuts};
use crate::disk::{Content, Disk, Tree, When, digest};
use crate::model::Model;
use crate::recorder::{Event, Recorder, is_shared_memory};
use crate::script::{FAULT, ROOT, SCRIPT, SEED};
use crate::{place, trace};

/// The minimum length in bytes of the value files that states share through hard links. Packs of
/// patient entries, which change in place, are always shorter.
const LINKED: u64 = 64 << 10;

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
    /// The numbers of the syncs that report success without making anything durable, counted from
    /// 1.
    pub(crate) false_syncs: Range<u64>,
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
    /// The number of injected faults that hit a sync of a file below the root directory.
    pub(crate) failed_syncs: u64,
    /// The results of puts after an operation had failed.
    pub(crate) afterwards: Vec<String>,
    /// The states that failed, each with the reason.
    pub(crate) failures: Vec<String>,
}

/// Disk state after a cut, with the contents that a vault opened from this state must have.
struct State {
    tree: Tree,
    model: Model,
    begun: BTreeMap<String, String>,
    words: String,
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
                record(&root, self.name, run, self.seed + index as u64, &log);
                let calls = trace::read(&fs::read_to_string(&log).unwrap());
                fs::remove_file(&log).unwrap();
                cutter.replay(root.to_str().unwrap(), &calls);
            }
            // A difference means that the recorder missed a change.
            if self.false_syncs.is_empty() && self.runs.iter().all(|run| run.fault.is_none()) {
                let all = cutter
                    .disk
                    .after(&Cut::Everything)
                    .into_iter()
                    .map(|(path, content)| {
                        let content = content.map(|content| Arc::new(content.trimmed()));
                        (path, content)
                    });
                let all: Tree = all.collect();
                assert!(all == read_tree(&root), "the recording is not complete");
            }
            cutter.outcome
        });
        outcome.failures = failures.into_inner().unwrap();
        outcome
    }
}

/// Runs the child under `strace` until it exits.
fn record(root: &Path, name: &str, run: &Run<'_>, seed: u64, log: &Path) {
    let mut command = trace::strace(log, run.fault);
    command.arg(std::env::current_exe().unwrap());
    command.args(["--exact", "script::child_runs_script", "--nocapture"]);
    command.arg("--test-threads=1");
    command.env(ROOT, root.join(name)).env(SCRIPT, run.script);
    command.env(SEED, seed.to_string());
    if let Some(fault) = run.fault {
        command.env(FAULT, fault);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    let is_killed = run.fault.is_some_and(|fault| fault.contains("signal="));
    assert!(
        output.status.success() || is_killed,
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Replay of the children's calls, which sends each state that a cut leaves to the checking
/// threads.
struct Cutter<'a> {
    campaign: &'a Campaign<'a>,
    disk: Disk,
    model: Model,
    begun: BTreeMap<String, String>,
    random: Random,
    seen: HashSet<u64>,
    send: SyncSender<State>,
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
            random: Random(campaign.seed),
            seen: HashSet::new(),
            send,
            until: 0,
            ended: 0,
            outcome: Outcome::default(),
        }
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
                    self.outcome.failed_syncs += 1;
                    self.disk.lose(id);
                }
                Event::Synced(id, until) => {
                    self.cut();
                    self.outcome.syncs += 1;
                    if self.campaign.false_syncs.contains(&self.outcome.syncs) {
                        self.disk.lose(id);
                    } else {
                        self.disk.sync(id, until);
                    }
                }
                Event::Said(line) => {
                    if let Some(answer) = line.strip_prefix("then ") {
                        self.outcome.afterwards.push(answer.to_owned());
                    }
                    if let Some((verb, answer)) = parse_line(&line, &mut self.begun) {
                        self.model.acknowledge(&verb, &answer);
                        self.outcome.acknowledged += 1;
                        if verb == "create" {
                            self.outcome.created = self.outcome.syncs;
                        }
                        self.cut();
                    }
                }
            }
        }
        self.cut();
        // The child has exited, so the outcome of its unfinished operations remains unknown. Store
        // them under new names, so that the next child's operations do not replace them.
        let unfinished = std::mem::take(&mut self.begun).into_iter();
        let until = self.until;
        self.begun = unfinished
            .map(|(thread, verb)| (format!("{until}/{thread}"), verb))
            .collect();
        self.ended += 1;
        self.until += calls.last().map_or(0, |call| call.ended) + 1;
    }

    /// Cuts the power at this point, in each way that [`cuts`] chooses.
    fn cut(&mut self) {
        let runs = self.campaign.runs;
        let awaits_a_fault = runs.iter().any(|run| run.fault.is_some())
            && self.outcome.faults == 0
            && self.ended + 1 < runs.len();
        if awaits_a_fault || self.outcome.acknowledged < self.campaign.spared {
            return;
        }
        for cut in cuts(&self.disk, self.campaign.effort, &mut self.random) {
            let tree = self.disk.after(&cut);
            let expected = self.outcome.acknowledged * 2 + self.begun.len() as u64;
            if !self.seen.insert(digest(&tree, expected)) {
                continue;
            }
            self.outcome.states += 1;
            let state = State {
                tree,
                model: self.model.clone(),
                begun: self.begun.clone(),
                words: format!(
                    "{cut:?} before sync {}, {} operations acknowledged, within {:?}",
                    self.outcome.syncs + 1,
                    self.outcome.acknowledged,
                    self.begun
                ),
            };
            self.send.send(state).unwrap();
        }
    }
}

fn open_all(
    place: &Path,
    name: &str,
    states: &Mutex<Receiver<State>>,
    failures: &Mutex<Vec<String>>,
) {
    let mut shelf = Shelf::new(place.with_extension("shelf"));
    loop {
        let Ok(state) = states.lock().unwrap().recv() else {
            return;
        };
        if failures.lock().unwrap().len() >= 50 {
            continue;
        }
        lay_out(place, &state.tree, &mut shelf);
        let words = state.words.clone();
        let checked = catch_unwind(AssertUnwindSafe(|| check(&place.join(name), state)));
        if let Err(why) = checked {
            let failure = format!("{words}: {}", panic_message(&*why));
            failures.lock().unwrap().push(failure);
        }
        fs::remove_dir_all(place).unwrap();
    }
}

/// Asserts that acknowledged changes are present, that unfinished changes are complete or absent,
/// and that the vault accepts further writes.
fn check(directory: &Path, state: State) {
    let mut model = state.model;
    model.compare(directory, &state.begun);
    let storage = place::open(directory).unwrap();
    let vault = match Vault::open(storage.clone(), &Fixed(1)) {
        Err(Error::NoVault) => Vault::create(storage.clone(), &Fixed(1)).unwrap(),
        opened => opened.unwrap(),
    };
    let id = ids::record("afterwards", "note");
    assert_eq!(session(&vault).put(&id, b"goes on"), Ok(1));
    drop((vault, storage));
    let vault = Vault::open(place::open(directory).unwrap(), &Fixed(1)).unwrap();
    let record = session(&vault).get(&id).unwrap();
    assert_eq!(record.unwrap().to_vec(), b"goes on");
}

/// Files that are never written again, so that states can hard-link them instead of copying them.
struct Shelf {
    place: PathBuf,
    kept: HashMap<*const Content, (Arc<Content>, PathBuf)>,
}

impl Shelf {
    fn new(place: PathBuf) -> Self {
        fs::create_dir(&place).unwrap();
        let kept = HashMap::new();
        Self { place, kept }
    }

    fn link(&mut self, content: &Arc<Content>, path: &Path) {
        let count = self.kept.len();
        let (_, kept) = self.kept.entry(Arc::as_ptr(content)).or_insert_with(|| {
            let kept = self.place.join(count.to_string());
            write(&kept, content);
            (Arc::clone(content), kept)
        });
        fs::hard_link(kept, path).unwrap();
    }
}

fn lay_out(place: &Path, tree: &Tree, shelf: &mut Shelf) {
    fs::create_dir(place).unwrap();
    for (path, content) in tree {
        // Value files are written once, except packs of patient entries, which are short. A torn
        // file belongs to this state only.
        let is_value = path.contains("/values/");
        let is_large = content
            .as_ref()
            .is_some_and(|content| content.length >= LINKED);
        let is_whole = content
            .as_ref()
            .is_some_and(|content| Arc::strong_count(content) > 1);
        let path = place.join(path);
        match content {
            None => fs::create_dir(path).unwrap(),
            Some(content) if is_value && is_large && is_whole => shelf.link(content, &path),
            Some(content) => write(&path, content),
        }
    }
}

fn write(path: &Path, content: &Content) {
    fs::write(path, &content.bytes).unwrap();
    if content.length > content.bytes.len() as u64 {
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(content.length).unwrap();
    }
}

/// Reads a directory into the same form as a recorded tree.
fn read_tree(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if path.is_dir() {
                tree.insert(name, None);
                waiting.push(path);
                continue;
            }
            if is_shared_memory(&name) {
                continue;
            }
            let content = Content::of(fs::read(&path).unwrap());
            tree.insert(name, Some(Arc::new(content)));
        }
    }
    tree
}

fn panic_message(why: &(dyn Any + Send)) -> String {
    let text = why.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| why.downcast_ref::<&str>().copied());
    text.unwrap_or("panicked").chars().take(600).collect()
}

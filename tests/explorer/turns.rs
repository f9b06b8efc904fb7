//! Whose turn it is: of several processes one runs at a time, from one storage step to the next.
//!
//! The process that comes to a step decides, under the search's eyes, who goes on; if it is itself,
//! no thread is switched.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use chartlock::storage::{Faulty, Landing, Moment, Verdict};

use crate::footprint::{Access, Footprint, Roles};
use crate::scenario::SETUP_STEPS;
use crate::search::{Act, Figures, Search, Transition};
use crate::tap::Tap;

/// Above the minute for which a cache may hold, and above the grace.
const GRACE_AND_MORE: u64 = 601_000;

/// What may go wrong, and how often in one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) most: u32,
    pub(crate) crash: bool,
    pub(crate) unknown: bool,
}

/// For how long a process may stall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stalls {
    /// Whatever a process has begun ends within the grace.
    WithinGrace,
    /// Longer than any grace.
    Endless,
}

/// What a process waits for.
#[derive(Debug, Clone)]
enum Pending {
    /// To begin a verb.
    Begin(Footprint),
    /// To carry out a step.
    Step(Footprint),
    /// For a grace to pass.
    Grace,
}

/// One step of a schedule, for whoever reads it.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    process: usize,
    act: Act,
    pending: Option<Pending>,
    remark: &'static str,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ", self.process)?;
        match (&self.pending, self.act) {
            (_, Act::Crash) => write!(f, "dies"),
            (Some(Pending::Begin(_)), _) => write!(f, "begins"),
            (Some(Pending::Grace), _) => write!(f, "grace passes"),
            (Some(Pending::Step(footprint)), Act::Go) => write!(f, "{footprint}"),
            (Some(Pending::Step(footprint)), act) => write!(f, "{act:?}: {footprint}"),
            (None, act) => write!(f, "{act:?}"),
        }?;
        write!(f, "{}", self.remark)
    }
}

#[derive(Default)]
struct Process {
    storage: Option<Arc<Faulty<Tap>>>,
    armed: bool,
    pending: Option<Pending>,
    granted: Option<Act>,
    ended: bool,
    dead: bool,
    /// Its last step changed something, so that dying now differs from dying before.
    wrote: bool,
    gives_way: bool,
    late: VecDeque<Footprint>,
}

struct State {
    search: Search,
    faults: Faults,
    stalls: Stalls,
    processes: Vec<Process>,
    running: usize,
    faults_used: u32,
    cut: bool,
    over: bool,
    last: Option<usize>,
    roles: Roles,
    events: Vec<Event>,
    figures: Figures,
}

/// The turns of one scenario, execution after execution.
pub(crate) struct Turns {
    state: Mutex<State>,
    wake: Vec<Condvar>,
    over: Condvar,
    uptime: AtomicU64,
    step: AtomicU64,
}

impl fmt::Debug for Turns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Turns(..)")
    }
}

impl Turns {
    pub(crate) fn new(processes: usize, search: Search, faults: Faults, stalls: Stalls) -> Self {
        Self {
            state: Mutex::new(State {
                search,
                faults,
                stalls,
                processes: (0..processes).map(|_| Process::default()).collect(),
                running: 0,
                faults_used: 0,
                cut: false,
                over: false,
                last: None,
                roles: Roles::default(),
                events: Vec::new(),
                figures: Figures::default(),
            }),
            wake: (0..processes).map(|_| Condvar::new()).collect(),
            over: Condvar::new(),
            uptime: AtomicU64::new(0),
            step: AtomicU64::new(0),
        }
    }

    /// Prepares for another execution; `roles` are those of what stands in storage.
    pub(crate) fn restart(&self, roles: Roles) {
        let mut state = self.lock();
        state.search.restart();
        state.running = state.processes.len();
        for process in &mut state.processes {
            *process = Process::default();
        }
        state.faults_used = 0;
        (state.cut, state.over, state.last) = (false, false, None);
        state.roles = roles;
        state.events.clear();
        self.uptime.store(0, Ordering::SeqCst);
        self.step.store(SETUP_STEPS, Ordering::SeqCst);
    }

    /// Waits until every process has ended. False when the execution was cut off.
    pub(crate) fn wait(&self) -> bool {
        let mut state = self.lock();
        while !state.over {
            state = self.over.wait(state).unwrap();
        }
        if state.cut {
            state.figures.pruned += 1;
        } else {
            state.figures.executions += 1;
            state.figures.faulty += u64::from(state.faults_used > 0);
        }
        state.figures.depth = state.figures.depth.max(state.events.len());
        !state.cut
    }

    /// Moves the search on to another schedule; false when all were seen.
    pub(crate) fn advance(&self) -> bool {
        let more = self.lock().search.advance();
        self.lock().figures.complete = !more;
        more
    }

    pub(crate) fn figures(&self) -> Figures {
        self.lock().figures.clone()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.lock().events.clone()
    }

    /// Whether a fault was part of this execution.
    pub(crate) fn faulty(&self) -> bool {
        self.lock().faults_used > 0
    }

    pub(crate) fn is_dead(&self, process: usize) -> bool {
        let state = self.lock();
        state.cut || state.processes[process].dead
    }

    pub(crate) fn uptime(&self) -> Duration {
        Duration::from_millis(self.uptime.load(Ordering::SeqCst))
    }

    /// How many steps were taken.
    pub(crate) fn step(&self) -> u64 {
        self.step.load(Ordering::SeqCst)
    }

    /// Notes the storage of a process, for what lands late.
    pub(crate) fn attach(&self, process: usize, storage: Arc<Faulty<Tap>>) {
        self.lock().processes[process].storage = Some(storage);
    }

    /// Waits for the turn to begin a verb. False when the process is dead.
    pub(crate) fn begin(&self, process: usize, ordered: bool) -> bool {
        let footprint = if ordered {
            Footprint::Everything
        } else {
            Footprint::Nothing
        };
        self.lock().processes[process].armed = true;
        self.turn(process, Pending::Begin(footprint)) != Act::Crash
    }

    /// Waits for the turn to carry out a step, and says what becomes of it.
    pub(crate) fn judge(&self, process: usize, moment: &Moment<'_>) -> Verdict {
        let footprint = {
            let mut state = self.lock();
            let standing = &state.processes[process];
            if standing.dead || state.cut {
                return Verdict::Stop;
            }
            if !standing.armed {
                return Verdict::Proceed;
            }
            state.roles.footprint(moment)
        };
        match self.turn(process, Pending::Step(footprint)) {
            Act::Crash => Verdict::Stop,
            Act::Applied => Verdict::Unknown(Landing::Applied),
            Act::Lost => Verdict::Unknown(Landing::Lost),
            Act::Later => Verdict::Unknown(Landing::Later),
            Act::Go | Act::Land => Verdict::Proceed,
        }
    }

    /// Waits until a grace has passed.
    pub(crate) fn sleep(&self, process: usize) {
        let waits = {
            let state = self.lock();
            !state.cut && !state.processes[process].dead
        };
        if waits {
            self.turn(process, Pending::Grace);
        } else {
            self.uptime.fetch_add(GRACE_AND_MORE, Ordering::SeqCst);
        }
    }

    /// Lets others take a step first, if any can.
    pub(crate) fn give_way(&self, process: usize) {
        self.lock().processes[process].gives_way = true;
    }

    /// The process has nothing more to do.
    pub(crate) fn end(&self, process: usize) {
        let mut state = self.lock();
        state.processes[process].ended = true;
        state.running -= 1;
        if state.running == 0 {
            drop(self.decide(state));
        }
    }

    /// Adds a word to what happened last.
    pub(crate) fn remark(&self, remark: &'static str) {
        if let Some(event) = self.lock().events.last_mut() {
            event.remark = remark;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn turn(&self, process: usize, pending: Pending) -> Act {
        let mut state = self.lock();
        state.processes[process].pending = Some(pending);
        state.running -= 1;
        if state.running == 0 {
            state = self.decide(state);
        }
        loop {
            if let Some(act) = state.processes[process].granted.take() {
                return act;
            }
            state = self.wake[process].wait(state).unwrap();
        }
    }

    fn decide<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        loop {
            if state.cut {
                state.dismiss(&self.wake, &self.over);
                return state;
            }
            let enabled = state.enabled();
            if enabled.is_empty() {
                let waiting = state
                    .processes
                    .iter()
                    .any(|process| process.pending.is_some());
                assert!(!waiting, "processes wait for each other");
                state.over = true;
                self.over.notify_all();
                return state;
            }
            let Some(transition) = state.search.choose(enabled) else {
                state.cut = true;
                continue;
            };
            let step = self.step.fetch_add(1, Ordering::SeqCst);
            assert!(step < 5_000, "a schedule without end");
            if state.take(&transition, &self.uptime) {
                self.wake[transition.process].notify_one();
                return state;
            }
            let storage = state.processes[transition.process].storage.clone();
            drop(state);
            let _landed = storage.unwrap().land().unwrap();
            state = self.lock();
        }
    }
}

impl State {
    /// Sends home, one by one, those who wait: what would follow is covered.
    fn dismiss(&mut self, wake: &[Condvar], over: &Condvar) {
        let waiting = (self.processes.iter()).position(|process| process.pending.is_some());
        match waiting {
            Some(process) => {
                self.processes[process].pending = None;
                self.processes[process].granted = Some(Act::Crash);
                self.running = 1;
                wake[process].notify_one();
            }
            None => {
                self.over = true;
                over.notify_all();
            }
        }
    }

    fn enabled(&self) -> Vec<Transition> {
        let mut enabled = Vec::new();
        // Whoever ran goes on first: the cheapest schedule, and the one that people expect.
        let last = self.last.into_iter();
        let order = last
            .clone()
            .chain((0..self.processes.len()).filter(|process| Some(*process) != self.last));
        for process in order {
            self.enabled_of(process, &mut enabled);
        }
        let gives_way = |one: &Transition| self.processes[one.process].gives_way;
        if (enabled.iter()).any(|one| one.act == Act::Go && !gives_way(one)) {
            enabled.retain(|one| one.act == Act::Land || !gives_way(one));
        }
        let goes_on = enabled.iter().any(|one| {
            Some(one.process) == self.last
                && one.act == Act::Go
                && matches!(self.processes[one.process].pending, Some(Pending::Step(_)))
        });
        for transition in &mut enabled {
            transition.preempts =
                goes_on && Some(transition.process) != self.last && transition.act != Act::Land;
        }
        enabled
    }

    fn enabled_of(&self, process: usize, enabled: &mut Vec<Transition>) {
        let standing = &self.processes[process];
        let mut add = |act, footprint| {
            enabled.push(Transition {
                process,
                act,
                footprint,
                preempts: false,
            });
        };
        if let Some(late) = standing.late.front() {
            add(Act::Land, late.clone());
        }
        let faults = self.faults_used < self.faults.most;
        match &standing.pending {
            None => return,
            Some(Pending::Begin(footprint)) => {
                // Dying here is no different from having nothing left to do.
                add(Act::Go, footprint.clone());
                return;
            }
            Some(Pending::Grace) => {
                if self.stalls == Stalls::Endless || self.may_pass(process) {
                    add(Act::Go, Footprint::Everything);
                }
            }
            Some(Pending::Step(footprint)) => {
                add(Act::Go, footprint.clone());
                if faults && self.faults.unknown && footprint.writes() {
                    add(Act::Applied, footprint.clone());
                    add(Act::Lost, Footprint::Nothing);
                    add(Act::Later, Footprint::Nothing);
                }
            }
        }
        if faults && self.faults.crash && standing.wrote {
            add(Act::Crash, Footprint::Nothing);
        }
    }

    /// Whether a grace may pass for a process: nobody else is in the middle of anything.
    fn may_pass(&self, sleeper: usize) -> bool {
        (self.processes.iter().enumerate()).all(|(process, standing)| {
            standing.late.is_empty()
                && (process == sleeper
                    || standing.ended
                    || standing.dead
                    || matches!(
                        standing.pending,
                        Some(Pending::Grace | Pending::Begin(_)) | None
                    ))
        })
    }

    /// Carries out the choice; false for a landing, which the caller sees to.
    fn take(&mut self, transition: &Transition, uptime: &AtomicU64) -> bool {
        let Transition {
            process,
            act,
            footprint,
            ..
        } = transition;
        for (other, standing) in self.processes.iter_mut().enumerate() {
            if other != *process || *act == Act::Land {
                standing.gives_way = false;
            }
        }
        let pending = match act {
            Act::Land => Some(Pending::Step(footprint.clone())),
            _ => self.processes[*process].pending.clone(),
        };
        if let Some(Pending::Step(Footprint::Keys(keys))) = &pending {
            let operations = keys.iter().map(Access::operation);
            self.figures.operations.extend(operations);
        }
        self.events.push(Event {
            process: *process,
            act: *act,
            pending,
            remark: "",
        });
        self.faults_used += u32::from(act.is_fault());
        let standing = &mut self.processes[*process];
        if *act == Act::Land {
            standing.late.pop_front();
            return false;
        }
        standing.gives_way = false;
        let pending = standing.pending.take();
        standing.granted = Some(*act);
        standing.wrote = footprint.writes() && matches!(act, Act::Go | Act::Applied);
        match (act, pending) {
            (Act::Crash, _) => standing.dead = true,
            (Act::Later, Some(Pending::Step(footprint))) => standing.late.push_back(footprint),
            (Act::Go, Some(Pending::Grace)) => {
                uptime.fetch_add(GRACE_AND_MORE, Ordering::SeqCst);
            }
            _ => {}
        }
        self.running = 1;
        self.last = Some(*process);
        true
    }
}

//! Whose turn it is: of several processes one runs at a time, from one storage step to the next.
//!
//! The process that comes to a step decides, under the search's eyes, who goes on; if it is itself,
//! no thread is switched.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty};

use crate::footprint::{Footprint, Roles};
use crate::scenario::SETUP_STEPS;
use crate::search::{Act, Figures, Search};
use crate::state::{Event, Faults, GRACE_AND_MORE, Pending, Process, Stalls, State};
use crate::tap::Tap;

/// How an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Whole,
    /// What would have followed was seen in another order.
    Cut,
    /// By chance it was not what it was to be.
    RunAgain,
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
                again: false,
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

    /// Prepares for another execution, which begins so long after its setup; `roles` are those of what
    /// stands in storage.
    pub(crate) fn restart(&self, roles: Roles, later: Duration) {
        let mut state = self.lock();
        state.search.restart();
        state.running = state.processes.len();
        for process in &mut state.processes {
            *process = Process::default();
        }
        state.faults_used = 0;
        (state.cut, state.again, state.over, state.last) = (false, false, false, None);
        state.roles = roles;
        state.events.clear();
        self.uptime
            .store(later.as_millis() as u64, Ordering::SeqCst);
        self.step.store(SETUP_STEPS, Ordering::SeqCst);
    }

    /// Waits until every process has ended, and says how.
    pub(crate) fn wait(&self) -> Ended {
        let mut state = self.lock();
        while !state.over {
            state = self.over.wait(state).unwrap();
        }
        if state.again {
            return Ended::RunAgain;
        }
        if state.cut {
            state.figures.pruned += 1;
        } else {
            state.figures.executions += 1;
            state.figures.faulty += u64::from(state.faults_used > 0);
        }
        state.figures.depth = state.figures.depth.max(state.events.len());
        if state.cut { Ended::Cut } else { Ended::Whole }
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

    /// The processes that died.
    pub(crate) fn dead(&self) -> Vec<bool> {
        let state = self.lock();
        state.processes.iter().map(|process| process.dead).collect()
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
    pub(crate) fn judge(&self, process: usize, moment: &FaultPoint<'_>) -> FaultAction {
        let footprint = {
            let mut state = self.lock();
            let standing = &state.processes[process];
            if standing.dead || state.cut {
                return FaultAction::Stop;
            }
            if !standing.armed {
                state.roles.introduce(process, moment);
                return FaultAction::Proceed;
            }
            let footprint = state.roles.footprint(process, moment);
            let unheard = &mut state.processes[process].unheard;
            if footprint.is_page() && *unheard > 0 {
                *unheard -= 1;
                return FaultAction::Unknown(FaultOutcome::Lost);
            }
            if state.roles.is_out_of_order() {
                (state.cut, state.again) = (true, true);
                return FaultAction::Stop;
            }
            footprint
        };
        match self.turn(process, Pending::Step(footprint)) {
            Act::Crash => FaultAction::Stop,
            Act::Applied => FaultAction::Unknown(FaultOutcome::Applied),
            Act::Lost => FaultAction::Unknown(FaultOutcome::Lost),
            Act::Later => FaultAction::Unknown(FaultOutcome::Later),
            Act::Go | Act::Land => FaultAction::Proceed,
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

    /// Waits until days have passed.
    pub(crate) fn wait_days(&self, process: usize) {
        self.turn(process, Pending::Days);
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

//! Scheduler that runs one process at a time, from one storage step to the next.
//!
//! A process that reaches a step asks the search for the next transition. If the search chooses the
//! process's own step, no thread switch is necessary.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use chartlock::storage::{FaultAction, FaultOutcome, FaultPoint, Faulty};

use crate::footprint::{Footprint, Roles};
use crate::scenario::SETUP_STEPS;
use crate::search::{Act, Figures, Search};
use crate::state::{Event, Faults, PAST_DELAY, Pending, Process, Stalls, State};
use crate::tap::Tap;

/// Reason why an execution ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Completed,
    /// An equivalent execution was explored before.
    Pruned,
    /// Random ids had another order than in earlier replays, so the same schedule must run again.
    RunAgain,
}

/// Scheduler of one scenario, which runs executions successively.
pub(crate) struct Scheduler {
    state: Mutex<State>,
    wake: Vec<Condvar>,
    over: Condvar,
    uptime: AtomicU64,
    step: AtomicU64,
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scheduler(..)")
    }
}

impl Scheduler {
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

    /// Prepares the next execution, which begins `later` after the setup.
    ///
    /// `roles` contains the numbers of the stored ids.
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

    /// Waits until every process has ended, and returns the reason why the execution ended.
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
        if state.cut {
            Ended::Pruned
        } else {
            Ended::Completed
        }
    }

    /// Moves the search to the next schedule. Returns false if all schedules were explored.
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

    /// Returns `true` if this execution had a fault.
    pub(crate) fn faulty(&self) -> bool {
        self.lock().faults_used > 0
    }

    /// Returns, for each process, `true` if the process crashed.
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

    /// Returns the number of steps taken, counted from [`SETUP_STEPS`].
    pub(crate) fn step(&self) -> u64 {
        self.step.load(Ordering::SeqCst)
    }

    /// Registers the storage of a process, through which the scheduler applies the delayed requests
    /// of the process.
    pub(crate) fn attach(&self, process: usize, storage: Arc<Faulty<Tap>>) {
        self.lock().processes[process].storage = Some(storage);
    }

    /// Waits until the process may begin an operation. Returns false if the process crashed.
    pub(crate) fn begin(&self, process: usize, ordered: bool) -> bool {
        let footprint = if ordered {
            Footprint::Everything
        } else {
            Footprint::Nothing
        };
        self.lock().processes[process].armed = true;
        self.wait_for_turn(process, Pending::Begin(footprint)) != Act::Crash
    }

    /// Waits until the process may take a step, and returns the action for the step.
    pub(crate) fn decide_step(&self, process: usize, moment: &FaultPoint<'_>) -> FaultAction {
        let footprint = {
            let mut state = self.lock();
            let process_state = &state.processes[process];
            if process_state.dead || state.cut {
                return FaultAction::Stop;
            }
            if !process_state.armed {
                state.roles.number_chains(process, moment);
                return FaultAction::Proceed;
            }
            let footprint = state.roles.footprint(process, moment);
            let lost_replies = &mut state.processes[process].lost_replies;
            if footprint.is_page() && *lost_replies > 0 {
                *lost_replies -= 1;
                return FaultAction::Unknown(FaultOutcome::Lost);
            }
            if state.roles.is_out_of_order() {
                (state.cut, state.again) = (true, true);
                return FaultAction::Stop;
            }
            footprint
        };
        match self.wait_for_turn(process, Pending::Step(footprint)) {
            Act::Crash => FaultAction::Stop,
            Act::Applied => FaultAction::Unknown(FaultOutcome::Applied),
            Act::Lost => FaultAction::Unknown(FaultOutcome::Lost),
            Act::Later => FaultAction::Unknown(FaultOutcome::Later),
            Act::Go | Act::Land => FaultAction::Proceed,
        }
    }

    /// Waits until the key removal delay has passed.
    pub(crate) fn sleep(&self, process: usize) {
        let waits = {
            let state = self.lock();
            !state.cut && !state.processes[process].dead
        };
        if waits {
            self.wait_for_turn(process, Pending::Delay);
        } else {
            self.uptime.fetch_add(PAST_DELAY, Ordering::SeqCst);
        }
    }

    /// Waits until several days have passed.
    pub(crate) fn wait_days(&self, process: usize) {
        self.wait_for_turn(process, Pending::Days);
    }

    /// Lets another process take a step first, if another step is enabled.
    pub(crate) fn yield_turn(&self, process: usize) {
        self.lock().processes[process].yields = true;
    }

    /// Records that a process changed a storage of its own, so that a crash before its next step matters.
    pub(crate) fn note_write(&self, process: usize) {
        self.lock().processes[process].wrote = true;
    }

    /// Marks a process as ended.
    pub(crate) fn end(&self, process: usize) {
        let mut state = self.lock();
        state.processes[process].ended = true;
        state.running -= 1;
        if state.running == 0 {
            drop(self.decide(state));
        }
    }

    /// Adds a remark to the last event.
    pub(crate) fn remark(&self, remark: &'static str) {
        if let Some(event) = self.lock().events.last_mut() {
            event.remark = remark;
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn wait_for_turn(&self, process: usize, pending: Pending) -> Act {
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
            assert!(step < 5_000, "a schedule does not end");
            if state.take(&transition, &self.uptime) {
                self.wake[transition.process].notify_one();
                return state;
            }
            let storage = state.processes[transition.process].storage.clone();
            drop(state);
            let _applied = storage.unwrap().land().unwrap();
            state = self.lock();
        }
    }
}

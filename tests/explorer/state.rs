//! State of one execution, with the pending event of each process and the enabled transitions.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar};

use chartlock::storage::Faulty;

use crate::clock::DAYS;
use crate::footprint::{Access, Footprint, Roles};
use crate::search::{Act, Figures, Search, Transition};
use crate::tap::Tap;

/// Delay in milliseconds that exceeds the cache lifetime of 60 seconds and the key removal delay of
/// 10 minutes.
pub(crate) const PAST_DELAY: u64 = 601_000;

/// Kinds of faults that may occur in one execution, and their maximum number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) most: u32,
    pub(crate) crash: bool,
    pub(crate) unknown: bool,
    /// `true` if an outage may lose the reply to a journal page. The replies to its resends are
    /// then lost until the journal writer gives up.
    pub(crate) outage: bool,
}

/// Number of times that the journal writer resends a page before it gives up.
const RESENDS: u32 = 7;

/// Limit on the stall of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stalls {
    /// A process completes each operation within the key removal delay.
    Bounded,
    /// A process may stall longer than the key removal delay.
    Endless,
}

/// The event that a process waits for.
#[derive(Debug, Clone)]
pub(crate) enum Pending {
    /// The turn of the process to begin an operation.
    Begin(Footprint),
    /// The turn of the process to take a step.
    Step(Footprint),
    /// The end of the key removal delay.
    Delay,
    /// The end of several days.
    Days,
}

/// Step of a schedule, in the form that a violation report shows.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    process: usize,
    act: Act,
    pending: Option<Pending>,
    pub(crate) remark: &'static str,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  ", self.process)?;
        match (&self.pending, self.act) {
            (_, Act::Crash) => write!(f, "crashes"),
            (Some(Pending::Begin(_)), _) => write!(f, "begins"),
            (Some(Pending::Delay), _) => write!(f, "key removal delay passes"),
            (Some(Pending::Days), _) => write!(f, "days pass"),
            (Some(Pending::Step(footprint)), Act::Go) => write!(f, "{footprint}"),
            (Some(Pending::Step(footprint)), act) => write!(f, "{act:?}: {footprint}"),
            (None, act) => write!(f, "{act:?}"),
        }?;
        write!(f, "{}", self.remark)
    }
}

/// State of one process.
#[derive(Default)]
pub(crate) struct Process {
    pub(crate) storage: Option<Arc<Faulty<Tap>>>,
    pub(crate) armed: bool,
    pub(crate) pending: Option<Pending>,
    pub(crate) granted: Option<Act>,
    pub(crate) ended: bool,
    pub(crate) dead: bool,
    /// `true` if the last step changed the storage. Otherwise a crash has the same effect as
    /// a crash before that step.
    pub(crate) wrote: bool,
    pub(crate) yields: bool,
    /// Number of further replies to journal pages of the process that will be lost.
    pub(crate) lost_replies: u32,
    pub(crate) delayed: VecDeque<Footprint>,
}

/// State of one execution.
pub(crate) struct State {
    pub(crate) search: Search,
    pub(crate) faults: Faults,
    pub(crate) stalls: Stalls,
    pub(crate) processes: Vec<Process>,
    pub(crate) running: usize,
    pub(crate) faults_used: u32,
    pub(crate) cut: bool,
    /// `true` if random ids had another order than in earlier replays, so that the same schedule
    /// must run again.
    pub(crate) again: bool,
    pub(crate) over: bool,
    pub(crate) last: Option<usize>,
    pub(crate) roles: Roles,
    pub(crate) events: Vec<Event>,
    pub(crate) figures: Figures,
}

impl State {
    /// Ends the waiting processes one by one, after the execution was cut short.
    pub(crate) fn dismiss(&mut self, wake: &[Condvar], over: &Condvar) {
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

    pub(crate) fn enabled(&self) -> Vec<Transition> {
        let mut enabled = Vec::new();
        // Begin with the process that ran last, because a schedule without a thread switch runs
        // fastest.
        let last = self.last.into_iter();
        let order = last
            .clone()
            .chain((0..self.processes.len()).filter(|process| Some(*process) != self.last));
        for process in order {
            self.enabled_of(process, &mut enabled);
        }
        let yields = |one: &Transition| self.processes[one.process].yields;
        if (enabled.iter()).any(|one| one.act == Act::Go && !yields(one)) {
            enabled.retain(|one| one.act == Act::Land || !yields(one));
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
        let state = &self.processes[process];
        let mut add = |act, footprint| {
            enabled.push(Transition {
                process,
                act,
                footprint,
                preempts: false,
            });
        };
        if let Some(delayed) = state.delayed.front() {
            add(Act::Land, delayed.clone());
        }
        let faults = self.faults_used < self.faults.most;
        match &state.pending {
            None => return,
            Some(Pending::Begin(footprint)) => {
                // Add no crash here, because a crash between operations has the same effect as a
                // process without further operations.
                add(Act::Go, footprint.clone());
                return;
            }
            Some(Pending::Delay) => {
                if self.stalls == Stalls::Endless || self.may_pass(process) {
                    add(Act::Go, Footprint::Everything);
                }
            }
            Some(Pending::Days) => {
                if self.days_may_pass() {
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
                if faults && self.faults.outage && footprint.is_page() {
                    add(Act::Lost, Footprint::Nothing);
                    add(Act::Later, Footprint::Nothing);
                }
            }
        }
        if faults && self.faults.crash && state.wrote {
            add(Act::Crash, Footprint::Nothing);
        }
    }

    /// Returns `true` if the key removal delay of a process may pass, because no other process is
    /// within an operation.
    fn may_pass(&self, sleeper: usize) -> bool {
        (self.processes.iter().enumerate()).all(|(process, state)| {
            state.delayed.is_empty()
                && (process == sleeper
                    || state.ended
                    || state.dead
                    || matches!(
                        state.pending,
                        Some(Pending::Delay | Pending::Begin(_)) | None
                    ))
        })
    }

    /// Returns `true` if days may pass, because no process is between the steps that write a record.
    ///
    /// An upload in progress does not count, because an upload may take days.
    fn days_may_pass(&self) -> bool {
        self.processes.iter().all(|state| {
            let within = match &state.pending {
                Some(Pending::Step(footprint)) => footprint.is_within_a_record(),
                _ => false,
            };
            state.delayed.is_empty() && (!within || state.ended || state.dead)
        })
    }

    /// Applies the chosen transition. Returns false for a delayed request, which the caller
    /// applies.
    pub(crate) fn take(&mut self, transition: &Transition, uptime: &AtomicU64) -> bool {
        let Transition {
            process,
            act,
            footprint,
            ..
        } = transition;
        for (other, state) in self.processes.iter_mut().enumerate() {
            if other != *process || *act == Act::Land {
                state.yields = false;
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
        let outage = self.faults.outage;
        let state = &mut self.processes[*process];
        if *act == Act::Land {
            state.delayed.pop_front();
            return false;
        }
        state.yields = false;
        let pending = state.pending.take();
        state.granted = Some(*act);
        state.wrote = footprint.writes() && matches!(act, Act::Go | Act::Applied);
        match (act, pending) {
            (Act::Crash, _) => state.dead = true,
            (Act::Lost, _) if outage => state.lost_replies = RESENDS,
            (Act::Later, Some(Pending::Step(footprint))) => {
                state.lost_replies = if outage { RESENDS } else { 0 };
                state.delayed.push_back(footprint);
            }
            (Act::Go, Some(Pending::Delay)) => {
                uptime.fetch_add(PAST_DELAY, Ordering::SeqCst);
            }
            (Act::Go, Some(Pending::Days)) => {
                uptime.fetch_add(DAYS.as_millis() as u64, Ordering::SeqCst);
            }
            _ => {}
        }
        self.running = 1;
        self.last = Some(*process);
        true
    }
}

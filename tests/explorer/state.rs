//! What processes wait for in one execution, and what may come next.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar};

use chartlock::storage::Faulty;

use crate::clock::DAYS;
use crate::footprint::{Access, Footprint, Roles};
use crate::search::{Act, Figures, Search, Transition};
use crate::tap::Tap;

/// Above the minute for which a cache may hold, and above the grace.
pub(crate) const GRACE_AND_MORE: u64 = 601_000;

/// What may go wrong, and how often in one execution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) most: u32,
    pub(crate) crash: bool,
    pub(crate) unknown: bool,
    /// An answer to a page of the journal that is lost stays lost: whoever asks again hears as little,
    /// until he gives up.
    pub(crate) outage: bool,
}

/// How often a page is sent again before its writer gives up.
const AGAIN: u32 = 7;

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
pub(crate) enum Pending {
    /// To begin a verb.
    Begin(Footprint),
    /// To carry out a step.
    Step(Footprint),
    /// For a grace to pass.
    Grace,
    /// For days to pass.
    Days,
}

/// One step of a schedule, for whoever reads it.
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
            (_, Act::Crash) => write!(f, "dies"),
            (Some(Pending::Begin(_)), _) => write!(f, "begins"),
            (Some(Pending::Grace), _) => write!(f, "grace passes"),
            (Some(Pending::Days), _) => write!(f, "days pass"),
            (Some(Pending::Step(footprint)), Act::Go) => write!(f, "{footprint}"),
            (Some(Pending::Step(footprint)), act) => write!(f, "{act:?}: {footprint}"),
            (None, act) => write!(f, "{act:?}"),
        }?;
        write!(f, "{}", self.remark)
    }
}

/// How it stands with a process.
#[derive(Default)]
pub(crate) struct Process {
    pub(crate) storage: Option<Arc<Faulty<Tap>>>,
    pub(crate) armed: bool,
    pub(crate) pending: Option<Pending>,
    pub(crate) granted: Option<Act>,
    pub(crate) ended: bool,
    pub(crate) dead: bool,
    /// Its last step changed something, so that dying now differs from dying before.
    pub(crate) wrote: bool,
    pub(crate) gives_way: bool,
    /// How many times it will not be heard.
    pub(crate) unheard: u32,
    pub(crate) late: VecDeque<Footprint>,
}

/// How it stands with an execution.
pub(crate) struct State {
    pub(crate) search: Search,
    pub(crate) faults: Faults,
    pub(crate) stalls: Stalls,
    pub(crate) processes: Vec<Process>,
    pub(crate) running: usize,
    pub(crate) faults_used: u32,
    pub(crate) cut: bool,
    /// Chance did otherwise than in other replays: the same schedule is to run again.
    pub(crate) again: bool,
    pub(crate) over: bool,
    pub(crate) last: Option<usize>,
    pub(crate) roles: Roles,
    pub(crate) events: Vec<Event>,
    pub(crate) figures: Figures,
}

impl State {
    /// Sends home, one by one, those who wait: what would follow is covered.
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

    /// Whether days may pass: no stall is that long between the steps that write a record. An upload
    /// may take its time.
    fn days_may_pass(&self) -> bool {
        self.processes.iter().all(|standing| {
            let within = match &standing.pending {
                Some(Pending::Step(footprint)) => footprint.is_within_a_record(),
                _ => false,
            };
            standing.late.is_empty() && (!within || standing.ended || standing.dead)
        })
    }

    /// Carries out the choice; false for a landing, which the caller sees to.
    pub(crate) fn take(&mut self, transition: &Transition, uptime: &AtomicU64) -> bool {
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
        let outage = self.faults.outage;
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
            (Act::Lost, _) if outage => standing.unheard = AGAIN,
            (Act::Later, Some(Pending::Step(footprint))) => {
                standing.unheard = if outage { AGAIN } else { 0 };
                standing.late.push_back(footprint);
            }
            (Act::Go, Some(Pending::Grace)) => {
                uptime.fetch_add(GRACE_AND_MORE, Ordering::SeqCst);
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

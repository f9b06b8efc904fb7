//! Execution of one scenario under all its schedules.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use chartlock::internals::clock::Clock;
use chartlock::storage::{Faulty, MemoryStorage, Storage};
use chartlock::{Error, Journaling, Vault, access::SecurityEvent};

use crate::clock::{DAYS, ProcessClock};
use crate::common::{Fixed, session};
use crate::equipment::{Equipment, Spool};
use crate::final_state::FinalState;
use crate::model::{Call, Model};
use crate::mutation::{Around, Mutant, Mutation};
use crate::scheduler::{Ended, Scheduler};
use crate::search::{Figures, Search};
use crate::start_state::StartState;
use crate::state::{Faults, Stalls};
use crate::tap::{AppliedPut, Marks, Tap, shared};
use crate::verbs::{Verb, options};

/// Number of the first step after the setup.
pub(crate) const SETUP_STEPS: u64 = 100;
/// Process number of the setup's calls.
pub(crate) const SETUP: usize = 9;

/// Scenario to explore: a setup, the operations of each process, and the faults that may occur.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) setup: &'static [Verb],
    /// Number of steps after which the last operation of the setup is interrupted.
    pub(crate) interrupted: Option<u64>,
    pub(crate) processes: &'static [&'static [Verb]],
    pub(crate) transactional: bool,
    /// Time between the setup and the start of the processes.
    pub(crate) later: Duration,
    /// `true` if the processes begin with cached header and patient entries.
    pub(crate) warm: bool,
    pub(crate) faults: Faults,
    pub(crate) stalls: Stalls,
    pub(crate) bound: Option<u32>,
    pub(crate) most: u64,
    pub(crate) mutation: Mutation,
    /// Journaling mode; `None` for vaults without a journal.
    pub(crate) journal: Option<Journaling>,
}

pub(crate) const NO_FAULTS: Faults = Faults {
    most: 0,
    crash: false,
    unknown: false,
    outage: false,
};

impl Scenario {
    /// Creates a scenario with warm caches and without faults, on storage without transactions.
    pub(crate) const fn new(
        name: &'static str,
        setup: &'static [Verb],
        processes: &'static [&'static [Verb]],
    ) -> Self {
        Self {
            name,
            setup,
            interrupted: None,
            processes,
            transactional: false,
            later: Duration::ZERO,
            warm: true,
            faults: NO_FAULTS,
            stalls: Stalls::Bounded,
            bound: None,
            most: u64::MAX,
            mutation: Mutation::None,
            journal: None,
        }
    }
}

/// The result of exploring one scenario.
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) violation: Option<String>,
    /// Every combination of operation results that an execution produced.
    pub(crate) answers: BTreeSet<String>,
    pub(crate) took: Duration,
}

/// Execution that the worker threads run, with shared buffers for the results.
struct Job {
    memory: Arc<MemoryStorage>,
    calls: Arc<Mutex<Vec<Call>>>,
    applied: Arc<Mutex<Vec<AppliedPut>>>,
    forked: Arc<AtomicBool>,
    spool: Arc<MemoryStorage>,
    /// Number of processes that opened their vaults.
    opened: Arc<(Mutex<usize>, Condvar)>,
}

impl Job {
    /// Opens the vaults in the order of the processes, so that each replay has the same order of
    /// journal chains.
    fn in_turn<T>(&self, process: usize, open: impl FnOnce() -> T) -> T {
        let (opened, changed) = &*self.opened;
        let mut opened = opened.lock().unwrap();
        while *opened < process {
            opened = changed.wait(opened).unwrap();
        }
        let vault = open();
        *opened += 1;
        changed.notify_all();
        vault
    }
}

/// Explores the schedules of a scenario until a schedule violates a rule or the limit is reached.
pub(crate) fn explore(scenario: &Scenario) -> Outcome {
    let started = Instant::now();
    let start = StartState::new(scenario);
    let processes = scenario.processes.len();
    let search = Search::new(scenario.bound);
    let stalls = match scenario.mutation {
        Mutation::NoDelay => Stalls::Endless,
        _ => scenario.stalls,
    };
    let scheduler = Arc::new(Scheduler::new(processes, search, scenario.faults, stalls));
    let mut violation = None;
    let mut answers = BTreeSet::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processes)
            .map(|process| {
                let (jobs, incoming) = mpsc::channel::<Job>();
                let (scheduler, start) = (Arc::clone(&scheduler), &start);
                scope.spawn(move || {
                    for job in incoming {
                        let run = || run(scenario, start, &scheduler, process, &job);
                        if catch_unwind(AssertUnwindSafe(run)).is_err() {
                            std::process::abort();
                        }
                    }
                });
                jobs
            })
            .collect();
        loop {
            match execute(scenario, &start, &scheduler, &workers, &mut answers) {
                Err(Ended::RunAgain) => continue,
                Err(_) => {}
                Ok(found) => violation = found,
            }
            let seen = scheduler.figures().executions;
            if violation.is_some() || !scheduler.advance() || seen >= scenario.most {
                break;
            }
        }
    });
    Outcome {
        figures: scheduler.figures(),
        violation,
        answers,
        took: started.elapsed(),
    }
}

fn execute(
    scenario: &Scenario,
    start: &StartState,
    scheduler: &Arc<Scheduler>,
    workers: &[mpsc::Sender<Job>],
    answers: &mut BTreeSet<String>,
) -> Result<Option<String>, Ended> {
    let memory = start.memory();
    scheduler.restart(start.roles.clone(), scenario.later);
    let applied = Arc::default();
    let forked = Arc::<AtomicBool>::default();
    let opened = Arc::default();
    let spools: Vec<Arc<MemoryStorage>> = workers.iter().map(|_| Arc::default()).collect();
    let calls: Vec<_> = (workers.iter().zip(&spools))
        .map(|(worker, spool)| {
            let calls = Arc::default();
            let job = Job {
                memory: Arc::clone(&memory),
                calls: Arc::clone(&calls),
                applied: Arc::clone(&applied),
                forked: Arc::clone(&forked),
                spool: Arc::clone(spool),
                opened: Arc::clone(&opened),
            };
            worker.send(job).unwrap();
            calls
        })
        .collect();
    let ended = scheduler.wait();
    if ended != Ended::Completed {
        return Err(ended);
    }
    let mut all = start.calls.clone();
    for calls in &calls {
        all.append(&mut calls.lock().unwrap());
    }
    let given: Vec<_> = all.iter().map(|call| &call.answer).collect();
    answers.insert(format!("{given:?}"));
    let applied = std::mem::take(&mut *applied.lock().unwrap());
    let final_state = FinalState {
        memory: &memory,
        transactional: scenario.transactional,
        stalls: scenario.stalls,
        faulty: scheduler.faulty() || scenario.interrupted.is_some(),
        uptime: scheduler.uptime(),
        journal: scenario.journal,
        checkpoint: start.checkpoint,
        dead: scheduler.dead(),
        forked: forked.load(Ordering::SeqCst),
        spools,
        is_restored: scenario.setup.contains(&Verb::RestoreBackup),
        setup_keys: &start.commitments,
        model: Model {
            calls: &all,
            stalls: scenario.stalls,
            outage: scenario.faults.outage && scheduler.faulty(),
            applied: &applied,
        },
    };
    let violations = final_state.violations();
    Ok((!violations.is_empty()).then(|| trace(&violations, scheduler, &all)))
}

fn trace(violations: &[String], scheduler: &Scheduler, calls: &[Call]) -> String {
    let mut trace = violations.join("\n");
    for event in scheduler.events() {
        trace.push_str(&format!("\n    {event}"));
    }
    for call in calls {
        trace.push_str(&format!("\n  {call:?}").replace("46, 46, ", ""));
    }
    trace
}

/// Runs one process of one execution.
fn run(
    scenario: &Scenario,
    start: &StartState,
    scheduler: &Arc<Scheduler>,
    process: usize,
    job: &Job,
) {
    let tap = Tap::new(
        shared(&job.memory, scenario.transactional),
        Arc::clone(scheduler),
        process,
        Arc::clone(&job.applied),
    );
    let deciding = Arc::clone(scheduler);
    let storage = Arc::new(Faulty::new(tap, move |_, moment| {
        deciding.decide_step(process, moment)
    }));
    scheduler.attach(process, Arc::clone(&storage));
    let spool = Spool::new(
        Arc::clone(&job.spool),
        process,
        Some(Arc::clone(scheduler)),
        Arc::clone(&job.applied),
    );
    let equipment = Equipment {
        local: Arc::default(),
        spool: Arc::new(spool),
        storage: Arc::clone(&storage) as Arc<dyn Storage>,
        moves: start.moves.clone(),
        plan: Mutex::default(),
    };
    let mutant = Mutant::new(
        Arc::clone(&storage),
        scenario.mutation,
        Around {
            local: Arc::clone(&equipment.local),
            spool: Arc::clone(&job.spool),
            memory: Arc::clone(&job.memory),
        },
    );
    let clock = Arc::new(ProcessClock {
        scheduler: Arc::clone(scheduler),
        process,
        mutation: scenario.mutation,
        own: AtomicU64::new(0),
        ahead: AtomicU64::new(0),
        calls: scenario.journal.map(|_| AtomicU64::new(0)),
    });
    let vault_clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let forked = Arc::clone(&job.forked);
    let handler = move |event: &SecurityEvent| {
        forked.fetch_or(*event == SecurityEvent::JournalForked, Ordering::SeqCst);
    };
    let options = options(scenario.journal, vault_clock).on_security_event(handler);
    let vault = job.in_turn(process, || {
        let vault = options.open(mutant, &Fixed(1)).unwrap();
        if scenario.warm {
            warm(&vault, start);
        }
        vault
    });
    storage.inner().take_marks();
    for (index, verb) in scenario.processes[process].iter().enumerate() {
        if !scheduler.begin(process, verb.reads()) {
            break;
        }
        let begun = scheduler.step();
        let ahead = if *verb == Verb::CollectGarbageAhead {
            DAYS
        } else {
            Duration::ZERO
        };
        clock.set_ahead(ahead);
        if *verb == Verb::Wait {
            scheduler.wait_days(process);
        }
        equipment.local.begin(*verb);
        let answer = verb.run(&vault, start.inactive_master, (process, index), &equipment);
        let Marks {
            first_read,
            last_change,
        } = storage.inner().take_marks();
        let dead = scheduler.is_dead(process);
        job.calls.lock().unwrap().push(Call {
            process,
            index,
            verb: *verb,
            begun,
            ended: if dead { u64::MAX } else { scheduler.step() },
            answer: (!dead).then_some(answer),
            first_read,
            last_change,
        });
        if dead {
            break;
        }
    }
    drop(vault);
    scheduler.end(process);
}

fn warm(vault: &Vault, start: &StartState) {
    for patient in &start.patients {
        match session(vault).get(&crate::verbs::id((*patient, 0))) {
            Ok(_) | Err(Error::Erased) => {}
            Err(error) => panic!("warming up failed: {error:?}"),
        }
    }
}

//! Runs one scenario through all its schedules.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::time::{Duration, Instant};

use chartlock::internals::clock::Clock;
use chartlock::storage::{
    Expect, FaultAction, Faulty, MemoryStorage, Projection, Storage, Transaction,
};
use chartlock::{Checkpoint, Error, Journaling, Vault, access::SecurityEvent};

use crate::clock::{DAYS, LoneClock, ProcessClock};
use crate::common::objects::scan_all;
use crate::common::{Fixed, session};
use crate::footprint::Roles;
use crate::model::{Call, Model};
use crate::mutation::{Mutant, Mutation};
use crate::search::{Figures, Search};
use crate::state::{Faults, Stalls};
use crate::tap::{Boxed, Landed, Marks, Tap, shared};
use crate::turns::{Ended, Turns};
use crate::verbs::{Verb, open, options};
use crate::verdict::{Remains, commitments};

/// Steps before this one belong to the setup.
pub(crate) const SETUP_STEPS: u64 = 100;
/// Who does the setup, in the model's eyes.
const SETUP: usize = 9;

/// What stands before, who does what, and what may go wrong.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) setup: &'static [Verb],
    /// The last verb of the setup breaks off after so many steps.
    pub(crate) broken: Option<u64>,
    pub(crate) processes: &'static [&'static [Verb]],
    pub(crate) transactional: bool,
    /// How long after the setup processes begin.
    pub(crate) later: Duration,
    /// Whether processes hold header and entries in memory from before.
    pub(crate) warm: bool,
    pub(crate) faults: Faults,
    pub(crate) stalls: Stalls,
    pub(crate) bound: Option<u32>,
    pub(crate) most: u64,
    pub(crate) mutation: Mutation,
    /// How the vaults keep their journal, if they do.
    pub(crate) journal: Option<Journaling>,
}

pub(crate) const NO_FAULTS: Faults = Faults {
    most: 0,
    crash: false,
    unknown: false,
    outage: false,
};

impl Scenario {
    /// Warm processes on storage without transactions, where nothing goes wrong.
    pub(crate) const fn new(
        name: &'static str,
        setup: &'static [Verb],
        processes: &'static [&'static [Verb]],
    ) -> Self {
        Self {
            name,
            setup,
            broken: None,
            processes,
            transactional: false,
            later: Duration::ZERO,
            warm: true,
            faults: NO_FAULTS,
            stalls: Stalls::WithinGrace,
            bound: None,
            most: u64::MAX,
            mutation: Mutation::None,
            journal: None,
        }
    }
}

/// What came out.
pub(crate) struct Outcome {
    pub(crate) figures: Figures,
    pub(crate) violation: Option<String>,
    /// Every combination of answers that processes were given.
    pub(crate) answers: BTreeSet<String>,
    pub(crate) took: Duration,
}

/// What stands when processes begin.
struct Beginning {
    objects: Vec<(Vec<u8>, Vec<u8>)>,
    calls: Vec<Call>,
    retiring: Option<u32>,
    roles: Roles,
    checkpoint: Option<Checkpoint>,
    patients: BTreeSet<u8>,
    commitments: BTreeSet<Vec<u8>>,
}

impl Beginning {
    fn new(scenario: &Scenario) -> Self {
        loop {
            let mut beginning = Self::drawn(scenario);
            let mut verbs = scenario.processes.iter().copied().flatten();
            let listed =
                verbs.any(|verb| matches!(verb, Verb::Sweep | Verb::SweepAhead | Verb::Verify));
            if beginning.roles.begin(listed) {
                return beginning;
            }
        }
    }

    fn drawn(scenario: &Scenario) -> Self {
        let memory = Arc::new(MemoryStorage::new());
        options(scenario.journal, Arc::new(LoneClock::default()))
            .create(Arc::clone(&memory), &Fixed(1))
            .unwrap();
        let mut calls = Vec::new();
        for (index, verb) in scenario.setup.iter().enumerate() {
            let last = index + 1 == scenario.setup.len();
            let stop = scenario.broken.filter(|_| last).unwrap_or(u64::MAX);
            calls.push(prepare(&memory, scenario, *verb, index, stop));
        }
        let checkpoint = scenario.journal.map(|mode| {
            let begun = Duration::from_millis(calls.len() as u64 + 1);
            let clock = Arc::new(LoneClock::after(begun));
            let vault = open(Arc::clone(&memory), clock, Some(mode)).unwrap();
            vault.checkpoint().unwrap()
        });
        // Who only counts leaves nothing behind.
        let vault = open(Arc::clone(&memory), Arc::new(LoneClock::default()), None).unwrap();
        let census = vault.key_usage().unwrap();
        let objects = scan_all(&*memory, b"", Projection::Values);
        let mut roles = Roles::default();
        for (key, _) in &objects {
            roles.role(key);
        }
        let verbs = scenario.setup.iter().flat_map(|verb| verb.records());
        Self {
            objects,
            calls,
            retiring: (census.masters.iter())
                .find(|master| !master.active)
                .map(|master| master.number),
            roles,
            checkpoint,
            patients: verbs.map(|record| record.0).collect(),
            commitments: commitments(&memory),
        }
    }

    fn memory(&self) -> Arc<MemoryStorage> {
        let memory = MemoryStorage::new();
        let mut transaction = Transaction::new();
        for (key, value) in &self.objects {
            transaction = transaction.put(&key[..], &value[..], Expect::Absent);
        }
        memory.commit(&[transaction]).pop().unwrap().unwrap();
        Arc::new(memory)
    }
}

fn prepare(
    memory: &Arc<MemoryStorage>,
    scenario: &Scenario,
    verb: Verb,
    index: usize,
    stop: u64,
) -> Call {
    let storage = Faulty::new(
        Boxed(shared(memory, scenario.transactional)),
        move |step, _| {
            if step < stop {
                FaultAction::Proceed
            } else {
                FaultAction::Stop
            }
        },
    );
    let begun = Duration::from_millis(index as u64 + 1);
    let clock = Arc::new(LoneClock::after(begun));
    let vault = open(storage, clock, scenario.journal).unwrap();
    let answer = verb.carry_out(&vault, None, SETUP, index);
    let at = index as u64 + 1;
    Call {
        process: SETUP,
        index,
        verb,
        begun: at,
        ended: at,
        answer: (stop == u64::MAX).then_some(answer),
        looked: Some(at),
        changed: Some(at),
    }
}

/// What a worker is given for one execution, and gives back.
struct Job {
    memory: Arc<MemoryStorage>,
    calls: Arc<Mutex<Vec<Call>>>,
    landed: Arc<Mutex<Vec<Landed>>>,
    forked: Arc<AtomicBool>,
    /// How many processes have opened their vaults.
    opened: Arc<(Mutex<usize>, Condvar)>,
}

impl Job {
    /// One process after the other: what each sees of the others' chains is the same in each replay.
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

/// Goes through the schedules of a scenario, until one violates something.
pub(crate) fn explore(scenario: &Scenario) -> Outcome {
    let started = Instant::now();
    let beginning = Beginning::new(scenario);
    let processes = scenario.processes.len();
    let search = Search::new(scenario.bound);
    let stalls = match scenario.mutation {
        Mutation::NoGrace => Stalls::Endless,
        _ => scenario.stalls,
    };
    let turns = Arc::new(Turns::new(processes, search, scenario.faults, stalls));
    let mut violation = None;
    let mut answers = BTreeSet::new();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processes)
            .map(|process| {
                let (jobs, incoming) = mpsc::channel::<Job>();
                let (turns, beginning) = (Arc::clone(&turns), &beginning);
                scope.spawn(move || {
                    for job in incoming {
                        let run = || run(scenario, beginning, &turns, process, &job);
                        if catch_unwind(AssertUnwindSafe(run)).is_err() {
                            std::process::abort();
                        }
                    }
                });
                jobs
            })
            .collect();
        loop {
            match execute(scenario, &beginning, &turns, &workers, &mut answers) {
                Err(Ended::RunAgain) => continue,
                Err(_) => {}
                Ok(found) => violation = found,
            }
            let seen = turns.figures().executions;
            if violation.is_some() || !turns.advance() || seen >= scenario.most {
                break;
            }
        }
    });
    Outcome {
        figures: turns.figures(),
        violation,
        answers,
        took: started.elapsed(),
    }
}

fn execute(
    scenario: &Scenario,
    beginning: &Beginning,
    turns: &Arc<Turns>,
    workers: &[mpsc::Sender<Job>],
    answers: &mut BTreeSet<String>,
) -> Result<Option<String>, Ended> {
    let memory = beginning.memory();
    turns.restart(beginning.roles.clone(), scenario.later);
    let landed = Arc::default();
    let forked = Arc::<AtomicBool>::default();
    let opened = Arc::default();
    let calls: Vec<_> = (workers.iter())
        .map(|worker| {
            let calls = Arc::default();
            let job = Job {
                memory: Arc::clone(&memory),
                calls: Arc::clone(&calls),
                landed: Arc::clone(&landed),
                forked: Arc::clone(&forked),
                opened: Arc::clone(&opened),
            };
            worker.send(job).unwrap();
            calls
        })
        .collect();
    let ended = turns.wait();
    if ended != Ended::Whole {
        return Err(ended);
    }
    let mut all = beginning.calls.clone();
    for calls in &calls {
        all.append(&mut calls.lock().unwrap());
    }
    let told: Vec<_> = all.iter().map(|call| &call.answer).collect();
    answers.insert(format!("{told:?}"));
    let remains = Remains {
        memory: &memory,
        transactional: scenario.transactional,
        stalls: scenario.stalls,
        faulty: turns.faulty() || scenario.broken.is_some(),
        uptime: turns.uptime(),
        journal: scenario.journal,
        checkpoint: beginning.checkpoint,
        landed: std::mem::take(&mut *landed.lock().unwrap()),
        dead: turns.dead(),
        forked: forked.load(Ordering::SeqCst),
        former: &beginning.commitments,
        model: Model {
            calls: &all,
            stalls: scenario.stalls,
            outage: scenario.faults.outage,
        },
    };
    let violations = remains.violations();
    Ok((!violations.is_empty()).then(|| story(&violations, turns, &all)))
}

fn story(violations: &[String], turns: &Turns, calls: &[Call]) -> String {
    let mut story = violations.join("\n");
    for event in turns.events() {
        story.push_str(&format!("\n    {event}"));
    }
    for call in calls {
        story.push_str(&format!("\n  {call:?}").replace("46, 46, ", ""));
    }
    story
}

/// One process of one execution.
fn run(scenario: &Scenario, beginning: &Beginning, turns: &Arc<Turns>, process: usize, job: &Job) {
    let tap = Tap::new(
        shared(&job.memory, scenario.transactional),
        Arc::clone(turns),
        process,
        Arc::clone(&job.landed),
    );
    let asked = Arc::clone(turns);
    let storage = Arc::new(Faulty::new(tap, move |_, moment| {
        asked.judge(process, moment)
    }));
    turns.attach(process, Arc::clone(&storage));
    let mutant = Mutant {
        inner: Arc::clone(&storage),
        mutation: scenario.mutation,
        early: Mutex::default(),
        held: Mutex::default(),
    };
    let clock = Arc::new(ProcessClock {
        turns: Arc::clone(turns),
        process,
        mutation: scenario.mutation,
        own: AtomicU64::new(0),
        ahead: AtomicU64::new(0),
        asked: scenario.journal.map(|_| AtomicU64::new(0)),
    });
    let keeper = Arc::clone(&clock) as Arc<dyn Clock>;
    let forked = Arc::clone(&job.forked);
    let watch = move |event: &SecurityEvent| {
        forked.fetch_or(*event == SecurityEvent::JournalForked, Ordering::SeqCst);
    };
    let options = options(scenario.journal, keeper).on_security_event(watch);
    let vault = job.in_turn(process, || {
        let vault = options.open(mutant, &Fixed(1)).unwrap();
        if scenario.warm {
            warm(&vault, beginning);
        }
        vault
    });
    storage.inner().take_marks();
    for (index, verb) in scenario.processes[process].iter().enumerate() {
        if !turns.begin(process, verb.reads()) {
            break;
        }
        let begun = turns.step();
        let ahead = if *verb == Verb::SweepAhead {
            DAYS
        } else {
            Duration::ZERO
        };
        clock.set_ahead(ahead);
        if *verb == Verb::Wait {
            turns.wait_days(process);
        }
        let answer = verb.carry_out(&vault, beginning.retiring, process, index);
        let Marks { looked, changed } = storage.inner().take_marks();
        let dead = turns.is_dead(process);
        job.calls.lock().unwrap().push(Call {
            process,
            index,
            verb: *verb,
            begun,
            ended: if dead { u64::MAX } else { turns.step() },
            answer: (!dead).then_some(answer),
            looked,
            changed,
        });
        if dead {
            break;
        }
    }
    drop(vault);
    turns.end(process);
}

fn warm(vault: &Vault, beginning: &Beginning) {
    for patient in &beginning.patients {
        match session(vault).get(&crate::verbs::id((*patient, 0))) {
            Ok(_) | Err(Error::Erased) => {}
            Err(error) => panic!("warming up failed: {error:?}"),
        }
    }
}

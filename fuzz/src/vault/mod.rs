//! Fuzz target for a whole vault, compared with a model. A run applies operations to a vault on
//! transactional or non-transactional storage, with faults, crashes and reopenings in between.
//!
//! Every acknowledged version must be readable, byte for byte. A failed operation may have taken
//! effect or not, but the outcome must not change later.

mod compare;
mod faults;
mod holds;
mod maintenance;
mod writes;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use chartlock::keys::KeyFile;
use chartlock::storage::{Faulty, MemoryStorage, PerOperation, Storage};
use chartlock::{Actor, Purpose, RecordId, Session, Subject, Vault, VaultOptions};

use self::compare::check_reader;
use self::faults::{Fault, process};
use self::holds::Protection;
use super::clock::{SimulatedClock, options};
use super::fixed::suite;
use super::input::Input;

/// The maximum number of operations in one run; longer runs are slow and find no further bugs.
const OPERATIONS: usize = 48;
/// The maximum number of versions of one record; more versions are slow and find nothing new.
const VERSIONS: usize = 12;
const SUBJECTS: [&str; 2] = ["MRN-1042", "é"];
const NAMES: [&str; 2] = ["Observation/bp", "n"];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let (Some(what), Some(seed)) = (input.next(), input.next()) else {
        return;
    };
    let mut world = World::new(what, seed);
    for _ in 0..OPERATIONS {
        let Some(operation) = input.next() else {
            break;
        };
        // The byte after each operation encodes the planned fault, if any.
        let plan = input.byte();
        let times = if plan & 0x80 == 0 { 0 } else { input.byte() };
        *world.fault.lock().unwrap() = Fault::planned(plan, times);
        world.step(operation, input.byte());
    }
    world.reopen();
    world.compare_all();
    world.verify();
}

type Disk = Arc<dyn Storage>;

/// The versions of one record, oldest first; `None` is a retraction.
type History = Vec<Option<Vec<u8>>>;

#[derive(Debug, Clone, PartialEq)]
enum State {
    Unknown,
    Live(BTreeMap<usize, History>),
    Erased,
}

struct World {
    disk: Disk,
    clock: Arc<SimulatedClock>,
    fault: Arc<Mutex<Option<Fault>>>,
    process: Arc<Faulty<Disk>>,
    vault: Option<Vault>,
    credentials: Vec<KeyFile>,
    states: [State; SUBJECTS.len()],
    protection: [Protection; SUBJECTS.len()],
    seed: u8,
}

impl World {
    fn new(what: u8, seed: u8) -> Self {
        let disk: Disk = match what & 2 {
            0 => Arc::new(MemoryStorage::new()),
            _ => Arc::new(PerOperation::new(MemoryStorage::new())),
        };
        let clock = Arc::new(SimulatedClock::default());
        let fault = Arc::new(Mutex::new(None));
        let process = process(&disk, &fault);
        let credentials = vec![KeyFile::random().unwrap()];
        let vault = options()
            .cipher_suite(suite(what))
            .clock(clock.clone())
            .create(Arc::clone(&process), &credentials[0])
            .unwrap();
        Self {
            disk,
            clock,
            fault,
            process,
            vault: Some(vault),
            credentials,
            states: [State::Unknown, State::Unknown],
            protection: [Protection::default(); SUBJECTS.len()],
            seed,
        }
    }

    /// Ends the planned fault and applies delayed commits.
    fn end_faults(&mut self) {
        *self.fault.lock().unwrap() = None;
        while self.process.land().is_some() {}
    }

    /// Reopens the vault in a new simulated process if a fault stopped the current one.
    fn reopen_if_stopped(&mut self) {
        if self.is_stopped() {
            self.reopen();
        }
    }

    fn is_stopped(&self) -> bool {
        self.process.read(&[b"v"]).is_err()
    }

    fn reopen(&mut self) {
        self.end_faults();
        self.vault = None;
        self.process = process(&self.disk, &self.fault);
        let last = self.credentials.last().unwrap();
        let vault = self.options().open(Arc::clone(&self.process), last);
        self.vault = Some(vault.unwrap());
    }

    fn options(&self) -> VaultOptions {
        options().clock(self.clock.clone())
    }

    /// Verifies the vault: failed, interrupted and late operations must cause no finding.
    fn verify(&self) {
        let report = self.vault().verify(None).unwrap();
        assert!(report.is_clean(), "{report:#?}");
    }

    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn session(&self) -> Session {
        let actor = Actor::new("fuzz").unwrap();
        self.vault().session(actor, Purpose::Treatment)
    }

    fn step(&mut self, operation: u8, argument: u8) {
        let who = usize::from(argument & 1);
        let observer = self.observer();
        let readers = self.readers(&observer, who);
        self.apply(operation, argument);
        self.end_faults();
        self.reopen_if_stopped();
        self.compare(who);
        readers.into_iter().for_each(check_reader);
    }

    fn apply(&mut self, operation: u8, argument: u8) {
        let (who, what) = (usize::from(argument & 1), usize::from(argument >> 1 & 1));
        match operation % 16 {
            0..=3 => {
                let content = self.content(argument);
                self.put(who, what, Some(content));
            }
            4 => self.put(who, what, None),
            5 => self.put_if(who, what, u64::from(argument >> 2 & 7)),
            6 => self.put(
                who,
                what,
                Some(vec![argument; 65_537 + usize::from(argument)]),
            ),
            7 => self.put_many(argument),
            8 => self.rotate(|vault| vault.rotate_master_key().map(|_| ())),
            9 => self.rotate(|vault| vault.rotate_subject_key(&subject(who)).map(|_| ())),
            10 => self.rotate(|vault| vault.reencrypt_subject(&subject(who)).map(|_| ())),
            11 => self.rotate(|vault| vault.reencrypt().map(|_| ())),
            12 => match operation >> 4 & 3 {
                0 => self.erase(who),
                1 => self.hold(who),
                2 => self.retain(who),
                _ => self.expunge(who, what),
            },
            13 => self.reopen_chart(who),
            14 => self.change_slots(argument),
            _ if argument & 4 == 0 => self.reopen(),
            _ => self.collect(),
        }
    }

    fn content(&mut self, argument: u8) -> Vec<u8> {
        self.seed = self.seed.wrapping_add(1);
        vec![self.seed; usize::from(argument >> 2) * 33]
    }

    fn versions(&self, who: usize, what: usize) -> History {
        match &self.states[who] {
            State::Live(records) => records.get(&what).cloned().unwrap_or_default(),
            _ => Vec::new(),
        }
    }
}

fn subject(who: usize) -> Subject {
    Subject::patient(SUBJECTS[who]).unwrap()
}

fn id(who: usize, what: usize) -> RecordId {
    RecordId::new(subject(who), NAMES[what]).unwrap()
}

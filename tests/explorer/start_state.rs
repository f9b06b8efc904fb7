//! Setup of a scenario, which yields the state in which the processes of each execution begin.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::Checkpoint;
use chartlock::storage::{
    Expect, FaultAction, Faulty, MemoryStorage, Projection, Storage, Transaction,
};

use crate::attacker::active_keys;
use crate::clock::LoneClock;
use crate::common::Fixed;
use crate::common::objects::{keys_of, scan_all};
use crate::equipment::{Equipment, Moves, Spool};
use crate::final_state::commitments;
use crate::footprint::Roles;
use crate::model::Call;
use crate::scenario::{SETUP, Scenario};
use crate::tap::{Boxed, shared};
use crate::verbs::{Verb, open, options};

/// The state in which the processes begin.
pub(crate) struct StartState {
    objects: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) calls: Vec<Call>,
    pub(crate) inactive_master: Option<u32>,
    pub(crate) roles: Roles,
    pub(crate) checkpoint: Option<Checkpoint>,
    pub(crate) patients: BTreeSet<u8>,
    pub(crate) commitments: BTreeSet<Vec<u8>>,
    pub(crate) moves: Option<Moves>,
}

impl StartState {
    pub(crate) fn new(scenario: &Scenario) -> Self {
        loop {
            let mut start = Self::draw(scenario);
            let mut verbs = scenario.processes.iter().copied().flatten();
            let listed = verbs.any(|verb| {
                matches!(
                    verb,
                    Verb::CollectGarbage
                        | Verb::CollectGarbageAhead
                        | Verb::Verify
                        | Verb::PlanRestore
                        | Verb::AcceptRestore
                )
            });
            if start.roles.begin(listed) {
                return start;
            }
        }
    }

    fn draw(scenario: &Scenario) -> Self {
        let memory = Arc::new(MemoryStorage::new());
        options(scenario.journal, Arc::new(LoneClock::default()))
            .create(Arc::clone(&memory), &Fixed(1))
            .unwrap();
        let first_keys = active_keys(&*memory);
        let mut calls = Vec::new();
        let mut backup = (0, Vec::new());
        for (index, verb) in scenario.setup.iter().enumerate() {
            let last = index + 1 == scenario.setup.len();
            let stop = scenario.interrupted.filter(|_| last).unwrap_or(u64::MAX);
            match verb {
                Verb::TakeBackup => {
                    backup = (calls.len(), scan_all(&*memory, b"", Projection::Values));
                }
                Verb::RestoreBackup => {
                    let (kept, objects) = &backup;
                    restore(&memory, objects);
                    calls.truncate(*kept);
                }
                _ => calls.push(prepare(&memory, scenario, *verb, index, stop)),
            }
        }
        let checkpoint = scenario.journal.map(|mode| {
            let begun = Duration::from_millis(scenario.setup.len() as u64 + 1);
            let clock = Arc::new(LoneClock::after(begun));
            let vault = open(Arc::clone(&memory), clock, Some(mode)).unwrap();
            vault.checkpoint().unwrap()
        });
        // Open the vault without a journal, because the number of keys must not write an entry.
        let vault = open(Arc::clone(&memory), Arc::new(LoneClock::default()), None).unwrap();
        let usage = vault.key_usage().unwrap();
        let objects = scan_all(&*memory, b"", Projection::Values);
        let mut roles = Roles::default();
        for (key, _) in &objects {
            roles.role(key);
        }
        let verbs = scenario.setup.iter().flat_map(|verb| verb.records());
        let mut acts = scenario.processes.iter().copied().flatten();
        let is_attacked = acts.any(|verb| verb.is_attack());
        Self {
            objects,
            calls,
            inactive_master: (usage.masters.iter())
                .find(|master| !master.active)
                .map(|master| master.number),
            roles,
            checkpoint,
            patients: verbs.map(|record| record.0).collect(),
            commitments: commitments(&memory),
            moves: is_attacked.then(|| Moves::new(&*memory, &first_keys)),
        }
    }

    pub(crate) fn memory(&self) -> Arc<MemoryStorage> {
        let memory = MemoryStorage::new();
        let mut transaction = Transaction::new();
        for (key, value) in &self.objects {
            transaction = transaction.put(&key[..], &value[..], Expect::Absent);
        }
        memory.commit(&[transaction]).pop().unwrap().unwrap();
        Arc::new(memory)
    }
}

/// Puts back all objects except those of the journal.
fn restore(memory: &MemoryStorage, objects: &[(Vec<u8>, Vec<u8>)]) {
    let is_journal = |key: &[u8]| matches!(key[0], b'j' | b'a');
    let mut transaction = Transaction::new();
    for key in keys_of(memory, b"") {
        if !is_journal(&key) {
            transaction = transaction.delete(key);
        }
    }
    memory.commit(&[transaction]).pop().unwrap().unwrap();
    let mut transaction = Transaction::new();
    for (key, value) in objects.iter().filter(|(key, _)| !is_journal(key)) {
        transaction = transaction.put(&key[..], &value[..], Expect::Absent);
    }
    memory.commit(&[transaction]).pop().unwrap().unwrap();
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
    let storage = Arc::new(storage);
    let vault = open(Arc::clone(&storage), clock, scenario.journal).unwrap();
    let equipment = Equipment {
        local: Arc::default(),
        spool: Arc::new(Spool::new(Arc::default(), SETUP, None, Arc::default())),
        storage,
        moves: None,
        plan: Mutex::default(),
    };
    let answer = verb.run(&vault, None, (SETUP, index), &equipment);
    let at = index as u64 + 1;
    Call {
        process: SETUP,
        index,
        verb,
        begun: at,
        ended: at,
        answer: (stop == u64::MAX).then_some(answer),
        first_read: Some(at),
        last_change: Some(at),
    }
}

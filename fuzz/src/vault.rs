//! A whole vault against a model: operations one after the other, with faults, crashes and
//! reopenings in between, over storage that is transactional or not.
//!
//! What was acknowledged must be there, byte for byte, in every version. What failed may have
//! happened or not, and then stays so.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chartlock::internals::clock::Clock;
use chartlock::keys::KeyFile;
use chartlock::storage::{
    Faulty, Landing, MemoryStorage, Moment, PerOperation, Storage, StorageError, Verdict,
};
use chartlock::{Actor, Error, Expected, Purpose, RecordId, Session, Subject, Vault, VaultOptions};

use super::fixed::suite;

/// Operations of one run at most: beyond that, runs get slow and say nothing new.
const OPERATIONS: usize = 48;
/// Versions of one record at most, for the same reason.
const VERSIONS: usize = 12;
const SUBJECTS: [&str; 2] = ["MRN-1042", "é"];
const NAMES: [&str; 2] = ["Observation/bp", "n"];

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let (Some(what), Some(seed)) = (input.next(), input.next()) else {
        return;
    };
    let mut world = World::new(what, seed);
    for _ in 0..OPERATIONS {
        let Some(operation) = input.next() else {
            break;
        };
        // Every other byte plans a fault, mostly none.
        let plan = input.next().unwrap_or(0);
        world.plan(plan, input.next_if(plan & 0x80 != 0));
        let argument = input.next().unwrap_or(0);
        world.step(operation, argument);
    }
    world.reopen();
    world.compare_all();
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn next_if(&mut self, condition: bool) -> u8 {
        match condition {
            true => self.next().unwrap_or(0),
            false => 0,
        }
    }
}

/// Time that passes only when somebody waits: graces cost nothing.
#[derive(Debug, Default)]
struct Waiting(AtomicU64);

impl Clock for Waiting {
    fn now(&self) -> i64 {
        1_795_000_000_000 + self.0.load(Ordering::SeqCst) as i64
    }

    fn uptime(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn sleep(&self, duration: Duration) {
        (self.0).fetch_add(duration.as_millis() as u64, Ordering::SeqCst);
    }
}

/// The fault to come: after so many steps, this verdict, so often.
#[derive(Debug, Clone, Copy)]
struct Fault {
    after: u64,
    times: u64,
    verdict: Verdict,
}

type Disk = Arc<dyn Storage>;

/// Versions of one record, the first one first; `None` is a retraction.
type History = Vec<Option<Vec<u8>>>;

#[derive(Debug, Clone, PartialEq)]
enum State {
    Unknown,
    Live(BTreeMap<usize, History>),
    Erased,
}

struct World {
    disk: Disk,
    clock: Arc<Waiting>,
    fault: Arc<Mutex<Option<Fault>>>,
    process: Arc<Faulty<Disk>>,
    vault: Option<Vault>,
    credentials: Vec<KeyFile>,
    states: [State; SUBJECTS.len()],
    seed: u8,
}

impl World {
    fn new(what: u8, seed: u8) -> Self {
        let disk: Disk = match what & 2 {
            0 => Arc::new(MemoryStorage::new()),
            _ => Arc::new(PerOperation::new(MemoryStorage::new())),
        };
        let clock = Arc::new(Waiting::default());
        let fault = Arc::new(Mutex::new(None));
        let process = process(&disk, &fault);
        let credentials = vec![KeyFile::random().unwrap()];
        let vault = VaultOptions::new()
            .suite(suite(what))
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
            seed,
        }
    }

    fn plan(&mut self, plan: u8, times: u8) {
        let verdict = match plan & 7 {
            0..=1 => None,
            2 => Some(Verdict::Fail(StorageError::Full)),
            3 => Some(Verdict::Stop),
            4 => Some(Verdict::StopAfter),
            5 => Some(Verdict::Unknown(Landing::Applied)),
            6 => Some(Verdict::Unknown(Landing::Lost)),
            _ => Some(Verdict::Unknown(Landing::Later)),
        };
        *self.fault.lock().unwrap() = verdict.map(|verdict| Fault {
            after: u64::from(plan >> 3 & 15),
            times: 1 + u64::from(times & 3),
            verdict,
        });
    }

    /// Nothing more goes wrong, and what was under way arrives.
    fn calm(&mut self) {
        *self.fault.lock().unwrap() = None;
        while self.process.land().is_some() {}
    }

    /// Another process opens the vault, if this one is dead.
    fn revive(&mut self) {
        if self.is_dead() {
            self.reopen();
        }
    }

    fn is_dead(&self) -> bool {
        self.process.read(&[b"v"]).is_err()
    }

    fn reopen(&mut self) {
        self.calm();
        self.vault = None;
        self.process = process(&self.disk, &self.fault);
        let last = self.credentials.last().unwrap();
        let options = VaultOptions::new().clock(self.clock.clone());
        let vault = options.open(Arc::clone(&self.process), last).unwrap();
        self.vault = Some(vault);
    }

    fn vault(&self) -> &Vault {
        self.vault.as_ref().unwrap()
    }

    fn session(&self) -> Session<'_> {
        let actor = Actor::new("fuzz").unwrap();
        self.vault().session(actor, Purpose::Treatment)
    }

    fn step(&mut self, operation: u8, argument: u8) {
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
            9 => self.rotate(|vault| vault.rotate_patient_key(&subject(who)).map(|_| ())),
            10 => self.rotate(|vault| vault.reencrypt_patient(&subject(who)).map(|_| ())),
            11 => self.rotate(|vault| vault.reencrypt().map(|_| ())),
            12 => self.erase(who),
            13 => self.readmit(who),
            14 => self.change_slots(argument),
            _ => self.reopen(),
        }
        self.calm();
        self.revive();
        self.compare(who);
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

    fn put(&mut self, who: usize, what: usize, content: Option<Vec<u8>>) {
        let before = self.versions(who, what);
        if before.len() >= VERSIONS {
            return;
        }
        let id = id(who, what);
        let outcome = match &content {
            Some(content) => self.session().put(&id, content).map(Some),
            None => self.session().remove(&id),
        };
        self.wrote(who, what, content, outcome);
    }

    fn put_if(&mut self, who: usize, what: usize, version: u64) {
        let before = self.versions(who, what);
        if before.len() >= VERSIONS {
            return;
        }
        let content = self.content(77);
        let id = id(who, what);
        let expected = match version {
            0 => Expected::Absent,
            version => Expected::Version(version),
        };
        let outcome = self.session().put_if(&id, expected, &content);
        let absent = before.last().is_none_or(Option::is_none);
        let fits = match version {
            0 => absent,
            version => version == before.len() as u64,
        };
        if outcome == Err(Error::Conflict) && !fits {
            return;
        }
        assert!(fits || outcome.is_err(), "an amendment was buried");
        self.wrote(who, what, Some(content), outcome.map(Some));
    }

    fn put_many(&mut self, argument: u8) {
        let mut pairs = Vec::new();
        for (who, what) in [(0, 0), (1, 0), (0, 1), (0, 0)] {
            if self.versions(who, what).len() + 2 > VERSIONS {
                return;
            }
            pairs.push((who, what, id(who, what), self.content(argument)));
        }
        let outcomes = self.session().put_many(
            pairs
                .iter()
                .map(|(_, _, id, content)| (id, content.as_slice().into())),
        );
        self.calm();
        self.revive();
        let outcomes = outcomes.unwrap();
        for (who, what) in [(0, 0), (1, 0), (0, 1)] {
            let tried: Vec<_> = (pairs.iter().zip(&outcomes))
                .filter(|((a, b, ..), _)| (*a, *b) == (who, what))
                .map(|((.., content), outcome)| (content, outcome))
                .collect();
            self.wrote_many(who, what, &tried);
        }
        self.compare_all();
    }

    /// Takes in what a batch made of one record.
    fn wrote_many(&mut self, who: usize, what: usize, tried: &[(&Vec<u8>, &Result<u64, Error>)]) {
        let acknowledged = tried.iter().any(|(_, outcome)| outcome.is_ok());
        if self.states[who] == State::Erased {
            assert!(!acknowledged, "written after erasure");
            return;
        }
        let now = self.stored(who, what);
        let before = self.versions(who, what);
        let added = now.strip_prefix(&before[..]).unwrap();
        // Each of the batch once, or twice after two faults, or not at all, but in their order.
        let mut from = 0;
        for version in added {
            let same = |(content, _): &(&Vec<u8>, _)| version.as_ref() == Some(*content);
            from += tried[from..].iter().position(same).unwrap();
        }
        assert!(added.len() <= 2 * tried.len());
        for (content, outcome) in tried {
            if let Ok(version) = outcome {
                assert_eq!(now[*version as usize - 1].as_ref(), Some(*content));
            }
        }
        if acknowledged || !now.is_empty() {
            self.set(who, what, now);
        }
    }

    /// Takes an acknowledged write into the model; finds out what became of a failed one.
    fn wrote(
        &mut self,
        who: usize,
        what: usize,
        content: Option<Vec<u8>>,
        outcome: Result<Option<u64>, Error>,
    ) {
        let before = self.versions(who, what);
        match outcome {
            Ok(Some(version)) => {
                assert_ne!(self.states[who], State::Erased, "written after erasure");
                // After two faults one put may stand as two versions.
                let mut now = before;
                let twice = version as usize == now.len() + 2;
                now.extend(twice.then(|| content.clone()));
                assert_eq!(version as usize, now.len() + 1, "a version was left out");
                now.push(content);
                self.set(who, what, now);
            }
            Ok(None) => {
                let absent = before.last().is_none_or(Option::is_none);
                assert!(content.is_none() && absent, "nothing to retract");
            }
            Err(Error::Erased) if self.states[who] == State::Erased => {}
            Err(_) => {
                self.calm();
                self.revive();
                if self.states[who] == State::Erased {
                    return;
                }
                let now = self.stored(who, what);
                let added = now.strip_prefix(&before[..]).unwrap();
                // After two faults one put may stand as two versions.
                assert!(added.len() <= 2 && added.iter().all(|version| *version == content));
                if !now.is_empty() || self.is_known(who) {
                    self.set(who, what, now);
                }
            }
        }
    }

    fn set(&mut self, who: usize, what: usize, history: History) {
        if !matches!(self.states[who], State::Live(_)) {
            self.states[who] = State::Live(BTreeMap::new());
        }
        if let State::Live(records) = &mut self.states[who] {
            records.insert(what, history);
        }
    }

    fn rotate(&mut self, rotate: impl Fn(&Vault) -> Result<(), Error>) {
        let broke_off = rotate(self.vault()).is_err();
        self.calm();
        self.revive();
        if broke_off {
            self.compare_all();
            // What broke off is finished by calling it again.
            match rotate(self.vault()) {
                Ok(()) | Err(Error::Erased | Error::UnknownSubject) => {}
                Err(error) => unreachable!("{error:?}"),
            }
        }
        self.compare_all();
    }

    fn erase(&mut self, who: usize) {
        match self.session().erase_patient(&subject(who)) {
            Ok(_) => {}
            Err(error) => {
                // What landed late is not seen through an entry held in memory.
                self.reopen();
                if error == Error::UnknownSubject {
                    assert!(!self.is_known(who));
                }
                let looked = self.session().get(&id(who, 0)).map(|_| ());
                if looked != Err(Error::Erased) {
                    return;
                }
                // What broke off is finished by calling it again.
                self.session().erase_patient(&subject(who)).unwrap();
            }
        }
        self.states[who] = State::Erased;
    }

    fn readmit(&mut self, who: usize) {
        let outcome = self.session().readmit_patient(&subject(who));
        match (&self.states[who], outcome) {
            (State::Erased, Ok(())) => self.states[who] = State::Live(BTreeMap::new()),
            (State::Erased, Err(_)) => {
                // What landed late is not seen through an entry held in memory.
                self.reopen();
                if self.session().get(&id(who, 0)).is_ok() {
                    self.states[who] = State::Live(BTreeMap::new());
                }
            }
            (_, outcome) => assert!(outcome.is_err()),
        }
    }

    /// A credential more, another in its place, or a new root key.
    fn change_slots(&mut self, argument: u8) {
        let fresh = KeyFile::random().unwrap();
        let slots = self.vault().slots();
        let outcome = match (argument >> 2 & 3, slots) {
            (_, Err(error)) => Err(error),
            (0, Ok(slots)) if slots.len() < 4 => self.vault().add_slot(&fresh).map(|_| ()),
            (1, Ok(slots)) => self.vault().replace_slot(slots[0].id, &fresh),
            (2, Ok(slots)) if slots.len() > 1 => self.vault().remove_slot(slots[0].id),
            _ => self.rotate_root(),
        };
        drop(outcome);
        self.calm();
        // Whatever happened: the vault opens with one of those that were ever made.
        self.credentials.push(fresh);
        let opens = |key: &KeyFile| Vault::open(Arc::clone(&self.disk), key).is_ok();
        let good = self.credentials.iter().rposition(opens).unwrap();
        let good = self.credentials.remove(good);
        self.credentials.push(good);
        self.reopen();
    }

    fn rotate_root(&self) -> Result<(), Error> {
        let keep = self.credentials.last().unwrap();
        let slots = self.vault().slots()?;
        // Which slot is its own is told by trying: all others go.
        for kept in &slots {
            let others: Vec<u16> = (slots.iter().map(|slot| slot.id))
                .filter(|id| *id != kept.id)
                .collect();
            match self.vault().rotate_root_key(&[keep], &others) {
                Err(Error::SlotsWouldBeLost | Error::WrongKey) => {}
                outcome => return outcome.map(|_| ()),
            }
        }
        Ok(())
    }

    /// A failed first put may have left an entry without records.
    fn is_known(&self, who: usize) -> bool {
        let mut subjects = self.session().subjects().unwrap();
        self.states[who] != State::Unknown || subjects.any(|found| found.unwrap() == subject(who))
    }

    /// All versions of a record, as the vault gives them.
    fn stored(&self, who: usize, what: usize) -> History {
        let id = id(who, what);
        let session = self.session();
        let history = session.history(&id).unwrap();
        history
            .iter()
            .map(|info| {
                let record = session.get_version(&id, info.version()).unwrap();
                assert_eq!(record.is_none(), info.is_retraction());
                record.map(|record| {
                    assert_eq!(info.length(), Some(record.len() as u64));
                    record.to_vec()
                })
            })
            .collect()
    }

    fn compare(&self, who: usize) {
        for what in 0..NAMES.len() {
            let id = id(who, what);
            if self.states[who] == State::Erased {
                assert_eq!(self.session().get(&id).err(), Some(Error::Erased));
                assert_eq!(self.session().history(&id).err(), Some(Error::Erased));
                continue;
            }
            let expected = self.versions(who, what);
            assert_eq!(self.stored(who, what), expected);
            let current = self.session().get(&id).unwrap();
            let current = current.map(|record| record.to_vec());
            assert_eq!(current, expected.last().cloned().flatten());
        }
    }

    fn compare_all(&self) {
        for (who, state) in self.states.iter().enumerate() {
            self.compare(who);
            if let State::Live(records) = state {
                let expected = records.values().filter(|history| {
                    let last = history.last();
                    last.is_some_and(Option::is_some)
                });
                let listed = self.session().list(&subject(who)).unwrap();
                let listed = listed.map(Result::unwrap).count();
                assert_eq!(listed, expected.count());
            }
        }
        self.vault().key_census().unwrap();
    }
}

fn process(disk: &Disk, fault: &Arc<Mutex<Option<Fault>>>) -> Arc<Faulty<Disk>> {
    let fault = Arc::clone(fault);
    Arc::new(Faulty::new(Arc::clone(disk), move |_, moment| {
        verdict(&mut fault.lock().unwrap(), moment)
    }))
}

fn verdict(fault: &mut Option<Fault>, moment: &Moment<'_>) -> Verdict {
    let Some(planned) = fault else {
        return Verdict::Proceed;
    };
    if planned.after > 0 {
        planned.after -= 1;
        return Verdict::Proceed;
    }
    let verdict = planned.verdict;
    planned.times -= 1;
    if planned.times == 0 {
        *fault = None;
    }
    match (verdict, moment) {
        (Verdict::Unknown(_), Moment::Read(_) | Moment::Scan(_)) => Verdict::Proceed,
        _ => verdict,
    }
}

fn subject(who: usize) -> Subject {
    Subject::patient(SUBJECTS[who]).unwrap()
}

fn id(who: usize, what: usize) -> RecordId {
    RecordId::new(subject(who), NAMES[what]).unwrap()
}

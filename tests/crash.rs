//! A process that is killed at any moment leaves what it acknowledged, and nothing half done.
//!
//! The child is this binary again. It runs every changing verb over a `FileStorage`, on two threads
//! with patients of their own, and says on its standard output before each verb what it begins and
//! after it what was acknowledged. `CHARTLOCK_CRASH_ROUNDS` sets how often it is killed.
#![cfg(feature = "file")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

#[path = "common/credential.rs"]
mod credential;
#[path = "common/scratch.rs"]
mod scratch;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chartlock::storage::FileStorage;
use chartlock::{Actor, Document, Error, Expected, Purpose, RecordId, Session, Subject, Vault};

use credential::Fixed;

const DIRECTORY: &str = "CHARTLOCK_CRASH_DIRECTORY";
const SEED: &str = "CHARTLOCK_CRASH_SEED";
/// Records of a patient; the last ones are written in batches only.
const NAMES: [&str; 8] = ["a", "b", "c", "large", "m0", "m1", "m2", "m3"];
/// Rounds on one directory, before it gets too long to compare.
const ROUNDS_EACH: u64 = 6;

#[test]
fn killed_at_any_moment() {
    let rounds = std::env::var("CHARTLOCK_CRASH_ROUNDS").map(|rounds| rounds.parse().unwrap());
    let rounds: u64 = rounds.unwrap_or(20);
    let mut random = Random::new();
    let mut killed_within = BTreeMap::<String, u64>::new();
    let mut acknowledged = 0;
    let mut scratch = None;
    let mut model = Model::default();
    for round in 0..rounds {
        if round % ROUNDS_EACH == 0 {
            scratch = Some(scratch::quick());
            model = Model::default();
        }
        let directory = scratch.as_ref().unwrap().path().join("vault");
        // Every other time not before something was acknowledged, however slow the machine.
        let awaited = ["done", "begin"][round as usize % 2];
        let lines = run_and_kill(&directory, random.next(), awaited);
        let (done, begun) = read_lines(&lines);
        acknowledged += done.len();
        for (verb, answer) in done {
            model.acknowledge(&verb, &answer);
        }
        for verb in begun.values() {
            let name = verb.split(' ').next().unwrap().to_owned();
            *killed_within.entry(name).or_default() += 1;
        }
        model.compare(&directory, &begun);
    }
    println!("{rounds} rounds, {acknowledged} verbs acknowledged, killed within {killed_within:?}");
    assert!(acknowledged > 0);
}

/// The child's part; of itself it does nothing.
#[test]
fn child() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    // One thread that fails must not leave the other at work.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let storage = FileStorage::open(directory).unwrap();
    let storage = std::sync::Arc::new(storage);
    let vault = match Vault::open(storage.clone(), &Fixed(1)) {
        Err(Error::NoVault) => say(0, "create", || Vault::create(storage, &Fixed(1)), ok),
        opened => opened.unwrap(),
    };
    thread::scope(|scope| {
        for thread in 0..2 {
            let vault = &vault;
            scope.spawn(move || work(vault, thread, Random(seed + thread)));
        }
    });
}

/// Says what is begun, does it, and says what came of it.
fn say<T>(
    thread: u64,
    verb: &str,
    run: impl FnOnce() -> Result<T, Error>,
    answer: impl FnOnce(&T) -> String,
) -> T {
    println!("{thread} begin {verb}");
    let done = run().unwrap();
    println!("{thread} done {}", answer(&done));
    done
}

fn ok<T>(_: &T) -> String {
    "ok".to_owned()
}

fn patients(thread: u64) -> [String; 2] {
    [0, 1].map(|patient| format!("patient-{thread}-{patient}"))
}

fn session(vault: &Vault) -> Session<'_> {
    vault.session(Actor::new("crash").unwrap(), Purpose::SystemAdministration)
}

/// Verbs without end: the parent ends them.
fn work(vault: &Vault, thread: u64, mut random: Random) {
    let chart = session(vault);
    for patient in patients(thread) {
        bring_back(&chart, thread, &patient);
    }
    loop {
        let patient = &patients(thread)[random.below(2) as usize];
        let subject = Subject::patient(patient).unwrap();
        // Long verbs are rare, or nearly every kill would come within one of them.
        let seed = random.next() >> 16;
        let id = |name: &str| RecordId::new(subject.clone(), name).unwrap();
        match random.below(40) {
            0..12 => {
                let id = id(NAMES[random.below(3) as usize]);
                let body = content(seed, false);
                let verb = format!("put {patient} {} {seed}", id.name());
                say(thread, &verb, || chart.put(&id, &body), u64::to_string);
            }
            12..15 => {
                let id = id("large");
                let body = content(seed, true);
                let verb = format!("put {patient} large {seed}");
                say(thread, &verb, || chart.put(&id, &body), u64::to_string);
            }
            15..18 => {
                let id = id("a");
                let body = content(seed, false);
                let now = chart.get(&id).unwrap();
                let expected = now.map_or(Expected::Absent, |now| Expected::Version(now.version()));
                let verb = format!("put {patient} a {seed}");
                say(
                    thread,
                    &verb,
                    || chart.put_if(&id, expected, &body),
                    u64::to_string,
                );
            }
            18..24 => {
                let ids: Vec<_> = NAMES[4..].iter().map(|name| id(name)).collect();
                let bodies: Vec<_> = (0..4).map(|index| content(seed + index, false)).collect();
                let batch = ids.iter().zip(bodies.iter().map(Document::from));
                let verb = format!("many {patient} {seed}");
                let put = || {
                    chart
                        .put_many(batch)?
                        .into_iter()
                        .collect::<Result<Vec<_>, _>>()
                };
                say(thread, &verb, put, ok);
            }
            24..28 => {
                let id = id(NAMES[random.below(4) as usize]);
                let verb = format!("remove {patient} {}", id.name());
                let answer = |removed: &Option<u64>| {
                    removed.map_or_else(|| "nothing".to_owned(), |version| version.to_string())
                };
                say(thread, &verb, || chart.remove(&id), answer);
            }
            28 if known(&chart, &subject) => {
                let verb = format!("erase {patient}");
                say(thread, &verb, || chart.erase_patient(&subject), ok);
                bring_back(&chart, thread, patient);
            }
            29 if known(&chart, &subject) => {
                let rotate = || vault.rotate_patient_key(&subject);
                let report = say(thread, "rotate-patient", rotate, ok);
                assert_eq!((report.blocking, report.orphaned), (0, 0));
            }
            32 if random.below(4) == 0 && known(&chart, &subject) => {
                let renew = || vault.reencrypt_patient(&subject);
                let report = say(thread, "reencrypt-patient", renew, ok);
                assert_eq!((report.blocking, report.orphaned), (0, 0));
            }
            34 if random.below(16) == 0 => drop(say(thread, "reencrypt", || vault.reencrypt(), ok)),
            35 => {
                let rotate = || vault.rotate_master_key();
                let report = say(thread, "rotate-master", rotate, ok);
                assert_eq!(report.entries_blocking, 0);
            }
            36 if thread == 0 => {
                let rotate = || vault.rotate_root_key(&[&Fixed(1)], &[]);
                say(thread, "rotate-root", rotate, ok);
            }
            37 if thread == 0 => {
                let slots = || {
                    let id = vault.add_slot(&Fixed(1))?;
                    vault.replace_slot(id, &Fixed(1))?;
                    vault.remove_slot(id)
                };
                say(thread, "slots", slots, ok);
            }
            _ => {}
        }
    }
}

fn known(chart: &Session<'_>, subject: &Subject) -> bool {
    chart
        .subjects()
        .unwrap()
        .any(|known| known.unwrap() == *subject)
}

/// A patient that an erasure took, or began to take, returns.
fn bring_back(chart: &Session<'_>, thread: u64, patient: &str) {
    let subject = Subject::patient(patient).unwrap();
    let id = RecordId::new(subject.clone(), "a").unwrap();
    match chart.get(&id) {
        Err(Error::Erased) => {}
        other => return drop(other.unwrap()),
    }
    let erase = || chart.erase_patient(&subject);
    say(thread, &format!("erase {patient}"), erase, ok);
    let readmit = || chart.readmit_patient(&subject);
    say(thread, &format!("readmit {patient}"), readmit, ok);
}

/// Starts the child, awaits a word of it, lets it work for a moment, and kills it. What it said.
fn run_and_kill(directory: &Path, seed: u64, awaited: &str) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(DIRECTORY, directory)
        .env(SEED, (seed >> 8).to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (heard, awaiting) = mpsc::channel();
    let awaited = format!(" {awaited} ");
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = thread::spawn(move || {
        let mut lines = Vec::new();
        for line in stdout.lines() {
            let line = line.unwrap();
            if line.contains(&awaited) {
                let _ = heard.send(());
            }
            lines.push(line);
        }
        lines
    });
    let silent = awaiting.recv().is_err();
    thread::sleep(Duration::from_micros(seed % 400_000));
    // An assertion that failed in the child must not pass for its being killed.
    let ended = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    if silent || ended.is_some() {
        let mut words = String::new();
        let mut stderr = child.stderr.take().unwrap();
        std::io::Read::read_to_string(&mut stderr, &mut words).unwrap();
        panic!("the child ended by itself: {words}");
    }
    reader.join().unwrap()
}

/// Verbs that were acknowledged, with their answers, and for each thread what it was in.
fn read_lines(lines: &[String]) -> (Vec<(String, String)>, BTreeMap<String, String>) {
    let mut done = Vec::new();
    let mut begun = BTreeMap::<String, String>::new();
    for line in lines {
        // The test runner's own words stand before the first of ours.
        let line = line.rsplit("... ").next().unwrap();
        if let Some((thread, verb)) = line.split_once(" begin ") {
            begun.insert(thread.to_owned(), verb.to_owned());
        } else if let Some((thread, answer)) = line.split_once(" done ") {
            let verb = begun.remove(thread).unwrap();
            done.push((verb, answer.to_owned()));
        }
    }
    (done, begun)
}

/// Versions of a record, each by a digest of its content; `None` for a retraction.
type Versions = Vec<Option<u64>>;

/// The records of a patient; `None` once erased.
type Chart = Option<BTreeMap<String, Versions>>;

#[derive(Default)]
struct Model {
    created: bool,
    charts: BTreeMap<String, Chart>,
}

impl Model {
    fn acknowledge(&mut self, verb: &str, answer: &str) {
        let words: Vec<_> = verb.split(' ').collect();
        if words[0] == "create" {
            self.created = true;
        }
        let Some(patient) = words.get(1) else { return };
        let chart = self
            .charts
            .entry((*patient).to_owned())
            .or_insert_with(begun_chart);
        let before = chart.clone();
        *chart = applied(&before, verb);
        // The answer names the version that is new.
        if let (Some(name), Ok(version)) = (words.get(2), answer.parse::<usize>()) {
            assert_eq!(chart.as_ref().unwrap()[*name].len(), version);
        } else if words[0] == "remove" {
            // Nothing was there to be retracted.
            let last = before
                .as_ref()
                .unwrap()
                .get(words[2])
                .and_then(|versions| versions.last());
            assert!(last.copied().flatten().is_none());
            *chart = before;
        }
    }

    /// Compares what stands with what was acknowledged and with what may have happened besides;
    /// takes that over.
    fn compare(&mut self, directory: &Path, begun: &BTreeMap<String, String>) {
        let storage = FileStorage::open(directory).unwrap();
        let vault = match Vault::open(storage, &Fixed(1)) {
            Ok(vault) => vault,
            Err(error) => {
                assert_eq!((error, self.created), (Error::NoVault, false));
                return;
            }
        };
        self.created = true;
        for patient in (0..2).flat_map(patients) {
            let before = self
                .charts
                .get(&patient)
                .cloned()
                .unwrap_or_else(begun_chart);
            let under_way = begun
                .values()
                .find(|verb| verb.split(' ').nth(1) == Some(&patient));
            let after = under_way.map_or_else(|| before.clone(), |verb| applied(&before, verb));
            let stands = standing(&vault, &patient);
            match &stands {
                None => assert!(before.is_none() || after.is_none(), "erased by nobody"),
                Some(records) => {
                    for name in NAMES {
                        let of = |chart: &Chart| {
                            chart.as_ref().map(|records| records.get(name).cloned())
                        };
                        let now = Some(records.get(name).cloned());
                        assert!(
                            now == of(&before) || now == of(&after),
                            "{name} within {under_way:?}: {now:?} for {:?}",
                            of(&before)
                        );
                    }
                }
            }
            self.charts.insert(patient, stands);
        }
        let census = vault.key_census().unwrap();
        assert_eq!(
            (census.unreadable_entries, census.unreadable_versions),
            (0, 0)
        );
    }
}

fn begun_chart() -> Chart {
    Some(BTreeMap::new())
}

/// The chart after a verb.
fn applied(before: &Chart, verb: &str) -> Chart {
    let words: Vec<_> = verb.split(' ').collect();
    let mut records = before.clone().unwrap_or_default();
    let mut put = |name: &str, version| records.entry(name.to_owned()).or_default().push(version);
    match words[0] {
        "erase" => return None,
        "readmit" => return begun_chart(),
        "put" => {
            let body = content(words[3].parse().unwrap(), words[2] == "large");
            put(words[2], Some(digest(&body)));
        }
        "many" => {
            let seed: u64 = words[2].parse().unwrap();
            for (index, name) in (0..).zip(&NAMES[4..]) {
                put(name, Some(digest(&content(seed + index, false))));
            }
        }
        "remove" => {
            let last = records.get(words[2]).and_then(|versions| versions.last());
            if last.is_some_and(Option::is_some) {
                records.get_mut(words[2]).unwrap().push(None);
            }
        }
        _ => {}
    }
    Some(records)
}

/// A patient's chart, by every verb that reads.
fn standing(vault: &Vault, patient: &str) -> Chart {
    let chart = session(vault);
    let subject = Subject::patient(patient).unwrap();
    let mut records = BTreeMap::new();
    for name in NAMES {
        let id = RecordId::new(subject.clone(), name).unwrap();
        let current = match chart.get(&id) {
            Err(Error::Erased) => return None,
            current => current.unwrap(),
        };
        let history = chart.history(&id).unwrap();
        let versions: Versions = (1..=history.len() as u64)
            .map(|version| {
                chart
                    .get_version(&id, version)
                    .unwrap()
                    .map(|record| digest(&record))
            })
            .collect();
        let last = versions.last().copied().flatten();
        assert_eq!(current.map(|record| digest(&record)), last);
        if !versions.is_empty() {
            records.insert(name.to_owned(), versions);
        }
    }
    let mut listed: Vec<_> = chart
        .list(&subject)
        .unwrap()
        .map(|info| info.unwrap().name().to_owned())
        .collect();
    listed.sort();
    let live = records
        .iter()
        .filter(|(_, versions)| versions.last().unwrap().is_some());
    assert_eq!(
        listed,
        live.map(|(name, _)| name.clone()).collect::<Vec<_>>()
    );
    Some(records)
}

fn digest(bytes: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}

fn content(seed: u64, large: bool) -> Vec<u8> {
    let mut random = Random(seed);
    let length = if large {
        65_537 + random.below(200_000)
    } else {
        random.below(3_000)
    };
    let mut bytes = Vec::with_capacity(length as usize + 8);
    while bytes.len() < length as usize {
        bytes.extend(random.next().to_le_bytes());
    }
    bytes.truncate(length as usize);
    bytes
}

/// Splitmix64; nothing here needs more.
struct Random(u64);

impl Random {
    fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Self(since.as_nanos() as u64)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

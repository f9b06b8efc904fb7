//! What is killed: every changing verb, on two threads with patients of their own.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use chartlock::{Checkpoint, Document, Error, Precondition, RecordId, Session, Subject, Vault};

use crate::common::{Fixed, session, subject};
use crate::content::{MISFILED, NAMES, Random, batch, content};
use crate::model::patients;
use crate::place;

pub(crate) const DIRECTORY: &str = "CHARTLOCK_CRASH_DIRECTORY";
pub(crate) const SEED: &str = "CHARTLOCK_CRASH_SEED";

/// Of itself it does nothing.
#[test]
fn works_until_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    // One thread that fails must not leave the other at work.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let vault = open_or_create(Path::new(&directory));
    thread::scope(|scope| {
        for thread in 0..2 {
            let vault = &vault;
            scope.spawn(move || work(vault, thread, Random(seed + thread)));
        }
    });
}

/// A vault that stands is opened, and where there is none one is created.
pub(crate) fn open_or_create(directory: &Path) -> Vault {
    let storage = place::open(directory).unwrap();
    match Vault::open(storage.clone(), &Fixed(1)) {
        Err(Error::NoVault) => say(0, "create", || Vault::create(storage, &Fixed(1)), ok),
        opened => opened.unwrap(),
    }
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

/// Takes in a line that [`say`] wrote: the verb that ended and its answer, if it tells of an end.
pub(crate) fn hear(line: &str, begun: &mut BTreeMap<String, String>) -> Option<(String, String)> {
    // The test runner's own words stand before the first of ours.
    let line = line.rsplit("... ").next().unwrap();
    if let Some((thread, verb)) = line.split_once(" begin ") {
        begun.insert(thread.to_owned(), verb.to_owned());
        return None;
    }
    let (thread, answer) = line.split_once(" done ")?;
    Some((begun.remove(thread).unwrap(), answer.to_owned()))
}

fn ok<T>(_: &T) -> String {
    "ok".to_owned()
}

/// Verbs without end: the parent ends them.
fn work(vault: &Vault, thread: u64, mut random: Random) {
    let chart = session(vault);
    // Every third child is busy with what takes long.
    let is_heavy = random.below(3) == 0;
    for patient in patients(thread) {
        bring_back(&chart, thread, &patient);
    }
    loop {
        let patient = &patients(thread)[random.below(2) as usize];
        if let Some(verb) = pick(&mut random, thread, is_heavy) {
            carry_out(vault, thread, patient, verb, &mut random);
        }
    }
}

/// Long verbs are rare, or nearly every kill would come within one of them.
fn pick(random: &mut Random, thread: u64, is_heavy: bool) -> Option<&'static str> {
    let number = match is_heavy {
        true => 28 + random.below(7),
        false => random.below(40),
    };
    let verb = match number {
        0..12 => "put",
        12..15 => "put-large",
        15..18 => "put-if",
        18..24 => "many",
        24..28 => "remove",
        28 => "erase",
        29 => "rotate-patient",
        30 if is_heavy || random.below(4) == 0 => "put-huge",
        31 if random.below(4) == 0 => "begin",
        32 if random.below(4) == 0 => "reencrypt-patient",
        33 => "collect",
        34 if random.below(16) == 0 => "reencrypt",
        35 => "rotate-master",
        36 if thread == 0 => "rotate-root",
        37 if thread == 0 => "slots",
        38 | 39 => "checkpoint",
        _ => return None,
    };
    Some(verb)
}

/// One verb that changes the vault.
pub(crate) fn carry_out(
    vault: &Vault,
    thread: u64,
    patient: &str,
    verb: &str,
    random: &mut Random,
) {
    let chart = session(vault);
    let subject = subject(patient);
    let seed = random.next() >> 16;
    let id = |name: &str| RecordId::new(subject.clone(), name).unwrap();
    match verb {
        "put" => {
            let id = id(NAMES[random.below(3) as usize]);
            let body = content(seed, id.name());
            let verb = format!("put {patient} {} {seed}", id.name());
            say(thread, &verb, || chart.put(&id, &body), u64::to_string);
        }
        "put-large" => {
            let id = id("large");
            let body = content(seed, "large");
            let verb = format!("put {patient} large {seed}");
            say(thread, &verb, || chart.put(&id, &body), u64::to_string);
        }
        "put-if" => {
            let id = id("a");
            let body = content(seed, "a");
            let now = chart.get(&id).unwrap();
            let expected = now.map_or(Precondition::Absent, |now| {
                Precondition::Version(now.version())
            });
            let verb = format!("put {patient} a {seed}");
            let put = || chart.put_if(&id, expected, &body);
            say(thread, &verb, put, u64::to_string);
        }
        "many" => {
            let ids: Vec<_> = batch().iter().map(|name| id(name)).collect();
            let bodies = (0..).zip(batch());
            let bodies: Vec<_> = bodies
                .map(|(index, name)| content(seed + index, name))
                .collect();
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
        "remove" => {
            let id = id(NAMES[random.below(4) as usize]);
            let verb = format!("remove {patient} {}", id.name());
            let answer = |removed: &Option<u64>| {
                removed.map_or_else(|| "nothing".to_owned(), |version| version.to_string())
            };
            say(thread, &verb, || chart.retract(&id), answer);
        }
        "put-huge" => {
            let id = id("huge");
            let body = content(seed, "huge");
            let verb = format!("put {patient} huge {seed}");
            let put = || chart.put_reader(&id, Pieces(&body, Random(seed)));
            say(thread, &verb, put, u64::to_string);
        }
        "begin" => {
            let body = content(seed, "huge");
            let begin = || {
                let mut writer = chart.writer(&id("huge"));
                writer.write_all(&body).map(|()| drop(writer)).unwrap();
                Ok(())
            };
            say(thread, &format!("begin {patient}"), begin, ok);
        }
        "erase" if known(&chart, &subject) => {
            let verb = format!("erase {patient}");
            let erase = || chart.erase_subject(&subject, "asked for");
            say(thread, &verb, erase, ok);
            bring_back(&chart, thread, patient);
        }
        "rotate-patient" if known(&chart, &subject) => {
            let rotate = || vault.rotate_subject_key(&subject);
            let report = say(thread, "rotate-patient", rotate, ok);
            assert_eq!((report.blocking, report.orphaned), (0, 0));
        }
        "reencrypt-patient" if known(&chart, &subject) => {
            let renew = || vault.reencrypt_subject(&subject);
            let report = say(thread, "reencrypt-patient", renew, ok);
            assert_eq!((report.blocking, report.orphaned), (0, 0));
        }
        "erase" | "rotate-patient" | "reencrypt-patient" => {}
        "misfile" => {
            let body = content(seed, MISFILED);
            let put = || chart.put(&id(MISFILED), &body);
            say(thread, &format!("misfile {patient} {seed}"), put, ok);
        }
        "expunge" => {
            let expunge = || chart.expunge(&id(MISFILED), "of another patient");
            say(thread, &format!("expunge {patient}"), expunge, ok);
        }
        "hold" => {
            let hold = || chart.place_hold(&subject, "subpoena");
            say(thread, &format!("hold {patient}"), hold, ok);
        }
        "release" => {
            let release = || {
                let holds = chart.holds(&subject)?;
                chart.lift_hold(&subject, holds[0].id)
            };
            say(thread, &format!("release {patient}"), release, ok);
        }
        "retain" => {
            let day = Duration::from_secs(86_400 * (1 + seed % 10_000));
            let retain = || chart.retain_until(&subject, Some(UNIX_EPOCH + day));
            let verb = format!("retain {patient} {}", day.as_secs());
            say(thread, &verb, retain, ok);
        }
        _ => keep_house(vault, thread, verb),
    }
}

/// A verb that is not about one patient.
fn keep_house(vault: &Vault, thread: u64, verb: &str) {
    match verb {
        "collect" => drop(say(thread, verb, || vault.collect_garbage(), ok)),
        "reencrypt" => drop(say(thread, verb, || vault.reencrypt(), ok)),
        "rotate-master" => {
            let report = say(thread, verb, || vault.rotate_master_key(), ok);
            assert_eq!(report.entries_blocking, 0);
        }
        "rotate-root" => {
            let rotate = || vault.rotate_root_key(&[&Fixed(1)], &[]);
            say(thread, verb, rotate, ok);
        }
        "slots" => {
            let slots = || {
                let id = vault.add_slot(&Fixed(1))?;
                vault.replace_slot(id, &Fixed(1))?;
                vault.remove_slot(id)
            };
            say(thread, verb, slots, ok);
        }
        "checkpoint" => {
            let pin = || vault.checkpoint();
            say(thread, verb, pin, Checkpoint::to_string);
        }
        _ => panic!("no such verb: {verb}"),
    }
}

fn known(chart: &Session, subject: &Subject) -> bool {
    chart
        .subjects()
        .unwrap()
        .any(|known| known.unwrap() == *subject)
}

/// A patient that an erasure took, or began to take, returns.
fn bring_back(chart: &Session, thread: u64, patient: &str) {
    let subject = subject(patient);
    let id = RecordId::new(subject.clone(), "a").unwrap();
    match chart.get(&id) {
        Err(Error::Erased) => {}
        other => return drop(other.unwrap()),
    }
    let erase = || chart.erase_subject(&subject, "asked for");
    say(thread, &format!("erase {patient}"), erase, ok);
    let reopen = || chart.reopen_chart(&subject);
    say(thread, &format!("readmit {patient}"), reopen, ok);
}

/// Gives content as a network does: as much as has come.
struct Pieces<'a>(&'a [u8], Random);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let some = 1 + self.1.below(100_000);
        self.0.by_ref().take(some).read(out)
    }
}

//! What is killed: every changing verb, on two threads with patients of their own.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

use chartlock::storage::FileStorage;
use chartlock::{Checkpoint, Document, Error, Expected, RecordId, Session, Subject, Vault};

use crate::content::{NAMES, Random, batch, content};
use crate::credential::Fixed;
use crate::model::{patients, session};

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
    let storage = FileStorage::open(directory).unwrap();
    let storage = Arc::new(storage);
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
        let subject = Subject::patient(patient).unwrap();
        // Long verbs are rare, or nearly every kill would come within one of them.
        let seed = random.next() >> 16;
        let id = |name: &str| RecordId::new(subject.clone(), name).unwrap();
        let verb = match is_heavy {
            true => 28 + random.below(7),
            false => random.below(40),
        };
        match verb {
            0..12 => {
                let id = id(NAMES[random.below(3) as usize]);
                let body = content(seed, id.name());
                let verb = format!("put {patient} {} {seed}", id.name());
                say(thread, &verb, || chart.put(&id, &body), u64::to_string);
            }
            12..15 => {
                let id = id("large");
                let body = content(seed, "large");
                let verb = format!("put {patient} large {seed}");
                say(thread, &verb, || chart.put(&id, &body), u64::to_string);
            }
            15..18 => {
                let id = id("a");
                let body = content(seed, "a");
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
            24..28 => {
                let id = id(NAMES[random.below(4) as usize]);
                let verb = format!("remove {patient} {}", id.name());
                let answer = |removed: &Option<u64>| {
                    removed.map_or_else(|| "nothing".to_owned(), |version| version.to_string())
                };
                say(thread, &verb, || chart.remove(&id), answer);
            }
            30 if is_heavy || random.below(4) == 0 => {
                let id = id("huge");
                let body = content(seed, "huge");
                let verb = format!("put {patient} huge {seed}");
                let put = || chart.put_reader(&id, Pieces(&body, Random(seed)));
                say(thread, &verb, put, u64::to_string);
            }
            31 if random.below(4) == 0 => {
                let body = content(seed, "huge");
                let begin = || {
                    let mut writer = chart.writer(&id("huge"));
                    writer.write_all(&body).map(|()| drop(writer)).unwrap();
                    Ok(())
                };
                say(thread, &format!("begin {patient}"), begin, ok);
            }
            33 => drop(say(thread, "collect", || vault.collect_garbage(), ok)),
            28 if known(&chart, &subject) => {
                let verb = format!("erase {patient}");
                say(
                    thread,
                    &verb,
                    || chart.erase_patient(&subject, "asked for"),
                    ok,
                );
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
            38 | 39 => {
                let pin = || vault.checkpoint();
                say(thread, "checkpoint", pin, Checkpoint::to_string);
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
    let erase = || chart.erase_patient(&subject, "asked for");
    say(thread, &format!("erase {patient}"), erase, ok);
    let readmit = || chart.readmit_patient(&subject);
    say(thread, &format!("readmit {patient}"), readmit, ok);
}

/// Gives content as a network does: as much as has come.
struct Pieces<'a>(&'a [u8], Random);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let some = 1 + self.1.below(100_000);
        self.0.by_ref().take(some).read(out)
    }
}

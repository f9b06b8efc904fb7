//! Benchmark of a report on one patient's records over a large journal, without a time range and for one
//! month.
//!
//! Fills a journal with entries of reads over two years, 200 on a page, and then runs the reports. Prints pages,
//! storage calls, bytes, time, CPU time of this process and its peak memory. `CHARTLOCK_ENTRIES` sets
//! the number of entries; with `CHARTLOCK_POSTGRES`, the journal is in PostgreSQL.
#![allow(
    missing_docs,
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the shared helpers are those of the tests"
)]

#[path = "../tests/common/clock.rs"]
mod clock;
#[path = "../tests/common/counting.rs"]
mod counting;
#[path = "../tests/common/credential.rs"]
mod credential;
#[cfg(feature = "postgres")]
#[path = "../tests/common/postgres_server.rs"]
mod postgres_server;
#[path = "common/ratio.rs"]
mod ratio;
#[cfg(feature = "postgres")]
#[path = "../tests/common/server_process.rs"]
mod server_process;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chartlock::access::AccessOutcome;
use chartlock::audit::{AccessReport, TimeRange, Timestamp};
use chartlock::internals::crypto::{name_tag, subject_tag};
use chartlock::internals::journal::{
    Act, Context, RecordRef, SubjectRef, Target, WriteTime, Writer,
};
use chartlock::internals::keys::Header;
use chartlock::internals::vault::sealer;
use chartlock::storage::{MemoryStorage, Storage};
use chartlock::{Actor, Operation, Purpose, Subject, VaultOptions};
use clock::ManualClock;
use counting::Counting;
use credential::Fixed;
use ratio::human;

const ENTRIES_PER_PAGE: i64 = 200;
const PATIENTS: i64 = 20_000;
const DAY: i64 = 24 * 60 * 60 * 1000;
/// 2024-01-01.
const START: i64 = 1_704_067_200_000;
const DAYS: i64 = 730;

fn patient(number: i64) -> Subject {
    Subject::patient(&format!("MRN-{number:06}")).unwrap()
}

/// Writes entries of two years. Each visit of a patient reads ten records, so a page is about 20
/// patients.
fn fill(storage: &Arc<dyn Storage>, entries: i64) {
    let value = storage.read(&[b"v"]).unwrap().pop().flatten().unwrap();
    let header = Header::parse(&value.value).unwrap();
    let keyring = header.unlock(&Fixed(1)).unwrap().keyring;
    let key = keyring.first_journal_key();
    let sealer = sealer(header.suite(), header.vault(), &keyring);
    let writer = Writer::new(Arc::clone(storage), sealer);
    let context = Context {
        actor: "dr.garcia".into(),
        purpose: Purpose::Treatment.code().into(),
        ..Context::default()
    };
    let act = Act::new(Arc::new(context), Operation::Read, "");
    let name = name_tag(key, "Observation/bp").unwrap();
    for number in 0..entries {
        let at = START
            + i64::try_from(i128::from(number) * i128::from(DAYS * DAY) / i128::from(entries))
                .unwrap();
        // Spread the visits of one patient over the two years.
        let visitor = patient(number / 10 * 7919 % PATIENTS);
        let tag = subject_tag(key, visitor.kind(), visitor.identifier()).unwrap();
        let chart = tag;
        let target = Target::Record {
            subject: SubjectRef { chart, tag },
            record: RecordRef { tag: [7; 16], name },
            version: 1,
        };
        let draft = act.draft(at, target, AccessOutcome::Done);
        let time = WriteTime {
            now: at,
            uptime: Duration::ZERO,
        };
        writer.note(draft, time.uptime).unwrap();
        if (number + 1) % ENTRIES_PER_PAGE == 0 || number + 1 == entries {
            writer.flush_all(time).unwrap();
        }
    }
}

/// Returns a number of kilobytes from the status of this process.
fn memory(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Returns the CPU time of this process.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace()
        .collect();
    let ticks = |at: usize| fields.get(at).and_then(|ticks| ticks.parse::<f64>().ok());
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

fn ask(name: &str, storage: &Counting<Arc<dyn Storage>>, report: impl Fn() -> AccessReport) {
    // Resets the peak.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (resident, before, began) = (memory("VmRSS"), cpu(), Instant::now());
    let mut found = None;
    let cost = storage.cost_of(|| found = Some(report()));
    let (wall, cpu) = (began.elapsed().as_secs_f64(), cpu() - before);
    let found = found.unwrap();
    assert!(found.unreadable.is_empty());
    println!(
        "{name:<34} accesses {:>6} passed over {:>7} calls {:>6} objects {:>7} MB {:>8.1} wall {:>9} CPU {:>9} memory +{} MB",
        found.accesses.len(),
        found.pages_passed_over,
        cost.calls,
        cost.objects,
        cost.bytes as f64 / 1e6,
        human(wall),
        human(cpu),
        memory("VmHWM").saturating_sub(resident) / 1024,
    );
}

fn run(storage: Arc<dyn Storage>, entries: i64) {
    let clock = Arc::new(ManualClock::at(START - DAY));
    let options = VaultOptions::new().clock(clock.clone());
    drop(
        options
            .clone()
            .create(Arc::clone(&storage), &Fixed(1))
            .unwrap(),
    );
    clock.set_calendar(START + DAYS * DAY);
    let began = Instant::now();
    fill(&storage, entries);
    println!(
        "{entries} entries written in {}",
        human(began.elapsed().as_secs_f64())
    );
    let counting = Arc::new(Counting::new(storage));
    let vault = options.open(counting.clone(), &Fixed(1)).unwrap();
    let office = vault.session(Actor::new("privacy.office").unwrap(), Purpose::Operations);
    let subject = patient(0);
    let about = |between: TimeRange| office.audit().unwrap().accesses(&subject, between).unwrap();
    let month = START + 400 * DAY;
    let month = Timestamp::from_millis(month)..Timestamp::from_millis(month + 30 * DAY);
    ask("first report, one month", &counting, || {
        about(month.clone().into())
    });
    ask("one month", &counting, || about(month.clone().into()));
    ask("all the time", &counting, || about((..).into()));
    let next = |skip: usize| {
        let mut cursor = None;
        let pages = skip / 100 + 1;
        let mut costs = Vec::new();
        for _ in 0..pages {
            let began = Instant::now();
            let cost = counting.cost_of(|| {
                let mut page = office.audit().unwrap().entries_about(&subject, ..).unwrap();
                if let Some(cursor) = &cursor {
                    page = page.after(cursor).unwrap();
                }
                assert!(page.by_ref().take(100).all(|item| item.is_ok()));
                cursor = Some(page.cursor().unwrap());
            });
            costs.push((began.elapsed(), cost));
        }
        costs
    };
    for (page, (wall, cost)) in next(300).into_iter().enumerate() {
        let wall = human(wall.as_secs_f64());
        println!("page {page} of 100 entries: {wall}, {cost:?}");
    }
}

fn main() {
    let entries = std::env::var("CHARTLOCK_ENTRIES").ok();
    let entries = entries
        .and_then(|entries| entries.parse().ok())
        .unwrap_or(200_000);
    #[cfg(feature = "postgres")]
    if std::env::var_os("CHARTLOCK_POSTGRES").is_some() {
        if let Some(server) = postgres_server::Server::start() {
            run(Arc::new(server.storage()), entries);
        }
        return;
    }
    run(Arc::new(MemoryStorage::new()), entries);
}

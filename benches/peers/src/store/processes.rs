//! Child processes that write to a store: some are killed, others write concurrently.

use std::env;
use std::io::{BufRead, BufReader, Lines, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result};
use chartlock::storage::FileOptions;
use serde::{Deserialize, Serialize};

use super::load::{BATCH, Load};
use super::peers::{Item, Ours, Peer, PlainSqlite, Sharing, SqlCipher, check};
use super::works::{self, Patients};
use super::{STORE, again};
use crate::Run;
use crate::measure::{Contender, Row, Stopwatch, Time, interleave};

/// The environment variable with the task of a child process, as JSON. The parent process sets the
/// variable for that child only.
const TASK: &str = "CHARTLOCK_PEERS_TASK";
/// The number of processes, of threads in each process, and of puts by all processes in a round.
const PROCESSES: usize = 2;
const THREADS: usize = 4;
const PUTS: usize = 240;
const ROUNDS: usize = 25;
/// The number of records that each store contains before puts are measured.
const EXISTING: usize = 3000;

/// The kind of store that a child process opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Ours,
    /// chartlock with `FileOptions::shared`.
    OursShared,
    SqlCipher,
    PlainSqlite,
}

impl Kind {
    pub(super) fn create(self, directory: &Path) -> Result<Box<dyn Peer>> {
        Ok(match self {
            Self::Ours => Box::new(Ours::create(directory)?),
            Self::OursShared => Box::new(Ours::create_with(directory, shared())?),
            Self::SqlCipher => Box::new(SqlCipher::create(directory, Sharing::Own)?),
            Self::PlainSqlite => Box::new(PlainSqlite::create(directory)?),
        })
    }

    pub(super) fn open(self, directory: &Path) -> Result<Box<dyn Peer>> {
        Ok(match self {
            Self::Ours => Box::new(Ours::open(directory)?),
            Self::OursShared => Box::new(Ours::open_with(directory, shared())?),
            Self::SqlCipher => Box::new(SqlCipher::open(directory)?),
            Self::PlainSqlite => Box::new(PlainSqlite::open(directory)?),
        })
    }
}

fn shared() -> FileOptions {
    FileOptions::new().shared()
}

/// The task of a child process. The process opens a store, and puts the records whose numbers it reads
/// from standard input, one range in each line. For each range, the process prints the time.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Task {
    kind: Kind,
    directory: PathBuf,
    /// The number of records of the load, in pieces of 1 KiB.
    records: usize,
    /// The number of threads that put single records. If absent, one thread puts batches.
    threads: Option<usize>,
}

/// Returns the task of this process if the parent process set one.
pub(super) fn task() -> Result<Option<Task>> {
    let task = env::var(TASK).ok();
    let task = task.map(|task| serde_json::from_str(&task).context(TASK));
    task.transpose()
}

/// Runs a task until the end of standard input.
pub(super) fn run_task(run: &Run<'_>, task: &Task) -> Result<()> {
    let load = Load::pieces(run.clinic, 1024, task.records)?;
    let peer = task.kind.open(&task.directory)?;
    let handles = (0..task.threads.unwrap_or(1)).map(|_| peer.handle());
    let mut handles = handles.collect::<Result<Vec<_>>>()?;
    for line in std::io::stdin().lines() {
        let (from, end) = serde_json::from_str(&line?)?;
        let time = match (task.threads, handles.as_mut_slice()) {
            (None, [handle]) => works::put_batch(&mut **handle, &load, from..end, Load::later_id)?,
            (_, handles) => {
                let ids = (from..end).map(|number| load.later_id(number));
                let ids = ids.collect::<Result<Vec<_>>>()?;
                let contents = (from..end).map(|number| load.content(number));
                let items: Vec<Item<'_>> = ids.iter().zip(contents).collect();
                works::side_by_side(handles, &items, Patients::Known)?
            }
        };
        println!("{}", serde_json::to_string(&time)?);
    }
    Ok(())
}

/// A running child process.
pub(super) struct Writer {
    child: Child,
    ranges: ChildStdin,
    times: Lines<BufReader<ChildStdout>>,
}

impl Writer {
    /// Starts a process that writes to an existing store.
    pub(super) fn start(task: &Task) -> Result<Self> {
        let mut child = again::only(STORE)?
            .env(TASK, serde_json::to_string(task)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let ranges = child.stdin.take().context("the process has no input")?;
        let times = child.stdout.take().context("the process has no output")?;
        let times = BufReader::new(times).lines();
        Ok(Self {
            child,
            ranges,
            times,
        })
    }

    /// Asks the process to put a range of records.
    fn ask(&mut self, from: usize, end: usize) -> Result<()> {
        Ok(writeln!(self.ranges, "[{from},{end}]")?)
    }

    /// Waits until the process has put the range, and returns its time.
    fn time(&mut self) -> Result<Time> {
        let time = self.times.next().context("the process has ended")??;
        Ok(serde_json::from_str(&time)?)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts batches of records in another process, and kills that process as soon as the last batch is
/// acknowledged.
pub(super) fn put_and_kill(
    kind: Kind,
    directory: &Path,
    records: usize,
    (from, end): (usize, usize),
) -> Result<()> {
    let mut writer = Writer::start(&Task {
        kind,
        directory: directory.to_owned(),
        records,
        threads: None,
    })?;
    for from in (from..end).step_by(BATCH) {
        writer.ask(from, end.min(from + BATCH))?;
        writer.time()?;
    }
    Ok(())
}

/// Measures durable single puts of eight threads in two processes.
pub(super) fn puts(run: &Run<'_>) -> Result<Vec<Row>> {
    let directory = run.scratch.join("processes");
    std::fs::create_dir(&directory)?;
    let load = Load::pieces(run.clinic, 1024, EXISTING)?;
    let kinds = [Kind::OursShared, Kind::SqlCipher, Kind::PlainSqlite];
    let stores = kinds.map(|kind| (kind, directory.join(format!("{kind:?}"))));
    for (kind, directory) in &stores {
        works::fill(&*kind.create(directory)?, &load, EXISTING)?;
    }
    let contenders = stores
        .iter()
        .map(|(kind, store)| concurrent_puts(*kind, store));
    let mut contenders = contenders.collect::<Result<Vec<_>>>()?;
    let rounds = run.rounds(ROUNDS);
    let series = interleave(&mut contenders, rounds)?;
    drop(contenders);
    let put = PUTS * (rounds + 1);
    for (kind, directory) in &stores {
        let ids = (0..put).map(|number| load.later_id(number));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let contents = (0..put).map(|number| load.content(number));
        check(&*kind.open(directory)?, ids.iter().zip(contents))?;
    }
    std::fs::remove_dir_all(&directory)?;
    let work = "durable single put of 1 KiB, 8 threads in 2 processes";
    Ok(works::rows(work, &series, None))
}

/// Creates a contender whose processes put records at the same time. The contender's time is the time of
/// one put.
fn concurrent_puts(kind: Kind, directory: &Path) -> Result<Contender<'static>> {
    let task = Task {
        kind,
        directory: directory.to_owned(),
        records: EXISTING,
        threads: Some(THREADS),
    };
    let writers = (0..PROCESSES).map(|_| Writer::start(&task));
    let mut writers = writers.collect::<Result<Vec<_>>>()?;
    let mut next = 0;
    let name = match kind {
        Kind::Ours | Kind::OursShared => "chartlock",
        Kind::SqlCipher => "SQLCipher",
        Kind::PlainSqlite => "plain SQLite",
    };
    Ok(Contender::new(name, move || {
        let start = Stopwatch::start();
        for writer in &mut writers {
            writer.ask(next, next + PUTS / PROCESSES)?;
            next += PUTS / PROCESSES;
        }
        let mut time = Time::default();
        for writer in &mut writers {
            time.cpu += writer.time()?.cpu;
        }
        time.wall = start.elapsed().wall;
        Ok(time / PUTS as u32)
    }))
}

//! Measurement of growth: time and memory with a hundred times as many records.

use std::cell::Cell;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::load::Load;
use super::peers::{Ours, Peer};
use super::works::Patients;
use super::{again, table, thousands, works};
use crate::Run;
use crate::measure::{Contender, Quantity, Ratio, Row, Side, Table, Target, interleave};

/// The environment variable with the path of the file to which the measured child process writes
/// its memory use. The parent process sets the variable for that child only.
const MEMORY: &str = "CHARTLOCK_PEERS_MEMORY";
/// The environment variable that overrides the number of records in the large store.
const RECORDS: &str = "CHARTLOCK_PEERS_RECORDS";

const SMALL: usize = 30_000;
const ROUNDS: usize = 31;
const LATER: usize = 1_000_000;
/// The maximum ratio of the large store's time to the small store's time, for gets and for puts.
const GET_LIMIT: f64 = 2.0;
const PUT_LIMIT: f64 = 1.3;
/// The default cache of `FileStorage`, in bytes.
const CACHE_BYTES: usize = 16 << 20;
/// The maximum memory in addition to the cache, in bytes.
const MEMORY_LIMIT: f64 = (48 << 20) as f64;

pub(super) fn tables(run: &Run<'_>) -> Result<Vec<Table>> {
    let large = match env::var(RECORDS) {
        Ok(records) => records.parse().context(RECORDS)?,
        Err(_) if run.quick => 300_000,
        Err(_) => 3_000_000,
    };
    if let Some(place) = env::var_os(MEMORY).map(PathBuf::from) {
        leave_memory(run, large, &place)?;
        return Ok(Vec::new());
    }
    let directory = run.scratch.join("growth");
    fs::create_dir(&directory)?;
    let mut rows = vec![memory(&directory, large)?];
    rows.extend(times(run, &directory, large)?);
    Ok(vec![table(
        "growth",
        "Growth",
        include_str!("growth.md"),
        rows,
    )])
}

/// Fills a vault in a separate process and returns a row with that process's memory use.
fn memory(directory: &Path, records: usize) -> Result<Row> {
    let place = directory.join("memory");
    let status = again::only(super::GROWTH)?.env(MEMORY, &place).status()?;
    ensure!(status.success(), "filling the vault failed");
    let resident: f64 = fs::read_to_string(&place)?.trim().parse()?;
    let side = |name: &str, bytes| Side::new(name, Quantity::Bytes(bytes));
    let beside = resident - CACHE_BYTES as f64;
    let work = format!("memory beside the cache, {} records", thousands(records));
    let ratio = Ratio::exact(beside / MEMORY_LIMIT);
    let limit = side("limit", MEMORY_LIMIT);
    let target = Some(Target::AtMost(1.0));
    Ok(Row::new(
        work,
        side("chartlock", beside),
        limit,
        ratio,
        target,
    ))
}

/// Fills, reads and writes the vault, then stores the increase in resident memory in the file
/// `place`. Runs in the measured child process.
fn leave_memory(run: &Run<'_>, records: usize, place: &Path) -> Result<()> {
    let directory = place.with_file_name("large");
    // Measure before the vault exists, when the process contains only the clinic's documents.
    let before = resident()?;
    let load = Load::resources(run.clinic, records)?;
    let vault = Ours::create(&directory)?;
    works::fill(&vault, &load, records)?;
    let next = Cell::new(0);
    let mut contenders = [
        works::gets(&vault, &load, records)?,
        works::puts(&vault, &load, (8, Patients::Known), &next)?,
    ];
    interleave(&mut contenders, ROUNDS)?;
    fs::write(place, (resident()? - before).to_string())?;
    Ok(())
}

/// Returns the resident memory of this process in bytes.
fn resident() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kib: u64 = kib
        .context("the system does not report the resident set")?
        .trim()
        .parse()?;
    Ok(kib << 10)
}

fn times(run: &Run<'_>, directory: &Path, records: usize) -> Result<Vec<Row>> {
    let few = Load::resources(run.clinic, SMALL)?;
    let mut small = Ours::create(&directory.join("small"))?;
    works::fill(&small, &few, SMALL)?;
    small.reopen()?;
    let many = Load::resources(run.clinic, records)?;
    let large = Ours::open(&directory.join("large"))?;
    works::check_some(&large, &many, records)?;
    works::check_some(&small, &few, SMALL)?;
    let gets = [
        works::gets(&large, &many, records),
        works::gets(&small, &few, SMALL),
    ];
    let mut rows = vec![row(run, "random warm get", gets, (records, GET_LIMIT))?];
    // Skip the record numbers that the measured process used, because these records exist already.
    let next = [Cell::new(LATER), Cell::new(LATER)];
    let [of_large, of_small] = &next;
    let puts = [
        works::puts(&large, &many, (1, Patients::Known), of_large),
        works::puts(&small, &few, (1, Patients::Known), of_small),
    ];
    rows.push(row(run, "durable single put", puts, (records, PUT_LIMIT))?);
    Ok(rows)
}

fn row(
    run: &Run<'_>,
    work: &str,
    [large, small]: [Result<Contender<'_>>; 2],
    (records, limit): (usize, f64),
) -> Result<Row> {
    let mut contenders = [large?, small?];
    let series = interleave(&mut contenders, run.rounds(ROUNDS))?;
    let [large, small] = series.as_slice() else {
        bail!("expected two series");
    };
    let side = |records: usize, series| Side {
        name: format!("at {} records", thousands(records)),
        ..Side::from(series)
    };
    Ok(Row::new(
        work.to_owned(),
        side(records, large),
        side(SMALL, small),
        Ratio::of(small, large),
        Some(Target::AtMost(limit)),
    ))
}

//! Measurements of upkeep: opening after a kill, backups of an open store, and the bytes that puts write.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::load::{BATCH, Load};
use super::peers::{Peer, check};
use super::processes::{self, Kind};
use super::{thousands, works};
use crate::Run;
use crate::measure::{Contender, Quantity, Row, Side, Stopwatch, interleave};

const KINDS: [Kind; 3] = [Kind::Ours, Kind::SqlCipher, Kind::PlainSqlite];
/// The number of records of each store.
const RECORDS: usize = 30_000;
/// The number of records that a process puts before it is killed.
const PUTS: usize = 3 * BATCH;
const KILLS: usize = 9;
const BACKUPS: usize = 7;
/// The number of single puts whose written bytes are counted.
const COUNTED: usize = 5000;
/// The maximum ratio of the bytes that chartlock writes to those that SQLCipher writes.
const WRITTEN_LIMIT: f64 = 1.2;

pub(super) fn measure(run: &Run<'_>) -> Result<Vec<Row>> {
    let directory = run.scratch.join("upkeep");
    fs::create_dir(&directory)?;
    let load = Load::pieces(run.clinic, 1024, RECORDS)?;
    let stores = KINDS.map(|kind| (kind, directory.join(format!("{kind:?}"))));
    for (kind, store) in &stores {
        works::fill(&*kind.create(store)?, &load, RECORDS)?;
    }
    let kills = stores
        .iter()
        .map(|(kind, store)| after_kills(*kind, store, &load));
    let mut kills = kills.collect::<Result<Vec<_>>>()?;
    let work = format!(
        "open after kill -9, {} records, and get one",
        thousands(RECORDS)
    );
    let series = interleave(&mut kills, run.rounds(KILLS))?;
    let mut rows = works::rows(&work, &series, None);
    drop(kills);
    let open = stores.iter().map(|(kind, store)| kind.open(store));
    let open = open.collect::<Result<Vec<_>>>()?;
    let copies = stores.iter().zip(&open);
    let mut copies: Vec<_> = copies
        .map(|((kind, store), peer)| backups(*kind, &**peer, store, &load))
        .collect();
    let work = format!("backup of the open store, {} records", thousands(RECORDS));
    let series = interleave(&mut copies, run.rounds(BACKUPS))?;
    rows.extend(works::rows(&work, &series, None));
    drop(copies);
    drop(open);
    rows.extend(written(&stores, &load)?);
    fs::remove_dir_all(&directory)?;
    Ok(rows)
}

/// Creates a contender that opens a store after the process that wrote to it was killed, and reads the
/// last acknowledged record.
fn after_kills<'a>(kind: Kind, directory: &'a Path, load: &'a Load<'_>) -> Result<Contender<'a>> {
    let mut next = 0;
    let name = kind.open(directory)?.name();
    Ok(Contender::new(name, move || {
        let end = next + PUTS;
        processes::put_and_kill(kind, directory, RECORDS, (next, end))?;
        next = end;
        let last = (load.later_id(end - 1)?, load.content(end - 1));
        let start = Stopwatch::start();
        let peer = kind.open(directory)?;
        check(&*peer, [(&last.0, last.1)].into_iter())?;
        Ok(start.elapsed())
    }))
}

/// Creates a contender that copies an open store, and checks some records of the copy.
fn backups<'a>(
    kind: Kind,
    peer: &'a dyn Peer,
    store: &'a Path,
    load: &'a Load<'_>,
) -> Contender<'a> {
    let copy = store.with_file_name(format!("copy-{kind:?}"));
    Contender::new(peer.name(), move || {
        let start = Stopwatch::start();
        peer.backup(&copy)?;
        let time = start.elapsed();
        if matches!(kind, Kind::Ours) {
            fs::copy(store.with_extension("key"), copy.with_extension("key"))?;
        }
        works::check_some(&*kind.open(&copy)?, load, RECORDS)?;
        fs::remove_dir_all(&copy)?;
        Ok(time)
    })
}

/// Compares the bytes that this process writes for durable single puts, including the checkpoint of the
/// log.
fn written(stores: &[(Kind, std::path::PathBuf)], load: &Load<'_>) -> Result<Vec<Row>> {
    let mut sides = Vec::new();
    for (kind, store) in stores {
        let mut peer = kind.open(store)?;
        let mut handle = peer.handle()?;
        // Start above the numbers of the killed processes, so that each record is new.
        let first = 1_000_000;
        let before = written_bytes()?;
        for number in first..first + COUNTED {
            handle.put((&load.later_id(number)?, load.content(number)))?;
        }
        drop(handle);
        peer.reopen()?;
        let bytes = (written_bytes()? - before) as f64 / COUNTED as f64;
        sides.push((peer.name(), bytes));
    }
    let side = |(name, bytes): &(&str, f64)| Side::new(*name, Quantity::Bytes(*bytes));
    let (ours, rivals) = sides.split_first().context("no store was measured")?;
    ensure!(ours.1 > 1024.0, "the system does not count written bytes");
    let work = "bytes written for a durable put of 1 KiB";
    let rows = rivals.iter().map(|rival| match rival.0 {
        "SQLCipher" => Row::limited(work, side(ours), side(rival), WRITTEN_LIMIT),
        _ => Row::compared(work, side(ours), side(rival)),
    });
    Ok(rows.collect())
}

/// Returns the number of bytes that this process has passed to the system for writing.
fn written_bytes() -> Result<u64> {
    let counts = fs::read_to_string("/proc/self/io")?;
    let bytes = counts.lines().find_map(|line| line.strip_prefix("wchar: "));
    let bytes = bytes.context("the system does not count written bytes")?;
    Ok(bytes.trim().parse()?)
}

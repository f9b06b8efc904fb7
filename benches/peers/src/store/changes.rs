//! Workloads that write: ingest, single puts and key rotation. The ingested records also serve to
//! measure chart reads and disk use.

use std::cell::Cell;
use std::path::Path;

use anyhow::Result;

use super::load::{BATCH, Load};
use super::peers::{
    Files, Ours, Peer, PlainRedb, PlainSqlite, Rotate, SealedFjall, Sharing, SqlCipher,
};
use super::works::Patients;
use super::{disk, works};
use crate::Run;
use crate::measure::{Contender, Row, interleave};

/// The number of measured batches that all stores ingest. The file store ingests no further batches,
/// because its sync of every record is slow.
const SLOW_BATCHES: usize = 10;
const CHART_ROUNDS: usize = 31;
const PUT_ROUNDS: usize = 25;
const ROTATIONS: usize = 2;
/// The number of records that each store contains before single puts are measured.
const EXISTING: usize = 3000;

/// The workloads to measure.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    /// Only the workloads that slower flushes affect.
    Flushes,
}

/// The measured rows, grouped by the table to which they belong.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) store: Vec<Row>,
    pub(super) rotation: Vec<Row>,
    pub(super) disk: Vec<Row>,
}

/// The stores that are compared.
struct Peers {
    ours: Ours,
    sqlcipher: SqlCipher,
    sqlite: PlainSqlite,
    redb: PlainRedb,
    files: Files,
}

impl Peers {
    fn create(directory: &Path) -> Result<Self> {
        Ok(Self {
            ours: Ours::create(&directory.join("ours"))?,
            sqlcipher: SqlCipher::create(&directory.join("sqlcipher"), Sharing::Own)?,
            sqlite: PlainSqlite::create(&directory.join("sqlite"))?,
            redb: PlainRedb::create(&directory.join("redb"))?,
            files: Files::create(&directory.join("files"))?,
        })
    }

    /// Returns all stores except the file store, chartlock first.
    fn engines(&self) -> [&dyn Peer; 4] {
        [&self.ours, &self.sqlcipher, &self.sqlite, &self.redb]
    }

    /// Returns all stores, chartlock first.
    fn all(&self) -> [&dyn Peer; 5] {
        let [ours, sqlcipher, sqlite, redb] = self.engines();
        [ours, sqlcipher, sqlite, redb, &self.files]
    }
}

pub(super) fn measure(run: &Run<'_>, scope: Scope) -> Result<Changes> {
    let load = Load::resources(run.clinic, super::records(run))?;
    let directory = run.scratch.join("changes");
    std::fs::create_dir(&directory)?;
    let mut peers = Peers::create(&directory)?;
    let mut changes = Changes {
        store: ingest(&peers, &load)?,
        ..Changes::default()
    };
    if scope == Scope::All {
        changes.store.extend(charts(run, &peers, &load)?);
        let engines: [&mut dyn Peer; 4] = [
            &mut peers.ours,
            &mut peers.sqlcipher,
            &mut peers.sqlite,
            &mut peers.redb,
        ];
        changes.disk = disk::of_ingested(engines, &load, &directory)?;
    }
    let pieces = Load::pieces(run.clinic, 1024, EXISTING)?;
    for (threads, patients) in [
        (1, Patients::Known),
        (8, Patients::Known),
        (1, Patients::New),
    ] {
        let scratch = directory.join("puts");
        let rows = puts(run, &pieces, (threads, patients), &scratch)?;
        changes.store.extend(rows);
        std::fs::remove_dir_all(&scratch)?;
    }
    changes.rotation = rotation(&mut peers, &load, &directory)?;
    drop(peers);
    std::fs::remove_dir_all(&directory)?;
    Ok(changes)
}

/// Measures ingest: all stores in the first batches, and all stores except the file store in later
/// batches.
fn ingest(peers: &Peers, load: &Load<'_>) -> Result<Vec<Row>> {
    let work = "ingest by 1,000";
    let contenders = peers.all().map(|peer| works::ingest(peer, load));
    let mut contenders: Vec<Contender<'_>> = contenders.into_iter().collect::<Result<_>>()?;
    let first = works::rows(work, &interleave(&mut contenders, SLOW_BATCHES)?, None);
    contenders.truncate(peers.engines().len());
    let batches = load.records() / BATCH - (SLOW_BATCHES + 1);
    let series = interleave(&mut contenders, batches - 1)?;
    drop(contenders);
    for peer in peers.engines() {
        works::check_some(peer, load, load.records())?;
    }
    works::check_some(&peers.files, load, (SLOW_BATCHES + 1) * BATCH)?;
    let mut rows = works::rows(work, &series, Some(1.3));
    rows.extend(first.into_iter().last());
    Ok(rows)
}

fn charts(run: &Run<'_>, peers: &Peers, load: &Load<'_>) -> Result<Vec<Row>> {
    for peer in peers.engines() {
        works::check_charts(peer, load)?;
    }
    let contenders = peers.engines().map(|peer| works::charts(peer, load));
    let mut contenders = contenders.into_iter().collect::<Result<Vec<_>>>()?;
    let series = interleave(&mut contenders, run.rounds(CHART_ROUNDS))?;
    Ok(works::rows(
        "a patient's whole chart, 300 records",
        &series,
        Some(1.2),
    ))
}

/// Measures single puts into stores that already contain some charts.
fn puts(
    run: &Run<'_>,
    load: &Load<'_>,
    (threads, patients): (usize, Patients),
    directory: &Path,
) -> Result<Vec<Row>> {
    std::fs::create_dir(directory)?;
    let peers = Peers::create(directory)?;
    let shared = SqlCipher::create(&directory.join("shared"), Sharing::One)?;
    let mut all: Vec<&dyn Peer> = peers.all().into();
    let target = match threads {
        1 if patients == Patients::New => 1.0,
        1 => 1.1,
        _ => {
            all.insert(2, &shared);
            5.0
        }
    };
    let next: Vec<_> = all.iter().map(|_| Cell::new(0)).collect();
    for peer in &all {
        works::fill(*peer, load, EXISTING)?;
    }
    let contenders = all.iter().zip(&next);
    let contenders =
        contenders.map(|(peer, next)| works::puts(*peer, load, (threads, patients), next));
    let mut contenders = contenders.collect::<Result<Vec<_>>>()?;
    let series = interleave(&mut contenders, run.rounds(PUT_ROUNDS))?;
    drop(contenders);
    for (peer, next) in all.iter().zip(&next) {
        works::check_puts(*peer, load, patients, next.get())?;
    }
    let threads = match threads {
        1 => "1 thread".to_owned(),
        threads => format!("{threads} threads"),
    };
    let work = match patients {
        Patients::Known => format!("durable single put of 1 KiB, {threads}"),
        Patients::New => format!("first put of a new patient, 1 KiB, {threads}"),
    };
    Ok(works::rows(&work, &series, Some(target)))
}

fn rotation(peers: &mut Peers, load: &Load<'_>, directory: &Path) -> Result<Vec<Row>> {
    let mut sealed = SealedFjall::create(&directory.join("sealed"))?;
    works::fill(&sealed, load, load.records())?;
    let rotating: [&mut dyn Rotate; 3] = [&mut peers.ours, &mut peers.sqlcipher, &mut sealed];
    let mut contenders = rotating.map(works::rotation);
    let series = interleave(&mut contenders, ROTATIONS)?;
    drop(contenders);
    let rotated: [&dyn Peer; 3] = [&peers.ours, &peers.sqlcipher, &sealed];
    for peer in rotated {
        works::check_some(peer, load, load.records())?;
    }
    let work = format!(
        "exchange the key of all, {} records",
        super::thousands(load.records())
    );
    Ok(works::rows(&work, &series, Some(150.0)))
}

//! Measurements of records with many versions, and of batches for patients whose records have earlier
//! versions.

use std::cell::Cell;
use std::hint::black_box;
use std::path::Path;

use anyhow::{Result, ensure};
use chartlock::RecordId;

use super::load::Load;
use super::peers::{Ours, Peer, Sharing, SqlCipher};
use super::{thousands, works};
use crate::Run;
use crate::measure::{Contender, Row, Stopwatch, interleave};

/// The number of versions of one record.
const VERSIONS: usize = 8000;
const HISTORY_ROUNDS: usize = 9;
/// The number of records that each store contains before batches are measured. Every tenth of these records
/// has a second version.
const EXISTING: usize = 3000;
const DISTANCE: usize = 10;
const BATCH_ROUNDS: usize = 25;

pub(super) fn measure(run: &Run<'_>) -> Result<Vec<Row>> {
    let directory = run.scratch.join("versions");
    std::fs::create_dir(&directory)?;
    let ours = Ours::create(&directory.join("ours"))?;
    let sqlcipher = SqlCipher::create(&directory.join("sqlcipher"), Sharing::Own)?;
    let mut rows = histories(run, &ours, &sqlcipher)?;
    drop((ours, sqlcipher));
    rows.extend(batches(run, &directory.join("batches"))?);
    std::fs::remove_dir_all(&directory)?;
    Ok(rows)
}

/// Compares reading every version of a record with reading as many single records.
fn histories(run: &Run<'_>, ours: &Ours, sqlcipher: &SqlCipher) -> Result<Vec<Row>> {
    let versions = if run.quick { VERSIONS / 8 } else { VERSIONS };
    let load = Load::pieces(run.clinic, 1024, versions)?;
    let id = load.later_id(0)?;
    for peer in [ours as &dyn Peer, sqlcipher] {
        works::fill(peer, &load, versions)?;
        let mut handle = peer.handle()?;
        handle.put((&id, load.content(0)))?;
        for version in 1..versions {
            handle.put_version((&id, load.content(version)), version as u64 + 1)?;
        }
    }
    let mut contenders = [
        history(ours, &load, &id)?,
        singles(ours, &load)?,
        history(sqlcipher, &load, &id)?,
    ];
    let series = interleave(&mut contenders, run.rounds(HISTORY_ROUNDS))?;
    let work = format!("whole history, {} versions", thousands(versions));
    let [history, singles, rival] = series.as_slice() else {
        return Ok(Vec::new());
    };
    Ok(vec![
        Row::timed(&work, history, singles, Some(0.5)),
        Row::timed(&work, history, rival, None),
    ])
}

/// Creates a contender that reads and compares all versions of a record.
fn history<'a>(peer: &'a dyn Peer, load: &'a Load<'_>, id: &'a RecordId) -> Result<Contender<'a>> {
    let mut handle = peer.handle()?;
    Ok(Contender::new(peer.name(), move || {
        let mut same = 0;
        let start = Stopwatch::start();
        for number in 0..load.records() {
            handle.get_version(id, number as u64 + 1, &mut |content| {
                same += usize::from(content == load.content(number));
            })?;
        }
        let time = start.elapsed();
        ensure!(
            same == load.records(),
            "a version differs from what was put"
        );
        Ok(time)
    }))
}

/// Creates a contender that reads the load's records one by one.
fn singles<'a>(peer: &'a dyn Peer, load: &'a Load<'_>) -> Result<Contender<'a>> {
    let mut handle = peer.handle()?;
    Ok(Contender::new("chartlock, single gets", move || {
        let ids = (0..load.records()).map(|number| load.id(number));
        let ids = ids.collect::<Result<Vec<_>>>()?;
        let start = Stopwatch::start();
        for id in &ids {
            handle.get(id, &mut |content| {
                black_box(content);
            })?;
        }
        Ok(start.elapsed())
    }))
}

/// Compares batches of new records for patients who have records with earlier versions.
fn batches(run: &Run<'_>, directory: &Path) -> Result<Vec<Row>> {
    std::fs::create_dir(directory)?;
    let load = Load::pieces(run.clinic, 1024, EXISTING)?;
    let ours = Ours::create(&directory.join("ours"))?;
    let sqlcipher = SqlCipher::create(&directory.join("sqlcipher"), Sharing::Own)?;
    let peers: [&dyn Peer; 2] = [&ours, &sqlcipher];
    for peer in peers {
        works::fill(peer, &load, EXISTING)?;
        let mut handle = peer.handle()?;
        for number in (0..EXISTING).step_by(DISTANCE) {
            handle.put_version((&load.id(number)?, load.content(number + 1)), 2)?;
        }
    }
    let next = [Cell::new(0), Cell::new(0)];
    let contenders = peers.iter().zip(&next);
    let contenders = contenders.map(|(peer, next)| works::later_batches(*peer, &load, next));
    let mut contenders = contenders.collect::<Result<Vec<_>>>()?;
    let series = interleave(&mut contenders, run.rounds(BATCH_ROUNDS))?;
    drop(contenders);
    let works = "put_many of 1,000 to patients with earlier versions";
    for (peer, next) in peers.iter().zip(&next) {
        works::check_puts(*peer, &load, works::Patients::Known, next.get())?;
    }
    Ok(works::rows(works, &series, None))
}

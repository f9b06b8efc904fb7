//! Measurements of single reads of random records, from stores that are much larger than the cache.

use std::path::Path;

use anyhow::Result;

use super::load::Load;
use super::peers::{Files, Ours, Peer, PlainRedb, PlainSqlite, Sharing, SqlCipher};
use super::works;
use crate::Run;
use crate::measure::{Row, interleave};

const ROUNDS: usize = 41;
/// The number of records in the file store, which gets fewer records because filling syncs each
/// record.
const FILES: usize = 10_000;

pub(super) fn measure(run: &Run<'_>) -> Result<Vec<Row>> {
    let records = super::records(run);
    let mut rows = Vec::new();
    for (size, records, target) in [(1, records, 1.3), (8, records / 8, 1.8)] {
        let work = format!(
            "random warm get of {size} KiB, of {} records",
            super::thousands(records)
        );
        let directory = run.scratch.join("reads");
        let load = Load::pieces(run.clinic, size * 1024, records)?;
        rows.extend(gets(run, &work, &load, target, &directory)?);
        std::fs::remove_dir_all(&directory)?;
    }
    Ok(rows)
}

fn gets(
    run: &Run<'_>,
    work: &str,
    load: &Load<'_>,
    target: f64,
    directory: &Path,
) -> Result<Vec<Row>> {
    std::fs::create_dir(directory)?;
    let records = load.records();
    let mut ours = Ours::create(&directory.join("ours"))?;
    let mut sqlcipher = SqlCipher::create(&directory.join("sqlcipher"), Sharing::Own)?;
    let mut sqlite = PlainSqlite::create(&directory.join("sqlite"))?;
    let mut redb = PlainRedb::create(&directory.join("redb"))?;
    let mut files = Files::create(&directory.join("files"))?;
    let files_hold = records.min(FILES);
    let all: [(&mut dyn Peer, usize); 5] = [
        (&mut ours, records),
        (&mut sqlcipher, records),
        (&mut sqlite, records),
        (&mut redb, records),
        (&mut files, files_hold),
    ];
    for (peer, records) in all {
        works::fill(peer, load, records)?;
        peer.reopen()?;
        works::check_some(peer, load, records)?;
    }
    let all: [(&dyn Peer, usize); 5] = [
        (&ours, records),
        (&sqlcipher, records),
        (&sqlite, records),
        (&redb, records),
        (&files, files_hold),
    ];
    let contenders = all.map(|(peer, records)| works::gets(peer, load, records));
    let mut contenders = contenders.into_iter().collect::<Result<Vec<_>>>()?;
    let series = interleave(&mut contenders, run.rounds(ROUNDS))?;
    Ok(works::rows(work, &series, Some(target)))
}

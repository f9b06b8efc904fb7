//! Disk use of the stores, relative to the bytes put.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use chartlock::RecordId;

use super::load::{BATCH, Load};
use super::peers::{
    Item, Ours, Peer, PlainRedb, PlainSqlite, Sharing, SqlCipher, bytes_on_disk, check,
};
use crate::Run;
use crate::clinic::Clinic;
use crate::measure::{Quantity, Ratio, Row, Side};

/// The maximum ratio of disk use to bytes put.
const LIMIT: f64 = 1.5;
/// The time for which the size must stay the same before background work counts as finished.
const STILL: Duration = Duration::from_millis(1500);
const PATIENCE: Duration = Duration::from_secs(30);

/// Measures the disk use of the clinic's records, each stored once.
pub(super) fn of_clinic(run: &Run<'_>) -> Result<Vec<Row>> {
    let directory = run.scratch.join("disk");
    std::fs::create_dir(&directory)?;
    let mut ours = Ours::create(&directory.join("ours"))?;
    let mut sqlcipher = SqlCipher::create(&directory.join("sqlcipher"), Sharing::Own)?;
    let mut sqlite = PlainSqlite::create(&directory.join("sqlite"))?;
    let mut redb = PlainRedb::create(&directory.join("redb"))?;
    let all: [&mut dyn Peer; 4] = [&mut ours, &mut sqlcipher, &mut sqlite, &mut redb];
    let items = items(run.clinic);
    for peer in &all {
        let mut handle = peer.handle()?;
        for batch in items.chunks(BATCH) {
            handle.put_many(batch)?;
        }
        drop(handle);
        check(*peer, items.iter().copied())?;
    }
    let work = format!(
        "disk, all of the clinic: {} records",
        super::thousands(items.len())
    );
    let plain = items.iter().map(|(_, content)| content.len()).sum();
    let rows = rows(&work, all, plain, &directory)?;
    std::fs::remove_dir_all(&directory)?;
    Ok(rows)
}

fn items(clinic: &Clinic) -> Vec<Item<'_>> {
    let documents = &clinic.documents;
    let item = |record| -> (&RecordId, &[u8]) {
        let record: &crate::documents::Record = record;
        (&record.id, documents.content(record))
    };
    documents.records.iter().map(item).collect()
}

/// Measures the disk use of the ingested records.
pub(super) fn of_ingested(
    peers: [&mut dyn Peer; 4],
    load: &Load<'_>,
    directory: &Path,
) -> Result<Vec<Row>> {
    let records = load.records();
    let plain = (0..records).map(|number| load.content(number).len()).sum();
    let work = format!("disk, {} resources of it", super::thousands(records));
    rows(&work, peers, plain, directory)
}

/// The directory of each store, by its position in the list of stores.
const DIRECTORIES: [&str; 4] = ["ours", "sqlcipher", "sqlite", "redb"];

fn rows(work: &str, peers: [&mut dyn Peer; 4], plain: usize, directory: &Path) -> Result<Vec<Row>> {
    let plain = Side::new("plaintext", Quantity::Bytes(plain as f64));
    let mut rows = Vec::new();
    for (place, (peer, name)) in peers.into_iter().zip(DIRECTORIES).enumerate() {
        peer.reopen()?;
        let bytes = settled(&directory.join(name))?;
        let side = Side::new(peer.name(), Quantity::Bytes(bytes as f64));
        rows.push(match place {
            0 => Row::limited(work, side, plain.clone(), LIMIT),
            _ => {
                let ratio = Ratio::exact(side.measured.value() / plain.measured.value());
                Row::new(work.to_owned(), side, plain.clone(), ratio, None)
            }
        });
    }
    Ok(rows)
}

/// Waits until the size of a directory stops changing, for about [`PATIENCE`] at most. Returns the
/// size in bytes.
fn settled(directory: &Path) -> Result<u64> {
    let start = Instant::now();
    let mut bytes = bytes_on_disk(directory)?;
    loop {
        std::thread::sleep(STILL);
        let now = bytes_on_disk(directory)?;
        if now == bytes || start.elapsed() > PATIENCE {
            return Ok(now);
        }
        bytes = now;
    }
}

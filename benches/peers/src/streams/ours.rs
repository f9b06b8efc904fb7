//! chartlock's streams, through a vault in memory storage.

use std::hint::black_box;
use std::io::Read;
use std::num::NonZeroUsize;

use anyhow::{Context, Result, ensure};
use chartlock::{Actor, MemoryStorage, Purpose, RecordId, Vault, VaultOptions};

use super::Direction;
use super::stream::Same;
use crate::credential::Fixed;
use crate::measure::{Contender, Stopwatch, Time};

/// The name of the contender with the default count of threads.
pub(super) const NAME: &str = "chartlock";

/// The size of the read buffer, in bytes.
const BUFFER: usize = 128 << 10;

/// Returns a contender that seals or opens the content, with the default count of threads if
/// `threads` is `None`.
pub(crate) fn ours(
    content: &[u8],
    threads: Option<usize>,
    direction: Direction,
) -> Result<Contender<'_>> {
    let name = match threads {
        Some(1) => format!("{NAME}, one thread"),
        Some(threads) => format!("{NAME}, {threads} threads"),
        None => NAME.to_owned(),
    };
    Ok(match direction {
        // Use a new vault in every round, so that memory does not grow.
        Direction::Seal => Contender::new(name, move || put(&vault(threads)?, content)),
        Direction::Open => {
            let vault = vault(threads)?;
            put(&vault, content)?;
            let mut same = Same::new(content);
            read(&vault, |piece| same.compare(piece))?;
            ensure!(same.is_all(), "{name} returned other content");
            Contender::new(name, move || {
                read(&vault, |piece| {
                    black_box(piece);
                })
            })
        }
    })
}

fn vault(threads: Option<usize>) -> Result<Vault> {
    let options = VaultOptions::new();
    let options = match threads.and_then(NonZeroUsize::new) {
        Some(threads) => options.threads(threads),
        None => options,
    };
    Ok(options.create(MemoryStorage::new(), &Fixed(1))?)
}

fn id() -> Result<RecordId> {
    Ok(RecordId::patient("MRN-1", "ImagingStudy/1")?)
}

fn put(vault: &Vault, content: &[u8]) -> Result<Time> {
    let session = vault.session(Actor::new("bench")?, Purpose::Operations);
    let start = Stopwatch::start();
    session.put_reader(&id()?, content)?;
    Ok(start.elapsed())
}

fn read(vault: &Vault, mut then: impl FnMut(&[u8])) -> Result<Time> {
    let session = vault.session(Actor::new("bench")?, Purpose::Operations);
    let mut buffer = vec![0; BUFFER];
    let start = Stopwatch::start();
    let mut reader = session.reader(&id()?)?.context("the record is missing")?;
    loop {
        let bytes = reader.read(&mut buffer)?;
        match buffer.get(..bytes) {
            Some(piece) if !piece.is_empty() => then(piece),
            _ => return Ok(start.elapsed()),
        }
    }
}

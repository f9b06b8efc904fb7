//! The end of the engine's journal, as a power cut or a failed sync leaves it.
//!
//! The engine writes a batch and syncs it, and only then writes the next one. Two things may be left:
//!
//! - *A torn batch*: the power went before the sync had returned, so any sectors of the last batch are on
//!   the disk, and any are not. The engine itself discards a batch that ends too early, but takes one
//!   with a hole in it for damage and does not open any more. Such a batch was never acknowledged, and
//!   nothing follows it, so it is cut off here, before the engine looks.
//! - *A batch that is read but not stored*: its sync failed, and the system then holds it for written,
//!   shows it to every reader, and never tries again. Were it left like that, the next opening would go
//!   on after it, and a power cut would make a hole of it before what was acknowledged since. So all
//!   that was written since the last opening is written again, the same bytes in the same place, and
//!   synced, before anything is appended. A sync that fails here fails the opening. What stands before
//!   the note of an opening needs nothing: that note was only written after all this.
//!
//! A whole batch behind one that is not is neither of the two, and is left to the engine to refuse.
//!
//! The engine's format 3: a batch is `1 · count u32 · sequence u64 · items · 3 · XXH3-64 of the items ·
//! "FJL" 3`; an item is `2 · type · compression · keyspace u64 · key length u16 · value length u32 ·
//! stored length u32 · key · value`, or `4 · keyspace u64`; little-endian.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::storage::StorageError;
use crate::storage::file::engine::is_opening_note;

const FORMAT: &[u8] = b"FJL\x03";
const BATCH: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;

/// How much is written again at a time.
const STRETCH: usize = 1 << 20;

/// Makes whole what the last opening left of the engine in a directory.
pub(super) fn mend(engine: &Path) -> Result<(), StorageError> {
    match fs::read(engine.join("version")) {
        Ok(format) if format == FORMAT => {}
        // Another format, which the engine refuses or knows better.
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(StorageError::Damaged),
        Err(error) => return Err(error.into()),
    }
    for (age, journal) in journals(engine)?.iter().rev().enumerate() {
        let file = OpenOptions::new().read(true).write(true).open(journal)?;
        let found = walk(&file)?;
        if age == 0 && found.is_torn {
            cut_off(&file, found.end)?;
        }
        match found.noted {
            Some(Note {
                is_last: true,
                closed: true,
                ..
            }) => return Ok(()),
            Some(note) => return Ok(write_again(&file, note.at, found.end)?),
            None => write_again(&file, 0, found.end)?,
        }
    }
    Ok(())
}

/// The journals, oldest first.
pub(super) fn journals(engine: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let mut all = Vec::new();
    for entry in fs::read_dir(engine)? {
        let path = entry?.path();
        let number = path.file_name().and_then(|name| name.to_str());
        let number = number.and_then(|name| name.strip_suffix(".jnl"));
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            all.push((number, path));
        }
    }
    all.sort_unstable();
    Ok(all.into_iter().map(|(_, path)| path).collect())
}

/// What is in a journal.
#[derive(Default)]
struct Found {
    /// Where its last whole batch ends.
    end: u64,
    /// Whether the beginning of another one follows.
    is_torn: bool,
    noted: Option<Note>,
}

/// The last note of an opening.
struct Note {
    at: u64,
    closed: bool,
    is_last: bool,
}

fn walk(file: &File) -> io::Result<Found> {
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let mut found = Found::default();
    loop {
        let batch = match read_batch(&mut reader) {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(found),
            Err(Torn::Batch) => {
                found.is_torn = true;
                return Ok(found);
            }
            Err(Torn::Read(error)) => return Err(error),
        };
        if let Some(note) = &mut found.noted {
            note.is_last = false;
        }
        if let Some(closed) = batch.closed {
            let at = found.end;
            found.noted = Some(Note {
                at,
                closed,
                is_last: true,
            });
        }
        found.end += batch.length;
    }
}

/// Ends a journal where its last whole batch does.
fn cut_off(mut file: &File, end: u64) -> Result<(), StorageError> {
    let mut rest = Vec::new();
    file.seek(SeekFrom::Start(end))?;
    file.read_to_end(&mut rest)?;
    let begins = |place: &(usize, &u8)| *place.1 == BATCH;
    for (place, _) in rest.iter().enumerate().filter(begins) {
        let mut behind = rest.get(place..).unwrap_or_default();
        if place > 0 && matches!(read_batch(&mut behind), Ok(Some(_))) {
            return Err(StorageError::Damaged);
        }
    }
    file.set_len(end)?;
    Ok(file.sync_all()?)
}

/// Writes what stands there once more, so that the next sync is about it again.
fn write_again(mut file: &File, from: u64, until: u64) -> io::Result<()> {
    let mut stretch = Vec::new();
    let mut at = from;
    while at < until {
        stretch.clear();
        file.seek(SeekFrom::Start(at))?;
        let length = (until - at).min(STRETCH as u64);
        file.take(length).read_to_end(&mut stretch)?;
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&stretch)?;
        at += length;
    }
    file.sync_all()
}

struct Batch {
    length: u64,
    /// Of the note of an opening, whether it tells of its end.
    closed: Option<bool>,
}

/// Why there is no batch.
enum Torn {
    Batch,
    Read(io::Error),
}

impl From<io::Error> for Torn {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Batch,
            _ => Self::Read(error),
        }
    }
}

/// `None` where nothing was written any more.
fn read_batch(reader: &mut impl Read) -> Result<Option<Batch>, Torn> {
    let mut tag = [0];
    match reader.read(&mut tag)? {
        0 => return Ok(None),
        _ if tag == [0] => return Ok(None),
        _ if tag != [BATCH] => return Err(Torn::Batch),
        _ => {}
    }
    let count = u32::from_le_bytes(take(reader)?);
    let _sequence: [u8; 8] = take(reader)?;
    let mut hasher = Xxh3::new();
    let mut length = 1 + 4 + 8;
    let mut closed = None;
    let mut item = Vec::new();
    for _ in 0..count {
        item.clear();
        let note = read_item(reader, &mut item)?;
        closed = note.filter(|_| count == 1);
        hasher.update(&item);
        length += item.len() as u64;
    }
    let end: [u8; 13] = take(reader)?;
    let expected = [&[END], &hasher.digest().to_le_bytes()[..], FORMAT].concat();
    match end == *expected {
        true => Ok(Some(Batch {
            length: length + 13,
            closed,
        })),
        false => Err(Torn::Batch),
    }
}

/// Appends an item's bytes to `item`. Of the note of an opening, whether it tells of its end.
fn read_item(reader: &mut impl Read, item: &mut Vec<u8>) -> Result<Option<bool>, Torn> {
    let [tag] = take(reader)?;
    item.push(tag);
    if tag == CLEAR {
        item.extend(take::<8>(reader)?);
        return Ok(None);
    }
    if tag != ITEM {
        return Err(Torn::Batch);
    }
    let [kind, compression] = take(reader)?;
    let keyspace: [u8; 8] = take(reader)?;
    let key_length: [u8; 2] = take(reader)?;
    let lengths: [[u8; 4]; 2] = [take(reader)?, take(reader)?];
    if compression != 0 || lengths.first() != lengths.last() {
        return Err(Torn::Batch);
    }
    item.extend([kind, compression]);
    item.extend(keyspace);
    item.extend(key_length);
    item.extend(lengths.iter().flatten());
    let [length, _] = lengths.map(u32::from_le_bytes);
    let key_length = u16::from_le_bytes(key_length);
    let (begin, key_end) = (item.len(), item.len() + usize::from(key_length));
    let wanted = u64::from(key_length) + u64::from(length);
    let got = reader.take(wanted).read_to_end(item)? as u64;
    if got < wanted {
        return Err(Torn::Batch);
    }
    let key = item.get(begin..key_end).unwrap_or_default();
    let value = item.get(key_end..).unwrap_or_default();
    Ok(is_opening_note(key, value))
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

//! Marker: a file which shows that the storage was created completely, and which contains the number
//! of the last acknowledged commit.
//!
//! ```text
//! magic "chartlock storage 2\n" · storage id 16 · 2 x (acknowledged u64 · checksum 8)
//! ```
//! Creation writes the complete marker last. Each commit writes its number into one of the two fields
//! before the caller gets its answer. This write is not synced. The commit itself is synced, so a power
//! cut can only leave an older number. A database whose newest commit is older than the marker has
//! therefore lost its write-ahead log, or is an older copy.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::directory::{private, write_durably};
use super::positioned::{read_at, write_at};
use crate::crypto::sha256;
use crate::group_commit::lock;
use crate::storage::StorageError;

pub(super) const MARKER: &str = "marker";

const MAGIC: &[u8; 20] = b"chartlock storage 2\n";
/// Magic of a marker whose storage is still being created.
const CREATING: &[u8; 20] = b"chartlock creation2\n";
/// Magic of a marker whose storage is a backup that is still being written.
const COPYING: &[u8; 20] = b"chartlock  backup 2\n";
const FIELDS_AT: usize = MAGIC.len() + ID_BYTES;
const FIELD_BYTES: usize = 16;
const MARKER_BYTES: usize = FIELDS_AT + 2 * FIELD_BYTES;
const ID_BYTES: usize = 16;

/// Random identifier of one storage directory. A backup gets a new one.
pub(super) type StorageId = [u8; ID_BYTES];

/// Returns the part of the storage id that is stored in the first database page. This part reveals a
/// write-ahead log of another storage, because nearly every log contains the first page.
pub(super) fn user_version(id: &StorageId) -> i32 {
    let [a, b, c, d, ..] = *id;
    i32::from_be_bytes([a, b, c, d])
}

/// State of a storage directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MarkerState {
    /// The creation of an empty storage did not finish. The next opening repeats it.
    Creating,
    /// A backup into the directory did not finish, so the directory contains no complete storage.
    Copying,
    Complete,
}

impl MarkerState {
    fn magic(self) -> &'static [u8; 20] {
        match self {
            Self::Creating => CREATING,
            Self::Copying => COPYING,
            Self::Complete => MAGIC,
        }
    }
}

/// Content of a marker file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MarkerContent {
    pub(super) state: MarkerState,
    pub(super) id: StorageId,
    /// Number of the last commit that was acknowledged, or of an earlier one after a power cut.
    pub(super) acknowledged: u64,
}

impl MarkerContent {
    /// Reads the marker of a directory; `None` if the file is absent.
    pub(super) fn read(directory: &Path) -> Result<Option<Self>, StorageError> {
        let mut bytes = Vec::new();
        match File::open(directory.join(MARKER)) {
            Ok(file) => file.take(MARKER_BYTES as u64 + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        Self::parse(&bytes).map(Some)
    }

    fn parse(bytes: &[u8]) -> Result<Self, StorageError> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(StorageError::Damaged)?;
        let state = match magic {
            MAGIC => MarkerState::Complete,
            CREATING => MarkerState::Creating,
            COPYING => MarkerState::Copying,
            other if other.starts_with(b"chartlock storage ") => return Err(StorageError::Layout),
            _ => return Err(StorageError::Damaged),
        };
        let (id, fields) = rest.split_first_chunk().ok_or(StorageError::Damaged)?;
        if fields.len() != 2 * FIELD_BYTES {
            return Err(StorageError::Damaged);
        }
        let acknowledged = fields.chunks_exact(FIELD_BYTES).filter_map(parse_field);
        Ok(Self {
            state,
            id: *id,
            acknowledged: acknowledged.max().ok_or(StorageError::Damaged)?,
        })
    }

    /// Replaces the marker of a directory durably.
    pub(super) fn write(&self, directory: &Path) -> Result<(), StorageError> {
        let field = field(self.acknowledged);
        let parts: [&[u8]; 4] = [self.state.magic(), &self.id, &field, &field];
        write_durably(directory, MARKER, &parts.concat())?;
        Ok(())
    }
}

fn field(acknowledged: u64) -> [u8; FIELD_BYTES] {
    let number = acknowledged.to_le_bytes();
    let mut field = [0; FIELD_BYTES];
    let (left, right) = field.split_at_mut(number.len());
    left.copy_from_slice(&number);
    right.copy_from_slice(&checksum(number));
    field
}

fn parse_field(field: &[u8]) -> Option<u64> {
    let (number, sum) = field.split_first_chunk::<8>()?;
    (checksum(*number) == sum).then(|| u64::from_le_bytes(*number))
}

fn checksum(number: [u8; 8]) -> [u8; 8] {
    let [a, b, c, d, e, f, g, h, ..] = sha256(&[&number]);
    [a, b, c, d, e, f, g, h]
}

/// Marker of a storage that is open for writing.
#[derive(Debug)]
pub(super) struct Marker {
    path: PathBuf,
    written: Mutex<Option<Written>>,
}

#[derive(Debug)]
struct Written {
    file: File,
    acknowledged: u64,
    next_field: u64,
}

impl Written {
    /// Opens the file, and selects the field that is damaged or has the older number for the next write.
    /// The other field stays valid if a power cut interrupts this write.
    fn open(path: &Path) -> io::Result<Self> {
        let file = private(OpenOptions::new().read(true).write(true)).open(path)?;
        let mut fields = [0; 2 * FIELD_BYTES];
        read_at(&file, &mut fields, FIELDS_AT as u64)?;
        let (first, second) = fields.split_at(FIELD_BYTES);
        let is_first_older = parse_field(first) <= parse_field(second);
        Ok(Self {
            file,
            acknowledged: 0,
            next_field: if is_first_older { 0 } else { 1 },
        })
    }
}

impl Marker {
    /// Creates the handle; the file is opened by the first commit.
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            path: directory.join(MARKER),
            written: Mutex::new(None),
        }
    }

    /// Records that the commit with this number is about to be acknowledged.
    pub(super) fn acknowledge(&self, number: u64) -> io::Result<()> {
        let mut written = lock(&self.written);
        let marker = match written.take() {
            Some(marker) => marker,
            None => Written::open(&self.path)?,
        };
        let marker = written.insert(marker);
        if number > marker.acknowledged {
            let offset = FIELDS_AT as u64 + marker.next_field * FIELD_BYTES as u64;
            write_at(&marker.file, &field(number), offset)?;
            marker.acknowledged = number;
            marker.next_field ^= 1;
        }
        Ok(())
    }
}

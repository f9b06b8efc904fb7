//! Where a value lies: in the engine, in a file of its own, or in a pack with others.

use crate::storage::StorageError;
use crate::storage::file::class::is_apart;
use crate::storage::file::revision::{MARK_BYTES, Mark};

/// What the engine keeps of a value besides its revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The value itself.
    Engine,
    /// Nothing: the file is named by the revision.
    Own,
    /// Where in which pack.
    Pack(Stretch),
}

/// A value within a pack: `file 12 · offset u32 · length u32`, big-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stretch {
    pub(super) file: Mark,
    pub(super) offset: u32,
    pub(super) length: u32,
}

impl Stretch {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (file, rest) = bytes.split_first_chunk::<MARK_BYTES>()?;
        let (offset, length) = rest.split_first_chunk::<4>()?;
        Some(Self {
            file: *file,
            offset: u32::from_be_bytes(*offset),
            length: u32::from_be_bytes(length.try_into().ok()?),
        })
    }
}

/// What stands under a key: its revision, and where its value lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) mark: Mark,
    pub(super) place: Place,
}

impl Standing {
    /// What the engine keeps of a value in a file.
    pub(super) fn kept(&self) -> Vec<u8> {
        match self.place {
            Place::Engine | Place::Own => self.mark.to_vec(),
            Place::Pack(stretch) => {
                let (offset, length) = (stretch.offset.to_be_bytes(), stretch.length.to_be_bytes());
                [&self.mark[..], &stretch.file, &offset, &length].concat()
            }
        }
    }

    /// From what the engine keeps of a value of this class; also the value, if it is kept there.
    pub(super) fn parse(class: usize, kept: &[u8]) -> Result<(Self, &[u8]), StorageError> {
        let (mark, rest) = kept
            .split_first_chunk::<MARK_BYTES>()
            .ok_or(StorageError::Damaged)?;
        let place = match (is_apart(class), rest) {
            (false, _) => Place::Engine,
            (true, []) => Place::Own,
            (true, stretch) => Place::Pack(Stretch::parse(stretch).ok_or(StorageError::Damaged)?),
        };
        Ok((Self { mark: *mark, place }, rest))
    }

    /// The file in which the value lies, if it is in one.
    pub(super) fn file(&self) -> Option<Mark> {
        match self.place {
            Place::Engine => None,
            Place::Own => Some(self.mark),
            Place::Pack(stretch) => Some(stretch.file),
        }
    }
}

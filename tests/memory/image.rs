//! A snapshot of another process's memory, and the search for secrets in it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// The length in bytes of the pieces that the search compares: half a key, or 16 bytes of content.
pub(crate) const PIECE: usize = 16;
const PAGE: usize = 4096;

/// A copy of all readable memory of a process.
pub(crate) struct Image(Vec<Region>);

struct Region {
    name: String,
    start: u64,
    bytes: Vec<u8>,
}

impl Image {
    /// Reads the memory of a waiting child process. The kernel permits this to a parent of the same
    /// user.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let memory = File::open(format!("/proc/{pid}/mem"))?;
        let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
        let regions = maps.lines().filter_map(|line| Region::read(line, &memory));
        Ok(Self(regions.collect()))
    }

    /// Returns the size of the snapshot in bytes.
    pub(crate) fn size(&self) -> usize {
        self.0.iter().map(|region| region.bytes.len()).sum()
    }

    /// Returns each secret of which the memory contains a piece, with the addresses of the pieces.
    pub(crate) fn find(&self, pieces: &Pieces) -> Found {
        let mut found = Found::new();
        for region in &self.0 {
            pieces.find_in(&region.bytes, |what, place| {
                let at = format!("{} {:x} + {place:x}", region.name, region.start);
                found.entry(what.to_owned()).or_default().push(at);
            });
        }
        found
    }
}

/// The addresses at which each secret was found.
pub(crate) type Found = BTreeMap<String, Vec<String>>;

impl Region {
    /// Reads a memory region. Returns `None` if the region is not readable or belongs to the
    /// kernel.
    fn read(line: &str, memory: &File) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (range, access) = (words.next()?, words.next()?);
        let name = words.nth(3).unwrap_or("anonymous").to_owned();
        let (start, end) = range.split_once('-')?;
        let [start, end] = [start, end].map(|at| u64::from_str_radix(at, 16).unwrap());
        if !access.starts_with('r') || ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&&*name) {
            return None;
        }
        let mut bytes = vec![0; (end - start) as usize];
        for (at, page) in (start..).step_by(PAGE).zip(bytes.chunks_mut(PAGE)) {
            // Pages beyond the end of a mapped file cannot be read, and remain zero.
            let _ = memory.read_exact_at(page, at);
        }
        Some(Self { name, start, bytes })
    }
}

/// The secrets to search for, split into pieces, because half a key or a line of a record is
/// already a leak.
#[derive(Default)]
pub(crate) struct Pieces {
    /// The pieces, indexed by their first four bytes.
    by_beginning: HashMap<u32, Vec<(String, [u8; PIECE])>>,
    /// A filter over hashes of these four bytes, which skips most of the memory.
    beginnings: Vec<bool>,
}

impl Pieces {
    /// Adds a short secret as a whole, and pieces from every part of a long secret.
    pub(crate) fn add(&mut self, what: &str, secret: &[u8]) {
        self.beginnings.resize(1 << 16, false);
        let step = (secret.len() / 1000).max(1).next_multiple_of(PIECE);
        for piece in secret.windows(PIECE).step_by(step) {
            let piece: [u8; PIECE] = piece.try_into().unwrap();
            let beginning = beginning(&piece);
            self.beginnings[hash(beginning)] = true;
            let same = self.by_beginning.entry(beginning).or_default();
            if !same
                .iter()
                .any(|(known, bytes)| known == what && *bytes == piece)
            {
                same.push((what.to_owned(), piece));
            }
        }
    }

    fn find_in(&self, memory: &[u8], mut found: impl FnMut(&str, usize)) {
        for (place, bytes) in memory.windows(PIECE).enumerate() {
            let beginning = beginning(bytes);
            if !self.beginnings[hash(beginning)] {
                continue;
            }
            let same = self.by_beginning.get(&beginning).into_iter().flatten();
            for (what, _) in same.filter(|(_, piece)| piece == bytes) {
                found(what, place);
            }
        }
    }
}

fn beginning(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

fn hash(beginning: u32) -> usize {
    (beginning.wrapping_mul(0x9e37_79b9) >> 16) as usize
}

//! Effects that a power cut can have on changes that are not durable.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::common::content::Random;
use crate::disk::{Disk, Id, SECTOR, When};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// No pending change reaches the disk.
    Nothing,
    /// Every pending change reaches the disk.
    Everything,
    /// Names reach the disk; content and lengths do not.
    Names,
    /// Names and lengths reach the disk; content does not. Appended ranges of files read as zeros.
    Lengths,
    /// Content and lengths reach the disk; names do not.
    Contents,
    /// Every pending change except this one reaches the disk.
    Without(When),
    /// Only this pending change reaches the disk.
    Only(When),
    /// The pending changes up to and including this one reach the disk, and no later change.
    Until(When),
    /// Every pending change reaches the disk, but only the given number of bytes of this write.
    Torn(When, u64),
    /// Every pending change reaches the disk, but only the first and the last sector of this write.
    Hollow(When),
    /// Names reach the disk in order up to this change, as in a journaling file system. A random
    /// subset of the content's sectors and of the lengths reaches the disk. The number is the
    /// random seed.
    Journaled(u64, When),
    /// A random subset of the pending changes reaches the disk. The number is the random seed.
    Scattered(u64),
}

impl Cut {
    pub(crate) fn keeps_name(&self, when: When) -> bool {
        match self {
            Cut::Nothing | Cut::Contents => false,
            Cut::Without(left_out) => when != *left_out,
            Cut::Only(kept) => when == *kept,
            Cut::Until(last) | Cut::Journaled(_, last) => when <= *last,
            Cut::Scattered(seed) => coin((seed, when, "name")),
            _ => true,
        }
    }

    pub(crate) fn keeps_length(&self, when: When) -> bool {
        match self {
            Cut::Nothing | Cut::Names => false,
            Cut::Without(left_out) => when != *left_out,
            Cut::Only(kept) => when == *kept,
            Cut::Until(last) => when <= *last,
            Cut::Torn(torn, _) => when != *torn,
            Cut::Scattered(seed) | Cut::Journaled(seed, _) => coin((seed, when, "length")),
            _ => true,
        }
    }

    /// Returns the end of the part of `from..end` that reaches the disk, or `from` if no byte
    /// reaches the disk. The bytes are in one sector, and belong to a write of `first..last`.
    pub(crate) fn keeps_bytes(
        &self,
        when: When,
        file: Id,
        first: u64,
        from: u64,
        end: u64,
        last: u64,
    ) -> u64 {
        let kept = match self {
            Cut::Nothing | Cut::Names | Cut::Lengths => false,
            Cut::Without(left_out) => when != *left_out,
            Cut::Only(kept) => when == *kept,
            Cut::Until(until) => when <= *until,
            Cut::Torn(torn, bytes) if when == *torn => {
                return end.min(first + bytes).max(from);
            }
            Cut::Hollow(hollow) if when == *hollow => from == first || end == last,
            Cut::Scattered(seed) | Cut::Journaled(seed, _) => {
                // Hash the sector and not the write, because a disk writes a sector as a whole:
                // either all pending writes to a sector reach the disk, or none.
                coin((seed, file, from / SECTOR))
            }
            _ => true,
        };
        if kept { end } else { from }
    }
}

fn coin(of: impl Hash) -> bool {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish().is_multiple_of(2)
}

/// Number of cuts that a campaign tries at one point, and the selection of the points.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// The maximum number of pending changes that get their own cuts: without the change, with only
    /// the change, up to the change, and with a torn write.
    pub(crate) each: usize,
    pub(crate) random: usize,
    /// The maximum number of cuts at one point.
    pub(crate) at_most: usize,
    /// The interval between the points at which the power is cut; 1 selects all points. The first
    /// point and the end of each run are always selected.
    pub(crate) every: u64,
}

/// Chooses cuts for the current state of a disk.
pub(crate) fn cuts(disk: &Disk, effort: Effort, random: &mut Random) -> Vec<Cut> {
    let pending = disk.pending();
    let Some(&(newest, _)) = pending.last() else {
        return vec![Cut::Nothing];
    };
    let mut cuts = vec![
        Cut::Nothing,
        Cut::Everything,
        Cut::Names,
        Cut::Lengths,
        Cut::Contents,
    ];
    let mut some = |count: usize| -> Vec<_> {
        match pending.len() <= count {
            true => pending.clone(),
            // Include the newest change, because it is the most likely to be unfinished.
            false => (1..count)
                .map(|_| pending[random.below(pending.len() as u64) as usize])
                .chain(pending.last().copied())
                .collect(),
        }
    };
    for (when, stretch) in some(effort.each) {
        cuts.extend([Cut::Without(when), Cut::Only(when), Cut::Until(when)]);
        let Some((at, length)) = stretch.filter(|(_, length)| *length > 1) else {
            continue;
        };
        let to_sector = SECTOR - at % SECTOR;
        if length > to_sector {
            cuts.extend([Cut::Torn(when, to_sector), Cut::Hollow(when)]);
        }
        cuts.extend([Cut::Torn(when, 1), Cut::Torn(when, length - 1)]);
        cuts.push(Cut::Torn(when, (length / 2) | 1));
    }
    for _ in 0..effort.random {
        cuts.push(Cut::Scattered(random.next()));
        let oldest = pending[0].0;
        let last = oldest + random.below(newest - oldest + 1);
        cuts.push(Cut::Journaled(random.next(), last));
    }
    while cuts.len() > effort.at_most {
        cuts.swap_remove(random.below(cuts.len() as u64) as usize);
    }
    cuts
}

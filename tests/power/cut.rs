//! What a power cut may do to changes that are not durable.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::content::Random;
use crate::disk::{Disk, Id, SECTOR, When};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Nothing more reaches the disk.
    Nothing,
    /// All of it does.
    Everything,
    /// Names do, and neither content nor length.
    Names,
    /// Names and lengths do: zeros.
    Lengths,
    /// Contents do, and no names.
    Contents,
    /// All but one.
    Without(When),
    /// Only this one.
    Only(When),
    /// All that was asked for until then, and nothing after.
    Until(When),
    /// All, but of this write only its first bytes.
    Torn(When, u64),
    /// All, but of this write only its first and its last sector.
    Hollow(When),
    /// Names in their order up to some moment, as file systems with a journal keep them; of contents
    /// any sectors, and of lengths any.
    Journaled(u64, When),
    /// Anything.
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

    /// Up to where the bytes `from..end`, which lie in one sector, are written: `from` for not at all.
    /// They belong to a write of `first..last`.
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
                // A sector is written once, whoever wrote to it.
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

/// How many cuts are tried wherever there is a choice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Changes that are left out, kept alone or torn, each in turn.
    pub(crate) each: usize,
    pub(crate) random: usize,
    /// Of all these, at each moment.
    pub(crate) at_most: usize,
}

/// Cuts to be tried on a disk as it is.
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
            // The newest is the one that is most often under way.
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

//! What the engine names in files, for whoever sweeps away all else.

use std::collections::{HashMap, HashSet};

use crate::storage::file::class::is_entry;
use crate::storage::file::place::{Place, Standing, Stretch};
use crate::storage::file::revision::Mark;

/// Files, and where in packs of entries the entries are.
#[derive(Debug, Default)]
pub(super) struct Named {
    pub(super) files: HashSet<Mark>,
    entries: HashMap<Mark, Vec<Stretch>>,
}

impl Named {
    pub(super) fn add(&mut self, class: usize, standing: &Standing) {
        self.files.extend(standing.file());
        if let Place::Pack(stretch) = standing.place
            && is_entry(class)
        {
            self.entries.entry(stretch.file).or_default().push(stretch);
        }
    }

    /// What no key names in packs of entries that are so long.
    pub(super) fn into_gaps(self, length: impl Fn(&Mark) -> u64) -> Vec<Stretch> {
        let packs = self.entries.into_iter();
        let gaps = packs.flat_map(|(file, entries)| {
            let length = u32::try_from(length(&file)).unwrap_or(u32::MAX);
            between(file, entries, length)
        });
        gaps.collect()
    }
}

/// The stretches of a file between others, and after them.
fn between(file: Mark, mut named: Vec<Stretch>, length: u32) -> Vec<Stretch> {
    named.sort_unstable();
    let mut gaps = Vec::new();
    let mut end = 0;
    let ends = [(length, length)].into_iter();
    let named = named
        .iter()
        .map(|it| (it.offset, it.offset.saturating_add(it.length)));
    for (from, until) in named.chain(ends) {
        if from > end {
            gaps.push(Stretch {
                file,
                offset: end,
                length: from - end,
            });
        }
        end = end.max(until);
    }
    gaps
}

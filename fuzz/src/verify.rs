//! Fuzz target for tampering with a vault's history: `verify` must report each change, and nothing
//! for an unchanged vault.

use std::collections::BTreeSet;
use std::sync::Arc;

use chartlock::verify::{JournalFault, VerifyReport};

use super::clock::{SimulatedClock, options};
use super::fixed::{Fixed, suite};
use super::history::{apply, disk, run_operations};
use super::input::Input;
use super::objects::{Objects, all_objects, reset};

const TAMPERINGS: usize = 4;

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let Some(what) = input.next() else {
        return;
    };
    let disk = disk(what);
    let clock = Arc::new(SimulatedClock::default());
    let options = options().cipher_suite(suite(what)).clock(clock.clone());
    let vault = options
        .clone()
        .create(Arc::clone(&disk), &Fixed(7))
        .unwrap();
    let snapshots = run_operations(&disk, (&options, &clock), vault, &mut input, apply);
    let open = || options.clone().open(Arc::clone(&disk), &Fixed(7));
    let verify = || open().unwrap().verify(None).unwrap();
    let report = verify();
    assert!(report.is_clean(), "{report:#?}");
    let before = all_objects(&*disk);
    for _ in 0..TAMPERINGS {
        let Some(how) = input.next() else {
            break;
        };
        if how & 4 == 4 {
            let Some((after, page)) = tamper_journal(how, &mut input, &before) else {
                continue;
            };
            reset(&*disk, &after);
            let report = open().unwrap().verify(None).unwrap();
            assert_found(&page, &report);
            reset(&*disk, &before);
            continue;
        }
        let after = tamper(how, &mut input, &snapshots, &before);
        reset(&*disk, &after);
        let expected = Expected::new(&before, &after);
        match open() {
            Ok(vault) => expected.compare(&vault.verify(None).unwrap()),
            Err(_) => assert!(expected.header),
        }
        reset(&*disk, &before);
    }
    let report = verify();
    assert!(report.is_clean(), "{report:#?}");
}

fn tamper(how: u8, input: &mut Input<'_>, snapshots: &[Objects], before: &Objects) -> Objects {
    let mut after = before.clone();
    // Skip journal pages and upload intents, because `verify` cannot detect every one that is
    // missing. The object of covered chain heads proves nothing, so `verify` does not read it.
    let keys: Vec<_> = before
        .keys()
        .filter(|key| !matches!(key[0], b'a' | b'j' | b'w'))
        .collect();
    let key = |input: &mut Input<'_>| keys[input.number() as usize % keys.len()].clone();
    match how & 3 {
        0 => {
            let key = key(input);
            let bit = input.number() as usize;
            if let Some(value) = after.get_mut(&key) {
                let bit = bit % (8 * value.len());
                // Skip segments: finding one changed bit requires opening all content.
                if key[0] != b's' {
                    value[bit / 8] ^= 1 << (bit % 8);
                }
            }
        }
        1 => drop(after.remove(&key(input))),
        2 => {
            let is_older = |(key, value): &(&Vec<u8>, &Vec<u8>)| {
                matches!(key[0], b'r' | b'h') && before.get(*key) != Some(value)
            };
            let older: Vec<_> = snapshots.iter().flatten().filter(is_older).collect();
            if !older.is_empty() {
                let (key, value) = older[input.number() as usize % older.len()];
                after.insert(key.clone(), value.clone());
            }
        }
        _ => {
            let (one, other) = (key(input), key(input));
            if one[0] == other[0] && one[0] != b's' {
                after.insert(one.clone(), before[&other].clone());
                after.insert(other, before[&one].clone());
            }
        }
    }
    after
}

/// Alters the journal. Returns the new objects and the page that `verify` must report.
fn tamper_journal(how: u8, input: &mut Input<'_>, before: &Objects) -> Option<(Objects, Vec<u8>)> {
    let mut after = before.clone();
    let pages: Vec<_> = before.keys().filter(|key| key[0] == b'j').collect();
    let page = pages[input.number() as usize % pages.len()].clone();
    let place = input.number() as usize;
    match how & 3 {
        0 => {
            let value = after.get_mut(&page)?;
            let bit = place % (8 * value.len());
            value[bit / 8] ^= 1 << (bit % 8);
        }
        1 => {
            // Keep the last page of a chain, because `verify` cannot always detect its removal.
            let mut later = before.range(page.clone()..).skip(1).map(|(key, _)| key);
            later.next().filter(|key| key.starts_with(&page[..17]))?;
            after.remove(&page);
        }
        2 => {
            let other = pages[place % pages.len()];
            (*other != page).then_some(())?;
            after.insert(page.clone(), before[other].clone());
            after.insert(other.clone(), before[&page].clone());
        }
        _ => {
            let mut foreign = page.clone();
            foreign.truncate(1 + place % 32);
            foreign.resize(1 + place % 32, input.byte());
            if place & 32 == 32 && foreign.len() > 1 {
                *foreign.last_mut()? ^= 0x55;
            }
            (!before.contains_key(&foreign)).then_some(())?;
            after.insert(foreign.clone(), before[&page].clone());
            return Some((after, foreign));
        }
    }
    Some((after, page))
}

fn assert_found(page: &[u8], report: &VerifyReport) {
    let is_found = match page.len() {
        25 => {
            let sequence = u64::from_be_bytes(page[17..].try_into().unwrap());
            let of_chain = |writer| writer == page[1..17];
            (report.journal.iter()).any(|found| {
                found.writer.is_some_and(of_chain)
                    && (found.page..found.page + found.pages.max(1)).contains(&sequence)
            })
        }
        _ => (report.journal.iter()).any(|found| found.fault == JournalFault::Unexpected),
    };
    assert!(is_found, "{report:#?}");
}

/// The findings that `verify` must report, and those that it may report.
#[derive(Debug, Default)]
struct Expected {
    records: BTreeSet<Vec<u8>>,
    /// Records with a changed wrap of the data key. If the older wrap still opens, nothing is lost
    /// and no finding is needed.
    rewrapped: BTreeSet<Vec<u8>>,
    entries: usize,
    header: bool,
    content: bool,
}

impl Expected {
    fn new(before: &Objects, after: &Objects) -> Self {
        let mut expected = Self::default();
        let keys: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        for key in keys {
            let (then, now) = (before.get(key), after.get(key));
            if then == now {
                continue;
            }
            match key[0] {
                b'v' => expected.header = true,
                b'p' => expected.entries += 1,
                b's' => expected.content = true,
                _ if then.map(|then| &then[96..]) == now.map(|now| &now[96..]) => {
                    expected.rewrapped.insert(key[1..33].to_vec());
                }
                _ => drop(expected.records.insert(key[1..33].to_vec())),
            }
        }
        expected
    }

    fn compare(&self, report: &VerifyReport) {
        // `verify` reports an older version below an expunged marker as a leftover instead of a
        // record finding.
        let found = report.records.iter().chain(&report.leftovers);
        let found: BTreeSet<_> = found
            .map(|found| [found.chart, found.record].concat())
            .collect();
        assert!(self.records.is_subset(&found), "{self:?} {report:#?}");
        if self.content {
            // `verify` may report a changed segment for the only record that references it.
            assert!(found.len() <= 1, "{self:?} {report:#?}");
        } else {
            let mut found = found.iter();
            let are_expected =
                found.all(|found| self.records.contains(found) || self.rewrapped.contains(found));
            assert!(are_expected, "{self:?} {report:#?}");
        }
        assert_eq!(report.entries.len(), self.entries, "{self:?} {report:#?}");
        assert_eq!(report.header.is_some(), self.header, "{self:?} {report:#?}");
        let mut faults = report.journal.iter().map(|found| found.fault);
        assert!(
            faults.all(|fault| fault == JournalFault::Incomplete),
            "{report:#?}"
        );
    }
}

//! Lists of the storage keys under many prefixes.

use std::ops::ControlFlow;

use crate::crypto::ChartId;
use crate::error::{Error, Result};
use crate::format::storage_keys;
use crate::storage::{KEY_BYTES_MAX, Projection, Scan, ScanItem, ScanPage, Storage, scan_page};

/// Maximum number of storage keys per scan.
const KEYS_AT_ONCE: usize = 1024;

/// Number of storage keys in the first scan.
const FIRST_KEYS: usize = 16;

/// Scans of the storage keys of one class (first byte), which skip most keys that the caller does not
/// want.
///
/// The number of keys per scan doubles while most listed keys are wanted, and halves otherwise. Therefore,
/// neighbouring wanted keys share a scan, and few unwanted keys between distant ones are listed. No scan
/// asks for many more keys than the remaining prefixes probably have.
pub(super) struct KeyList<'a> {
    storage: &'a dyn Storage,
    limit: usize,
}

impl<'a> KeyList<'a> {
    pub(super) fn new(storage: &'a dyn Storage) -> Self {
        let limit = FIRST_KEYS;
        Self { storage, limit }
    }

    /// Passes each key with one of `prefixes` to `visit`, with the index of the prefix. The prefixes must
    /// be in ascending order and of the same length and class. If `visit` breaks, skips the other keys
    /// with the prefix.
    pub(super) fn each(
        &mut self,
        prefixes: &[Vec<u8>],
        visit: &mut dyn FnMut(usize, ScanItem) -> ControlFlow<()>,
    ) -> Result<()> {
        let (mut index, mut listed) = (0, Vec::new());
        // Number of wanted keys so far, and of those in the last scans that ended within one prefix.
        let (mut found, mut run) = (0_usize, 0);
        while let Some(prefix) = prefixes.get(index) {
            let Some(class) = prefix.first() else {
                break;
            };
            let first = index;
            let mean = found.div_ceil(first.max(1)).max(1);
            let expected = run.max(mean * (prefixes.len() - first));
            let limit = self.limit.min(expected);
            let page = self.page(*class, &before(prefix).max(listed), limit)?;
            let count = page.items.len();
            let mut wanted = 0;
            listed = page
                .items
                .last()
                .map(|item| item.key.clone())
                .unwrap_or_default();
            for item in page.items {
                index += passed(prefixes, index, &item.key);
                let Some(prefix) = prefixes.get(index) else {
                    break;
                };
                if item.key.starts_with(prefix) {
                    wanted += 1;
                    index += usize::from(visit(index, item).is_break());
                }
            }
            if !page.more {
                break;
            }
            index += passed(prefixes, index, &listed);
            found += wanted;
            run = if index == first { run + wanted } else { 0 };
            self.adapt(wanted, count);
        }
        Ok(())
    }

    /// Passes each chart that has keys of a class to `visit`, in ascending order, until `visit` breaks.
    /// Starts with the chart ids that begin with `first`.
    pub(super) fn each_chart(
        &mut self,
        class: u8,
        first: &[u8],
        visit: &mut dyn FnMut(ChartId) -> ControlFlow<()>,
    ) -> Result<()> {
        let mut after = [&[class], first].concat();
        loop {
            let page = self.page(class, &after, self.limit)?;
            let count = page.items.len();
            let (mut charts, mut last) = (0, None);
            after = page
                .items
                .last()
                .map(|item| item.key.clone())
                .unwrap_or_default();
            for chart in page
                .items
                .iter()
                .map(|item| storage_keys::chart_of(&item.key))
            {
                if chart.is_some() && chart != last {
                    charts += 1;
                    last = chart;
                    if chart.is_some_and(|chart| visit(chart).is_break()) {
                        return Ok(());
                    }
                }
            }
            if !page.more {
                return Ok(());
            }
            if let Some(chart) = last {
                after = after.max(storage_keys::behind(&storage_keys::chart(class, &chart)));
            }
            self.adapt(charts, count);
        }
    }

    fn page(&self, class: u8, after: &[u8], limit: usize) -> Result<ScanPage> {
        let page = scan_page(
            self.storage,
            Scan {
                prefix: &[class],
                after: Some(after),
                limit,
                projection: Projection::Keys,
            },
        )?;
        // A page without a key gives no place from which to continue.
        match page.items.is_empty() && page.more {
            true => Err(Error::Contended),
            false => Ok(page),
        }
    }

    /// Adapts the limit to the number of wanted keys among those that a scan listed.
    fn adapt(&mut self, wanted: usize, listed: usize) {
        self.limit = if wanted * 2 > listed {
            (self.limit * 2).min(KEYS_AT_ONCE)
        } else {
            (self.limit / 2).max(1)
        };
    }
}

/// Returns the number of prefixes from `index` on whose keys are all before `key`.
fn passed(prefixes: &[Vec<u8>], index: usize, key: &[u8]) -> usize {
    let prefixes = prefixes.get(index..).unwrap_or_default().iter();
    let passed = prefixes.take_while(|prefix| prefix.as_slice() < key && !key.starts_with(prefix));
    passed.count()
}

/// Returns a key after which a scan lists all keys with `prefix`, and few or no keys before them.
fn before(prefix: &[u8]) -> Vec<u8> {
    let mut key = prefix.to_vec();
    if let Some(last) = key.pop().and_then(|last| last.checked_sub(1)) {
        key.push(last);
        key.resize(KEY_BYTES_MAX, u8::MAX);
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Expect, MemoryStorage, Transaction};

    /// Returns the listed keys, each with the index of its prefix.
    fn list(stored: &[&str], prefixes: &[&str]) -> Vec<(usize, String)> {
        let storage = MemoryStorage::new();
        for key in stored {
            let put = Transaction::new().put(key.as_bytes(), b"", Expect::Absent);
            assert!(storage.commit(&[put]).iter().all(|done| done.is_ok()));
        }
        let prefixes: Vec<_> = prefixes.iter().map(|it| it.as_bytes().to_vec()).collect();
        let mut found = Vec::new();
        let mut visit = |index, item: ScanItem| {
            let key = String::from_utf8_lossy(&item.key).into_owned();
            let is_last = key.ends_with('!');
            found.push((index, key));
            match is_last {
                true => ControlFlow::Break(()),
                false => ControlFlow::Continue(()),
            }
        };
        let listed = KeyList::new(&storage).each(&prefixes, &mut visit);
        assert_eq!(listed, Ok(()));
        found
    }

    #[test]
    fn keys_with_wanted_prefixes_are_listed() {
        let stored = [
            "a1", "b1", "b2", "b2x", "b3a", "b3b", "b4", "b5", "b5b", "b5c", "b7", "c",
        ];
        let found = list(&stored, &["b2", "b3", "b5", "b6", "b8"]);
        let expected = [
            (0, "b2"),
            (0, "b2x"),
            (1, "b3a"),
            (1, "b3b"),
            (2, "b5"),
            (2, "b5b"),
            (2, "b5c"),
        ];
        let expected = expected.map(|(index, key)| (index, key.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn rest_of_a_prefix_is_skipped() {
        let stored = ["b1a", "b1b!", "b1c", "b1d", "b1e", "b2a", "b2b"];
        let found = list(&stored, &["b1", "b2"]);
        let expected = [(0, "b1a"), (0, "b1b!"), (1, "b2a"), (1, "b2b")];
        assert_eq!(found, expected.map(|(index, key)| (index, key.to_owned())));
    }

    #[test]
    fn prefix_with_many_keys_is_listed_completely() {
        let mut stored: Vec<_> = (10..60).map(|n| format!("a{n}")).collect();
        stored.extend((0..3000).map(|n| format!("a61{n:04}")));
        stored.push("a62".to_owned());
        let stored: Vec<&str> = stored.iter().map(String::as_str).collect();
        let prefixes: Vec<_> = (10..63).map(|n| format!("a{n}")).collect();
        let prefixes: Vec<&str> = prefixes.iter().map(String::as_str).collect();
        let found = list(&stored, &prefixes).into_iter().map(|(_, key)| key);
        assert!(found.eq(stored.iter().map(|key| (*key).to_owned())));
    }

    #[test]
    fn prefix_bound_is_before_all_keys_of_prefix() {
        assert_eq!(before(b"b\0"), b"b");
        let bound = before(b"b1");
        assert!(bound.starts_with(b"b0") && bound.len() == KEY_BYTES_MAX);
    }
}

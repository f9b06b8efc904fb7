//! Checks of scans: ascending order, restriction to the prefix, completeness over all pages, and the
//! lengths of values.

use crate::storage::conformance::{Check, Flaw, commit, ensure, present};
use crate::storage::{
    Expect, Projection, Scan, ScanItem, ScanPage, Storage, StorageError, Transaction,
};

pub(super) const CHECKS: &[(&str, Check)] = &[
    ("scan nothing", nothing),
    ("scan prefixes", prefixes),
    ("scan after", after),
    ("scan pages", pages),
    ("scan projections", projections),
    ("scan ends", ends),
    ("scan lengths", lengths),
];

/// Length of a large value, in bytes. `FileStorage` stores such a value outside its database.
pub(super) const LARGE_BYTES: usize = 300_000;

fn nothing(storage: &dyn Storage) -> Result<(), Flaw> {
    ensure(
        walk(storage, b"", None, 10)?.is_empty(),
        "a fresh storage has keys",
    )
}

fn prefixes(storage: &dyn Storage) -> Result<(), Flaw> {
    let keys = plant(storage)?;
    let chart = [[b'r'].as_slice(), &[7; 16]].concat();
    let record = [chart.as_slice(), &[0xff; 16]].concat();
    let prefixes: [&[u8]; 11] = [
        b"",
        b"p",
        b"q",
        b"r",
        b"v",
        b"r\x07",
        &[0],
        &[0xff],
        &[0xff, 0xff],
        &chart,
        &record,
    ];
    for prefix in prefixes {
        let expected = with_prefix(&keys, prefix);
        ensure(
            found(&walk(storage, prefix, None, 1000)?) == expected,
            "a scan does not return all keys of its prefix in order",
        )?;
    }
    Ok(())
}

fn after(storage: &dyn Storage) -> Result<(), Flaw> {
    let keys = plant(storage)?;
    let mut marks = keys.clone();
    marks.extend([
        vec![b'a'],
        vec![b'r'],
        vec![b'r', 7, 0],
        vec![b'z'],
        vec![0xff; 64],
    ]);
    for mark in &marks {
        for prefix in [b"".as_slice(), b"r", b"\xff"] {
            let expected: Vec<_> = keys
                .iter()
                .filter(|key| key.starts_with(prefix) && *key > mark)
                .cloned()
                .collect();
            ensure(
                found(&walk(storage, prefix, Some(mark), 1000)?) == expected,
                "a scan does not return exactly the keys above `after`",
            )?;
        }
    }
    Ok(())
}

fn pages(storage: &dyn Storage) -> Result<(), Flaw> {
    let keys = plant(storage)?;
    for limit in [1, 2, 3, keys.len() - 1, keys.len(), keys.len() + 1] {
        ensure(
            found(&walk(storage, b"", None, limit)?) == keys,
            "the pages of a scan do not contain all keys in order",
        )?;
    }
    Ok(())
}

fn projections(storage: &dyn Storage) -> Result<(), Flaw> {
    let long: Vec<u8> = (0..=u8::MAX).cycle().take(70_000).collect();
    let put = Transaction::new()
        .put(b"r1", b"", Expect::Any)
        .put(b"r2", b"12345", Expect::Any)
        .put(b"r3", long.clone(), Expect::Any);
    commit(storage, put)?;
    for projection in [
        Projection::Keys,
        Projection::Head(0),
        Projection::Head(5),
        Projection::Head(96),
        Projection::Head(usize::MAX),
        Projection::Values,
    ] {
        let page = storage.scan(Scan {
            prefix: b"r",
            after: None,
            limit: 10,
            projection,
        })?;
        let values: Vec<_> = page.items.iter().map(|item| &*item.value).collect();
        ensure(
            values == [b"".as_slice(), b"12345", &long].map(|value| projection.of(value)),
            "a scan returns more or less of a value than its projection",
        )?;
        for item in &page.items {
            ensure(
                present(storage, &item.key)?.revision == item.revision,
                "a scan returns another revision than a read",
            )?;
        }
    }
    Ok(())
}

fn ends(storage: &dyn Storage) -> Result<(), Flaw> {
    let keys = plant(storage)?;
    for projection in [Projection::Keys, Projection::Head(1), Projection::Values] {
        for limit in [1, 3, keys.len() - 1, keys.len(), keys.len() + 1] {
            for prefix in [b"".as_slice(), b"r", b"\xff"] {
                let items = walk_by_end(|scan| storage.scan(scan), prefix, limit, projection)?;
                let expected = with_prefix(&keys, prefix);
                ensure(
                    found(&items) == expected,
                    "pages that each continue at the end of the page before do not contain all keys",
                )?;
            }
        }
    }
    Ok(())
}

fn lengths(storage: &dyn Storage) -> Result<(), Flaw> {
    let lengths = [
        0,
        5,
        96,
        97,
        70_000,
        (256 << 10) - 1,
        256 << 10,
        LARGE_BYTES,
    ];
    for (number, length) in (0_u8..).zip(lengths) {
        let put = Transaction::new().put([b's', number], vec![number; length], Expect::Absent);
        commit(storage, put)?;
    }
    for projection in [
        Projection::Head(0),
        Projection::Head(96),
        Projection::Head(usize::MAX),
        Projection::Values,
    ] {
        for limit in [1, 10] {
            let items = walk_by_end(|scan| storage.scan(scan), b"s", limit, projection)?;
            let found = items.iter().map(|item| item.length);
            ensure(
                found.eq(lengths.map(|length| length as u64)),
                "the length in a scan item is not the length of the whole value",
            )?;
        }
    }
    Ok(())
}

/// Writes keys just inside and outside of typical prefixes, to reveal wrong scan bounds and a wrong
/// order. Returns the keys in ascending order.
pub(super) fn plant(storage: &dyn Storage) -> Result<Vec<Vec<u8>>, Flaw> {
    let mut keys: Vec<Vec<u8>> = vec![vec![0], vec![0, 0], vec![b'v'], vec![0xff], vec![0xff; 64]];
    for chart in [6, 7, 8] {
        for record in [0, 0x7f, 0x80, 0xff] {
            let mut key = vec![b'r'];
            key.extend([chart; 16]);
            key.extend([record; 16]);
            keys.push(key.clone());
            key.extend([record; 8]);
            keys.push(key);
        }
    }
    keys.extend([
        vec![b'r', 6, 0xff],
        vec![b'r', 7],
        vec![b'r', 8],
        vec![b'p', 1],
        vec![b'q'],
    ]);
    for key in keys.iter().rev() {
        commit(
            storage,
            Transaction::new().put(key.clone(), key.clone(), Expect::Absent),
        )?;
    }
    commit(
        storage,
        Transaction::new().put(b"r\x07gone", b"gone", Expect::Absent),
    )?;
    commit(storage, Transaction::new().delete(b"r\x07gone"))?;
    keys.sort();
    Ok(keys)
}

/// Returns the items of all pages of a scan, and checks the contract on each page.
pub(super) fn walk(
    storage: &dyn Storage,
    prefix: &[u8],
    after: Option<&[u8]>,
    limit: usize,
) -> Result<Vec<ScanItem>, Flaw> {
    let mut items: Vec<ScanItem> = Vec::new();
    let mut after = after.map(<[u8]>::to_vec);
    loop {
        let page = storage.scan(Scan {
            prefix,
            after: after.as_deref(),
            limit,
            projection: Projection::Values,
        })?;
        ensure(page.items.len() <= limit, "a page is longer than its limit")?;
        ensure(
            !page.more || !page.items.is_empty(),
            "an empty page reports that more keys follow, so a caller cannot continue",
        )?;
        if let Some(last) = page.items.last() {
            after = Some(last.key.clone());
        }
        items.extend(page.items);
        if !page.more {
            break;
        }
    }
    ensure(
        items.is_sorted_by(|one, next| one.key < next.key),
        "a scan is not in ascending order of unsigned bytes, or repeats a key",
    )?;
    Ok(items)
}

/// Returns the items of all pages of a scan of a storage or snapshot. Each page continues at the end
/// of the page before.
pub(super) fn walk_by_end(
    scan: impl Fn(Scan<'_>) -> Result<ScanPage, StorageError>,
    prefix: &[u8],
    limit: usize,
    projection: Projection,
) -> Result<Vec<ScanItem>, Flaw> {
    let mut items = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = scan(Scan {
            prefix,
            after: after.as_deref(),
            limit,
            projection,
        })?;
        ensure(
            page.unreadable.is_empty(),
            "a page of a storage without damage contains an unreadable range",
        )?;
        ensure(page.items.len() <= limit, "a page is longer than its limit")?;
        let end = page.end().map(<[u8]>::to_vec);
        ensure(
            !page.more || end > after,
            "a page reports that more keys follow, but does not end above the page before",
        )?;
        after = end;
        items.extend(page.items);
        if !page.more {
            return Ok(items);
        }
    }
}

fn found(items: &[ScanItem]) -> Vec<Vec<u8>> {
    items.iter().map(|item| item.key.clone()).collect()
}

/// Returns the keys with a prefix, in the same order.
fn with_prefix(keys: &[Vec<u8>], prefix: &[u8]) -> Vec<Vec<u8>> {
    let found = keys.iter().filter(|key| key.starts_with(prefix));
    found.cloned().collect()
}

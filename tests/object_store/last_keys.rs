//! Tests of the search for the greatest keys: its result, and its number of requests.

use std::sync::atomic::{AtomicUsize, Ordering};

use chartlock::storage::Storage;

use crate::common::content::Random;
use crate::common::http_proxy::Action;
use crate::fake_bucket::{bucket, open};

fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn page(chain: u8, number: u64) -> Vec<u8> {
    [b"j".as_slice(), &[chain; 16], &number.to_be_bytes()].concat()
}

/// Returns the number of requests that find the last pages of chains with these lengths.
fn requests_for(chains: &[(u8, u64)]) -> usize {
    let (proxy, objects) = bucket(|_| None);
    {
        let mut objects = objects.lock().unwrap();
        objects.put(&hex(b"a"), b"1");
        objects.put(&hex(b"r1"), b"1");
        for (chain, pages) in chains {
            for number in 0..*pages {
                objects.put(&hex(&page(*chain, number)), b"1");
            }
        }
    }
    let storage = open(&proxy);
    let prefixes: Vec<_> = chains
        .iter()
        .map(|(chain, _)| page(*chain, 0)[..17].to_vec())
        .collect();
    let prefixes: Vec<&[u8]> = prefixes.iter().map(Vec::as_slice).collect();
    let found = storage.last(&prefixes).unwrap();
    let expected: Vec<_> = chains
        .iter()
        .map(|(chain, pages)| Some(page(*chain, pages - 1)))
        .collect();
    assert_eq!(found, expected);
    proxy.take().len()
}

#[test]
fn short_chains_need_one_request() {
    let chains: Vec<_> = (0..250).map(|chain| (chain, 1)).collect();
    assert_eq!(requests_for(&chains), 1);
}

#[test]
fn long_chains_need_few_requests_each() {
    let lengths = [2180, 2500, 3000, 3999, 4000, 4001, 5964];
    let chains: Vec<_> = (1..).zip(lengths).collect();
    let requests = requests_for(&chains);
    println!("{requests} requests");
    assert!(requests <= 7 * 6, "{requests}");
}

/// Keys of any lengths and distances, and prefixes that contain each other.
#[test]
fn greatest_keys_of_any_prefixes_are_found() {
    let (proxy, objects) = bucket(|_| None);
    let mut random = Random(7);
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for number in 0..6000_u64 {
        let length = 1 + random.next() as usize % 20;
        let mut key = vec![b'p', (random.next() % 3) as u8];
        key.extend((0..length).map(|_| [0, 1, 0x0f, 0x10, 0xf0, 0xff][random.next() as usize % 6]));
        if number.is_multiple_of(3) {
            key = [b"q".as_slice(), &(number * number).to_be_bytes()].concat();
        }
        keys.push(key);
    }
    keys.extend([vec![b'q'; 64], vec![0], vec![0, 0], vec![0xff; 64]]);
    {
        let mut objects = objects.lock().unwrap();
        for key in &keys {
            objects.put(&hex(key), b"1");
        }
    }
    let storage = open(&proxy);
    let prefixes: [&[u8]; 14] = [
        b"",
        b"\0",
        b"\0\0",
        b"\0\0\0",
        b"\xff",
        b"p",
        b"p\0",
        b"p\x01\xff",
        b"p\x02",
        b"q",
        b"q\0\0\0",
        b"q\0\0\0\0\x01",
        b"zz",
        b"o",
    ];
    let expected: Vec<_> = prefixes
        .iter()
        .map(|prefix| {
            keys.iter()
                .filter(|key| key.starts_with(prefix))
                .max()
                .cloned()
        })
        .collect();
    assert_eq!(storage.last(&prefixes).unwrap(), expected);
    for (prefix, expected) in prefixes.iter().zip(expected) {
        assert_eq!(storage.last(&[*prefix]).unwrap(), [expected], "{prefix:?}");
    }
}

/// Another process writes a key above the position after which the search found no key.
#[test]
fn key_written_during_the_search_is_found() {
    let key = |position: u64| [b"j".as_slice(), &position.to_be_bytes()].concat();
    let lists = AtomicUsize::new(0);
    let (proxy, _) = bucket(move |request| {
        let prefix = request.parameter("prefix")?;
        if !prefix.ends_with(&hex(b"j")) {
            return None;
        }
        let (more, positions): (bool, &[u64]) = match lists.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => (true, &[1, 2]),
            3 => (true, &[10]),
            _ => (false, &[]),
        };
        let contents = positions.iter().map(|position| {
            let name = hex(&key(*position));
            format!(
                "<Contents><Key>north/{name}</Key><Size>1</Size><ETag>&quot;1&quot;</ETag>\
                 <LastModified>2026-11-30T00:00:00Z</LastModified></Contents>"
            )
        });
        let contents: String = contents.collect();
        let body = format!(
            "<ListBucketResult>{contents}<IsTruncated>{more}</IsTruncated></ListBucketResult>"
        );
        Some(Action::Answer(200, String::new(), body.into_bytes()))
    });
    let storage = open(&proxy);
    assert_eq!(storage.last(&[b"j"]).unwrap(), [Some(key(10))]);
    assert_eq!(proxy.take().len(), 5);
}

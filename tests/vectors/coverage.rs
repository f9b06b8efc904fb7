//! Vectors of the covered chain heads: second implementation of that object of format.md, which uses
//! no code of this crate, and the checks of the library.

use chartlock::internals::journal::{Coverage, PageId, digest_of, last_pages};
use chartlock::internals::keys::Header;
use chartlock::internals::vault;
use chartlock::keys::Credential;
use chartlock::storage::Storage;
use serde_json::{Value, json};
use wincode::{SchemaRead, SchemaWrite};

use crate::cases::{Files, file};
use crate::container::{Objects, Vector};
use crate::formula::{Key, coverage_key, seal, sha256};
use crate::page::{Place, Seen, hex, joined};
use crate::pages::{strict, two_chains, writer};
use crate::writer::{NOW, World};

/// Body of the object.
#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct Covered {
    pub schema: u16,
    pub page: Seen,
    pub walked: i64,
    pub ranges: Vec<CoveredRange>,
    pub listed: Vec<Place>,
    pub extensions: Vec<(u16, Vec<u8>)>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone, PartialEq)]
pub struct CoveredRange {
    pub last: [u8; 16],
    pub digest: Key,
}

fn place_json(place: &Place) -> Value {
    json!({ "writer": hex(&place.writer), "sequence": place.sequence })
}

/// Returns the digest of a range.
fn digest(heads: &[Place]) -> Key {
    let heads = heads.iter().flat_map(|head| {
        let sequence = head.sequence.to_be_bytes();
        [&head.writer[..], &sequence].concat()
    });
    sha256(&[&heads.collect::<Vec<u8>>()])
}

/// Returns the heads of a storage's chains, in ascending order.
fn heads(storage: &Objects) -> Vec<Place> {
    let mut heads: Vec<Place> = Vec::new();
    for key in storage
        .keys()
        .filter(|key| key[0] == b'j' && key.len() == 25)
    {
        let head = Place {
            writer: key[1..17].try_into().unwrap(),
            sequence: u64::from_be_bytes(key[17..].try_into().unwrap()),
        };
        match heads.last_mut() {
            Some(last) if last.writer == head.writer => *last = head,
            _ => heads.push(head),
        }
    }
    heads
}

impl Covered {
    fn uncovered(&self, storage: &Objects) -> Vec<Place> {
        let mut uncovered = Vec::new();
        let mut after = None;
        let listed = |writer: &[u8; 16]| self.listed.iter().find(|head| head.writer == *writer);
        let all = heads(storage);
        let rest =
            |head: &&Place| listed(&head.writer).is_none() && head.writer != self.page.page.writer;
        for range in &self.ranges {
            let of = |head: &&Place| after < Some(head.writer) && head.writer <= range.last;
            let heads: Vec<_> = all.iter().filter(rest).filter(of).copied().collect();
            if digest(&heads) != range.digest {
                uncovered.extend(heads);
            }
            after = Some(range.last);
        }
        uncovered.extend(
            all.iter()
                .filter(rest)
                .filter(|head| after < Some(head.writer)),
        );
        uncovered.extend(all.iter().filter(|head| match listed(&head.writer) {
            Some(listed) => listed.sequence < head.sequence,
            None => head.writer == self.page.page.writer,
        }));
        uncovered.sort_by_key(|head| head.writer);
        uncovered
    }

    /// Returns the JSON that the vectors contain.
    pub fn content_json(&self, storage: &Objects) -> Vec<u8> {
        let page = json!({ "digest": hex(&self.page.digest) });
        let ranges = self
            .ranges
            .iter()
            .map(|range| json!({ "last": hex(&range.last), "digest": hex(&range.digest) }));
        let json = json!({
            "page": joined([place_json(&self.page.page), page]),
            "walked": self.walked,
            "ranges": ranges.collect::<Value>(),
            "listed": self.listed.iter().map(place_json).collect::<Value>(),
            "uncovered": self.uncovered(storage).iter().map(place_json).collect::<Value>(),
        });
        serde_json::to_vec(&json).unwrap()
    }
}

/// Seals a body under the authority key with this index.
fn put(world: &mut World, kind: u8, authority: usize, body: &[u8]) {
    let authority = &world.keyring.authority_keys[authority];
    let mut head = vec![1, world.suite, kind, 0];
    head.extend(authority.number.to_le_bytes());
    let salt = world.draw("coverage salt");
    let (key, commitment) = coverage_key(&authority.key, &salt, &world.vault, &head);
    let sealed = seal(world.suite, &key, 0, body);
    let value = [&head[..], &salt, &commitment, &sealed].concat();
    world.storage.insert(b"a".to_vec(), value);
}

/// Builds a journal of four chains. The object names the last page of the third chain, lists the first
/// chain, and has a range of the second chain and a range of the fourth.
fn covered(world: &mut World) -> Covered {
    let [.., last, other_first, other] = two_chains(world);
    let mut more = [30_000, 90_000].map(|after| Place {
        writer: writer(world, "one more writer", after),
        sequence: 0,
    });
    for at in &more {
        let page = strict(world, [0; 32]);
        world.put_page(at, &page);
    }
    more.sort_by_key(|place| place.writer);
    let value = &world.storage[&world.page_at(&other)];
    assert_eq!(other_first.writer, other.writer);
    Covered {
        schema: 1,
        page: Seen {
            page: other,
            digest: sha256(&[value]),
        },
        walked: NOW - 86_400_000,
        ranges: vec![
            CoveredRange {
                last: more[0].writer,
                digest: digest(&more[..1]),
            },
            CoveredRange {
                last: [0xff; 16],
                digest: digest(&more[1..]),
            },
        ],
        listed: vec![last],
        extensions: vec![(7, vec![1, 2, 3])],
    }
}

/// Adds a vector that requests the covered chain heads.
fn coverage_file(
    files: &mut Files,
    what: (&str, &str),
    expect: &str,
    make: impl FnOnce(&mut World, Covered),
) {
    file(files, what, expect, |world| {
        world.forget("subject patient");
        world.forget("record");
        world.about("coverage", b"");
        world.header();
        let covered = covered(world);
        make(world, covered);
    });
}

fn body(covered: &Covered) -> Vec<u8> {
    wincode::serialize(covered).unwrap()
}

fn opens(files: &mut Files, what: (&str, &str), make: impl FnOnce(&mut World, &mut Covered)) {
    coverage_file(files, what, "ok", |world, mut covered| {
        make(world, &mut covered);
        put(world, 24, 0, &body(&covered));
        let content = covered.content_json(&world.storage);
        world.about("content", &content);
    });
}

/// Returns the vectors that the library must open.
pub fn all() -> Files {
    let mut files = Files::new();
    for name in ["coverage", "coverage-chacha"] {
        let what = (name, "all heads are covered, except that of the page");
        opens(&mut files, what, |_, _| {});
    }
    let what = ("coverage-grown", "a listed chain has grown");
    opens(&mut files, what, |_, covered| {
        covered.listed[0].sequence -= 1
    });
    let what = ("coverage-listed-beyond", "a listed chain was cut");
    opens(&mut files, what, |_, covered| {
        covered.listed[0].sequence = u64::MAX
    });
    let what = ("coverage-range", "a range of other heads");
    opens(&mut files, what, |world, covered| {
        covered.ranges[1].digest = world.draw("digest of a range");
    });
    let what = ("coverage-few", "no range and no list");
    opens(&mut files, what, |_, covered| {
        covered.ranges.clear();
        covered.listed.clear();
        covered.extensions.clear();
    });
    unused(&mut files);
    files
}

/// Adds vectors that are valid, but are not used because of their page.
fn unused(files: &mut Files) {
    let what = ("coverage-absent", "no such object");
    coverage_file(files, what, "none", |_, _| {});
    let what = ("coverage-page-gone", "the page does not exist");
    coverage_file(files, what, "none", |world, mut covered| {
        covered.page.page.sequence += 1;
        put(world, 24, 0, &body(&covered));
    });
    let what = ("coverage-page-other", "the page has another digest");
    coverage_file(files, what, "none", |world, mut covered| {
        covered.page.digest = world.draw("digest of another page");
        put(world, 24, 0, &body(&covered));
    });
}

/// Returns the vectors that the library must refuse.
pub fn refused() -> Files {
    let mut files = Files::new();
    let what = ("coverage-key-inactive", "an inactive authority key");
    coverage_file(&mut files, what, "NotAuthentic", |world, covered| {
        world.rotate_journal_keys(Vec::new());
        world.header();
        put(world, 24, 1, &body(&covered));
    });
    let what = ("coverage-kind", "another kind");
    coverage_file(&mut files, what, "Unsupported", |world, covered| {
        put(world, 23, 0, &body(&covered));
    });
    bytes(&mut files);
    bodies(&mut files);
    files
}

/// Name, title, expected result, and change of the object.
type Case<T> = (&'static str, &'static str, &'static str, fn(&mut T));

/// Adds vectors with changed bytes of the value.
fn bytes(files: &mut Files) {
    let cases: [Case<Vec<u8>>; 9] = [
        ("short", "7 bytes", "Malformed", |value| value.truncate(7)),
        ("format", "another format", "Unsupported", |value| {
            value[0] = 2
        }),
        ("suite", "another suite", "Unsupported", |value| {
            value[1] = 3
        }),
        ("reserved", "byte 3 is not zero", "Malformed", |value| {
            value[3] = 1
        }),
        ("number", "another key number", "NotAuthentic", |value| {
            value[4] ^= 1
        }),
        ("length", "87 bytes", "Malformed", |value| {
            value.truncate(87)
        }),
        ("salt", "another salt", "NotAuthentic", |value| {
            value[8] ^= 1
        }),
        (
            "commitment",
            "another commitment",
            "NotAuthentic",
            |value| value[40] ^= 1,
        ),
        ("tag", "another tag", "NotAuthentic", |value| {
            *value.last_mut().unwrap() ^= 1
        }),
    ];
    for (name, title, expect, change) in cases {
        let name = format!("coverage-{name}");
        coverage_file(files, (&name, title), expect, |world, covered| {
            put(world, 24, 0, &body(&covered));
            change(world.storage.get_mut(&b"a"[..]).unwrap());
        });
    }
}

/// Adds vectors with bodies that break a rule.
fn bodies(files: &mut Files) {
    let cases: [Case<Covered>; 6] = [
        ("schema", "another schema", "Unsupported", |covered| {
            covered.schema = 2
        }),
        ("ranges", "ranges out of order", "Malformed", |covered| {
            covered.ranges.reverse()
        }),
        ("range-twice", "a range twice", "Malformed", |covered| {
            covered.ranges[1] = covered.ranges[0].clone();
        }),
        (
            "listed-twice",
            "a listed chain twice",
            "Malformed",
            |covered| {
                covered.listed.push(covered.listed[0]);
            },
        ),
        (
            "extensions",
            "extensions out of order",
            "Malformed",
            |covered| {
                covered.extensions.push((7, vec![]));
            },
        ),
        (
            "extension-must",
            "an extension from 0x8000 on",
            "Unsupported",
            |covered| {
                covered.extensions.push((0x8000, vec![]));
            },
        ),
    ];
    for (name, title, expect, change) in cases {
        let name = format!("coverage-{name}");
        coverage_file(files, (&name, title), expect, |world, mut covered| {
            change(&mut covered);
            put(world, 24, 0, &body(&covered));
        });
    }
    let what = ("coverage-trailing", "a byte after the last field");
    coverage_file(files, what, "Malformed", |world, covered| {
        put(world, 24, 0, &[&body(&covered)[..], &[0]].concat());
    });
}

/// Opens the object of a vector with the library, and returns the result in the form that the vectors
/// contain.
pub fn outcome(vector: &Vector, storage: &dyn Storage, credential: &dyn Credential) -> String {
    let Some(value) = vector.storage.get(&b"a"[..]) else {
        return "none".into();
    };
    let header = Header::parse(&vector.storage[b"v".as_slice()]).unwrap();
    let keyring = header.unlock(credential).unwrap().keyring;
    let sealer = vault::sealer(header.suite(), header.vault(), &keyring);
    let coverage = match Coverage::open(value, &sealer) {
        Ok(coverage) => coverage,
        Err(error) => return format!("{error:?}"),
    };
    let page = coverage.page;
    if digest_of(storage, &page.page).unwrap() != Some(page.digest) {
        return "none".into();
    }
    let place = |page: &PageId| json!({ "writer": hex(&page.writer), "sequence": page.sequence });
    let ranges = coverage.covered.ranges();
    let ranges = ranges.map(|(last, digest)| json!({ "last": hex(last), "digest": hex(digest) }));
    let heads = last_pages(storage, &|| false).unwrap().unwrap();
    let found = json!({
        "page": joined([place(&page.page), json!({ "digest": hex(&page.digest) })]),
        "walked": coverage.covered.walked,
        "ranges": ranges.collect::<Value>(),
        "listed": coverage.covered.listed().map(|page| place(&page)).collect::<Value>(),
        "uncovered": coverage.uncovered(&heads, None).iter().map(place).collect::<Value>(),
    });
    let content: Value = serde_json::from_slice(&vector.about["content"]).unwrap();
    assert_eq!(found, content);
    "ok".into()
}

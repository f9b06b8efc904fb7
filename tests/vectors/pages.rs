//! Vectors of journal pages and chains that the library must open.

use crate::cases::{Files, file};
use crate::formula::{Key, jnam, jsub, sha256};
use crate::mirror::Head;
use crate::page::{
    Context, Entry, Page, Place, ReadVersion, Record, Seen, Subject, Target, Written,
};
use crate::writer::{Filter, NAME, NOW, World};

/// Returns the id of a journal writer whose chain began `after` milliseconds after `NOW`.
pub fn writer(world: &World, what: &str, after: i64) -> [u8; 16] {
    let mut writer = world.draw16(what);
    writer[..6].copy_from_slice(&(NOW + after).to_be_bytes()[2..]);
    writer
}

pub fn place(world: &World, sequence: u64) -> Place {
    let writer = writer(world, "writer", 0);
    Place { writer, sequence }
}

pub fn context(actor: &str) -> Context {
    Context {
        actor: actor.into(),
        purpose: "TREAT".into(),
        request: String::new(),
        organization: String::new(),
        under_break_glass: 0,
    }
}

pub fn subject(world: &World, kind: u8, identifier: &str) -> Subject {
    let key = &world.keyring.journal_keys.last().unwrap().key;
    Subject {
        chart: world.entry.charts[0].id,
        jsub: jsub(key, kind, identifier),
    }
}

fn record(world: &World) -> Record {
    let key = &world.keyring.journal_keys.last().unwrap().key;
    Record {
        rtag: world.rtag(NAME),
        jnam: jnam(key, NAME),
    }
}

pub fn entry(operation: u8, target: Target) -> Entry {
    Entry {
        after: 0,
        context: 0,
        operation,
        outcome: 0,
        stage: 0,
        target,
        reason: None,
        consent: None,
        note: None,
    }
}

/// Returns the journal entry for the first write of the vectors' record.
fn written(world: &World) -> Entry {
    let version = Target::Version {
        subject: 0,
        record: record(world),
        version: 1,
        digest: world.draw("digest of a version"),
    };
    entry(5, version)
}

/// Returns a page with one entry.
pub fn strict(world: &World, previous: Key) -> Page {
    Page {
        schema: 1,
        previous,
        began: NOW,
        latest: NOW - 1000,
        seen: Vec::new(),
        contexts: vec![context("dr.garcia")],
        subjects: vec![subject(world, 1, "MRN-1042")],
        entries: vec![written(world)],
        extensions: Vec::new(),
    }
}

/// Returns a page with one entry about the vault, as an auditor writes it.
pub fn audited(world: &World, operation: u8) -> Page {
    Page {
        subjects: Vec::new(),
        entries: vec![entry(operation, Target::Vault)],
        ..strict(world, [0; 32])
    }
}

/// Returns a page with every kind of target and field.
fn full(world: &World) -> Page {
    let digest = |what: &str| world.draw(what);
    let record = record(world);
    let written = Written {
        sequence: 8,
        digest: digest("digest of a later entry"),
    };
    let targets = [
        Target::Vault,
        Target::Header {
            generation: 3,
            digest: digest("digest of a header"),
        },
        Target::Subject { subject: 1 },
        Target::Entry {
            subject: 2,
            sequence: 7,
            digest: digest("digest of an entry"),
        },
        Target::Record {
            subject: 0,
            record,
            version: 0,
        },
        Target::Record {
            subject: 0,
            record: Record {
                rtag: [0; 16],
                ..record
            },
            version: u64::MAX,
        },
        Target::Version {
            subject: 0,
            record,
            version: 2,
            digest: digest("digest of a version"),
        },
        Target::Settled {
            page: place(world, 0),
            place: 9,
        },
        Target::Finding {
            fault: 255,
            chain: place(world, 0).writer,
            page: 3,
            pages: u64::MAX,
        },
        Target::Slot { slot: 7, kind: 1 },
        Target::Slot {
            slot: u16::MAX,
            kind: 0x8002,
        },
        Target::MasterKey { number: u32::MAX },
        Target::Reencrypted {
            subject: 0,
            record,
            version: 2,
            before: digest("digest of a version"),
            after: digest("digest after a re-encryption"),
        },
        Target::Records {
            subject: 1,
            read: vec![
                ReadVersion {
                    record,
                    version: u64::MAX,
                },
                ReadVersion { record, version: 1 },
            ],
        },
        Target::Retention {
            subject: 0,
            written: Some(written),
            until: Some(-1),
        },
        Target::Retention {
            subject: 1,
            written: None,
            until: None,
        },
        Target::Hold {
            subject: 0,
            written: Some(written),
            hold: 1 << 52,
        },
        Target::Hold {
            subject: 2,
            written: None,
            hold: u64::MAX,
        },
    ];
    let mut entries: Vec<_> = (1..=48)
        .zip(targets.iter().cycle())
        .map(|(operation, target)| entry(operation, target.clone()))
        .collect();
    for (entry, n) in entries.iter_mut().zip(0_u8..) {
        entry.after = u32::from(n) * 1000;
        entry.context = u16::from(n) % 2;
        entry.outcome = n % 6;
        entry.stage = u32::from(n % 7 == 3);
        let text = |every: u8| (n % every == 0).then(|| "sé".repeat(n.into()));
        entry.note = text(5);
        entry.reason = text(3);
        entry.consent = text(4);
    }
    entries[46].after = u32::MAX;
    Page {
        seen: vec![Seen {
            page: Place {
                writer: writer(world, "other writer", -5),
                sequence: 1 << 40,
            },
            digest: digest("digest of a page"),
        }],
        contexts: vec![
            context("dr.garcia"),
            Context {
                actor: "Dr. Muñoz".into(),
                purpose: "ETREAT".into(),
                request: "req-7".into(),
                organization: "Clínica Sol".into(),
                under_break_glass: 1,
            },
        ],
        subjects: vec![
            subject(world, 1, "MRN-1042"),
            subject(world, 2, "MRN-1042"),
            Subject {
                chart: [0; 16],
                ..subject(world, 1, "MRN-1042")
            },
        ],
        entries,
        extensions: vec![(0, vec![]), (1, vec![1, 2, 3]), (0x7fff, vec![7; 40])],
        ..strict(world, [0; 32])
    }
}

/// Adds a vector that requests a journal page instead of a record.
pub fn page_file(
    files: &mut Files,
    what: (&str, &str),
    expect: &str,
    make: impl FnOnce(&mut World, &Place),
) {
    file(files, what, expect, |world| {
        let at = place(world, 0);
        ask(world, &at);
        make(world, &at);
    });
}

/// Makes the vector request this page.
pub fn ask(world: &mut World, at: &Place) {
    world.forget("subject patient");
    world.forget("record");
    let key = world.page_at(at);
    world.about("page", &key[1..]);
}

/// Adds a vector with a page that the library must open.
fn opens(files: &mut Files, what: (&str, &str), make: impl FnOnce(&mut World) -> Page) {
    page_file(files, what, "ok", |world, at| {
        let page = make(world);
        world.header();
        world.put_page(at, &page);
        world.about("content", &page.content_json());
    });
}

pub fn all() -> Files {
    let mut files = Files::new();
    let first = |world: &mut World| strict(world, [0; 32]);
    for name in ["page", "page-chacha"] {
        opens(
            &mut files,
            (name, "the first page of a chain, with one entry"),
            first,
        );
    }
    let what = (
        "page-full",
        "a page with every operation, outcome and target",
    );
    opens(&mut files, what, |world| full(world));
    let what = ("page-empty", "a page without entries");
    opens(&mut files, what, |world| Page {
        contexts: Vec::new(),
        subjects: Vec::new(),
        entries: Vec::new(),
        ..strict(world, [0; 32])
    });
    let what = (
        "page-last-time",
        "a time beyond the last one is the last one",
    );
    opens(&mut files, what, |world| {
        let mut page = strict(world, [0; 32]);
        page.began = i64::MAX - 1;
        page.entries[0].after = 2;
        page
    });
    let what = ("page-first-time", "a time before 1970");
    opens(&mut files, what, |world| Page {
        began: i64::MIN,
        latest: i64::MIN,
        ..strict(world, [0; 32])
    });
    let what = ("page-key-inactive", "a page under an inactive journal key");
    opens(&mut files, what, |world| {
        world.rotate_journal_keys(Vec::new());
        world.journal_key = 1;
        strict(world, [0; 32])
    });
    let what = (
        "page-auditor",
        "a page, to somebody who has an auditor's slot and no other",
    );
    opens(&mut files, what, |world| {
        let auditor = world.auditor_slot("auditor slot");
        world.about("journal key", &auditor.wrapped);
        world.slots[0].secret = world.draw("other secret");
        world.slots.push(auditor);
        strict(world, [0; 32])
    });
    let what = (
        "page-auditor-former",
        "a page under a former journal key, to an auditor",
    );
    opens(&mut files, what, |world| {
        world.rotate_journal_keys(Vec::new());
        world.rotate_journal_keys(Vec::new());
        world.journal_key = 2;
        let auditor = world.auditor_slot("auditor slot");
        world.about("journal key", &auditor.wrapped);
        world.slots[0].secret = world.draw("other secret");
        world.slots.push(auditor);
        strict(world, [0; 32])
    });
    let what = ("page-by-auditor", "a page that an auditor wrote");
    page_file(&mut files, what, "ok", |world, at| {
        world.header();
        let mut page = audited(world, 35);
        let slot = Target::Slot {
            slot: 7,
            kind: 0x8001,
        };
        page.entries.push(entry(35, slot));
        world.put_page_of_kind(at, 19, Filter::Of(&page), |_| {
            wincode::serialize(&page).unwrap()
        });
        world.about("content", &page.content_json());
    });
    let what = ("page-second", "the second page of a chain");
    page_file(&mut files, what, "ok", |world, first| {
        world.header();
        let page = strict(world, [0; 32]);
        let digest = world.put_page(first, &page);
        let second = place(world, 1);
        let page = strict(world, digest);
        world.put_page(&second, &page);
        world.about("content", &page.content_json());
        ask(world, &second);
    });
    page_file(
        &mut files,
        ("page-none", "a page that is not there"),
        "none",
        |world, _| {
            world.header();
        },
    );
    filters(&mut files);
    let what = ("page-records-most", "an entry with 1,024 records");
    opens(&mut files, what, |world| records(world, 1024));
    chains(&mut files);
    files
}

/// Returns a page with an entry that lists this many records.
pub fn records(world: &World, count: u64) -> Page {
    let record = record(world);
    let read = (1..=count).map(|version| ReadVersion { record, version });
    let target = Target::Records {
        subject: 0,
        read: read.collect(),
    };
    Page {
        entries: vec![entry(7, target)],
        ..strict(world, [0; 32])
    }
}

/// Adds pages with filters of other lengths.
fn filters(files: &mut Files) {
    let what = (
        "page-filter-long",
        "a filter of eight values, for five subjects",
    );
    opens(files, what, |world| {
        let mut page = strict(world, [0; 32]);
        let others = (1..5).map(|n| subject(world, 1, &format!("MRN-{n}")));
        page.subjects.extend(others);
        page
    });
    let what = (
        "page-filter-all-subjects",
        "a page that concerns every subject, because subjects were listed",
    );
    opens(files, what, |world| {
        let mut page = strict(world, [0; 32]);
        page.entries.push(entry(10, Target::Vault));
        page
    });
    let what = (
        "page-filter-any",
        "a filter without values, of a page about any subject",
    );
    page_file(files, what, "ok", |world, at| {
        world.header();
        let page = strict(world, [0; 32]);
        world.put_page_with(at, &page, Filter::Any);
        world.about("content", &page.content_json());
    });
    let what = (
        "page-filter-longer",
        "a filter that is longer than its subjects need",
    );
    page_file(files, what, "ok", |world, at| {
        world.header();
        let page = strict(world, [0; 32]);
        let mut jsubs = page.filtered_jsubs();
        jsubs.extend((0..30_u128).map(u128::to_le_bytes));
        world.put_page_with(at, &page, Filter::Listing(&jsubs));
        world.about("content", &page.content_json());
    });
}

/// Stores a journal of two chains: three pages of one writer, then two pages of a second writer.
/// The second writer's pages record seen heads of the first chain, settle an announced entry of
/// that chain, and announce another entry.
pub fn two_chains(world: &mut World) -> [Place; 5] {
    let first = [0, 1, 2].map(|sequence| place(world, sequence));
    let writer = writer(world, "other writer", 60_000);
    let second = [0, 1].map(|sequence| Place { writer, sequence });
    let mut digest = [0; 32];
    for at in &first {
        let mut page = strict(world, digest);
        page.entries[0].stage = 1;
        page.entries.push(entry(7, Target::Subject { subject: 0 }));
        let settled = Place {
            sequence: at.sequence.saturating_sub(1),
            ..*at
        };
        if at.sequence == 1 {
            page.entries.push(entry(
                5,
                Target::Settled {
                    page: settled,
                    place: 0,
                },
            ));
        }
        let seen = digest;
        digest = world.put_page(at, &page);
        if at.sequence == 1 {
            let mut page = strict(world, [0; 32]);
            page.seen = vec![Seen { page: *at, digest }];
            let settling = Target::Settled {
                page: *at,
                place: 0,
            };
            page.entries = vec![entry(5, settling), entry(33, Target::Vault)];
            page.entries[1].stage = 1;
            let digest = world.put_page(&second[0], &page);
            let mut page = strict(world, digest);
            page.seen = vec![Seen {
                page: settled,
                digest: seen,
            }];
            world.put_page(&second[1], &page);
        }
    }
    [first[0], first[1], first[2], second[0], second[1]]
}

/// Adds a vector that requests the whole journal.
pub fn journal_file(
    files: &mut Files,
    what: (&str, &str),
    expect: &str,
    make: impl FnOnce(&mut World, [Place; 5]),
) {
    file(files, what, expect, |world| {
        world.forget("subject patient");
        world.forget("record");
        world.about("journal", b"");
        world.header();
        let pages = two_chains(world);
        make(world, pages);
    });
}

fn chains(files: &mut Files) {
    for name in ["journal", "journal-chacha"] {
        let what = (name, "two chains, the second one names pages of the first");
        journal_file(files, what, "ok", |world, _| {
            // Each chain has one unsettled entry.
            world.about("unsettled", b"2");
        });
    }
    let what = (
        "journal-tail-cut",
        "the end of a chain that nobody has seen is not missed",
    );
    journal_file(files, what, "ok", |world, pages| {
        let at = world.page_at(&pages[2]);
        world.storage.remove(&at);
        world.about("unsettled", b"1");
    });
    let what = ("journal-strangers", "keys of other lengths are left alone");
    journal_file(files, what, "ok", |world, pages| {
        let mut at = world.page_at(&pages[2]);
        at.push(0);
        world.storage.insert(at, vec![1]);
        world.about("unsettled", b"2");
    });
    let digest = |world: &World, page: &Place| sha256(&[&world.storage[&world.page_at(page)]]);
    let what = (
        "journal-checkpoint",
        "a page that names the ends of both chains",
    );
    journal_file(files, what, "ok", |world, pages| {
        let ends = [pages[2], pages[4]];
        let mut page = strict(world, [0; 32]);
        page.seen = ends
            .map(|page| Seen {
                page,
                digest: digest(world, &page),
            })
            .to_vec();
        page.entries = vec![entry(33, Target::Vault)];
        let writer = writer(world, "third writer", 90_000);
        world.put_page(
            &Place {
                writer,
                sequence: 0,
            },
            &page,
        );
        world.about("unsettled", b"2");
    });
    closings(files);
}

/// Adds vectors of chains under former keys.
fn closings(files: &mut Files) {
    let what = (
        "journal-closed",
        "two chains under closed keys, which heads cover",
    );
    closed_file(files, what, "ok", Heads::OfBothChains, |world, _| {
        world.about("unsettled", b"2");
    });
    let what = (
        "journal-closed-through-seen",
        "a chain under closed keys, which a page that a head covers has seen",
    );
    closed_file(files, what, "ok", Heads::OfSecondChain, |world, pages| {
        for page in &pages[2..3] {
            let at = world.page_at(page);
            world.storage.remove(&at);
        }
        world.about("unsettled", b"1");
    });
}

/// The chain heads of a closing.
pub enum Heads {
    OfBothChains,
    OfSecondChain,
}

/// Adds a vector that requests a journal under former keys. The closing has the heads of both chains,
/// or only the head of the second chain.
pub fn closed_file(
    files: &mut Files,
    what: (&str, &str),
    expect: &str,
    heads: Heads,
    make: impl FnOnce(&mut World, [Place; 5]),
) {
    file(files, what, expect, |world| {
        world.forget("subject patient");
        world.forget("record");
        world.about("journal", b"");
        let pages = two_chains(world);
        let heads = match heads {
            Heads::OfBothChains => vec![&pages[2], &pages[4]],
            Heads::OfSecondChain => vec![&pages[4]],
        };
        let heads = heads.into_iter().map(|page| Head {
            writer: page.writer,
            sequence: page.sequence,
            digest: sha256(&[&world.storage[&world.page_at(page)]]),
        });
        let heads = heads.collect();
        world.rotate_journal_keys(heads);
        world.header();
        world.journal_key = 1;
        make(world, pages);
    });
}

//! Vectors of pages with summaries of archived pages, and their second implementation.

use serde_json::{Value, json};
use wincode::{SchemaRead, SchemaWrite};

use crate::cases::Files;
use crate::formula::sha256;
use crate::page::{Context, Entry, Page, Place, Seen, Subject, hex};
use crate::pages::{Heads, audited, closed_file, journal_file, page_file, strict, writer};
use crate::writer::{Filter, World};

/// Number of the extension that contains the summaries.
const EXTENSION: u16 = 0x8001;

#[derive(SchemaRead, SchemaWrite, Debug, Clone)]
struct Summaries {
    until: i64,
    pages: Vec<Summary>,
}

#[derive(SchemaRead, SchemaWrite, Debug, Clone)]
struct Summary {
    page: Place,
    digest: [u8; 32],
    kind: u8,
    indexes: Vec<u32>,
    previous: [u8; 32],
    began: i64,
    latest: i64,
    seen: Vec<Seen>,
    contexts: Vec<Context>,
    subjects: Vec<Subject>,
    entries: Vec<Entry>,
}

impl Summary {
    /// Summarizes a page, with all its entries.
    fn of(at: Place, digest: [u8; 32], page: &Page) -> Self {
        let mut entries = page.entries.clone();
        for entry in &mut entries {
            (entry.context, entry.reason, entry.consent, entry.note) = (0, None, None, None);
        }
        Self {
            page: at,
            digest,
            kind: 18,
            indexes: (0..).take(entries.len()).collect(),
            previous: page.previous,
            began: page.began,
            latest: page.latest,
            seen: page.seen.clone(),
            contexts: vec![Context {
                actor: String::new(),
                purpose: String::new(),
                request: String::new(),
                organization: String::new(),
                under_break_glass: 0,
            }],
            subjects: page.subjects.clone(),
            entries,
        }
    }

    fn json(&self) -> Value {
        let page = Page {
            schema: 1,
            previous: self.previous,
            began: self.began,
            latest: self.latest,
            seen: self.seen.clone(),
            contexts: self.contexts.clone(),
            subjects: self.subjects.clone(),
            entries: self.entries.clone(),
            extensions: Vec::new(),
        };
        let page: Value = serde_json::from_slice(&page.content_json()).unwrap();
        json!({
            "writer": hex(&self.page.writer),
            "sequence": self.page.sequence,
            "digest": hex(&self.digest),
            "kind": self.kind,
            "indexes": self.indexes,
            "page": page,
        })
    }
}

/// Returns the summaries in the extensions of a page as JSON, in the form that the vectors contain.
pub fn json_of(extensions: &[(u16, Vec<u8>)]) -> Value {
    let content = extensions.iter().find(|(number, _)| *number == EXTENSION);
    let Some((_, content)) = content else {
        return json!({});
    };
    let summaries: Summaries = wincode::deserialize(content).unwrap();
    let pages = summaries.pages.iter().map(Summary::json);
    json!({ "summaries": { "until": summaries.until, "pages": pages.collect::<Value>() } })
}

/// Returns a page of a vault that contains only summaries.
fn with_summaries(world: &World, summaries: &Summaries) -> Page {
    with_content(world, wincode::serialize(summaries).unwrap())
}

fn with_content(world: &World, content: Vec<u8>) -> Page {
    Page {
        contexts: Vec::new(),
        subjects: Vec::new(),
        entries: Vec::new(),
        extensions: vec![(EXTENSION, content)],
        ..strict(world, [0; 32])
    }
}

/// Returns the place of the first page of a chain of summaries.
fn place_of_summaries(world: &World) -> Place {
    let mut writer = writer(world, "writer of summaries", 120_000);
    writer[0] |= 0xc0;
    Place {
        writer,
        sequence: 0,
    }
}

fn summaries(world: &World) -> Summaries {
    let page = strict(world, [0; 32]);
    let at = Place {
        writer: writer(world, "archived writer", 0),
        sequence: 0,
    };
    Summaries {
        until: page.began + 86_400_000,
        pages: vec![Summary::of(at, world.draw("digest of a page"), &page)],
    }
}

/// Replaces pages of a vector with their summaries on one page.
fn archive(world: &mut World, pages: &[Place], at: &Place) {
    let archived = pages.iter().map(|place| {
        let value = world.storage[&world.page_at(place)].clone();
        let page = world.pages[&world.page_at(place)].clone();
        Summary::of(*place, sha256(&[&value]), &page)
    });
    let archived = archived.collect();
    for place in pages {
        let key = world.page_at(place);
        world.storage.remove(&key);
    }
    let summaries = Summaries {
        until: 0,
        pages: archived,
    };
    let page = with_summaries(world, &summaries);
    world.put_page(at, &page);
}

/// Returns the vectors that the library must open.
pub fn all() -> Files {
    let mut files = Files::new();
    let what = (
        "page-summaries",
        "a page with the summary of an archived page",
    );
    page_file(&mut files, what, "ok", |world, at| {
        world.header();
        let summaries = summaries(world);
        let page = with_summaries(world, &summaries);
        world.put_page(at, &page);
        world.about("content", &page.content_json());
    });
    let what = (
        "journal-archived",
        "a chain of which only summaries are stored",
    );
    journal_file(&mut files, what, "ok", |world, pages| {
        let at = place_of_summaries(world);
        archive(world, &pages[..3], &at);
        world.about("unsettled", b"1");
    });
    let what = (
        "journal-closed-archived",
        "summaries under the active keys, of pages that a closing names",
    );
    closed_file(
        &mut files,
        what,
        "ok",
        Heads::OfBothChains,
        |world, pages| {
            world.journal_key = 0;
            let at = place_of_summaries(world);
            archive(world, &pages[..3], &at);
            world.about("unsettled", b"1");
        },
    );
    files
}

/// Returns the vectors that the library must refuse.
pub fn refused() -> Files {
    let mut files = Files::new();
    type Change = fn(&mut Summaries);
    let cases: [(&str, &str, Change); 4] = [
        ("page-summaries-kind", "a summary of another kind", |all| {
            all.pages[0].kind = 20;
        }),
        (
            "page-summaries-indexes",
            "more indexes than entries",
            |all| {
                all.pages[0].indexes.push(9);
            },
        ),
        ("page-summaries-order", "indexes out of order", |all| {
            let page = &mut all.pages[0];
            page.indexes.push(0);
            page.entries.push(page.entries[0].clone());
        }),
        (
            "page-summaries-context",
            "a context beyond the table",
            |all| {
                all.pages[0].contexts.clear();
            },
        ),
    ];
    for (name, what, change) in cases {
        page_file(&mut files, (name, what), "Malformed", |world, at| {
            world.header();
            let mut summaries = summaries(world);
            change(&mut summaries);
            let page = with_summaries(world, &summaries);
            world.put_page(at, &page);
        });
    }
    for (name, what, more) in [
        ("page-summaries-short", "summaries that end too early", None),
        (
            "page-summaries-long",
            "a byte behind the summaries",
            Some(0),
        ),
    ] {
        page_file(&mut files, (name, what), "Malformed", |world, at| {
            world.header();
            let mut content = wincode::serialize(&summaries(world)).unwrap();
            match more {
                Some(byte) => content.push(byte),
                None => drop(content.pop()),
            }
            let page = with_content(world, content);
            world.put_page(at, &page);
        });
    }
    let what = (
        "page-by-auditor-summaries",
        "an auditor's page with summaries",
    );
    page_file(&mut files, what, "Forged", |world, at| {
        world.header();
        let page = Page {
            extensions: with_summaries(world, &summaries(world)).extensions,
            ..audited(world, 35)
        };
        world.put_page_of_kind(at, 19, Filter::Of(&page), |_| {
            wincode::serialize(&page).unwrap()
        });
    });
    let what = (
        "journal-archived-unmarked",
        "summaries in an ordinary chain stand for no page",
    );
    journal_file(&mut files, what, "Cut", |world, pages| {
        let at = Place {
            writer: writer(world, "writer of summaries", 120_000),
            sequence: 0,
        };
        archive(world, &pages[..3], &at);
    });
    let what = (
        "journal-closed-summaries-late",
        "summaries under closed keys that no closing names",
    );
    closed_file(&mut files, what, "Late", Heads::OfBothChains, |world, _| {
        let at = place_of_summaries(world);
        world.put_page(&at, &with_summaries(world, &summaries(world)));
    });
    files
}

//! Vectors of journal pages and chains that the library must refuse: at least one for each check,
//! in the order of format.md.

use crate::cases::Files;
use crate::formula::{Key, sha256};
use crate::page::{Page, Place, Seen, Target};
use crate::pages::{
    self, Heads, ask, audited, closed_file, entry, journal_file, page_file, strict, two_chains,
    writer,
};
use crate::writer::{Filter, World};

pub fn all() -> Files {
    let mut files = Files::new();
    values(&mut files);
    filters(&mut files);
    storage_keys(&mut files);
    bodies(&mut files);
    records(&mut files);
    body_bytes(&mut files);
    authority(&mut files);
    chains(&mut files);
    closings(&mut files);
    files
}

/// Adds pages that a holder of the journal key wrote without an authority key.
fn authority(files: &mut Files) {
    let signed = |world: &mut World, at: &Place, number: u32, key: &Key, page: &Page| {
        let body = wincode::serialize(page).unwrap();
        world.put_page_signed(at, &body, Filter::Of(page), (number, key));
    };
    let what = ("page-forged", "a tag under another authority key");
    page_file(files, what, "Forged", |world, at| {
        world.header();
        let number = world.keyring.authority_keys[0].number;
        let key = world.draw("forged authority key");
        signed(world, at, number, &key, &strict(world, [0; 32]));
    });
    let what = (
        "page-authority-number",
        "an authority key that is not there",
    );
    page_file(files, what, "Forged", |world, at| {
        world.header();
        let key = world.keyring.authority_keys[0].key;
        let number = world.keyring.authority_keys[0].number ^ 1;
        signed(world, at, number, &key, &strict(world, [0; 32]));
    });
    let what = (
        "page-forged-schema",
        "a wrong tag, before the body is decoded",
    );
    page_file(files, what, "Forged", |world, at| {
        world.header();
        let key = world.draw("forged authority key");
        let mut page = strict(world, [0; 32]);
        page.schema = 2;
        signed(world, at, 1, &key, &page);
    });
    let what = ("page-tail-short", "a body shorter than the tag");
    page_file(files, what, "Malformed", |world, at| {
        world.header();
        world.put_page_of_kind(at, 18, Filter::Any, |_| vec![0; 35]);
    });
    let cases = [("erasure", 11), ("restore", 34), ("read", 7)];
    for (name, operation) in cases {
        let name = format!("page-by-auditor-{name}");
        let what = (
            &*name,
            "an auditor's page about more than reading the journal",
        );
        page_file(files, what, "Forged", |world, at| {
            world.header();
            let page = audited(world, operation);
            world.put_page_of_kind(at, 19, Filter::Of(&page), |_| {
                wincode::serialize(&page).unwrap()
            });
        });
    }
    let cases = [
        (
            "page-by-auditor-vault-slot",
            "an auditor's page about a slot that opens the vault",
            Target::Slot { slot: 7, kind: 2 },
        ),
        (
            "page-by-auditor-master-key",
            "an auditor's page about a master key",
            Target::MasterKey { number: 7 },
        ),
    ];
    for (name, what, target) in cases {
        page_file(files, (name, what), "Forged", |world, at| {
            world.header();
            let mut page = audited(world, 35);
            page.entries[0].target = target;
            world.put_page_of_kind(at, 19, Filter::Of(&page), |_| {
                wincode::serialize(&page).unwrap()
            });
        });
    }
    let what = ("page-by-auditor-seen", "an auditor's page with heads");
    page_file(files, what, "Forged", |world, at| {
        world.header();
        let mut page = audited(world, 35);
        page.seen.push(Seen {
            page: *at,
            digest: [0; 32],
        });
        world.put_page_of_kind(at, 19, Filter::Of(&page), |_| {
            wincode::serialize(&page).unwrap()
        });
    });
    let what = ("journal-forged", "a forged page at the end of a chain");
    journal_file(files, what, "Forged", |world, pages| {
        let last = world.page_at(&pages[4]);
        let before = sha256(&[&world.storage[&last]]);
        let number = world.keyring.authority_keys[0].number;
        let key = world.draw("forged authority key");
        let at = Place {
            sequence: 2,
            ..pages[4]
        };
        signed(world, &at, number, &key, &strict(world, before));
    });
    let what = ("journal-kinds", "an auditor's page in the chain of a vault");
    journal_file(files, what, "Forged", |world, pages| {
        let last = world.page_at(&pages[4]);
        let before = sha256(&[&world.storage[&last]]);
        let page = Page {
            previous: before,
            ..audited(world, 35)
        };
        let at = Place {
            sequence: 2,
            ..pages[4]
        };
        world.put_page_of_kind(&at, 19, Filter::Of(&page), |_| {
            wincode::serialize(&page).unwrap()
        });
    });
}

/// Adds vectors in which the bytes of a valid page are altered.
fn values(files: &mut Files) {
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, Alter); 13] = [
        ("page-short", "7 bytes", "Malformed", |v| v.truncate(7)),
        (
            "page-format",
            "another format, before all else",
            "Unsupported",
            |v| v[..4].copy_from_slice(&[2, 9, 9, 9]),
        ),
        (
            "page-zero",
            "a zero byte that is none, before kind and suite",
            "Malformed",
            |v| v[1..4].copy_from_slice(&[9, 9, 1]),
        ),
        ("page-kind", "another kind", "Unsupported", |v| v[2] = 16),
        (
            "page-suite",
            "a suite that is not known",
            "Unsupported",
            |v| v[1] = 0,
        ),
        (
            "page-key-number",
            "a journal key that is not there, before the length",
            "UnknownJournalKey",
            |v| {
                v[4] ^= 1;
                v.truncate(87);
            },
        ),
        ("page-87", "87 bytes", "Malformed", |v| v.truncate(87)),
        ("page-salt", "the salt", "NotAuthentic", |v| v[8] ^= 1),
        ("page-commitment", "the commitment", "NotAuthentic", |v| {
            v[40] ^= 1
        }),
        (
            "page-filter-value",
            "one bit of a value in the filter",
            "NotAuthentic",
            |v| v[74] ^= 1,
        ),
        ("page-body", "one bit of the body", "NotAuthentic", |v| {
            v[82] ^= 1
        }),
        ("page-tag", "the tag", "NotAuthentic", |v| {
            *v.last_mut().unwrap() ^= 1
        }),
        (
            "page-cut",
            "the last byte is missing",
            "NotAuthentic",
            |v| {
                v.pop();
            },
        ),
    ];
    for (name, title, expect, alter) in cases {
        page_file(files, (name, title), expect, |world, at| {
            world.header();
            let page = strict(world, [0; 32]);
            world.put_page(at, &page);
            let at = world.page_at(at);
            alter(world.storage.get_mut(&at).unwrap());
        });
    }
}

/// Adds pages that are sealed with a filter that no writer uses.
fn filters(files: &mut Files) {
    let values = |count: u16, values: &[u16]| -> Vec<u8> {
        let all = std::iter::once(count).chain(values.iter().copied());
        all.flat_map(u16::to_le_bytes).collect()
    };
    let cases = [
        ("page-filter-empty", "no values", values(0, &[])),
        ("page-filter-short", "two values", values(2, &[1, 2])),
        (
            "page-filter-count",
            "a count that is not a power of two",
            values(5, &[1, 2, 3, 4, 5]),
        ),
        (
            "page-filter-most",
            "more values than a filter lists",
            values(8192, &(0..8192).collect::<Vec<_>>()),
        ),
        (
            "page-filter-order",
            "values that descend",
            values(4, &[1, 3, 2, 4]),
        ),
        (
            "page-filter-twice",
            "a value twice",
            values(4, &[1, 2, 2, 4]),
        ),
        (
            "page-filter-byte-order",
            "values that ascend only as big-endian numbers",
            values(4, &[0x0100, 0x0001, 0x0002, 0x0003]),
        ),
    ];
    for (name, title, filter) in &cases {
        page_file(files, (name, title), "Malformed", |world, at| {
            world.header();
            let page = strict(world, [0; 32]);
            world.put_page_with(at, &page, Filter::Bytes(filter));
        });
    }
    let what = ("page-filter-cut", "a value that ends in its filter");
    page_file(files, what, "Malformed", |world, at| {
        world.header();
        let page = strict(world, [0; 32]);
        world.put_page(at, &page);
        let at = world.page_at(at);
        world.storage.get_mut(&at).unwrap().truncate(81);
    });
    let what = (
        "page-filter-lacks-subject",
        "a filter without the page's subject",
    );
    page_file(files, what, "Malformed", |world, at| {
        world.header();
        let page = strict(world, [0; 32]);
        world.put_page_with(at, &page, Filter::Listing(&Default::default()));
    });
    let what = (
        "page-filter-lacks-all-subjects",
        "a page with heads, and a filter without the value of all subjects",
    );
    page_file(files, what, "Malformed", |world, at| {
        world.header();
        let mut page = strict(world, [0; 32]);
        let jsubs = page.filtered_jsubs();
        page.seen.push(Seen {
            page: *at,
            digest: [0; 32],
        });
        world.put_page_with(at, &page, Filter::Listing(&jsubs));
    });
    let what = (
        "page-filter-forged",
        "a wrong tag, before a filter without the page's subject",
    );
    page_file(files, what, "Forged", |world, at| {
        world.header();
        let page = strict(world, [0; 32]);
        let key = world.draw("forged authority key");
        let body = wincode::serialize(&page).unwrap();
        let filter = Filter::Listing(&Default::default());
        world.put_page_signed(at, &body, filter, (1, &key));
    });
}

/// Adds vectors in which a valid page is stored under another storage key.
fn storage_keys(files: &mut Files) {
    type Other = fn(&World, Place) -> Place;
    let cases: [(&str, &str, Other); 2] = [
        ("page-other-sequence", "under another sequence", |_, at| {
            Place {
                sequence: at.sequence + 1,
                ..at
            }
        }),
        ("page-other-writer", "in another chain", |world, at| Place {
            writer: writer(world, "other writer", 0),
            ..at
        }),
    ];
    for (name, title, other) in cases {
        page_file(files, (name, title), "NotAuthentic", |world, at| {
            world.header();
            let page = strict(world, [0; 32]);
            world.put_page(at, &page);
            let value = world.storage[&world.page_at(at)].clone();
            let moved = other(world, *at);
            ask(world, &moved);
            world.storage.insert(world.page_at(&moved), value);
        });
    }
}

/// Adds vectors with page bodies that no valid writer seals.
fn bodies(files: &mut Files) {
    type Change = fn(&mut Page);
    let cases: [(&str, &str, &str, Change); 19] = [
        (
            "page-schema",
            "another schema, before all else",
            "Unsupported",
            |page| {
                page.schema = 2;
                page.contexts.clear();
            },
        ),
        (
            "page-glass",
            "broken glass that is neither 0 nor 1",
            "Malformed",
            |page| {
                page.contexts[0].under_break_glass = 2;
            },
        ),
        (
            "page-subject-twice",
            "a subject that stands twice", // phrase: text of a committed vector
            "Malformed",
            |page| {
                page.subjects.push(page.subjects[0].clone());
            },
        ),
        (
            "page-context",
            "a context beyond the table",
            "Malformed",
            |page| {
                page.entries[0].context = 1;
            },
        ),
        (
            "page-context-first",
            "a context beyond the table, before an operation that is not known",
            "Malformed",
            |page| {
                page.entries[0].context = 1;
                page.entries[0].operation = 200;
            },
        ),
        (
            "page-subject",
            "a subject beyond the table",
            "Malformed",
            |page| {
                page.subjects.clear();
            },
        ),
        ("page-operation-0", "operation 0", "Unsupported", |page| {
            page.entries[0].operation = 0;
        }),
        (
            "page-operation",
            "an operation that is not known",
            "Unsupported",
            |page| {
                page.entries[0].operation = 200;
            },
        ),
        (
            "page-outcome",
            "an outcome that is not known",
            "Unsupported",
            |page| {
                page.entries[0].outcome = 6;
            },
        ),
        (
            "page-stage",
            "a stage that is not known",
            "Unsupported",
            |page| {
                page.entries[0].stage = 2;
            },
        ),
        (
            "page-target",
            "a target that is not known",
            "Unsupported",
            |page| {
                page.entries[0].target = Target::Later;
            },
        ),
        (
            "page-operation-first",
            "an operation that is not known, before a subject beyond the table",
            "Unsupported",
            |page| {
                page.subjects.clear();
                page.entries[0].operation = 200;
            },
        ),
        (
            "page-subject-first",
            "a subject beyond the table, before an entry that is not known",
            "Malformed",
            |page| {
                page.subjects.clear();
                page.entries.push(entry(200, Target::Vault));
            },
        ),
        (
            "page-critical",
            "an extension that must be known",
            "Unsupported",
            |page| {
                page.extensions = vec![(1, vec![]), (0x8000, vec![])];
            },
        ),
        (
            "page-extension-order",
            "extensions out of order",
            "Malformed",
            |page| {
                page.extensions = vec![(3, vec![]), (2, vec![])];
            },
        ),
        (
            "page-extension-twice",
            "two extensions of one number",
            "Malformed",
            |page| {
                page.extensions = vec![(3, vec![]), (3, vec![])];
            },
        ),
        (
            "page-extension-order-first",
            "extensions out of order, before one that must be known",
            "Malformed",
            |page| page.extensions = vec![(0x8000, vec![]), (2, vec![])],
        ),
        (
            "page-context-before-extensions",
            "a context beyond the table, before an extension that must be known",
            "Malformed",
            |page| {
                page.entries[0].context = 1;
                page.extensions = vec![(0x8000, vec![])];
            },
        ),
        (
            "page-context-missing",
            "an entry on a page without contexts",
            "Malformed",
            |page| page.contexts.clear(),
        ),
    ];
    for (name, title, expect, change) in cases {
        page_file(files, (name, title), expect, |world, at| {
            world.header();
            let mut page = strict(world, [0; 32]);
            change(&mut page);
            world.put_page(at, &page);
        });
    }
}

/// Offset of the number of contexts in the body of a page without seen heads.
const CONTEXTS: usize = 2 + 32 + 8 + 8 + 8;

/// Adds pages with entries of too few or too many records.
fn records(files: &mut Files) {
    let cases = [
        ("page-records-none", "an entry with no record", 0),
        ("page-records-over", "an entry with 1,025 records", 1025),
    ];
    for (name, title, count) in cases {
        page_file(files, (name, title), "Malformed", |world, at| {
            world.header();
            let page = pages::records(world, count);
            world.put_page(at, &page);
        });
    }
}

fn body_bytes(files: &mut Files) {
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, Alter); 7] = [
        (
            "page-body-empty",
            "a body of no bytes",
            "Malformed",
            |body| body.clear(),
        ),
        (
            "page-body-short",
            "a body that ends early",
            "Malformed",
            |body| {
                body.pop();
            },
        ),
        (
            "page-left-over",
            "a byte behind the page",
            "Malformed",
            |body| body.push(0),
        ),
        (
            "page-left-over-unsupported",
            "a byte behind an extension that must be known",
            "Unsupported",
            |body| {
                let end = body.len() - 8;
                body.truncate(end);
                body.extend([1, 0, 0, 0, 0, 0, 0, 0, 0, 0x80]);
                body.extend([0; 9]);
            },
        ),
        (
            "page-count",
            "more contexts than bytes are left",
            "Malformed",
            |body| {
                body[CONTEXTS + 7] = 0x7f;
            },
        ),
        (
            "page-text-length",
            "a text longer than the body",
            "Malformed",
            |body| {
                body[CONTEXTS + 8 + 7] = 0x7f;
            },
        ),
        (
            "page-text",
            "an actor that is not UTF-8",
            "Malformed",
            |body| {
                body[CONTEXTS + 16] = 0xff;
            },
        ),
    ];
    for (name, title, expect, alter) in cases {
        page_file(files, (name, title), expect, |world, at| {
            world.header();
            let mut body = wincode::serialize(&strict(world, [0; 32])).unwrap();
            alter(&mut body);
            world.put_page_body(at, &body);
        });
    }
}

fn chains(files: &mut Files) {
    let remove = |world: &mut World, page: &Place| {
        let at = world.page_at(page);
        world.storage.remove(&at).unwrap()
    };
    let what = ("journal-missing", "a page in the middle of a chain is gone");
    journal_file(files, what, "Missing", |world, pages| {
        remove(world, &pages[1]);
    });
    let what = ("journal-missing-first", "the first page of a chain is gone");
    journal_file(files, what, "Missing", |world, pages| {
        remove(world, &pages[3]);
    });
    let what = (
        "journal-altered",
        "one bit of a page; the next one is not blamed",
    );
    journal_file(files, what, "Altered", |world, pages| {
        let at = world.page_at(&pages[1]);
        *world.storage.get_mut(&at).unwrap().last_mut().unwrap() ^= 1;
    });
    let what = ("journal-exchanged", "two pages in each other's place");
    journal_file(files, what, "Altered", |world, pages| {
        let [one, other] = [remove(world, &pages[1]), remove(world, &pages[2])];
        world.storage.insert(world.page_at(&pages[1]), other);
        world.storage.insert(world.page_at(&pages[2]), one);
    });
    let what = ("journal-unsupported", "a page that a later release wrote");
    journal_file(files, what, "Unsupported", |world, pages| {
        let mut page = strict(world, [0; 32]);
        page.schema = 2;
        world.put_page(&pages[2], &page);
    });
    let what = ("journal-unlinked", "the last page follows on another one");
    journal_file(files, what, "Unlinked", |world, pages| {
        let page = strict(world, [7; 32]);
        world.put_page(&pages[2], &page);
    });
    let what = (
        "journal-unlinked-first",
        "a first page that follows on something",
    );
    journal_file(files, what, "Unlinked", |world, _| {
        let page = strict(world, [7; 32]);
        let writer = writer(world, "third writer", 90_000);
        world.put_page(
            &Place {
                writer,
                sequence: 0,
            },
            &page,
        );
    });
    let what = (
        "journal-cut",
        "the end of a chain is gone, which another has seen",
    );
    journal_file(files, what, "Cut", |world, pages| {
        remove(world, &pages[2]);
        remove(world, &pages[1]);
    });
    let what = (
        "journal-chain-gone",
        "a whole chain is gone, which another has seen",
    );
    journal_file(files, what, "Cut", |world, pages| {
        for page in &pages[..3] {
            remove(world, page);
        }
    });
    let what = ("journal-replaced", "another page where one was seen");
    journal_file(files, what, "Replaced", |world, pages| {
        // Write both chains again with other content, then restore the second chain. The new first
        // chain is linked, but the second chain records the digest of a replaced page.
        let seconds = [pages[3], pages[4]].map(|page| {
            let at = world.page_at(&page);
            (at.clone(), world.storage[&at].clone())
        });
        world.entry.charts[0].id = world.draw16("other chart id");
        two_chains(world);
        world.storage.extend(seconds);
    });
    let what = ("journal-two-faults", "a page is gone, another one altered");
    journal_file(files, what, "Altered Missing", |world, pages| {
        remove(world, &pages[1]);
        let at = world.page_at(&pages[4]);
        *world.storage.get_mut(&at).unwrap().last_mut().unwrap() ^= 1;
    });
}

/// Adds chains under closed keys of which pages are late or unproven.
fn closings(files: &mut Files) {
    let what = ("journal-late", "a page behind the head of a closed chain");
    closed_file(files, what, "Late", Heads::OfBothChains, |world, pages| {
        let last = sha256(&[&world.storage[&world.page_at(&pages[4])]]);
        let page = strict(world, last);
        let at = Place {
            sequence: 2,
            ..pages[4]
        };
        world.put_page(&at, &page);
    });
    let what = (
        "journal-late-chain",
        "a chain under closed keys that no head covers",
    );
    closed_file(files, what, "Late", Heads::OfBothChains, |world, _| {
        let page = strict(world, [0; 32]);
        let writer = writer(world, "late writer", 90_000);
        let at = Place {
            writer,
            sequence: 0,
        };
        world.put_page(&at, &page);
    });
    let what = ("journal-unproven", "a gap before pages that no head names");
    closed_file(
        files,
        what,
        "Missing Unproven",
        Heads::OfSecondChain,
        |world, pages| {
            let at = world.page_at(&pages[1]);
            world.storage.remove(&at);
        },
    );
    let what = ("journal-closed-cut", "the head of a closed chain is gone");
    closed_file(
        files,
        what,
        "Cut Unproven",
        Heads::OfBothChains,
        |world, pages| {
            let at = world.page_at(&pages[4]);
            world.storage.remove(&at);
        },
    );
    let what = (
        "journal-unknown-key",
        "a page under a journal key that is not there",
    );
    closed_file(
        files,
        what,
        "UnknownJournalKey",
        Heads::OfBothChains,
        |world, pages| {
            let at = world.page_at(&pages[4]);
            let mut value = world.storage[&at].clone();
            value[4] ^= 1;
            let at = Place {
                sequence: 2,
                ..pages[4]
            };
            let at = world.page_at(&at);
            world.storage.insert(at, value);
        },
    );
}

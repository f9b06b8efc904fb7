//! Vectors that the library must refuse: at least one for each check, in the order of format.md.

use crate::cases::{Files, bytes, file, slot_name};
use crate::container::{MAGIC, finish, object, write};
use crate::credentials;
use crate::key_files;
use crate::markers;
use crate::meta_extensions;
use crate::mirror::{Closing, Head, Hold, State};
use crate::writer::{Meta, NAME, Version, World, body, key_file};

const CONTENT: &[u8] = b"{}";

pub fn all() -> Files {
    let mut files = Files::new();
    headers(&mut files);
    unlocking(&mut files);
    keyrings(&mut files);
    slot_names(&mut files);
    entries(&mut files);
    entry_bodies(&mut files);
    heads(&mut files);
    records(&mut files);
    bodies(&mut files);
    metas(&mut files);
    streams(&mut files);
    archives(&mut files);
    files.extend(credentials::refused());
    files.extend(markers::refused());
    files.extend(meta_extensions::refused());
    files.extend(key_files::refused());
    files
}

/// Adds a vector with a valid vault in which one stored value is altered.
fn altered(
    files: &mut Files,
    what: (&str, &str),
    expect: &str,
    at: fn(&World) -> Vec<u8>,
    alter: fn(&mut Vec<u8>),
) {
    file(files, what, expect, |world| {
        world.base();
        world.put_inline(CONTENT);
        let at = at(world);
        alter(world.storage.get_mut(&at).unwrap());
    });
}

fn header(_: &World) -> Vec<u8> {
    b"v".to_vec()
}

fn headers(files: &mut Files) {
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, Alter); 11] = [
        ("header-short", "35 bytes", "Malformed", |v| v.truncate(35)),
        ("header-magic", "another magic", "Malformed", |v| v[0] = 0),
        (
            "header-format",
            "another format, before all else",
            "Unsupported",
            |v| {
                v[8..12].copy_from_slice(&[2, 0, 9, 0]);
            },
        ),
        ("header-no-slots", "slot count 0", "Malformed", |v| {
            v[11] = 0
        }),
        (
            "header-slot-length",
            "a slot of 111 bytes",
            "Malformed",
            |v| v[40] = 111,
        ),
        (
            "header-slot-long",
            "a slot of 4,097 bytes",
            "Malformed",
            |v| {
                v.splice(44..44, [0; 3985]);
                v[40..44].copy_from_slice(&4097_u32.to_le_bytes());
            },
        ),
        (
            "header-slot-id-twice",
            "two slots of one id",
            "Malformed",
            |v| {
                let slot = v[36..156].to_vec();
                v.splice(36..36, slot);
                v[11] = 2;
            },
        ),
        (
            "header-ring-length",
            "a keyring beyond its bound",
            "Malformed",
            |v| {
                v[226..230].copy_from_slice(&1_048_577_u32.to_le_bytes());
            },
        ),
        ("header-cut", "the last byte is missing", "Malformed", |v| {
            v.truncate(v.len() - 1)
        }),
        ("header-left-over", "a byte too many", "Malformed", |v| {
            v.push(0)
        }),
        (
            "header-suite",
            "a suite that is not known",
            "Unsupported",
            |v| v[10] = 3,
        ),
    ];
    for (name, title, expect, alter) in cases {
        altered(files, (name, title), expect, header, alter);
    }
    file(files, ("header-none", "no header"), "NoVault", |world| {
        world.base();
        world.storage.remove(b"v".as_slice());
    });
}

fn unlocking(files: &mut Files) {
    let what = ("wrong-key", "a key file of another vault");
    file(files, what, "WrongKey", |world| {
        world.base();
        let other = key_file(&world.draw("other secret"));
        world.about("credential key file", other.as_bytes());
    });
    let what = (
        "slot-auditor-only",
        "the key file of an auditor, who gets the journal key and no record",
    );
    file(files, what, "WrongKey", |world| {
        let auditor = world.auditor_slot("auditor slot");
        world.about("journal key", &auditor.wrapped);
        world.slots[0].secret = world.draw("other secret");
        world.slots.push(auditor);
        world.base();
        world.put_inline(b"{}");
    });
    let what = ("slot-posing", "an auditor's slot that poses as another");
    file(files, what, "WrongKey", |world| {
        world.slots = vec![world.auditor_slot("slot")];
        world.base();
        world.storage.get_mut(b"v".as_slice()).unwrap()[37] ^= 0x80;
    });
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, Alter); 6] = [
        (
            "slot-kind",
            "the slot's kind, so that it poses as an auditor's",
            "WrongKey",
            |v| v[37] ^= 0x80,
        ),
        (
            "slot-commitment",
            "the slot's commitment",
            "WrongKey",
            |v| v[76] ^= 1,
        ),
        ("slot-wrapped", "the wrapped root key", "WrongKey", |v| {
            v[108] ^= 1
        }),
        (
            "header-generation",
            "the generation",
            "HeaderDamaged",
            |v| v[28] ^= 2,
        ),
        (
            "header-commitment",
            "the keyring's commitment",
            "HeaderDamaged",
            |v| v[188] ^= 1,
        ),
        ("header-tag", "the keyring's tag", "HeaderDamaged", |v| {
            *v.last_mut().unwrap() ^= 1
        }),
    ];
    for (name, title, expect, alter) in cases {
        altered(files, (name, title), expect, header, alter);
    }
    let what = ("slot-stale-only", "the only slot holds an earlier root key");
    file(files, what, "HeaderDamaged", |world| {
        world.slots[0].wrapped = world.draw("earlier root key");
        world.base();
    });
}

fn keyrings(files: &mut Files) {
    type Change = fn(&mut World);
    let cases: [(&str, &str, &str, Change); 12] = [
        ("keyring-schema", "another schema", "Unsupported", |w| {
            w.keyring.schema = 2
        }),
        ("keyring-no-master", "no master key", "Malformed", |w| {
            w.keyring.masters.clear()
        }),
        (
            "keyring-none-active",
            "no active name key",
            "Malformed",
            |w| {
                w.keyring.name_keys[0].state = 1;
            },
        ),
        (
            "keyring-state",
            "a key state that is not known",
            "Unsupported",
            |w| {
                w.keyring.name_keys[0].state = 2;
            },
        ),
        (
            "keyring-number-twice",
            "two masters of one number",
            "Malformed",
            |w| {
                let mut twice = w.keyring.masters[0].clone();
                twice.state = 1;
                w.keyring.masters.push(twice);
            },
        ),
        (
            "keyring-retired-length",
            "retired key numbers of 3 bytes, before an extension that must be known",
            "Malformed",
            |w| {
                w.keyring.extensions = vec![(1, vec![0; 3]), (0x8000, vec![])];
            },
        ),
        (
            "keyring-critical",
            "an extension that must be known",
            "Unsupported",
            |w| {
                w.keyring.extensions = vec![(0x8000, vec![])];
            },
        ),
        (
            "keyring-no-closing",
            "a former journal key without a closing",
            "Malformed",
            |w| {
                w.rotate_journal_keys(Vec::new());
                w.keyring.closings.clear();
            },
        ),
        (
            "keyring-closing-open",
            "an open closing behind the newest one",
            "Malformed",
            |w| {
                w.rotate_journal_keys(Vec::new());
                w.rotate_journal_keys(Vec::new());
                w.keyring.closings[1] = Closing::Open;
            },
        ),
        (
            "keyring-closing-state",
            "a state of a closing that is not known",
            "Unsupported",
            |w| {
                w.rotate_journal_keys(Vec::new());
                w.keyring.closings[0] = Closing::Later;
            },
        ),
        (
            "keyring-closing-heads",
            "a closing with 65 heads",
            "Malformed",
            |w| {
                let head = Head {
                    writer: [1; 16],
                    sequence: 0,
                    digest: [2; 32],
                };
                w.rotate_journal_keys(vec![head; 65]);
            },
        ),
        (
            "header-former-key-twice",
            "two former journal keys of one number",
            "Malformed",
            |w| {
                w.rotate_journal_keys(Vec::new());
                let number = w.keyring.journal_keys[0].number;
                w.keyring.journal_keys[1].number = number;
            },
        ),
    ];
    for (name, title, expect, change) in cases {
        file(files, (name, title), expect, |world| {
            change(world);
            world.header();
        });
    }
    let what = ("keyring-left-over", "a byte behind the keyring");
    file(files, what, "Malformed", |world| {
        let mut body = wincode::serialize(&world.keyring).unwrap();
        body.push(0);
        world.header_with(&body);
    });
}

/// Adds keyrings with labels and creation times of slots that no writer writes.
fn slot_names(files: &mut Files) {
    let name = |id, label: &str| slot_name(id, 0, label);
    let cut = |length| name(1, "ward 3")[..length].to_vec();
    let mut text = name(1, "é");
    text[11] = 0xff;
    let cases = [
        (
            "order",
            "ids that descend",
            [name(2, ""), name(1, "")].concat(),
        ),
        ("twice", "an id twice", [name(1, ""), name(1, "")].concat()),
        ("length", "a label of 65 bytes", name(1, &"x".repeat(65))),
        ("control", "a control character", name(1, "a\u{85}")),
        ("text", "a label that is not UTF-8", text),
        ("cut", "a label that ends early", cut(16)),
        ("cut-time", "a time that ends early", cut(9)),
    ];
    for (name, title, names) in &cases {
        let name = format!("keyring-slot-names-{name}");
        file(files, (&name, title), "Malformed", |world| {
            // An extension that must be known comes second.
            world.keyring.extensions = vec![(2, names.clone()), (0x8000, vec![])];
            world.header();
        });
    }
}

fn entries(files: &mut Files) {
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, Alter); 9] = [
        ("entry-short", "7 bytes", "Malformed", |v| v.truncate(7)),
        (
            "entry-format",
            "another format, before all else",
            "Unsupported",
            |v| {
                v[..4].copy_from_slice(&[2, 9, 9, 9]);
            },
        ),
        ("entry-zero", "a zero byte that is none", "Malformed", |v| {
            v[3] = 1
        }),
        ("entry-kind", "another kind", "Unsupported", |v| v[2] = 18),
        (
            "entry-suite",
            "a suite that is not known",
            "Unsupported",
            |v| v[1] = 3,
        ),
        ("entry-87", "87 bytes", "Malformed", |v| v.truncate(87)),
        (
            "entry-master",
            "a master that is not there",
            "UnknownMasterKey",
            |v| v[4] ^= 1,
        ),
        ("entry-commitment", "the commitment", "NotAuthentic", |v| {
            v[40] ^= 1
        }),
        ("entry-tag", "the tag", "NotAuthentic", |v| {
            *v.last_mut().unwrap() ^= 1
        }),
    ];
    for (name, title, expect, alter) in cases {
        altered(files, (name, title), expect, World::entry_key, alter);
    }
    let what = (
        "entry-exchanged",
        "another patient's entry in this one's place",
    );
    file(files, what, "NotAuthentic", |world| {
        world.base();
        let own = world.entry_key();
        world.entry.identifier = "MRN-1043".into();
        let other = world.entry_key();
        world.entry();
        let value = world.storage[&other].clone();
        world.storage.insert(own, value);
    });
    let what = ("entry-rolled-back", "an entry sealed under a later header");
    file(files, what, "HeaderRolledBack", |world| {
        world.entry.generation = 2;
        world.base();
        world.put_inline(CONTENT);
    });
}

fn entry_bodies(files: &mut Files) {
    type Change = fn(&mut World);
    let cases: [(&str, &str, &str, Change); 15] = [
        (
            "entry-no-key",
            "a chart without a patient key",
            "Malformed",
            |w| w.entry.charts[0].keys.clear(),
        ),
        ("entry-schema", "another schema", "Unsupported", |w| {
            w.entry.schema = 2
        }),
        (
            "entry-state",
            "a state that is not known",
            "Unsupported",
            |w| {
                w.entry.state = State::Later;
            },
        ),
        (
            "entry-alias",
            "an alias, which is kept free",
            "Unsupported",
            |w| {
                w.entry.state = State::Alias {
                    kind: 1,
                    identifier: "MRN-1043".into(),
                };
                w.entry.charts.clear();
            },
        ),
        (
            "entry-two-charts",
            "two charts, which are kept free",
            "Unsupported",
            |w| {
                let chart = w.entry.charts[0].clone();
                w.entry.charts.push(chart);
            },
        ),
        (
            "entry-compartment",
            "another compartment",
            "Unsupported",
            |w| {
                w.entry.charts[0].keys[0].compartment = 1;
            },
        ),
        (
            "entry-moving-from",
            "`moving from`, kept free",
            "Unsupported",
            |w| {
                w.entry.moving_from = 1;
            },
        ),
        (
            "entry-no-chart",
            "a live entry without a chart",
            "Malformed",
            |w| {
                w.entry.charts.clear();
            },
        ),
        (
            "entry-erased-chart",
            "an erased entry with keys",
            "Malformed",
            |w| {
                w.entry.state = State::Erased;
            },
        ),
        (
            "entry-erased-two-charts",
            "an erased entry with two charts: that it has any comes first",
            "Malformed",
            |w| {
                w.entry.state = State::Erased;
                let chart = w.entry.charts[0].clone();
                w.entry.charts.push(chart);
            },
        ),
        (
            "entry-state-first",
            "a key state that is not known, before two keys of one number",
            "Unsupported",
            |w| {
                let mut twice = w.entry.charts[0].keys[0].clone();
                twice.state = 2;
                w.entry.charts[0].keys.push(twice);
            },
        ),
        (
            "entry-ring-first",
            "two active keys, before a second chart",
            "Malformed",
            |w| {
                let chart = w.entry.charts[0].clone();
                w.entry.charts.push(chart);
                let active = w.entry.charts[1].keys[0].clone();
                w.entry.charts[1].keys.push(active);
            },
        ),
        (
            "entry-retired-length",
            "retired key numbers of 5 bytes",
            "Malformed",
            |w| {
                w.entry.extensions = vec![(1, vec![0; 5])];
            },
        ),
        (
            "entry-critical",
            "an extension that must be known",
            "Unsupported",
            |w| {
                w.entry.extensions = vec![(0xffff, vec![])];
            },
        ),
        (
            "entry-extension-order",
            "extensions out of order",
            "Malformed",
            |w| {
                w.entry.extensions = vec![(3, vec![]), (2, vec![])];
            },
        ),
    ];
    for (name, title, expect, change) in cases {
        file(files, (name, title), expect, |world| {
            let at = world.entry_key();
            world.header();
            change(world);
            let body = wincode::serialize(&world.entry).unwrap();
            world.entry_with(&at, &body);
        });
    }
    let what = ("entry-retention", "a retention that neither is nor is not");
    file(files, what, "Malformed", |world| {
        world.header();
        world.entry.retention = Some(7);
        let at = world.entry_key();
        let mut body = wincode::serialize(&world.entry).unwrap();
        // The body ends with the option byte, the time, and the number of extensions.
        let option = body.len() - 8 - 8 - 1;
        body[option] = 2;
        world.entry_with(&at, &body);
    });
    let what = ("entry-hold", "a hold's reason that is not UTF-8");
    file(files, what, "Malformed", |world| {
        world.header();
        world.entry.holds = vec![Hold {
            id: 1,
            since: 2,
            reason: "!".into(),
        }];
        let at = world.entry_key();
        let mut body = wincode::serialize(&world.entry).unwrap();
        let reason = body.len() - 8 - 1 - 1;
        body[reason] = 0xff;
        world.entry_with(&at, &body);
    });
    let what = ("entry-name", "sealed for this place, about another subject");
    file(files, what, "NotAuthentic", |world| {
        world.header();
        let at = world.entry_key();
        world.entry.kind = 2;
        let body = wincode::serialize(&world.entry).unwrap();
        world.entry_with(&at, &body);
    });
}

fn current(world: &World) -> Vec<u8> {
    world.at(NAME)
}

fn heads(files: &mut Files) {
    type Alter = fn(&mut Vec<u8>);
    let cases: [(&str, &str, &str, Alter); 13] = [
        ("record-95", "95 bytes", "Malformed", |v| v.truncate(95)),
        (
            "record-format",
            "another format, before all else",
            "Unsupported",
            |v| {
                v[..16].copy_from_slice(&[0xff; 16]);
            },
        ),
        ("record-version-0", "version 0", "Malformed", |v| v[8] = 0),
        ("record-version-2-63", "version 2^63", "Malformed", |v| {
            v[15] = 0x80
        }),
        ("record-wrap", "another wrap", "Unsupported", |v| v[3] = 2),
        (
            "record-suite",
            "a suite that is not known",
            "Unsupported",
            |v| v[1] = 0,
        ),
        (
            "record-kind",
            "a link, which is kept free",
            "Unsupported",
            |v| v[2] = 4,
        ),
        (
            "record-key-number",
            "a patient key that is not there",
            "UnknownPatientKey",
            |v| v[4] ^= 1,
        ),
        (
            "record-wrapped",
            "the wrapped data key",
            "NotAuthentic",
            |v| v[48] ^= 1,
        ),
        ("record-commitment", "the commitment", "NotAuthentic", |v| {
            v[16] ^= 1
        }),
        (
            "record-version",
            "another version in the value",
            "NotAuthentic",
            |v| v[8] = 2,
        ),
        ("record-no-tag", "no room for a tag", "Malformed", |v| {
            v.truncate(111)
        }),
        ("record-tag", "the tag of the body", "NotAuthentic", |v| {
            *v.last_mut().unwrap() ^= 1
        }),
    ];
    for (name, title, expect, alter) in cases {
        altered(files, (name, title), expect, current, alter);
    }
}

fn records(files: &mut Files) {
    let what = (
        "record-other-data-key",
        "a data key that the commitment does not name",
    );
    file(files, what, "NotAuthentic", |world| {
        world.base();
        let version = world.version(1, body(&Meta::of(NAME).encode(), CONTENT));
        let value = world.seal_wrapping(&version, &world.draw("other data key"));
        world.storage.insert(world.at(NAME), value);
    });
    let what = (
        "record-exchanged",
        "another record of the patient in this one's place",
    );
    file(files, what, "NotAuthentic", |world| {
        world.base();
        let version = Version {
            name: "other".into(),
            ..world.version(1, body(&Meta::of("other").encode(), CONTENT))
        };
        let value = world.seal(&version);
        world.storage.insert(world.at(NAME), value);
    });
    let what = (
        "record-earlier-as-current",
        "an earlier version put back as the current one",
    );
    file(files, what, "NotAuthentic", |world| {
        world.base();
        world.put_versions(&[b"first", b"second"]);
        let value = world.storage[&world.earlier(NAME, 1)].clone();
        world.storage.insert(world.at(NAME), value);
    });
    let what = (
        "record-current-as-earlier",
        "the current version copied under `h`",
    );
    file(files, what, "NotAuthentic", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&[b"first", b"second"]);
        let version = world.version(1, body(&Meta::of(NAME).encode(), b"first"));
        let value = world.seal(&version);
        world.storage.insert(world.earlier(NAME, 1), value);
    });
    let what = (
        "record-version-in-key",
        "version 1 under the key of version 2",
    );
    file(files, what, "NotAuthentic", |world| {
        world.about("version", b"2");
        world.base();
        world.put_versions(&[b"first", b"second", b"third"]);
        let value = world.storage[&world.earlier(NAME, 1)].clone();
        world.storage.insert(world.earlier(NAME, 2), value);
    });
    let what = ("record-name", "sealed for this place, under another name");
    file(files, what, "NotAuthentic", |world| {
        world.base();
        let version = world.version(1, body(&Meta::of("other").encode(), CONTENT));
        world.put(&version);
    });
    let what = ("current-missing", "earlier versions without a current one");
    file(files, what, "CurrentMissing", |world| {
        world.base();
        world.put_versions(&[b"first", b"second"]);
        world.storage.remove(&world.at(NAME));
    });
    let what = ("history-gap", "an earlier version is gone");
    file(files, what, "HistoryGap", |world| {
        world.about("version", b"2");
        world.base();
        world.put_versions(&[b"first", b"second", b"third"]);
        world.storage.remove(&world.earlier(NAME, 2));
    });
}

/// Adds a vector with a record whose body `change` alters.
fn body_case(
    files: &mut Files,
    what: (&str, &str),
    expect: &str,
    kind: u8,
    change: impl FnOnce(&mut Vec<u8>),
) {
    file(files, what, expect, |world| {
        world.base();
        let mut body = body(&Meta::of(NAME).encode(), CONTENT);
        change(&mut body);
        let version = Version {
            kind,
            ..world.version(1, body)
        };
        world.put(&version);
    });
}

/// Offset of the content's length in the body that `body_case` builds.
const CONTENT_LENGTH: usize = 2 + 1 + 8 + 1 + 2 + NAME.len() + 1 + 1;

fn bodies(files: &mut Files) {
    let what = ("body-empty", "a body of no bytes");
    body_case(files, what, "Malformed", 1, |body| body.clear());
    let what = ("body-meta-length", "metadata longer than the body");
    body_case(files, what, "Malformed", 1, |body| body[1] = 1);
    let what = ("body-meta-left-over", "a byte behind the metadata");
    body_case(files, what, "Malformed", 1, |body| {
        body[0] += 1;
        body.insert(CONTENT_LENGTH, 0);
    });
    let what = ("body-content-length", "content longer than the body");
    body_case(files, what, "Malformed", 1, |body| {
        body[CONTENT_LENGTH + 1] = 1
    });
    let what = ("body-padding", "a byte behind the content");
    body_case(files, what, "Malformed", 1, |body| {
        *body.last_mut().unwrap() = 1
    });
    let what = ("retraction-content", "a retraction with content");
    body_case(files, what, "Malformed", 3, |_| {});
    let what = (
        "segmented-no-stream-key",
        "a segmented record without a stream key",
    );
    file(files, what, "Malformed", |world| {
        world.base();
        let mut version = world.version(1, body(&Meta::of(NAME).encode(), b""));
        version.kind = 2;
        version.stream = Some([7; 16]);
        world.put(&version);
    });
    let what = (
        "segmented-111",
        "a segmented record without room for its stream id",
    );
    file(files, what, "Malformed", |world| {
        world.base();
        world.put_segmented(b"content");
        let at = world.at(NAME);
        world.storage.get_mut(&at).unwrap().truncate(111);
    });
}

fn metas(files: &mut Files) {
    let mut meta = |what, expect, change: fn(&mut Vec<u8>)| {
        file(files, what, expect, |world| {
            world.base();
            let mut meta = Meta::of(NAME);
            meta.labels = vec!["a", "b"];
            meta.extensions = vec![(1, vec![]), (2, vec![])];
            let mut meta = meta.encode();
            change(&mut meta);
            let version = world.version(1, body(&meta, CONTENT));
            world.put(&version);
        });
    };
    const LABELS: usize = 12 + NAME.len();
    meta(("meta-schema", "another schema"), "Unsupported", |meta| {
        meta[0] = 2
    });
    let what = (
        "meta-content-type",
        "a content type that is not in the table",
    );
    meta(what, "Unsupported", |meta| meta[9] = 21);
    let what = ("meta-content-type-text", "a content type that is not ASCII");
    meta(what, "Malformed", |meta| {
        drop(meta.splice(9..10, *b"\0\x02\xc3\xa9"))
    });
    let what = ("meta-name", "a name that is not UTF-8");
    meta(what, "Malformed", |meta| meta[12] = 0xff);
    let what = (
        "meta-content-type-control",
        "a content type with a line end",
    );
    meta(what, "Malformed", |meta| {
        drop(meta.splice(9..10, *b"\0\x01\n"))
    });
    let what = ("meta-name-empty", "a name of no bytes");
    meta(what, "Malformed", |meta| {
        drop(meta.splice(10..12 + NAME.len(), [0, 0]))
    });
    let what = ("meta-label-control", "a label with a control character");
    meta(what, "Malformed", |meta| meta[LABELS + 2] = 7);
    let what = ("meta-label-empty", "a label of no bytes");
    meta(what, "Malformed", |meta| {
        drop(meta.splice(LABELS + 1..LABELS + 3, [0]))
    });
    let what = ("meta-labels", "labels out of order");
    meta(what, "Malformed", |meta| meta.swap(LABELS + 2, LABELS + 4));
    let what = ("meta-33-labels", "33 labels");
    meta(what, "Malformed", |meta| meta[LABELS] = 33);
    let what = ("meta-extensions", "extensions out of order");
    meta(what, "Malformed", |meta| meta[LABELS + 10] = 0);
    let what = ("meta-critical", "an extension that must be known");
    meta(what, "Unsupported", |meta| meta[LABELS + 11] = 0x80);
}

fn streams(files: &mut Files) {
    fn first(world: &World) -> Vec<u8> {
        world.segment(0)
    }
    let mut case = |what, expect, change: fn(&mut World)| {
        file(files, what, expect, |world| {
            world.base();
            world.put_segmented(&bytes(1000));
            change(world);
        });
    };
    let what = ("segment-missing", "the only segment is gone");
    case(what, "SegmentMissing", |world| {
        let at = first(world);
        world.storage.remove(&at);
    });
    let what = ("segment-short", "a segment that lacks a byte");
    case(what, "NotAuthentic", |world| {
        let at = first(world);
        world.storage.get_mut(&at).unwrap().pop();
    });
    let what = ("segment-altered", "one bit of a segment");
    case(what, "NotAuthentic", |world| {
        let at = first(world);
        world.storage.get_mut(&at).unwrap()[500] ^= 1;
    });
    let what = ("segment-padding", "a byte behind the content of a stream");
    case(what, "Malformed", |world| {
        let mut padded = bytes(1000);
        padded.resize(1024, 7);
        world.put_segments(&padded);
    });
    let what = (
        "segment-other-index",
        "the segment under the next one's number",
    );
    case(what, "SegmentMissing", |world| {
        let value = world.storage.remove(&first(world)).unwrap();
        world.storage.insert(world.segment(1), value);
    });
    let what = (
        "segment-beyond",
        "a segment beyond the last, before a byte behind the content",
    );
    case(what, "NotAuthentic", |world| {
        let mut padded = bytes(1000);
        padded.resize(1024, 7);
        world.put_segments(&padded);
        let value = world.storage[&first(world)].clone();
        world.storage.insert(world.segment(1), value);
    });
    let what = (
        "segmented-too-long",
        "a stream of more segments than have a number",
    );
    case(what, "TooLarge", |world| {
        let mut meta = Meta::of(NAME);
        meta.stream = Some((world.draw("stream key"), u64::MAX));
        let mut version = world.version(1, body(&meta.encode(), &[]));
        version.kind = 2;
        version.stream = Some(world.draw16("stream id"));
        world.put(&version);
    });
    let what = (
        "segment-chunks-exchanged",
        "two chunks in each other's place",
    );
    file(files, what, "NotAuthentic", |world| {
        world.base();
        world.put_segmented(&bytes(131_072));
        let at = first(world);
        world.storage.get_mut(&at).unwrap().rotate_left(65_552);
    });
}

fn archives(files: &mut Files) {
    let mut case = |what, expect, archive: Vec<u8>| {
        file(files, what, expect, |world| {
            for about in ["credential key file", "subject patient", "record"] {
                world.forget(about);
            }
            world.about("archive", &archive);
        });
    };
    let two = || [object(b"a", b"1"), object(b"b", b"2")].concat();
    let with = |objects: &[u8]| finish([MAGIC, objects].concat());
    let honest = with(&two());
    assert_eq!(
        honest,
        write(
            &[
                (b"a".to_vec(), b"1".to_vec()),
                (b"b".to_vec(), b"2".to_vec())
            ]
            .into()
        )
    );
    let mut altered = honest.clone();
    altered[0] = 0;
    let what = ("archive-magic", "another magic");
    case(what, "NotAnArchive", altered);
    let what = ("archive-seven", "7 bytes");
    case(what, "NotAnArchive", honest[..7].to_vec());
    let what = ("archive-39", "39 bytes: no room for a checksum");
    case(what, "NotAnArchive", honest[..39].to_vec());
    let what = (
        "archive-cut",
        "an object that ends within the last 32 bytes",
    );
    case(what, "Truncated", honest[..honest.len() - 5].to_vec());
    let mut altered = honest.clone();
    altered[19] ^= 1;
    let what = ("archive-altered", "one bit of a value");
    case(what, "Digest", altered);
    let twice = [object(b"b", b"2"), object(b"b", b"2")].concat();
    let what = ("archive-key-twice", "a key that does not ascend");
    case(what, "Malformed", with(&twice));
    let what = ("archive-no-key", "a key of no bytes");
    case(what, "Malformed", with(&object(b"", b"")));
    let what = ("archive-long-key", "a key of 65 bytes");
    case(what, "Malformed", with(&object(&[1; 65], b"")));
    let what = ("archive-cut-length", "a key length of one byte");
    case(what, "Truncated", with(&[1]));
    let what = (
        "archive-long-key-cut",
        "a key of 65 bytes, none of them there",
    );
    case(what, "Malformed", with(&[65, 0]));
    let twice = [object(b"b", b"2"), vec![1, 0, b'b']].concat();
    let what = (
        "archive-key-twice-cut",
        "a key that does not ascend, and nothing behind it",
    );
    case(what, "Malformed", with(&twice));
    let mut altered = with(&object(b"", b""));
    *altered.last_mut().unwrap() ^= 1;
    let what = (
        "archive-malformed-altered",
        "a key of no bytes, before a checksum that does not match",
    );
    case(what, "Malformed", altered);
    let mut long = object(b"a", b"");
    long[3..11].copy_from_slice(&2_097_153_u64.to_le_bytes());
    let what = ("archive-long-value", "a value beyond 2 MiB");
    case(what, "Malformed", with(&long));
}

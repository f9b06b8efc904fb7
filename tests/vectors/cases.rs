//! Vectors that the library must open.

use crate::credentials;
use crate::key_files;
use crate::markers;
use crate::meta_extensions;
use crate::mirror::{Hold, State};
use crate::writer::{Meta, NAME, NOW, Slot, Version, World, body, key_file};

pub type Files = Vec<(String, Vec<u8>)>;

pub const JSON: &[u8] = br#"{"systolic":120,"diastolic":80}"#;

/// Adds a vector with the vault that `make` builds.
pub fn file(
    files: &mut Files,
    (name, title): (&str, &str),
    expect: &str,
    make: impl FnOnce(&mut World),
) {
    let suite = if name.ends_with("-chacha") { 2 } else { 1 };
    let mut world = World::new(name, suite);
    make(&mut world);
    files.push((name.into(), world.archive(title, expect)));
}

pub fn opens(files: &mut Files, what: (&str, &str), content: &[u8], make: impl FnOnce(&mut World)) {
    file(files, what, "ok", |world| {
        world.about("content", content);
        make(world);
    });
}

/// Returns the name of a slot, as extension 2 of a keyring contains it.
pub fn slot_name(id: u16, created: i64, label: &str) -> Vec<u8> {
    let mut name = id.to_le_bytes().to_vec();
    name.extend(created.to_le_bytes());
    name.push(label.len() as u8);
    name.extend(label.as_bytes());
    name
}

pub fn all() -> Files {
    let mut files = Files::new();
    inline(&mut files);
    versions(&mut files);
    segmented(&mut files);
    slots(&mut files);
    rings(&mut files);
    subjects(&mut files);
    liberal(&mut files);
    files.extend(credentials::all());
    files.extend(markers::all());
    files.extend(meta_extensions::all());
    files.extend(key_files::all());
    files
}

/// Returns bytes of a fixed pattern.
pub fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n / 251) as u8 ^ n as u8).collect()
}

fn inline(files: &mut Files) {
    for name in ["inline", "inline-chacha"] {
        opens(files, (name, "a record of one version"), JSON, |world| {
            world.base();
            world.put_inline(JSON);
        });
    }
    let what = ("inline-empty", "empty content is a record");
    opens(files, what, b"", |world| {
        world.base();
        world.put_inline(b"");
    });
    let what = ("inline-3000", "a body above 2,048 bytes, padded to Padmé");
    opens(files, what, &bytes(3000), |world| {
        world.base();
        world.put_inline(&bytes(3000));
    });
    let what = (
        "practice",
        "one byte, in a record that belongs to no patient",
    );
    opens(files, what, b"1", |world| {
        world.forget("subject patient");
        world.about("subject practice", b"formulary");
        world.entry.kind = 2;
        world.entry.identifier = "formulary".into();
        world.base();
        world.put_inline(b"1");
    });
    let what = (
        "meta",
        "a type that is spelled out, labels, an extension that is not known",
    );
    opens(files, what, JSON, |world| {
        world.base();
        let mut meta = Meta::of(NAME);
        meta.content_type = b"\x00\x0dmodel/gltf+js".to_vec();
        meta.labels = vec!["lab", "vitals", "é"];
        meta.extensions = vec![(8, vec![1, 2, 3]), (0x7fff, vec![])];
        let version = world.version(1, body(&meta.encode(), JSON));
        world.put(&version);
    });
    let what = ("long-names", "identifier and name of the greatest length");
    opens(files, what, JSON, |world| {
        let (identifier, name) = ("é".repeat(127) + "1", "名".repeat(341) + "1");
        world.about("subject patient", identifier.as_bytes());
        world.about("record", name.as_bytes());
        world.entry.identifier = identifier;
        world.base();
        let mut version = world.version(1, body(&Meta::of(&name).encode(), JSON));
        version.name = name;
        world.put(&version);
    });
}

fn versions(files: &mut Files) {
    let three: [&[u8]; 3] = [b"first", b"second", b"third"];
    let what = ("versions-current", "three versions, the current one");
    opens(files, what, b"third", |world| {
        world.base();
        world.put_versions(&three);
    });
    let what = ("versions-earlier-chacha", "three versions, the first one");
    opens(files, what, b"first", |world| {
        world.about("version", b"1");
        world.base();
        world.put_versions(&three);
    });
    let what = (
        "versions-numbered-current",
        "three versions, the third by its number",
    );
    opens(files, what, b"third", |world| {
        world.about("version", b"3");
        world.base();
        world.put_versions(&three);
    });
    let what = ("versions-beyond", "a version that is not written yet");
    file(files, what, "none", |world| {
        world.about("version", b"4");
        world.base();
        world.put_versions(&three);
    });
    let what = (
        "versions-left-over",
        "a version under `h` that is not below the current one is ignored",
    );
    opens(files, what, b"third", |world| {
        world.base();
        world.put_versions(&[b"first", b"second", b"third", b"fourth"]);
        let mut version = world.version(3, body(&Meta::of(NAME).encode(), b"third"));
        world.put(&version);
        version.place = b'h';
        world.put(&version);
    });
    let retracted = |world: &mut World| {
        world.base();
        world.put_versions(&[JSON, b""]);
        let mut version = world.version(2, body(&Meta::of(NAME).encode(), b""));
        version.kind = 3;
        world.put(&version);
    };
    let what = ("retraction", "a record that was retracted");
    file(files, what, "none", retracted);
    let what = ("retraction-before", "what a retracted record was before");
    opens(files, what, JSON, |world| {
        world.about("version", b"1");
        retracted(world);
    });
}

fn segmented(files: &mut Files) {
    let what = ("segmented", "two chunks, and the intent of another upload");
    opens(files, what, &bytes(70_000), |world| {
        world.base();
        world.put_segmented(&bytes(70_000));
        let chart = world.entry.charts[0].id;
        let intent = [b"w", &chart[..], &world.draw16("other stream id")].concat();
        let mut value = vec![1, 1, 17, 0, 0, 0, 0, 0];
        value.extend(NOW.to_le_bytes());
        value.extend(world.draw16("writer id"));
        world.storage.insert(intent, value);
    });
    let what = (
        "segmented-short-chacha",
        "readers take streams of any length",
    );
    opens(files, what, &bytes(1000), |world| {
        world.base();
        world.put_segmented(&bytes(1000));
    });
    let what = ("segmented-empty", "a stream of no content has no segment");
    opens(files, what, b"", |world| {
        world.base();
        world.put_segmented(b"");
    });
    let what = (
        "segmented-empty-beyond",
        "of a stream of no content no segment is looked for",
    );
    opens(files, what, b"", |world| {
        world.base();
        world.put_segmented(b"");
        world.storage.insert(world.segment(0), vec![0; 17]);
    });
    let what = (
        "segmented-gap-beyond",
        "only the next segment is looked for",
    );
    opens(files, what, &bytes(1000), |world| {
        world.base();
        world.put_segmented(&bytes(1000));
        world.storage.insert(world.segment(2), vec![0; 17]);
    });
}

fn slots(files: &mut Files) {
    let passphrase = |world: &World, m: u32| {
        let salt = world.draw("passphrase salt");
        let mut parameters = [m, 1, 1].map(u32::to_le_bytes).concat();
        parameters.extend(salt);
        let secret = match m {
            8192 => crate::formula::argon2id("Köder 7".as_bytes(), &salt, m, 1, 1),
            _ => [0; 32],
        };
        Slot {
            kind: 1,
            id: 0x0101,
            parameters,
            secret,
            wrapped: world.root,
        }
    };
    let what = (
        "slot-passphrase",
        "a passphrase, at the least cost that is read",
    );
    opens(files, what, JSON, |world| {
        world.forget("credential key file");
        world.about("credential passphrase", "Köder 7".as_bytes());
        world.slots = vec![passphrase(world, 8192)];
        world.base();
        world.put_inline(JSON);
    });
    let what = (
        "slot-cost-planted",
        "a slot of too little cost is passed over",
    );
    opens(files, what, JSON, |world| {
        world.forget("credential key file");
        world.about("credential passphrase", "Köder 7".as_bytes());
        world.slots = vec![passphrase(world, 8191), passphrase(world, 8192)];
        world.slots[0].id = 0x0100;
        world.base();
        world.put_inline(JSON);
    });
    let what = (
        "slot-unknown-kind",
        "a slot of another kind is passed over and carried",
    );
    opens(files, what, JSON, |world| {
        let mut unknown = world.key_file_slot("unknown slot");
        unknown.kind = 0x4242;
        unknown.parameters = bytes(300);
        world.slots.insert(0, unknown);
        world.base();
        world.put_inline(JSON);
    });
    let what = (
        "slot-stale",
        "a slot that was left behind by an earlier root key",
    );
    opens(files, what, JSON, |world| {
        let mut stale = world.key_file_slot("stale slot");
        stale.wrapped = world.draw("earlier root key");
        world.slots.insert(0, stale);
        world.base();
        world.put_inline(JSON);
    });
    let what = (
        "slot-auditor",
        "an auditor's slot of the same key file is passed over, and gives the journal key",
    );
    opens(files, what, JSON, |world| {
        let auditor = world.auditor_slot("auditor slot");
        world.about("journal key", &auditor.wrapped);
        world.slots.insert(0, auditor);
        world.base();
        world.put_inline(JSON);
    });
    let what = (
        "slot-auditor-passphrase",
        "an auditor's slot of the same passphrase",
    );
    opens(files, what, JSON, |world| {
        world.forget("credential key file");
        world.about("credential passphrase", "Köder 7".as_bytes());
        world.about("journal key", &world.keyring.journal_keys[0].key.clone());
        let auditor = Slot {
            kind: 0x8001,
            id: 0x0102,
            wrapped: world.keyring.journal_keys[0].key,
            ..passphrase(world, 8192)
        };
        world.slots = vec![auditor, passphrase(world, 8192)];
        world.base();
        world.put_inline(JSON);
    });
    let what = ("slot-of-another", "two key files, the second one's");
    opens(files, what, JSON, |world| {
        let mut other = world.key_file_slot("other slot");
        other.secret = world.draw("other secret");
        world.about("credential key file", key_file(&other.secret).as_bytes());
        world.slots.push(other);
        world.base();
        world.put_inline(JSON);
    });
}

fn rings(files: &mut Files) {
    let what = (
        "keys-inactive",
        "an entry under an inactive master and name key, a record under an inactive patient key",
    );
    opens(files, what, JSON, |world| {
        let former = &mut world.keyring;
        former.masters[0].state = 1;
        former.name_keys[0].state = 1;
        world.entry.charts[0].keys[0].state = 1;
        let (master, name_key) = (
            world.numbered("new master key", 0),
            world.numbered("new name key", 0),
        );
        let patient_key = world.patient_key("new patient key", 0);
        world.keyring.masters.insert(0, master);
        world.keyring.name_keys.insert(0, name_key);
        world.entry.charts[0].keys.insert(0, patient_key);
        (world.master, world.name_key) = (1, 1);
        world.base();
        let version = Version {
            key: 1,
            ..world.version(1, body(&Meta::of(NAME).encode(), JSON))
        };
        world.put(&version);
    });
    let what = (
        "keyring-slot-names",
        "labels and creation times of slots, one of them of a slot that is gone",
    );
    opens(files, what, JSON, |world| {
        let id = world.slots[0].id;
        let other = if id == 0 { 1 } else { id - 1 };
        let mut names = [
            slot_name(id, NOW, &"é".repeat(32)),
            slot_name(other, i64::MIN, ""),
        ];
        names.sort_by_key(|name| [name[1], name[0]]);
        world.keyring.extensions = vec![(2, names.concat())];
        world.base();
        world.put_inline(JSON);
    });
    let what = ("extensions", "extensions that are not known are carried");
    opens(files, what, JSON, |world| {
        world.keyring.extensions = vec![(0, vec![]), (1, vec![9; 8]), (0x7fff, vec![7; 40])];
        world.entry.extensions = vec![(1, vec![8; 4]), (2, b"later".to_vec())];
        world.entry.holds = vec![Hold {
            id: 4,
            since: NOW,
            reason: "subpoena".into(),
        }];
        world.entry.retention = Some(NOW);
        world.entry.charts[0].state = 1;
        world.base();
        world.put_inline(JSON);
    });
    let what = (
        "holds-retention",
        "holds, one without a reason, a retention, and the keys that were retired",
    );
    opens(files, what, JSON, |world| {
        let hold = |id, since, reason: &str| Hold {
            id,
            since,
            reason: reason.into(),
        };
        world.entry.holds = vec![
            hold(1, NOW, "subpoena 4711"),
            hold(u64::MAX, i64::MIN, ""),
            hold(1, 0, "é\u{7}"),
        ];
        world.entry.retention = Some(i64::MAX);
        world.entry.extensions = vec![(1, bytes(4096))];
        world.keyring.extensions = vec![(1, vec![])];
        world.base();
        world.put_inline(JSON);
    });
    let what = ("suites-mixed", "each value is read by its own suite");
    opens(files, what, JSON, |world| {
        world.entry_suite = 2;
        world.base();
        let version = Version {
            suite: 2,
            ..world.version(1, body(&Meta::of(NAME).encode(), JSON))
        };
        world.put(&version);
    });
}

fn subjects(files: &mut Files) {
    let what = ("erased", "the tombstone of an erased patient");
    file(files, what, "Erased", |world| {
        let chart = world.entry.charts.remove(0);
        world.entry.state = State::Erased;
        world.entry.sequence = 3;
        world.entry.dead_charts = vec![chart.id];
        world.base();
    });
    let what = (
        "erasing",
        "a patient who is being erased, records still there",
    );
    file(files, what, "Erased", |world| {
        world.put_inline(JSON);
        let chart = world.entry.charts.remove(0);
        world.entry.state = State::Erasing { chart: chart.id };
        world.base();
    });
    let what = ("readmitted", "a patient who came back after an erasure");
    opens(files, what, JSON, |world| {
        world.entry.dead_charts = vec![world.draw16("dead chart")];
        world.base();
        world.put_inline(JSON);
    });
    let what = ("record-never-written", "a patient without this record");
    file(files, what, "none", World::base);
    let what = ("subject-never-seen", "another patient");
    file(files, what, "none", |world| {
        world.base();
        world.about("subject patient", b"MRN-1043");
    });
    let what = (
        "key-classes",
        "keys that belong to later versions are left alone",
    );
    opens(files, what, JSON, |world| {
        world.base();
        world.put_inline(JSON);
        for class in *b"ajlgqxz" {
            world.storage.insert(vec![class, 1, 2, 3], vec![class; 9]);
        }
        world.storage.insert(b"vv".to_vec(), vec![]);
    });
    let what = (
        "earlier-no-version",
        "keys of class `h` that belong to no version: numbers out of bounds, other lengths",
    );
    file(files, what, "none", |world| {
        world.base();
        for number in [0, 1 << 63, u64::MAX] {
            let at = world.earlier(NAME, number);
            world.storage.insert(at, vec![1; 200]);
        }
        let mut at = world.earlier(NAME, 1);
        at.pop();
        world.storage.insert(at.clone(), vec![1; 200]);
        at.extend([1, 1]);
        world.storage.insert(at, vec![1; 200]);
    });
}

fn liberal(files: &mut Files) {
    let what = ("padding-none", "a body without any zeros");
    opens(files, what, JSON, |world| {
        world.base();
        let mut body = body(&Meta::of(NAME).encode(), JSON);
        while body.last() == Some(&0) {
            body.pop();
        }
        let version = world.version(1, body);
        world.put(&version);
    });
    let what = (
        "padding-more",
        "a body with more zeros than any writer puts",
    );
    opens(files, what, JSON, |world| {
        world.base();
        let mut body = body(&Meta::of(NAME).encode(), JSON);
        body.resize(1000, 0);
        let version = world.version(1, body);
        world.put(&version);
    });
    let what = ("version-last", "the last version there can be");
    opens(files, what, JSON, |world| {
        world.base();
        let version = world.version(i64::MAX as u64, body(&Meta::of(NAME).encode(), JSON));
        world.put(&version);
    });
}

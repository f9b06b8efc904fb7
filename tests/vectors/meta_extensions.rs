//! Vectors of the extensions of a record's metadata: their content, and the order of their checks.

use crate::cases::{Files, file, opens};
use crate::writer::{Meta, NAME, World, body};

type Extensions = Vec<(u16, Vec<u8>)>;

fn put(world: &mut World, extensions: Extensions) {
    world.base();
    let mut meta = Meta::of(NAME);
    meta.extensions = extensions;
    let version = world.version(1, body(&meta.encode(), b"{}"));
    world.put(&version);
}

pub fn all() -> Files {
    let mut files = Files::new();
    let cases: [(&str, &str, Extensions); 5] = [
        (
            "meta-original",
            "the original time and author of a record that was moved in",
            vec![
                (6, (-1_i64).to_le_bytes().to_vec()),
                (7, "Dr. Müller".into()),
            ],
        ),
        (
            "meta-original-author-255",
            "an original author of the greatest length",
            vec![(
                7,
                "é".repeat(127)
                    .into_bytes()
                    .into_iter()
                    .chain(*b"1")
                    .collect(),
            )],
        ),
        (
            "meta-kept-free",
            "extensions 4 and 5, which are kept free, are carried",
            vec![(4, vec![0xff]), (5, vec![])],
        ),
        (
            "meta-origin-length",
            "extension 1 of another length says nothing",
            vec![(1, vec![1; 15])],
        ),
        (
            "meta-honeytoken-length",
            "a honeytoken mark with bytes",
            vec![(2, vec![1; 300])],
        ),
    ];
    for (name, title, extensions) in cases {
        opens(&mut files, (name, title), b"{}", |world| {
            put(world, extensions);
        });
    }
    files
}

pub fn refused() -> Files {
    let mut files = Files::new();
    let cases: [(&str, &str, Extensions); 6] = [
        (
            "meta-original-time-7",
            "a time of 7 bytes",
            vec![(6, vec![0; 7])],
        ),
        (
            "meta-original-time-9",
            "a time of 9 bytes",
            vec![(6, vec![0; 9])],
        ),
        (
            "meta-original-author-empty",
            "an author of no bytes",
            vec![(7, vec![])],
        ),
        (
            "meta-original-author-256",
            "an author of 256 bytes",
            vec![(7, vec![b'a'; 256])],
        ),
        (
            "meta-original-author-control",
            "an author with a control character",
            vec![(7, b"a\nb".to_vec())],
        ),
        (
            "meta-original-author-text",
            "an author that is not UTF-8",
            vec![(7, vec![0xff])],
        ),
    ];
    for (name, title, extensions) in cases {
        file(&mut files, (name, title), "Malformed", |world| {
            put(world, extensions);
        });
    }
    order(&mut files);
    files
}

/// Adds vectors of extensions that break several rules. The first check that fails decides.
fn order(files: &mut Files) {
    let what = (
        "meta-critical-short",
        "an extension that must be known, longer than the meta: its bytes come first",
    );
    file(files, what, "Malformed", |world| {
        world.base();
        let mut meta = Meta::of(NAME);
        meta.extensions = vec![(0x8000, vec![])];
        let mut meta = meta.encode();
        let length = meta.len() - 2;
        meta[length] = 1;
        let version = world.version(1, body(&meta, b"{}"));
        world.put(&version);
    });
    let what = (
        "meta-critical-order",
        "an extension that must be known, out of order: its place comes first",
    );
    file(files, what, "Malformed", |world| {
        world.base();
        let mut meta = Meta::of(NAME);
        let number = 2_u64.to_le_bytes().to_vec();
        meta.extensions = vec![(0x8001, number), (0x8000, vec![])];
        let version = world.version(3, body(&meta.encode(), b"{}"));
        world.put(&version);
    });
    let what = (
        "meta-critical-first",
        "an extension that must be known, before one that is out of order",
    );
    file(files, what, "Unsupported", |world| {
        put(world, vec![(0x8000, vec![]), (7, vec![])]);
    });
    let what = (
        "body-meta-first",
        "metadata that must be known, before content that is too long",
    );
    file(files, what, "Unsupported", |world| {
        world.base();
        let mut meta = Meta::of(NAME);
        meta.extensions = vec![(0x8000, vec![])];
        let meta = meta.encode();
        let mut body = body(&meta, b"{}");
        body[2 + meta.len() + 3] = 1;
        let version = world.version(1, body);
        world.put(&version);
    });
}

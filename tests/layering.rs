//! Holds the sources to the picture of the rooms: every arrow points down.
//!
//! ```text
//! lib               re-exports, nothing else
//! session           the verbs that an app calls, and the guard around each
//! audit · verify    answers from the journal · comparison of storage with journal
//! lifecycle · rotation
//! records           read, write, list, upload, download
//! vault             open, header and entry caches, slots, journaling handle
//! access            policy, rules, security events
//! journal           pages, chains, heads
//! keys              credentials, header, keyring, patient entries
//! storage           the seam, and the backends
//! group_commit      leader election
//! format            the bytes
//! crypto            ciphers and derivations
//! secret · id · error
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room, and the rooms below it that it may name.
const ROOMS: [(&str, &[&str]); 17] = [
    ("error", &[]),
    ("id", &["error"]),
    ("secret", &["error"]),
    ("crypto", &["error", "id", "secret"]),
    ("format", &["error", "id", "secret", "crypto"]),
    ("group_commit", &["error"]),
    ("storage", &["error", "crypto", "group_commit"]),
    ("keys", &["error", "id", "secret", "crypto", "format"]),
    (
        "journal",
        &[
            "error",
            "id",
            "secret",
            "crypto",
            "format",
            "group_commit",
            "storage",
            "keys",
        ],
    ),
    ("access", &["error", "id", "journal"]),
    (
        "vault",
        &[
            "error", "id", "secret", "crypto", "format", "storage", "keys", "journal", "access",
            "records",
        ],
    ),
    (
        "records",
        &[
            "error", "id", "secret", "crypto", "format", "storage", "keys", "journal", "vault",
        ],
    ),
    (
        "lifecycle",
        &[
            "error", "id", "crypto", "format", "storage", "keys", "journal", "vault", "records",
        ],
    ),
    (
        "rotation",
        &[
            "error",
            "id",
            "crypto",
            "format",
            "storage",
            "keys",
            "journal",
            "vault",
            "records",
            "lifecycle",
        ],
    ),
    (
        "audit",
        &[
            "error", "id", "crypto", "format", "storage", "keys", "journal", "access", "vault",
            "records", "verify",
        ],
    ),
    (
        "verify",
        &[
            "error", "id", "secret", "crypto", "format", "storage", "keys", "journal", "access",
            "vault", "records", "session",
        ],
    ),
    (
        "session",
        &[
            "error",
            "id",
            "secret",
            "crypto",
            "format",
            "storage",
            "keys",
            "journal",
            "access",
            "vault",
            "records",
            "lifecycle",
            "rotation",
            "audit",
            "verify",
        ],
    ),
];

/// Crates that one room alone, or one file alone, may name.
const CONFINED: [(&str, &str); 10] = [
    ("aes_gcm", "src/crypto/provider/rust_crypto.rs"),
    ("chacha20poly1305", "src/crypto/provider/rust_crypto.rs"),
    ("hkdf", "src/crypto/provider/rust_crypto.rs"),
    ("sha2", "src/crypto/provider/rust_crypto.rs"),
    ("aws_lc_rs", "src/crypto/provider/aws_lc.rs"),
    ("argon2", "src/crypto/"),
    ("subtle", "src/crypto/"),
    ("rand", "src/crypto/"),
    ("bincode", "src/format/codec/mod.rs"),
    ("fjall", "src/storage/file"),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Path relative to the project, and code without comments.
fn all_code() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    sources(&root.join("src"), &mut files);
    files
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let code = text
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .collect::<Vec<_>>()
                .join("\n");
            let relative = path.strip_prefix(root).unwrap();
            (relative.to_string_lossy().replace('\\', "/"), code)
        })
        .collect()
}

fn room_of(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap();
    let first = inner.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// The rooms named after `crate::`, in use lists too.
fn named_rooms(code: &str) -> BTreeSet<&str> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(list) => list.split('}').next().unwrap(),
            None => rest,
        };
        let parts = if rest.starts_with('{') {
            list.split(',').collect()
        } else {
            vec![list]
        };
        for part in parts {
            let part = part.trim();
            let end = part
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(part.len());
            if !part[..end].is_empty() {
                named.insert(&part[..end]);
            }
        }
    }
    named
}

#[test]
fn arrows_point_down_only() {
    let mut checked = BTreeSet::new();
    for (path, code) in all_code() {
        let room = room_of(&path);
        if room == "lib" {
            continue;
        }
        let (_, below) = ROOMS
            .iter()
            .find(|(name, _)| *name == room)
            .unwrap_or_else(|| panic_for(&path));
        checked.insert(room.to_owned());
        for named in named_rooms(&code) {
            let is_room = ROOMS.iter().any(|(name, _)| *name == named);
            assert!(
                !is_room || named == room || below.contains(&named),
                "{path} names {named}, which is not below {room}"
            );
        }
    }
    assert_eq!(checked.len(), ROOMS.len(), "a room has no source");
}

fn panic_for<T>(path: &str) -> T {
    unreachable!("{path} belongs to no room: draw it in")
}

#[test]
fn a_crate_is_named_where_it_belongs() {
    for (path, code) in all_code() {
        for (name, home) in CONFINED {
            let named = [format!("{name}::"), format!("use {name}")]
                .iter()
                .any(|use_of| {
                    code.match_indices(use_of.as_str()).any(|(at, _)| {
                        let before = code[..at].chars().next_back();
                        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                    })
                });
            assert!(!named || path.starts_with(home), "{path} names {name}");
        }
    }
}

#[test]
fn format_and_storage_never_meet() {
    for (path, code) in all_code() {
        let named = named_rooms(&code);
        match room_of(&path) {
            "format" => assert!(!named.contains("storage"), "{path}"),
            "storage" => assert!(
                !named.contains("format") && !named.contains("keys"),
                "{path}"
            ),
            _ => {}
        }
    }
}

#[test]
fn the_library_root_only_hands_names_on() {
    let (_, code) = all_code()
        .into_iter()
        .find(|(path, _)| path == "src/lib.rs")
        .unwrap();
    for word in [
        "fn ", "struct ", "enum ", "trait ", "impl ", "static ", "const ",
    ] {
        assert!(!code.contains(word), "lib.rs defines something: {word}");
    }
}

//! Checks of the dependencies between the crate's layers: a layer may use only lower layers.
//!
//! ```text
//! bin               the operator's tool, on the public interface alone
//! lib               re-exports, nothing else
//! guides            pages for users, no code
//! asynchronous      façade over the blocking pool of a tokio runtime
//! session           the operations that an app calls, and the guard around each
//! audit · verify    reports from the journal · comparison of the storage with the journal
//! lifecycle · rotation   expunge, erase, holds, garbage collection · keys, re-encryption
//! records           read, write, list, upload, download
//! vault             open, header and entry caches, slots, journaling handle
//! access            policy, rules, security events
//! journal           pages, chains, heads
//! keys              credentials, header, keyring, patient entries
//! storage           the storage trait, and the backends
//! group_commit      leader election
//! format            the stored bytes
//! crypto            ciphers and key derivations
//! telemetry         spans and events
//! secret · id · error
//! ```
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Layers, each with the lower layers that it may use.
const LAYERS: [(&str, &[&str]); 21] = [
    ("guides", &[]),
    ("error", &[]),
    ("id", &["error"]),
    ("secret", &["error"]),
    ("crypto", &["error", "id", "secret"]),
    ("format", &["error", "id", "secret", "crypto"]),
    ("group_commit", &["error"]),
    ("telemetry", &["error"]),
    ("storage", &["error", "crypto", "group_commit", "telemetry"]),
    ("keys", &["error", "id", "secret", "crypto", "format"]),
    (
        "journal",
        &["error", "crypto", "format", "group_commit", "storage"],
    ),
    ("access", &["error", "id", "journal"]),
    (
        "vault",
        &[
            "error",
            "telemetry",
            "id",
            "secret",
            "crypto",
            "format",
            "storage",
            "keys",
            "journal",
            "access",
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
            "telemetry",
            "id",
            "crypto",
            "format",
            "storage",
            "keys",
            "journal",
            "vault",
            "records",
        ],
    ),
    (
        "audit",
        &[
            "error",
            "telemetry",
            "id",
            "crypto",
            "format",
            "storage",
            "keys",
            "journal",
            "vault",
        ],
    ),
    (
        "verify",
        &[
            "error",
            "telemetry",
            "id",
            "secret",
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
        "session",
        &[
            "error",
            "telemetry",
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
            "audit",
            "verify",
        ],
    ),
    (
        "asynchronous",
        &[
            "error",
            "telemetry",
            "id",
            "secret",
            "access",
            "vault",
            "records",
            "lifecycle",
            "session",
        ],
    ),
    // The tool calls methods of all layers, through the public interface.
    (
        "bin",
        &[
            "error",
            "id",
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
            "session",
        ],
    ),
];

/// Crates that only these folders or files may use.
const CONFINED: [(&str, &[&str]); 29] = [
    ("aes_gcm", &["src/crypto/provider/rust_crypto.rs"]),
    ("chacha20poly1305", &["src/crypto/provider/rust_crypto.rs"]),
    ("hkdf", &["src/crypto/provider/rust_crypto.rs"]),
    ("sha2", &["src/crypto/provider/rust_crypto.rs"]),
    ("aws_lc_rs", &["src/crypto/provider/aws_lc.rs"]),
    ("argon2", &["src/crypto/"]),
    ("subtle", &["src/crypto/"]),
    ("rand", &["src/crypto/", "src/bin/chartlock/output_file.rs"]),
    ("bincode", &["src/format/codec/mod.rs"]),
    ("rusqlite", &["src/storage/file/"]),
    ("tokio_postgres", &["src/storage/postgres/"]),
    ("tokio_postgres_rustls", &["src/storage/postgres/"]),
    ("deadpool_postgres", &["src/storage/postgres/"]),
    (
        "rustls",
        &[
            "src/storage/postgres/",
            "src/storage/object_store/",
            "src/keys/credentials/http.rs",
        ],
    ),
    ("ureq", &["src/keys/credentials/http.rs"]),
    ("base64ct", &["src/keys/credentials/"]),
    (
        "tokio",
        &[
            "src/storage/postgres/",
            "src/storage/object_store/",
            "src/storage/worker.rs",
            "src/asynchronous/",
        ],
    ),
    ("futures_core", &["src/asynchronous/"]),
    (
        "object_store",
        &["src/storage/object_store/", "src/storage/mod.rs"],
    ),
    ("hyper_util", &["src/storage/object_store/http_client.rs"]),
    ("hyper_rustls", &["src/storage/object_store/http_client.rs"]),
    (
        "http_body_util",
        &["src/storage/object_store/http_client.rs"],
    ),
    ("futures_util", &["src/storage/object_store/"]),
    ("tracing", &["src/telemetry/enabled.rs"]),
    ("clap", &["src/bin/chartlock/"]),
    ("clap_complete", &["src/bin/chartlock/"]),
    ("clap_mangen", &["src/bin/chartlock/"]),
    ("indicatif", &["src/bin/chartlock/"]),
    ("rpassword", &["src/bin/chartlock/"]),
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

/// Returns each source file's relative path, and its code without comments.
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

fn layer_of(path: &str) -> &str {
    let inner = path.strip_prefix("src/").unwrap();
    let first = inner.split('/').next().unwrap();
    first.strip_suffix(".rs").unwrap_or(first)
}

/// Returns the module names that follow `crate::`, including the names in use lists.
fn imported_modules(code: &str) -> BTreeSet<&str> {
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
fn layers_import_only_lower_layers() {
    let mut checked = BTreeSet::new();
    for (path, code) in all_code() {
        let layer = layer_of(&path);
        if layer == "lib" {
            continue;
        }
        let (_, below) = LAYERS
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic_for(&path));
        checked.insert(layer.to_owned());
        for named in imported_modules(&code) {
            let is_layer = LAYERS.iter().any(|(name, _)| *name == named);
            assert!(
                !is_layer || named == layer || below.contains(&named),
                "{path} references {named}, which is not below {layer}"
            );
        }
    }
    assert_eq!(checked.len(), LAYERS.len(), "a layer has no source");
}

/// Returns the methods of `Vault` that a source file declares.
fn vault_methods(code: &str) -> Vec<&str> {
    let mut methods = Vec::new();
    let mut inside = false;
    for line in code.lines() {
        if line.starts_with("impl") {
            inside = line.starts_with("impl Vault ");
        }
        let declared = line.strip_prefix("    ").filter(|_| inside).map(|line| {
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            line.strip_prefix("pub ").unwrap_or(line)
        });
        if let Some(name) = declared.and_then(|line| line.strip_prefix("fn ")) {
            methods.push(name.split(['(', '<']).next().unwrap());
        }
    }
    methods
}

/// Returns the methods called as `self.name(`, `vault.name(` or `self.vault().name(`, including
/// calls that span several lines.
fn calls_on_a_vault(code: &str) -> BTreeSet<String> {
    let joined: String = code.split_whitespace().collect();
    let mut called = BTreeSet::new();
    for receiver in ["self.", "vault.", "self.vault()."] {
        for (at, _) in joined.match_indices(receiver) {
            let rest = &joined[at + receiver.len()..];
            let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(end) = end.filter(|end| rest[*end..].starts_with('(')) {
                called.insert(rest[..end].to_owned());
            }
        }
    }
    called
}

/// Checks method calls in addition to imports, because `Vault` has methods in many layers.
#[test]
fn vault_methods_are_called_only_from_their_layer_or_above() {
    let sources = all_code();
    let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (path, code) in &sources {
        for method in vault_methods(code) {
            homes.entry(method).or_default().insert(layer_of(path));
        }
    }
    assert!(homes.len() > 50, "no methods found");
    for (path, code) in &sources {
        let layer = layer_of(path);
        let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
            continue;
        };
        let own: BTreeSet<&str> = declared_functions(code).collect();
        for call in calls_on_a_vault(code) {
            let Some(home) = homes.get(call.as_str()) else {
                continue;
            };
            let reachable = home
                .iter()
                .any(|home| *home == layer || below.contains(home));
            assert!(
                reachable || own.contains(call.as_str()),
                "{path} calls {call} of {home:?}, which is not below {layer}"
            );
        }
    }
}

fn declared_functions(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("fn ").map(|(at, _)| {
        let rest = &code[at + 3..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        &rest[..end.unwrap_or(rest.len())]
    })
}

fn panic_for<T>(path: &str) -> T {
    unreachable!("{path} belongs to no layer: add the layer to LAYERS")
}

#[test]
fn confined_crates_are_used_only_in_their_layer() {
    for (path, code) in all_code() {
        for (name, homes) in CONFINED {
            let named = [format!("{name}::"), format!("use {name}")]
                .iter()
                .any(|use_of| {
                    code.match_indices(use_of.as_str()).any(|(at, _)| {
                        let before = code[..at].chars().next_back();
                        !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':')
                    })
                });
            let is_home = homes.iter().any(|home| path.starts_with(home));
            assert!(!named || is_home, "{path} references {name}");
        }
    }
}

#[test]
fn operators_tool_uses_the_public_interface_only() {
    for (path, code) in all_code() {
        if layer_of(&path) == "bin" {
            assert!(
                !code.contains("crate::"),
                "{path}: name modules with super::"
            );
            assert!(!code.contains("internals"), "{path}");
        }
    }
}

#[test]
fn format_and_storage_do_not_import_each_other() {
    for (path, code) in all_code() {
        let named = imported_modules(&code);
        match layer_of(&path) {
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
fn library_root_contains_only_reexports() {
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

//! The statements use nothing that servers with the protocol of PostgreSQL lack.

use std::fs;
use std::path::Path;

/// Advisory locks, system columns, notifications, sequences, large objects, and procedural code: CockroachDB or
/// YugabyteDB lack each of them, or give it another meaning.
const LACKING: [&str; 14] = [
    "pg_advisory",
    "xmin",
    "xmax",
    "ctid",
    "listen ",
    "notify ",
    "nextval",
    "serial primary",
    "bigserial",
    "lo_import",
    "lo_get",
    "plpgsql",
    "create function",
    "lock table",
];

#[test]
fn statements_use_plain_sql_only() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage/postgres");
    let mut statements = 0;
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        // Comments name what is left out.
        let code: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .collect();
        let code = code.join("\n").to_lowercase();
        statements += code.matches("{object}").count();
        for word in LACKING {
            assert!(!code.contains(word), "{word}");
        }
    }
    assert!(statements > 10);
}

/// PostgreSQL returns a time with its unit, CockroachDB without one.
#[test]
fn check_of_the_transaction_accepts_a_time_without_unit() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/storage/postgres/statements.rs");
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("not in ('{IDLE}ms', '{IDLE}')"));
}

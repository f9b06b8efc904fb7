//! Checks of the examples as a user runs them: options, errors, a closed pipe, and the files that
//! they leave behind.
#![cfg(all(feature = "file", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{BufRead as _, BufReader, Cursor, Read as _, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use chartlock::keys::Passphrase;
use chartlock::storage::{Projection, Scan, Storage, Transaction, archive};
use chartlock::{Actor, Error, FileStorage, MemoryStorage, Purpose, RecordId, RecoveryKit, Vault};
use tempfile::TempDir;

const ALL: [&str; 9] = [
    "clinic",
    "custody",
    "custom_storage",
    "imaging",
    "incident",
    "migrate",
    "portal",
    "quickstart",
    "rotate",
];
/// The example that runs until it is stopped. `tests/portal` has its tests.
const SERVICE: &str = "portal";

/// Returns the path of an example's executable. `cargo test` builds the examples unless its
/// arguments select other targets.
fn executable(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(example);
    let path = path.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(
        path.exists(),
        "{} is missing; build it with `cargo build --features full --examples`",
        path.display()
    );
    path
}

/// Returns a command that runs an example in the empty working directory `cwd`, next to an empty
/// directory `tmp`.
fn command(example: &str, scratch: &TempDir) -> Command {
    let [cwd, tmp] = ["cwd", "tmp"].map(|name| scratch.path().join(name));
    fs::create_dir_all(&cwd).unwrap();
    fs::create_dir_all(&tmp).unwrap();
    let mut command = Command::new(executable(example));
    command
        .current_dir(cwd)
        .env("TMPDIR", tmp)
        .env("RUST_BACKTRACE", "1")
        .env_remove("CHARTLOCK_PASSPHRASE")
        .env_remove("OLD_PASSPHRASE")
        .env_remove("NEW_PASSPHRASE")
        .env_remove("PORTAL_STORAGE")
        .stdin(Stdio::null());
    command
}

fn run(example: &str, scratch: &TempDir, arguments: &[&str]) -> Output {
    let mut command = command(example, scratch);
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

fn assert_nothing_created(scratch: &TempDir, what: &str) {
    for directory in ["cwd", "tmp"] {
        assert_eq!(names(&scratch.path().join(directory)), [""; 0], "{what}");
    }
}

#[test]
fn every_example_has_tests() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut found = names(&examples);
    found.retain(|name| name.ends_with(".rs") || examples.join(name).join("main.rs").exists());
    let found: Vec<_> = found
        .iter()
        .map(|name| name.trim_end_matches(".rs"))
        .collect();
    assert_eq!(found, ALL);
}

#[test]
fn readme_commands_use_existing_examples_and_data() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The second file explains how to make more data.
    let texts = ["README.md", "examples/clinic/main.rs"];
    let texts = texts.map(|file| fs::read_to_string(root.join(file)).unwrap());
    let mut commands = 0;
    for line in texts.iter().flat_map(|text| text.lines()) {
        let Some((_, command)) = line.split_once("cargo run --release --example ") else {
            continue;
        };
        commands += 1;
        let mut words = command.split(' ');
        assert!(ALL.contains(&words.next().unwrap()), "{line}");
        // The data in `../more` need not exist.
        let operand = words.nth(1).filter(|word| !word.starts_with("../more/"));
        if let Some(operand) = operand.filter(|word| !word.starts_with('-')) {
            assert!(!operand.starts_with(".."), "{line}");
            assert!(root.join(operand).exists(), "{line}");
        }
    }
    assert!(commands >= 4, "{commands}");
}

#[test]
fn example_help_prints_usage_and_creates_nothing() {
    for example in ALL {
        // Examples must also recognize the help option after a directory argument.
        for arguments in [&["--help"][..], &["-h"], &["directory", "--help"]] {
            let scratch = tempfile::tempdir().unwrap();
            let output = run(example, &scratch, arguments);
            assert_eq!(output.status.code(), Some(0), "{example}");
            let usage = format!("--example {example}");
            assert!(text(&output.stdout).contains(&usage), "{example}");
            assert_eq!(text(&output.stderr), "", "{example}");
            assert_nothing_created(&scratch, example);
        }
    }
}

#[test]
fn unknown_example_option_exits_2_and_creates_nothing() {
    let bad: [(&[&str], &str); 4] = [
        (
            &["--no-such-option"],
            "error: unknown option --no-such-option\n",
        ),
        (&["-x"], "error: unknown option -x\n"),
        (&["one", "two", "three"], "arguments"),
        (&[""], "error: an argument is empty\n"),
    ];
    for example in ALL {
        for (arguments, message) in bad {
            assert_usage_error(example, arguments, message);
        }
    }
}

#[test]
fn invalid_option_value_exits_2_and_creates_nothing() {
    for example in ["clinic", "imaging"] {
        let message = "error: --keep needs a directory\n";
        assert_usage_error(example, &["--keep"], message);
        assert_usage_error(example, &["--keep", "--scan"], message);
    }
    let message = "error: --suite needs aes or chacha20\n";
    assert_usage_error("clinic", &["--suite", "rot13"], message);
    let message = "error: --listen needs an address, such as 127.0.0.1:8080\n";
    assert_usage_error("portal", &["--listen", "here"], message);
    let message = "error: --generate needs a size, such as 4GiB\n";
    assert_usage_error("imaging", &["--generate", "much"], message);
}

fn assert_usage_error(example: &str, arguments: &[&str], message: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let output = run(example, &scratch, arguments);
    let stderr = text(&output.stderr);
    assert_eq!(
        output.status.code(),
        Some(2),
        "{example} {arguments:?}: {stderr}"
    );
    assert_eq!(text(&output.stdout), "", "{example} {arguments:?}");
    assert!(
        stderr.contains(message),
        "{example} {arguments:?}: {stderr}"
    );
    assert!(stderr.contains(&format!("--example {example}")), "{stderr}");
    assert_nothing_created(&scratch, example);
}

#[test]
fn example_error_is_printed_with_its_next_step() {
    let scratch = tempfile::tempdir().unwrap();
    let first = run("quickstart", &scratch, &["vault"]);
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let again = run("quickstart", &scratch, &["vault"]);
    assert_eq!(again.status.code(), Some(1));
    let expected = format!("error: {}\n", Error::NotEmpty);
    assert!(expected.contains("; open the vault it holds"));
    assert_eq!(text(&again.stderr), expected);

    let other = run("rotate", &scratch, &["vault"]);
    assert_eq!(other.status.code(), Some(1));
    assert_eq!(text(&other.stderr), format!("error: {}\n", Error::WrongKey));
    // No recovery kit is written, because the key did not change.
    assert_eq!(names(&scratch.path().join("cwd")), ["vault"]);
}

#[test]
fn example_with_closed_output_pipe_ends_quietly() {
    for example in ALL.into_iter().filter(|it| *it != SERVICE) {
        let scratch = tempfile::tempdir().unwrap();
        let (reader, writer) = pipe().unwrap();
        drop(reader);
        let output = command(example, &scratch).stdout(writer).output().unwrap();
        assert_eq!(text(&output.stderr), "", "{example}");
        assert_eq!(output.status.code(), Some(0), "{example}");
        assert_nothing_created(&scratch, example);
    }
}

#[test]
fn example_with_pipe_closed_after_first_byte_ends_quietly() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut reader, writer) = pipe().unwrap();
    let mut command = command("rotate", &scratch);
    let child = command.arg("vault").stdout(writer).stderr(Stdio::piped());
    let child = child.spawn().unwrap();
    reader.read_exact(&mut [0]).unwrap();
    drop(reader);
    let output = child.wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    // The example must finish its work even if no process reads its output.
    let kit = scratch.path().join("cwd/vault.recovery-kit");
    assert!(kit.exists());
}

#[cfg(target_os = "linux")]
#[test]
fn example_with_stdout_on_full_disk_exits_1() {
    let scratch = tempfile::tempdir().unwrap();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = command("quickstart", &scratch)
        .stdout(full)
        .output()
        .unwrap();
    let expected = "error: cannot write to stdout: ";
    assert!(
        text(&output.stderr).starts_with(expected),
        "{}",
        text(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn rotate_example_keeps_recovery_kit_that_restores_header() {
    let scratch = tempfile::tempdir().unwrap();
    // The argument contains a dot and a slash, which must not change the path of the kit.
    let output = run("rotate", &scratch, &["clinic.copy/"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let cwd = scratch.path().join("cwd");
    let expected = ["clinic.copy", "clinic.copy.recovery-kit"];
    assert_eq!(names(&cwd), expected);
    let kit = cwd.join("clinic.copy.recovery-kit");
    // The example prints the path relative to its resolved working directory, which may differ from
    // the given path.
    let shown = fs::canonicalize(&kit).unwrap();
    let line = format!("A new recovery kit is in {}.\n", shown.display());
    assert!(
        text(&output.stdout).contains(&line),
        "{}",
        text(&output.stdout)
    );

    let storage = without_header(&cwd.join("clinic.copy"));
    let passphrase = Passphrase::new("what we remember this year");
    let opened = Vault::open(storage.clone(), &passphrase);
    assert_eq!(opened.err(), Some(Error::NoVault));
    let kit = RecoveryKit::from_bytes(&fs::read(kit).unwrap()).unwrap();
    kit.restore(storage.clone(), &passphrase).unwrap();
    let vault = Vault::open(storage, &passphrase).unwrap();
    let actor = Actor::new("test").unwrap();
    let session = vault.session(actor, Purpose::SystemAdministration);
    let id = RecordId::patient("MRN-1000", "Observation/0").unwrap();
    assert!(session.get(&id).unwrap().is_some());
}

/// Returns a copy of a closed vault's storage without the vault header.
fn without_header(directory: &Path) -> std::sync::Arc<MemoryStorage> {
    let mut bytes = Vec::new();
    archive::write(&FileStorage::open(directory).unwrap(), &mut bytes).unwrap();
    let storage = MemoryStorage::new();
    archive::read(Cursor::new(bytes), &storage).unwrap();
    let header = Scan {
        prefix: b"v",
        after: None,
        limit: 100,
        projection: Projection::Keys,
    };
    let page = storage.scan(header).unwrap();
    assert!(!page.items.is_empty() && !page.more);
    for entry in page.items {
        let delete = Transaction::new().delete(entry.key);
        storage.commit(&[delete]).pop().unwrap().unwrap();
    }
    storage.into()
}

#[test]
fn rotate_example_without_directory_reports_kit_deletion() {
    let scratch = tempfile::tempdir().unwrap();
    let output = run("rotate", &scratch, &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let stdout = text(&output.stdout);
    assert!(
        stdout.contains("the kit is deleted with it at the end"),
        "{stdout}"
    );
    assert!(!stdout.contains("recovery kit is in"), "{stdout}");
    assert_nothing_created(&scratch, "rotate");
}

#[test]
fn imaging_example_keeps_key_file_next_to_vault() {
    let scratch = tempfile::tempdir().unwrap();
    let output = run("imaging", &scratch, &["--keep", "vault/"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(names(&scratch.path().join("cwd")), ["vault", "vault.key"]);
}

/// Creates a former database with 20,000 small rows.
fn former_database(path: &Path) {
    let database = rusqlite::Connection::open(path).unwrap();
    let rows = "
        CREATE TABLE resources (number INTEGER PRIMARY KEY, mrn TEXT NOT NULL, kind TEXT NOT NULL, \
            body BLOB NOT NULL, changed_at INTEGER, changed_by TEXT NOT NULL);
        INSERT INTO resources
            WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 20000)
            SELECT n, 'MRN-' || (n % 7), 'Observation', CAST('{\"n\":' || n || '}' AS BLOB), n, 'dr.garcia'
            FROM numbers;";
    database.execute_batch(rows).unwrap();
}

#[test]
fn migrate_example_killed_half_way_continues_and_finds_differences() {
    let scratch = tempfile::tempdir().unwrap();
    let database = scratch.path().join("former.db");
    former_database(&database);
    let places = ["../former.db", "vault"];
    let mut child = command("migrate", &scratch)
        .args(places)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut imported = lines.filter(|line| line.as_ref().unwrap().contains("importing records"));
    imported.next().unwrap().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let resumed = run("migrate", &scratch, &places);
    let output = text(&resumed.stdout);
    assert!(resumed.status.success(), "{}", text(&resumed.stderr));
    let counts = output
        .lines()
        .find(|line| line.contains("stored before"))
        .unwrap();
    let numbers: Vec<u64> = counts
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|number| number.parse().ok())
        .collect();
    assert!(
        matches!(numbers[..], [now, before, 0] if before >= 1_024 && now + before == 20_000),
        "{counts}"
    );
    assert!(
        output.contains("20000 rows and records are equal. 0 rows"),
        "{output}"
    );

    // A row that was deleted, and one that changed.
    let other = rusqlite::Connection::open(&database).unwrap();
    let change = "
        DELETE FROM resources WHERE number = 5;
        UPDATE resources SET body = CAST('other' AS BLOB) WHERE number = 6;";
    other.execute_batch(change).unwrap();
    let differs = run("migrate", &scratch, &places);
    assert_eq!(differs.status.code(), Some(1));
    let expected = "19998 rows and records are equal. 1 rows are missing in the vault or differ. 1 records have no row.";
    assert!(
        text(&differs.stdout).contains(expected),
        "{}",
        text(&differs.stdout)
    );
}

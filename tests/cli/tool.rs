//! Helpers that run the program on a vault in a scratch directory.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use chartlock::keys::KeyFile;
use chartlock::storage::{FileStorage, archive};
use chartlock::{Actor, Purpose, RecordId, Session, Vault};
use serde_json::Value;
use tempfile::TempDir;

use crate::common::scratch;

/// Passphrase in the file `passphrase` of the scratch directory.
pub(crate) const PASSPHRASE: &str = "correct horse battery staple";

/// First bytes of the storage keys of the journal: covered chain heads, and pages.
const JOURNAL: [u8; 2] = *b"aj";

/// Program with a scratch directory, which contains `key` and `passphrase`.
pub(crate) struct Tool {
    scratch: TempDir,
}

/// Keys and values of objects, and names of files.
pub(crate) type State = (Vec<(Vec<u8>, Vec<u8>)>, Vec<String>);

/// Result of one run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Tool {
    /// Creates a scratch directory without a vault.
    pub(crate) fn empty() -> Self {
        let tool = Self {
            scratch: scratch::quick(),
        };
        KeyFile::create(tool.path("key")).unwrap();
        fs::write(tool.path("passphrase"), format!("{PASSPHRASE}\n")).unwrap();
        #[cfg(unix)]
        scratch::set_mode(&tool.path("passphrase"), 0o600);
        tool
    }

    /// Creates a scratch directory with the vault `vault`, whose first slot is `key`.
    pub(crate) fn new() -> Self {
        let tool = Self::empty();
        tool.ok(&["init", "vault", "--key-file", "key"]);
        tool
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command.current_dir(self.scratch.path()).args(arguments);
        command.stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Run {
        run(self.command(arguments))
    }

    /// Runs a command that must succeed, and returns its output.
    #[track_caller]
    pub(crate) fn ok(&self, arguments: &[&str]) -> String {
        let run = self.run(arguments);
        assert_eq!(run.code, 0, "{arguments:?}: {run:?}");
        run.out
    }

    /// Runs a command with `--json` that must succeed, and returns the document.
    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let out = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&out).unwrap()
    }

    /// Runs a command that must fail with this exit code, as text and as JSON, and change nothing. Returns the
    /// run with text.
    #[track_caller]
    pub(crate) fn fails(&self, code: i32, arguments: &[&str]) -> Run {
        let before = self.state();
        let text = self.run(arguments);
        assert_eq!(text.code, code, "{arguments:?}: {text:?}");
        assert!(text.err.starts_with("error: "), "{text:?}");
        assert!(text.err.contains("\nnext: "), "{text:?}");
        let json = self.run(&[arguments, &["--json"]].concat());
        assert_eq!((json.code, &*json.out), (code, ""), "{json:?}");
        let document: Value = serde_json::from_str(&json.err).unwrap();
        let error = &document["error"];
        assert_eq!(error["exit_code"], code);
        for field in ["kind", "message", "next"] {
            assert!(!error[field].as_str().unwrap().is_empty(), "{error}");
        }
        assert!(self.state() == before, "{arguments:?} changed the vault");
        text
    }

    fn names(&self) -> Vec<String> {
        let files = fs::read_dir(self.scratch.path()).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }

    /// Exports a recovery kit of the vault into the file `kit`.
    #[track_caller]
    pub(crate) fn create_kit(&self) {
        let create = ["kit", "create", "vault", "--key-file", "key"];
        self.ok(&[&create[..], &["--output", "kit"]].concat());
    }

    /// Checks that the verification of the vault in a directory has no findings.
    #[track_caller]
    pub(crate) fn assert_clean(&self, directory: &str) {
        let report = self.json(&["verify", directory, "--key-file", "key"]);
        assert_eq!(report["clean"], true);
    }

    /// Returns all objects but the journal and the names of the files beside the vault.
    pub(crate) fn state(&self) -> State {
        let names = self.names();
        let directory = self.path("vault");
        if !directory.join("vault.db").exists() {
            return (Vec::new(), names);
        }
        let storage = FileStorage::open_read_only(directory).unwrap();
        let mut bytes = Vec::new();
        archive::write(&storage, &mut bytes).unwrap();
        let objects = archive::Entries::new(&bytes[..]).unwrap();
        let objects = objects.map(Result::unwrap);
        (
            objects
                .filter(|(key, _)| !JOURNAL.contains(&key[0]))
                .collect(),
            names,
        )
    }

    /// Starts a command that reads its passphrase from standard input, lets `work` run once the temporary file of
    /// `output` exists, then writes the passphrase.
    pub(crate) fn while_waiting(
        &self,
        arguments: &[&str],
        output: &str,
        work: impl FnOnce(),
    ) -> Run {
        let mut command = self.command(arguments);
        command.args(["--passphrase-fd", "0"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let prefix = format!(".{output}.");
        let is_waiting = || self.names().iter().any(|name| name.starts_with(&prefix));
        while !is_waiting() {
            assert!(child.try_wait().unwrap().is_none(), "the command ended");
            std::thread::sleep(Duration::from_millis(5));
        }
        work();
        let mut input = child.stdin.take().unwrap();
        input.write_all(PASSPHRASE.as_bytes()).unwrap();
        drop(input);
        Run::of(child.wait_with_output().unwrap())
    }

    /// Opens the vault in this process.
    pub(crate) fn vault(&self) -> Vault {
        let key = KeyFile::open(self.path("key")).unwrap();
        Vault::open(FileStorage::open(self.path("vault")).unwrap(), &key).unwrap()
    }

    /// Lets an app use the vault, and closes it.
    pub(crate) fn app(&self, work: impl FnOnce(&Vault, &Session)) {
        let vault = self.vault();
        let session = vault.session(Actor::new("dr.garcia").unwrap(), Purpose::Treatment);
        work(&vault, &session);
        drop(session);
        vault.close().unwrap();
    }

    /// Stores one record of each of some patients.
    pub(crate) fn fill(&self, patients: usize) {
        self.app(|_, session| {
            let ids: Vec<_> = (0..patients)
                .map(|number| {
                    RecordId::patient(&format!("MRN-{number}"), "Observation/bp").unwrap()
                })
                .collect();
            for id in &ids {
                session.put(id, b"{}").unwrap();
            }
        });
    }
}

pub(crate) fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_chartlock"))
}

pub(crate) fn run(mut command: Command) -> Run {
    Run::of(command.output().unwrap())
}

/// Runs a Python program, and returns its output. Prints a note and returns `None` without Python.
pub(crate) fn python(script: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("python3");
    command
        .arg("-c")
        .arg(script)
        .args(arguments)
        .stdin(Stdio::null());
    let Ok(output) = command.output() else {
        eprintln!("skipped: there is no python3 here");
        return None;
    };
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{err}");
    Some(String::from_utf8(output.stdout).unwrap())
}

//! `health`: soundness of the storage, the journal, and space.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use chartlock::Error;
use chartlock::storage::{Integrity, Storage, StorageError};
use serde_json::{Value, json};

use super::arguments::ReadArguments;
use super::context::Context;
use super::failure::{Exit, Failure};
use super::open::{OpenVault, with_readable_vault};
use super::output::{self, Text};

/// Free space below which `health` reports a finding: the largest reserve file is about 40 MiB.
const FREE_MIN: u64 = 256 << 20;

/// Result of the checks.
struct Health {
    integrity: Integrity,
    /// `false` if a journal entry could not be written.
    is_journal_writable: bool,
    used: u64,
    free: Option<u64>,
}

pub(crate) fn run(arguments: &ReadArguments, context: &Context) -> Result<Exit, Failure> {
    let directory = &arguments.vault.directory;
    // Measure before keys are in memory, because a child process measures the free space.
    let (used, free) = (used_bytes(directory), free_bytes(directory));
    with_readable_vault(arguments, context, |open| {
        // A listing of the slots is journaled before it is released.
        let is_journal_writable = match open.vault.slots() {
            Err(Error::Journal(_)) => false,
            slots => slots.map(|_| true)?,
        };
        let health = Health {
            integrity: integrity(open)?,
            is_journal_writable,
            used,
            free,
        };
        let exit = if health.is_good() {
            Exit::Success
        } else {
            Exit::Findings
        };
        output::print(context.json, &health.document(), health.text())?;
        Ok(exit)
    })
}

fn integrity(open: &OpenVault) -> Result<Integrity, Failure> {
    match open.storage.integrity() {
        // The check met damage that prevented it from checking the rest.
        Err(StorageError::Damaged) => Ok(Integrity {
            structure_faults: 1,
            ..Integrity::default()
        }),
        result => Ok(result?),
    }
}

impl Health {
    /// Returns `None` if the free space could not be measured.
    fn has_space(&self) -> Option<bool> {
        self.free.map(|free| free >= FREE_MIN)
    }

    fn is_good(&self) -> bool {
        self.integrity.is_clean() && self.is_journal_writable && self.has_space() != Some(false)
    }

    fn document(&self) -> Value {
        json!({
            "healthy": self.is_good(),
            "space": match self.has_space() {
                Some(true) => "enough",
                Some(false) => "low",
                None => "unknown",
            },
            "storage": {
                "structure_faults": self.integrity.structure_faults,
                "missing_values": self.integrity.missing_values.len(),
            },
            "journal_writable": self.is_journal_writable,
            "used_bytes": self.used,
            "free_bytes": self.free,
        })
    }

    fn text(&self) -> Text {
        let free = self
            .free
            .map_or("unknown".to_owned(), |free| free.to_string());
        Text::new(match (self.is_good(), self.free) {
            (false, _) => "FINDINGS",
            (true, None) => "healthy, but the free space is unknown",
            (true, Some(_)) => "healthy",
        })
        .line(
            "faults in the structure of the storage",
            self.integrity.structure_faults,
        )
        .line("missing values", self.integrity.missing_values.len())
        .line("journal can be written", self.is_journal_writable)
        .line("used bytes", self.used)
        .line("free bytes", free)
        .note("the background threads of the app were not checked; the app reports them")
        .note_if(
            self.has_space() == Some(false),
            "next: free space on the disk of the vault",
        )
        .note_if(
            self.free.is_none(),
            "next: check the free space on the disk of the vault with another program",
        )
        .note_if(
            !self.is_journal_writable,
            "next: check the disk, its mount and permissions",
        )
        .note_if(
            !self.integrity.is_clean(),
            "next: run `chartlock verify`, and keep earlier backups",
        )
    }
}

/// Returns the number of bytes of all files in the directory.
fn used_bytes(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => used_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Returns the free space of the directory's file system, as POSIX `df` prints it; `None` if it cannot be
/// measured.
fn free_bytes(directory: &Path) -> Option<u64> {
    let mut df = Command::new("df");
    df.arg("-Pk").arg("--").arg(directory).stdin(Stdio::null());
    let output = df.stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    free_kib(&text)?.checked_mul(1024)
}

/// Returns the field before the use in percent. The names of the file system and of its mount can contain spaces,
/// so no field has a fixed place: the field follows the total and the used size, which are numbers.
fn free_kib(text: &str) -> Option<u64> {
    let fields: Vec<&str> = text.lines().nth(1)?.split_whitespace().collect();
    let number = |field: &str| field.parse::<u64>().ok();
    fields.windows(4).find_map(|fields| match fields {
        [total, used, free, percent] => {
            let use_of = percent.strip_suffix('%').and_then(number);
            (number(total).is_some() && number(used).is_some() && use_of.is_some())
                .then(|| number(free))
                .flatten()
        }
        _ => None,
    })
}

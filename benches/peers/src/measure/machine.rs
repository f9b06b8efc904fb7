//! Description of the machine and of the crate versions of a measurement, without the machine's
//! host name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::Run;

/// The conditions under which a table was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Circumstances {
    pub(crate) date: String,
    /// `true` for a quick run: a few rounds of small workloads, for a rough estimate only.
    pub(crate) quick: bool,
    cores: usize,
    processor: String,
    memory_gib: u64,
    kernel: String,
    file_system: String,
    rustc: String,
    /// The one-minute load average before the run; near 0 on a quiet machine.
    load_before: f64,
    /// The versions of the compared crates.
    versions: BTreeMap<String, String>,
}

impl Circumstances {
    pub(crate) fn now(run: &Run<'_>, crates: &[String]) -> Result<Self> {
        Ok(Self {
            date: jiff::Zoned::now().date().to_string(),
            quick: run.quick,
            cores: std::thread::available_parallelism().map_or(1, NonZeroUsize::get),
            processor: field("/proc/cpuinfo", "model name"),
            memory_gib: memory_gib(),
            kernel: line("/proc/sys/kernel/osrelease"),
            file_system: file_system(run.scratch),
            rustc: rustc()?,
            load_before: run.load_before,
            versions: versions(crates)?,
        })
    }
}

impl fmt::Display for Circumstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quick = if self.quick { " in a quick run" } else { "" };
        write!(
            f,
            "Measured {}{quick}: {} cores of {}, {} GiB, Linux {}, {}, load before {:.1}; {}",
            self.date,
            self.cores,
            self.processor,
            self.memory_gib,
            self.kernel,
            self.file_system,
            self.load_before,
            self.rustc
        )?;
        for (name, version) in &self.versions {
            write!(f, ", {name} {version}")?;
        }
        f.write_str(".")
    }
}

/// Returns the machine's load average of the last minute.
pub(crate) fn load() -> f64 {
    let load = line("/proc/loadavg");
    let minute = load.split(' ').next().map(str::parse);
    minute.and_then(Result::ok).unwrap_or_default()
}

const UNKNOWN: &str = "unknown";

fn field(path: &str, name: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    let found = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name);
    found.map_or_else(|| UNKNOWN.to_owned(), |(_, value)| value.trim().to_owned())
}

fn line(path: &str) -> String {
    fs::read_to_string(path).map_or_else(|_| UNKNOWN.to_owned(), |text| text.trim().to_owned())
}

fn memory_gib() -> u64 {
    let total = field("/proc/meminfo", "MemTotal");
    let kib = total.strip_suffix(" kB").and_then(|kib| kib.parse().ok());
    let kib: u64 = kib.unwrap_or_default();
    (kib + (1 << 19)) >> 20
}

/// Returns the file system type of the mount that contains a directory.
fn file_system(directory: &Path) -> String {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    let holding = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, kind) = (fields.next()?, fields.next()?);
        directory.starts_with(place).then_some((place.len(), kind))
    });
    // Choose the last mount on a path, because a later mount hides an earlier mount.
    let (_, kind) = holding
        .max_by_key(|(length, _)| *length)
        .unwrap_or((0, UNKNOWN));
    kind.to_owned()
}

fn rustc() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output();
    let output = output.context("rustc does not report its version")?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The fields of a lock file that contain the built versions.
#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// Returns the versions of these crates on which this program depends.
fn versions(crates: &[String]) -> Result<BTreeMap<String, String>> {
    let lock: Lock = toml::from_str(include_str!("../../Cargo.lock"))?;
    let us = lock
        .package
        .iter()
        .find(|package| package.name == env!("CARGO_PKG_NAME"));
    let ours = us.context("the lock file does not name this crate")?;
    crates
        .iter()
        .map(|name| {
            // If the lock file lists several versions of a crate, the dependency includes the
            // version: `name version`.
            let named = ours
                .dependencies
                .iter()
                .find_map(|dependency| dependency.strip_prefix(name.as_str())?.strip_prefix(' '));
            let only = lock.package.iter().find(|package| package.name == *name);
            let version = named.or_else(|| Some(&*only?.version));
            let version = version.with_context(|| format!("the lock file names {name}"))?;
            Ok((name.clone(), version.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_the_lock_file() -> Result<()> {
        let versions = versions(&["chartlock".to_owned(), "serde".to_owned()])?;
        assert_eq!(versions.len(), 2);
        assert!(versions.values().all(|version| version.contains('.')));
        Ok(())
    }

    #[test]
    fn crate_missing_in_the_lock_file_is_an_error() {
        assert!(versions(&["no such crate".to_owned()]).is_err());
    }
}

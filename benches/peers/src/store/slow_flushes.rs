//! Measurements of the store workloads with a millisecond added to every flush of a file, for all
//! stores.
//!
//! The program starts itself again with a preloaded library that delays each `fsync` and
//! `fdatasync`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use super::again;
use super::changes::{self, Changes, Scope};
use crate::Run;
use crate::measure::Row;

/// The environment variable with the path of the file to which the child process writes its rows.
/// The parent process sets the variable for that child only.
const ROWS: &str = "CHARTLOCK_PEERS_ROWS";

const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static void wait_for_disk(void) {
    struct timespec time = { 0, 1000000 };
    nanosleep(&time, 0);
}

int fsync(int file) {
    int (*next)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    wait_for_disk();
    return next(file);
}

int fdatasync(int file) {
    int (*next)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    wait_for_disk();
    return next(file);
}
"#;

#[derive(Serialize, Deserialize)]
struct Rows {
    store: Vec<Row>,
    rotation: Vec<Row>,
}

/// Returns the path of the file for the rows if this process is the child process.
pub(super) fn inner() -> Option<PathBuf> {
    env::var_os(ROWS).map(PathBuf::from)
}

/// Runs the measurements in the child process and writes their rows to `rows`.
pub(super) fn run_inner(run: &Run<'_>, rows: &Path) -> Result<()> {
    let Changes {
        store, rotation, ..
    } = changes::measure(run, Scope::Flushes)?;
    let text = serde_json::to_string(&Rows { store, rotation })?;
    fs::write(rows, text).context("writing the rows")
}

/// Runs the measurements in a child process with slower flushes. Returns the rows of the store
/// table and the rows of the rotation table.
pub(super) fn measure(run: &Run<'_>) -> Result<(Vec<Row>, Vec<Row>)> {
    let library = compiled(run.scratch)?;
    let rows = run.scratch.join("rows.json");
    let status = again::only(super::STORE)?
        .env("LD_PRELOAD", &library)
        .env(ROWS, &rows)
        .status()?;
    ensure!(status.success(), "the run with slower flushes failed");
    let rows: Rows = serde_json::from_str(&fs::read_to_string(&rows)?)?;
    Ok((rows.store, rows.rotation))
}

fn compiled(scratch: &Path) -> Result<PathBuf> {
    let source = scratch.join("slow_flushes.c");
    let library = scratch.join("slow_flushes.so");
    fs::write(&source, SHIM)?;
    let status = Command::new("cc")
        .args(["-shared", "-fPIC", "-O2", "-o"])
        .args([&library, &source])
        .arg("-ldl")
        .status()
        .context("calling the C compiler")?;
    ensure!(status.success(), "the C compiler failed");
    Ok(library)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn preloaded_library_replaces_both_flushes() -> Result<()> {
        let scratch = tempfile::tempdir()?;
        let library = compiled(scratch.path())?;
        let exports = fs::read(library)?;
        let has = |name: &[u8]| exports.windows(name.len()).any(|bytes| bytes == name);
        assert!(has(b"fsync\0") && has(b"fdatasync\0"));
        Ok(())
    }
}

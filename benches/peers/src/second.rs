//! Measurements of chartlock with its second crypto provider, in a child process.
//!
//! The provider is chosen at build time, so the second provider needs a separate program. The child
//! process reads one workload per line, as JSON, and prints the time of one round in nanoseconds.

use std::borrow::Cow;
use std::cell::RefCell;
use std::env;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::clinic::Clinic;
use crate::envelope::{self, Ours};
use crate::measure::{Contender, Time};
use crate::streams::{self, Direction};

/// A workload that this process can run itself or send to the child process.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Seals and opens content of this many bytes.
    Bytes(usize),
    /// Seals and opens this many of the clinic's records.
    Records(usize),
    /// Puts or gets a stream in a vault in memory. If `threads` is `None`, the vault uses its
    /// default.
    Stream {
        bytes: usize,
        threads: Option<usize>,
        direction: Direction,
    },
}

impl Work {
    pub(crate) fn contents<'a>(&self, clinic: &'a Clinic) -> Vec<Cow<'a, [u8]>> {
        match *self {
            Self::Bytes(bytes) | Self::Stream { bytes, .. } => vec![vec![7; bytes].into()],
            Self::Records(count) => {
                let sample = clinic.sample(count);
                sample.into_iter().map(Cow::Borrowed).collect()
            }
        }
    }

    /// Runs `then` with chartlock's contender for the workload.
    fn with_ours<T>(
        &self,
        clinic: &Clinic,
        then: impl FnOnce(Contender<'_>) -> Result<T>,
    ) -> Result<T> {
        match *self {
            Self::Bytes(_) | Self::Records(_) => {
                let (contents, ours) = (self.contents(clinic), Ours::new()?);
                then(envelope::contender(&ours, &contents)?)
            }
            Self::Stream {
                bytes,
                threads,
                direction,
            } => {
                let content = streams::content(bytes);
                then(streams::ours(&content, threads, direction)?)
            }
        }
    }
}

/// The second provider's program, running as a child process.
pub(crate) struct Second {
    child: RefCell<SecondProcess>,
}

struct SecondProcess {
    child: Child,
    /// The standard input of the process, for workloads. The process exits when this input is
    /// closed.
    works: Option<ChildStdin>,
    results: Lines<BufReader<ChildStdout>>,
}

impl Second {
    pub(crate) const NAME: &str = "chartlock, aws-lc-rs";

    /// Builds the program and starts the child process. The first build takes a while.
    pub(crate) fn start(clinic: &Clinic) -> Result<Self> {
        let mut child = Command::new(build()?)
            .arg("--serve")
            .arg(&clinic.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let results = child
            .stdout
            .take()
            .context("the process has no standard output")?;
        Ok(Self {
            child: RefCell::new(SecondProcess {
                works: child.stdin.take(),
                results: BufReader::new(results).lines(),
                child,
            }),
        })
    }

    pub(crate) fn contender(&self, work: &Work) -> Result<Contender<'_>> {
        let line = serde_json::to_string(work)?;
        Ok(Contender::new(Self::NAME, move || {
            self.child.borrow_mut().round(&line)
        }))
    }
}

impl SecondProcess {
    fn round(&mut self, work: &str) -> Result<Time> {
        let works = self
            .works
            .as_mut()
            .context("the process was asked to end")?;
        writeln!(works, "{work}")?;
        let result = self.results.next().context("the process has ended")??;
        Ok(serde_json::from_str(&result)?)
    }
}

impl Drop for SecondProcess {
    fn drop(&mut self) {
        // Close the input, so that the process exits. Ignore the exit status, because no further
        // result is expected.
        drop(self.works.take());
        let _ = self.child.wait();
    }
}

/// Builds the program with the second provider and without rivals, in the target directory of the
/// running program.
fn build() -> Result<PathBuf> {
    eprintln!("building chartlock with its second provider");
    let target = env::current_exe()?
        .ancestors()
        .nth(2)
        .context("this program is not in a target directory")?
        .to_owned();
    let status = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--locked", "--bin", "second"])
        .args(["--no-default-features", "--features", "aws-lc-rs"])
        .args([
            "--manifest-path",
            concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"),
        ])
        .arg("--target-dir")
        .arg(&target)
        .status()
        .context("cargo could not start")?;
    ensure!(status.success(), "the second provider failed to build");
    Ok(target.join("release/second"))
}

/// Reads workloads from standard input and prints the time of one round for each line.
pub(crate) fn serve(clinic: &Clinic) -> Result<()> {
    let mut lines = io::stdin().lock().lines();
    let mut next = lines.next().transpose()?;
    while let Some(line) = next {
        let work: Work = serde_json::from_str(&line)?;
        next = work.with_ours(clinic, |ours| rounds(ours, &line, &mut lines))?;
    }
    Ok(())
}

/// Runs a round of a workload for each repetition of its line. Returns the first different line, or
/// `None` at the end of the input.
fn rounds(
    mut ours: Contender<'_>,
    work: &str,
    lines: &mut impl Iterator<Item = io::Result<String>>,
) -> Result<Option<String>> {
    loop {
        let time = (ours.run)()?;
        println!("{}", serde_json::to_string(&time)?);
        match lines.next().transpose()? {
            Some(next) if next == work => {}
            next => return Ok(next),
        }
    }
}

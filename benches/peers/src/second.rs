//! chartlock with its second provider. A provider is chosen when the crate is built, so it runs in a process
//! of its own, which is told a work and answers what one round of it took.

use std::borrow::Cow;
use std::cell::RefCell;
use std::env;
use std::io::{self, BufRead, BufReader, Lines, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::clinic::Clinic;
use crate::envelope::{self, Ours};
use crate::measure::Contender;
use crate::streams::{self, Direction};

/// A work that both of our providers do, in the same way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) enum Work {
    /// Sealing and opening content of so many bytes.
    Bytes(usize),
    /// Sealing and opening so many of the clinic's records.
    Records(usize),
    /// A stream through a vault in memory; as many threads as there are, unless it says how many.
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

    /// Runs `then` with our contender at it.
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

/// The process with the second provider.
pub(crate) struct Second {
    child: RefCell<Talking>,
}

struct Talking {
    child: Child,
    /// Taken when it is to end.
    works: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Second {
    pub(crate) const NAME: &str = "chartlock, aws-lc-rs";

    /// Builds it, which takes a while the first time, and starts it.
    pub(crate) fn start(clinic: &Clinic) -> Result<Self> {
        let mut child = Command::new(build()?)
            .arg("--serve")
            .arg(&clinic.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let answers = child.stdout.take().context("it answers")?;
        Ok(Self {
            child: RefCell::new(Talking {
                works: child.stdin.take(),
                answers: BufReader::new(answers).lines(),
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

impl Talking {
    fn round(&mut self, work: &str) -> Result<Duration> {
        let works = self.works.as_mut().context("it is told works")?;
        writeln!(works, "{work}")?;
        let answer = self.answers.next().context("it has ended")??;
        Ok(Duration::from_nanos(answer.parse()?))
    }
}

impl Drop for Talking {
    fn drop(&mut self) {
        // Without more works it ends by itself; what it says then no longer matters.
        drop(self.works.take());
        let _ = self.child.wait();
    }
}

/// Builds this program with the second provider and without rivals, beside the one that runs.
fn build() -> Result<PathBuf> {
    eprintln!("building chartlock with its second provider");
    let target = env::current_exe()?
        .ancestors()
        .nth(2)
        .context("this program lies in a target directory")?
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
        .context("cargo builds the second provider")?;
    ensure!(status.success(), "the second provider did not build");
    Ok(target.join("release/second"))
}

/// Does the works that are named on the standard input, a round for each line.
pub(crate) fn serve(clinic: &Clinic) -> Result<()> {
    let mut lines = io::stdin().lock().lines();
    let mut next = lines.next().transpose()?;
    while let Some(line) = next {
        let work: Work = serde_json::from_str(&line)?;
        next = work.with_ours(clinic, |ours| rounds(ours, &line, &mut lines))?;
    }
    Ok(())
}

/// As long as the work stays the same; returns the next one.
fn rounds(
    mut ours: Contender<'_>,
    work: &str,
    lines: &mut impl Iterator<Item = io::Result<String>>,
) -> Result<Option<String>> {
    loop {
        let time = (ours.run)()?;
        println!("{}", time.as_nanos());
        match lines.next().transpose()? {
            Some(next) if next == work => {}
            next => return Ok(next),
        }
    }
}

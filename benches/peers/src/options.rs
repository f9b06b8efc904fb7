//! What the command line asks for.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use crate::Part;

/// Measures chartlock and its rivals on the same data in one run, and writes what it found to
/// benches/peers/results.
#[derive(Default, Parser)]
pub(crate) struct Options {
    /// The records of a clinic. Default: ../shared/clinic beside the checkout, else tests/data
    pub(crate) clinic: Option<PathBuf>,
    /// Fewer rounds of smaller works, for orientation
    #[arg(long)]
    pub(crate) quick: bool,
    /// Leaves out chartlock's second provider, which is built first and takes a while
    #[arg(long)]
    pub(crate) one_provider: bool,
    /// Only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART,...")]
    only: Vec<String>,
    /// Where the results go. Default: benches/peers/results
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) results: Option<PathBuf>,
    /// Where scratch files go while measuring. Default: the system's directory for them
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) scratch: Option<PathBuf>,
    /// Does the works that are named on the standard input; this is how a run starts itself a second time
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
}

impl Options {
    /// The parts that are asked for: all, if none is named.
    pub(crate) fn parts(&self, all: &[Part]) -> Result<Vec<Part>> {
        for name in &self.only {
            if !all.iter().any(|part| part.name == name) {
                let names: Vec<_> = all.iter().map(|part| part.name).collect();
                bail!("there is no part {name}; there are {}", names.join(", "));
            }
        }
        let asked = |part: &&Part| self.only.is_empty() || self.only.iter().any(|n| n == part.name);
        Ok(all.iter().filter(asked).copied().collect())
    }
}

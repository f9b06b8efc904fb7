//! Command-line options. Doc comments of the fields are the texts of `--help`.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Parser;

use crate::Part;

/// Measures chartlock and its rivals on the same data in one run, and writes the results to
/// benches/peers/results.
#[derive(Default, Parser)]
pub(crate) struct Options {
    /// Directory of the clinic's records. Default: ../shared/clinic next to the checkout, else
    /// tests/data
    pub(crate) clinic: Option<PathBuf>,
    /// Run fewer rounds of smaller workloads, for a rough estimate
    #[arg(long)]
    pub(crate) quick: bool,
    /// Also measure growth to 3,000,000 records, which takes most of an hour, and profile the store
    #[arg(long)]
    pub(crate) full: bool,
    /// Skip chartlock's second provider, whose build takes a while
    #[arg(long)]
    pub(crate) one_provider: bool,
    /// Run only these parts
    #[arg(long, value_delimiter = ',', value_name = "PART,...")]
    only: Vec<String>,
    /// Directory for the results. Default: benches/peers/results
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) results: Option<PathBuf>,
    /// Directory for scratch files. Default: the system's temporary directory
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) scratch: Option<PathBuf>,
    /// Run the workloads listed on standard input. The parent process passes this option to the
    /// second provider's program
    #[arg(long, hide = true)]
    pub(crate) serve: bool,
}

impl Options {
    /// Returns the parts that `--only` selects. Without `--only`, returns all parts with `--full`, and
    /// otherwise the short ones.
    pub(crate) fn parts(&self, all: &[Part]) -> Result<Vec<Part>> {
        for name in &self.only {
            if !all.iter().any(|part| part.name == name) {
                let names: Vec<_> = all.iter().map(|part| part.name).collect();
                bail!("unknown part {name}; the parts are {}", names.join(", "));
            }
        }
        let asked = |part: &&Part| match self.only.is_empty() {
            true => self.full || !part.is_long,
            false => self.only.iter().any(|name| name == part.name),
        };
        Ok(all.iter().filter(asked).copied().collect())
    }
}

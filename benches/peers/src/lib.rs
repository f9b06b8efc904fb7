//! Measurements of chartlock and its rivals on the same data in one run.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml -- --help` describes the options.

mod clinic;
#[path = "../../../tests/common/credential.rs"]
mod credential;
#[path = "../../../examples/clinic/documents.rs"]
#[expect(
    dead_code,
    reason = "the clinic example's own; not all of it is asked for here"
)]
mod documents;
mod envelope;
mod measure;
mod options;
#[path = "../../../examples/clinic/patients.rs"]
mod patients;
mod second;
#[cfg(feature = "store")]
mod store;
mod streams;

use std::cell::OnceCell;
use std::path::Path;
use std::process::ExitCode;
use std::thread;

use anyhow::{Error, Result, anyhow};
use clap::Parser;
use clinic::Clinic;
use measure::{Contender, Results, Table};
use options::Options;
use second::{Second, Work};

/// The result type that the included modules of the `clinic` example expect.
pub(crate) type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The default directory for results.
const RESULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/results");

/// A group of workloads on one topic, with the tables of their results.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    /// The name of the part for `--only`.
    name: &'static str,
    /// `true` if the part runs only with `--full` or by its name.
    is_long: bool,
    run: fn(&Run<'_>) -> Result<Vec<Table>>,
}

/// The context of a run, which every part receives.
pub(crate) struct Run<'a> {
    pub(crate) clinic: &'a Clinic,
    pub(crate) quick: bool,
    /// The directory for results.
    pub(crate) results: &'a Path,
    /// The directory for temporary files, on the medium to measure.
    pub(crate) scratch: &'a Path,
    /// The load average of the machine before the run.
    load_before: f64,
    one_provider: bool,
    /// The second provider's process, built and started on first use.
    second: OnceCell<Second>,
}

impl<'a> Run<'a> {
    pub(crate) fn new(clinic: &'a Clinic, options: &'a Options, scratch: &'a Path) -> Self {
        Self {
            clinic,
            quick: options.quick,
            results: options.results.as_deref().unwrap_or(Path::new(RESULTS)),
            load_before: measure::load(),
            one_provider: options.one_provider,
            scratch,
            second: OnceCell::new(),
        }
    }

    /// Returns chartlock with its second provider as a contender, or `None` with `--one-provider`.
    pub(crate) fn second_at(&self, work: &Work) -> Result<Option<Contender<'_>>> {
        if self.one_provider {
            return Ok(None);
        }
        if self.second.get().is_none() {
            let second = Second::start(self.clinic)?;
            self.second.get_or_init(|| second);
        }
        self.second
            .get()
            .map(|second| second.contender(work))
            .transpose()
    }

    /// Returns the number of rounds to run: `rounds`, or a third of them in a quick run.
    pub(crate) fn rounds(&self, rounds: usize) -> usize {
        if self.quick {
            rounds.div_ceil(3)
        } else {
            rounds
        }
    }
}

/// The parts, in the order in which they run.
const PARTS: &[Part] = &[
    envelope::ENVELOPE,
    envelope::CLINIC,
    envelope::SIZES,
    streams::STREAMS,
    #[cfg(feature = "store")]
    store::STORE,
    #[cfg(feature = "store")]
    store::GROWTH,
    #[cfg(feature = "store")]
    store::PROFILE,
];

/// The stack size of the measuring thread, in bytes. The AWS Encryption SDK recurses deeper for
/// larger messages: a message of 256 MiB overflows the 8 MiB stack of a main thread.
const STACK: usize = 1 << 30;

/// Runs the measurements that the command line selects.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let deep = thread::Builder::new().stack_size(STACK);
    let done = deep.spawn(move || run(&options)).map_err(Error::from);
    let joined = done.and_then(|run| run.join().map_err(|_| anyhow!("the run panicked"))?);
    match joined {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let clinic = Clinic::read(options.clinic.clone())?;
    if options.serve {
        return second::serve(&clinic);
    }
    let parts = options.parts(PARTS)?;
    let scratch = match &options.scratch {
        Some(directory) => tempfile::tempdir_in(directory)?,
        None => tempfile::tempdir()?,
    };
    let run = Run::new(&clinic, options, scratch.path());
    let results = Results::new(run.results);
    eprintln!("{}", clinic.says());
    for part in parts {
        eprintln!("{}", part.name);
        for table in (part.run)(&run)? {
            println!("{}", table.markdown());
            // Write each table as soon as it is finished, so that an interrupted run keeps its
            // finished tables.
            results.keep(table, &run)?;
            results.assemble()?;
        }
    }
    Ok(())
}

//! Command-line options.

use std::path::PathBuf;

use crate::common::{Argument, Arguments, UsageError, set_once};

pub(crate) const USAGE: &str = "\
Stores every DICOM file of a directory in a vault as a stream, reads all of them back and compares, reads
one slice and one range, and prints the costs.

    cargo run --release --example imaging -- [DIRECTORY] [options]

DIRECTORY           one or more studies. Default: the sample in tests/data.
--generate SIZE     also stores a record of SIZE (such as 4GiB) incompressible bytes, reads it back,
                    compares its SHA-256, and times range reads in records of 1 MiB, 64 MiB and SIZE
--keep DIRECTORY    keeps the vault in this new or empty directory, and its key file next to it

Without --keep, the vault is in the system's directory for temporary files, which TMPDIR sets.";

pub(crate) struct Options {
    pub(crate) source: Option<PathBuf>,
    pub(crate) generate: Option<u64>,
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    pub(crate) fn read(arguments: &mut Arguments) -> Result<Self, UsageError> {
        let mut options = Self {
            source: None,
            generate: None,
            keep: None,
        };
        while let Some(argument) = arguments.next()? {
            let option = match argument {
                Argument::Option(option) => option,
                Argument::Operand(path) => {
                    set_once(&mut options.source, path)?;
                    continue;
                }
            };
            match option.as_str() {
                "--keep" => options.keep = Some(arguments.value(&option, "a directory")?.into()),
                "--generate" => {
                    let what = "a size, such as 4GiB";
                    let size = arguments.value(&option, what)?;
                    let size = size.to_str().and_then(bytes);
                    let needs = || UsageError::new(format!("--generate needs {what}"));
                    options.generate = Some(size.ok_or_else(needs)?);
                }
                _ => return Err(UsageError::unknown(&option)),
            }
        }
        Ok(options)
    }
}

/// Parses a size such as "4GiB". A number without a unit is a size in bytes.
fn bytes(size: &str) -> Option<u64> {
    let digits = size.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = size.split_at_checked(digits)?;
    let unit: u64 = match unit.trim() {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    let bytes = number.parse::<u64>().ok()?.checked_mul(unit);
    bytes.filter(|bytes| *bytes > 0)
}

//! What the command line asks for.

use std::path::PathBuf;

use crate::Outcome;

pub(crate) const HELP: &str = "\
Seals every DICOM file of a directory in a vault, each as a stream, reads all of them back and compares,
reads one slice and one range, and says what it cost.

    cargo run --release --example imaging -- [DIRECTORY] [options]

DIRECTORY           a study, or many of them. Default: the sample in tests/data.
--generate SIZE     stores one more record of that size (such as 4GiB), of bytes that cannot be
                    compressed, checks its SHA-256 when it is read back, and times ranges of records of
                    1 MiB, 64 MiB and SIZE
--keep DIRECTORY    leaves the vault there, which must be empty or new, and its key beside it

Without --keep the vault lies where temporary files do: TMPDIR names the place.";

pub(crate) struct Options {
    pub(crate) source: Option<PathBuf>,
    pub(crate) generate: Option<u64>,
    pub(crate) keep: Option<PathBuf>,
}

impl Options {
    /// `None` when help is asked for.
    pub(crate) fn from_environment() -> Outcome<Option<Self>> {
        let mut options = Self {
            source: None,
            generate: None,
            keep: None,
        };
        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--keep") => {
                    let directory = arguments.next().ok_or("--keep needs a directory")?;
                    options.keep = Some(directory.into());
                }
                Some("--generate") => {
                    let argument = arguments.next();
                    let size = argument.as_ref().and_then(|size| bytes(size.to_str()?));
                    options.generate = Some(size.ok_or("--generate needs a size, such as 4GiB")?);
                }
                Some(option) if option.starts_with('-') => {
                    return Err(format!("there is no option {option}; see --help").into());
                }
                _ if options.source.is_none() => options.source = Some(argument.into()),
                _ => return Err("one directory at a time; see --help".into()),
            }
        }
        Ok(Some(options))
    }
}

/// 4GiB as 4,294,967,296; without a unit bytes are meant.
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

//! Command-line options.

use std::path::PathBuf;

use chartlock::CipherSuite;

use crate::Outcome;
use crate::common::{Argument, Arguments, UsageError, passphrase_from, set_once};

pub(crate) const USAGE: &str = "\
Stores every document of a directory in a vault, reads all of them back, rotates keys, and prints the costs.

    cargo run --release --example clinic -- [DIRECTORY] [options]

DIRECTORY           documents: FHIR (.ndjson, .json), C-CDA (.xml), HL7v2 (.hl7), DICOM (.dcm), .pdf, .txt,
                    .csv, .vcf, plain or gzipped (.gz). Default: the sample in tests/data.
--keep DIRECTORY    keeps the vault in this new or empty directory
--suite SUITE       the cipher suite: aes (default) or chacha20
--scan              searches the files of the closed storage for any 12 bytes of a document or name

The environment variable CHARTLOCK_PASSPHRASE sets the passphrase of the vault. Without it, the example
uses a demonstration passphrase.";

pub(crate) const DEMONSTRATION: &str = "everybody knows this passphrase";

pub(crate) struct Options {
    pub(crate) source: Option<PathBuf>,
    pub(crate) keep: Option<PathBuf>,
    pub(crate) suite: CipherSuite,
    pub(crate) scan: bool,
    pub(crate) passphrase: Option<String>,
}

impl Options {
    pub(crate) fn read(arguments: &mut Arguments) -> Outcome<Self> {
        let mut options = Self {
            source: None,
            keep: None,
            suite: CipherSuite::default(),
            scan: false,
            passphrase: passphrase_from("CHARTLOCK_PASSPHRASE")?,
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
                "--scan" => options.scan = true,
                "--keep" => options.keep = Some(arguments.value(&option, "a directory")?.into()),
                "--suite" => {
                    let suite = arguments.value(&option, "aes or chacha20")?;
                    options.suite = match suite.to_str() {
                        Some("aes") => CipherSuite::Aes256Gcm,
                        Some("chacha20") => CipherSuite::ChaCha20Poly1305,
                        _ => return Err(UsageError::new("--suite needs aes or chacha20").into()),
                    };
                }
                _ => return Err(UsageError::unknown(&option).into()),
            }
        }
        Ok(options)
    }
}

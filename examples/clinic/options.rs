//! What the command line asks for.

use std::path::PathBuf;

use chartlock::CipherSuite;

use crate::Outcome;
use crate::common::{Argument, Arguments, UsageError, passphrase_from, set_once};

pub(crate) const USAGE: &str = "\
Seals every document of a directory in a vault, reads all of it back, rotates, and says what it cost.

    cargo run --release --example clinic -- [DIRECTORY] [options]

DIRECTORY           documents: FHIR (.ndjson, .json), C-CDA (.xml), HL7v2 (.hl7), DICOM (.dcm), .pdf, .txt,
                    .csv, .vcf, each as it is or gzipped (.gz). Default: the sample in tests/data.
--keep DIRECTORY    leaves the vault there; it must be empty or new
--suite SUITE       aes (default) or chacha20
--scan              searches every byte of the closed storage for 12 bytes of any document or name

CHARTLOCK_PASSPHRASE names the passphrase of the vault; without it a demonstration one is used.";

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

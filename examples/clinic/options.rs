//! What the command line asks for.

use std::path::PathBuf;

use chartlock::Suite;

use crate::Outcome;

pub(crate) const HELP: &str = "\
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
    pub(crate) suite: Suite,
    pub(crate) scan: bool,
    pub(crate) passphrase: Option<String>,
}

impl Options {
    /// `None` when help is asked for.
    pub(crate) fn from_environment() -> Outcome<Option<Self>> {
        let mut options = Self {
            source: None,
            keep: None,
            suite: Suite::default(),
            scan: false,
            passphrase: std::env::var("CHARTLOCK_PASSPHRASE").ok(),
        };
        let mut arguments = std::env::args_os().skip(1);
        while let Some(argument) = arguments.next() {
            match argument.to_str() {
                Some("--help" | "-h") => return Ok(None),
                Some("--scan") => options.scan = true,
                Some("--keep") => {
                    let directory = arguments.next().ok_or("--keep needs a directory")?;
                    options.keep = Some(directory.into());
                }
                Some("--suite") => {
                    let suite = arguments.next();
                    options.suite = match suite.as_ref().and_then(|suite| suite.to_str()) {
                        Some("aes") => Suite::Aes256Gcm,
                        Some("chacha20") => Suite::ChaCha20Poly1305,
                        _ => return Err("--suite needs aes or chacha20".into()),
                    };
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

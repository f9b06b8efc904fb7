//! Arguments that name a subject.

use std::io::{self, BufRead, Read};

use chartlock::Subject;
use clap::Args;

use super::failure::{Exit, Failure};

/// Maximum number of bytes that are read for an identifier.
const LINE_MAX: u64 = 1024;

#[derive(Debug, Clone, Args)]
pub(crate) struct SubjectArguments {
    /// Identifier of the subject. `-` reads it from standard input, so that no list of processes shows it.
    #[arg(value_name = "SUBJECT")]
    identifier: String,
    /// The subject is an organization, not a patient.
    #[arg(long)]
    organization: bool,
}

impl SubjectArguments {
    pub(crate) fn new(identifier: String, organization: bool) -> Self {
        Self {
            identifier,
            organization,
        }
    }

    pub(crate) fn subject(&self) -> Result<Subject, Failure> {
        let identifier = match self.identifier.as_str() {
            "-" => read_line()?,
            given => given.to_owned(),
        };
        Ok(match self.organization {
            true => Subject::organization(&identifier)?,
            false => Subject::patient(&identifier)?,
        })
    }
}

fn read_line() -> Result<String, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(LINE_MAX).read_line(&mut line);
    read.map_err(|error| {
        let message = format!("standard input could not be read ({})", error.kind());
        Failure::new(
            Exit::Usage,
            message,
            "pass the identifier as one line of text",
        )
    })?;
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

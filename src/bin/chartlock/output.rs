//! Output of results: text or one JSON document on standard output.

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::{self, Write as _};

use serde::Serialize;

use super::failure::{Exit, Failure};
use super::visible::visible;

/// Text of a result: lines with a label and a value.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Display for Text {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Text {
    pub(crate) fn new(title: impl Display) -> Self {
        Self(format!("{}\n", visible(&title.to_string())))
    }

    pub(crate) fn line(mut self, label: &str, value: impl Display) -> Self {
        self.push(label, value);
        self
    }

    pub(crate) fn push(&mut self, label: &str, value: impl Display) {
        let value = visible(&value.to_string());
        // A `String` accepts all text.
        let _ = writeln!(self.0, "  {label}: {value}");
    }

    pub(crate) fn note(mut self, text: impl Display) -> Self {
        self.0.push_str(&visible(&text.to_string()));
        self.0.push('\n');
        self
    }

    pub(crate) fn note_if(self, condition: bool, text: impl Display) -> Self {
        match condition {
            true => self.note(text),
            false => self,
        }
    }
}

/// Prints a result. With `--json`, prints only the JSON document.
pub(crate) fn print(as_json: bool, document: &impl Serialize, text: Text) -> Result<(), Failure> {
    match as_json {
        true => print_bytes(&json(document)?),
        false => print_bytes(text.0.as_bytes()),
    }
}

/// Returns the JSON document of a result, with a line end.
pub(crate) fn json(document: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let mut bytes = serde_json::to_vec_pretty(document).map_err(|_| {
        Failure::new(
            Exit::Storage,
            "the result cannot be written as JSON",
            "run without --json",
        )
    })?;
    bytes.push(b'\n');
    Ok(bytes)
}

pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        // A reader such as `head` closed the pipe.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Failure::new(
            Exit::Storage,
            format!(
                "the result could not be written to standard output ({})",
                error.kind()
            ),
            "free space or write to another place; the operation itself succeeded",
        )),
        Ok(()) => Ok(()),
    }
}

//! Progress on the terminal.

use std::io::{self, IsTerminal};
use std::time::Duration;

use chartlock::progress::ProgressUpdate;
use indicatif::{ProgressBar, ProgressStyle};

/// Progress of one command on standard error. Hidden with `--json`, and without a terminal.
#[derive(Debug, Clone)]
pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new(as_json: bool) -> Self {
        if as_json || !io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        let style = ProgressStyle::with_template("{spinner} {msg} ({elapsed})");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows an update of a long operation.
    pub(crate) fn update(&self, update: ProgressUpdate) {
        self.begin();
        self.0
            .set_message(format!("{}: {}", update.phase, update.done));
    }

    /// Shows how many bytes are copied.
    pub(crate) fn bytes(&self, what: &str, copied: u64, total: u64) {
        self.begin();
        self.0
            .set_message(format!("{what}: {copied} of {total} bytes"));
    }

    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }

    /// Starts the animation with the first update, so that a prompt before it is not overwritten.
    fn begin(&self) {
        if self.0.position() == 0 {
            self.0.set_position(1);
            self.0.enable_steady_tick(Duration::from_millis(200));
        }
    }
}

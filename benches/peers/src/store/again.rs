//! Commands that start this program again as a child process.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::Part;

/// Returns a command that runs one part with the other arguments of this process.
pub(super) fn only(part: Part) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command.args(arguments(part.name, env::args_os().skip(1)));
    Ok(command)
}

fn arguments(part: &str, mut all: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut kept: Vec<OsString> = vec!["--only".into(), part.into()];
    while let Some(argument) = all.next() {
        match &*argument.to_string_lossy() {
            "--only" => drop(all.next()),
            text if text.starts_with("--only=") => {}
            _ => kept.push(argument),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_part_replaces_the_selected_parts() {
        let called = [
            "--quick",
            "--only",
            "envelope,store",
            "clinic",
            "--only=sizes",
        ];
        let kept = arguments("growth", called.into_iter().map(OsString::from));
        assert_eq!(kept, ["--only", "growth", "--quick", "clinic"]);
    }
}

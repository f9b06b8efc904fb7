//! Runs one test of this binary as another process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIRECTORY: &str = "CHARTLOCK_TEST_DIRECTORY";

/// The test `name`, to be run in a process of its own on `directory`.
pub(crate) fn child(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// As [`child`], inside a mount namespace of its own, after a shell command there.
///
/// Says on standard output why if that is not possible here.
pub(crate) fn child_after(shell: &str, name: &str, directory: &Path) -> Option<Command> {
    let able = Command::new("unshare").args(["-m", "true"]).status();
    if !able.is_ok_and(|status| status.success()) {
        println!("skipped: no mount namespaces here");
        return None;
    }
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-ec", &format!("{shell}\nexec \"$@\""), "sh"]);
    let inner = child(name, directory);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

/// As [`child`], with faults injected into its system calls by `strace`.
///
/// Says on standard output why if that is not possible here.
pub(crate) fn child_with_fault(fault: &str, name: &str, directory: &Path) -> Option<Command> {
    let able = Command::new("strace")
        .args(["-f", "-qq", "-o", "/dev/null", "true"])
        .status();
    if !able.is_ok_and(|status| status.success()) {
        println!("skipped: no strace here");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
    command.args(["trace=fsync,fdatasync,rename,unlink", "-e"]);
    command.arg(format!("inject={fault}"));
    let inner = child(name, directory);
    command.arg(inner.get_program()).args(inner.get_args());
    command.env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Some(command)
}

/// The directory given to a child; `None` where a test was not started as one.
pub(crate) fn given() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// In a child whose threads never end by themselves: one that fails must not leave the others at work.
pub(crate) fn end_with_the_first_panic() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
}

#[track_caller]
pub(crate) fn assert_well(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

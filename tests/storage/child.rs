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

/// As [`child`], inside a mount namespace of its own, after a shell command there that finds the
/// directory in `$1`.
///
/// Says on standard error why if that is not possible here.
pub(crate) fn child_after(shell: &str, name: &str, directory: &Path) -> Option<Command> {
    let inside = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", &format!("{shell}\n{then}"), "sh"]);
        command.arg(directory);
        command
    };
    // A namespace alone does not say that anything may be mounted in it.
    if !succeeds(inside("true")) {
        eprintln!("skipped: nothing can be mounted here");
        return None;
    }
    Some(wrapping(
        inside("shift\nexec \"$@\""),
        &child(name, directory),
    ))
}

/// As [`child`], and waits for it, where the directory is a disk of so many megabytes; nothing where that
/// is not possible.
#[track_caller]
pub(crate) fn run_on_small_disk(megabytes: u32, name: &str, directory: &Path) {
    let shell = format!("mount -t tmpfs -o size={megabytes}m none \"$1\"");
    if let Some(command) = child_after(&shell, name, directory) {
        assert_well(command);
    }
}

/// Whether `strace` can make a system call fail here. Says on standard error if not.
pub(crate) fn can_fail(call: &str) -> bool {
    // What it runs does not make any call so often.
    let mut probe = traced(call, "error=EIO:when=1000");
    probe.arg("true");
    let able = succeeds(probe);
    if !able {
        eprintln!("skipped: no strace here that could make {call} fail");
    }
    able
}

/// As [`child`], with a fault injected by `strace` into a system call that [`can_fail`].
pub(crate) fn child_with_fault(call: &str, fault: &str, name: &str, directory: &Path) -> Command {
    wrapping(traced(call, fault), &child(name, directory))
}

fn traced(call: &str, fault: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e"]);
    command.arg(format!("trace={call}"));
    command.args(["-e", &format!("inject={call}:{fault}")]);
    command
}

fn succeeds(mut command: Command) -> bool {
    let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// A command that ends with another one.
fn wrapping(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    outer.stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
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

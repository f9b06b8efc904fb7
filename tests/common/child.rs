//! Helpers that run one test of this binary in another process.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIRECTORY: &str = "CHARTLOCK_TEST_DIRECTORY";

/// Returns a command that runs the test `name` in a new process on `directory`.
pub(crate) fn child(name: &str, directory: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]);
    command.env(DIRECTORY, directory);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Returns the command of [`child`], run in a new mount namespace after the command `shell`. The
/// shell receives the directory as `$1`.
///
/// Prints the reason on standard error and returns `None` if this system does not allow mounts.
pub(crate) fn child_after(shell: &str, name: &str, directory: &Path) -> Option<Command> {
    let inside = |then: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-ec", &format!("{shell}\n{then}"), "sh"]);
        command.arg(directory);
        command
    };
    // A user who can create a namespace may still lack permission to mount.
    if !succeeds(inside("true")) {
        eprintln!("skipped: nothing can be mounted here");
        return None;
    }
    Some(append_command(
        inside("shift\nexec \"$@\""),
        &child(name, directory),
    ))
}

/// Runs [`child`] on a disk of this many megabytes, and waits for the process. Does nothing if this
/// system does not allow mounts.
#[track_caller]
pub(crate) fn run_on_small_disk(megabytes: u32, name: &str, directory: &Path) {
    let shell = format!("mount -t tmpfs -o size={megabytes}m none \"$1\"");
    if let Some(command) = child_after(&shell, name, directory) {
        assert_success(command);
    }
}

/// Runs [`child`] on a read-only mount of the directory, and waits for the process. Does nothing if
/// this system does not allow mounts.
#[track_caller]
pub(crate) fn run_on_read_only_mount(name: &str, directory: &Path) {
    let shell = "mount --bind \"$1\" \"$1\"\nmount -o remount,bind,ro \"$1\"";
    if let Some(command) = child_after(shell, name, directory) {
        assert_success(command);
    }
}

/// Returns `true` if `strace` can make this system call fail here; otherwise prints a note on
/// standard error.
pub(crate) fn can_fail(call: &str) -> bool {
    // The program `true` makes fewer than 1000 of these calls, so the probe injects no fault.
    let mut probe = traced(call, "error=EIO:when=1000");
    probe.arg("true");
    let able = succeeds(probe);
    if !able {
        eprintln!("skipped: strace cannot make {call} fail here");
    }
    able
}

/// Returns the same command as [`child`], with a fault that `strace` injects into a system call;
/// see [`can_fail`].
pub(crate) fn child_with_fault(call: &str, fault: &str, name: &str, directory: &Path) -> Command {
    append_command(traced(call, fault), &child(name, directory))
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

/// Returns the outer command with the inner command as its last arguments. Wrappers such as
/// `strace` run the command in their arguments.
fn append_command(mut outer: Command, inner: &Command) -> Command {
    outer.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        outer.env(name, value.unwrap_or_default());
    }
    outer.stdout(Stdio::piped()).stderr(Stdio::piped());
    outer
}

/// Returns the directory that the parent process passed to this child process; `None` if the test
/// runner started the test.
pub(crate) fn directory_from_parent() -> Option<PathBuf> {
    std::env::var_os(DIRECTORY).map(PathBuf::from)
}

/// Makes a child process exit at the first panic, because its other threads would run forever.
pub(crate) fn exit_on_first_panic() {
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("{panic}");
        std::process::exit(101);
    }));
}

#[track_caller]
pub(crate) fn assert_success(mut command: Command) {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

//! Prompts on a terminal, through a pseudo-terminal of Python.

use crate::tool::{PASSPHRASE, Tool, program, python};

/// Runs a program on a pseudo-terminal, and answers each prompt. Prints the output, then the exit code.
const TERMINAL: &str = r#"
import os, pty, sys, termios, time
directory, answers, command = sys.argv[1], sys.argv[2].split("|"), sys.argv[3:]
pid, master = pty.fork()
if pid == 0:
    os.chdir(directory)
    os.execv(command[0], command)
seen, recent = b"", b""
while True:
    try:
        part = os.read(master, 4096)
    except OSError:
        break
    if not part:
        break
    seen, recent = seen + part, recent + part
    if answers and recent.endswith(b": "):
        # A passphrase is typed only after the program has turned off the echo.
        end = time.monotonic() + 10
        while b"yes" not in recent and termios.tcgetattr(master)[3] & termios.ECHO and time.monotonic() < end:
            time.sleep(0.01)
        os.write(master, answers.pop(0).encode() + b"\n")
        recent = b""
print(seen.decode())
print("exit", os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"#;

fn on_terminal(tool: &Tool, answers: &[&str], arguments: &[&str]) -> Option<String> {
    let directory = tool.path("");
    let fixed = [
        directory.to_str().unwrap(),
        &answers.join("|"),
        program().to_str().unwrap(),
    ];
    let out = python(TERMINAL, &[&fixed[..], arguments].concat())?;
    assert!(!out.contains(PASSPHRASE), "the passphrase was shown");
    Some(out)
}

#[test]
fn passphrase_is_asked_without_echo() {
    let tool = Tool::empty();
    let Some(out) = on_terminal(&tool, &[PASSPHRASE, PASSPHRASE], &["init", "vault"]) else {
        return;
    };
    assert!(
        out.contains("vault created") && out.contains("exit 0"),
        "{out}"
    );
    let out = on_terminal(&tool, &[PASSPHRASE], &["status", "vault"]).unwrap();
    assert!(
        out.contains("subjects: 0") && out.contains("exit 0"),
        "{out}"
    );
    let out = on_terminal(&tool, &["another one than this"], &["status", "vault"]).unwrap();
    assert!(out.contains("exit 3"), "{out}");
}

#[test]
fn differing_new_passphrases_create_nothing() {
    let tool = Tool::empty();
    let answers = [PASSPHRASE, "correct horse battery stable"];
    let Some(out) = on_terminal(&tool, &answers, &["init", "vault"]) else {
        return;
    };
    assert!(out.contains("differ") && out.contains("exit 3"), "{out}");
    assert!(!tool.path("vault").exists());
}

#[test]
fn rotation_asks_and_only_yes_continues() {
    let tool = Tool::new();
    let rotate = ["rotate", "master", "vault", "--key-file", "key"];
    let before = tool.state();
    let Some(out) = on_terminal(&tool, &["y"], &rotate) else {
        return;
    };
    assert!(
        out.contains("Type yes to continue") && out.contains("exit 2"),
        "{out}"
    );
    assert!(tool.state() == before);
    let out = on_terminal(&tool, &["yes"], &rotate).unwrap();
    assert!(
        out.contains("master key rotated") && out.contains("exit 0"),
        "{out}"
    );
}

#[test]
fn restore_shows_its_plan_before_it_asks() {
    let tool = Tool::new();
    tool.fill(1);
    let reason = ["--reason", "drill", "--key-file", "key"];
    tool.ok(&[&["backup", "vault", "--to", "copy"], &reason[..]].concat());
    tool.app(|_, session| {
        let subject = chartlock::Subject::patient("MRN-0").unwrap();
        session.erase_subject(&subject, "objection").unwrap();
    });
    let replaces = ["--replaces", "vault"];
    let back = ["journal", "bring-back", "copy"];
    tool.ok(&[&back, &reason[..], &replaces].concat());
    let accept = [&["restore", "accept", "copy"], &reason[..], &replaces].concat();
    let Some(out) = on_terminal(&tool, &["no"], &accept) else {
        return;
    };
    let (plan, _) = out.split_once("Type yes to continue").unwrap();
    assert!(
        plan.contains("MRN-0, all records: will be repeated"),
        "{out}"
    );
    assert!(plan.contains("repeats 1 erasures"), "{out}");
    assert!(out.contains("exit 2"), "{out}");
}

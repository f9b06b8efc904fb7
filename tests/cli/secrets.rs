//! Secrets stay out of arguments, environment and output.

use std::fs;
use std::process::{Command, Stdio};

use crate::tool::{PASSPHRASE, Run, Tool, program, run};

fn assert_silent(run: &Run, secret: &str) {
    assert!(
        !run.out.contains(secret) && !run.err.contains(secret),
        "{run:?}"
    );
}

#[test]
fn passphrase_as_an_argument_is_refused_and_not_repeated() {
    let tool = Tool::new();
    for arguments in [
        &["status", "vault", "--passphrase", PASSPHRASE][..],
        &["status", "vault", PASSPHRASE],
        &["status", "vault", "--passphrase-fd", PASSPHRASE],
        &["rotate", PASSPHRASE],
        &[PASSPHRASE],
    ] {
        assert_silent(&tool.fails(2, arguments), PASSPHRASE);
    }
    let joined = format!("--passphrase={PASSPHRASE}");
    assert_silent(&tool.fails(2, &["status", "vault", &joined]), PASSPHRASE);
}

#[test]
fn environment_supplies_no_credential() {
    let tool = Tool::empty();
    tool.ok(&["init", "vault", "--passphrase-file", "passphrase"]);
    let mut command = tool.command(&["status", "vault"]);
    for name in ["PASSPHRASE", "CHARTLOCK_PASSPHRASE", "CHARTLOCK_KEY_FILE"] {
        command.env(name, PASSPHRASE);
    }
    assert_eq!(run(command).code, 3);
}

#[test]
fn no_command_prints_a_secret() {
    let tool = Tool::new();
    let open = ["--key-file", "key"];
    tool.ok(&[
        "slots",
        "add",
        "vault",
        "--key-file",
        "key",
        "--other-passphrase-file",
        "passphrase",
    ]);
    let text = fs::read_to_string(tool.path("key")).unwrap();
    let key = text.lines().nth(1).unwrap();
    for arguments in [
        &["status", "vault"][..],
        &["slots", "list", "vault"],
        &[
            "slots",
            "try",
            "vault",
            "--other-passphrase-file",
            "passphrase",
        ],
        &["verify", "vault"],
        &[
            "rotate",
            "root",
            "vault",
            "--yes",
            "--keep-passphrase-file",
            "passphrase",
        ],
        &["report", "activity", "vault", "os-login:root"],
    ] {
        for form in [&[][..], &["--json"]] {
            let run = tool.run(&[arguments, &open, form].concat());
            assert_eq!(run.code, 0, "{run:?}");
            assert_silent(&run, PASSPHRASE);
            assert_silent(&run, key);
        }
    }
}

#[cfg(unix)]
#[test]
fn passphrase_comes_from_a_descriptor() {
    let tool = Tool::empty();
    tool.ok(&["init", "vault", "--passphrase-file", "passphrase"]);
    let shell = |script: &str| {
        let mut command = Command::new("sh");
        command
            .current_dir(tool.path(""))
            .args(["-c", script, "sh"])
            .arg(program());
        command.stdin(Stdio::null());
        run(command)
    };
    for script in [
        r#""$1" status vault --passphrase-fd 3 3<passphrase"#,
        r#"cat passphrase | "$1" status vault --passphrase-fd 0"#,
        r#"cat passphrase | "$1" rotate root vault --yes --passphrase-fd 0"#,
    ] {
        let run = shell(script);
        assert_eq!(run.code, 0, "{script}: {run:?}");
        assert_silent(&run, PASSPHRASE);
    }
    let long = shell(r#"yes | head -c 5000 | tr -d '\n' | "$1" status vault --passphrase-fd 0"#);
    assert_eq!(long.code, 3, "{long:?}");
}

//! Processes of servers that the tests start on loopback.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Shell script that starts a program, and sends the signal `$0` to the program when standard input ends.
/// Standard input ends with the test process, even if the process is killed. Afterwards, the script removes the
/// directory that `SERVER_DIRECTORY` names.
pub(crate) const SCRIPT: &str = r#""$@" </dev/null & server=$!; cat >/dev/null; kill -"$0" $server; wait $server
    [ -z "$SERVER_DIRECTORY" ] || rm -rf "$SERVER_DIRECTORY""#;

pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Returns the path of a program of the Python packages that `.ci/campaigns` installs, or in the search path. If
/// there is none, panics if `CHARTLOCK_SERVERS` is set.
pub(crate) fn python_program(name: &str, package: &str) -> Option<PathBuf> {
    let installed = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/bin");
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut directories = std::iter::once(installed).chain(std::env::split_paths(&path));
    let found = directories.find(|directory| directory.join(name).exists());
    let is_required = std::env::var_os("CHARTLOCK_SERVERS").is_some();
    let missing = format!("{name} is not installed (PyPI: {package})");
    assert!(found.is_some() || !is_required, "{missing}");
    if found.is_none() {
        eprintln!("SKIPPED: {missing}");
    }
    found.map(|directory| directory.join(name))
}

/// A running server. It ends when this value is dropped, and with the test process.
pub(crate) struct ServerProcess(Child);

impl ServerProcess {
    /// Starts a server that keeps its files in a directory, which is removed afterwards.
    pub(crate) fn start(
        program: &Path,
        directory: PathBuf,
        arguments: &[String],
        environment: &[(&str, &str)],
    ) -> Self {
        let child = Command::new("sh")
            .args(["-c", SCRIPT, "KILL"])
            .arg(program)
            .args(arguments)
            .current_dir(&directory)
            .env("SERVER_DIRECTORY", &directory)
            .envs(environment.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

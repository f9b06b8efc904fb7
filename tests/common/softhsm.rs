//! SoftHSM, which keeps PKCS#11 tokens in files. Each scenario runs in its own process, because the
//! module reads its configuration, and a process logs in to a token, only once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use chartlock::keys::{Pkcs11, Pkcs11Key, Pkcs11Options, Pkcs11Token};

use super::child::{assert_success, child, directory_from_parent};

pub(crate) const LABEL: &str = "planted-token-label";
pub(crate) const PIN: &str = "planted-pin-4711";
pub(crate) const KEY: &str = "planted-key-label";

/// Where packages install the module.
const MODULES: [&str; 5] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
    "/opt/homebrew/lib/softhsm/libsofthsm2.so",
];

/// A directory with the tokens of SoftHSM.
pub(crate) struct SoftHsm {
    pub(crate) directory: PathBuf,
    pub(crate) module: PathBuf,
}

/// Runs a scenario in a new process with one token. `name` is the path of the calling test. Does nothing if
/// SoftHSM is not installed.
#[track_caller]
pub(crate) fn scenario(name: &str, run: impl Fn(&SoftHsm)) {
    scenario_in_processes(1, name, run);
}

/// Runs a scenario in several new processes, one after another, on the same directory.
#[track_caller]
pub(crate) fn scenario_in_processes(count: usize, name: &str, run: impl Fn(&SoftHsm)) {
    let Some(module) = installed_module() else {
        return;
    };
    if let Some(directory) = directory_from_parent() {
        run(&SoftHsm { directory, module });
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let hsm = SoftHsm::create(scratch.path(), module);
    for _ in 0..count {
        let mut process = child(name, scratch.path());
        process.env("SOFTHSM2_CONF", hsm.configuration());
        process.env("FAULTY_DIRECTORY", scratch.path());
        process.env("FAULTY_MODULE", &hsm.module);
        assert_success(process);
    }
}

fn installed_module() -> Option<PathBuf> {
    let module = MODULES.iter().map(PathBuf::from).find(|path| path.exists());
    let is_required = std::env::var_os("CHARTLOCK_SERVERS").is_some();
    let note = "SoftHSM is not installed (Debian: softhsm2)";
    assert!(module.is_some() || !is_required, "{note}");
    if module.is_none() {
        eprintln!("SKIPPED: {note}");
    }
    module
}

impl SoftHsm {
    fn create(directory: &Path, module: PathBuf) -> Self {
        let hsm = Self {
            directory: directory.to_owned(),
            module,
        };
        fs::create_dir(hsm.tokens()).unwrap();
        let configuration = format!("directories.tokendir = {}\n", hsm.tokens().display());
        fs::write(hsm.configuration(), configuration).unwrap();
        hsm.add_token(LABEL);
        hsm
    }

    pub(crate) fn tokens(&self) -> PathBuf {
        self.directory.join("tokens")
    }

    fn configuration(&self) -> PathBuf {
        self.directory.join("softhsm2.conf")
    }

    pub(crate) fn add_token(&self, label: &str) {
        self.add_token_with_pin(label, PIN);
    }

    pub(crate) fn add_token_with_pin(&self, label: &str, pin: &str) {
        let options = ["--init-token", "--free", "--so-pin", "12345678"];
        let status = Command::new("softhsm2-util")
            .args(options)
            .args(["--label", label, "--pin", pin])
            .env("SOFTHSM2_CONF", self.configuration())
            .stdout(Stdio::null())
            .status();
        assert!(status.unwrap().success(), "softhsm2-util failed");
    }

    pub(crate) fn options(&self) -> Pkcs11Options {
        Pkcs11Options::new(&self.module).token_label(LABEL)
    }

    pub(crate) fn token(&self) -> Pkcs11Token {
        self.options().pin(PIN).unwrap().open().unwrap()
    }

    /// Opens the token, creates the key, and returns a credential with it.
    pub(crate) fn credential(&self) -> Pkcs11 {
        credential(&self.token())
    }

    /// Returns options for the faulty module; `None` without a C compiler.
    pub(crate) fn faulty_options(&self) -> Option<Pkcs11Options> {
        let options = Pkcs11Options::new(self.faulty_module()?).token_label(LABEL);
        Some(options.pin(PIN).unwrap())
    }

    /// Compiles a module that forwards to SoftHSM and injects faults. Returns `None` without a C compiler.
    pub(crate) fn faulty_module(&self) -> Option<PathBuf> {
        let source = self.directory.join("faulty_module.c");
        let module = self.directory.join("faulty_module.so");
        fs::write(&source, include_str!("../custody/pkcs11/faulty_module.c")).unwrap();
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&module, &source])
            .arg("-ldl")
            .status();
        let Ok(status) = compiled else {
            eprintln!("SKIPPED: there is no C compiler");
            return None;
        };
        assert!(status.success(), "the faulty module does not compile");
        Some(module)
    }

    /// Makes a function of the faulty module fail; see `faulty_module.c`.
    pub(crate) fn set_fault(&self, fault: &str) {
        // Rename the file, so that the module never reads half of it.
        let new = self.directory.join("fault.new");
        fs::write(&new, fault).unwrap();
        fs::rename(new, self.directory.join("fault")).unwrap();
    }

    pub(crate) fn clear_fault(&self) {
        fs::remove_file(self.directory.join("fault")).unwrap();
    }

    /// Returns the number of logins through the faulty module.
    pub(crate) fn logins(&self) -> usize {
        fs::read(self.directory.join("logins")).map_or(0, |logins| logins.len())
    }
}

pub(crate) fn key() -> Pkcs11Key {
    Pkcs11Key::label(KEY).unwrap()
}

/// Creates the key, and returns a credential with it.
pub(crate) fn credential(token: &Pkcs11Token) -> Pkcs11 {
    Pkcs11::create_key(token, &key()).unwrap();
    Pkcs11::new(token, key())
}

//! A token that the app opened, and the options to open it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::error::{Error, Result};
use crate::keys::credentials::pkcs11::module::{Module, TokenSelector};
use crate::keys::credentials::pkcs11::open_token::{Connection, Login};
use crate::keys::credentials::pkcs11::pin::Pin;
use crate::keys::credentials::pkcs11::pkcs11_uri::Pkcs11Uri;
use crate::keys::credentials::pkcs11::timed_thread::TimedThread;
use crate::keys::credentials::pkcs11::token_failure::TokenResult;

const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Options to open a token: the module, the token, the PIN and the time limit.
///
/// The module is the vendor's library, native code that runs inside the app's process. Take its path from
/// configuration that only administrators can write.
///
/// ```no_run
/// use chartlock::keys::Pkcs11Options;
///
/// # fn open() -> Result<(), chartlock::Error> {
/// let token = Pkcs11Options::new("/usr/lib/softhsm/libsofthsm2.so")
///     .token_label("clinic")
///     .pin_file("/run/secrets/token-pin")?
///     .open()?;
///
/// // The same from a PKCS#11 URI.
/// let token = Pkcs11Options::from_uri(concat!(
///     "pkcs11:token=clinic?module-path=/usr/lib/softhsm/libsofthsm2.so",
///     "&pin-source=file:/run/secrets/token-pin",
/// ))?
/// .open()?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pkcs11Options {
    module: PathBuf,
    token: TokenSelector,
    login: Login,
    time_limit: Duration,
}

impl Pkcs11Options {
    /// Creates options for the module in this file. A name without a directory is not searched for.
    pub fn new(module: impl AsRef<Path>) -> Self {
        Self {
            module: module.as_ref().to_owned(),
            token: TokenSelector::default(),
            login: Login {
                pin: None,
                allows_last_attempt: false,
            },
            time_limit: DEFAULT_TIME_LIMIT,
        }
    }

    /// Parses a PKCS#11 URI (RFC 7512) with `module-path`, and with `token`, `serial` or both.
    ///
    /// Also applies `manufacturer`, `model`, `pin-value` and `pin-source`: a file, as an absolute path or a
    /// `file:` URI, which this function reads. The attributes `object`, `id` and `type=secret-key` name a key;
    /// see [`Pkcs11Key::from_uri`](crate::keys::Pkcs11Key::from_uri). A URI with another attribute is refused,
    /// because it would mean a restriction that this crate does not apply. Prefer `pin-source` to `pin-value`,
    /// because URIs appear in configuration files and lists of processes.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for any other URI; errors of [`Pkcs11Options::pin_file`].
    pub fn from_uri(uri: &str) -> Result<Self> {
        let uri = Pkcs11Uri::parse(uri)?;
        let mut options = Self::new(uri.module_path.ok_or(Error::InvalidCredentialSetting)?);
        options.token = TokenSelector {
            label: uri.token,
            serial: uri.serial,
            manufacturer: uri.manufacturer,
            model: uri.model,
        };
        options.login.pin = uri.pin_value.map(Pin::new).transpose()?;
        match uri.pin_source {
            Some(source) => options.pin_file(file_of(&source)?),
            None => Ok(options),
        }
    }

    /// Selects the token with this label.
    #[must_use]
    pub fn token_label(mut self, label: &str) -> Self {
        self.token.label = Some(label.to_owned());
        self
    }

    /// Selects the token with this serial number, as the module reports it.
    #[must_use]
    pub fn token_serial(mut self, serial: &str) -> Self {
        self.token.serial = Some(serial.to_owned());
        self
    }

    /// Sets the user PIN of 1 to 255 bytes. A `String` or `Vec` is moved in, not copied.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] for any other length.
    pub fn pin(mut self, pin: impl Into<Vec<u8>>) -> Result<Self> {
        self.login.pin = Some(Pin::new(Zeroizing::new(pin.into()))?);
        Ok(self)
    }

    /// Reads the user PIN from a file, which may end with one line end. Only the app should be able to read
    /// the file; this function does not check that.
    ///
    /// # Errors
    /// [`Error::KeyFile`] if the file cannot be read; [`Error::KeyFileExposed`] if other users than its owner can
    /// write it (on Unix); [`Error::InvalidCredentialSetting`] unless the PIN has 1 to 255 bytes.
    pub fn pin_file(mut self, path: impl AsRef<Path>) -> Result<Self> {
        self.login.pin = Some(Pin::read(path.as_ref())?);
        Ok(self)
    }

    /// Sets the time that the app waits for a call to the token. The default is 30 seconds. A call includes
    /// the wait for calls of other threads before it.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Sends the PIN even if the token reports that one more wrong PIN locks it. By default, opening then
    /// fails with [`CredentialFailure::Locked`](crate::keys::CredentialFailure::Locked), so that a service
    /// that restarts with a wrong PIN does not lock the token. A login with the vendor's tool resets the count.
    #[must_use]
    pub fn allow_last_attempt(mut self) -> Self {
        self.login.allows_last_attempt = true;
        self
    }

    /// Loads the module, finds the token and logs in, unless this process is logged in already.
    ///
    /// # Errors
    /// [`Error::InvalidCredentialSetting`] without a label and a serial number. [`Error::Credential`]:
    /// - `Unreachable`: there is no module, or it has no such token.
    /// - `Denied`: the PIN is wrong or missing; the token is open in this process with another PIN; another part of
    ///   the process logged in, so that the token does not check the PIN; or several tokens match. Do not repeat
    ///   the call with the same PIN, because each call can use up an attempt.
    /// - `Locked`: the PIN is locked or expired, or the next wrong PIN would lock it.
    /// - `TimedOut`: the module did not answer in time.
    pub fn open(self) -> Result<Pkcs11Token> {
        if self.token.label.is_none() && self.token.serial.is_none() {
            return Err(Error::InvalidCredentialSetting);
        }
        let module = Module::at(&self.module)?;
        let (thread, token, login) = (module.clone(), self.token, self.login);
        let user = module.call(self.time_limit, move |module| {
            let number = module.open(&token, login)?;
            // Created on the thread, so that its drop closes the token even if the caller stopped waiting.
            Ok(TokenUser { thread, number })
        })?;
        Ok(Pkcs11Token {
            user: Arc::new(user),
            time_limit: self.time_limit,
        })
    }
}

/// Returns the path of a `file:` URI, or an absolute path as it is.
fn file_of(source: &str) -> Result<&str> {
    let path = source.strip_prefix("file:").unwrap_or(source);
    let path = path.strip_prefix("//").unwrap_or(path);
    path.starts_with('/')
        .then_some(path)
        .ok_or(Error::InvalidCredentialSetting)
}

/// A token to which the process is logged in, for one or more keys.
///
/// Clones share the login. The token stays open until the last clone and the last credential with it are
/// dropped. The PIN stays in memory until then, for a new login after a reset of the token.
///
/// ```no_run
/// # use chartlock::keys::Pkcs11Options;
/// # fn open() -> Result<(), chartlock::Error> {
/// let options = Pkcs11Options::new("/usr/lib/softhsm/libsofthsm2.so").token_label("clinic");
/// let token = options.pin("1234")?.open()?;
/// assert_eq!(format!("{token:?}"), "Pkcs11Token(..)");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Pkcs11Token {
    user: Arc<TokenUser>,
    time_limit: Duration,
}

impl Pkcs11Token {
    /// Carries out work on the module's thread.
    pub(super) fn run<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection) -> TokenResult<T> + Send + 'static,
    ) -> Result<T> {
        let number = self.user.number;
        let thread = &self.user.thread;
        thread.call(self.time_limit, move |module| {
            module.token(number)?.run(work)
        })
    }
}

struct TokenUser {
    thread: Arc<TimedThread<Module>>,
    number: u64,
}

impl Drop for TokenUser {
    fn drop(&mut self) {
        let number = self.number;
        self.thread.post(move |module| module.close(number));
    }
}

impl fmt::Debug for Pkcs11Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pkcs11Options(..)")
    }
}

impl fmt::Debug for Pkcs11Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pkcs11Token(..)")
    }
}

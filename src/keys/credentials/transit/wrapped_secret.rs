//! Ciphertext of a slot secret, as the service and the parameters of the slot contain it.

/// The version of the parameters, which is their first byte.
const VERSION: u8 = 1;
/// The first bytes of each ciphertext of the transit engine.
const PREFIX: &str = "vault:v";
/// The maximum length of a ciphertext, in bytes. 32 bytes in XChaCha20-Poly1305, the longest, with the largest
/// version of a key give 114.
const LENGTH_MAX: usize = 256;

/// A ciphertext of the form `vault:vN:` and base64 characters, where N is the version of the key.
pub(super) struct WrappedSecret {
    text: String,
    key_version: u32,
}

impl WrappedSecret {
    /// Parses a ciphertext; `None` if it has another form.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (version, encoded) = text.strip_prefix(PREFIX)?.split_once(':')?;
        let key_version = version.parse().ok().filter(|version| *version > 0)?;
        // The service would read `v1`, `v01` and `v+1` as the same version.
        let is_canonical = u32::to_string(&key_version) == version;
        let is_encoded = !encoded.is_empty()
            && (encoded.bytes())
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
        (is_canonical && is_encoded && text.len() <= LENGTH_MAX).then(|| Self {
            text: text.to_owned(),
            key_version,
        })
    }

    /// Parses the parameters of a slot; `None` if they have another form.
    pub(super) fn from_parameters(parameters: &[u8]) -> Option<Self> {
        let (version, text) = parameters.split_first()?;
        let text = std::str::from_utf8(text).ok()?;
        Self::parse(text).filter(|_| *version == VERSION)
    }

    /// Returns the parameters of the slot: the version byte and the ciphertext.
    pub(super) fn to_parameters(&self) -> Vec<u8> {
        [&[VERSION], self.text.as_bytes()].concat()
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn key_version(&self) -> u32 {
        self.key_version
    }
}

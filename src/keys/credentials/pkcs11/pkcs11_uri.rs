//! Parser of PKCS#11 URIs (RFC 7512), which refuses every attribute that it does not apply.

use zeroize::Zeroizing;

use crate::error::{Error, Result};

/// The maximum length of a URI, in bytes.
const MAX: usize = 4096;
const SCHEME: &str = "pkcs11:";
/// Characters that may appear in a value, in addition to letters, digits and percent escapes (RFC 7512,
/// section 2.3).
const IN_PATH: &[u8] = b"-._~:[]@!$'()*+,=&";
const IN_QUERY: &[u8] = b"-._~:[]@!$'()*+,=/?|";

/// The attributes of a URI, percent-decoded.
#[derive(Default)]
pub(super) struct Pkcs11Uri {
    pub(super) token: Option<String>,
    pub(super) serial: Option<String>,
    pub(super) manufacturer: Option<String>,
    pub(super) model: Option<String>,
    pub(super) object: Option<Vec<u8>>,
    pub(super) id: Option<Vec<u8>>,
    object_type: Option<String>,
    pub(super) module_path: Option<String>,
    pub(super) pin_source: Option<String>,
    pub(super) pin_value: Option<Zeroizing<Vec<u8>>>,
}

impl Pkcs11Uri {
    /// Parses a URI. Refuses repeated attributes, which RFC 7512 forbids, and unknown ones, because the
    /// author of the URI restricts the selection with them.
    pub(super) fn parse(uri: &str) -> Result<Self> {
        let (scheme, rest) = uri.split_at_checked(SCHEME.len()).ok_or(INVALID)?;
        if uri.len() > MAX || !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(INVALID);
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        let mut parsed = Self::default();
        if !path.is_empty() {
            path.split(';')
                .try_for_each(|attribute| parsed.path_attribute(attribute))?;
        }
        if let Some(query) = query {
            query
                .split('&')
                .try_for_each(|attribute| parsed.query_attribute(attribute))?;
        }
        let is_other_type = parsed
            .object_type
            .as_deref()
            .is_some_and(|of| of != "secret-key");
        // RFC 7512, section 2.4: a URI with both has no defined meaning.
        let has_two_pins = parsed.pin_source.is_some() && parsed.pin_value.is_some();
        (!is_other_type && !has_two_pins)
            .then_some(parsed)
            .ok_or(INVALID)
    }

    fn path_attribute(&mut self, attribute: &str) -> Result<()> {
        let (name, value) = attribute.split_once('=').ok_or(INVALID)?;
        let value = decode(value, IN_PATH)?;
        match name {
            "token" => set(&mut self.token, text(&value)?),
            "serial" => set(&mut self.serial, text(&value)?),
            "manufacturer" => set(&mut self.manufacturer, text(&value)?),
            "model" => set(&mut self.model, text(&value)?),
            "object" => set(&mut self.object, value.to_vec()),
            "id" => set(&mut self.id, value.to_vec()),
            "type" => set(&mut self.object_type, text(&value)?),
            _ => Err(INVALID),
        }
    }

    fn query_attribute(&mut self, attribute: &str) -> Result<()> {
        let (name, value) = attribute.split_once('=').ok_or(INVALID)?;
        let value = decode(value, IN_QUERY)?;
        match name {
            "module-path" => set(&mut self.module_path, text(&value)?),
            "pin-source" => set(&mut self.pin_source, text(&value)?),
            "pin-value" => set(&mut self.pin_value, value),
            _ => Err(INVALID),
        }
    }
}

const INVALID: Error = Error::InvalidCredentialSetting;

fn set<T>(attribute: &mut Option<T>, value: T) -> Result<()> {
    match attribute.replace(value) {
        None => Ok(()),
        Some(_) => Err(INVALID),
    }
}

fn text(value: &[u8]) -> Result<String> {
    let text = str::from_utf8(value).map_err(|_| INVALID)?;
    (!text.is_empty() && !text.chars().any(char::is_control))
        .then(|| text.to_owned())
        .ok_or(INVALID)
}

/// Decodes percent escapes. The buffer never moves, because a value may be a PIN.
fn decode(value: &str, allowed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(value.len()));
    let mut bytes = value.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => match (bytes.next().and_then(digit), bytes.next().and_then(digit)) {
                (Some(high), Some(low)) => high << 4 | low,
                _ => return Err(INVALID),
            },
            byte if byte.is_ascii_alphanumeric() || allowed.contains(&byte) => byte,
            _ => return Err(INVALID),
        });
    }
    Ok(decoded)
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn uri_with_every_attribute_is_decoded() {
        let uri = Pkcs11Uri::parse(concat!(
            "pkcs11:token=Clinic%20%C3%A9;serial=0a1b;manufacturer=M;model=v2;object=k%3B1;id=%00%fF;",
            "type=secret-key?module-path=/usr/lib/m.so&pin-value=1%264"
        ));
        let uri = uri.unwrap();
        assert_eq!(uri.token.as_deref(), Some("Clinic é"));
        assert_eq!(uri.serial.as_deref(), Some("0a1b"));
        assert_eq!(uri.manufacturer.as_deref(), Some("M"));
        assert_eq!(uri.model.as_deref(), Some("v2"));
        assert_eq!(uri.object.as_deref(), Some(&b"k;1"[..]));
        assert_eq!(uri.id.as_deref(), Some(&[0, 255][..]));
        assert_eq!(uri.module_path.as_deref(), Some("/usr/lib/m.so"));
        assert_eq!(uri.pin_value.unwrap().as_slice(), b"1&4");
        assert!(uri.pin_source.is_none());
        let uri = Pkcs11Uri::parse("PKCS11:?pin-source=file:/run/pin").unwrap();
        assert_eq!(uri.pin_source.as_deref(), Some("file:/run/pin"));
    }

    #[test]
    fn uri_with_unknown_repeated_or_malformed_attributes_is_refused() {
        for uri in [
            "",
            "pkcs11",
            "pkcs12:token=a",
            "é: token",
            "pkcs11:token",
            "pkcs11:token=",
            "pkcs11:token=a;",
            "pkcs11:token=a;token=a",
            "pkcs11:Token=a",
            "pkcs11:slot-id=1",
            "pkcs11:vendor=a",
            "pkcs11:token=a b",
            "pkcs11:token=a/b",
            "pkcs11:token=%C3",
            "pkcs11:token=%4",
            "pkcs11:token=%4g",
            "pkcs11:token=%+1",
            "pkcs11:token=a%00",
            "pkcs11:token=é",
            "pkcs11:type=private",
            "pkcs11:token=a?",
            "pkcs11:token=a#b",
            "pkcs11:token=a?module-name=b",
            "pkcs11:token=a?pin-value=1&pin-value=1",
            "pkcs11:token=a?pin-value=1&pin-source=/p",
        ] {
            assert!(
                matches!(Pkcs11Uri::parse(uri), Err(Error::InvalidCredentialSetting)),
                "{uri}"
            );
        }
        let long = format!("pkcs11:token={}", "a".repeat(MAX));
        assert!(Pkcs11Uri::parse(&long).is_err());
    }
}

//! Fuzz target for the parameters of slots: credentials get arbitrary parameters, and those of two factors. A
//! second reader predicts which are those of the credential. With the features of services, their credentials get
//! parameters too: they must ask the service for those that it must open, and for no others.

use chartlock::CipherSuite;
use chartlock::keys::{Both, Credential, KeyFile, Shares, SlotContext};

use super::fixed::Fixed;
use super::input::Input;

/// The kinds of the two factors.
const KINDS: [u16; 2] = [2, 0x7001];

pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let kind = u16::from(input.byte() % 8);
    let context = SlotContext::new(
        [7; 16],
        kind,
        u16::from(input.byte()),
        CipherSuite::default(),
    );
    let rest = input.rest();
    let parameters = match form % 2 {
        0 => rest.to_vec(),
        _ => factors(rest, form),
    };
    let file = KeyFile::random().unwrap();
    let opens = |credential: &dyn Credential| {
        let secret = credential.secret(&parameters, &context).unwrap();
        secret.is_some()
    };
    assert_eq!(opens(&file), parameters.is_empty());
    // A set of shares has a random id.
    assert!(!opens(&Shares::split(2, 3).unwrap()));
    let app = Fixed(KINDS[1]);
    let both = Both::new(&file, &app);
    assert_eq!(opens(&both), are_factors(&parameters));
    assert!(!opens(&Both::new(&app, &file)) || are_factors_of(&parameters, [KINDS[1], KINDS[0]]));
    let nested = Both::new(&both, &file);
    if opens(&nested) {
        assert_eq!(parameters[..2], [4, 0]);
    }
    #[cfg(feature = "aws-kms")]
    services::check_kms(rest, form, &context);
    #[cfg(feature = "transit")]
    services::check_transit(rest, form, &context);
}

/// Checks of credentials of services.
#[cfg(any(feature = "aws-kms", feature = "transit"))]
mod services {
    use std::sync::{Once, OnceLock};

    use chartlock::Error;
    #[cfg(feature = "aws-kms")]
    use chartlock::keys::{AwsIdentity, AwsKms, AwsKmsOptions};
    use chartlock::keys::{Credential, CredentialFailure, SlotContext};
    #[cfg(feature = "transit")]
    use chartlock::keys::{Transit, TransitOptions};
    use log::{LevelFilter, Log, Metadata, Record};

    /// An address to which no request is sent.
    const ADDRESS: &str = "http://127.0.0.1:1";

    /// A logger of every level. Credentials refuse to send a request to their service while there is one.
    struct Everything;

    impl Log for Everything {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, _: &Record<'_>) {}

        fn flush(&self) {}
    }

    #[cfg(feature = "aws-kms")]
    pub(super) fn check_kms(rest: &[u8], form: u8, context: &SlotContext) {
        static KMS: OnceLock<AwsKms> = OnceLock::new();
        let kms = KMS.get_or_init(|| {
            let identity = AwsIdentity::access_key("fuzz", "fuzz");
            let options = AwsKmsOptions::new("alias/fuzz", "eu-central-1").endpoint(ADDRESS);
            options.identity(identity).build().unwrap()
        });
        let parameters = with_start(b"\x01", rest, form);
        let is_ciphertext = parameters.starts_with(&[1]) && (2..=2_049).contains(&parameters.len());
        check(kms, &parameters, context, is_ciphertext);
    }

    #[cfg(feature = "transit")]
    pub(super) fn check_transit(rest: &[u8], form: u8, context: &SlotContext) {
        static TRANSIT: OnceLock<Transit> = OnceLock::new();
        let transit = TRANSIT.get_or_init(|| {
            let options = TransitOptions::new(ADDRESS, "fuzz").token("fuzz");
            options.build().unwrap()
        });
        let parameters = with_start(b"\x01vault:v", rest, form);
        check(transit, &parameters, context, is_transit(&parameters));
    }

    fn with_start(start: &[u8], rest: &[u8], form: u8) -> Vec<u8> {
        match form & 4 {
            0 => rest.to_vec(),
            _ => [start, rest].concat(),
        }
    }

    /// Returns `true` for the version byte and a ciphertext such as `vault:v3:MTIz`.
    #[cfg(feature = "transit")]
    fn is_transit(parameters: &[u8]) -> bool {
        let Some(rest) = parameters.strip_prefix(b"\x01vault:v") else {
            return false;
        };
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (version, encoded) = rest.split_at(digits);
        let version = version.iter().fold(0_u64, |number, digit| {
            number
                .saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        });
        let is_text = |byte: &u8| byte.is_ascii_alphanumeric() || b"+/=".contains(byte);
        rest.first()
            .is_some_and(|first| (b'1'..=b'9').contains(first))
            && version <= u64::from(u32::MAX)
            && encoded.len() > 1
            && encoded[0] == b':'
            && encoded[1..].iter().all(is_text)
            && parameters.len() <= 257
    }

    fn check(
        credential: &dyn Credential,
        parameters: &[u8],
        context: &SlotContext,
        must_be_requested: bool,
    ) {
        static LOG: Once = Once::new();
        LOG.call_once(|| {
            log::set_logger(&Everything).unwrap();
            log::set_max_level(LevelFilter::Trace);
        });
        match credential.secret(parameters, context) {
            Ok(secret) => assert!(secret.is_none() && !must_be_requested),
            Err(error) => {
                let not_sent = Error::Credential(CredentialFailure::LogExposesSecrets);
                assert!(error == not_sent && must_be_requested);
            }
        }
    }
}

/// Returns parameters of the two factors, with one byte changed for some forms.
fn factors(rest: &[u8], form: u8) -> Vec<u8> {
    let name = b"\x04fuzz";
    let own = [&name[..], &rest[..rest.len().min(300)]].concat();
    let length = (own.len() as u16).to_le_bytes();
    let app = KINDS[1].to_le_bytes();
    let mut parameters = [&[2, 0, 0, 0][..], &app, &length, &own].concat();
    if form & 2 != 0 {
        let place = usize::from(form) % parameters.len();
        parameters[place] ^= 1 << (form >> 5);
    }
    parameters
}

fn are_factors(parameters: &[u8]) -> bool {
    are_factors_of(parameters, KINDS)
}

fn are_factors_of(parameters: &[u8], kinds: [u16; 2]) -> bool {
    let mut rest = parameters;
    for kind in kinds {
        let Some((head, after)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let Some((own, after)) = after.split_at_checked(length) else {
            return false;
        };
        let is_own = match kind {
            2 => own.is_empty(),
            _ => own.starts_with(b"\x04fuzz"),
        };
        if u16::from_le_bytes([head[0], head[1]]) != kind || length > 3_976 || !is_own {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

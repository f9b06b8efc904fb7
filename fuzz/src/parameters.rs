//! Fuzz target for the parameters of slots: credentials without a device get arbitrary parameters, and those of
//! two factors. A second reader predicts which are those of the credential.

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

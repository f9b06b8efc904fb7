//! Fixed keys, with which a fuzz target seals its inputs.

use chartlock::Error;
use chartlock::internals::crypto::{CipherSuite, Nonce, RootKey, SealingKey, ring_key};
use chartlock::internals::keys::{Header, Keyring};
use chartlock::keys::{Credential, SlotContext, SlotSecret};

/// The size of the header's fixed fields before the first slot, in bytes.
const HEAD: usize = 36;
/// The end of a frame without former journal keys: the number of the active journal key, and a count.
const FORMER_KEYS: [u8; 6] = [9, 0, 0, 0, 0, 0];

/// Splits off the first byte, which a fuzz target uses to choose a variant.
pub fn choice(data: &[u8]) -> Option<(u8, &[u8])> {
    data.split_first().map(|(first, rest)| (*first, rest))
}

pub fn suite(choice: u8) -> CipherSuite {
    match choice & 1 {
        0 => CipherSuite::Aes256Gcm,
        _ => CipherSuite::ChaCha20Poly1305,
    }
}

pub fn root() -> RootKey {
    RootKey::from_bytes(&[3; 32])
}

/// Seals a body into ciphertext and tag.
pub fn seal(sealing: &SealingKey, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    let tag = sealing.seal(Nonce::ZERO, &mut body).unwrap();
    body.extend(tag);
    body
}

pub fn open(sealing: &SealingKey, sealed: &[u8]) -> Vec<u8> {
    let (body, tag) = sealed.split_last_chunk().unwrap();
    let mut body = body.to_vec();
    sealing.open(Nonce::ZERO, &mut body, tag).unwrap();
    body
}

/// Creates the part of a header before the keyring: the fixed fields, `count` as the slot count,
/// and the bytes `slots`.
pub fn frame(suite: CipherSuite, count: u8, slots: &[u8]) -> Vec<u8> {
    let mut frame = b"\x89CLK\r\n\x1a\n\x01\x00".to_vec();
    frame.extend([suite.code(), count]);
    frame.extend([5; 16]);
    frame.extend(1_u64.to_le_bytes());
    frame.extend(slots);
    frame.extend(FORMER_KEYS);
    frame
}

/// Returns a slot that no credential opens.
pub fn slot() -> Vec<u8> {
    let mut slot = vec![0xff, 0x7f, 1, 0, 112, 0, 0, 0];
    slot.extend([0; 112]);
    slot
}

/// Creates a header from the part before the keyring and a keyring body, which is sealed under the
/// root key.
pub fn header_value(suite: CipherSuite, frame: &[u8], body: &[u8]) -> Vec<u8> {
    let salt = [9; 32];
    let (sealing, commitment) = ring_key(suite, &root(), &salt, frame).unwrap();
    let length = (body.len() as u32).to_le_bytes();
    [frame, &salt, &commitment, &length, &seal(&sealing, body)].concat()
}

/// Returns the keyring body of a header whose only slot is [`slot`].
pub fn keyring_body(suite: CipherSuite, value: &[u8]) -> Vec<u8> {
    let (frame, ring) = value.split_at(HEAD + slot().len() + FORMER_KEYS.len());
    let salt = ring.first_chunk().unwrap();
    let (sealing, _) = ring_key(suite, &root(), salt, frame).unwrap();
    open(&sealing, &ring[68..])
}

/// Returns a keyring body with one key of each role: master key 7, name key 8, journal key 9, authority key
/// 10.
pub fn plain_keyring_body() -> Vec<u8> {
    let mut body = 1_u16.to_le_bytes().to_vec();
    body.extend(4_u64.to_le_bytes());
    for (role, number) in (1_u16..).zip(7..11_u8) {
        body.extend(role.to_le_bytes());
        body.extend(1_u64.to_le_bytes());
        body.extend(u32::from(number).to_le_bytes());
        body.extend([0; 4]);
        body.extend([0; 8]);
        body.extend([number; 32]);
    }
    // Neither closings nor extensions.
    body.extend([0; 16]);
    body
}

pub fn keyring() -> Keyring {
    let suite = CipherSuite::Aes256Gcm;
    let value = header_value(suite, &frame(suite, 1, &slot()), &plain_keyring_body());
    let header = Header::parse(&value).unwrap();
    header.open_keyring(&root()).unwrap()
}

/// A credential of any kind with a fixed secret, because key stretching is too slow for fuzzing.
#[derive(Debug)]
pub struct Fixed(pub u16);

impl Credential for Fixed {
    fn kind(&self) -> u16 {
        self.0
    }

    fn name(&self) -> &str {
        "fuzz"
    }

    fn enrol(&self, _: &SlotContext) -> Result<(Vec<u8>, SlotSecret), Error> {
        Ok((Vec::new(), SlotSecret::from_bytes(&[self.0 as u8; 32])))
    }

    fn secret(&self, _: &[u8], _: &SlotContext) -> Result<Option<SlotSecret>, Error> {
        Ok(Some(SlotSecret::from_bytes(&[self.0 as u8; 32])))
    }
}

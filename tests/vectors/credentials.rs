//! Vectors of slots for shares, two factors, devices, services and apps.

use crate::cases::{Files, JSON, file, opens};
use crate::formula::{Key, secret_of_factors, sha256};
use crate::writer::{Slot, World};
use crate::written::Written;

const SET: [u8; 5] = [0xc4, 0xa7, 0x10, 0x0c, 0x5e];

pub fn all() -> Files {
    let mut files = Files::new();
    shares(&mut files);
    two_factors(&mut files);
    devices(&mut files);
    files
}

pub fn refused() -> Files {
    let mut files = Files::new();
    refused_shares(&mut files);
    refused_factors(&mut files);
    files
}

fn slot(world: &World, kind: u16, parameters: Vec<u8>, secret: Key) -> Slot {
    Slot {
        kind,
        id: 0x0103,
        parameters,
        secret,
        wrapped: world.root,
    }
}

/// Returns two shares of a set with the threshold 2. Each polynomial is secret + x · slope.
fn two_shares(secret: &Key) -> String {
    let first = sha256(&[b"share 1"]);
    let second = std::array::from_fn(|n| {
        let slope = first[n] ^ secret[n];
        let doubled = slope << 1 ^ if slope & 0x80 == 0 { 0 } else { 0x1b };
        secret[n] ^ doubled
    });
    let text = |(index, bytes): (u8, Key)| {
        let share = Written {
            index,
            id: SET,
            bytes,
            ..Written::default()
        };
        share.code()
    };
    [(1, first), (2, second)].map(text).join("\n\n")
}

fn shares(files: &mut Files) {
    let parameters = |threshold: u8| [&SET[..], &[threshold, 3]].concat();
    let what = ("slot-shares", "two of three shares of a set");
    opens(files, what, JSON, |world| {
        let secret = world.draw("shared secret");
        world.forget("credential key file");
        world.about("credential shares", two_shares(&secret).as_bytes());
        // A slot of another set comes first, and one of the set with another threshold.
        let mut other = slot(world, 3, [&[0; 5][..], &[2, 3]].concat(), secret);
        other.id = 0x0101;
        let mut another = slot(world, 3, parameters(3), secret);
        another.id = 0x0102;
        world.slots = vec![other, another, slot(world, 3, parameters(2), secret)];
        world.base();
        world.put_inline(JSON);
    });
}

fn refused_shares(files: &mut Files) {
    let what = ("slot-shares-other", "a slot of another set is passed over");
    file(files, what, "WrongKey", |world| {
        let secret = world.draw("shared secret");
        world.forget("credential key file");
        world.about("credential shares", two_shares(&secret).as_bytes());
        world.slots = vec![slot(world, 3, [&[1; 5][..], &[2, 3]].concat(), secret)];
        world.base();
    });
}

fn factors(parts: &[(u16, &[u8])]) -> Vec<u8> {
    let factor = |(kind, own): &(u16, &[u8])| {
        let length = (own.len() as u16).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, own].concat()
    };
    parts.iter().flat_map(factor).collect()
}

/// Returns the parameters and the secret of a passphrase.
fn passphrase(world: &World) -> (Vec<u8>, Key) {
    let salt = world.draw("passphrase salt");
    let parameters = [&[8192_u32, 1, 1].map(u32::to_le_bytes).concat()[..], &salt].concat();
    let secret = crate::formula::argon2id("Köder 7".as_bytes(), &salt, 8192, 1, 1);
    (parameters, secret)
}

fn two_factors(files: &mut Files) {
    let what = ("slot-factors", "a key file and a passphrase together");
    opens(files, what, JSON, |world| {
        let (parameters, second) = passphrase(world);
        let first = world.draw("slot secret");
        world.about("credential passphrase", "Köder 7".as_bytes());
        let stored = factors(&[(2, &[]), (1, &parameters)]);
        world.slots = vec![slot(world, 4, stored, secret_of_factors(&first, &second))];
        world.base();
        world.put_inline(JSON);
    });
}

fn refused_factors(files: &mut Files) {
    for (name, title, cut, order) in [
        (
            "slot-factors-order",
            "two factors in the other order",
            0,
            [1, 2],
        ),
        ("slot-factors-cut", "two factors that end early", 1, [2, 1]),
    ] {
        file(files, (name, title), "WrongKey", |world| {
            let (parameters, second) = passphrase(world);
            let first = world.draw("slot secret");
            world.about("credential passphrase", "Köder 7".as_bytes());
            let own = order.map(|kind| (kind, if kind == 1 { &parameters[..] } else { &[] }));
            let mut stored = factors(&own);
            stored.truncate(stored.len() - cut);
            let secret = secret_of_factors(&first, &second);
            world.slots = vec![slot(world, 4, stored, secret)];
            world.base();
        });
    }
}

/// Slots whose secret a device, a service or an app gives. The vector contains the secret.
fn devices(files: &mut Files) {
    let token = [&[1; 13][..], &[0xab; 48]].concat();
    let kms = [&[1][..], &[0xcd; 184]].concat();
    let transit = [
        &[1][..],
        b"vault:v1:8SDd3WHDOjf7mq69CyCqYjBXAiQQAVZRkFM13ok481zoCmHnSeDX9vyf",
    ]
    .concat();
    let app = [&[15][..], b"com.example.one\x01\x02"].concat();
    for (name, title, kind, parameters) in [
        ("slot-pkcs11", "a key on a PKCS#11 token", 5, token),
        ("slot-aws-kms", "a key of AWS KMS", 6, kms),
        ("slot-transit", "a key in the transit engine", 7, transit),
        ("slot-app", "an app's credential with its name", 0x7001, app),
    ] {
        opens(files, (name, title), JSON, |world| {
            let secret = world.draw("device secret");
            world.forget("credential key file");
            let kind_bytes = u16::to_le_bytes(kind);
            world.about(
                "credential device",
                &[&kind_bytes[..], &secret, &parameters].concat(),
            );
            // An app's slot with another name comes first.
            let mut other = slot(world, kind, b"\x03app\x01\x02".to_vec(), secret);
            other.id = 0x0101;
            world.slots = vec![other, slot(world, kind, parameters, secret)];
            world.base();
            world.put_inline(JSON);
        });
    }
}

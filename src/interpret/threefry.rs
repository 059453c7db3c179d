//! The block cipher threefry2x32 with 20 rounds, straight from the paper (Salmon et al. 2011).

use crate::array::HostArray;

/// Rotation distances of the rounds, repeated every eight.
const ROTATIONS: [u32; 8] = [13, 15, 26, 6, 17, 29, 16, 24];
/// Makes the last word of the key schedule differ from zero for a zero key.
const PARITY: u32 = 0x1BD1_1BDA;

/// Encrypts (x0, x1) with (key0, key1), elementwise.
pub fn threefry(
    key0: &HostArray,
    key1: &HostArray,
    x0: &HostArray,
    x1: &HostArray,
) -> (HostArray, HostArray) {
    let words = [key0, key1, x0, x1].map(|array| array.as_slice::<u32>());
    let (y0, y1) = (0..words[0].len())
        .map(|i| encrypt([words[0][i], words[1][i]], [words[2][i], words[3][i]]).into())
        .unzip();
    (HostArray::new::<u32>(x0.shape(), y0), HostArray::new::<u32>(x0.shape(), y1))
}

fn encrypt(key: [u32; 2], block: [u32; 2]) -> [u32; 2] {
    let schedule = [key[0], key[1], key[0] ^ key[1] ^ PARITY];
    let mut x = [block[0].wrapping_add(key[0]), block[1].wrapping_add(key[1])];
    for round in 0..20 {
        x[0] = x[0].wrapping_add(x[1]);
        x[1] = x[1].rotate_left(ROTATIONS[round % 8]) ^ x[0];
        if round % 4 == 3 {
            let injection = round / 4 + 1;
            x[0] = x[0].wrapping_add(schedule[injection % 3]);
            x[1] = x[1].wrapping_add(schedule[(injection + 1) % 3]).wrapping_add(injection as u32);
        }
    }
    x
}

#[cfg(test)]
mod tests {
    use super::encrypt;

    /// The known answers of the Random123 distribution for threefry2x32 with 20 rounds.
    #[test]
    fn known_answers() {
        let pi = ([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3]);
        for ((key, block), expected) in [
            (([0, 0], [0, 0]), [0x6b200159, 0x99ba4efe]),
            (([u32::MAX; 2], [u32::MAX; 2]), [0x1cb996fc, 0xbb002be7]),
            (pi, [0xc4923a9c, 0x483df7a0]),
        ] {
            assert_eq!(encrypt(key, block), expected);
        }
    }
}

//! threefry2x32 with 20 rounds as a StableHLO function (Salmon et al. 2011).

use crate::array::ArrayType;

use super::text::tensor;

const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];
/// The parity constant of the key schedule.
const PARITY: u32 = 0x1BD1_1BDA;

/// The name of the function for arrays of this shape.
pub(super) fn function_name(array_type: &ArrayType) -> String {
    let sizes: Vec<String> = array_type.shape.iter().map(|size| format!("_{size}")).collect();
    format!("threefry2x32{}", sizes.concat())
}

/// The text of the function (key0, key1, x0, x1) -> (y0, y1).
pub(super) fn function(array_type: &ArrayType) -> String {
    let t = tensor(array_type);
    let mut f = Function { text: String::new(), t: t.clone(), next: 0 };
    let parity = f.constant(PARITY);
    let mixed = f.binary("xor", "%k0", "%k1");
    let key2 = f.binary("xor", &mixed, &parity);
    let keys = ["%k0".to_owned(), "%k1".to_owned(), key2];
    let mut x0 = f.binary("add", "%x0", &keys[0]);
    let mut x1 = f.binary("add", "%x1", &keys[1]);
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x0 = f.binary("add", &x0, &x1);
            let rotated = f.rotate(&x1, rotation);
            x1 = f.binary("xor", &x0, &rotated);
        }
        x0 = f.binary("add", &x0, &keys[(group + 1) % 3]);
        x1 = f.binary("add", &x1, &keys[(group + 2) % 3]);
        let count = f.constant(group as u32 + 1);
        x1 = f.binary("add", &x1, &count);
    }
    format!(
        "  func.func private @{}(%k0: {t}, %k1: {t}, %x0: {t}, %x1: {t}) -> ({t}, {t}) {{\n{}    return {x0}, {x1} : {t}, {t}\n  }}\n",
        function_name(array_type),
        f.text
    )
}

struct Function {
    text: String,
    t: String,
    next: usize,
}

impl Function {
    fn binary(&mut self, op: &str, a: &str, b: &str) -> String {
        let t = self.t.clone();
        self.line(format!("stablehlo.{op} {a}, {b} : {t}"))
    }

    fn rotate(&mut self, x: &str, by: u32) -> String {
        let left = self.constant(by);
        let high = self.binary("shift_left", x, &left);
        let right = self.constant(32 - by);
        let low = self.binary("shift_right_logical", x, &right);
        self.binary("or", &high, &low)
    }

    fn constant(&mut self, value: u32) -> String {
        let t = self.t.clone();
        self.line(format!("stablehlo.constant dense<{value}> : {t}"))
    }

    fn line(&mut self, text: String) -> String {
        let name = format!("%{}", self.next);
        self.next += 1;
        self.text.push_str(&format!("    {name} = {text}\n"));
        name
    }
}

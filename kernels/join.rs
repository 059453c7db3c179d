//! Arrays one behind the other, as one vector: XLA's compiler for cpu computes each element of it behind a choice among all of them, which
//! takes many times as long as to copy them.

use super::call::Call;

pub fn join(call: &mut Call) -> Result<(), String> {
    let parts: Vec<&[f32]> = (0..call.num_operands())
        .map(|index| Ok(call.operand::<f32>(index)?.data))
        .collect::<Result<_, String>>()?;
    let (mut rest, shape) = call.result::<f32>()?;
    if parts.iter().map(|part| part.len()).sum::<usize>() != rest.len() {
        return Err(format!("the parts do not fill {shape:?}"));
    }
    for part in parts {
        let (to, behind) = rest.split_at_mut(part.len());
        to.copy_from_slice(part);
        rest = behind;
    }
    Ok(())
}

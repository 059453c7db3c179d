//! Functions of native environments, called on host arrays.

use std::rc::Rc;

use crate::array::{ArrayType, DType, HostArray};
use crate::ir::{Native, NativeFunction};
use crate::runtime::native::{Stepped, Threads};

use super::shape::transpose;

/// The results. The oracle has no errors of its own, so what the library complains of is a panic.
pub fn run(native: &Native, x: &[Rc<HostArray>]) -> Vec<HostArray> {
    let types: Vec<ArrayType> = x.iter().map(|x| x.array_type()).collect();
    let outputs = native.infer(&types.iter().collect::<Vec<_>>()).expect("checked");
    // In the order of memory.
    let orders = native.input_orders(&types);
    let x: Vec<HostArray> = x.iter().zip(&orders).map(|(x, order)| transpose(x, order)).collect();
    let orders = native.output_orders(&types, &outputs);
    let in_memory = |(output, order): (&ArrayType, &Vec<usize>)| {
        let shape: Vec<usize> = order.iter().map(|&axis| output.shape[axis]).collect();
        HostArray::zeros(&ArrayType::new(output.dtype, shape))
    };
    let mut results: Vec<HostArray> = outputs.iter().zip(&orders).map(in_memory).collect();
    call(native, &x, &mut results).unwrap_or_else(|problem| panic!("{problem}"));
    let back = |(result, order): (HostArray, Vec<usize>)| {
        let mut inverse = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, &axis)| inverse[axis] = place);
        transpose(&result, &inverse)
    };
    results.into_iter().zip(orders).map(back).collect()
}

fn call(native: &Native, x: &[HostArray], results: &mut [HostArray]) -> Result<(), String> {
    let (library, facts, one) = (native.library, native.facts(), Threads(1));
    let params = match x.last() {
        Some(last) if native.is_params(x.len() - 1) => last.as_slice::<f32>(),
        _ => &[],
    };
    match native.function {
        NativeFunction::Reset => {
            results[0] = x[0].clone();
            let words = [x[2].as_slice::<u32>(), x[3].as_slice::<u32>()];
            library.reset(results[0].as_slice_mut::<u8>(), &bytes(&x[1]), words, params)
        }
        NativeFunction::Step => {
            let count = x[1].as_slice::<i32>().len();
            let (mut states, mut rewards) = (x[0].as_slice::<u8>().to_vec(), vec![0.0; count]);
            let mut terminated = vec![0; count];
            let mut truncated = vec![0; if facts.truncates { count } else { 0 }];
            let mut metrics = vec![0.0; count * facts.metrics.len()];
            let stepped = Stepped {
                rewards: &mut rewards,
                terminated: &mut terminated,
                truncated: &mut truncated,
                metrics: &mut metrics,
            };
            let words = facts.random_steps.then(|| [x[2].as_slice::<u32>(), x[3].as_slice::<u32>()]);
            library.step(&mut states, x[1].as_slice::<i32>(), words, params, stepped, one)?;
            let mut results = results.iter_mut();
            let mut next = || results.next().expect("there are as many as were inferred");
            next().as_slice_mut::<u8>().copy_from_slice(&states);
            next().as_slice_mut::<f32>().copy_from_slice(&rewards);
            set_flags(next(), &terminated);
            if facts.truncates {
                set_flags(next(), &truncated);
            }
            if !facts.metrics.is_empty() {
                next().as_slice_mut::<f32>().copy_from_slice(&metrics);
            }
            Ok(())
        }
        NativeFunction::Observe => {
            library.observe(x[0].as_slice::<u8>(), params, results[0].as_slice_mut::<f32>(), one)
        }
        NativeFunction::Mask => {
            let mut allowed = vec![0; results[0].array_type().size()];
            library.mask(x[0].as_slice::<u8>(), params, &mut allowed, one)?;
            set_flags(&mut results[0], &allowed);
            Ok(())
        }
    }
}

/// Flags as bytes.
fn bytes(flags: &HostArray) -> Vec<u8> {
    debug_assert_eq!(flags.dtype(), DType::Bool);
    flags.as_slice::<bool>().iter().map(|&flag| u8::from(flag)).collect()
}

fn set_flags(to: &mut HostArray, flags: &[u8]) {
    to.as_slice_mut::<bool>().iter_mut().zip(flags).for_each(|(to, flag)| *to = *flag != 0);
}

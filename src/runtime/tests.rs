//! The runtime against the cpu plugin.

use std::sync::OnceLock;

use super::*;
use crate::array::{ArrayType, DType, HostArray};

/// One client of two devices, shared by all tests of the process, without a program cache.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| {
        let file = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
        Client::open_with(&file, 2, ProgramCache::disabled()).unwrap()
    })
}

fn compile(module: &str) -> Program {
    client().compile(module, &CompileOptions::default()).unwrap()
}

#[test]
fn adds() {
    let program = compile(
        "func.func @main(%a: tensor<2xf32>, %b: tensor<2xf32>) -> tensor<2xf32> {
            %c = stablehlo.add %a, %b : tensor<2xf32>
            return %c : tensor<2xf32>
        }",
    );
    let a = client().to_device(&HostArray::new(&[2], vec![1f32, 2.0]), 0).unwrap();
    let out = program.run(vec![Arg::Borrow(&a), Arg::Borrow(&a)]).unwrap();
    assert_eq!(out[0].to_host().unwrap(), HostArray::new(&[2], vec![2f32, 4.0]));
}

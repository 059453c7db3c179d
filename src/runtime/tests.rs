//! The runtime against the cpu plugin.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use half::bf16;

use super::plugin::{PluginFile, Source};
use super::*;
use crate::array::{ArrayType, Element, HostArray};

fn cpu_plugin() -> &'static PluginFile {
    static FILE: OnceLock<PluginFile> = OnceLock::new();
    FILE.get_or_init(|| plugin::find(Some(DeviceKind::Cpu), None).unwrap())
}

/// One client of two devices, shared by the tests of the process, without a program cache.
fn client() -> &'static Client {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    CLIENT.get_or_init(|| Client::open_with(cpu_plugin(), 2, ProgramCache::disabled()).unwrap())
}

fn compile(module: &str) -> Program {
    client().compile(module, &CompileOptions::default()).unwrap()
}

fn upload<T: Element>(shape: &[usize], values: &[T]) -> Buffer {
    client().to_device(&HostArray::new(shape, values.to_vec()), 0).unwrap()
}

fn values<T: Element>(buffer: &Buffer) -> Vec<T> {
    buffer.to_host().unwrap().as_slice::<T>().to_vec()
}

/// `out = a + b` on arrays of MLIR type `tensor`; `a` may give its memory to the result.
fn addition(tensor: &str) -> String {
    format!(
        "func.func public @main(%a: {tensor} {{tf.aliasing_output = 0 : i32}}, %b: {tensor}) -> {tensor} {{
            %c = stablehlo.add %a, %b : {tensor}
            return %c : {tensor}
        }}"
    )
}

#[test]
fn every_dtype_reaches_the_device_and_comes_back() {
    fn check<T: Element + PartialEq + std::fmt::Debug>(element: &str, a: [T; 6], b: [T; 6], sum: [T; 6]) {
        let program = compile(&addition(&format!("tensor<2x3x{element}>")));
        let array_type = ArrayType::new(T::DTYPE, [2, 3]);
        assert_eq!(program.input_types(), [array_type.clone(), array_type.clone()]);
        assert_eq!(program.output_types(), [array_type]);
        let results = program.run(vec![upload(&[2, 3], &a).into(), upload(&[2, 3], &b).into()]).unwrap();
        assert_eq!(results[0].to_host().unwrap(), HostArray::new(&[2, 3], sum.to_vec()));
    }
    let (t, f) = (true, false);
    check("i1", [t, t, f, f, t, f], [t, f, t, f, f, f], [t, t, t, f, t, f]);
    check("ui8", [0u8, 1, 2, 3, 4, 255], [1; 6], [1, 2, 3, 4, 5, 0]);
    check("i32", [-1i32, 0, 1, 2, 3, i32::MAX], [1; 6], [0, 1, 2, 3, 4, i32::MIN]);
    check("ui32", [0u32, 1, 2, 3, 4, u32::MAX], [1; 6], [1, 2, 3, 4, 5, 0]);
    check("ui64", [0u64, 1, 2, 3, 1 << 40, u64::MAX], [1; 6], [1, 2, 3, 4, (1 << 40) + 1, 0]);
    check("f32", [0f32, 0.5, -1.5, 2.0, 3.0, 1e30], [1.0; 6], [1.0, 1.5, -0.5, 3.0, 4.0, 1e30]);
    check(
        "f64",
        [0f64, 0.5, -1.5, 2.0, 3.0, 1e300],
        [1e-12; 6],
        [1e-12, 0.5 + 1e-12, -1.5 + 1e-12, 2.0 + 1e-12, 3.0 + 1e-12, 1e300],
    );
    let bf = |numbers: [f32; 6]| numbers.map(bf16::from_f32);
    check("bf16", bf([0.0, 1.0, 2.0, 3.0, 4.0, 1e30]), bf([0.5; 6]), bf([0.5, 1.5, 2.5, 3.5, 4.5, 1e30]));
}

#[test]
fn scalars_and_empty_arrays_are_arrays() {
    let program = compile(&addition("tensor<f32>"));
    let results = program.run(vec![upload(&[], &[1f32]).into(), upload(&[], &[2f32]).into()]).unwrap();
    assert_eq!(results[0].to_host().unwrap(), HostArray::scalar(3f32));

    let program = compile(&addition("tensor<0x4xf32>"));
    let results =
        program.run(vec![upload::<f32>(&[0, 4], &[]).into(), upload::<f32>(&[0, 4], &[]).into()]).unwrap();
    assert_eq!(results[0].to_host().unwrap(), HostArray::new::<f32>(&[0, 4], vec![]));
}

#[test]
fn axes_keep_their_order() {
    let program = compile(
        "func.func @main(%a: tensor<2x3xi32>) -> tensor<3x2xi32> {
            %b = stablehlo.transpose %a, dims = [1, 0] : (tensor<2x3xi32>) -> tensor<3x2xi32>
            return %b : tensor<3x2xi32>
        }",
    );
    let results = program.run(vec![upload(&[2, 3], &[1i32, 2, 3, 4, 5, 6]).into()]).unwrap();
    assert_eq!(results[0].to_host().unwrap(), HostArray::new(&[3, 2], vec![1i32, 4, 2, 5, 3, 6]));
}

#[test]
fn a_donated_argument_gives_its_memory_to_the_result() {
    let program = compile(&addition("tensor<1024xf32>"));
    let (a, b) = (upload(&[1024], &[1f32; 1024]), upload(&[1024], &[2f32; 1024]));
    let address = a.handle().address().unwrap();
    let results = program.run(vec![Arg::Donate(a), Arg::Borrow(&b)]).unwrap();
    assert_eq!(values::<f32>(&results[0]), [3f32; 1024]);
    assert_eq!(results[0].handle().address().unwrap(), address);
}

#[test]
fn a_borrowed_argument_stays_as_it_is() {
    let program = compile(&addition("tensor<1024xf32>"));
    let (a, b) = (upload(&[1024], &[1f32; 1024]), upload(&[1024], &[2f32; 1024]));
    let results = program.run(vec![Arg::Borrow(&a), Arg::Borrow(&b)]).unwrap();
    assert_eq!(values::<f32>(&results[0]), [3f32; 1024]);
    assert_ne!(results[0].handle().address().unwrap(), a.handle().address().unwrap());
    assert_eq!(values::<f32>(&a), [1f32; 1024]);
    // The same buffer may be given twice.
    let twice = program.run(vec![Arg::Borrow(&a), Arg::Borrow(&a)]).unwrap();
    assert_eq!(values::<f32>(&twice[0]), [2f32; 1024]);
}

#[test]
fn the_trip_count_of_a_loop_is_an_argument() {
    let program = compile(
        "func.func @main(%n: tensor<i32>, %x: tensor<ui64>) -> tensor<ui64> {
            %zero = stablehlo.constant dense<0> : tensor<i32>
            %one = stablehlo.constant dense<1> : tensor<i32>
            %r:2 = stablehlo.while(%i = %zero, %y = %x) : tensor<i32>, tensor<ui64>
            cond {
                %go = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
                stablehlo.return %go : tensor<i1>
            } do {
                %j = stablehlo.add %i, %one : tensor<i32>
                %z = stablehlo.add %y, %y : tensor<ui64>
                stablehlo.return %j, %z : tensor<i32>, tensor<ui64>
            }
            return %r#1 : tensor<ui64>
        }",
    );
    for n in [0, 1, 40] {
        let args = vec![upload(&[], &[n]).into(), upload(&[], &[3u64]).into()];
        assert_eq!(values::<u64>(&program.run(args).unwrap()[0]), [3 << n]);
    }
}

#[test]
fn replicas_add_up_across_devices() {
    let module = "func.func @main(%a: tensor<4xf32>) -> tensor<4xf32> {
            %sum = \"stablehlo.all_reduce\"(%a) ({
            ^bb0(%x: tensor<f32>, %y: tensor<f32>):
                %z = stablehlo.add %x, %y : tensor<f32>
                stablehlo.return %z : tensor<f32>
            }) {replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>,
                channel_handle = #stablehlo.channel_handle<handle = 1, type = 1>}
            : (tensor<4xf32>) -> tensor<4xf32>
            return %sum : tensor<4xf32>
        }";
    let options = CompileOptions { num_replicas: 2, ..Default::default() };
    let program = client().compile(module, &options).unwrap();
    let on = |device, value: f32| {
        client().to_device(&HostArray::new(&[4], vec![value; 4]), device).unwrap().into()
    };
    let results = program.run_replicas(vec![vec![on(0, 1.0)], vec![on(1, 10.0)]]).unwrap();
    assert_eq!(values::<f32>(&results[0][0]), [11.0; 4]);
    assert_eq!(values::<f32>(&results[1][0]), [11.0; 4]);

    let too_few = program.run(vec![on(0, 1.0)]).unwrap_err().to_string();
    assert_eq!(too_few, "the program runs on 2 replicas, but arguments for 1 were given");
}

#[test]
fn every_buffer_is_freed_over_many_runs() {
    let client = Client::open_with(cpu_plugin(), 1, ProgramCache::disabled()).unwrap();
    let program = client.compile(&addition("tensor<16xi32>"), &CompileOptions::default()).unwrap();
    let upload = |value| client.to_device(&HostArray::new(&[16], vec![value; 16]), 0).unwrap();
    let (one, mut sum) = (upload(1i32), upload(0i32));
    let live = client.live_objects();
    for _ in 0..1000 {
        // An argument that is donated but not aliased, one that is aliased, results that are not read.
        sum = program.run(vec![Arg::Donate(sum), Arg::Donate(upload(1))]).unwrap().remove(0);
        program.run(vec![Arg::Borrow(&sum), Arg::Borrow(&one)]).unwrap();
    }
    assert_eq!(values::<i32>(&sum), [1000; 16]);
    assert_eq!(client.live_objects(), live);
    drop((one, sum, program));
    assert_eq!(client.live_objects(), 0);
}

/// threefry2x32 with 20 rounds over a counter of four words, 1000 times; the answer is a fixed point of the
/// published algorithm, computed on the host.
#[test]
fn threefry_a_thousand_times_is_bit_exact() {
    let program = compile(&threefry_module());
    let mut expected = [0u32, 0];
    let key = upload(&[2], &[0x13198a2eu32, 0x03707344]);
    let mut counter = upload(&[2], &expected);
    for _ in 0..1000 {
        expected = threefry([0x13198a2e, 0x03707344], expected);
        counter = program.run(vec![Arg::Borrow(&key), Arg::Donate(counter)]).unwrap().remove(0);
    }
    assert_eq!(values::<u32>(&counter), expected);
    // The published test vector of Random123.
    assert_eq!(threefry([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3]), [0xc4923a9c, 0x483df7a0]);
}

const ROTATIONS: [[u32; 4]; 2] = [[13, 15, 26, 6], [17, 29, 16, 24]];

fn threefry(key: [u32; 2], counter: [u32; 2]) -> [u32; 2] {
    let keys = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd11bda];
    let [mut x, mut y] = [counter[0].wrapping_add(keys[0]), counter[1].wrapping_add(keys[1])];
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x = x.wrapping_add(y);
            y = y.rotate_left(rotation) ^ x;
        }
        x = x.wrapping_add(keys[(group + 1) % 3]);
        y = y.wrapping_add(keys[(group + 2) % 3]).wrapping_add(group as u32 + 1);
    }
    [x, y]
}

/// The same as StableHLO: `(key[2], counter[2]) -> counter[2]`.
fn threefry_module() -> String {
    let mut body = String::new();
    let mut count = 0;
    let mut emit = |text: String| {
        count += 1;
        body.push_str(&format!("%v{count} = {text}\n"));
        format!("%v{count}")
    };
    let s = "tensor<ui32>";
    let mut word = |source: &str, index: usize| {
        let end = index + 1;
        let part =
            emit(format!("stablehlo.slice {source} [{index}:{end}] : (tensor<2xui32>) -> tensor<1xui32>"));
        emit(format!("stablehlo.reshape {part} : (tensor<1xui32>) -> {s}"))
    };
    let (k0, k1, c0, c1) = (word("%key", 0), word("%key", 1), word("%counter", 0), word("%counter", 1));
    let constant = |value: u32| format!("stablehlo.constant dense<{value}> : {s}");
    let binary = |op: &str, a: &str, b: &str| format!("stablehlo.{op} {a}, {b} : {s}");
    let mixed = emit(binary("xor", &k0, &k1));
    let parity = emit(constant(0x1bd11bda));
    let keys = [k0, k1, emit(binary("xor", &mixed, &parity))];
    let mut x = emit(binary("add", &c0, &keys[0]));
    let mut y = emit(binary("add", &c1, &keys[1]));
    for group in 0..5 {
        for rotation in ROTATIONS[group % 2] {
            x = emit(binary("add", &x, &y));
            let (left, right) = (emit(constant(rotation)), emit(constant(32 - rotation)));
            let high = emit(binary("shift_left", &y, &left));
            let low = emit(binary("shift_right_logical", &y, &right));
            let rotated = emit(binary("or", &high, &low));
            y = emit(binary("xor", &rotated, &x));
        }
        x = emit(binary("add", &x, &keys[(group + 1) % 3]));
        y = emit(binary("add", &y, &keys[(group + 2) % 3]));
        let number = emit(constant(group as u32 + 1));
        y = emit(binary("add", &y, &number));
    }
    let x = emit(format!("stablehlo.reshape {x} : ({s}) -> tensor<1xui32>"));
    let y = emit(format!("stablehlo.reshape {y} : ({s}) -> tensor<1xui32>"));
    let out = emit(format!(
        "stablehlo.concatenate {x}, {y}, dim = 0 : (tensor<1xui32>, tensor<1xui32>) -> tensor<2xui32>"
    ));
    format!(
        "func.func @main(%key: tensor<2xui32>, %counter: tensor<2xui32> {{tf.aliasing_output = 0 : i32}}) \
         -> tensor<2xui32> {{\n{body}return {out} : tensor<2xui32>\n}}"
    )
}

#[test]
fn xla_s_own_message_is_in_the_error() {
    let module = "func.func @main(%a: tensor<2xf32>) -> tensor<3xf32> {
            %b = stablehlo.add %a, %a : tensor<2xf32> loc(\"src/game.rs\":12:3)
            return %b : tensor<2xf32> loc(\"src/game.rs\":13:3)
        }";
    let message = client().compile(module, &CompileOptions::default()).unwrap_err().to_string();
    assert!(message.starts_with("XLA could not compile the program: "), "{message}");
    assert!(message.contains("src/game.rs\":13:3") || message.contains("src/game.rs:13:3"), "{message}");

    let syntax = client().compile("func.func @main() -> { nonsense", &CompileOptions::default());
    assert!(matches!(syntax, Err(Error::Compile { .. })), "{syntax:?}");
}

#[test]
fn options_of_one_program_reach_xla() {
    let compile_with = |name: &str, value| {
        let overrides = vec![(name.to_string(), value)];
        client().compile(&addition("tensor<f32>"), &CompileOptions { overrides, ..Default::default() })
    };
    compile_with("xla_cpu_enable_fast_math", OptionValue::Bool(true)).unwrap();
    let message = compile_with("xla_no_such_option", OptionValue::Bool(true)).unwrap_err().to_string();
    assert!(message.contains("xla_no_such_option"), "{message}");
}

#[test]
fn wrong_arguments_are_named() {
    let program = compile(&addition("tensor<2xf32>"));
    let fault = |args| program.run(args).unwrap_err().to_string();
    let a = upload(&[2], &[0f32; 2]);
    assert_eq!(fault(vec![Arg::Borrow(&a)]), "the program takes 2 arguments, but 1 were given");
    let wrong = upload(&[2], &[0i32; 2]);
    assert_eq!(
        fault(vec![Arg::Borrow(&a), Arg::Borrow(&wrong)]),
        "argument 1 of the program is f32[2], but i32[2] was given"
    );
    let nowhere = client().to_device(&HostArray::scalar(0f32), 2).unwrap_err().to_string();
    assert_eq!(nowhere, "there is no device 2; the client has 2, counted from 0");
    let options = CompileOptions { num_replicas: 3, ..Default::default() };
    let crowded = client().compile(&addition("tensor<f32>"), &options).unwrap_err().to_string();
    assert!(crowded.starts_with("3 devices were asked for, but plugin "), "{crowded}");
}

#[test]
fn a_kernel_that_fails_keeps_no_other_device_waiting() {
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "runtime::tests::failing_child", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

/// A kernel fails on one of two devices, and the other one waits for it in a sum. In a process of its own, where no other test waits for
/// results.
#[test]
#[ignore = "a child of the test above"]
fn failing_child() {
    let module = "func.func public @main(%a: tensor<2x3xf32>) -> tensor<2x2xf32> {
            %id = stablehlo.replica_id : tensor<ui32>
            %number = stablehlo.convert %id : (tensor<ui32>) -> tensor<i32>
            %b = \"stablehlo.case\"(%number) ({
                %x = stablehlo.constant dense<1.0> : tensor<2x2xf32>
                stablehlo.return %x : tensor<2x2xf32>
            }, {
                %x = stablehlo.custom_call @lockstep_transpose(%a) {api_version = 4 : i32, backend_config = {devices = 2 : i32}}
                    : (tensor<2x3xf32>) -> tensor<2x2xf32>
                stablehlo.return %x : tensor<2x2xf32>
            }) : (tensor<i32>) -> tensor<2x2xf32>
            %c = \"stablehlo.all_reduce\"(%b) <{replica_groups = dense<[[0, 1]]> : tensor<1x2xi64>}> ({
                ^bb0(%left: tensor<f32>, %right: tensor<f32>):
                    %sum = stablehlo.add %left, %right : tensor<f32>
                    stablehlo.return %sum : tensor<f32>
            }) : (tensor<2x2xf32>) -> tensor<2x2xf32>
            return %c : tensor<2x2xf32>
        }";
    let client = Client::open_with(cpu_plugin(), 2, ProgramCache::disabled()).unwrap();
    let program = client.compile(module, &CompileOptions { num_replicas: 2, ..Default::default() }).unwrap();
    let array = HostArray::new(&[2, 3], vec![1f32; 6]);
    let arguments = |device| vec![Arg::Donate(client.to_device(&array, device).unwrap())];
    let results = program.run_replicas((0..2).map(arguments).collect()).unwrap();
    let problem = results[0][0].to_host().unwrap_err().to_string();
    assert_eq!(problem, "x has the shape [2, 3], the result [2, 2]");
}

#[test]
fn a_client_describes_itself() {
    assert_eq!(client().platform(), "cpu");
    assert_eq!(client().devices(), 2);
    assert_eq!(client().device_kind(), "cpu");
    assert_eq!(client().api_version().0, 0);
    let stablehlo = client().attributes().iter().find(|(name, _)| name == "stablehlo_current_version");
    let (_, version) = stablehlo.unwrap();
    assert!(version.starts_with("1.") && version.split('.').count() == 3, "{version}");
}

fn module_for_the_cache() -> String {
    addition("tensor<5xf32>")
}

/// Compiles with a new client whose program cache is `folder`, runs the program, and says where it came from.
fn outcome_with_cache(folder: &Path, options: &CompileOptions) -> CacheOutcome {
    let client = Client::open_with(cpu_plugin(), 2, ProgramCache::at(folder)).unwrap();
    let program = client.compile(&module_for_the_cache(), options).unwrap();
    let array = HostArray::new(&[5], vec![1f32; 5]);
    let arguments = |device| {
        let buffer = || Arg::Donate(client.to_device(&array, device).unwrap());
        vec![buffer(), buffer()]
    };
    let results = program.run_replicas((0..options.num_replicas).map(arguments).collect()).unwrap();
    for replica in results {
        assert_eq!(values::<f32>(&replica[0]), [2f32; 5]);
    }
    program.cache()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn a_second_client_finds_the_program_in_the_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("programs");
    let one = CompileOptions::default();
    assert_eq!(outcome_with_cache(&cache, &one), CacheOutcome::Miss);
    assert_eq!(outcome_with_cache(&cache, &one), CacheOutcome::Hit);
    // Other options are another program.
    let two = CompileOptions { num_replicas: 2, ..Default::default() };
    assert_eq!(outcome_with_cache(&cache, &two), CacheOutcome::Miss);
    assert_eq!(outcome_with_cache(&cache, &two), CacheOutcome::Hit);
    assert_eq!(entries(&cache).len(), 2);
}

#[test]
fn a_broken_entry_is_compiled_again_and_rewritten() {
    let folder = tempfile::tempdir().unwrap();
    let options = CompileOptions::default();
    outcome_with_cache(folder.path(), &options);
    let [path] = &entries(folder.path())[..] else { panic!("one entry") };
    let whole = std::fs::read(path).unwrap();

    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    let mut foreign = whole.clone();
    foreign[0] = b'X';
    for broken in [&whole[..whole.len() / 2], &whole[..10], &[], &flipped[..], &foreign[..]] {
        std::fs::write(path, broken).unwrap();
        assert_eq!(outcome_with_cache(folder.path(), &options), CacheOutcome::Miss);
        assert_eq!(outcome_with_cache(folder.path(), &options), CacheOutcome::Hit);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert_eq!(outcome_with_cache(&file.join("programs"), &CompileOptions::default()), CacheOutcome::Miss);
}

#[test]
fn what_is_no_plugin_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        let file = PluginFile { kind: DeviceKind::Cpu, path: path.into(), source: Source::Flag };
        let message = Client::open(&file, 1).unwrap_err().to_string();
        assert!(!message.contains('\n'), "{message}");
        message
    };
    let missing = folder.path().join("missing.so");
    assert!(open(&missing).contains("missing.so: no such file"));
    assert!(plugin::find(None, Some(&missing)).unwrap_err().to_string().contains("no such file"));

    let text = folder.path().join("text.so");
    std::fs::write(&text, "not a library").unwrap();
    let message = open(&text);
    assert!(message.contains("text.so is not a shared library that can be loaded: "), "{message}");
    assert!(message.contains("file too short") || message.contains("invalid ELF header"), "{message}");
    assert!(open(folder.path()).contains("is not a shared library"));
    assert!(open(&system_library()).contains("does not export GetPjrtApi"));
}

#[test]
fn a_plugin_for_another_kind_of_device_is_refused() {
    let file = PluginFile { kind: DeviceKind::Tpu, source: Source::Flag, ..cpu_plugin().clone() };
    let message = Client::open(&file, 1).unwrap_err().to_string();
    assert!(message.ends_with("xla_cpu_pjrt.so is a plugin for cpu, not for tpu"), "{message}");
    if !DeviceKind::Tpu.is_present() {
        let found = PluginFile { source: Source::Cache, ..file };
        assert_eq!(Client::open(&found, 1).unwrap_err().to_string(), "this machine shows no tpu device");
    }
}

/// A shared library that every process has loaded.
fn system_library() -> PathBuf {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let is_libc =
        |path: &&str| path.contains("/libc.so") || path.contains("/libc-") || path.contains("/libc.musl");
    let path = maps.lines().filter_map(|line| line.split_whitespace().last()).find(is_libc);
    path.unwrap().into()
}

#[test]
fn the_flag_names_the_plugin() {
    let found = plugin::find(None, Some(&cpu_plugin().path)).unwrap();
    assert_eq!((found.kind, found.source), (DeviceKind::Cpu, Source::Flag));
    assert_eq!(found.path, cpu_plugin().path);
}

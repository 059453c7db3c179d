//! Programs for GPUs and TPUs, compiled ahead of time: no device is needed, only the plugin.
//!
//! A test is skipped where its plugin is not found (`lockstep plugin install cuda12` or `tpu` installs it);
//! `LOCKSTEP_REQUIRE_CUDA=1` and `LOCKSTEP_REQUIRE_TPU=1` make that a failure.

use lockstep::envs::builtin;
use lockstep::runtime::{DeviceKind, plugin};
use serde_json::Value;

use crate::common::lockstep;

/// On two of four devices, so that the sum of gradients over devices is compiled, too.
#[test]
fn a_tpu_takes_the_training_programs_of_every_environment() {
    takes_all(DeviceKind::Tpu, "LOCKSTEP_REQUIRE_TPU", "v5e:2x2", "TPU v5 lite", &[]);
}

#[test]
fn a_gpu_takes_the_training_programs_of_every_environment() {
    takes_all(DeviceKind::Cuda, "LOCKSTEP_REQUIRE_CUDA", "h100:2", "NVIDIA H100 80GB HBM3", &[]);
}

/// Such programs have other matrix products and scatters.
#[test]
fn a_gpu_takes_the_deterministic_programs_of_every_environment() {
    let flags = ["--deterministic", "--precision", "bf16"];
    takes_all(DeviceKind::Cuda, "LOCKSTEP_REQUIRE_CUDA", "a100:2", "NVIDIA A100-SXM4-80GB", &flags);
}

/// Two devices of each of two machines, and four of each of four, for which XLA makes one program.
#[test]
fn several_machines_take_the_training_programs() {
    for (kind, required, topology, devices, device_kind) in [
        (DeviceKind::Cuda, "LOCKSTEP_REQUIRE_CUDA", "h100:2x2", 4, "NVIDIA H100 80GB HBM3"),
        (DeviceKind::Tpu, "LOCKSTEP_REQUIRE_TPU", "v5e:4x4", 16, "TPU v5 lite"),
    ] {
        takes(kind, required, (topology, devices), device_kind, &["cartpole"], &[]);
    }
}

fn takes_all(kind: DeviceKind, required: &str, topology: &str, device_kind: &str, flags: &[&str]) {
    let envs: Vec<&str> = builtin().iter().map(|env| env.name).collect();
    takes(kind, required, (topology, 2), device_kind, &envs, flags);
}

fn takes(
    kind: DeviceKind,
    required: &str,
    (topology, devices): (&str, usize),
    device_kind: &str,
    envs: &[&str],
    flags: &[&str],
) {
    let Some(plugin) = plugin::list().into_iter().find(|file| file.kind == kind) else {
        let is_required = std::env::var_os(required).is_some_and(|value| value == "1");
        assert!(!is_required, "{required}=1, but no plugin for {kind} is found");
        crate::common::skip(&format!(
            "ahead of time for {kind}: no plugin is found; `lockstep plugin install` installs one"
        ));
        return;
    };
    let devices = devices.to_string();
    for env in envs {
        let output = lockstep()
            .args(["compile", "--topology", topology, "--devices", &devices, "--json"])
            .args(["--env", env, "--num-envs", "64", "--num-steps", "16"])
            .args(flags)
            .arg("--plugin")
            .arg(&plugin.path)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{env}: {errors}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["device_kind"], device_kind);
        let programs = report["programs"].as_array().unwrap();
        assert_eq!(programs.iter().map(|p| &p["name"]).collect::<Vec<_>>(), ["init", "chunk"]);
        for program in programs {
            println!("{env} {program}");
            assert!(program["bytes"]["arguments"].as_u64().unwrap() > 0, "{program}");
            // The plugin for cuda does not say how long the code is.
            assert!(kind == DeviceKind::Cuda || program["bytes"]["code"].as_u64().unwrap() > 0, "{program}");
        }
    }
}

#[test]
fn a_plugin_without_topologies_says_so_in_one_line() {
    let cpu = plugin::find(Some(DeviceKind::Cpu), None).unwrap();
    for topology in ["v5e:2x2", "h100"] {
        let output = lockstep()
            .args(["compile", "--env", "cartpole", "--topology", topology, "--plugin"])
            .arg(&cpu.path)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.starts_with(&format!("error: there is no topology {topology}: ")), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
    }
}

//! The structs of `include/lockstep_env.h` as C lays them out.

use std::ffi::{c_char, c_void};

/// The version of the interface whose structs stand here.
pub const VERSION: i32 = 1;
/// The function that a library exports.
pub const MAKE: &str = "lockstep_env_make";

pub const TRUNCATES: i32 = 1;
pub const RANDOM_STEPS: i32 = 2;

pub type Make = unsafe extern "C" fn() -> *const Env;
pub type Reset = unsafe extern "C" fn(i64, *const f32, *const u64, *mut c_void) -> i32;
pub type Step = unsafe extern "C" fn(
    i64,
    *const f32,
    *const u64,
    *const i32,
    *mut c_void,
    *mut f32,
    *mut u8,
    *mut u8,
    *mut f32,
) -> i32;
pub type Observe = unsafe extern "C" fn(i64, *const f32, *const c_void, *mut f32) -> i32;
pub type Mask = unsafe extern "C" fn(i64, *const f32, *const c_void, *mut u8) -> i32;
pub type Picture = unsafe extern "C" fn(*const f32, *const c_void, *mut c_char, i64) -> i32;
pub type Message = unsafe extern "C" fn(i32) -> *const c_char;

/// `lockstep_param`.
#[repr(C)]
pub struct Param {
    pub name: *const c_char,
    pub meaning: *const c_char,
    pub value: f32,
    pub least: f32,
    pub most: f32,
}

/// `lockstep_metric`.
#[repr(C)]
pub struct Metric {
    pub name: *const c_char,
    pub meaning: *const c_char,
    pub unit: *const c_char,
    pub aggregate: i32,
}

/// `lockstep_env`.
#[repr(C)]
pub struct Env {
    pub abi: i32,
    pub flags: i32,
    pub name: *const c_char,
    pub summary: *const c_char,
    pub state_size: i64,
    pub num_actions: i64,
    pub obs_rank: i64,
    pub obs_shape: *const i64,
    pub obs_names: *const *const c_char,
    pub action_names: *const *const c_char,
    pub num_params: i64,
    pub params: *const Param,
    pub num_metrics: i64,
    pub metrics: *const Metric,
    pub defaults: *const c_char,
    pub reset: Option<Reset>,
    pub step: Option<Step>,
    pub observe: Option<Observe>,
    pub mask: Option<Mask>,
    pub picture: Option<Picture>,
    pub message: Option<Message>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Sizes and offsets as the C compiler lays out the structs of the header (64 bits).
    #[test]
    fn layouts_are_those_of_the_header() {
        assert_eq!((size_of::<Param>(), size_of::<Metric>(), size_of::<Env>()), (32, 32, 160));
        assert_eq!(offset_of!(Param, value), 16);
        assert_eq!(offset_of!(Metric, aggregate), 24);
        assert_eq!((offset_of!(Env, state_size), offset_of!(Env, reset)), (24, 112));
    }
}

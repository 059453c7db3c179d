//! How XLA calls a kernel: the part of `xla/ffi/api/c_api.h` that is needed, and a safe view of one call.
//!
//! XLA hands a handler one call frame: where the operands and results lie, of which dtype and shape they are, and
//! integers that the program's text gave. A handler returns null, or an error that XLA made (`failure` says when it does not). Before it is used at
//! all, XLA calls it once with an extension that asks for the version of the interface.

use std::any::Any;
use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::all_reduce::LOCAL;
use super::failure::is_failure;
use super::{DEVICES, OPERANDS_OF, RESULTS_OF};

/// The version of the interface whose structs stand here; XLA refuses what it does not know.
const API_VERSION: (c_int, c_int) = (0, 1);
const METADATA_EXTENSION: c_int = 1;
const INVALID_ARGUMENT: c_int = 3;
const STAGE_EXECUTE: c_int = 3;

/// What is registered with XLA: `XLA_FFI_Handler`.
pub type Handler = unsafe extern "C" fn(*mut Frame) -> *mut c_void;

/// A kernel as it is written here; the message says what does not fit.
pub type Kernel = fn(&mut Call) -> Result<(), String>;

/// `XLA_FFI_CallFrame`.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Frame {
    struct_size: usize,
    extension: *mut MetadataExtension,
    api: *const Api,
    context: *const c_void,
    stage: c_int,
    args: List,
    rets: List,
    attrs: Attributes,
    future: *mut c_void,
}

/// `XLA_FFI_Args` and `XLA_FFI_Rets`.
#[derive(Clone, Copy)]
#[repr(C)]
struct List {
    struct_size: usize,
    extension: *const c_void,
    size: i64,
    types: *const c_int,
    buffers: *const *const RawBuffer,
}

/// `XLA_FFI_Attrs`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Attributes {
    struct_size: usize,
    extension: *const c_void,
    size: i64,
    types: *const c_int,
    names: *const *const Text,
    values: *const *const c_void,
}

/// `XLA_FFI_ByteSpan`.
#[repr(C)]
struct Text {
    start: *const u8,
    size: usize,
}

/// `XLA_FFI_Buffer`.
#[repr(C)]
struct RawBuffer {
    struct_size: usize,
    extension: *const c_void,
    dtype: c_int,
    data: *mut c_void,
    rank: i64,
    dims: *const i64,
}

/// `XLA_FFI_Metadata_Extension`, which begins with an `XLA_FFI_Extension_Base`.
#[repr(C)]
struct MetadataExtension {
    struct_size: usize,
    kind: c_int,
    next: *mut MetadataExtension,
    metadata: *mut Metadata,
}

/// `XLA_FFI_Metadata` up to the version.
#[repr(C)]
struct Metadata {
    struct_size: usize,
    version_struct_size: usize,
    version_extension: *const c_void,
    major_version: c_int,
    minor_version: c_int,
}

/// `XLA_FFI_Api` up to its first function.
#[repr(C)]
struct Api {
    struct_size: usize,
    extension: *const c_void,
    version_struct_size: usize,
    version_extension: *const c_void,
    major_version: c_int,
    minor_version: c_int,
    internal: *const c_void,
    error_create: unsafe extern "C" fn(*mut ErrorCreate) -> *mut c_void,
}

/// `XLA_FFI_Error_Create_Args`.
#[repr(C)]
struct ErrorCreate {
    struct_size: usize,
    extension: *const c_void,
    message: *const c_char,
    code: c_int,
}

/// An element type as it lies in memory.
///
/// # Safety
/// `XLA_FFI_DataType` number `NUMBER` is this type, and any bits are a value.
pub unsafe trait Element: Copy + 'static {
    const NUMBER: c_int;
}
// SAFETY: as in the header.
unsafe impl Element for i32 {
    const NUMBER: c_int = 4;
}
// SAFETY: as in the header.
unsafe impl Element for u32 {
    const NUMBER: c_int = 8;
}
// SAFETY: as in the header.
unsafe impl Element for f32 {
    const NUMBER: c_int = 11;
}
// SAFETY: as in the header; a flag is a byte.
unsafe impl Element for Flag {
    const NUMBER: c_int = 1;
}

/// A bool as XLA stores it.
#[derive(Clone, Copy)]
pub struct Flag(u8);

impl Flag {
    pub fn holds(self) -> bool {
        self.0 != 0
    }
}

/// One call of a kernel.
pub struct Call<'a> {
    frame: &'a Frame,
    siblings: usize,
}

/// A call that is a part of another one.
pub struct Part {
    frame: Frame,
    siblings: usize,
}
// SAFETY: what the frame points to stays as it is during the call, and no other part has its results.
unsafe impl Send for Part {}

impl Part {
    pub fn call(&self) -> Call<'_> {
        Call { frame: &self.frame, siblings: self.siblings }
    }
}

/// An array, row-major.
#[derive(Clone, Copy)]
pub struct Array<'a, T> {
    pub data: &'a [T],
    pub shape: &'a [i64],
}

/// An array of any element type, row-major.
#[derive(Clone, Copy)]
pub struct Untyped<'a> {
    data: *mut u8,
    dtype: c_int,
    pub shape: &'a [i64],
}

impl<'a> Untyped<'a> {
    /// Bytes of an element.
    pub fn width(&self) -> Result<usize, String> {
        match self.dtype {
            1 | 2 | 6 => Ok(1),
            3 | 7 | 10 | 16 => Ok(2),
            4 | 8 | 11 => Ok(4),
            5 | 9 | 12 => Ok(8),
            other => Err(format!("an array has the element type {other}")),
        }
    }

    /// The elements, as any type of their width.
    ///
    /// # Safety
    /// The type has this width and any bits are a value of it; nobody writes this array.
    pub unsafe fn elements<T>(&self) -> &'a [T] {
        match size(self.shape) {
            0 => &[],
            // SAFETY: XLA's buffers have their sizes and are aligned; the rest by contract.
            size => unsafe { std::slice::from_raw_parts(self.data.cast(), size) },
        }
    }

    /// The elements, to be written.
    ///
    /// # Safety
    /// As for [`Untyped::elements`]; this array is a result, and nobody else has it.
    pub unsafe fn elements_mut<T>(&mut self) -> &'a mut [T] {
        match size(self.shape) {
            0 => &mut [],
            // SAFETY: as above.
            size => unsafe { std::slice::from_raw_parts_mut(self.data.cast(), size) },
        }
    }
}

impl<'a> Call<'a> {
    /// How many calls are made at a time with this one, itself included.
    pub fn siblings(&self) -> usize {
        self.siblings
    }

    /// The calls that this one is, up to `at_once` of which are made at a time; each has all attributes.
    pub fn parts(&mut self, at_once: usize) -> Result<Vec<Part>, String> {
        let (mut parts, mut operands, mut results) = (Vec::new(), 0, 0);
        while operands < self.frame.args.size {
            let number = parts.len();
            let take = |list: &List, start: &mut i64, kind: &str| {
                let size = i64::from(self.numbered(kind, number)?);
                if size < 1 || *start + size > list.size {
                    return Err(format!("`{kind}{number}` is {size}, and {} are left", list.size - *start));
                }
                // SAFETY: both lists have `list.size` entries.
                let (types, buffers) =
                    unsafe { (list.types.add(*start as usize), list.buffers.add(*start as usize)) };
                *start += size;
                Ok(List { size, types, buffers, ..*list })
            };
            let args = take(&self.frame.args, &mut operands, OPERANDS_OF)?;
            let rets = take(&self.frame.rets, &mut results, RESULTS_OF)?;
            parts.push(Frame { args, rets, ..*self.frame });
        }
        let siblings = at_once.min(parts.len()).max(1);
        Ok(parts.into_iter().map(|frame| Part { frame, siblings }).collect())
    }

    pub fn num_operands(&self) -> usize {
        self.frame.args.size as usize
    }

    /// Operand number `index`.
    pub fn operand<T: Element>(&self, index: usize) -> Result<Array<'a, T>, String> {
        let (data, shape) = self.buffer::<T>("operand", &self.frame.args, index)?;
        let size = size(shape);
        // SAFETY: XLA keeps the operands as they are during the call.
        let data = if size == 0 { &[] } else { unsafe { std::slice::from_raw_parts(data, size) } };
        Ok(Array { data, shape })
    }

    /// The only result: its memory, to be overwritten, and its shape.
    pub fn result<T: Element>(&mut self) -> Result<(&mut [T], &'a [i64]), String> {
        let (data, shape) = self.buffer::<T>("result", &self.frame.rets, 0)?;
        let size = size(shape);
        // SAFETY: nobody else has the result during the call, and it is borrowed from this view of it.
        let data = if size == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(data, size) } };
        Ok((data, shape))
    }

    /// Result number `index`: its memory, to be overwritten.
    pub fn result_at<T: Element>(&mut self, index: usize) -> Result<&mut [T], String> {
        // SAFETY: it is borrowed from this view of the call.
        unsafe { self.result_number(index) }
    }

    /// All results: their memory, to be overwritten.
    pub fn results<T: Element>(&mut self) -> Result<Vec<&mut [T]>, String> {
        // SAFETY: each is asked for once.
        (0..self.frame.rets.size as usize).map(|index| unsafe { self.result_number(index) }).collect()
    }

    /// The two results, of different types: their memory, to be overwritten.
    pub fn two_results<A: Element, B: Element>(&mut self) -> Result<(&mut [A], &mut [B]), String> {
        // SAFETY: each is asked for once.
        unsafe { Ok((self.result_number(0)?, self.result_number(1)?)) }
    }

    /// # Safety
    /// Of each result there is only one reference, which is borrowed from this view of the call.
    unsafe fn result_number<'b, T: Element>(&self, index: usize) -> Result<&'b mut [T], String> {
        let (data, shape) = self.buffer::<T>("result", &self.frame.rets, index)?;
        let size = size(shape);
        // SAFETY: as in `result`; the results do not overlap.
        Ok(if size == 0 { &mut [] } else { unsafe { std::slice::from_raw_parts_mut(data, size) } })
    }

    /// The first `N` results, which hold the first `N` operands to begin with, as in [`Call::result_in_place`].
    pub fn results_in_place<T: Element, const N: usize>(&mut self) -> Result<[&'a mut [T]; N], String> {
        let mut results = [(); N].map(|()| &mut [][..]);
        for (index, result) in results.iter_mut().enumerate() {
            self.buffer::<T>("operand", &self.frame.args, index)?;
            // SAFETY: the type was just checked, and each is asked for once.
            *result = unsafe { self.untyped_in_place(index, index)?.elements_mut() };
        }
        Ok(results)
    }

    /// The only result, which holds operand number `index` to begin with: the program lets them share their memory.
    pub fn result_in_place<T: Element>(&mut self, index: usize) -> Result<(&mut [T], &'a [i64]), String> {
        let (from, given) = self.buffer::<T>("operand", &self.frame.args, index)?;
        let (to, shape) = self.buffer::<T>("result", &self.frame.rets, 0)?;
        if given != shape {
            return Err(format!("the operand has the shape {given:?}, the result {shape:?}"));
        }
        if from != to && size(shape) > 0 {
            // SAFETY: XLA's buffers have their sizes, and are the same or apart.
            unsafe { std::ptr::copy_nonoverlapping(from, to, size(shape)) };
        }
        self.result()
    }

    /// Result number `result`, which holds operand number `index` to begin with, as in [`Call::result_in_place`].
    pub fn untyped_in_place(&mut self, result: usize, index: usize) -> Result<Untyped<'a>, String> {
        let from = self.untyped_operand(index)?;
        let to = untyped("result", &self.frame.rets, result)?;
        if from.dtype != to.dtype || from.shape != to.shape {
            return Err(format!("operand {index} is no array as result {result}"));
        }
        if from.data != to.data {
            let bytes = size(to.shape) * to.width()?;
            // SAFETY: XLA's buffers have their sizes, and are the same or apart.
            unsafe { std::ptr::copy_nonoverlapping(from.data, to.data, bytes) };
        }
        Ok(to)
    }

    /// Result number `index`, of any element type.
    pub fn untyped_result(&self, index: usize) -> Result<Untyped<'a>, String> {
        untyped("result", &self.frame.rets, index)
    }

    /// Operand number `index`, of any element type.
    pub fn untyped_operand(&self, index: usize) -> Result<Untyped<'a>, String> {
        untyped("operand", &self.frame.args, index)
    }

    fn buffer<T: Element>(
        &self,
        what: &str,
        list: &List,
        index: usize,
    ) -> Result<(*mut T, &'a [i64]), String> {
        let Untyped { data, dtype, shape } = untyped(what, list, index)?;
        match dtype == T::NUMBER {
            true => Ok((data.cast(), shape)),
            false => Err(format!("{what} {index} has the element type {dtype}, not {}", T::NUMBER)),
        }
    }

    /// Whether other devices would wait for this one if it left the program now. A sum over devices fails on all of them.
    fn others_wait(&self) -> bool {
        self.attribute(DEVICES).is_ok_and(|devices| devices > 1) && self.attribute(LOCAL).is_err()
    }

    /// Makes all results zero.
    ///
    /// # Safety
    /// Nobody has a reference to one.
    unsafe fn clear_results(&self) {
        for index in 0..self.frame.rets.size as usize {
            if let Ok(result) = self.untyped_result(index)
                && let Ok(width) = result.width()
            {
                // SAFETY: XLA's buffers have their sizes; the rest by contract.
                unsafe { result.data.write_bytes(0, size(result.shape) * width) };
            }
        }
    }

    /// The i32 attribute of that name.
    pub fn attribute(&self, name: &str) -> Result<i32, String> {
        let found = self.attribute_that(|found| found == name.as_bytes());
        found.ok_or_else(|| format!("there is no i32 attribute `{name}`"))
    }

    /// The i32 attribute whose name is that of its kind and a number. (To write the name first takes as long as a layer.)
    fn numbered(&self, kind: &str, number: usize) -> Result<i32, String> {
        let is_it = |found: &[u8]| {
            let digits = found.strip_prefix(kind.as_bytes()).and_then(|rest| str::from_utf8(rest).ok());
            digits.and_then(|digits| digits.parse().ok()) == Some(number)
        };
        self.attribute_that(is_it).ok_or_else(|| format!("there is no i32 attribute `{kind}{number}`"))
    }

    fn attribute_that(&self, is_it: impl Fn(&[u8]) -> bool) -> Option<i32> {
        #[repr(C)]
        struct Scalar {
            dtype: c_int,
            value: *const i32,
        }
        const SCALAR: c_int = 3;
        let attributes = &self.frame.attrs;
        for index in 0..attributes.size as usize {
            // SAFETY: there are `size` names, types and values; a scalar is a dtype and a pointer to its value.
            unsafe {
                let text = &**attributes.names.add(index);
                if !is_it(std::slice::from_raw_parts(text.start, text.size)) {
                    continue;
                }
                if *attributes.types.add(index) == SCALAR {
                    let scalar = &**attributes.values.add(index).cast::<*const Scalar>();
                    if scalar.dtype == i32::NUMBER {
                        return Some(*scalar.value);
                    }
                }
            }
        }
        None
    }
}

fn untyped<'a>(what: &str, list: &List, index: usize) -> Result<Untyped<'a>, String> {
    if index >= list.size as usize {
        return Err(format!("there is no {what} {index}"));
    }
    // SAFETY: the list has `size` pointers to buffers, each with `rank` sizes.
    unsafe {
        let buffer = &**list.buffers.add(index);
        let shape: &[i64] = match buffer.rank {
            0 => &[],
            rank => std::slice::from_raw_parts(buffer.dims, rank as usize),
        };
        Ok(Untyped { data: buffer.data.cast(), dtype: buffer.dtype, shape })
    }
}

fn size(shape: &[i64]) -> usize {
    shape.iter().product::<i64>() as usize
}

/// Answers XLA's call: with the version if that is what it asks for, else by running `kernel`.
///
/// # Safety
/// `frame` is what XLA calls a handler with.
pub unsafe fn answer(frame: *mut Frame, kernel: Kernel) -> *mut c_void {
    // SAFETY: by contract; the extensions are a list that ends in null.
    unsafe {
        let mut extension = (*frame).extension;
        while !extension.is_null() {
            if (*extension).kind == METADATA_EXTENSION {
                let metadata = (*extension).metadata;
                ((*metadata).major_version, (*metadata).minor_version) = API_VERSION;
                return std::ptr::null_mut();
            }
            extension = (*extension).next;
        }
        let frame = &*frame;
        if frame.stage != STAGE_EXECUTE {
            return std::ptr::null_mut();
        }
        // A panic must not unwind into C++.
        let outcome = catch_unwind(AssertUnwindSafe(|| kernel(&mut Call { frame, siblings: 1 })));
        match outcome.unwrap_or_else(|panic| Err(panic_message(&*panic))) {
            Ok(()) => std::ptr::null_mut(),
            Err(message) if (Call { frame, siblings: 1 }).others_wait() => {
                is_failure(Err(message));
                Call { frame, siblings: 1 }.clear_results();
                std::ptr::null_mut()
            }
            Err(message) => {
                let message = CString::new(message.replace('\0', " ")).unwrap_or_default();
                let mut arguments = ErrorCreate {
                    struct_size: size_of::<ErrorCreate>(),
                    extension: std::ptr::null(),
                    message: message.as_ptr(),
                    code: INVALID_ARGUMENT,
                };
                ((*frame.api).error_create)(&mut arguments)
            }
        }
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a kernel panicked: {}", text.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    /// Sizes and offsets as the C compiler lays out the structs of the header (64 bits).
    #[test]
    fn layouts_are_those_of_the_header() {
        assert_eq!(size_of::<List>(), 40);
        assert_eq!(size_of::<Attributes>(), 48);
        assert_eq!(size_of::<RawBuffer>(), 48);
        assert_eq!(offset_of!(Frame, args), 40);
        assert_eq!(offset_of!(Frame, future), 168);
        assert_eq!(offset_of!(Api, error_create), 48);
        assert_eq!(offset_of!(MetadataExtension, metadata), 24);
        assert_eq!(offset_of!(Metadata, major_version), 24);
    }
}

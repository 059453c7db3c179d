//! What the clients of several processes tell each other: XLA's plugins for GPUs know no network of their own before NCCL has one, and leave
//! notes for each other with whoever made the client.
//!
//! Names and values are bytes. A plugin calls from several threads, and waits for a note by asking for it. A name has one value for ever.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::abi;

/// Notes that all processes read.
pub trait Store: Send + Sync {
    /// Leaves a note. The name may have the same value already, and no other.
    ///
    /// # Errors
    /// One line: it has another one, or rank 0 is lost.
    fn put(&self, name: &[u8], value: &[u8]) -> Result<(), String>;

    /// The note of that name, if there is one.
    ///
    /// # Errors
    /// One line: rank 0 is lost.
    fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, String>;
}

/// How long between two looks for a note that is waited for.
const LOOK: Duration = Duration::from_millis(10);

/// `PJRT_Error_Code`.
const DEADLINE_EXCEEDED: c_int = 4;
const NOT_FOUND: c_int = 5;
const INTERNAL: c_int = 13;

/// `PJRT_CallbackError`.
type MakeError = unsafe extern "C" fn(c_int, *const c_char, usize) -> *mut abi::Error;

/// `PJRT_KeyValueGetCallback_Args`.
#[repr(C)]
pub struct Get {
    struct_size: usize,
    extension: *mut c_void,
    key: *const c_char,
    key_size: usize,
    timeout_in_ms: c_int,
    make_error: *const MakeError,
    store: *mut c_void,
    value: *mut c_char,
    value_size: usize,
    deleter: Option<unsafe extern "C" fn(*mut c_char)>,
}

/// `PJRT_KeyValueTryGetCallback_Args`.
#[repr(C)]
pub struct TryGet {
    struct_size: usize,
    extension: *mut c_void,
    key: *const c_char,
    key_size: usize,
    make_error: *const MakeError,
    store: *mut c_void,
    value: *mut c_char,
    value_size: usize,
    deleter: Option<unsafe extern "C" fn(*mut c_char)>,
}

/// `PJRT_KeyValuePutCallback_Args`.
#[repr(C)]
pub struct Put {
    struct_size: usize,
    extension: *mut c_void,
    key: *const c_char,
    key_size: usize,
    value: *const c_char,
    value_size: usize,
    make_error: *const MakeError,
    store: *mut c_void,
}

/// A store as the callbacks are given it.
pub type Given = Arc<dyn Store>;

/// # Safety
/// The plugin's arguments; `store` points to a [`Given`] that lives as long as its client.
pub unsafe extern "C" fn get(args: *mut Get) -> *mut abi::Error {
    // SAFETY: by contract.
    let args = unsafe { &mut *args };
    let patience = Duration::from_millis(u64::try_from(args.timeout_in_ms).unwrap_or(0));
    let begin = Instant::now();
    loop {
        // SAFETY: by contract.
        match unsafe { found(args.store, args.key, args.key_size) } {
            Ok(Some(value)) => {
                (args.value, args.value_size) = handed(&value);
                args.deleter = Some(delete);
                return ptr::null_mut();
            }
            Ok(None) if begin.elapsed() < patience => std::thread::sleep(LOOK),
            // SAFETY: by contract.
            Ok(None) => {
                return unsafe {
                    error(args.make_error, DEADLINE_EXCEEDED, "no process has left it in time")
                };
            }
            // SAFETY: by contract.
            Err(problem) => return unsafe { error(args.make_error, INTERNAL, &problem) },
        }
    }
}

/// # Safety
/// As [`get`].
pub unsafe extern "C" fn try_get(args: *mut TryGet) -> *mut abi::Error {
    // SAFETY: by contract.
    let args = unsafe { &mut *args };
    // SAFETY: by contract.
    match unsafe { found(args.store, args.key, args.key_size) } {
        Ok(Some(value)) => {
            (args.value, args.value_size) = handed(&value);
            args.deleter = Some(delete);
            ptr::null_mut()
        }
        // SAFETY: by contract.
        Ok(None) => unsafe { error(args.make_error, NOT_FOUND, "no process has left it") },
        // SAFETY: by contract.
        Err(problem) => unsafe { error(args.make_error, INTERNAL, &problem) },
    }
}

/// # Safety
/// As [`get`].
pub unsafe extern "C" fn put(args: *mut Put) -> *mut abi::Error {
    // SAFETY: by contract.
    let done = unsafe {
        let args = &*args;
        let store = &*args.store.cast::<Given>();
        store.put(bytes(args.key, args.key_size), bytes(args.value, args.value_size))
    };
    match done {
        Ok(()) => ptr::null_mut(),
        // SAFETY: by contract.
        Err(problem) => unsafe { error((*args).make_error, INTERNAL, &problem) },
    }
}

unsafe fn found(store: *mut c_void, key: *const c_char, size: usize) -> Result<Option<Vec<u8>>, String> {
    // SAFETY: by the contract of the callbacks.
    unsafe { (*store.cast::<Given>()).get(bytes(key, size)) }
}

unsafe fn bytes<'a>(start: *const c_char, size: usize) -> &'a [u8] {
    match size {
        0 => &[],
        // SAFETY: the plugin gives as many bytes as it says.
        _ => unsafe { std::slice::from_raw_parts(start.cast(), size) },
    }
}

unsafe fn error(make: *const MakeError, code: c_int, message: &str) -> *mut abi::Error {
    // SAFETY: the plugin gives a pointer to its function, which copies the message.
    unsafe { (*make)(code, message.as_ptr().cast(), message.len()) }
}

/// Bytes before a value that is handed over: its size, which the deleter is not told.
const HEAD: usize = size_of::<usize>();

/// A value for the plugin, which gives it to [`delete`].
fn handed(value: &[u8]) -> (*mut c_char, usize) {
    let whole: Box<[u8]> = [&value.len().to_ne_bytes()[..], value].concat().into_boxed_slice();
    let start = Box::into_raw(whole).cast::<u8>();
    // SAFETY: the value follows its size.
    (unsafe { start.add(HEAD) }.cast(), value.len())
}

unsafe extern "C" fn delete(value: *mut c_char) {
    // SAFETY: it is what `handed` gave, once.
    unsafe {
        let start = value.cast::<u8>().sub(HEAD);
        let mut size = [0; HEAD];
        ptr::copy_nonoverlapping(start, size.as_mut_ptr(), HEAD);
        let whole = ptr::slice_from_raw_parts_mut(start, HEAD + usize::from_ne_bytes(size));
        drop(Box::from_raw(whole));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Notes(Mutex<HashMap<Vec<u8>, Vec<u8>>>);

    impl Store for Notes {
        fn put(&self, name: &[u8], value: &[u8]) -> Result<(), String> {
            let mut notes = self.0.lock().unwrap();
            let known = notes.entry(name.to_vec()).or_insert_with(|| value.to_vec());
            if known == value { Ok(()) } else { Err("it has another value".into()) }
        }

        fn get(&self, name: &[u8]) -> Result<Option<Vec<u8>>, String> {
            Ok(self.0.lock().unwrap().get(name).cloned())
        }
    }

    /// What a plugin makes of an error: here its code and message, as the address of a leaked text.
    unsafe extern "C" fn make_error(code: c_int, message: *const c_char, size: usize) -> *mut abi::Error {
        let message = String::from_utf8(unsafe { bytes(message, size) }.to_vec()).unwrap();
        Box::into_raw(Box::new(format!("{code}: {message}"))).cast()
    }

    fn outcome(error: *mut abi::Error) -> Result<(), String> {
        if error.is_null() { Ok(()) } else { Err(*unsafe { Box::from_raw(error.cast::<String>()) }) }
    }

    /// A plugin that calls as XLA's do.
    #[derive(Clone, Copy)]
    struct Plugin(*mut c_void);
    unsafe impl Send for Plugin {}

    const MAKE: MakeError = make_error;

    impl Plugin {
        fn put(self, key: &[u8], value: &[u8]) -> Result<(), String> {
            let mut args = Put {
                struct_size: size_of::<Put>(),
                extension: ptr::null_mut(),
                key: key.as_ptr().cast(),
                key_size: key.len(),
                value: value.as_ptr().cast(),
                value_size: value.len(),
                make_error: &MAKE,
                store: self.0,
            };
            outcome(unsafe { put(&mut args) })
        }

        fn get(self, key: &[u8], timeout_in_ms: c_int) -> Result<Vec<u8>, String> {
            let mut args = Get {
                struct_size: size_of::<Get>(),
                extension: ptr::null_mut(),
                key: key.as_ptr().cast(),
                key_size: key.len(),
                timeout_in_ms,
                make_error: &MAKE,
                store: self.0,
                value: ptr::null_mut(),
                value_size: 0,
                deleter: None,
            };
            outcome(unsafe { get(&mut args) })?;
            Ok(taken(args.value, args.value_size, args.deleter))
        }

        fn try_get(self, key: &[u8]) -> Result<Vec<u8>, String> {
            let mut args = TryGet {
                struct_size: size_of::<TryGet>(),
                extension: ptr::null_mut(),
                key: key.as_ptr().cast(),
                key_size: key.len(),
                make_error: &MAKE,
                store: self.0,
                value: ptr::null_mut(),
                value_size: 0,
                deleter: None,
            };
            outcome(unsafe { try_get(&mut args) })?;
            Ok(taken(args.value, args.value_size, args.deleter))
        }
    }

    fn taken(value: *mut c_char, size: usize, delete: Option<unsafe extern "C" fn(*mut c_char)>) -> Vec<u8> {
        let copy = unsafe { bytes(value, size) }.to_vec();
        unsafe { delete.unwrap()(value) };
        copy
    }

    #[test]
    fn a_plugin_puts_waits_and_asks() {
        let store: Box<Given> = Box::new(Arc::new(Notes::default()));
        let plugin = Plugin(ptr::from_ref(&*store).cast_mut().cast());
        let binary = [0u8, 1, 0, 255];
        assert_eq!(plugin.try_get(b"a").unwrap_err(), "5: no process has left it");
        assert_eq!(plugin.get(b"a", 20).unwrap_err(), "4: no process has left it in time");
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(move || {
                        let plugin = plugin;
                        plugin.get(b"a", 10_000)
                    })
                })
                .collect();
            std::thread::sleep(Duration::from_millis(30));
            plugin.put(b"a", &binary).unwrap();
            waiting.into_iter().for_each(|waiting| assert_eq!(waiting.join().unwrap().unwrap(), binary));
        });
        assert_eq!(plugin.try_get(b"a").unwrap(), binary);
        plugin.put(b"a", &binary).unwrap();
        assert_eq!(plugin.put(b"a", b"x").unwrap_err(), "13: it has another value");
        plugin.put(b"", b"").unwrap();
        assert_eq!(plugin.get(b"", 0).unwrap(), b"");
    }

    /// Sizes and offsets as the C compiler lays out the structs of the header (64 bits).
    #[test]
    fn layouts_are_those_of_the_header() {
        use std::mem::offset_of;
        assert_eq!((size_of::<Get>(), offset_of!(Get, make_error), offset_of!(Get, deleter)), (80, 40, 72));
        assert_eq!(
            (size_of::<TryGet>(), offset_of!(TryGet, make_error), offset_of!(TryGet, deleter)),
            (72, 32, 64)
        );
        assert_eq!((size_of::<Put>(), offset_of!(Put, store)), (64, 56));
    }
}

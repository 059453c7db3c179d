//! MPI, for processes that `mpirun` has started: its library is loaded when it is needed, and one function of it is used.
//!
//! Sums must not be left to MPI, which adds in an order of its own: all processes gather what each has, and add that themselves. Two families
//! of libraries are known by the variables that their `mpirun` sets; their handles differ (addresses in Open MPI, numbers in MPICH).

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

/// Calls of several threads, never at once.
const THREAD_SERIALIZED: c_int = 2;
const SUCCESS: c_int = 0;

/// A handle: an address, or a number in its lower half.
type Handle = usize;
type Allgather =
    unsafe extern "C" fn(*const c_void, c_int, Handle, *mut c_void, c_int, Handle, Handle) -> c_int;

/// A job of MPI that this process has joined.
pub struct Mpi {
    allgather: Allgather,
    finalize: unsafe extern "C" fn() -> c_int,
    world: Handle,
    byte: Handle,
    size: usize,
    calling: Mutex<()>,
}

/// The families of libraries: a variable that their `mpirun` sets, and how their files are called.
const FAMILIES: [(&str, &[&str]); 2] = [
    ("OMPI_COMM_WORLD_SIZE", &["libmpi.so.40", "libmpi.so"]),
    ("PMI_SIZE", &["libmpich.so.12", "libmpi.so.12", "libmpi.so"]),
];

impl Mpi {
    /// Joins the job of `count` processes that started this one; all of them do.
    ///
    /// # Errors
    /// One line: there is no such library, or it does not work.
    pub fn join(count: usize) -> Result<Mpi, String> {
        let family = FAMILIES.iter().find(|(variable, _)| std::env::var_os(variable).is_some());
        let (variable, names) = family.ok_or("no mpirun has started this process")?;
        // SAFETY: a library of the system by the name that its package gives it.
        let library = names.iter().find_map(|name| unsafe { Library::new(*name) }.ok());
        let library = Box::leak(Box::new(library.ok_or_else(|| format!("there is no {}", names[0]))?));
        let is_open_mpi = *variable == "OMPI_COMM_WORLD_SIZE";
        // SAFETY: the types are those of the standard (MPI 3, chapters 4, 5, 8) with handles as wide as either family has them; the
        // library is never unloaded.
        unsafe {
            let missing = |error: libloading::Error| format!("{}: {error}", names[0]);
            let (world, byte): (Handle, Handle) = match is_open_mpi {
                true => {
                    let address = |name: &[u8]| library.get::<*mut c_void>(name).map(|symbol| *symbol);
                    let world = address(b"ompi_mpi_comm_world\0").map_err(missing)?;
                    (world as usize, address(b"ompi_mpi_byte\0").map_err(missing)? as usize)
                }
                false => (0x4400_0000, 0x4c00_010d),
            };
            type Init = unsafe extern "C" fn(*mut c_int, *mut c_void, c_int, *mut c_int) -> c_int;
            type Size = unsafe extern "C" fn(Handle, *mut c_int) -> c_int;
            let init = library.get::<Init>(b"MPI_Init_thread\0").map_err(missing)?;
            let size = library.get::<Size>(b"MPI_Comm_size\0").map_err(missing)?;
            let mpi = Mpi {
                allgather: *library.get(b"MPI_Allgather\0").map_err(missing)?,
                finalize: *library.get(b"MPI_Finalize\0").map_err(missing)?,
                world,
                byte,
                size: 0,
                calling: Mutex::new(()),
            };
            let (mut provided, mut known) = (0, 0);
            let done = init(std::ptr::null_mut(), std::ptr::null_mut(), THREAD_SERIALIZED, &mut provided);
            if done != SUCCESS || provided < THREAD_SERIALIZED {
                return Err(format!("MPI_Init_thread gives {done}, and threads of level {provided}"));
            }
            if size(world, &mut known) != SUCCESS || known != count as c_int {
                return Err(format!(
                    "its library knows {known} processes, not {count}: it is another one than that of the mpirun which started them"
                ));
            }
            Ok(Mpi { size: count, ..mpi })
        }
    }

    /// Gives `own` to all processes and takes what they give: of each rank as many bytes.
    ///
    /// # Errors
    /// What MPI says is a number.
    pub fn gather(&self, own: &[u8], all: &mut Vec<Vec<u8>>) -> Result<(), String> {
        let _guard = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        let count = c_int::try_from(own.len()).map_err(|_| "an array of more than 2 GiB".to_owned())?;
        let mut together = vec![0u8; own.len() * self.size];
        // SAFETY: `together` has room for all of them; no other thread is in MPI.
        let done = unsafe {
            let (from, to) = (own.as_ptr().cast(), together.as_mut_ptr().cast());
            (self.allgather)(from, count, self.byte, to, count, self.byte, self.world)
        };
        if done != SUCCESS {
            return Err(format!("MPI_Allgather gives {done}"));
        }
        all.resize(self.size, Vec::new());
        for (rank, part) in all.iter_mut().enumerate() {
            part.clear();
            part.extend_from_slice(&together[rank * own.len()..(rank + 1) * own.len()]);
        }
        Ok(())
    }

    /// Leaves the job, which all processes do at its end; there is nothing to gather after it.
    pub fn leave(&self) {
        let _guard = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: no other thread is in MPI. That it fails would change nothing.
        unsafe { (self.finalize)() };
    }
}

//! Bytes that go to other processes while theirs come, in the thread that waits for them.
//!
//! Each connection gives and takes what it can, one after the other, so that no process waits for another one to read. When none can, the
//! thread looks again for a moment before it sleeps, and lets others have its core meanwhile: most waits are as short as waking a thread
//! takes.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// What comes before the bytes: the number of the exchange, and how many bytes they are.
const HEAD: usize = 8;

/// What goes to one process, and what comes from it.
pub struct Transfer<'a> {
    stream: &'a TcpStream,
    head: [u8; HEAD],
    gives: &'a [u8],
    given: usize,
    their_head: [u8; HEAD],
    takes: &'a mut [u8],
    taken: usize,
}

/// Why bytes did not come.
#[derive(Debug)]
pub enum Fault {
    Lost(io::Error),
    /// Other bytes came than those that were expected.
    Strange,
}

impl<'a> Transfer<'a> {
    /// Gives bytes in exchange `number` over a connection that does not block, and takes as many as there is room for.
    pub fn new(stream: &'a TcpStream, number: u32, gives: &'a [u8], takes: &'a mut [u8]) -> Self {
        let head = head(number, gives.len());
        Transfer { stream, head, gives, given: 0, their_head: [0; HEAD], takes, taken: 0 }
    }

    fn has_given(&self) -> bool {
        self.given == HEAD + self.gives.len()
    }

    fn has_taken(&self) -> bool {
        self.taken == HEAD + self.takes.len()
    }

    /// Gives and takes what the connection can; whether that is anything.
    fn go_on(&mut self) -> Result<bool, Fault> {
        let before = (self.given, self.taken);
        if !self.has_given() {
            let (head, bytes) = (self.given.min(HEAD), self.given.saturating_sub(HEAD));
            let parts = [IoSlice::new(&self.head[head..]), IoSlice::new(&self.gives[bytes..])];
            self.given += done(self.stream.write_vectored(&parts))?;
        }
        if !self.has_taken() {
            let (head, bytes) = (self.taken.min(HEAD), self.taken.saturating_sub(HEAD));
            let (head, bytes) = (&mut self.their_head[head..], &mut self.takes[bytes..]);
            self.taken +=
                done(self.stream.read_vectored(&mut [IoSliceMut::new(head), IoSliceMut::new(bytes)]))?;
            let [a, b, c, d, ..] = self.head;
            let number = u32::from_le_bytes([a, b, c, d]);
            if self.taken >= HEAD && self.their_head != self::head(number, self.takes.len()) {
                return Err(Fault::Strange);
            }
        }
        Ok((self.given, self.taken) != before)
    }

    fn is_done(&self) -> bool {
        self.has_given() && self.has_taken()
    }

    /// What the connection must be able to do for this to go on.
    fn waits_for(&self) -> PollFd<'a> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::OUT, !self.has_given());
        flags.set(PollFlags::IN, !self.has_taken());
        PollFd::new(self.stream, flags)
    }
}

fn head(number: u32, size: usize) -> [u8; HEAD] {
    let mut head = [0; HEAD];
    head[..4].copy_from_slice(&number.to_le_bytes());
    head[4..].copy_from_slice(&(size as u32).to_le_bytes());
    head
}

/// How many bytes a call has moved.
fn done(result: io::Result<usize>) -> Result<usize, Fault> {
    match result {
        Ok(0) => Err(Fault::Lost(io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => Ok(count),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(0),
        Err(error) => Err(Fault::Lost(error)),
    }
}

/// Does all of them, and sleeps when nothing has moved for so long.
///
/// # Errors
/// The number of the first that cannot be done, and why.
pub fn transfer(transfers: &mut [Transfer], awake: Duration) -> Result<(), (usize, Fault)> {
    let mut idle_since = None;
    loop {
        let mut moved = false;
        for (number, transfer) in transfers.iter_mut().enumerate() {
            moved |= transfer.go_on().map_err(|fault| (number, fault))?;
        }
        if transfers.iter().all(Transfer::is_done) {
            return Ok(());
        }
        if moved {
            idle_since = None;
        } else if idle_since.get_or_insert_with(Instant::now).elapsed() < awake {
            std::thread::yield_now();
        } else {
            sleep(transfers).map_err(|error| (0, Fault::Lost(error)))?;
        }
    }
}

/// Sleeps until one of them can go on.
fn sleep(transfers: &[Transfer]) -> io::Result<()> {
    let left = transfers.iter().filter(|transfer| !transfer.is_done());
    let mut waits: Vec<PollFd> = left.map(Transfer::waits_for).collect();
    match poll(&mut waits, None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

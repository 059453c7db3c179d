//! Processes that run programs together: how their devices hear of each other.
//!
//! A [`World`] is this process among others, each connected with each. Where XLA's plugin knows one process only, as on cpu, sums over devices
//! go over these connections ([`kernels::all_reduce`](super::kernels::all_reduce)). All processes call [`World::gather`] and all programs in the
//! same order. What goes over a connection is numbered, so that two processes that have lost each other's step find out.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, PoisonError};

use super::kernels::all_reduce::{Exchange, added, bytes_of};
use super::{Mpi, Processes};

/// Bytes that a socket takes without waiting for its reader.
const AT_ONCE: usize = 1 << 15;

/// This process among those that run programs together.
pub struct World {
    rank: usize,
    processes: Processes,
    /// The number of this process among those on this machine.
    local_rank: usize,
    /// By rank; none to itself.
    peers: Vec<Option<TcpStream>>,
    /// Over which sums go, if it started the processes; else over the connections.
    mpi: Option<Mpi>,
    /// How often there was an exchange.
    count: Mutex<u32>,
    /// Why it has come to an end, if it has.
    fault: Mutex<Option<String>>,
}

impl World {
    /// The process of that rank, with a connection to each of the others, by rank. On this machine it is number `local_rank` of `here`.
    ///
    /// # Errors
    /// A connection that is closed.
    pub fn new(
        rank: usize,
        (local_rank, here): (usize, usize),
        peers: Vec<Option<TcpStream>>,
        mpi: Option<Mpi>,
    ) -> io::Result<World> {
        peers.iter().flatten().try_for_each(|peer| peer.set_nodelay(true))?;
        let processes = Processes { total: peers.len(), here };
        Ok(World { rank, processes, local_rank, peers, mpi, count: Mutex::new(0), fault: Mutex::new(None) })
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn processes(&self) -> Processes {
        self.processes
    }

    /// The first of this machine's GPUs that is this process's own, if each process has so many: where the engine shows it no others,
    /// the first of all.
    pub(super) fn first_device(&self, device_count: usize) -> usize {
        let shown = std::env::var("CUDA_VISIBLE_DEVICES").unwrap_or_default();
        match shown.split(',').filter(|device| !device.is_empty()).count() == device_count {
            true => 0,
            false => self.local_rank * device_count,
        }
    }

    /// Gives bytes to all other processes and takes what they give: of each rank its own, which are equally many.
    ///
    /// # Errors
    /// One line that says which process is lost.
    pub fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, String> {
        let mut all = Vec::new();
        self.swap(&|_| own, &|_| own.len(), &mut all)?;
        Ok(all)
    }

    /// Ends all exchanges, those that wait now too, with that reason. The first reason stays.
    pub fn end(&self, reason: &str) {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| reason.to_owned());
        for peer in self.peers.iter().flatten() {
            let _ = peer.shutdown(Shutdown::Both); // it may be closed already
        }
    }

    /// Leaves the job of MPI, if there is one: all is done.
    pub fn leave(&self) {
        self.mpi.iter().for_each(Mpi::leave);
    }

    /// Whether sums go over MPI, which waits for ever where a process is lost.
    pub fn is_over_mpi(&self) -> bool {
        self.mpi.is_some()
    }

    /// Why there can be no more exchanges, if somebody has said so.
    pub fn fault(&self) -> Option<String> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Exchange for World {
    fn rank(&self) -> usize {
        self.rank
    }

    fn exchange(&self, own: &[u8], all: &mut Vec<Vec<u8>>) -> Result<(), String> {
        match &self.mpi {
            Some(mpi) => mpi.gather(own, all),
            None => self.swap(&|_| own, &|_| own.len(), all),
        }
    }

    fn sum(&self, own: &[f32], size: usize) -> Result<Vec<f32>, String> {
        let few = self.processes.total <= 2 || own.len() * 4 <= AT_ONCE;
        if self.mpi.is_some() || few {
            let mut all = Vec::new();
            self.exchange(bytes_of(own), &mut all)?;
            return added(&all, size);
        }
        self.sum_in_parts(own, size)
    }
}

impl World {
    /// [`Exchange::sum`] of large arrays over many processes: each adds a part of them and gives that to the others, so that a process sends
    /// the arrays twice and not once for every other one. Each number is the same sum.
    fn sum_in_parts(&self, own: &[f32], size: usize) -> Result<Vec<f32>, String> {
        let ranks = self.processes.total;
        let part = |rank: usize| rank * size / ranks..(rank + 1) * size / ranks;
        let parts: Vec<Vec<u8>> = (0..ranks)
            .map(|rank| {
                own.chunks_exact(size).map(|array| bytes_of(&array[part(rank)])).collect::<Vec<_>>().concat()
            })
            .collect();
        let (mut all, own_part) = (Vec::new(), parts[self.rank].len());
        self.swap(&|rank| &parts[rank], &|_| own_part, &mut all)?;
        let sum = added(&all, part(self.rank).len())?;
        let sum = bytes_of(&sum);
        self.swap(&|_| sum, &|rank| part(rank).len() * 4, &mut all)?;
        added(&[all.concat()], size)
    }

    /// Gives each other process some bytes and takes what it gives, which must be as many as are expected of that rank. What is given to
    /// this process itself is among it.
    fn swap<'a>(
        &self,
        give: &(dyn Fn(usize) -> &'a [u8] + Sync),
        expected: &dyn Fn(usize) -> usize,
        all: &mut Vec<Vec<u8>>,
    ) -> Result<(), String> {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.wrapping_add(1);
        all.resize(self.peers.len(), Vec::new());
        let number = *count;
        let head = |size: usize| [number.to_le_bytes(), (size as u32).to_le_bytes()].concat();
        let lost = |rank: usize, error: io::Error| format!("the connection to rank {rank} is lost: {error}");
        let send = || {
            for (rank, peer) in self.others() {
                let (mut peer, message) = (peer, [&head(give(rank).len()), give(rank)].concat());
                peer.write_all(&message).map_err(|error| lost(rank, error))?;
            }
            Ok(())
        };
        let receive = |all: &mut Vec<Vec<u8>>| {
            for (rank, peer) in self.others() {
                let (mut peer, mut theirs, size) = (peer, [0; 8], expected(rank));
                peer.read_exact(&mut theirs).map_err(|error| lost(rank, error))?;
                if theirs != head(size)[..] {
                    return Err(format!(
                        "rank {rank} is at another step than rank {}: the programs differ, which is a fault of lockstep",
                        self.rank
                    ));
                }
                all[rank].resize(size, 0);
                peer.read_exact(&mut all[rank]).map_err(|error| lost(rank, error))?;
            }
            Ok(())
        };
        let done = match self.others().all(|(rank, _)| give(rank).len() <= AT_ONCE) {
            true => send().and_then(|()| receive(all)),
            // Each would wait for the other to read.
            false => std::thread::scope(|scope| {
                let sender = scope.spawn(send);
                let received = receive(all);
                sender.join().expect("sending does not panic").and(received)
            }),
        };
        all[self.rank].clear();
        all[self.rank].extend_from_slice(give(self.rank));
        done.map_err(|error| self.fault().unwrap_or(error))
    }

    /// The connections to the other processes, with their ranks.
    fn others(&self) -> impl Iterator<Item = (usize, &TcpStream)> {
        self.peers.iter().enumerate().filter_map(|(rank, peer)| Some((rank, peer.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// As many worlds as there are ranks, connected over loopback.
    fn worlds(count: usize) -> Vec<World> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut all: Vec<Vec<Option<TcpStream>>> = Vec::new();
        for _ in 0..count {
            // One more, connected with those before it.
            let mut own = Vec::new();
            for peers in &mut all {
                own.push(Some(TcpStream::connect(listener.local_addr().unwrap()).unwrap()));
                peers.push(Some(listener.accept().unwrap().0));
            }
            own.push(None);
            all.push(own);
        }
        let world = |(rank, peers)| World::new(rank, (rank, count), peers, None).unwrap();
        all.into_iter().enumerate().map(world).collect()
    }

    #[test]
    fn each_process_has_what_all_give() {
        for size in [0, 3, AT_ONCE + 1, 1 << 22] {
            let worlds = worlds(3);
            std::thread::scope(|scope| {
                for world in &worlds {
                    scope.spawn(move || {
                        for round in 0..3u8 {
                            let of = |rank: usize| vec![rank as u8 * 10 + round; size];
                            let all = world.gather(&of(world.rank())).unwrap();
                            assert!(
                                all == (0..3).map(of).collect::<Vec<_>>(),
                                "round {round} of {size} bytes"
                            );
                        }
                    });
                }
            });
        }
    }

    #[test]
    fn large_arrays_have_the_sum_of_small_ones() {
        for (size, devices) in [(10_001, 1), (30_000, 2), (8, 3)] {
            let worlds = worlds(3);
            let number = |device: usize, i: usize| ((device * 31 + i) as f32).sin() * 1e3;
            let expected: Vec<f32> = (0..size)
                .map(|i| (0..3 * devices).map(|device| number(device, i)).reduce(|sum, x| sum + x).unwrap())
                .collect();
            std::thread::scope(|scope| {
                for world in &worlds {
                    let expected = &expected;
                    scope.spawn(move || {
                        let own = world.rank() * devices..(world.rank() + 1) * devices;
                        let own: Vec<f32> =
                            own.flat_map(|device| (0..size).map(move |i| number(device, i))).collect();
                        assert!(world.sum(&own, size).unwrap() == *expected, "{size} numbers");
                        assert!(
                            world.sum_in_parts(&own, size).unwrap() == *expected,
                            "{size} numbers in parts"
                        );
                    });
                }
            });
        }
    }

    #[test]
    fn a_process_that_is_lost_or_elsewhere_is_named() {
        let mut both = worlds(2);
        let other = both.pop().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| other.gather(&[1, 2]));
            let error = both[0].gather(&[1]).unwrap_err();
            assert!(error.starts_with("rank 1 is at another step than rank 0"), "{error}");
        });
        drop(other);
        assert!(both[0].gather(&[1]).unwrap_err().starts_with("the connection to rank 1 is lost"));
    }

    #[test]
    fn whoever_waits_hears_why_there_is_an_end() {
        let worlds = worlds(2);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| worlds[0].gather(&[1]));
            std::thread::sleep(std::time::Duration::from_millis(50));
            worlds[0].end("rank 1 is frozen");
            worlds[0].end("something else");
            assert_eq!(waiting.join().unwrap().unwrap_err(), "rank 1 is frozen");
        });
    }
}

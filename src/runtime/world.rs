//! Processes that run programs together: how their devices hear of each other.
//!
//! A [`World`] is this process among others, each connected with each. Where XLA's plugin knows one process only, as on cpu, sums over devices
//! go over these connections ([`kernels::all_reduce`](super::kernels::all_reduce)). All processes call [`World::gather`] and all programs in the
//! same order. What goes over a connection is numbered, so that two processes that have lost each other's step find out.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use super::kernels::all_reduce::{Exchange, add, bytes_of};
use super::transfer::{Fault, Transfer, transfer};
use super::{Mpi, Processes};

/// Up to so many bytes are sent whole to each of many processes, as a second exchange would take longer.
const WHOLE: usize = 1 << 15;

/// How long a thread waits for others without sleeping, where there is a core for each that computes.
const AWAKE: Duration = Duration::from_micros(100);

/// What belongs to one exchange after the other.
#[derive(Default)]
struct Exchanges {
    /// How many there have been.
    count: u32,
    /// What each rank has given in the last one; of this process nothing, except over MPI.
    theirs: Vec<Vec<u8>>,
}

/// This process among those that run programs together.
pub struct World {
    rank: usize,
    processes: Processes,
    /// The number of this process among those on this machine.
    local_rank: usize,
    /// Of the processor.
    cores: usize,
    /// By rank; none to itself.
    peers: Vec<Option<TcpStream>>,
    /// Over which sums go, if it started the processes; else over the connections.
    mpi: Option<Mpi>,
    exchanges: Mutex<Exchanges>,
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
        for peer in peers.iter().flatten() {
            peer.set_nodelay(true)?;
            peer.set_nonblocking(true)?;
        }
        let processes = Processes { total: peers.len(), here };
        let cores = available_parallelism().map_or(1, usize::from);
        Ok(World {
            rank,
            processes,
            local_rank,
            cores,
            peers,
            mpi,
            exchanges: Mutex::default(),
            fault: Mutex::default(),
        })
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
        let mut exchanges = self.exchanges();
        self.swap(&mut exchanges, Duration::ZERO, &|_| own, &|_| own.len())?;
        let mut all = std::mem::take(&mut exchanges.theirs);
        all[self.rank] = own.to_vec();
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

    fn sum(&self, own: &[f32], sum: &mut [f32]) -> Result<(), String> {
        let mut exchanges = self.exchanges();
        if let Some(mpi) = &self.mpi {
            mpi.gather(bytes_of(own), &mut exchanges.theirs)?;
            return add(exchanges.theirs.iter().map(Vec::as_slice), sum);
        }
        let awake = self.awake(own.len() / sum.len().max(1));
        if self.processes.total > 2 && size_of_val(own) > WHOLE {
            return self.sum_in_parts(&mut exchanges, awake, own, sum);
        }
        let own = bytes_of(own);
        self.swap(&mut exchanges, awake, &|_| own, &|_| own.len())?;
        let ranks = exchanges.theirs.iter().enumerate();
        add(ranks.map(|(rank, theirs)| if rank == self.rank { own } else { theirs }), sum)
    }
}

impl World {
    /// [`Exchange::sum`] of large arrays over many processes: each adds a part of them and gives that to the others, so that a process sends
    /// the arrays twice and not once for every other one. Each number is the same sum.
    fn sum_in_parts(
        &self,
        exchanges: &mut Exchanges,
        awake: Duration,
        own: &[f32],
        sum: &mut [f32],
    ) -> Result<(), String> {
        let (size, ranks) = (sum.len(), self.processes.total);
        let part = |rank: usize| rank * size / ranks..(rank + 1) * size / ranks;
        let parts: Vec<Vec<u8>> = (0..ranks)
            .map(|rank| {
                own.chunks_exact(size).map(|array| bytes_of(&array[part(rank)])).collect::<Vec<_>>().concat()
            })
            .collect();
        let own_part = &parts[self.rank];
        self.swap(exchanges, awake, &|rank| &parts[rank], &|_| own_part.len())?;
        let all = exchanges.theirs.iter().enumerate();
        let all = all.map(|(rank, theirs)| if rank == self.rank { own_part } else { theirs });
        add(all.map(Vec::as_slice), &mut sum[part(self.rank)])?;
        let own_sum = bytes_of(&sum[part(self.rank)]);
        self.swap(exchanges, awake, &|_| own_sum, &|rank| part(rank).len() * 4)?;
        let others = exchanges.theirs.iter().enumerate().filter(|(rank, _)| *rank != self.rank);
        others
            .into_iter()
            .try_for_each(|(rank, theirs)| add([theirs.as_slice()].into_iter(), &mut sum[part(rank)]))
    }

    /// Gives each other process some bytes and takes what it gives, which must be as many as are expected of that rank. The thread sleeps
    /// when nothing has moved for as long as it stays `awake`.
    fn swap<'a>(
        &self,
        exchanges: &mut Exchanges,
        awake: Duration,
        give: &dyn Fn(usize) -> &'a [u8],
        expected: &dyn Fn(usize) -> usize,
    ) -> Result<(), String> {
        let Exchanges { count, theirs } = exchanges;
        *count = count.wrapping_add(1);
        theirs.resize(self.peers.len(), Vec::new());
        let (mut ranks, mut transfers) = (Vec::new(), Vec::new());
        for (rank, (peer, theirs)) in self.peers.iter().zip(theirs).enumerate() {
            if let Some(peer) = peer {
                theirs.resize(expected(rank), 0);
                ranks.push(rank);
                transfers.push(Transfer::new(peer, *count, give(rank), theirs));
            }
        }
        let problem = |(number, fault): (usize, Fault)| match fault {
            Fault::Lost(error) => format!("the connection to rank {} is lost: {error}", ranks[number]),
            Fault::Strange => format!(
                "rank {} is at another step than rank {}: the programs differ, which is a fault of lockstep",
                ranks[number], self.rank
            ),
        };
        transfer(&mut transfers, awake).map_err(|fault| self.fault().unwrap_or_else(|| problem(fault)))
    }

    /// How long to wait without sleeping, with so many devices in each process: not where they want the cores.
    fn awake(&self, devices: usize) -> Duration {
        if devices * self.processes.here > self.cores { Duration::ZERO } else { AWAKE }
    }

    fn exchanges(&self) -> MutexGuard<'_, Exchanges> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
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
        for size in [0, 3, WHOLE + 1, 1 << 22] {
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
                        let mut sum = vec![0.0; size];
                        world.sum(&own, &mut sum).unwrap();
                        assert!(sum == *expected, "{size} numbers");
                        sum.fill(0.0);
                        world.sum_in_parts(&mut world.exchanges(), AWAKE, &own, &mut sum).unwrap();
                        assert!(sum == *expected, "{size} numbers in parts");
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

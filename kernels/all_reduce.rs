//! The sum of an array over the devices of several processes, for plugins that know one process only.
//!
//! The devices of this process meet in [`Meeting`]: the last to come exchanges their arrays for those of the other processes, over
//! the [`Exchange`] that somebody has connected, and adds them all in the order of their ranks. So every device of every process has
//! the same bits, those that the devices of a single process would have.
//!
//! A program must bring its calls into one order by data: the lowering gives each the results of the one before it. XLA may otherwise
//! start two of them at once, in one order here and in another one there, and both processes would wait for ever.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use super::call::Call;

/// The i32 attribute of the calls: how many devices of this process call together.
pub const LOCAL: &str = "local";

/// The way to the other processes.
pub trait Exchange: Send + Sync {
    /// The rank of this process among all.
    fn rank(&self) -> usize;

    /// Writes to `sum` the sum, in the order of the ranks, of arrays of its length. Each process has equally many of them, one after the
    /// other in `own`, and all call this equally often.
    ///
    /// # Errors
    /// One line that says which process is lost.
    fn sum(&self, own: &[f32], sum: &mut [f32]) -> Result<(), String>;
}

/// The bytes of numbers.
pub fn bytes_of(numbers: &[f32]) -> &[u8] {
    // SAFETY: f32 has no padding, and bytes need no alignment.
    unsafe { std::slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
}

static EXCHANGE: RwLock<Option<Arc<dyn Exchange>>> = RwLock::new(None);

/// Connects the calls of all programs of this process to the other processes.
pub fn connect(exchange: Arc<dyn Exchange>) {
    *EXCHANGE.write().unwrap_or_else(PoisonError::into_inner) = Some(exchange);
}

fn exchange() -> Result<Arc<dyn Exchange>, String> {
    let connected = EXCHANGE.read().unwrap_or_else(PoisonError::into_inner).clone();
    connected.ok_or_else(|| "this process is not connected to others".into())
}

/// (x f32, replica u32, what must be computed before ...) -> f32, the sum of x over all devices of all processes. `replica` is the
/// number of the device in its process.
pub fn all_reduce(call: &mut Call) -> Result<(), String> {
    static MEETING: OnceLock<Meeting> = OnceLock::new();
    let own = call.operand::<f32>(0)?.data;
    let replica = call.operand::<u32>(1)?.data.first().copied().unwrap_or(0) as usize;
    let devices = call.attribute(LOCAL)?.max(1) as usize;
    let (sum, _) = call.result::<f32>()?;
    MEETING.get_or_init(Meeting::default).sum(&*exchange()?, devices, replica, own, sum)
}

/// (replica u32) -> u32, the number of the device among those of all processes.
pub fn replica_id(call: &mut Call) -> Result<(), String> {
    let replica = call.operand::<u32>(0)?.data.first().copied().unwrap_or(0);
    let first = exchange()?.rank() as u32 * call.attribute(LOCAL)?.max(1) as u32;
    let (id, _) = call.result::<u32>()?;
    id[0] = first + replica;
    Ok(())
}

/// (x of any type, what must be computed before ...) -> x, in its place.
pub fn after(call: &mut Call) -> Result<(), String> {
    call.untyped_in_place(0, 0).map(drop)
}

/// Where the devices of a process wait for each other.
#[derive(Default)]
struct Meeting {
    state: Mutex<State>,
    changed: Condvar,
}

/// A round begins when the first device comes and ends when the last one has taken the sum.
#[derive(Default)]
struct State {
    round: u64,
    arrived: usize,
    left: usize,
    /// The arrays of the devices of this process, one after the other.
    own: Vec<f32>,
    /// Of the round that has come to its sum, or why it has not.
    sum: Vec<f32>,
    fault: Option<String>,
}

impl Meeting {
    fn sum(
        &self,
        exchange: &dyn Exchange,
        devices: usize,
        replica: usize,
        own: &[f32],
        sum: &mut [f32],
    ) -> Result<(), String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.left > 0 {
            state = self.wait(state); // the round before is not over
        }
        if state.arrived == 0 {
            state.own.clear();
            state.own.resize(own.len() * devices, 0.0);
        }
        let place = replica * own.len()..(replica + 1) * own.len();
        state.own.get_mut(place).ok_or("a device brings another shape than the others")?.copy_from_slice(own);
        state.arrived += 1;
        let round = state.round;
        if state.arrived == devices {
            let State { own: all, sum, fault, .. } = &mut *state;
            sum.resize(own.len(), 0.0);
            *fault = exchange.sum(all, sum).err();
            (state.arrived, state.left, state.round) = (0, devices, round + 1);
            self.changed.notify_all();
        } else {
            while state.round == round {
                state = self.wait(state);
            }
        }
        let result = match &state.fault {
            None => {
                sum.copy_from_slice(&state.sum);
                Ok(())
            }
            Some(fault) => Err(fault.clone()),
        };
        state.left -= 1;
        if state.left == 0 {
            self.changed.notify_all();
        }
        result
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes to `sum` the sum of arrays of its length, which lie one after the other in the bytes of each rank.
///
/// # Errors
/// One line: the bytes of a rank are no such arrays.
pub fn add<'a>(ranks: impl Iterator<Item = &'a [u8]>, sum: &mut [f32]) -> Result<(), String> {
    let size = size_of_val(sum).max(1);
    let mut is_first = true;
    for (rank, bytes) in ranks.enumerate() {
        if bytes.len() % size != 0 {
            return Err(format!(
                "rank {rank} gives {} bytes for arrays of {} numbers",
                bytes.len(),
                sum.len()
            ));
        }
        for array in bytes.chunks_exact(size) {
            let (numbers, _) = array.as_chunks::<4>();
            let numbers = numbers.iter().map(|number| f32::from_ne_bytes(*number));
            match std::mem::replace(&mut is_first, false) {
                true => sum.iter_mut().zip(numbers).for_each(|(sum, x)| *sum = x),
                false => sum.iter_mut().zip(numbers).for_each(|(sum, x)| *sum += x),
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two processes in one: what each gives goes to the other.
    struct Pair {
        rank: usize,
        gives: Mutex<std::sync::mpsc::Sender<Vec<u8>>>,
        takes: Mutex<std::sync::mpsc::Receiver<Vec<u8>>>,
    }

    impl Exchange for Pair {
        fn rank(&self) -> usize {
            self.rank
        }

        fn sum(&self, own: &[f32], sum: &mut [f32]) -> Result<(), String> {
            let own = bytes_of(own);
            self.gives.lock().unwrap().send(own.to_vec()).map_err(|_| "the other one has gone")?;
            let other = self.takes.lock().unwrap().recv().map_err(|_| "the other one has gone")?;
            let all = if self.rank == 0 { [own, &other] } else { [&other, own] };
            add(all.into_iter(), sum)
        }
    }

    fn pair() -> [Pair; 2] {
        let ((to_one, at_one), (to_zero, at_zero)) = (std::sync::mpsc::channel(), std::sync::mpsc::channel());
        [(0, to_one, at_zero), (1, to_zero, at_one)].map(|(rank, gives, takes)| Pair {
            rank,
            gives: Mutex::new(gives),
            takes: Mutex::new(takes),
        })
    }

    /// What each of `2 * devices` devices has after some rounds.
    fn sums(devices: usize, rounds: usize) -> Vec<Vec<f32>> {
        let number =
            |device: usize, round: usize, i: usize| ((device * 7 + round * 3 + i) as f32).sin() * 1e3;
        let pair = pair();
        let meetings = [Meeting::default(), Meeting::default()];
        let mut results = vec![Vec::new(); 2 * devices];
        std::thread::scope(|scope| {
            for (device, result) in results.iter_mut().enumerate() {
                let (process, replica) = (device / devices, device % devices);
                let (exchange, meeting) = (&pair[process], &meetings[process]);
                scope.spawn(move || {
                    for round in 0..rounds {
                        let own: Vec<f32> = (0..round % 5).map(|i| number(device, round, i)).collect();
                        let mut sum = vec![0.0; own.len()];
                        meeting.sum(exchange, devices, replica, &own, &mut sum).unwrap();
                        let expected = (0..own.len()).map(|i| {
                            let numbers = (0..2 * devices).map(|device| number(device, round, i));
                            numbers.reduce(|sum, x| sum + x).unwrap()
                        });
                        assert_eq!(sum, expected.collect::<Vec<_>>(), "round {round}");
                        result.extend(sum);
                    }
                });
            }
        });
        results
    }

    #[test]
    fn all_devices_of_two_processes_have_the_sum_in_the_order_of_ranks() {
        for devices in [1, 2, 3] {
            let results = sums(devices, 200);
            assert!(results.iter().all(|result| !result.is_empty() && *result == results[0]));
        }
    }

    #[test]
    fn a_process_that_has_gone_is_an_error_for_all_devices() {
        let [one, other] = pair();
        drop(other);
        let meeting = Meeting::default();
        std::thread::scope(|scope| {
            for replica in 0..2 {
                let (one, meeting) = (&one, &meeting);
                scope.spawn(move || {
                    let mut sum = [0.0; 3];
                    let error = meeting.sum(one, 2, replica, &[1.0; 3], &mut sum).unwrap_err();
                    assert_eq!(error, "the other one has gone");
                });
            }
        });
    }
}

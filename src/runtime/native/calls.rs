//! The functions of a library over many environments: in parts if that is worth more threads, with results that are checked.

use std::ffi::{c_char, c_void};
use std::ops::Range;
use std::ptr::null;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::{Library, abi, text};

/// Nanoseconds of work from which on another thread is worth its start.
const WORTH_A_THREAD: u64 = 50_000;

/// The functions, and how long each takes.
pub struct Functions {
    reset: abi::Reset,
    step: abi::Step,
    observe: abi::Observe,
    mask: Option<abi::Mask>,
    picture: Option<abi::Picture>,
    message: Option<abi::Message>,
    /// Picoseconds of one environment in the last call of `step`, of `observe` and of `mask`.
    costs: [AtomicU64; 3],
}

impl Functions {
    /// # Errors
    /// A function that every environment has is missing.
    pub fn of(env: &abi::Env) -> Result<Functions, String> {
        let missing = |name: &str| format!("the function {name} is NULL; every environment needs it");
        Ok(Functions {
            reset: env.reset.ok_or_else(|| missing("reset"))?,
            step: env.step.ok_or_else(|| missing("step"))?,
            observe: env.observe.ok_or_else(|| missing("observe"))?,
            mask: env.mask,
            picture: env.picture,
            message: env.message,
            costs: Default::default(),
        })
    }
}

/// How many threads a call may use.
#[derive(Clone, Copy, Debug)]
pub struct Threads(pub usize);

/// What steps give. Each has the rows of all environments.
pub struct Stepped<'a> {
    pub rewards: &'a mut [f32],
    pub terminated: &'a mut [u8],
    /// Empty if the library never cuts off.
    pub truncated: &'a mut [u8],
    pub metrics: &'a mut [f32],
}

impl Stepped<'_> {
    /// The same arrays, lent.
    pub fn lend(&mut self) -> Stepped<'_> {
        Stepped {
            rewards: self.rewards,
            terminated: self.terminated,
            truncated: self.truncated,
            metrics: self.metrics,
        }
    }

    /// What is told where there is no library: every episode is over, so that no loop waits for its end.
    pub fn end(&mut self) {
        self.rewards.fill(0.0);
        self.terminated.fill(1);
        self.truncated.fill(0);
        self.metrics.fill(0.0);
    }
}

/// The place of an array whose rows different threads write.
struct Rows<T>(*mut T);

impl<T> Clone for Rows<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Rows<T> {}

// SAFETY: each thread has rows of its own: those of the environments that `in_parts` gives it.
unsafe impl<T: Send> Send for Rows<T> {}
unsafe impl<T: Send> Sync for Rows<T> {}

impl<T> Rows<T> {
    fn of(rows: &mut [T]) -> Rows<T> {
        Rows(rows.as_mut_ptr())
    }

    /// The rows of these environments, so wide.
    ///
    /// # Safety
    /// They are there, and nobody else has them.
    unsafe fn part<'a>(self, range: &Range<usize>, width: usize) -> &'a mut [T] {
        // SAFETY: by contract.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(range.start * width), range.len() * width) }
    }
}

impl Library {
    /// Writes a first state for each environment that is `chosen`; the others stay. `words` are the low and the high halves of
    /// the seeds, `params` a row for all environments or one for each.
    ///
    /// # Errors
    /// What the library says.
    pub fn reset(
        &self,
        states: &mut [u8],
        chosen: &[u8],
        words: [&[u32]; 2],
        params: &[f32],
    ) -> Result<(), String> {
        let size = self.facts.state_size;
        let rows = Rows::of(states);
        let mut start = 0;
        while let Some(first) = chosen[start..].iter().position(|flag| *flag != 0) {
            let first = start + first;
            let count = chosen[first..].iter().take_while(|flag| **flag != 0).count();
            start = first + count;
            let seeds = seeds(words, first..start);
            self.by_params(first..start, params, |range, params| {
                // SAFETY: this is the only thread; the range is within the states.
                let states = unsafe { rows.part(&range, size) };
                states.fill(0);
                let seeds = &seeds[range.start - first..];
                let count = range.len() as i64;
                // SAFETY: all arrays have the rows of so many environments, as the header wants them.
                unsafe { (self.functions.reset)(count, params, seeds.as_ptr(), states.as_mut_ptr().cast()) }
            })
            .map_err(|code| self.failed("reset", code))?;
        }
        Ok(())
    }

    /// One step of each environment, in place. `words` are not read unless steps are random.
    ///
    /// # Errors
    /// What the library says; a reward or metric that is not finite.
    pub fn step(
        &self,
        states: &mut [u8],
        actions: &[i32],
        words: Option<[&[u32]; 2]>,
        params: &[f32],
        results: Stepped,
        threads: Threads,
    ) -> Result<(), String> {
        let Stepped { rewards, terminated, truncated, metrics } = results;
        let (size, count, truncates) = (self.facts.state_size, actions.len(), !truncated.is_empty());
        let width = self.facts.metrics.len();
        let all = (Rows::of(states), Rows::of(rewards), Rows::of(metrics));
        let flags = (Rows::of(terminated), Rows::of(truncated));
        self.in_parts(0, count, threads, |part| {
            let ((states, rewards, metrics), (terminated, truncated)) = (all, flags);
            // SAFETY: no other thread has this part.
            let (rewards, metrics) = unsafe { (rewards.part(&part, 1), metrics.part(&part, width)) };
            let terminated = unsafe { terminated.part(&part, 1) };
            let truncated = if truncates { unsafe { truncated.part(&part, 1) } } else { &mut [] };
            rewards.fill(0.0);
            metrics.fill(0.0);
            terminated.fill(0);
            truncated.fill(0);
            let seeds = words.map(|words| seeds(words, part.clone()));
            self.by_params(part.clone(), params, |range, params| {
                let at = range.start - part.start;
                let seeds = seeds.as_ref().map_or(null(), |seeds| seeds[at..].as_ptr());
                let cut = if truncates { truncated[at..].as_mut_ptr() } else { std::ptr::null_mut() };
                // SAFETY: as above; all arrays have the rows of so many environments, as the header wants them.
                unsafe {
                    (self.functions.step)(
                        range.len() as i64,
                        params,
                        seeds,
                        actions[range.start..].as_ptr(),
                        states.part(&range, size).as_mut_ptr().cast(),
                        rewards[at..].as_mut_ptr(),
                        terminated[at..].as_mut_ptr(),
                        cut,
                        metrics[at * width..].as_mut_ptr(),
                    )
                }
            })
            .map_err(|code| self.failed("step", code))?;
            as_flags(terminated);
            as_flags(truncated);
            self.finite("step", "reward", rewards, 1, part.start)?;
            self.finite("step", "metric", metrics, width, part.start)
        })
    }

    /// What is seen of each state.
    ///
    /// # Errors
    /// What the library says; a number that is not finite.
    pub fn observe(
        &self,
        states: &[u8],
        params: &[f32],
        obs: &mut [f32],
        threads: Threads,
    ) -> Result<(), String> {
        let (size, width) = (self.facts.state_size, self.facts.obs_size());
        let rows = Rows::of(obs);
        self.in_parts(1, states.len() / size, threads, |part| {
            // SAFETY: no other thread has this part.
            let obs = unsafe { { rows }.part(&part, width) };
            self.by_params(part.clone(), params, |range, params| {
                let states = states[range.start * size..].as_ptr().cast::<c_void>();
                let obs = obs[(range.start - part.start) * width..].as_mut_ptr();
                // SAFETY: all arrays have the rows of so many environments, as the header wants them.
                unsafe { (self.functions.observe)(range.len() as i64, params, states, obs) }
            })
            .map_err(|code| self.failed("observe", code))?;
            self.finite("observe", "number", obs, width, part.start)
        })
    }

    /// Which actions are allowed in each state.
    ///
    /// # Errors
    /// What the library says; it has no masks.
    pub fn mask(
        &self,
        states: &[u8],
        params: &[f32],
        allowed: &mut [u8],
        threads: Threads,
    ) -> Result<(), String> {
        let (size, width) = (self.facts.state_size, self.facts.num_actions);
        let mask = self.functions.mask.ok_or_else(|| self.error("it has no function mask"))?;
        let rows = Rows::of(allowed);
        self.in_parts(2, states.len() / size, threads, |part| {
            // SAFETY: no other thread has this part.
            let allowed = unsafe { { rows }.part(&part, width) };
            allowed.fill(0);
            self.by_params(part.clone(), params, |range, params| {
                let states = states[range.start * size..].as_ptr().cast::<c_void>();
                let allowed = allowed[(range.start - part.start) * width..].as_mut_ptr();
                // SAFETY: as above.
                unsafe { mask(range.len() as i64, params, states, allowed) }
            })
            .map_err(|code| self.failed("mask", code))?;
            as_flags(allowed);
            match allowed.chunks(width).position(|row| !row.contains(&1)) {
                Some(row) => {
                    let env = part.start + row;
                    Err(self
                        .error(format!("mask allows no action in environment {env}; one must be allowed")))
                }
                None => Ok(()),
            }
        })
    }

    /// A state in lines of text, if the library draws.
    ///
    /// # Errors
    /// What the library says.
    pub fn picture(&self, state: &[u8], params: &[f32]) -> Result<Option<String>, String> {
        const CAPACITY: usize = 1 << 16;
        let Some(picture) = self.functions.picture else { return Ok(None) };
        let mut buffer = vec![0u8; CAPACITY];
        let (at, state) = (buffer.as_mut_ptr().cast::<c_char>(), state.as_ptr().cast::<c_void>());
        // SAFETY: the state has its size, the buffer so many bytes.
        let code = unsafe { picture(params.as_ptr(), state, at, CAPACITY as i64) };
        if code != 0 {
            return Err(self.failed("picture", code));
        }
        let end = buffer.iter().position(|byte| *byte == 0).unwrap_or(CAPACITY);
        Ok(Some(String::from_utf8_lossy(&buffer[..end]).into_owned()))
    }

    /// Tries every function on one environment: what a state is depends on the arguments alone, and all numbers are written.
    pub(super) fn try_out(&self) -> Result<(), String> {
        let params: Vec<f32> = self.facts.params.iter().map(|param| param.value).collect();
        let [one, again] = [self.two_states(&params)?, self.two_states(&params)?];
        if one != again {
            let problem =
                "the same seeds and actions give other states; a state may depend on the arguments alone";
            return Err(self.error(problem));
        }
        for state in &one {
            let mut obs = vec![f32::NAN; self.facts.obs_size()];
            self.observe(state, &params, &mut obs, Threads(1))?;
            if self.facts.has_mask {
                self.mask(state, &params, &mut vec![0; self.facts.num_actions], Threads(1))?;
            }
        }
        self.picture(&one[0], &params).map(drop)
    }

    /// A first state and the one after it.
    fn two_states(&self, params: &[f32]) -> Result<[Vec<u8>; 2], String> {
        // States are aligned as XLA aligns them.
        let mut memory = vec![0u128; self.facts.state_size.div_ceil(16)];
        // SAFETY: the bytes of numbers are bytes.
        let bytes =
            unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast::<u8>(), memory.len() * 16) };
        let state = &mut bytes[..self.facts.state_size];
        let words: [&[u32]; 2] = [&[7], &[11]];
        self.reset(state, &[1], words, params)?;
        let first = state.to_vec();
        let mut truncated = vec![0; usize::from(self.facts.truncates)];
        let results = Stepped {
            rewards: &mut [0.0],
            terminated: &mut [0],
            truncated: &mut truncated,
            metrics: &mut vec![0.0; self.facts.metrics.len()],
        };
        let words = self.facts.random_steps.then_some(words);
        self.step(state, &[0], words, params, results, Threads(1))?;
        Ok([first, state.to_vec()])
    }

    /// Works on the environments 0 to `count`, in so many parts as that is worth threads. `which` of the costs is meant.
    fn in_parts(
        &self,
        which: usize,
        count: usize,
        Threads(threads): Threads,
        work: impl Fn(Range<usize>) -> Result<(), String> + Sync,
    ) -> Result<(), String> {
        let cost = &self.functions.costs[which];
        let expected = cost.load(Ordering::Relaxed).saturating_mul(count as u64) / 1000;
        let parts = ((expected / WORTH_A_THREAD) as usize).clamp(1, threads.max(1)).min(count.max(1));
        let size = count.div_ceil(parts).max(1);
        let timed = |range: Range<usize>| {
            let (begin, environments) = (Instant::now(), range.len().max(1) as u128);
            let outcome = work(range);
            let picoseconds = begin.elapsed().as_nanos() * 1000 / environments;
            cost.store(u64::try_from(picoseconds).unwrap_or(u64::MAX), Ordering::Relaxed);
            outcome
        };
        if parts == 1 {
            return timed(0..count);
        }
        std::thread::scope(|scope| {
            let work = &work;
            let part = |start: usize| start..(start + size).min(count);
            let others: Vec<_> =
                (size..count).step_by(size).map(|start| scope.spawn(move || work(part(start)))).collect();
            let own = timed(part(0));
            let joined = others.into_iter().map(|other| {
                other.join().unwrap_or_else(|_| Err(self.error("a thread of its functions panicked")))
            });
            joined.fold(own, Result::and)
        })
    }

    /// Calls a function for environments whose parameters are the same, one group after the other.
    fn by_params(
        &self,
        range: Range<usize>,
        params: &[f32],
        mut call: impl FnMut(Range<usize>, *const f32) -> i32,
    ) -> Result<(), i32> {
        let width = self.facts.params.len();
        if params.len() == width {
            return done(call(range, params.as_ptr()));
        }
        let row = |env: usize| &params[env * width..][..width];
        let mut start = range.start;
        while start < range.end {
            let same = |&env: &usize| row(env) == row(start);
            let end = start + (start..range.end).take_while(same).count().max(1);
            done(call(start..end, row(start).as_ptr()))?;
            start = end;
        }
        Ok(())
    }

    fn failed(&self, function: &str, code: i32) -> String {
        // SAFETY: it takes any number.
        let words = self.functions.message.and_then(|message| text(unsafe { message(code) }));
        match words {
            Some(words) => self.error(format!("{function} failed: {words} (error {code})")),
            None => self.error(format!("{function} failed with error {code}")),
        }
    }

    /// Says which number is not finite; `width` of them belong to an environment, the first to that number.
    fn finite(
        &self,
        function: &str,
        what: &str,
        numbers: &[f32],
        width: usize,
        first: usize,
    ) -> Result<(), String> {
        if !numbers.iter().fold(false, |any, number| any | !number.is_finite()) {
            return Ok(());
        }
        let at = numbers.iter().position(|number| !number.is_finite()).unwrap_or_default();
        let (env, number, value) = (first + at / width, at % width, numbers[at]);
        Err(self.error(format!(
            "{function} gives {value} as {what} {number} of environment {env}; it must be finite"
        )))
    }
}

fn done(code: i32) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(code) }
}

/// The seeds of these environments.
fn seeds([high, low]: [&[u32]; 2], range: Range<usize>) -> Vec<u64> {
    let words = high[range.clone()].iter().zip(&low[range]);
    words.map(|(&high, &low)| u64::from(high) << 32 | u64::from(low)).collect()
}

/// Whatever is not 0 becomes 1, as XLA stores flags.
fn as_flags(flags: &mut [u8]) {
    flags.iter_mut().for_each(|flag| *flag = u8::from(*flag != 0));
}

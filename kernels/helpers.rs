//! Threads that help with the parts of a call.
//!
//! To start a thread takes longer than a small network takes for hundreds of rows. These threads stay: after some work they look out for
//! more for a moment, and sleep then. Nobody waits for one that is late: whoever has nothing to do takes the next part, and what is
//! offered to a thread that has not begun is taken back.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// How long a thread looks out for work before it sleeps: longer than the rollouts of a small batch take, between which there is work.
const LOOK_OUT: Duration = Duration::from_millis(1);
/// How often a caller looks whether the others are done before it lets the processor do something else in between.
const PATIENCE: usize = 10_000;

/// Parts of work, on the stack of the caller, who stays until nobody else has them.
struct Job<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    count: usize,
    /// No other job has it.
    number: u64,
    /// The next part to take.
    next: AtomicUsize,
    /// Helpers that it was offered to and that are not done with it.
    helpers: AtomicUsize,
    panicked: AtomicBool,
}

impl Job<'_> {
    /// Takes parts while there are any.
    fn run(&self) {
        loop {
            let part = self.next.fetch_add(1, Ordering::Relaxed);
            if part >= self.count {
                return;
            }
            (self.work)(part);
        }
    }
}

struct Helper {
    /// What it does, and while something is offered the number of the job.
    state: AtomicU64,
    /// What is offered.
    job: AtomicPtr<Job<'static>>,
    thread: OnceLock<Thread>,
}

/// A helper looks out for work.
const FREE: u64 = 0;
const ASLEEP: u64 = 1;
/// A caller is about to offer something.
const TAKEN: u64 = 2;
const AT_WORK: u64 = 3;
/// From here on: there is something that the helper has not begun.
const OFFERED: u64 = 4;

impl Helper {
    fn change(&self, from: u64, to: u64) -> bool {
        let is = self.state.load(Ordering::Relaxed) == from;
        is && self.state.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Offers the job, if the helper has nothing else.
    fn offer(&self, job: &Job) -> bool {
        let is_awake = self.change(FREE, TAKEN);
        if !is_awake && !self.change(ASLEEP, TAKEN) {
            return false;
        }
        job.helpers.fetch_add(1, Ordering::Relaxed);
        self.job.store(std::ptr::from_ref(job).cast_mut().cast(), Ordering::Relaxed);
        self.state.store(OFFERED + job.number, Ordering::Release);
        if !is_awake && let Some(thread) = self.thread.get() {
            thread.unpark();
        }
        true
    }

    /// Takes an offer back, if the helper has not begun.
    fn take_back(&self, job: &Job) {
        if self.change(OFFERED + job.number, FREE) {
            job.helpers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn help(&self) {
        let (mut since, mut looks) = (Instant::now(), 0_u32);
        loop {
            let state = self.state.load(Ordering::Relaxed);
            if state >= OFFERED && self.change(state, AT_WORK) {
                let job = self.job.load(Ordering::Relaxed);
                // SAFETY: the caller waits while a helper is at work on its job.
                let job = unsafe { &*job };
                if catch_unwind(AssertUnwindSafe(|| job.run())).is_err() {
                    job.panicked.store(true, Ordering::Relaxed);
                }
                self.state.store(FREE, Ordering::Release);
                job.helpers.fetch_sub(1, Ordering::Release); // the job may be gone now
                since = Instant::now();
            } else if looks % 64 != 0 || since.elapsed() < LOOK_OUT {
                looks = looks.wrapping_add(1); // a look at the clock takes longer than one at the state
                std::hint::spin_loop();
            } else if self.change(FREE, ASLEEP) {
                while self.state.load(Ordering::Acquire) == ASLEEP {
                    std::thread::park();
                }
                since = Instant::now();
            }
        }
    }
}

/// A helper for each core but one.
fn helpers() -> &'static [Helper] {
    static HELPERS: OnceLock<Vec<Helper>> = OnceLock::new();
    static STARTED: OnceLock<()> = OnceLock::new();
    let helpers = HELPERS.get_or_init(|| {
        let new =
            |_| Helper { state: AtomicU64::new(FREE), job: AtomicPtr::default(), thread: OnceLock::new() };
        (1..super::cores()).map(new).collect()
    });
    STARTED.get_or_init(|| {
        for helper in helpers {
            let thread =
                std::thread::Builder::new().name("lockstep helper".into()).spawn(move || helper.help());
            match thread {
                Ok(handle) => _ = helper.thread.set(handle.thread().clone()),
                // Without it the callers do everything.
                Err(_) => helper.state.store(AT_WORK, Ordering::Relaxed),
            }
        }
    });
    helpers
}

/// Does the parts `0..count` of some work, each once, in up to as many threads.
pub fn share(count: usize, work: &(dyn Fn(usize) + Sync)) {
    static JOBS: AtomicU64 = AtomicU64::new(0);
    let (next, at_work) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let number = JOBS.fetch_add(1, Ordering::Relaxed);
    let job = Job { work, count, number, next, helpers: at_work, panicked: AtomicBool::new(false) };
    let helpers = if count > 1 { helpers() } else { &[] };
    helpers.iter().filter(|helper| helper.offer(&job)).take(count.saturating_sub(1)).for_each(drop);
    let own = catch_unwind(AssertUnwindSafe(|| job.run()));
    helpers.iter().for_each(|helper| helper.take_back(&job));
    let mut looks = 0;
    while job.helpers.load(Ordering::Acquire) > 0 {
        looks += 1;
        if looks < PATIENCE { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
    if let Err(panic) = own {
        resume_unwind(panic);
    }
    assert!(!job.panicked.load(Ordering::Relaxed), "a thread that helps panicked");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_is_done_once_whoever_calls() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for count in (0..200).map(|i| i % 7) {
                        let done: Vec<AtomicUsize> = (0..count).map(|_| AtomicUsize::new(0)).collect();
                        share(count, &|part| _ = done[part].fetch_add(1, Ordering::Relaxed));
                        assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1));
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_helpers_go_on() {
        let fails = || share(8, &|part| assert!(part != 5, "part 5"));
        assert!(catch_unwind(fails).is_err());
        let done = AtomicUsize::new(0);
        share(8, &|_| _ = done.fetch_add(1, Ordering::Relaxed));
        assert_eq!(done.into_inner(), 8);
    }
}

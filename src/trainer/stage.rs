//! What goes on before there is anything to measure, such as compiling: said while it lasts, with a clock.
//!
//! On a terminal it is a line with a running clock, which goes away at the end; a screen shows it itself. Elsewhere it is a
//! plain line once it has lasted for a second, so that what is quick says nothing, and again now and then.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::live::Live;
use crate::output::{can_draw, tell};

/// After these seconds a plain line says what goes on, then again after each doubling up to [`MOST_SILENCE`].
const FIRST_LINE: Duration = Duration::from_secs(1);
const SECOND_LINE: Duration = Duration::from_secs(10);
const MOST_SILENCE: Duration = Duration::from_secs(60);

/// Says what goes on until it is dropped.
#[derive(Debug)]
pub struct Stage(Arc<Voice>);

#[derive(Debug)]
enum Voice {
    Screen(Live),
    Line(ProgressBar),
    Plain { news: Option<Sender<String>>, thread: Option<JoinHandle<()>> },
}

impl Stage {
    /// Says in plain lines that `what` begins.
    pub fn plain(what: &str) -> Self {
        let (sender, receiver) = channel();
        let what = what.to_owned();
        let thread = thread::spawn(move || tell_plainly(what, &receiver));
        Self(Arc::new(Voice::Plain { news: Some(sender), thread: Some(thread) }))
    }

    /// Says that `what` begins: on the screen if there is one, else on stderr.
    pub fn begin(what: &str, screen: Option<&Live>) -> Self {
        Self(Arc::new(match screen {
            Some(live) => {
                live.stage(what);
                Voice::Screen(live.clone())
            }
            None if can_draw(&std::io::stderr()) => {
                let style =
                    ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}").expect("a valid template");
                let bar = ProgressBar::new_spinner().with_style(style).with_message(what.to_owned());
                bar.enable_steady_tick(Duration::from_millis(200));
                Voice::Line(bar)
            }
            None => return Self::plain(what),
        }))
    }

    /// Says that something else goes on from now on.
    pub fn change(&self, what: &str) {
        self.0.change(what);
    }

    /// What says so when it is called, if the stage has not ended by then.
    pub fn changer(&self, what: &'static str) -> Arc<dyn Fn() + Send + Sync> {
        let voice = Arc::downgrade(&self.0);
        Arc::new(move || {
            if let Some(voice) = voice.upgrade() {
                voice.change(what);
            }
        })
    }
}

impl Voice {
    fn change(&self, what: &str) {
        match self {
            Voice::Screen(live) => live.stage(what),
            Voice::Line(bar) => {
                bar.set_message(what.to_owned());
                bar.reset_elapsed();
            }
            Voice::Plain { news, .. } => {
                let _ = news.as_ref().map(|news| news.send(what.to_owned())); // the thread waits for it
            }
        }
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        match self {
            Voice::Screen(_) => {} // the screen shows what comes next
            Voice::Line(bar) => bar.finish_and_clear(),
            Voice::Plain { news, thread } => {
                drop(news.take()); // ends the thread
                let _ = thread.take().map(JoinHandle::join);
            }
        }
    }
}

/// Says in lines what goes on, until nobody sends news any more.
fn tell_plainly(mut what: String, news: &Receiver<String>) {
    let (mut began, mut due) = (Instant::now(), FIRST_LINE);
    loop {
        match news.recv_timeout(due.saturating_sub(began.elapsed())) {
            Ok(next) => (what, began, due) = (next, Instant::now(), FIRST_LINE),
            Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                tell(&line(&what, due));
                due = if due == FIRST_LINE { SECOND_LINE } else { due + due.min(MOST_SILENCE) };
            }
        }
    }
}

fn line(what: &str, elapsed: Duration) -> String {
    match elapsed {
        FIRST_LINE => format!("{what} ..."),
        elapsed => format!("{what}: {} s so far", elapsed.as_secs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trainer::live::{Event, connect};

    #[test]
    fn a_screen_is_told_each_stage() {
        let (live, remote) = connect();
        let stage = Stage::begin("tracing", Some(&live));
        let compiling = stage.changer("compiling");
        compiling();
        drop(stage);
        compiling();
        let told = [remote.next(), remote.next(), remote.next()];
        assert_eq!(
            told,
            [Some(Event::Stage("tracing".into())), Some(Event::Stage("compiling".into())), None]
        );
    }

    #[test]
    fn lines_say_what_and_how_long() {
        assert_eq!(line("compiling", FIRST_LINE), "compiling ...");
        assert_eq!(line("compiling", SECOND_LINE), "compiling: 10 s so far");
    }
}

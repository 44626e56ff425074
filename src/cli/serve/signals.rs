//! Signal handling: the first SIGTERM or SIGINT drains, a second one stops at once.
//!
//! SIGXFSZ is caught and ignored: a file that may not grow (`ulimit -f`) makes the write fail with
//! an error, which is reported there.

use super::super::Error;
use super::super::text::print_unless_blocked;
use crate::engine::Failure;
use crate::engine::control::{Command, Control};
use signal_hook::consts::{SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::thread;

/// Starts the thread that passes signals on to all cores.
pub fn watch(controls: Vec<Control>) -> Result<(), Error> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGXFSZ]);
    let mut signals = signals.map_err(Failure::of("watch", "the signals that end a server"))?;
    let watch = move || {
        for _ in signals.forever().filter(|&signal| signal != SIGXFSZ) {
            controls.iter().for_each(Control::advance);
            let line = match controls[0].command() {
                Command::Serve | Command::Drain => {
                    "draining: requests in progress are finished; a second signal stops at once\n"
                }
                Command::Stop => "stopping\n",
            };
            print_unless_blocked(line.to_owned());
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(watch);
    Ok(thread.map(drop).map_err(Failure::of("start", "the thread of signals"))?)
}

//! Signal handling: the first SIGTERM makes the server a lame duck for a while, then it drains; the
//! first SIGINT drains at once. A second signal, of either kind, stops at once.
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
use std::time::Duration;

/// Starts the thread that passes signals on to all cores. `delay` is the time between SIGTERM and
/// the drain.
pub fn watch(controls: Vec<Control>, delay: Duration) -> Result<(), Error> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGXFSZ]);
    let mut signals = signals.map_err(Failure::of("watch", "the signals that end a server"))?;
    let watch = move || {
        for signal in signals.forever().filter(|&signal| signal != SIGXFSZ) {
            match controls[0].command() {
                Command::Serve if signal == SIGTERM && !delay.is_zero() => {
                    give(&controls, Command::LameDuck);
                    print_unless_blocked(format!(
                        "lame duck: /readyz fails, and the drain begins in {} ms; a second signal \
                         stops at once\n",
                        delay.as_millis()
                    ));
                    let later = controls.clone();
                    let timer =
                        thread::Builder::new().name("drain-delay".to_owned()).spawn(move || {
                            thread::sleep(delay);
                            drain(&later);
                        });
                    if timer.is_err() {
                        drain(&controls);
                    }
                }
                Command::Serve => drain(&controls),
                Command::LameDuck | Command::Drain | Command::Stop => {
                    give(&controls, Command::Stop);
                    print_unless_blocked("stopping\n".to_owned());
                }
            }
        }
    };
    let thread = thread::Builder::new().name("signals".to_owned()).spawn(watch);
    Ok(thread.map(drop).map_err(Failure::of("start", "the thread of signals"))?)
}

fn give(controls: &[Control], command: Command) {
    controls.iter().for_each(|control| control.give(command));
}

fn drain(controls: &[Control]) {
    if controls[0].command() < Command::Drain {
        give(controls, Command::Drain);
        print_unless_blocked(
            "draining: requests in progress are finished; a second signal stops at once\n"
                .to_owned(),
        );
    }
}

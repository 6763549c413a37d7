//! The end of a machine.

use std::process::{Command, Stdio};

use crate::say;

/// Powers the machine off. EC2 then ends it, as it was started to be ended by that.
pub(crate) fn off(command: &str, why: &str) {
    say::line(format_args!("this machine powers off: {why}"));
    let mut words = command.split_whitespace();
    let program = words.next().unwrap_or("poweroff");
    for (program, args) in [(program, words.collect::<Vec<_>>()), ("poweroff", vec!["-f"])] {
        match Command::new(program).args(args).stdin(Stdio::null()).status() {
            Ok(status) if status.success() => return,
            Ok(status) => say::line(format_args!("{program} ended with {status}")),
            Err(error) => say::line(format_args!("{program} cannot be run: {error}")),
        }
    }
}

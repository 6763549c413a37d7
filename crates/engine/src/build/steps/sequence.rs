//! Several commands in one step (`buildbot/steps/shellsequence.py`).

use model::{Flags, Results};
use worker_protocol::Command;

use super::shell::{decode_rc, prepare};
use crate::build::{halt::Halt, step::Step, summary::command_in_short};

/// Runs the commands one after the other, until one ends the sequence.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let decode = decode_rc(&step.args)?;
    let mut overall = Results::Success;
    let commands = step.args.get("commands").clone();
    for command in commands.as_array().into_iter().flatten() {
        let args = step.args.within(command);
        let Some(short) = command_in_short(args.get("command")) else { continue };
        step.summary.command = Some(short);
        let flag = |name: &str, default| args.maybe_truth(name).unwrap_or(default);
        let flags = Flags {
            always_run: false,
            flunk_on_failure: flag("flunkOnFailure", true),
            flunk_on_warnings: flag("flunkOnWarnings", false),
            halt_on_failure: flag("haltOnFailure", false),
            warn_on_failure: flag("warnOnFailure", false),
            warn_on_warnings: flag("warnOnWarnings", false),
        };
        let log = args.text("logname").unwrap_or_else(|| "stdio".to_owned());
        let (shell, wiring) = prepare(step, args.command("command")?, &log).await?;
        let finished = step.command(Command::Shell(Box::new(shell)), wiring).await?;
        let (results, ends) = flags.fold(overall, finished.results(&decode));
        overall = results;
        if ends {
            break;
        }
    }
    Ok(overall)
}

//! Steps that run a command (`buildbot/process/buildstep.py`, `ShellMixin`; `buildbot/steps/shell.py`).

use std::collections::BTreeMap;

use bytestring::ByteString;
use model::Results;
use worker_protocol::{Command, Program, Shell};

use crate::build::{
    arguments::Arguments,
    halt::Halt,
    logs::LogRef,
    running::{Finished, Wiring},
    step::Step,
};

/// Runs the command of the step.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let decode = decode_rc(&step.args)?;
    let finished = run_command(step, Collect::Nothing).await?;
    Ok(finished.results(&decode))
}

/// Runs CMake.
pub(super) async fn cmake(step: &mut Step) -> Result<Results, Halt> {
    let decode = decode_rc(&step.args)?;
    let args = &step.args;
    let mut words = vec![args.needed("cmake")?];
    let given = |name| args.text(name).filter(|text| !text.is_empty());
    if let Some(generator) = given("generator") {
        words.extend(["-G".to_owned(), generator]);
    }
    words.extend(args.dict("definitions").into_iter().map(|(name, value)| format!("-D{name}={value}")));
    words.extend(args.texts("options"));
    words.extend(given("path"));
    let (shell, wiring) = prepare(step, Program::words(words), "stdio").await?;
    let finished = step.command(Command::Shell(Box::new(shell)), wiring).await?;
    Ok(finished.results(&decode))
}

/// What is kept of a command's output, beside its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Collect {
    Nothing,
    Streams { stdout: bool, stderr: bool },
}

/// Runs the command of the step, with its output in the log `stdio`.
pub(super) async fn run_command(step: &mut Step, collect: Collect) -> Result<Finished, Halt> {
    let program = step.args.command("command")?;
    let (shell, mut wiring) = prepare(step, program, "stdio").await?;
    if let Collect::Streams { stdout, stderr } = collect {
        wiring.collect_stdout = stdout;
        wiring.collect_stderr = stderr;
    }
    step.command(Command::Shell(Box::new(shell)), wiring).await
}

/// The command with all the step's arguments, and its logs.
pub(super) async fn prepare<'a>(
    step: &mut Step,
    program: Program,
    log: &str,
) -> Result<(Shell, Wiring<'a>), Halt> {
    let args = &step.args;
    let mut shell = Shell::new(step.workdir(), program);
    shell.timeout = args.seconds("timeout")?;
    shell.max_time = args.seconds("maxTime")?;
    shell.max_lines = args.count("max_lines")?;
    shell.sigterm_time = args.seconds("sigtermTime")?;
    shell.want_stdout = args.truth("want_stdout");
    shell.want_stderr = args.truth("want_stderr");
    shell.initial_stdin = args.text("initialStdin").map(ByteString::from);
    shell.logfiles = args.logfiles("logfiles");
    shell.use_pty = args.maybe_truth("usePTY");
    shell.log_environ = args.truth("logEnviron");
    shell.interrupt_signal = args.text("interruptSignal").map(ByteString::from);
    let lazy = args.truth("lazylogfiles");
    shell.env = step.merged_env()?;
    let stdio = step.log(log).await?;
    let mut logfiles: Vec<(String, Option<LogRef>)> = Vec::with_capacity(shell.logfiles.len());
    for file in &shell.logfiles {
        let opened = if lazy { None } else { Some(step.log(&file.name).await?) };
        logfiles.push((file.name.to_string(), opened));
    }
    Ok((shell, Wiring { stdio: Some(stdio), logfiles, ..Wiring::default() }))
}

/// Results by exit status.
pub(super) fn decode_rc(args: &Arguments) -> Result<BTreeMap<i64, Results>, Halt> {
    let entries = args.get("decodeRC").as_object();
    let Some(entries) = entries else { return Ok(BTreeMap::from([(0, Results::Success)])) };
    let mut decode = BTreeMap::new();
    for (rc, results) in entries {
        let results = results.as_i64().and_then(Results::from_code);
        let (Ok(rc), Some(results)) = (rc.parse(), results) else {
            return Err(args.wrong("decodeRC", "is not a table of results by exit code", ""));
        };
        decode.insert(rc, results);
    }
    Ok(decode)
}

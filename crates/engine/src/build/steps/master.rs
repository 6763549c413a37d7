//! What the master does itself (`buildbot/steps/master.py`).

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use bytes::BytesMut;
use config::Renderable;
use model::{
    Json, Results,
    template::{is_true, to_text},
};
use rustix::process::{Pid, Signal, kill_process_group};
use storage::log::Stream;
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::Instant,
};
use worker_protocol::{Program, Word};

use super::property::python_repr;
use crate::build::{halt::Halt, logs::LogRef, step::Step};

/// How long the command may be silent (`buildbot/util/runprocess.py`, `io_timeout`).
const MAX_SILENCE: Duration = Duration::from_secs(300);
/// How much of its output is taken at once, in bytes.
const BLOCK: usize = 16 * 1024;

/// Whether something is true.
pub(super) async fn assert(step: &mut Step) -> Result<Results, Halt> {
    let value = step.args.get("check");
    let checked = match step.config.args.get("check") {
        Renderable::Expression(expression) => expression.source().to_owned(),
        Renderable::Property { name, .. } => format!("property {name}"),
        _ => python_repr(value),
    };
    let results = if is_true(value) { Results::Success } else { Results::Failure };
    step.summary.done = vec![format!("checked {checked}")];
    Ok(results)
}

/// Runs a command on the master.
pub(super) async fn run(step: &mut Step) -> Result<Results, Halt> {
    let (shown, argv) = match step.args.command("command")? {
        Program::Line(line) => {
            (line.trim().to_owned(), vec!["/bin/sh".to_owned(), "-c".to_owned(), line.to_string()])
        }
        Program::Words(words) => {
            let words: Vec<String> = words.iter().map(plain).collect();
            (words.join(" "), words)
        }
    };
    let signal = signal(step)?;
    let limit = step.args.seconds("runtime_timeout")?.filter(|limit| !limit.is_zero());
    let directory = step.master_path(&step.args.text("workdir").unwrap_or_default());
    let env = environment(step)?;
    let log = step.log("stdio").await?;
    let words: Vec<String> = argv.iter().map(|word| python_repr(&word.as_str().into())).collect();
    let mut header = format!("{shown}\n\n** RUNNING ON BUILDMASTER **\n in dir {}\n", directory.display());
    header.push_str(&format!(" argv: [{}]\n", words.join(", ")));
    if step.args.truth("logEnviron") && !env.is_empty() {
        let env = env.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
        header.push_str(&format!(" env: {}\n", python_repr(&Json::Object(env))));
    }
    step.append(log, Stream::Header, &header).await?;
    let Some((program, rest)) = argv.split_first() else {
        return Err(step.args.wrong("command", "is empty", ""));
    };
    // A process is started when all rows that it rests on are durable, as a command on a worker is.
    step.logs.flush(&mut step.build.journal).await?;
    let child = Command::new(program)
        .args(rest)
        .current_dir(&directory)
        .envs(env)
        .env("PWD", &directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map(Group)
        .map_err(|error| Halt::Broken(format!("the master cannot run {program:?}: {error}")))?;
    let status = follow(step, child, log, signal, limit).await?;
    let (results, footer, done) = match (status.signal(), status.code()) {
        (Some(signal), _) => (Results::Failure, format!("signal {signal}\n"), format!("killed ({signal})")),
        (None, Some(0)) => return Ok(Results::Success),
        (None, code) => {
            let code = code.unwrap_or(-1);
            (Results::Failure, format!("exit status {code}\n"), format!("failed ({code})"))
        }
    };
    step.append(log, Stream::Header, &footer).await?;
    step.summary.done = vec![done];
    Ok(results)
}

/// A process with all that it has started; killed when it is dropped.
struct Group(Child);

impl Group {
    fn kill(&self, signal: Signal) {
        // Not after it was waited for: its id may be somebody else's by then.
        let id = self.0.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(id) = id {
            kill_process_group(id, signal).ok();
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill(Signal::KILL);
    }
}

/// Takes the output of a process until it ends, and ends it when it has to.
async fn follow(
    step: &mut Step,
    mut group: Group,
    log: LogRef,
    signal: Signal,
    limit: Option<Duration>,
) -> Result<ExitStatus, Halt> {
    let (Some(mut stdout), Some(mut stderr)) = (group.0.stdout.take(), group.0.stderr.take()) else {
        return Err(Halt::Broken("the command has no output".to_owned()));
    };
    let (mut out, mut err) = (BytesMut::with_capacity(BLOCK), BytesMut::with_capacity(BLOCK));
    let (mut more_out, mut more_err) = (true, true);
    let ends_at = limit.map(|limit| Instant::now() + limit);
    let mut silent_until = Instant::now() + MAX_SILENCE;
    let mut killed = false;
    let status = loop {
        let deadline = ends_at.map_or(silent_until, |ends_at| ends_at.min(silent_until));
        let flush_at = step.logs.flush_at();
        let flush = async {
            match flush_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        out.reserve(BLOCK);
        err.reserve(BLOCK);
        tokio::select! {
            biased;
            (reason, _) = step.build.stop() => {
                step.note_stop(&reason).await?;
                group.kill(signal);
            }
            () = tokio::time::sleep_until(deadline), if !killed => {
                killed = true;
                let text = if deadline == silent_until { "silent" } else { "running" };
                let text = format!("killed: it was {text} for too long\n");
                step.append(log, Stream::Header, &text).await?;
                group.kill(Signal::KILL);
            }
            () = flush => step.logs.flush(&mut step.build.journal).await?,
            read = stdout.read_buf(&mut out), if more_out => {
                more_out = read.is_ok_and(|read| read > 0);
                silent_until = Instant::now() + MAX_SILENCE;
                let text = take_text(&mut out, !more_out);
                step.append(log, Stream::Stdout, &text).await?;
            }
            read = stderr.read_buf(&mut err), if more_err => {
                more_err = read.is_ok_and(|read| read > 0);
                silent_until = Instant::now() + MAX_SILENCE;
                let text = take_text(&mut err, !more_err);
                step.append(log, Stream::Stderr, &text).await?;
            }
            // Who has left the group may hold the output open for ever.
            status = group.0.wait(), if killed || step.stopped || !more_out && !more_err => break status,
        }
    };
    step.logs.end_lines(&mut step.build.journal, &step.build.scrubber).await?;
    if step.stopped {
        return Err(Halt::Stopped);
    }
    status.map_err(|error| Halt::Broken(format!("the end of the command cannot be told: {error}")))
}

/// The text in a buffer, without the first bytes of a letter that is not whole yet.
fn take_text(buffer: &mut BytesMut, last: bool) -> String {
    let whole = match std::str::from_utf8(buffer) {
        Err(error) if !last && error.error_len().is_none() => error.valid_up_to(),
        _ => buffer.len(),
    };
    String::from_utf8_lossy(&buffer.split_to(whole)).into_owned()
}

fn plain(word: &Word) -> String {
    match word {
        Word::Plain(word) | Word::Obfuscated { real: word, .. } => word.to_string(),
    }
}

/// What is over the master's environment. `${NAME}` is what the master has.
fn environment(step: &Step) -> Result<Vec<(String, String)>, Halt> {
    let entries = match step.args.get("env") {
        Json::Null => return Ok(Vec::new()),
        Json::Object(entries) => entries,
        _ => return Err(step.args.wrong("env", "is not a table", "")),
    };
    let entries = entries.iter().filter(|(_, value)| !value.is_null());
    let value = |value: &Json| match value {
        Json::Array(parts) => parts.iter().map(to_text).collect::<Vec<_>>().join(":"),
        value => to_text(value),
    };
    Ok(entries.map(|(name, text)| (name.clone(), expand(&value(text)))).collect())
}

fn expand(text: &str) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        expanded.push_str(before);
        match after.split_once('}') {
            Some((name, after)) if name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') => {
                expanded.push_str(&std::env::var(name).unwrap_or_default());
                rest = after;
            }
            _ => {
                expanded.push_str("${");
                rest = after;
            }
        }
    }
    expanded + rest
}

fn signal(step: &Step) -> Result<Signal, Halt> {
    let name = step.args.text("interruptSignal").unwrap_or_else(|| "KILL".to_owned());
    Ok(match name.trim_start_matches("SIG") {
        "KILL" => Signal::KILL,
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "HUP" => Signal::HUP,
        "QUIT" => Signal::QUIT,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => {
            return Err(step.args.wrong(
                "interruptSignal",
                "is none of ",
                "KILL, TERM, INT, HUP, QUIT, USR1, USR2",
            ));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_between_letters() {
        let mut buffer = BytesMut::from(&b"a\xc3"[..]);
        assert_eq!(take_text(&mut buffer, false), "a");
        buffer.extend_from_slice(b"\xa9\xffb");
        assert_eq!(take_text(&mut buffer, false), "\u{e9}\u{fffd}b");
        buffer.extend_from_slice(b"\xc3");
        assert_eq!(take_text(&mut buffer, true), "\u{fffd}");
    }

    #[test]
    fn variables_of_the_master_are_put_in() {
        let path = std::env::var("PATH").unwrap();
        assert_eq!(expand("a:${PATH}:${NO_SUCH_VARIABLE}b${"), format!("a:{path}:b${{"));
        assert_eq!(expand("${a b}"), "${a b}");
    }
}

//! `ganger log`.

use std::io::{IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::Args;

use super::WhichBuild;
use crate::{
    cli::Remote,
    control::{LogEnd, LogSelector, LogText, Notification, Request, Stream},
    exit::{Exit, Failure},
    output::{self, for_terminal, strong},
};

/// Print the logs of a build; with -f as they come.
#[derive(Args, Debug)]
pub(crate) struct Log {
    #[command(flatten)]
    which: WhichBuild,

    /// Go on until the build is complete.
    #[arg(short, long)]
    follow: bool,

    /// Only those of the step with this name.
    #[arg(long)]
    step: Option<String>,

    /// Only those with this name.
    #[arg(long)]
    log: Option<String>,

    #[command(flatten)]
    remote: Remote,
}

impl Log {
    /// Prints the logs.
    pub(crate) async fn run(self) -> Result<Exit, Failure> {
        let one = self.step.is_some() && self.log.is_some();
        let selector =
            LogSelector { build: self.which.selector(), step: self.step, log: self.log, follow: self.follow };
        let json = self.remote.json;
        let mut printer = Printer::new(!one);
        let mut client = self.remote.connect().await?;
        let end: LogEnd = client
            .stream(&Request::Log(selector), |notification| match notification {
                Notification::LogText(text) if json => output::json(&text),
                Notification::LogText(text) => printer.print(&text),
                Notification::Progress(_) | Notification::Decision(_) => Ok(()),
            })
            .await?;
        if json {
            output::json(&end)?;
        }
        Ok(Exit::Ok)
    }
}

/// Prints pieces of logs; a heading tells when the text that follows belongs to another log.
pub(crate) struct Printer {
    headings: bool,
    terminal: bool,
    current: Option<(i64, String)>,
}

impl Printer {
    /// A printer, with or without headings.
    pub(crate) fn new(headings: bool) -> Self {
        Self { headings, terminal: std::io::stdout().is_terminal(), current: None }
    }

    /// Prints one piece.
    pub(crate) fn print(&mut self, text: &LogText) -> Result<(), Failure> {
        if self.headings
            && self.current.as_ref().is_none_or(|(step, log)| (*step, log) != (text.number, &text.log))
        {
            output::text(strong(format!("==> {}: {}", for_terminal(&text.step), for_terminal(&text.log))))?;
            self.current = Some((text.number, text.log.clone()));
        }
        if self.terminal {
            let mut out = anstream::stdout().lock();
            for line in &text.lines {
                let style = match line.0 {
                    Stream::Stdout => Style::new(),
                    Stream::Stderr => AnsiColor::Red.on_default(),
                    Stream::Header => AnsiColor::Cyan.on_default(),
                };
                writeln!(out, "{style}{}{style:#}\x1b[0m", for_terminal(&line.1))?;
            }
            Ok(out.flush()?)
        } else {
            // To a file or a program the text goes as the worker sent it.
            let mut out = std::io::stdout().lock();
            for line in &text.lines {
                out.write_all(line.1.as_bytes())?;
                out.write_all(b"\n")?;
            }
            Ok(out.flush()?)
        }
    }
}

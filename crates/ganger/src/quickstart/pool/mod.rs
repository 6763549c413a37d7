//! A pool with nothing in it, and a burst of requests.

mod burst;
mod screen;
mod summary;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio::{sync::mpsc, time::sleep};

use self::{
    burst::{Burst, Heard},
    screen::Screen,
};
use super::{Running, Wishes, free_port, process, python, scratch, step, wait_for_master};
use crate::{
    commands::{CONFIGURATION, new::write_new},
    control::{
        Client, Notification, Request,
        pool::{Decisions, DecisionsFilter, PoolDetail, PoolName},
    },
    exit::{Exit, Failure},
    output::{self, strong},
};

/// The name of the pool.
const POOL: &str = "demo";

/// Its builders, and how many tenths of a second each takes.
const BUILDERS: [(&str, u32); 8] = [
    ("compile", 9),
    ("compile-debug", 11),
    ("unit-tests", 8),
    ("system-tests", 12),
    ("documentation", 6),
    ("packages", 9),
    ("lint", 5),
    ("translations", 6),
];

/// Where the machines live, below the scratch directory.
const MACHINES: &str = "machines";

/// How often to look at the pool.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Messages of the burst that wait to be looked at.
const HEARD: usize = 256;

pub(super) async fn show(wishes: Wishes, requests: u32, running: &mut Running) -> Result<Exit, Failure> {
    if wishes.site.is_none() {
        python::require_tools(&wishes.python, false).await?;
    }
    running.remove = wishes.directory.is_none();
    running.directory = scratch(wishes.directory)?;
    let directory = running.directory.clone();
    output::text(format_args!("{} {}", strong("Everything is made in"), directory.display()))?;

    let site = match wishes.site {
        Some(site) => {
            step(1, 4, &format!("the pool of {}", site.display()))?;
            let text = std::fs::read_to_string(&site);
            text.with_context(|| format!("cannot read {}", site.display()))?
        }
        None => {
            let version = wishes.worker_version;
            step(1, 4, &format!("a virtual environment with buildbot-worker {version} from PyPI"))?;
            let venv = python::make_venv(&directory, &wishes.python, &version).await?;
            running.machines = Some(directory.join(MACHINES));
            processes(free_port()?, machines(), &venv.program("buildbot-worker"))
        }
    };

    step(2, 4, "a master, with a pool that has no worker yet")?;
    write_new(&directory.join(CONFIGURATION), &(site + &builders()))?;
    running.master = Some(process::start_master(&directory)?);
    let mut client = wait_for_master(running).await?;
    let name = PoolName { pool: POOL.to_owned() };
    let detail: PoolDetail = client.call(&Request::PoolShow(name.clone())).await?;
    let max = usize::try_from(detail.pool.max).unwrap_or(usize::MAX);

    step(3, 4, &format!("{requests} requests for {} builders; the urgent ones come last", BUILDERS.len()))?;
    let socket = crate::commands::control_socket(&directory)?;
    let (sender, mut heard) = mpsc::channel(HEARD);
    let mut burst = Burst::new(requests, socket.clone(), sender.clone());
    // What fails in the tasks shows in what they no longer say; the master's own end is looked for below.
    let decisions = tokio::spawn(follow(socket, sender));
    let started = Instant::now();
    burst.begin();

    step(4, 4, "builds, by priority")?;
    let mut screen = Screen::new(max);
    let detail = loop {
        running.still_there()?;
        while let Ok(message) = heard.try_recv() {
            match message {
                Heard::Decided(decision) => screen.decided(*decision),
                other => burst.heard(other)?,
            }
        }
        let detail: PoolDetail = client.call(&Request::PoolShow(name.clone())).await?;
        screen.show(started.elapsed(), &burst, &detail)?;
        if burst.is_over() && detail.pool.live == 0 {
            break detail;
        }
        if started.elapsed() > PATIENCE {
            screen.end();
            return Err(Failure::text(Exit::Internal, "it takes too long")
                .advise(format!("the master's log is {}", directory.join("master.log").display())));
        }
        sleep(LOOK_AGAIN).await;
    };
    decisions.abort();
    screen.end();
    summary::print(started.elapsed(), &burst, &detail, &directory, running.remove)?;
    Ok(if burst.all_succeeded() { Exit::Ok } else { Exit::NotSuccessful })
}

/// How many workers this machine has room for: they mostly sleep.
fn machines() -> usize {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    (processors * 4).clamp(4, 16)
}

/// Passes on what pools decide, until the master ends.
async fn follow(socket: std::path::PathBuf, heard: mpsc::Sender<Heard>) {
    let filter =
        DecisionsFilter { pool: Some(POOL.to_owned()), follow: true, limit: 100, ..Default::default() };
    let follow = async {
        let (decided, mut passed_on) = mpsc::unbounded_channel();
        let mut client = Client::connect(&socket).await?;
        let request = Request::PoolDecisions(filter);
        let stream = client.stream(&request, |notification| {
            if let Notification::Decision(decision) = notification {
                decided.send(decision).ok();
            }
            Ok(())
        });
        let pass_on = async {
            while let Some(decision) = passed_on.recv().await {
                if heard.send(Heard::Decided(Box::new(decision))).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            ended = stream => ended.map(|_: Decisions| ()),
            () = pass_on => Ok(()),
        }
    };
    let ended: Result<(), Failure> = follow.await;
    tracing::debug!(ok = ended.is_ok(), "no more decisions are shown");
}

/// A pool of processes of this machine.
fn processes(port: u16, max: usize, program: &Path) -> String {
    // TOML's basic strings take what JSON's do.
    let program = serde_json::Value::from(program.display().to_string());
    format!(
        r#"# Made by `ganger quickstart --pool`.

[master]
title = "Quickstart"
listen = ["tcp:127.0.0.1:{port}"]
# Each of the many builds of a burst is built.
collapseRequests = false

# The master starts workers when there is something to build, and ends them when there is not.
[[pool]]
name = "{POOL}"
max = {max}
max_builds = 1
build_wait_timeout = 4

[pool.local]
program = {program}
directory = "{MACHINES}"
silence = 60

# So that it takes as long as machines elsewhere do, only less.
[pool.local.trouble]
boot = 2
boot-spread = 3
"#
    )
}

fn builders() -> String {
    let mut text = String::new();
    let mut names = Vec::new();
    for (name, tenths) in BUILDERS {
        names.push(format!("{name:?}"));
        text.push_str(&format!(
            r#"
[[builder]]
name = "{name}"
workers = ["{POOL}"]

[[builder.step]]
type = "ShellCommand"
command = "sleep {}.{}"
logEnviron = false
"#,
            tenths / 10,
            tenths % 10,
        ));
    }
    text.push_str(&format!(
        "\n[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"force\"\nbuilderNames = [{}]\n",
        names.join(", ")
    ));
    text
}

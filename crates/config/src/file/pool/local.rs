//! `[pool.local]`: machines that are processes on this machine.

use std::time::Duration;

use ::model::pool::Money;

use crate::{
    pool::{LocalTemplate, LocalTrouble},
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
    value::Value,
};

/// Where machines live unless something else is said, below the directory of the file.
const MACHINES: &str = "machines";

/// Less memory than this no worker can live in.
const LEAST_MEMORY: i64 = 16 << 20;

pub(in crate::file) const LOCAL: Keys = Keys {
    what: "`[pool.local]`",
    groups: &[&[
        Key::new("directory", Kind::Text, "where machines have their directories")
            .default(Fallback::Text(MACHINES)),
        Key::new(
            "program",
            Kind::Text,
            "`buildbot-worker`: a path, or a name that is looked up in the master's `PATH`",
        )
        .default(Fallback::Text("buildbot-worker")),
        Key::new("environment", Kind::Dict, "more environment variables of the workers"),
        Key::new("price", Kind::Number, "what an hour of a machine costs").default(Fallback::Integer(0)),
        Key::new(
            "user",
            Kind::Text,
            "the user that workers run as; the master must be root for another than its own",
        ),
        Key::new(
            "cgroup",
            Kind::Text,
            "the control group (version 2) that was delegated to the master: a directory",
        ),
        Key::new(
            "memory",
            Kind::Integer(LEAST_MEMORY, i64::MAX),
            "bytes of memory that a machine may use; needs `cgroup`",
        ),
        Key::new("cpus", Kind::Number, "processors that a machine may use; needs `cgroup`"),
        Key::new(
            "silence",
            Kind::Seconds,
            "a worker that has no master for so long ends by itself; 0 is never",
        )
        .default(Fallback::Integer(1800)),
        Key::new("trouble", Kind::Tables("[pool.local.trouble]"), "what goes wrong on purpose"),
    ]],
    hints: &[("env", "it is called `environment`"), ("basedir", "it is called `directory`")],
};

pub(in crate::file) const TROUBLE: Keys = Keys {
    what: "`[pool.local.trouble]`",
    groups: &[&[
        Key::new("seed", Kind::Integer(0, i64::MAX), "another seed, another fate of each machine")
            .default(Fallback::Integer(0)),
        Key::new("boot", Kind::Seconds, "how long every machine waits before its worker starts")
            .default(Fallback::Integer(0)),
        Key::new("boot-spread", Kind::Seconds, "how much longer it waits at most")
            .default(Fallback::Integer(0)),
        Key::new("fail", Kind::Number, "the share whose worker ends as it starts, from 0 to 1")
            .default(Fallback::Integer(0)),
        Key::new("hang", Kind::Number, "the share whose worker never connects").default(Fallback::Integer(0)),
        Key::new("vanish", Kind::Number, "the share that dies without a word").default(Fallback::Integer(0)),
        Key::new("vanish-after", Kind::Seconds, "after so long").default(Fallback::Integer(60)),
    ]],
    hints: &[],
};

pub(super) fn read(value: Value<'_>) -> Option<LocalTemplate> {
    let table = Table::of(value, LOCAL)?;
    let base = table.reading().base_dir;
    let text = |key| table.text(key).map(|(text, _)| text);
    let program = text("program").unwrap_or("buildbot-worker");
    // A bare name is looked up, a path starts at the file.
    let program = if program.contains('/') { base.join(program) } else { program.into() };
    let cgroup = text("cgroup").map(|path| base.join(path));
    for key in ["memory", "cpus"] {
        if cgroup.is_none()
            && let Some(value) = table.value(key)
        {
            value
                .error(format!("`{key}` needs `cgroup`"))
                .help("the directory of a group that was delegated to the master");
        }
    }
    let cpus = table.number("cpus");
    if let Some(value) = table.value("cpus").filter(|_| cpus == Some(0.0)) {
        value.error("no worker runs without a processor");
    }
    Some(LocalTemplate {
        directory: base.join(text("directory").unwrap_or(MACHINES)),
        program,
        environment: super::environment(&table),
        price: Money::from_units(table.number("price").unwrap_or(0.0)),
        user: text("user").map(ToOwned::to_owned),
        cgroup,
        memory: table.integer("memory").and_then(|n| u64::try_from(n).ok()),
        cpus,
        silence: table.seconds("silence").unwrap_or(Duration::from_mins(30)),
        trouble: table.value("trouble").map(trouble).unwrap_or_default(),
    })
}

fn trouble(value: Value<'_>) -> LocalTrouble {
    let Some(table) = Table::of(value, TROUBLE) else { return LocalTrouble::default() };
    let share = |key| {
        let share = table.number(key).unwrap_or(0.0);
        if let Some(value) = table.value(key).filter(|_| share > 1.0) {
            value.error(format!("`{key}` is a share, from 0 to 1"));
        }
        share
    };
    let seconds = |key| table.seconds(key).unwrap_or_default();
    let trouble = LocalTrouble {
        seed: table.integer("seed").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        boot: seconds("boot"),
        boot_spread: seconds("boot-spread"),
        fail: share("fail"),
        hang: share("hang"),
        vanish: share("vanish"),
        vanish_after: seconds("vanish-after"),
    };
    if trouble.fail + trouble.hang + trouble.vanish > 1.0 {
        table.reading().sink.error(table.head(), "`fail`, `hang` and `vanish` are more than 1 together");
    }
    trouble
}

/// A digest of all that a machine is made from: what it costs, and when it ends by itself, does not make it another one.
pub(super) fn digest(template: &LocalTemplate, image: &str, master: Option<&str>) -> String {
    let LocalTemplate { directory, program, environment, user, cgroup, memory, cpus, trouble, .. } = template;
    super::digest(&(image, master, directory, program, environment, user, cgroup, memory, cpus, trouble))
}

//! An EC2 on this machine, for a master that runs beside it: until it is interrupted, or with a program `ganger`, until that has
//! shown a pool of it.

use std::{env, io::Write as _, process::Command};

use anyhow::{Context as _, bail};
use testkit::ec2::lab::{IMAGE, Lab};

/// Where the master listens, and where its machines enroll.
const PORTS: [u16; 2] = [9989, 9990];

/// How many builds are asked for to show the pool, and how many machines it may have.
const BUILDS: &str = "40";
const MACHINES: u32 = 6;

#[expect(clippy::print_stdout, reason = "it is for the person who runs it")]
fn main() -> anyhow::Result<()> {
    let lab = Lab::start(&PORTS)?;
    if let Some(ganger) = env::args_os().nth(1) {
        let mut site = tempfile::NamedTempFile::new()?;
        site.write_all(pool(&lab, "demo", MACHINES).as_bytes())?;
        let mut show = Command::new(&ganger);
        show.args(["quickstart", "--pool", "--requests", BUILDS, "--site"]).arg(site.path());
        // It hears Ctrl-C as well, and ends first.
        let shown = show.status().with_context(|| format!("{} cannot be run", ganger.display()))?;
        drop(lab);
        if !shown.success() {
            bail!("the pool was not shown to the end: {shown}");
        }
        return Ok(());
    }
    println!(
        "EC2 answers at {}, and boots what it starts, until Ctrl-C. A ganger.toml for it:\n\n{}{BUILDER}",
        lab.proxy().endpoint(),
        pool(&lab, "linux", 5)
    );
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tokio::signal::ctrl_c())?;
    drop(lab);
    Ok(())
}

/// A master with a pool of this laboratory.
fn pool(lab: &Lab, name: &str, max: u32) -> String {
    let (endpoint, router, [workers, enroll]) = (lab.proxy().endpoint(), lab.router(), PORTS);
    let certificate = lab.imds().certificate();
    format!(
        r#"[master]
collapseRequests = false
listen = ["tcp:127.0.0.1:{workers}"]
enroll = "tls:127.0.0.1:{enroll}"
enroll-address = "{router}:{enroll}"
aws-certificates = "{certificate}"

[[pool]]
name = "{name}"
max = {max}
max_builds = 1
build_wait_timeout = 4
master = "{router}:{workers}"

[pool.ec2]
endpoint = "{endpoint}"
identifier = "lab"
secret_identifier = "lab"
region = "us-east-1"
zones = ["us-east-1a", "us-east-1b"]
ami = "{IMAGE}"
instance_type = "c5.large"
price = 0.085
"#,
        certificate = certificate.display(),
    )
}

const BUILDER: &str = r#"
[[builder]]
name = "hello"
workers = ["linux"]

[[builder.step]]
type = "ShellCommand"
command = "hostname; id"

[[scheduler]]
type = "ForceScheduler"
name = "force"
builderNames = ["hello"]
"#;

//! Runs the laboratory until it is interrupted: an EC2 on this machine, for a master that runs beside it.

use testkit::ec2::lab::{IMAGE, Lab};

/// Where the master listens, and where its machines enroll.
const PORTS: [u16; 2] = [9989, 9990];

#[expect(clippy::print_stdout, reason = "it is for the person who runs it")]
fn main() -> anyhow::Result<()> {
    let lab = Lab::start(&PORTS)?;
    let (endpoint, router) = (lab.proxy().endpoint(), lab.router());
    let certificate = lab.imds().certificate();
    let [workers, enroll] = PORTS;
    println!(
        r#"EC2 answers at {endpoint}, and boots what it starts, until Ctrl-C. A ganger.toml for it:

[master]
listen = ["tcp:127.0.0.1:{workers}"]
enroll = "tls:127.0.0.1:{enroll}"
enroll-address = "{router}:{enroll}"
aws-certificates = "{certificate}"

[[pool]]
name = "linux"
max = 5
max_builds = 1
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
"#,
        certificate = certificate.display(),
    );
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(tokio::signal::ctrl_c())?;
    drop(lab);
    Ok(())
}

//! The Terraform module in `examples/`, applied to moto, which answers like EC2 and IAM.

use std::{
    env,
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::tools::{self, root};

const MOTO: &str = "moto-5.2.1";

/// A directory with providers, for machines that do not reach the registry.
const PLUGINS: &str = "GANGER_TERRAFORM_PLUGINS";

/// Where images of machines keep providers.
const KNOWN_PLUGINS: [&str; 2] = ["/usr/local/share/terraform/plugins", "/opt/tf-plugins"];

/// Long enough for moto to start on a busy machine.
const START: Duration = Duration::from_secs(60);

/// Applies the module, looks whether a second plan has nothing to do, and destroys what was made.
#[expect(clippy::print_stderr, reason = "what is not run is told to the person who runs the task")]
pub(crate) fn run() -> Result<()> {
    let title = "the Terraform module";
    if !Command::new("terraform").arg("version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("==> {title}: NOT RUN, there is no `terraform`");
        return Ok(());
    }
    let directory = root().join("target/terraform");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    let moto = Moto::start()?;
    fs::write(directory.join("main.tf"), configuration(moto.address))?;
    let mut init = terraform(&directory, &["init", "-input=false"]);
    let plugins = plugins();
    if let Some(plugins) = &plugins {
        let mut argument = OsString::from("-plugin-dir=");
        argument.push(plugins);
        init.arg(argument);
    }
    if let Err(error) = tools::run(&format!("{title}: init"), &mut init) {
        if plugins.is_some() {
            return Err(error);
        }
        eprintln!(
            "==> {title}: NOT RUN, the registry has no provider for AWS; {PLUGINS} names a directory with it"
        );
        return Ok(());
    }
    tools::run(
        &format!("{title}: apply"),
        &mut terraform(&directory, &["apply", "-auto-approve", "-input=false"]),
    )?;
    let output = terraform(&directory, &["output", "-raw", "pool"]).output().context("terraform output")?;
    let pool = String::from_utf8_lossy(&output.stdout);
    for key in ["[pool.ec2]", "region = \"us-east-1\"", "subnet_id = [\"subnet-", "launch-template = \"lt-"] {
        if !pool.contains(key) {
            bail!("{title}: its table for ganger.toml has no `{key}`:\n{pool}");
        }
    }
    // Ends with 2 when there is something to do.
    tools::run(
        &format!("{title}: a second plan has nothing to do"),
        &mut terraform(&directory, &["plan", "-detailed-exitcode", "-input=false"]),
    )?;
    tools::run(
        &format!("{title}: destroy"),
        &mut terraform(&directory, &["destroy", "-auto-approve", "-input=false"]),
    )
}

fn terraform(directory: &Path, args: &[&str]) -> Command {
    let mut terraform = Command::new("terraform");
    terraform.args(args).arg("-no-color").current_dir(directory).env("CHECKPOINT_DISABLE", "1");
    terraform
}

fn plugins() -> Option<PathBuf> {
    let named = env::var_os(PLUGINS).map(PathBuf::from);
    named.or_else(|| KNOWN_PLUGINS.into_iter().map(PathBuf::from).find(|path| path.is_dir()))
}

/// A root module that uses the one in `examples/`. Without `tags`: moto shows tags of a launch template as tags of its instances.
fn configuration(moto: SocketAddr) -> String {
    // The package is all of `examples`, as the module reads the policy beside itself.
    let source = format!("{}//terraform", root().join("examples").display());
    format!(
        r#"provider "aws" {{
  region                      = "us-east-1"
  access_key                  = "x"
  secret_key                  = "y"
  skip_credentials_validation = true
  skip_metadata_api_check     = true
  skip_requesting_account_id  = true
  endpoints {{
    ec2    = "http://{moto}"
    events = "http://{moto}"
    iam    = "http://{moto}"
    sqs    = "http://{moto}"
    sts    = "http://{moto}"
  }}
}}

module "ganger" {{
  source   = {source:?}
  image_id = "ami-12c6146b"
  queues   = ["linux"]
}}

output "pool" {{
  value = module.ganger.pool
}}
"#
    )
}

/// A server that ends with the value.
struct Moto {
    server: Child,
    address: SocketAddr,
}

impl Moto {
    fn start() -> Result<Self> {
        let venvs = env::var_os("GANGER_VENVS").map_or_else(|| root().join(".venvs"), PathBuf::from);
        let python = venvs.join(MOTO).join("bin/python");
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let server = Command::new(&python)
            .arg(venvs.join(MOTO).join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", &address.port().to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| {
                format!("cannot run {}: `python3 tests/python/venvs.py {MOTO}` makes it", python.display())
            })?;
        let mut moto = Self { server, address };
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = moto.server.try_wait()? {
                bail!("moto_server ended with {status}");
            }
            if start.elapsed() > START {
                bail!("moto_server does not listen on {address} after {} s", START.as_secs());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(moto)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // It may have ended by itself.
        self.server.kill().ok();
        self.server.wait().ok();
    }
}

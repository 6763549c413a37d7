//! A proxy in front of [moto](super::moto) that makes what moto lacks, and fails on demand.
//!
//! Made here: `ClientToken` (for `RunInstances` and `CreateFleet`), `MaxCount`, instant fleets, `pending` and `shutting-down` that
//! last, machines that nobody knows of yet, spot prices and requests, capacity, quotas (and Service Quotas, which says them), the price list, buckets of calls, pages, all filters of
//! `DescribeInstances`, console output. What callers meet otherwise is moto's.

mod control;
mod faults;
mod fleet;
mod launch;
mod list_prices;
mod listing;
mod market;
mod quotas;
mod server;
mod settings;
mod world;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use serde::Serialize;
use tokio::{net::TcpListener, sync::watch};

pub use self::{
    faults::{Fault, Harm},
    settings::{Bucket, Capacity, Market, Settings},
};
use self::{server::Server, world::World};
use super::{
    moto::{ACCOUNT, Client, Moto},
    query::Query,
    runtime::{self, Threads},
    xml::Element,
};

/// An EC2 for tests: moto and the proxy in front of it. Both end with the value.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    server: Arc<Server>,
    threads: Threads,
    /// Last, so that nobody asks it any more when it ends.
    _moto: Moto,
}

/// A call that was made.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    /// When, after the start of the proxy.
    pub at: Duration,
    /// `RunInstances`.
    pub action: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// `ok`, the code of the error, or `dropped`; empty while it is under way.
    pub outcome: String,
}

impl Call {
    /// Its `ClientToken`.
    pub fn token(&self) -> Option<&str> {
        self.parameters.get("ClientToken").map(String::as_str)
    }
}

impl Proxy {
    /// Starts moto and the proxy, on free ports of this machine.
    ///
    /// # Errors
    /// moto does not start.
    pub fn start() -> anyhow::Result<Self> {
        let moto = Moto::start()?;
        let threads = Threads::start()?;
        let server = Arc::new(Server::new(moto.client(), watch::channel(0).0));
        let listener = threads.run(async {
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("the proxy cannot listen")
        })?;
        let address = listener.local_addr()?;
        threads.spawn(Arc::clone(&server).serve(listener));
        Ok(Self { address, server, threads, _moto: moto })
    }

    /// Where callers find it: what `AWS_ENDPOINT_URL` is set to.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes moto's calls past the proxy: they are in no log and meet no fault.
    pub fn moto(&self) -> Client {
        self.server.moto
    }

    /// Calls EC2 past the proxy, as somebody with the console would.
    ///
    /// # Errors
    /// What moto refuses, with its text.
    pub fn call(&self, action: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Element> {
        let (moto, query) = (self.server.moto, Query::new(action, parameters));
        self.threads.run(async move { moto.call(&query).await })
    }

    /// Sets a parameter of Systems Manager.
    ///
    /// # Errors
    /// moto does not take it.
    pub fn put_parameter(&self, name: &str, value: &str) -> anyhow::Result<()> {
        let moto = self.server.moto;
        let parameter =
            serde_json::json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true});
        self.threads.run(async move { moto.call_json("ssm", "AmazonSSM.PutParameter", &parameter).await })?;
        Ok(())
    }

    /// Makes a queue.
    ///
    /// # Errors
    /// moto does not.
    pub fn make_queue(&self, name: &str) -> anyhow::Result<()> {
        self.queue("CreateQueue", serde_json::json!({"QueueName": name}))?;
        Ok(())
    }

    /// Puts a message into a queue.
    ///
    /// # Errors
    /// moto does not.
    pub fn send_message(&self, queue: &str, body: &str) -> anyhow::Result<()> {
        let message = serde_json::json!({"QueueUrl": self.queue_url(queue), "MessageBody": body});
        self.queue("SendMessage", message)?;
        Ok(())
    }

    /// How many messages are in a queue, also those that somebody has received and not deleted.
    ///
    /// # Errors
    /// moto does not say.
    pub fn messages(&self, queue: &str) -> anyhow::Result<u32> {
        let asked = serde_json::json!({"QueueUrl": self.queue_url(queue), "AttributeNames": ["All"]});
        let answer = self.queue("GetQueueAttributes", asked)?;
        ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            .iter()
            .map(|name| {
                Ok(answer["Attributes"][name].as_str().context("a queue without a count")?.parse::<u32>()?)
            })
            .sum()
    }

    /// Where a queue is.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.endpoint())
    }

    fn queue(&self, action: &str, parameters: serde_json::Value) -> anyhow::Result<serde_json::Value> {
        let (moto, target) = (self.server.moto, format!("AmazonSQS.{action}"));
        self.threads.run(async move { moto.call_json("sqs", &target, &parameters).await })
    }

    /// Changes how it behaves.
    pub fn set(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.world().settings);
    }

    /// Lets something go wrong; faults are met in the order in which they were given.
    pub fn fail(&self, fault: Fault) {
        self.world().faults.push(fault);
    }

    /// Forgets all faults, and lets calls go that are held.
    pub fn heal(&self) {
        self.world().faults.clear();
        self.release();
    }

    /// Lets calls go that are held.
    pub fn release(&self) {
        self.server.released.send_modify(|times| *times += 1);
    }

    /// The calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.world().calls.clone()
    }

    /// The calls of one action so far, in order.
    pub fn calls_of(&self, action: &str) -> Vec<Call> {
        self.calls().into_iter().filter(|call| call.action == action).collect()
    }

    /// Waits until so many calls of an action were made; gives back all of them.
    ///
    /// # Errors
    /// They were not, within the limit.
    pub fn wait_for_calls(&self, action: &str, count: usize, limit: Duration) -> anyhow::Result<Vec<Call>> {
        runtime::wait_for(&format!("{count} calls of {action}"), limit, || {
            let calls = self.calls_of(action);
            Ok((calls.len() >= count).then_some(calls))
        })
    }

    /// Ends a machine as the market does when it wants it back, without a warning.
    ///
    /// # Errors
    /// There is no such machine.
    pub fn reclaim(&self, instance: &str) -> anyhow::Result<()> {
        self.end(instance, "Server.SpotInstanceTermination", "Spot instance termination")
    }

    /// Ends a machine that nobody asked to end, with this reason.
    ///
    /// # Errors
    /// There is no such machine.
    pub fn end(&self, instance: &str, code: &str, message: &str) -> anyhow::Result<()> {
        self.call("TerminateInstances", &[("InstanceId.1", instance)])?;
        self.world().end(instance, Some((code.into(), message.into())));
        Ok(())
    }

    /// What `GetConsoleOutput` says of a machine.
    pub fn set_console(&self, instance: &str, text: String) {
        self.world().consoles.insert(instance.into(), text);
    }

    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.server.world()
    }
}

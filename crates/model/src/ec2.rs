//! What machines of a pool on EC2 are made from, as it is configured. Words are EC2's.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};

use crate::pool::Money;

/// What a pool's machines on EC2 are made from.
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    /// Where all calls go instead of to AWS: `http://127.0.0.1:5000`.
    pub endpoint: Option<String>,
    /// Who makes the calls.
    pub credentials: Credentials,
    /// Where machines may be, in the order in which they are tried at the same price. Never empty.
    pub placements: Vec<Placement>,
    /// What types they may have. Empty only where `requirements` say it.
    pub types: Vec<TypeChoice>,
    /// What types have to be like, where none are named.
    pub requirements: Option<Requirements>,
    /// Whether and how they are bought on the spot market.
    pub spot: Option<Spot>,
    /// Whether they may be bought on demand. True when there is no `spot`.
    pub on_demand: bool,
    /// How EC2 chooses among what competes in one call; `None`: each call is for one type in one place.
    pub fleet: Option<Fleet>,
    /// How a machine becomes a worker of the pool.
    pub enrollment: Enrollment,
    /// A launch template that gives whatever is not said here.
    pub launch_template: Option<LaunchTemplate>,
    /// The role that machines have.
    pub instance_profile: Option<String>,
    /// More tags of instances, volumes, network interfaces and spot requests. None begins with `ganger:` or `aws:`.
    pub tags: BTreeMap<String, String>,
    /// Whether a tag says until when a machine is surely somebody's.
    pub expiry_tag: bool,
    /// Volumes, by device name.
    pub block_devices: Vec<BlockDevice>,
    /// Volumes that are there already, attached to the (one) machine of the pool.
    pub attach: Vec<Attachment>,
    /// Addresses that machines get: allocation ids, or addresses. No more machines than addresses have one.
    pub elastic_ips: Vec<String>,
    /// `default`, `dedicated` or `host`.
    pub tenancy: Option<String>,
    /// Whether a public address is given; `None` is what the subnet says.
    pub public_ip: Option<bool>,
    /// How many network hops away from the machine its metadata can be read.
    pub hop_limit: u8,
    /// Whether machines that are stopped keep what is in their memory, on the root volume.
    pub hibernate: bool,
    /// A file whose text becomes user data, with `@DOCUMENT@` replaced by the machine's document in base64; `None`: the
    /// document itself is the user data.
    pub user_data: Option<PathBuf>,
    /// A worker that has no master for so long ends with its machine; zero is never.
    pub silence: Duration,
    /// When the workspace is cleaned.
    pub clean: Clean,
}

impl Template {
    /// What machines boot, in a word: the name under which an image is tried, trusted and left. For several placements their
    /// images in order, unless they are the same. `None` when one has to be found, and `found` has not.
    pub fn image_name(&self, found: impl Fn(usize) -> Option<String>) -> Option<String> {
        let name = |(index, placement): (usize, &Placement)| match (&placement.image, &self.launch_template) {
            (Some(Image::Id(id)), _) => Some(id.clone()),
            (Some(Image::Newest { .. } | Image::Parameter(_)), _) => found(index),
            (None, Some(LaunchTemplate { template, version })) => Some(format!("{template}:{version}")),
            (None, None) => Some(String::new()),
        };
        let mut names = self.placements.iter().enumerate().map(name).collect::<Option<Vec<_>>>()?;
        if names.windows(2).all(|pair| pair[0] == pair[1]) {
            names.truncate(1);
        }
        Some(names.join(","))
    }
}

/// Who makes calls.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// The default chain: environment, profile, web identity, the machine's role.
    Chain {
        /// A profile of the AWS configuration files.
        profile: Option<String>,
    },
    /// An access key.
    Key {
        /// Its id.
        id: String,
        /// Its secret.
        secret: SecretString,
    },
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Chain { profile }, Self::Chain { profile: other }) => profile == other,
            (Self::Key { id, secret }, Self::Key { id: other_id, secret: other_secret }) => {
                id == other_id && secret.expose_secret() == other_secret.expose_secret()
            }
            _ => false,
        }
    }
}

/// A place where machines may be.
#[derive(Clone, Debug, PartialEq)]
pub struct Placement {
    /// The region: `eu-central-1`.
    pub region: String,
    /// Zones, where no subnets are named: `eu-central-1a`. None is any.
    pub zones: Vec<String>,
    /// Subnets. None is the default one of each zone.
    pub subnets: Vec<String>,
    /// Security groups, by id (`sg-…`) or name.
    pub security_groups: Vec<String>,
    /// What they boot; `None` is what the launch template says.
    pub image: Option<Image>,
    /// The SSH key pair.
    pub key_name: Option<String>,
    /// The URL of the SQS queue that EventBridge puts interruptions into.
    pub interruption_queue: Option<String>,
}

/// What machines boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Image {
    /// This one: `ami-…`.
    Id(String),
    /// The newest one whose name has this form (`*` and `?`), or whose location matches, of these owners.
    Newest {
        /// The form of its name.
        name: Option<String>,
        /// A regular expression for its location (`OWNER/NAME`); its first group orders them, as in `EC2LatentWorker`.
        location: Option<String>,
        /// Owners: account ids, `self`, `amazon`. Never empty.
        owners: Vec<String>,
    },
    /// The one that this SSM parameter names.
    Parameter(String),
}

/// A type of machine.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeChoice {
    /// `m7i.large`.
    pub name: String,
    /// What an hour of it costs on demand.
    pub price: Money,
    /// How much faster builds are than on the slowest one.
    pub performance: f64,
}

/// What types of machines have to be like.
#[derive(Clone, Debug, PartialEq)]
pub struct Requirements {
    /// Virtual processors, at least.
    pub vcpus_min: u32,
    /// Virtual processors, at most.
    pub vcpus_max: Option<u32>,
    /// Memory in GiB, at least.
    pub memory_min: f64,
    /// Memory in GiB, at most.
    pub memory_max: Option<f64>,
    /// `x86_64` or `arm64`.
    pub architecture: String,
    /// Whether types of previous generations will do.
    pub previous_generations: bool,
    /// Whether types whose processors are throttled will do.
    pub burstable: bool,
    /// Forms of names that will not do: `m4.*`.
    pub excluded: Vec<String>,
    /// So many types, the cheapest.
    pub most_types: u32,
}

/// How machines are bought on the spot market.
#[derive(Clone, Debug, PartialEq)]
pub struct Spot {
    /// What is bid.
    pub bid: Bid,
    /// The most that is ever bid for an hour.
    pub ceiling: Option<Money>,
    /// Whether a bid may be above the price on demand.
    pub above_on_demand: bool,
    /// `Linux/UNIX`, `Windows`, …: what prices are asked for.
    pub product: String,
}

/// What is bid for an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Bid {
    /// The price on demand: the market's own cap.
    OnDemand,
    /// So much.
    Absolute(Money),
    /// So many times the market's price now.
    TimesMarket(f64),
    /// So many times what the market's price stayed below for 95 % of the last seven days.
    TimesP95(f64),
    /// So many times the price on demand.
    TimesOnDemand(f64),
}

/// How EC2 chooses among types and places that compete in one call (`CreateFleet`). Words are EC2's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// On the spot market: `price-capacity-optimized`, …
    pub spot: String,
    /// On demand: `prioritized` (by the pool's own order) or `lowest-price`.
    pub on_demand: String,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { spot: "price-capacity-optimized".to_owned(), on_demand: "prioritized".to_owned() }
    }
}

/// How a machine becomes a worker of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enrollment {
    /// By its instance identity document and the call's ticket: any number in a call.
    #[default]
    Identity,
    /// By a one-time secret in user data: one machine in a call.
    Secret,
    /// By a one-time secret in its tags, which its metadata shows.
    Tags,
}

/// A launch template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaunchTemplate {
    /// Its id (`lt-…`) or its name.
    pub template: String,
    /// A number, `$Latest` or `$Default`.
    pub version: String,
}

/// A volume of a new machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockDevice {
    /// `/dev/xvda`.
    pub device: String,
    /// GiB.
    pub size: Option<u32>,
    /// `gp3`, …
    pub kind: Option<String>,
    /// Operations per second.
    pub iops: Option<u32>,
    /// MiB per second.
    pub throughput: Option<u32>,
    /// Whether it is encrypted; `None` is the account's default.
    pub encrypted: Option<bool>,
    /// A snapshot that it is made from.
    pub snapshot: Option<String>,
    /// An instance store volume: `ephemeral0`.
    pub virtual_name: Option<String>,
    /// Whether it goes with the machine.
    pub delete_on_termination: bool,
}

/// A volume that is there already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// `vol-…`.
    pub volume: String,
    /// `/dev/xvdf`.
    pub device: String,
}

/// When a machine's workspace is cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Clean {
    /// Never: builders clean for themselves.
    #[default]
    Never,
    /// When its worker starts.
    Start,
    /// When its worker starts, and whenever it has no build after some.
    Idle,
}

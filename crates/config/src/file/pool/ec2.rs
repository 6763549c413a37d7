//! `[pool.ec2]`: machines that are instances of EC2. What `EC2LatentWorker` takes has its name here.

use std::{collections::BTreeMap, fs, time::Duration};

use ::model::{
    ec2::{
        Attachment, Bid, BlockDevice, Clean, Credentials, Enrollment, Fleet, Image, LaunchTemplate,
        Placement, Requirements, Spot, Template, TypeChoice,
    },
    pool::Money,
};

use crate::{
    file::secret,
    schema::{Fallback, Key, Kind},
    table::{Keys, Table},
    value::Value,
};

const SECRET: [&str; 3] = ["secret_identifier", "secret-identifier-file", "secret-identifier-env"];

/// The most tags that EC2 takes for a machine, less those that Ganger sets.
const TAGS: usize = 40;

/// Where machines may be, and what differs between regions.
const PLACE: &[Key] = &[
    Key::new("region", Kind::Text, "the region: `eu-central-1`"),
    Key::new("zones", Kind::Texts, "zones of it; none is any"),
    Key::new("subnet_id", Kind::Texts, "subnets, instead of zones"),
    Key::new("security_group_ids", Kind::Texts, "security groups, by their ids"),
    Key::new("security_name", Kind::Text, "a security group of the default VPC, by its name"),
    Key::new("keypair_name", Kind::Text, "the SSH key pair, for people who look at a machine"),
    Key::new(
        "interruption-queue",
        Kind::Text,
        "the URL of an SQS queue of the region into which EventBridge puts interruptions",
    ),
    Key::new("ami", Kind::Text, "the image that machines boot: `ami-…`"),
    Key::new(
        "ami-name",
        Kind::Text,
        "the newest image with such a name (`*` and `?`); needs `valid_ami_owners`",
    ),
    Key::new(
        "valid_ami_location_regex",
        Kind::Text,
        "the image whose location is like that, and whose first group comes last; needs `valid_ami_owners`",
    ),
    Key::new("valid_ami_owners", Kind::Texts, "whose images are looked at: account ids, `self`, `amazon`"),
    Key::new("ami-parameter", Kind::Text, "the SSM parameter that names the image"),
];

pub(in crate::file) const EC2: Keys = Keys {
    what: "`[pool.ec2]`",
    groups: &[
        PLACE,
        &[
            Key::new(
                "placement",
                Kind::Tables("[[pool.ec2.placement]]"),
                "several places, each with its own",
            ),
            Key::new("instance_type", Kind::Text, "the type of machine: `m7i.large`"),
            Key::new(
                "price",
                Kind::Number,
                "what an hour of it costs on demand; required with `instance_type`",
            ),
            Key::new("type", Kind::Tables("[[pool.ec2.type]]"), "several types, instead"),
            Key::new(
                "requirements",
                Kind::Tables("[pool.ec2.requirements]"),
                "what types have to be like, instead of their names; prices are those of AWS's price list",
            ),
            Key::new("spot_instance", Kind::Bool, "whether machines are bought on the spot market")
                .default(Fallback::Bool(false)),
            Key::new(
                "on-demand",
                Kind::Bool,
                "whether they may be bought on demand too, by `on-demand-after` of a class, or \
                      when the market has none",
            )
            .default(Fallback::Of("`true` without `spot_instance`, else `false`")),
            Key::new("max_spot_price", Kind::Number, "the most that is bid for an hour")
                .default(Fallback::Of("the price on demand")),
            Key::new(
                "price_multiplier",
                Kind::Number,
                "what is bid: so many times `multiplied-price`, and never more than `max_spot_price`",
            ),
            Key::new(
                "multiplied-price",
                Kind::Choice(&["market", "p95", "on-demand"]),
                "the market's price now, what it stayed \
                      below for 95 % of the last seven days, or the price on demand",
            )
            .default(Fallback::Text("market")),
            Key::new("bid-above-on-demand", Kind::Bool, "whether a bid may be above the price on demand")
                .default(Fallback::Bool(false)),
            Key::new(
                "fleet",
                Kind::Bool,
                "whether types and zones of a market compete in one call (`CreateFleet`), and EC2 chooses",
            )
            .default(Fallback::Of("`true` without `launch-template` and `enrollment = \"secret\"`")),
            Key::new(
                "spot-allocation-strategy",
                Kind::Choice(&[
                    "price-capacity-optimized",
                    "capacity-optimized",
                    "capacity-optimized-prioritized",
                    "diversified",
                    "lowest-price",
                ]),
                "how EC2 chooses on the spot market",
            )
            .default(Fallback::Text("price-capacity-optimized")),
            Key::new(
                "on-demand-allocation-strategy",
                Kind::Choice(&["prioritized", "lowest-price"]),
                "how EC2 chooses on demand: in the pool's order, which counts `performance` in, or by price",
            )
            .default(Fallback::Text("prioritized")),
            Key::new("product_description", Kind::Text, "what the market's prices are asked for")
                .default(Fallback::Text("Linux/UNIX")),
            Key::new(
                "launch-template",
                Kind::Text,
                "a launch template, by id or name, for whatever is not said here",
            ),
            Key::new("launch-template-version", Kind::Text, "its version")
                .default(Fallback::Text("$Default")),
            Key::new("instance_profile_name", Kind::Text, "the instance profile of machines, by name or ARN"),
            Key::new("block-device", Kind::Tables("[[pool.ec2.block-device]]"), "volumes that machines get"),
            Key::new(
                "volume",
                Kind::Tables("[[pool.ec2.volume]]"),
                "volumes that are there before, for a pool of one",
            ),
            Key::new(
                "elastic_ip",
                Kind::Texts,
                "addresses that machines get while there are any: allocation ids or addresses",
            ),
            Key::new("tenancy", Kind::Choice(&["default", "dedicated", "host"]), "whose hardware it is")
                .default(Fallback::Of("what the VPC says")),
            Key::new(
                "public-ip",
                Kind::Bool,
                "whether machines get a public address; needs `subnet_id` and `security_group_ids`",
            )
            .default(Fallback::Of("what the subnet says")),
            Key::new(
                "hop-limit",
                Kind::Integer(1, 64),
                "from how many network hops away metadata can be read; with 1 not from \
                      containers",
            )
            .default(Fallback::Integer(1)),
            Key::new(
                "hibernate",
                Kind::Bool,
                "whether machines that `[pool.stopped]` stops keep what is in their memory, on an encrypted root volume",
            )
            .default(Fallback::Bool(false)),
            Key::new("tags", Kind::Dict, "more tags of all that is started"),
            Key::new(
                "expiry-tag",
                Kind::Bool,
                "whether a tag, `ganger:expires`, says for who cleans up until when a machine is surely wanted",
            )
            .default(Fallback::Bool(false)),
            Key::new(
                "user-data-file",
                Kind::Text,
                "a file that becomes user data, with `@DOCUMENT@` for the machine's document in \
                      base64",
            )
            .default(Fallback::Of("the document alone")),
            Key::new(
                "enrollment",
                Kind::Choice(&["identity", "secret", "tags"]),
                "how machines prove that they are the pool's, \
                      see [enrollment.md](enrollment.md)",
            )
            .default(Fallback::Text("identity")),
            Key::new(
                "silence",
                Kind::Seconds,
                "a machine that has no master for so long powers itself off; 0 is never",
            )
            .default(Fallback::Integer(1800)),
            Key::new(
                "clean",
                Kind::Choice(&["never", "start", "idle"]),
                "when the workspace is emptied: as the worker starts, or also \
                      when it has no build after some",
            )
            .default(Fallback::Text("never")),
            Key::new("profile", Kind::Text, "a profile of the AWS configuration files"),
            Key::new(
                "identifier",
                Kind::Text,
                "the id of an access key; left out, credentials are looked for where every AWS program does",
            ),
            Key::new(SECRET[0], Kind::Text, "its secret"),
            Key::new(SECRET[1], Kind::Text, "a file with its secret"),
            Key::new(SECRET[2], Kind::Text, "an environment variable with its secret"),
            Key::new("aws_id_file_path", Kind::Text, "a file with both, in its first two lines"),
            Key::new("endpoint", Kind::Text, "where calls go instead of to AWS"),
        ],
    ],
    hints: &[
        ("placement_zone", "it is called `zones`"),
        ("volumes", "each is a `[[pool.ec2.volume]]` with `volume` and `device`"),
        ("block_device_map", "each is a `[[pool.ec2.block-device]]`"),
        ("user_data", "a text stands in a file of its own: `user-data-file`"),
        ("session", "`profile`, or `identifier` and `secret-identifier-file`"),
        ("build_wait_timeout", "it stands in `[[pool]]`"),
        ("max_builds", "it stands in `[[pool]]`"),
        ("missing_timeout", "it stands in `[[pool]]`"),
        ("spot_price", "it is called `max_spot_price`"),
        ("image", "it is called `ami`"),
    ],
};

pub(in crate::file) const PLACEMENT: Keys = Keys {
    what: "a placement",
    groups: &[PLACE],
    hints: &[("zone", "it is called `zones`"), ("subnet_ids", "it is called `subnet_id`")],
};

pub(in crate::file) const TYPE: Keys = Keys {
    what: "a type of machine",
    groups: &[&[
        Key::new("name", Kind::Text, "`m7i.large`").required(),
        Key::new("price", Kind::Number, "what an hour costs on demand").required(),
        Key::new("performance", Kind::Number, "how much faster builds are than on the slowest type")
            .default(Fallback::Integer(1)),
    ]],
    hints: &[("instance_type", "it is called `name`")],
};

pub(in crate::file) const REQUIREMENTS: Keys = Keys {
    what: "what types have to be like",
    groups: &[&[
        Key::new("vcpus-min", Kind::Integer(1, 1024), "virtual processors, at least").required(),
        Key::new("vcpus-max", Kind::Integer(1, 1024), "virtual processors, at most"),
        Key::new("memory-min", Kind::Number, "GiB of memory, at least").required(),
        Key::new("memory-max", Kind::Number, "GiB of memory, at most"),
        Key::new(
            "architecture",
            Kind::Choice(&["x86_64", "arm64"]),
            "the processors, as the image needs them",
        )
        .default(Fallback::Text("x86_64")),
        Key::new("previous-generations", Kind::Bool, "whether types of previous generations will do")
            .default(Fallback::Bool(false)),
        Key::new("burstable", Kind::Bool, "whether types whose processors are throttled (`t3`) will do")
            .default(Fallback::Bool(false)),
        Key::new("excluded", Kind::Texts, "types that will not do, with `*` and `?`: `m5a.*`"),
        Key::new("most-types", Kind::Integer(1, 60), "so many types, the cheapest")
            .default(Fallback::Integer(20)),
    ]],
    hints: &[("vcpus", "`vcpus-min` and `vcpus-max`"), ("memory", "`memory-min` and `memory-max`")],
};

pub(in crate::file) const BLOCK_DEVICE: Keys = Keys {
    what: "a block device",
    groups: &[&[
        Key::new("device", Kind::Text, "`/dev/xvda`").required(),
        Key::new("size", Kind::Integer(1, 65_536), "GiB"),
        Key::new(
            "volume_type",
            Kind::Choice(&["gp3", "gp2", "io1", "io2", "st1", "sc1", "standard"]),
            "its type",
        ),
        Key::new("iops", Kind::Integer(100, 256_000), "operations per second"),
        Key::new("throughput", Kind::Integer(125, 2_000), "MiB per second"),
        Key::new("encrypted", Kind::Bool, "whether it is encrypted")
            .default(Fallback::Of("what the account says")),
        Key::new("snapshot", Kind::Text, "a snapshot that it is made from"),
        Key::new("virtual_name", Kind::Text, "an instance store volume instead: `ephemeral0`"),
        Key::new("delete_on_termination", Kind::Bool, "whether it goes with the machine")
            .default(Fallback::Bool(true)),
    ]],
    hints: &[("volume_size", "it is called `size`")],
};

pub(in crate::file) const VOLUME: Keys = Keys {
    what: "a volume",
    groups: &[&[
        Key::new("volume", Kind::Text, "its id: `vol-…`").required(),
        Key::new("device", Kind::Text, "where it is attached: `/dev/xvdf`").required(),
    ]],
    hints: &[],
};

/// What a pool's machines are made from; `max` is the pool's, and `stops` whether it has stopped machines.
pub(super) fn read(value: Value<'_>, max: Option<u32>, stops: bool) -> Option<Template> {
    let table = Table::of(value, EC2)?;
    let sink = &table.reading().sink;
    let text = |key| table.text(key).map(|(text, _)| text.to_owned());
    let placements = placements(&table);
    let requirements = table.value("requirements").and_then(requirements);
    let types = types(&table);
    let (spot, wants_spot) = spot(&table);
    let on_demand = table.value("on-demand").is_some().then(|| table.bool("on-demand"));
    if let Some(value) = table.value("on-demand").filter(|_| on_demand == Some(false) && !wants_spot) {
        value.error("without `spot_instance` there is nothing else to buy");
    }
    let block_devices: Vec<_> = table.tables("block-device").into_iter().filter_map(block_device).collect();
    let attach: Vec<_> = table.tables("volume").into_iter().filter_map(attachment).collect();
    if let Some(value) =
        table.value("volume").filter(|_| !attach.is_empty() && max.is_some_and(|max| max > 1))
    {
        value
            .error("a volume can be attached to one machine only")
            .help("pools with volumes of their own have `max = 1`");
    }
    let groups =
        |placement: &Placement| placement.security_groups.iter().all(|group| group.starts_with("sg-"));
    let public_ip = table.value("public-ip").map(|_| table.bool("public-ip"));
    if let Some(value) = table.value("public-ip")
        && !placements.iter().flatten().all(|placement| !placement.subnets.is_empty() && groups(placement))
    {
        value.error("`public-ip` needs `subnet_id`, and security groups by their ids");
    }
    let hibernate = hibernate(&table, &block_devices, wants_spot, stops);
    let launch_template = table.text("launch-template").map(|(template, _)| LaunchTemplate {
        template: template.to_owned(),
        version: text("launch-template-version").unwrap_or_else(|| "$Default".to_owned()),
    });
    if launch_template.is_none() {
        for placement in placements.iter().flatten().filter(|placement| placement.image.is_none()) {
            sink.error(
                table.head(),
                format!("nothing says which image machines in {} boot", placement.region),
            )
            .help("`ami`, `ami-name`, `valid_ami_location_regex`, `ami-parameter` or `launch-template`");
        }
    }
    let endpoint = table.text("endpoint").and_then(|(endpoint, span)| {
        if endpoint.starts_with("http://") || endpoint.starts_with("https://") {
            return Some(endpoint.to_owned());
        }
        sink.error(span, format!("{endpoint:?} is no endpoint")).help("such as \"http://127.0.0.1:5000\"");
        None
    });
    let enrollment = match table.choice("enrollment") {
        Some("secret") => Enrollment::Secret,
        Some("tags") => Enrollment::Tags,
        _ => Enrollment::Identity,
    };
    let (credentials, tags) = (credentials(&table), tags(&table));
    let hop_limit = table.integer("hop-limit").and_then(|hops| u8::try_from(hops).ok()).unwrap_or(1);
    let template = Template {
        endpoint,
        credentials: credentials?,
        placements: placements?,
        types: types?,
        requirements,
        fleet: fleet(&table, enrollment, launch_template.is_some(), wants_spot),
        on_demand: on_demand.unwrap_or(!wants_spot),
        spot,
        enrollment,
        launch_template,
        instance_profile: text("instance_profile_name"),
        tags,
        expiry_tag: table.bool("expiry-tag"),
        block_devices,
        attach,
        elastic_ips: texts(&table, "elastic_ip"),
        tenancy: table.choice("tenancy").map(str::to_owned),
        public_ip,
        hop_limit,
        hibernate,
        user_data: text("user-data-file").map(|path| table.reading().base_dir.join(path)),
        silence: table.seconds("silence").unwrap_or(Duration::from_mins(30)),
        clean: match table.choice("clean") {
            Some("start") => Clean::Start,
            Some("idle") => Clean::Idle,
            _ => Clean::Never,
        },
    };
    Some(template)
}

fn texts(table: &Table<'_>, key: &str) -> Vec<String> {
    table.texts(key).unwrap_or_default().into_iter().map(|(text, _)| text.to_owned()).collect()
}

/// What `[pool.ec2]` itself says of places holds for each `[[pool.ec2.placement]]` that does not say otherwise.
fn placements(common: &Table<'_>) -> Option<Vec<Placement>> {
    let given = common.tables("placement");
    if given.is_empty() {
        return Some(vec![placement(common, None)?]);
    }
    let all = given.iter().map(|value| placement(&Table::of(*value, PLACEMENT)?, Some(common)));
    // All of them are read, so that all errors are told.
    all.collect::<Vec<_>>().into_iter().collect()
}

fn placement(table: &Table<'_>, common: Option<&Table<'_>>) -> Option<Placement> {
    let of = |key: &'static str| {
        if table.value(key).is_some() {
            Some(table)
        } else {
            common.filter(|table| table.value(key).is_some())
        }
    };
    let text = |key| Some(of(key)?.text(key)?.0.to_owned());
    let texts = |key| of(key).map(|table| texts(table, key)).unwrap_or_default();
    if let (Some(_), Some(zones)) = (table.value("subnet_id"), table.value("zones")) {
        zones.error("`zones` does not go together with `subnet_id`: a subnet is in one zone");
    }
    let has_subnets = of("subnet_id").is_some() && table.value("zones").is_none();
    if let Some(name) =
        of("security_name").filter(|_| has_subnets).and_then(|table| table.value("security_name"))
    {
        name.error(
            "`security_name` does not go together with `subnet_id`: EC2 finds names in the default VPC only",
        )
        .help("`security_group_ids`");
    }
    let image = image(table, common);
    let region = text("region");
    if of("region").is_none() {
        table.missing("`region`", "such as `region = \"eu-central-1\"`");
    }
    let mut security_groups = texts("security_group_ids");
    for (group, span) in table.texts("security_group_ids").unwrap_or_default() {
        if !group.starts_with("sg-") {
            table
                .reading()
                .sink
                .error(span, format!("{group:?} is no id of a security group"))
                .help("such as \"sg-0123456789abcdef0\"");
        }
    }
    security_groups.extend(text("security_name"));
    let subnets = texts("subnet_id");
    // A placement's own zones stand instead of subnets that are common to all.
    let own_zones = table.value("zones").is_some();
    let region = region?;
    Some(Placement {
        interruption_queue: of("interruption-queue").and_then(|table| super::queue::url(table, &region)),
        region,
        zones: if table.value("subnet_id").is_some() { Vec::new() } else { texts("zones") },
        subnets: if own_zones { Vec::new() } else { subnets },
        security_groups,
        image,
        key_name: text("keypair_name"),
    })
}

/// Keys that say which image it is; each placement has one of them.
const IMAGES: [&str; 4] = ["ami", "ami-name", "valid_ami_location_regex", "ami-parameter"];

fn image(table: &Table<'_>, common: Option<&Table<'_>>) -> Option<Image> {
    let given =
        |table: &Table<'_>| IMAGES.into_iter().filter(|key| table.value(key).is_some()).collect::<Vec<_>>();
    let (from, keys) = match (given(table), common) {
        (keys, Some(common)) if keys.is_empty() => (common, given(common)),
        (keys, _) => (table, keys),
    };
    let [key, others @ ..] = &keys[..] else { return None };
    for other in others.iter().filter(|other| !(*key == "ami-name" && **other == "valid_ami_location_regex"))
    {
        if let Some(value) = from.value(other) {
            value.error(format!("`{other}` does not go together with `{key}`"));
        }
    }
    let owners = || {
        let owners = [Some(from), common].into_iter().flatten().map(|table| texts(table, "valid_ami_owners"));
        let owners = owners.into_iter().find(|owners| !owners.is_empty()).unwrap_or_default();
        if owners.is_empty()
            && let Some(value) = from.value(key)
        {
            value
                .error(format!("`{key}` needs `valid_ami_owners`: anybody can give an image any name"))
                .help("`valid_ami_owners = [\"self\"]`");
        }
        owners
    };
    let text = |key| from.text(key).map(|(text, _)| text.to_owned());
    match *key {
        "ami" => {
            let (id, span) = from.text("ami")?;
            if !id.starts_with("ami-") {
                from.reading()
                    .sink
                    .error(span, format!("{id:?} is no id of an image"))
                    .help("such as \"ami-0123456789abcdef0\"; by name it is `ami-name`");
            }
            Some(Image::Id(id.to_owned()))
        }
        "ami-parameter" => text(key).map(Image::Parameter),
        _ => Some(Image::Newest {
            name: from.value("ami-name").and_then(|_| text("ami-name")),
            location: from.value("valid_ami_location_regex").and_then(|value| {
                let pattern = text("valid_ami_location_regex")?;
                if let Err(error) = regex::Regex::new(&pattern) {
                    value.error(format!("not a regular expression: {error}"));
                }
                Some(pattern)
            }),
            owners: owners(),
        }),
    }
}

/// What types have to be like.
fn requirements(value: Value<'_>) -> Option<Requirements> {
    let table = Table::of(value, REQUIREMENTS)?;
    let whole = |key| table.value(key).and_then(|_| u32::try_from(table.integer(key)?).ok());
    let number = |key| {
        let value = table.value(key)?;
        let number = table.number(key)?;
        if !(number > 0.0 && number.is_finite()) {
            value.error("no machine has so much memory");
        }
        Some(number)
    };
    let (vcpus_min, vcpus_max) = (whole("vcpus-min"), whole("vcpus-max"));
    let (memory_min, memory_max) = (number("memory-min"), number("memory-max"));
    for (key, contradicts) in [
        ("vcpus-max", vcpus_max.zip(vcpus_min).is_some_and(|(most, least)| most < least)),
        ("memory-max", memory_max.zip(memory_min).is_some_and(|(most, least)| most < least)),
    ] {
        if let Some(value) = table.value(key).filter(|_| contradicts) {
            value.error(format!("`{key}` is less than there has to be at least"));
        }
    }
    Some(Requirements {
        vcpus_min: vcpus_min?,
        vcpus_max,
        memory_min: memory_min?,
        memory_max,
        architecture: table.choice("architecture").unwrap_or("x86_64").to_owned(),
        previous_generations: table.bool("previous-generations"),
        burstable: table.bool("burstable"),
        excluded: texts(&table, "excluded"),
        most_types: table.integer("most-types").and_then(|most| u32::try_from(most).ok()).unwrap_or(20),
    })
}

fn types(table: &Table<'_>) -> Option<Vec<TypeChoice>> {
    let given = table.tables("type");
    let one = table.text("instance_type");
    if let Some(value) = table.value("requirements") {
        if one.is_some() || !given.is_empty() || table.value("price").is_some() {
            value
                .error("`requirements` do not go together with named types and prices")
                .help("`excluded` leaves types out, `max-price` of the pool what is too dear");
        }
        return Some(Vec::new());
    }
    if given.is_empty() {
        let Some((name, span)) = one else {
            if table.value("instance_type").is_none() {
                table.missing("`instance_type`", "one, or several `[[pool.ec2.type]]`");
            }
            return None;
        };
        let Some(price) = table.number("price") else {
            let what = format!("nothing says what an hour of {name} costs on demand");
            table.reading().sink.error(span, what).help("`price`, as the price list of the region has it");
            return None;
        };
        return Some(vec![TypeChoice {
            name: name.to_owned(),
            price: Money::from_units(price),
            performance: 1.0,
        }]);
    }
    if let Some((_, span)) = one {
        table.reading().sink.error(span, "`instance_type` does not go together with `[[pool.ec2.type]]`");
    }
    let mut types: Vec<TypeChoice> = Vec::new();
    for value in given {
        let Some(one) = Table::of(value, TYPE) else { continue };
        let Some((name, span)) = one.text("name") else { continue };
        if types.iter().any(|known| known.name == name) {
            one.reading().sink.error(span, format!("{name:?} is named twice"));
            continue;
        }
        let performance = one.number("performance").unwrap_or(1.0);
        if let Some(value) = one.value("performance").filter(|_| performance <= 0.0) {
            value.error("nothing is built at no speed");
        }
        if let Some(price) = one.number("price") {
            types.push(TypeChoice { name: name.to_owned(), price: Money::from_units(price), performance });
        }
    }
    (!types.is_empty()).then_some(types)
}

/// How the spot market is bought on, and whether it is.
fn spot(table: &Table<'_>) -> (Option<Spot>, bool) {
    let wanted = table.bool("spot_instance");
    let keys = ["max_spot_price", "price_multiplier", "multiplied-price", "bid-above-on-demand"];
    if !wanted {
        for value in keys.iter().filter_map(|key| table.value(key)) {
            value.error("without `spot_instance = true` nothing is bid");
        }
        return (None, false);
    }
    let most = table.value("max_spot_price").and_then(|_| table.number("max_spot_price"));
    let most = most.map(Money::from_units);
    let multiplier = table.value("price_multiplier").and_then(|_| table.number("price_multiplier"));
    if let Some(value) = table.value("price_multiplier").filter(|_| multiplier.is_some_and(|by| by <= 0.0)) {
        value.error("nothing is sold to who bids nothing");
    }
    if let Some(value) = table.value("multiplied-price").filter(|_| table.value("price_multiplier").is_none())
    {
        value.error("without `price_multiplier` nothing is multiplied");
    }
    // As in EC2LatentWorker: `max_spot_price` is what is bid, or, with a multiplier, the most that it may come to.
    let (bid, ceiling) = match (most, multiplier, table.choice("multiplied-price")) {
        (Some(bid), None, _) => (Bid::Absolute(bid), None),
        (most, Some(factor), Some("p95")) => (Bid::TimesP95(factor), most),
        (most, Some(factor), Some("on-demand")) => (Bid::TimesOnDemand(factor), most),
        (most, Some(factor), _) => (Bid::TimesMarket(factor), most),
        (None, None, _) => (Bid::OnDemand, None),
    };
    let product = table.text("product_description").map_or("Linux/UNIX", |(product, _)| product).to_owned();
    (Some(Spot { bid, ceiling, above_on_demand: table.bool("bid-above-on-demand"), product }), true)
}

/// How EC2 chooses among what competes, and whether it does.
fn fleet(table: &Table<'_>, enrollment: Enrollment, has_template: bool, wants_spot: bool) -> Option<Fleet> {
    let against = match enrollment {
        _ if has_template => Some("a fleet has a launch template of its own, beside `launch-template`"),
        Enrollment::Secret => Some("with `enrollment = \"secret\"` a call is for one machine"),
        Enrollment::Identity | Enrollment::Tags => None,
    };
    let wanted = if table.value("fleet").is_some() { table.bool("fleet") } else { against.is_none() };
    if let (Some(value), Some(why)) = (table.value("fleet").filter(|_| wanted), against) {
        value.error(format!("`fleet` cannot be: {why}"));
    }
    let strategies = ["spot-allocation-strategy", "on-demand-allocation-strategy"];
    for value in strategies.iter().filter(|_| !wanted).filter_map(|key| table.value(key)) {
        value.error(match against {
            Some(why) => format!("EC2 has nothing to choose: {why}"),
            None => "with `fleet = false` EC2 has nothing to choose".to_owned(),
        });
    }
    if let Some(value) = table.value("spot-allocation-strategy").filter(|_| wanted && !wants_spot) {
        value.error("without `spot_instance = true` nothing is bought on the spot market");
    }
    let strategy = |key| table.choice(key).unwrap_or_default().to_owned();
    wanted.then(|| Fleet { spot: strategy(strategies[0]), on_demand: strategy(strategies[1]) })
}

/// Whether machines are hibernated when they are stopped.
fn hibernate(table: &Table<'_>, devices: &[BlockDevice], wants_spot: bool, stops: bool) -> bool {
    let wanted = table.bool("hibernate");
    let Some(value) = table.value("hibernate").filter(|_| wanted) else { return false };
    if wants_spot {
        value.error("machines of the spot market are not stopped, so none of them hibernates");
    } else if !stops {
        value.error("without `[pool.stopped]` no machine is stopped, so none hibernates");
    }
    let is_encrypted = devices.iter().any(|device| device.encrypted == Some(true));
    if !is_encrypted && table.value("launch-template").is_none() {
        value
            .error("memory is kept on an encrypted root volume only")
            .help("a `[[pool.ec2.block-device]]` with the root volume's `device`, `encrypted = true` and a `size` that has room for the memory");
    }
    true
}

fn block_device(value: Value<'_>) -> Option<BlockDevice> {
    let table = Table::of(value, BLOCK_DEVICE)?;
    let whole = |key: &str| table.integer(key).and_then(|number| u32::try_from(number).ok());
    let text = |key| table.text(key).map(|(text, _)| text.to_owned());
    Some(BlockDevice {
        device: text("device")?,
        size: whole("size"),
        kind: table.choice("volume_type").map(str::to_owned),
        iops: whole("iops"),
        throughput: whole("throughput"),
        encrypted: table.value("encrypted").map(|_| table.bool("encrypted")),
        snapshot: text("snapshot"),
        virtual_name: text("virtual_name"),
        delete_on_termination: table.bool("delete_on_termination"),
    })
}

fn attachment(value: Value<'_>) -> Option<Attachment> {
    let table = Table::of(value, VOLUME)?;
    let text = |key| table.text(key).map(|(text, _)| text.to_owned());
    let (volume, device) = (text("volume"), text("device"));
    Some(Attachment { volume: volume?, device: device? })
}

fn tags(table: &Table<'_>) -> BTreeMap<String, String> {
    let Some(value) = table.value("tags") else { return BTreeMap::new() };
    let Some(entries) = value.entries() else {
        value.unexpected("a table of texts");
        return BTreeMap::new();
    };
    let mut tags = BTreeMap::new();
    for (name, span, value) in entries {
        let problem = if name.is_empty() || name.chars().count() > 128 {
            "has no name, or one of more than 128 characters"
        } else if name.starts_with("aws:") || name.starts_with("ganger:") {
            "has a name that others set"
        } else {
            tags.extend(value.text().map(|text| (name.to_owned(), text.to_owned())));
            continue;
        };
        value.reading.sink.error(span, format!("a tag {problem}"));
    }
    if tags.len() > TAGS {
        value.error(format!("{} tags; EC2 leaves room for {TAGS}", tags.len()));
    }
    tags
}

fn credentials(table: &Table<'_>) -> Option<Credentials> {
    let (secret, has_secret) = secret::password(table, SECRET);
    let id = table.text("identifier").map(|(id, _)| id.to_owned());
    let file = table.text("aws_id_file_path");
    let given = ["profile", "identifier", "aws_id_file_path"].map(|key| table.value(key));
    let mut given = given.into_iter().flatten();
    if given.next().is_some()
        && let Some(second) = given.next()
    {
        second.error("`profile`, `identifier` and `aws_id_file_path` do not go together");
        return None;
    }
    if let Some((path, span)) = file {
        let path = table.reading().base_dir.join(path);
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => {
                table.reading().sink.error(span, format!("cannot read {}: {error}", path.display()));
                return None;
            }
        };
        let mut lines = text.lines().map(str::trim);
        let (Some(id), Some(secret)) = (lines.next(), lines.next().filter(|secret| !secret.is_empty()))
        else {
            let what = format!("{} has no two lines, the id of a key and its secret", path.display());
            table.reading().sink.error(span, what);
            return None;
        };
        return Some(Credentials::Key { id: id.to_owned(), secret: secret.into() });
    }
    match (id, secret) {
        (Some(id), Some(secret)) => Some(Credentials::Key { id, secret }),
        (Some(_), None) => {
            if !has_secret {
                table.missing("`secret-identifier-file`", "with `identifier`, its secret is needed");
            }
            None
        }
        (None, _) if has_secret => {
            table.missing("`identifier`", "with a secret, the id of its key is needed");
            None
        }
        (None, _) => {
            Some(Credentials::Chain { profile: table.text("profile").map(|(profile, _)| profile.to_owned()) })
        }
    }
}

/// The name under which an image is tried, trusted and left; empty where the provider has to find it.
pub(super) fn image_name(template: &Template) -> String {
    template.image_name(|_| None).unwrap_or_default()
}

/// A digest of all that a machine is made from. Its price, where it is and how it is bought do not make it another one.
pub(super) fn digest(template: &Template, image: &str, master: Option<&str>) -> String {
    let Template { placements, enrollment, launch_template, instance_profile, block_devices, .. } = template;
    let Template { tags, public_ip, tenancy, hop_limit, hibernate, user_data, silence, clean, .. } = template;
    let groups: Vec<_> =
        placements.iter().map(|placement| (&placement.security_groups, &placement.key_name)).collect();
    let text = user_data.as_ref().map(|path| fs::read_to_string(path).unwrap_or_default());
    super::digest(&(
        (image, master, groups, enrollment, launch_template, instance_profile, block_devices),
        (tags, public_ip, tenancy, hop_limit, text, silence, clean, hibernate),
    ))
}

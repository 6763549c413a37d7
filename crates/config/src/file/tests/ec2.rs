//! `[pool.ec2]`.

use std::time::Duration;

use ::model::{
    ec2::{Bid, Clean, Credentials, Enrollment, Fleet, Image, Template},
    pool::Money,
};

use super::*;
use crate::pool::PoolProvider;

/// A pool whose `[pool.ec2]` says this, and a builder on it.
fn pool(max: u32, ec2: &str) -> String {
    format!(
        "[[pool]]\nname = \"p\"\nmax = {max}\n[pool.ec2]\n{ec2}\n[[builder]]\nname = \"b\"\nworkers = [\"p\"]\n"
    )
}

const LEAST: &str = "region = \"r\"\nami = \"ami-1\"\ninstance_type = \"t\"\nprice = 0.1\n";

fn template(ec2: &str) -> Template {
    let text = pool(1, ec2);
    let config = good(&text).config;
    let PoolProvider::Ec2(template) = &config.pools[0].provider else { panic!("no EC2") };
    (**template).clone()
}

/// Errors, with lines counted from that of `[pool.ec2]`.
fn wrong(max: u32, ec2: &str) -> Vec<String> {
    let moved = |line: String| {
        let (number, rest) = line.split_once(':').unwrap();
        format!("{}:{rest}", number.parse::<i64>().unwrap() - 4)
    };
    errors(&pool(max, ec2)).into_iter().map(moved).collect()
}

#[track_caller]
fn has(errors: &[String], what: &str) {
    assert!(errors.iter().any(|error| error.contains(what)), "{what:?} is not in {errors:#?}");
}

#[test]
fn the_least_is_a_region_an_image_and_a_type_with_its_price() {
    let template = template(LEAST);
    assert_eq!(template.placements.len(), 1);
    assert_eq!(template.placements[0].image, Some(Image::Id("ami-1".into())));
    assert_eq!((template.types[0].price, template.types[0].performance), (Money::from_units(0.1), 1.0));
    assert!(template.spot.is_none() && template.on_demand);
    assert_eq!((template.enrollment, template.clean), (Enrollment::Identity, Clean::Never));
    assert_eq!((template.hop_limit, template.silence), (1, Duration::from_mins(30)));
    assert_eq!(template.credentials, Credentials::Chain { profile: None });
    let config = good(&pool(1, LEAST)).config;
    assert_eq!(config.pools[0].spec.image, "ami-1", "a new image is tried with a few machines first");
}

#[test]
fn places_say_what_differs_and_take_the_rest_from_what_is_common() {
    let template = template(
        r#"
ami-name = "worker-*"
valid_ami_owners = ["self"]
security_group_ids = ["sg-1"]
keypair_name = "k"
spot_instance = true
[[pool.ec2.type]]
name = "a.large"
price = 0.1
[[pool.ec2.type]]
name = "b.large"
price = 0.2
performance = 1.5
[[pool.ec2.placement]]
region = "r1"
zones = ["r1a", "r1b"]
[[pool.ec2.placement]]
region = "r2"
subnet_id = "subnet-2"
ami = "ami-2"
security_group_ids = ["sg-2"]
"#,
    );
    let [one, two] = &template.placements[..] else { panic!("{:?}", template.placements) };
    assert_eq!((&*one.region, &one.zones[..]), ("r1", &["r1a".to_owned(), "r1b".into()][..]));
    assert!(matches!(&one.image, Some(Image::Newest { name: Some(name), .. }) if name == "worker-*"));
    assert_eq!(one.security_groups, ["sg-1"]);
    assert_eq!(
        (&two.subnets[..], &two.security_groups[..]),
        (&["subnet-2".to_owned()][..], &["sg-2".to_owned()][..])
    );
    assert_eq!((&two.image, two.key_name.as_deref()), (&Some(Image::Id("ami-2".into())), Some("k")));
    assert_eq!(template.types.len(), 2);
    assert_eq!(template.spot.unwrap().bid, Bid::OnDemand);
    assert!(!template.on_demand, "the market alone, unless something else is said");
}

#[test]
fn bids_are_an_amount_or_a_multiple_with_an_amount_that_it_never_exceeds() {
    let spot = |text: &str| {
        let spot = template(&format!("{LEAST}spot_instance = true\n{text}")).spot.unwrap();
        (spot.bid, spot.ceiling)
    };
    let cent = |cents: f64| Money::from_units(cents / 100.0);
    assert_eq!(spot(""), (Bid::OnDemand, None));
    assert_eq!(spot("max_spot_price = 0.05"), (Bid::Absolute(cent(5.0)), None));
    assert_eq!(spot("price_multiplier = 1.2"), (Bid::TimesMarket(1.2), None));
    assert_eq!(
        spot("price_multiplier = 1.2\nmax_spot_price = 0.05"),
        (Bid::TimesMarket(1.2), Some(cent(5.0))),
        "as in EC2LatentWorker"
    );
    assert_eq!(spot("price_multiplier = 1.2\nmultiplied-price = \"p95\"").0, Bid::TimesP95(1.2));
    assert_eq!(spot("price_multiplier = 0.7\nmultiplied-price = \"on-demand\"").0, Bid::TimesOnDemand(0.7));
    let wrong = |text: &str| wrong(1, &format!("{LEAST}{text}"));
    has(&wrong("spot_instance = true\nprice_multiplier = 0"), "nothing is sold to who bids nothing");
    has(&wrong("spot_instance = true\nmultiplied-price = \"p95\""), "without `price_multiplier`");
    has(&wrong("max_spot_price = 1"), "without `spot_instance = true` nothing is bid");
    has(&wrong("on-demand = false"), "there is nothing else to buy");
}

#[test]
fn everything_that_is_wrong_is_told_at_once_and_in_its_place() {
    let found = wrong(
        2,
        r#"
instance_tpye = "t"
ami = "my-image"
security_group_ids = ["default"]
zones = ["a"]
subnet_id = ["subnet-1"]
endpoint = "localhost"
hop-limit = 0
tags = { "aws:x" = "1", "ganger:pool" = "2" }
profile = "p"
identifier = "AKIA"
[[pool.ec2.volume]]
volume = "vol-1"
device = "/dev/xvdf"
"#,
    );
    for what in [
        "2:1 `[pool.ec2]` has no `instance_tpye` [did you mean `instance_type`?]",
        "lacks `region`",
        "lacks `instance_type`",
        "\"my-image\" is no id of an image",
        "\"default\" is no id of a security group",
        "`zones` does not go together with `subnet_id`",
        "\"localhost\" is no endpoint",
        "expected a whole number from 1 to 64",
        "a tag has a name that others set",
        "do not go together",
        "a volume can be attached to one machine only",
    ] {
        has(&found, what);
    }
}

#[test]
fn images_by_name_need_owners_and_exactly_one_way_is_given() {
    let with = |image: &str| wrong(1, &format!("region = \"r\"\ninstance_type = \"t\"\nprice = 1\n{image}"));
    has(&with(""), "nothing says which image machines in r boot");
    has(&with("ami-name = \"x\""), "`ami-name` needs `valid_ami_owners`");
    has(&with("ami = \"ami-1\"\nami-parameter = \"/x\""), "`ami-parameter` does not go together with `ami`");
    has(&with("valid_ami_location_regex = \"(\"\nvalid_ami_owners = [\"self\"]"), "not a regular expression");
    assert_eq!(with("launch-template = \"lt-1\""), Vec::<String>::new());
}

#[test]
fn a_key_is_an_id_with_a_secret_or_a_file_with_both_and_is_never_shown() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("aws_id");
    fs::write(&path, "AKIA1\nsekrit\n").unwrap();
    let template = template(&format!("{LEAST}aws_id_file_path = {path:?}"));
    let Credentials::Key { id, secret } = &template.credentials else { panic!("no key") };
    assert_eq!((&**id, secret.expose_secret()), ("AKIA1", "sekrit"));
    assert!(!format!("{template:?}").contains("sekrit"));
    let wrong = |text: &str| wrong(1, &format!("{LEAST}{text}"));
    has(&wrong("identifier = \"AKIA\""), "lacks `secret-identifier-file`");
    has(&wrong("secret_identifier = \"x\""), "lacks `identifier`");
    fs::write(&path, "AKIA1\n").unwrap();
    has(&wrong(&format!("aws_id_file_path = {path:?}")), "has no two lines");
}

#[test]
fn a_pool_has_one_provider_and_spot_machines_are_not_stopped() {
    let both =
        format!("{}[pool.local]\n", "[[pool]]\nname = \"p\"\nmax = 1\n[pool.ec2]\n".to_owned() + LEAST);
    has(&errors(&both), "machines of a pool come from one place");
    has(
        &errors("[[pool]]\nname = \"p\"\nmax = 1\n"),
        "lacks `[pool.local]`, `[pool.docker]` or `[pool.ec2]`",
    );
    let text = format!(
        "[[pool]]\nname = \"p\"\nmax = 1\n[pool.stopped]\nmax = 1\n[pool.ec2]\n{LEAST}spot_instance = true\n"
    );
    has(&errors(&text), "machines of the spot market cannot be stopped");
}

#[test]
fn what_makes_another_machine_makes_another_template_and_prices_do_not() {
    let of = |ec2: &str| good(&pool(1, ec2)).config.pools[0].spec.template.clone();
    let first = of(LEAST);
    assert_eq!(first, of(&LEAST.replace("0.1", "0.2")));
    assert_ne!(first, of(&LEAST.replace("ami-1", "ami-2")));
    assert_ne!(first, of(&format!("{LEAST}instance_profile_name = \"x\"")));
    assert_eq!(first, of(&format!("{LEAST}spot_instance = true\non-demand = true")));
}

#[test]
fn the_example_buys_on_the_market_and_on_demand_and_can_enroll() {
    let config = example("ec2.toml").config;
    let PoolProvider::Ec2(template) = &config.pools[0].provider else { panic!("no EC2") };
    assert_eq!(template.spot.as_ref().unwrap().bid, Bid::OnDemand);
    assert!(template.on_demand && template.types.len() == 2);
    assert!(config.pools[0].enrolls() && config.master.enroll.is_some());
}

#[test]
fn configurations_in_the_documents_are_good() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ec2.md");
    let page = fs::read_to_string(path).unwrap();
    let blocks = page.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let pools: Vec<_> =
        blocks.filter(|block| block.contains("[[pool]]")).map(|block| good(block).config).collect();
    let [least, converted] = &pools[..] else { panic!("{} pools", pools.len()) };
    assert!(least.master.enroll.is_some());
    let PoolProvider::Ec2(template) = &converted.pools[0].provider else { panic!("no EC2") };
    let spot = template.spot.as_ref().unwrap();
    assert_eq!((spot.bid, spot.ceiling), (Bid::TimesMarket(1.5), Some(Money::from_units(0.09))));
    assert_eq!(template.block_devices[0].size, Some(100));
}

#[test]
fn fleets_are_the_default_where_they_can_be() {
    assert_eq!(template(LEAST).fleet, Some(Fleet::default()));
    assert_eq!(template(&format!("{LEAST}fleet = false\n")).fleet, None);
    assert_eq!(template(&format!("{LEAST}launch-template = \"lt-1\"\n")).fleet, None);
    assert_eq!(template(&format!("{LEAST}enrollment = \"secret\"\n")).fleet, None);
    let chosen = "spot_instance = true\nspot-allocation-strategy = \"lowest-price\"\n";
    assert_eq!(
        template(&format!("{LEAST}{chosen}")).fleet.map(|fleet| fleet.spot).as_deref(),
        Some("lowest-price")
    );
    has(
        &wrong(1, &format!("{LEAST}spot-allocation-strategy = \"diversified\"\n")),
        "5:28 without `spot_instance = true`",
    );
    has(
        &wrong(1, &format!("{LEAST}fleet = true\nlaunch-template = \"lt-1\"\n")),
        "5:9 `fleet` cannot be: a fleet has",
    );
    let unused = format!("{LEAST}fleet = false\non-demand-allocation-strategy = \"prioritized\"\n");
    has(&wrong(1, &unused), "6:33 with `fleet = false` EC2 has nothing to choose");
    has(&wrong(1, &format!("{LEAST}spot-allocation-strategy = \"cheapest\"\n")), "5:");
}

#[test]
fn images_that_have_to_be_found_have_no_name_yet() {
    let image = |ec2: &str| good(&pool(1, ec2)).config.pools[0].spec.image.clone();
    let place = |ami: &str| format!("[[pool.ec2.placement]]\nregion = \"r\"\n{ami}\n");
    let common = "instance_type = \"t\"\nprice = 0.1\nvalid_ami_owners = [\"self\"]\n";
    let of = |places: &[&str]| {
        image(&format!("{common}{}", places.iter().map(|ami| place(ami)).collect::<String>()))
    };
    let (one, two, newest) = ("ami = \"ami-1\"", "ami = \"ami-2\"", "ami-name = \"w-*\"");
    assert_eq!(of(&[one, one]), "ami-1");
    assert_eq!(of(&[one, one, two]), "ami-1,ami-1,ami-2");
    assert_eq!(of(&[one, newest]), "");
    assert_eq!(of(&["ami-parameter = \"/worker\""]), "");
}

#[test]
fn machines_hibernate_only_where_they_can() {
    let encrypted = "hibernate = true\n[[pool.ec2.block-device]]\ndevice = \"/dev/xvda\"\nencrypted = true\n";
    let stopped = format!("{}[pool.stopped]\nmax = 1\n", pool(1, &format!("{LEAST}{encrypted}")));
    let stopped = stopped.replace("[[builder]]\nname = \"b\"\nworkers = [\"p\"]\n", "");
    let text = format!("{stopped}[[builder]]\nname = \"b\"\nworkers = [\"p\"]\n");
    let config = good(&text).config;
    let PoolProvider::Ec2(template) = &config.pools[0].provider else { panic!("no EC2") };
    assert!(template.hibernate);
    has(&wrong(1, &format!("{LEAST}{encrypted}")), "without `[pool.stopped]`");
    has(&wrong(1, &format!("{LEAST}hibernate = true\n")), "on an encrypted root volume only");
    has(&wrong(1, &format!("{LEAST}spot_instance = true\n{encrypted}")), "none of them hibernates");
}

#[test]
fn types_may_be_required_rather_than_named() {
    let least = "region = \"r\"\nami = \"ami-1\"\n[pool.ec2.requirements]\nvcpus-min = 2\nmemory-min = 4\n";
    let template_of = template(&format!("{least}excluded = [\"m4.*\"]\n"));
    let wanted = template_of.requirements.expect("requirements");
    assert!(template_of.types.is_empty());
    assert_eq!((wanted.vcpus_min, wanted.vcpus_max, wanted.memory_min), (2, None, 4.0));
    assert_eq!((&*wanted.architecture, wanted.burstable, wanted.most_types), ("x86_64", false, 20));
    assert_eq!(wanted.excluded, ["m4.*"]);
    has(&wrong(1, &format!("{least}vcpus-max = 1\n")), "`vcpus-max` is less than");
    has(&wrong(1, &format!("{least}memory-max = 1.5\n")), "`memory-max` is less than");
    has(&wrong(1, &least.replace("memory-min = 4\n", "")), "memory-min");
    has(
        &wrong(1, &format!("instance_type = \"t\"\nprice = 1\n{least}")),
        "do not go together with named types",
    );
}

#[test]
fn queues_are_urls_and_of_one_pool_each() {
    let queue = "https://sqs.r.amazonaws.com/1/q";
    let queued = format!("{LEAST}interruption-queue = {queue:?}\n");
    let placed = template(&queued).placements.remove(0);
    assert_eq!(placed.interruption_queue.as_deref(), Some(queue));
    has(&wrong(1, &format!("{LEAST}interruption-queue = \"q\"\n")), "\"q\" is no URL of a queue");
    has(
        &wrong(1, &format!("{LEAST}interruption-queue = {:?}\n", queue.replace(".r.", ".q."))),
        "the queue is in \"q\", and machines are in \"r\"",
    );
    let two = format!("{}[[pool]]\nname = \"other\"\nmax = 1\n[pool.ec2]\n{queued}", pool(1, &queued));
    has(&errors(&two), "pool \"p\" has the interruption-queue");
}

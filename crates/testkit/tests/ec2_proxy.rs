//! What the proxy makes of moto, seen by boto3.

use std::{process::Output, time::Duration};

use testkit::{
    ec2::proxy::{Bucket, Fault, Market, Proxy},
    venv::{Found, Venv},
};

const LIMIT: Duration = Duration::from_secs(30);

/// Before each script: a client without retries; `run` launches, `code` is the code of the error that something raises.
const PREAMBLE: &str = r#"
import boto3, botocore.exceptions, concurrent.futures, os
from botocore.config import Config
ec2 = boto3.client("ec2", config=Config(retries={"max_attempts": 0}, max_pool_connections=20))
def run(**more):
    arguments = dict(ImageId="ami-1", InstanceType="t3.micro", MinCount=1, MaxCount=1) | more
    return [i["InstanceId"] for i in ec2.run_instances(**arguments)["Instances"]]
def spot(price):
    return {"MarketType": "spot", "SpotOptions": {"MaxPrice": price}}
def code(call):
    try:
        call()
    except botocore.exceptions.ClientError as error:
        return error.response["Error"]["Code"]
    except Exception as error:
        return type(error).__name__
    return "ok"
def listed(*filters, **more):
    wanted = [{"Name": name, "Values": values} for name, values in filters]
    pages = ec2.get_paginator("describe_instances").paginate(Filters=wanted, **more)
    return {i["InstanceId"]: i for page in pages for r in page["Reservations"] for i in r["Instances"]}
"#;

/// Runs a script, which fails by its assertions.
fn python(proxy: &Proxy, script: &str) {
    let Ok(Found::Ready(venv)) = Venv::find("moto-5.2.1") else {
        panic!("run `python3 tests/python/venvs.py moto-5.2.1`")
    };
    let Output { status, stdout, stderr } = venv
        .command("python")
        .args(["-c", &format!("{PREAMBLE}{script}")])
        .env("AWS_ENDPOINT_URL", proxy.endpoint())
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "x")
        .env("AWS_SECRET_ACCESS_KEY", "y")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .output()
        .expect("Python starts");
    let said = [stdout, stderr].concat();
    assert!(status.success(), "{}\n{:#?}", String::from_utf8_lossy(&said), proxy.calls());
}

#[test]
fn a_token_launches_once() {
    let proxy = Proxy::start().unwrap();
    python(
        &proxy,
        r#"
first = run(ClientToken="t", MaxCount=3)
assert len(first) == 3, first
assert run(ClientToken="t", MaxCount=3) == first
assert code(lambda: run(ClientToken="t", MaxCount=2)) == "IdempotentParameterMismatch"
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    same = list(pool.map(lambda _: tuple(run(ClientToken="u")), range(8)))
assert len(set(same)) == 1, same
assert set(listed(("client-token", ["t"]))) == set(first)
assert len(listed()) == 4
ec2.terminate_instances(InstanceIds=first)
again = ec2.run_instances(ImageId="ami-1", InstanceType="t3.micro", MinCount=1, MaxCount=3, ClientToken="t")["Instances"]
assert [i["InstanceId"] for i in again] == first and {i["State"]["Name"] for i in again} == {"terminated"}, again
"#,
    );
}

#[test]
fn calls_fail_as_they_are_told() {
    let proxy = Proxy::start().unwrap();
    proxy.fail(Fault::on("RunInstances").error(503, "RequestLimitExceeded").times(2));
    proxy.fail(Fault::on("RunInstances").dropped());
    proxy.fail(Fault::on("RunInstances").after().dropped());
    proxy.fail(Fault::on("RunInstances").truncated());
    proxy.fail(Fault::on("RunInstances").html());
    proxy.fail(Fault::on("RunInstances").after().error(500, "InternalError"));
    python(
        &proxy,
        r#"
codes = [code(lambda: run(ClientToken=str(n))) for n in range(8)]
assert codes[:2] == ["RequestLimitExceeded"] * 2, codes
assert codes[2] == codes[3] == "ConnectionClosedError", codes
assert codes[4] == codes[5] == "ResponseParserError", codes  # Half of an answer, and HTML.
assert codes[6:] == ["InternalError", "ok"], codes
tokens = {i["ClientToken"] for i in listed().values()}
assert tokens == {"3", "4", "6", "7"}, tokens
"#,
    );
    let outcomes: Vec<_> = proxy.calls_of("RunInstances").into_iter().map(|call| call.outcome).collect();
    assert_eq!(outcomes[2..5], ["dropped", "dropped", "dropped"]);
}

#[test]
fn a_call_is_held_until_it_is_released() {
    let proxy = Proxy::start().unwrap();
    proxy.fail(Fault::on("RunInstances").held());
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| python(&proxy, "run()"));
        let calls = proxy.wait_for_calls("RunInstances", 1, LIMIT).unwrap();
        assert_eq!(calls[0].outcome, "");
        assert_eq!(proxy.call("DescribeInstances", &[]).unwrap().items("reservationSet").count(), 0);
        proxy.release();
        caller.join().unwrap();
    });
    assert_eq!(proxy.call("DescribeInstances", &[]).unwrap().items("reservationSet").count(), 1);
}

#[test]
fn markets_have_prices_and_limits() {
    let proxy = Proxy::start().unwrap();
    proxy.set(|settings| {
        settings.set_spot_price("us-east-1b", "t3.micro", 0.01);
        settings.set_spot_price("us-east-1a", "t3.micro", 0.02);
        settings.set_capacity("us-east-1b", "t3.micro", Market::Spot, 2);
        settings.vcpus.insert(Market::OnDemand, 5);
    });
    python(
        &proxy,
        r#"
here = {"AvailabilityZone": "us-east-1b"}
assert code(lambda: run(Placement=here, InstanceMarketOptions=spot("0.005"))) == "SpotMaxPriceTooLow"
three = dict(Placement=here, InstanceMarketOptions=spot("0.02"))
assert code(lambda: run(MinCount=3, MaxCount=3, **three)) == "InsufficientInstanceCapacity"
some = run(MinCount=1, MaxCount=3, **three)
assert len(some) == 2, some
found = listed(("instance-lifecycle", ["spot"]), ("availability-zone", ["us-east-1b"]))
assert set(found) == set(some) and all(i["SpotInstanceRequestId"].startswith("sir-") for i in found.values())
requests = ec2.describe_spot_instance_requests()["SpotInstanceRequests"]
assert {r["InstanceId"] for r in requests} == set(some)
assert len(run(MinCount=1, MaxCount=9)) == 2  # Each has two of the five processors.
assert code(run) == "VcpuLimitExceeded"
prices = ec2.describe_spot_price_history(InstanceTypes=["t3.micro"])["SpotPriceHistory"]
assert {p["AvailabilityZone"]: float(p["SpotPrice"]) for p in prices}["us-east-1b"] == 0.01
ec2.terminate_instances(InstanceIds=some)
assert len(run(**three)) == 1
"#,
    );
}

#[test]
fn a_fleet_buys_where_it_can() {
    let proxy = Proxy::start().unwrap();
    proxy.set(|settings| {
        settings.set_spot_price("us-east-1a", "t3.micro", 0.01);
        settings.set_capacity("us-east-1a", "t3.micro", Market::Spot, 2);
        settings.set_capacity("us-east-1b", "t3.small", Market::Spot, 0);
    });
    python(
        &proxy,
        r#"
data = {"ImageId": "ami-1", "UserData": "aGVsbG8=", "InstanceType": "t3.nano"}
template = ec2.create_launch_template(LaunchTemplateName="l", LaunchTemplateData=data)["LaunchTemplate"]["LaunchTemplateId"]
places = [("t3.small", "us-east-1b"), ("t3.small", "us-east-1c"), ("t3.micro", "us-east-1a")]
request = dict(
    Type="instant", ClientToken="f",
    LaunchTemplateConfigs=[{
        "LaunchTemplateSpecification": {"LaunchTemplateId": template, "Version": "$Latest"},
        "Overrides": [{"InstanceType": t, "AvailabilityZone": z} for t, z in places],
    }],
    TargetCapacitySpecification={"TotalTargetCapacity": 3, "DefaultTargetCapacityType": "spot"},
    SpotOptions={"AllocationStrategy": "price-capacity-optimized"},
    TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "k", "Value": "v"}]}],
)
fleet = ec2.create_fleet(**request)
got = {(i["InstanceType"], i["LaunchTemplateAndOverrides"]["Overrides"]["AvailabilityZone"]): len(i["InstanceIds"]) for i in fleet["Instances"]}
assert got == {("t3.micro", "us-east-1a"): 2, ("t3.small", "us-east-1c"): 1}, fleet
assert [e["ErrorCode"] for e in fleet["Errors"]] == ["InsufficientInstanceCapacity"], fleet
found = listed(("tag:k", ["v"]))
assert len(found) == 3 and {i["ClientToken"] for i in found.values()} == {"f"}, found
assert {i["Placement"]["AvailabilityZone"] for i in found.values()} == {"us-east-1a", "us-east-1c"}, found
assert ec2.create_fleet(**request)["FleetId"] == fleet["FleetId"]
request["TargetCapacitySpecification"]["TotalTargetCapacity"] = 4
assert code(lambda: ec2.create_fleet(**request)) == "IdempotentParameterMismatch"
"#,
    );
}

#[test]
fn machines_come_and_go_slowly() {
    let proxy = Proxy::start().unwrap();
    proxy.set(|settings| settings.invisible = Duration::from_hours(1));
    python(
        &proxy,
        r#"
new = run()
assert listed() == {} and code(lambda: ec2.describe_instances(InstanceIds=new)) == "InvalidInstanceID.NotFound"
assert code(lambda: ec2.terminate_instances(InstanceIds=new)) == "InvalidInstanceID.NotFound"
"#,
    );
    proxy.set(|settings| {
        settings.invisible = Duration::ZERO;
        settings.pending = Duration::from_hours(1);
        settings.shutting_down = Duration::from_hours(1);
    });
    python(
        &proxy,
        r#"
new, = listed(("instance-state-name", ["pending"]))
assert listed(("instance-state-name", ["running"])) == {}
ec2.terminate_instances(InstanceIds=[new])
assert listed()[new]["State"]["Name"] == "shutting-down"
"#,
    );
    proxy.set(|settings| {
        settings.shutting_down = Duration::ZERO;
        settings.listed_after_end = Some(Duration::ZERO);
    });
    python(&proxy, "assert listed() == {}");
}

#[test]
fn listings_have_pages_and_filters() {
    let proxy = Proxy::start().unwrap();
    proxy.set(|settings| settings.page = 2);
    python(
        &proxy,
        r#"
for n in range(5):
    run(TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "ganger:pool", "Value": "p%d" % (n % 2)}]}])
page = ec2.describe_instances()
assert len(page["Reservations"]) == 2 and page["NextToken"], page
assert len(listed()) == 5 and len(listed(("tag:ganger:pool", ["p1"]))) == 2 and len(listed(("tag-key", ["ganger:*"]))) == 5
assert code(lambda: listed(("colour", ["red"]))) == "InvalidParameterValue"
assert code(lambda: ec2.describe_instances(NextToken="x")) == "InvalidParameterValue"
"#,
    );
}

#[test]
fn a_bucket_empties() {
    let proxy = Proxy::start().unwrap();
    let bucket = Bucket { size: 2.0, refill: 0.0 };
    proxy.set(|settings| {
        settings.buckets.insert("DescribeInstances".into(), bucket);
        settings.buckets.insert("RunInstances:resources".into(), Bucket { size: 3.0, refill: 0.0 });
    });
    python(
        &proxy,
        r#"
assert [code(listed) for _ in range(3)] == ["ok", "ok", "RequestLimitExceeded"]
assert [code(lambda: run(MaxCount=2)) for _ in range(2)] == ["ok", "RequestLimitExceeded"]
"#,
    );
}

#[test]
fn the_market_takes_a_machine_back_and_its_console_is_kept() {
    let proxy = Proxy::start().unwrap();
    python(&proxy, "run(InstanceMarketOptions=spot('1'))");
    let answer = proxy.call("DescribeInstances", &[]).unwrap();
    let id = answer
        .items("reservationSet")
        .next()
        .unwrap()
        .items("instancesSet")
        .next()
        .unwrap()
        .get("instanceId");
    proxy.set_console(id, "login: <3".into());
    proxy.reclaim(id).unwrap();
    python(
        &proxy,
        r#"
(id, machine), = listed().items()
assert machine["State"]["Name"] == "terminated" and machine["StateReason"]["Code"] == "Server.SpotInstanceTermination"
assert ec2.get_console_output(InstanceId=id)["Output"] == "login: <3"
import urllib.request, json
lab = os.environ["AWS_ENDPOINT_URL"] + "/_lab/"
assert [c["action"] for c in json.load(urllib.request.urlopen(lab + "calls"))][0] == "RunInstances"
settings = json.load(urllib.request.urlopen(lab + "settings"))
assert settings["page"] == 1000, settings
fault = json.dumps({"action": "DescribeInstances", "harm": {"error": {"status": 400, "code": "Boo", "message": "m"}}}).encode()
urllib.request.urlopen(urllib.request.Request(lab + "faults", fault))
assert [code(listed), code(listed)] == ["Boo", "ok"]
"#,
    );
}

//! Schedulers, and what they listen to.

use ::model::{
    Change,
    filter::{Attribute, Test},
};

use super::*;
use crate::model::{Basic, Priority};

/// A minimal configuration with a scheduler of the name `s` for builder `b`, in line 8.
fn with(text: &str) -> String {
    format!("{MINIMAL}[[scheduler]]\nname = \"s\"\nbuilderNames = [\"b\"]\n{text}")
}

fn scheduler(text: &str) -> crate::Scheduler {
    crate::Scheduler::clone(&good(&with(text)).config.schedulers[0])
}

fn basic(text: &str) -> Basic {
    match scheduler(text).kind {
        SchedulerKind::AnyBranch(basic) | SchedulerKind::SingleBranch(basic) => basic,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn refused(text: &str, expect: &[&str]) {
    assert_eq!(errors(&with(text)), expect, "{text}");
}

#[test]
fn what_builds_changes_is_read() {
    let read = scheduler("type = \"AnyBranchScheduler\"\npriority = 5\nproperties = { x = [1] }");
    assert_eq!(read.priority, Priority::Fixed(5));
    assert_eq!(read.properties, [("x".to_owned(), Renderable::List(vec![Renderable::Int(1)]))]);

    let read = basic("type = \"AnyBranchScheduler\"\nbranches = [\"a\"]\nreason = \"%(name)s 100%%\"");
    assert_eq!(read.interest.filter.only(&Attribute::Branch), Some(&[Some("a".to_owned())][..]));
    assert_eq!((read.tree_stable_timer, &*read.reason), (None, "s 100%"));

    let read = basic("type = \"SingleBranchScheduler\"\nbranch = \"\"\ntreeStableTimer = 0.5");
    assert_eq!(read.interest.filter.only(&Attribute::Branch), Some(&[None][..]));
    assert_eq!(read.tree_stable_timer.unwrap().as_millis(), 500);
    assert_eq!(read.reason, "The SingleBranchScheduler scheduler named 's' triggered this build");

    let read = scheduler(
        "type = \"SingleBranchScheduler\"\nbranch = \"main\"\ncodebases = { \"\" = {}, lib = { repository = \"r\", branch = \"b\" } }",
    );
    assert_eq!(read.codebases[1].repository, "r");

    refused(
        "type = \"SingleBranchScheduler\"",
        &[
            "8:1 SingleBranchScheduler lacks `branch` [`branch`, or a `change_filter`, says which changes it builds]",
        ],
    );
    refused(
        "type = \"SingleBranchScheduler\"\nbranch = \"x\"\nreason = \"50%\"",
        &["13:10 after `%` stands `(name)s`, `(classname)s` or, for a percent sign, another `%`"],
    );
    refused(
        "type = \"AnyBranch\"",
        &["11:8 there is no scheduler of type \"AnyBranch\" [did you mean \"AnyBranchScheduler\"?]"],
    );
}

#[test]
fn names_of_builders_are_checked() {
    let refused = |text: &str, expect: &[&str]| {
        let text = format!("{MINIMAL}[[scheduler]]\nname = \"s\"\n{text}");
        assert_eq!(errors(&text), expect, "{text}");
    };
    refused(
        "type = \"ForceScheduler\"\nbuilderNames = []",
        &["11:16 `builderNames` is empty: at least one builder is needed"],
    );
    refused(
        "type = \"AnyBranchScheduler\"\nbuilderNames = [\"B\"]",
        &["11:17 there is no builder \"B\" [did you mean \"b\"?]"],
    );
    refused(
        "builderNames = [\"b\"]\nbranch = \"x\"",
        &[
            "8:1 AnyBranchScheduler lacks `type` [`type`: what it waits for]",
            "11:1 AnyBranchScheduler has no `branch` [did you mean `branches`?]",
        ],
    );
}

#[test]
fn change_filters_are_read() {
    let read = basic(
        "type = \"SingleBranchScheduler\"\nchange_filter = { branch = \"main\", project_not_eq = [\"a\", \"b\"], repository_re = \"git@\", property_eq = { kind = \"\" }, property_not_re = { who = [\"bot\"] }, filter_fn = { expression = \"change.files | length < 10\" } }",
    );
    let filter = &read.interest.filter;
    assert_eq!(filter.conditions.len(), 5);
    assert!(matches!(&filter.conditions[1].test, Test::IsNot(values) if values.len() == 2));
    let good = Change { branch: Some("main".into()), repository: "git@host:x".into(), ..Change::default() };
    let accepts = |change: &Change| filter.accepts(change).unwrap();
    assert!(accepts(&good));
    assert!(!accepts(&Change { files: vec!["f".into(); 10], ..good.clone() }));
    assert!(!accepts(&Change { repository: "https://host/git@".into(), ..good.clone() }));
    let mut robot = good;
    robot.properties.set("who", "bot7", "Change");
    assert!(!accepts(&robot));

    refused(
        "type = \"AnyBranchScheduler\"\nbranches = \"x\"\ncategories = [\"c\"]\nchange_filter = { branch = \"y\" }",
        &[
            "12:12 there cannot be both `change_filter` and `branches` [the filter has conditions on branches and categories of its own]",
            "13:14 there cannot be both `change_filter` and `categories` [the filter has conditions on branches and categories of its own]",
        ],
    );
    refused(
        "type = \"AnyBranchScheduler\"\nchange_filter = { branch_fn = 1, branh = \"x\", branch_re = [\"(\"], filter_fn = { expression = \"chang.branch\" } }",
        &[
            "12:19 a change filter has no `branch_fn` [`filter_fn` sees all of the change]",
            "12:34 a change filter has no `branh` [did you mean `branch`?]",
            "12:60 \"(\" is no regular expression: Parsing error at position 1: Opening parenthesis without closing parenthesis",
            "12:94 there is no `chang` here [did you mean `change`?]",
        ],
    );
    refused(
        "type = \"AnyBranchScheduler\"\nchange_filter = { filter_fn = { expression = \"change.branch =\" } }",
        &["12:61 syntax error: unexpected input after expression"],
    );
}

#[test]
fn importance_is_of_files_or_an_expression() {
    let files = basic("type = \"AnyBranchScheduler\"\nfileIsImportant = [\"src/\", \".*[.]py$\"]");
    let change = |file: &str| Change { files: vec![file.into()], ..Change::default() };
    let importance = |basic: &Basic, file: &str| basic.interest.importance(&change(file)).unwrap();
    assert_eq!(importance(&files, "src/main.c"), Some(true));
    assert_eq!(importance(&files, "doc/conf.py"), Some(true));
    assert_eq!(importance(&files, "doc/src/index"), Some(false));
    let only = basic(
        "type = \"AnyBranchScheduler\"\nonlyImportant = true\nfileIsImportant = { expression = \"change.files != ['README']\" }",
    );
    assert_eq!(importance(&only, "a"), Some(true));
    assert_eq!(importance(&only, "README"), None);
    refused(
        "type = \"AnyBranchScheduler\"\nfileIsImportant = 7",
        &["12:19 expected regular expressions, or `{ expression = … }`, found a whole number"],
    );
}

#[test]
fn priorities_and_properties_may_depend_on_what_is_built() {
    let read = scheduler(
        "type = \"AnyBranchScheduler\"\npriority = { expression = \"changes | length\" }\nproperties = { a = \"%(src::branch)s\", b = { property = \"who\", default = 3 } }",
    );
    assert!(matches!(read.priority, Priority::Expression(_)));
    assert_eq!(read.properties.len(), 2);
    refused(
        "type = \"AnyBranchScheduler\"\npriority = \"high\"\nproperties = { a = [\"%(secret:key)s\"], b = \"%(worker:host)s\" }",
        &[
            "12:12 expected a whole number, or `{ expression = … }`, found text",
            "13:20 a property of a scheduler cannot hold `%(secret:key)s` [it is stored with the request, before there is a worker, for all to see]",
            "13:21 there is no secret \"key\": nothing says where secrets are [give it an entry in `[secrets]`, or set `secrets-directory` in `[master]`: it holds one file for each]",
            "13:44 a property of a scheduler cannot hold `%(worker:host)s` [it is stored with the request, before there is a worker, for all to see]",
        ],
    );
    let expressions = "properties = { a = { expression = \"prop.x ~ src.branch\" }, b = { expression = \"worker.name\" }, c = [{ expression = \"results\" }] }";
    refused(
        &format!("type = \"AnyBranchScheduler\"\n{expressions}"),
        &[
            "12:64 a property of a scheduler cannot hold `worker` [it is stored with the request, before there is a worker, for all to see]",
            "12:100 a property of a scheduler cannot hold `results` [it is stored with the request, before there is a worker, for all to see]",
        ],
    );
}

#[test]
fn times_of_the_clock_are_buildbots() {
    let times = |text: &str| match scheduler(&format!("type = \"Nightly\"\ntimezone = \"UTC\"\n{text}")).kind
    {
        SchedulerKind::Nightly(timed) => match timed.clockwork {
            crate::Clockwork::At(times) => times,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    };
    // 2026-11-24 12:30:00 UTC, a Tuesday.
    let tuesday = 1_795_523_400;
    let at = |seconds: i64| ::model::Time::from_epoch_seconds(seconds);
    for on in [
        "minute = 30\nhour = 12",
        "minute = [0, 30]",
        "minute = \"*/15\"\ndayOfWeek = 1",
        "minute = 30\ndayOfWeek = [1, 6]",
        "minute = 30\ndayOfWeek = \"1\"",
        "minute = 30\ndayOfWeek = \"tue\"",
        "minute = 30\ndayOfWeek = \"2-3\"",
        "minute = 30\nmonth = \"nov\"\ndayOfMonth = 24",
    ] {
        assert!(times(on).is_on(at(tuesday)), "{on}");
    }
    for off in ["", "minute = 30\ndayOfWeek = 2", "minute = 30\ndayOfWeek = \"3-5\""] {
        assert!(!times(off).is_on(at(tuesday)), "{off}");
    }
    refused(
        "type = \"Nightly\"\nhour = 24\nminute = \"*/70\"",
        &["13:10 \"*/70\" is no minute: numbers from 0 to 59, ranges, lists and steps"],
    );
    refused("type = \"Nightly\"\nhour = 24\ntimezone = \"Mars\"", &["13:12 there is no time zone \"Mars\""]);
    refused("type = \"Nightly\"\ntimezone = \"Mars\"", &["12:12 there is no time zone \"Mars\""]);
    refused(
        "type = \"Nightly\"\nmonth = 2\ndayOfMonth = 31",
        &["12:9 there is no such day: this never builds"],
    );
    refused(
        "type = \"Periodic\"\nperiodicBuildTimer = 0",
        &["12:22 `periodicBuildTimer` is at least a second"],
    );
}

#[test]
fn schedulers_name_each_other() {
    refused(
        "type = \"Dependent\"\nupstream = \"t\"\n[[scheduler]]\ntype = \"Dependent\"\nname = \"t\"\nupstream = \"s\"\nbuilderNames = [\"b\"]",
        &["12:12 \"s\" would wait for its own builds", "16:12 \"t\" would wait for its own builds"],
    );
    refused("type = \"Dependent\"\nupstream = \"x\"", &["12:12 there is no scheduler \"x\""]);
    let triggering = format!(
        "{MINIMAL}[[builder.step]]\ntype = \"Trigger\"\nschedulerNames = [\"t1\", \"tt\", \"f\", \"%(prop:x)s\"]\nalwaysUseLatest = true\nupdateSourceStamp = true\n[[scheduler]]\ntype = \"Triggerable\"\nname = \"t1\"\nbuilderNames = [\"b\"]\n[[scheduler]]\ntype = \"ForceScheduler\"\nname = \"f\"\nbuilderNames = [\"b\"]"
    );
    assert_eq!(
        errors(&triggering),
        [
            "10:25 there is no scheduler \"tt\" [did you mean \"t1\"?]",
            "10:31 \"f\" is a ForceScheduler, which cannot be triggered [a `Triggerable` or a `NightlyTriggerable` can]",
            "11:19 there cannot be both `alwaysUseLatest` and `updateSourceStamp` [either of them says what to build]",
        ]
    );
}

#[test]
fn pollers_are_read() {
    use crate::{Branches, ChangeSource};

    let poller = |text: &str| {
        let text =
            format!("{MINIMAL}[[change-source]]\ntype = \"GitPoller\"\nrepourl = \"https://x/y\"\n{text}");
        let ChangeSource::GitPoller(poller) = &*good(&text).config.change_sources[0];
        crate::GitPoller::clone(poller)
    };
    let read = poller("");
    assert_eq!(
        (&*read.name, &read.branches, read.poll_interval.as_secs()),
        ("https://x/y", &Branches::Head, 600)
    );
    assert_eq!(read.workdir, Path::new("/base/gitpoller-work"));
    assert_eq!(poller("branch = \"x\"").branches, Branches::Named(vec!["x".into()]));
    assert_eq!(poller("branches = true").branches, Branches::All);
    assert_eq!(poller("only_tags = true").branches, Branches::Tags);
    assert!(matches!(poller("branches = { expression = \"ref != 'x'\" }").branches, Branches::Where(_)));

    let refused = |text: &str, expect: &[&str]| {
        let text = format!("{MINIMAL}[[change-source]]\ntype = \"GitPoller\"\n{text}");
        assert_eq!(errors(&text), expect, "{text}");
    };
    refused("", &["8:1 GitPoller lacks `repourl` [`repourl`: the repository]"]);
    refused(
        "repourl = \"https://me:secret@x/y\"",
        &[
            "10:11 a password in an address is seen by everybody who sees a change [let git's credential helpers have it, or use ssh with `sshPrivateKey`]",
        ],
    );
    refused(
        "repourl = \"r\"\nbranches = [\"a\"]\nbranch = \"b\"\npollInterval = 5\npollRandomDelayMin = 7\npollRandomDelayMax = 6\npollinterval = 1",
        &[
            "11:12 there cannot be both `branch` and `branches` [each says which branches are looked at]",
            "14:22 `pollRandomDelayMin` is more than `pollRandomDelayMax`",
            "15:22 `pollRandomDelayMax` is not less than `pollInterval`",
            "16:1 GitPoller has no `pollinterval` [it is called `pollInterval`]",
        ],
    );
    refused(
        "repourl = \"r\"\nsshPrivateKey = \"-----BEGIN\"\nsshHostKey = \"a\"\nsshKnownHosts = \"b\"",
        &[
            "11:17 a key does not belong into this file [put it into a file of `secrets-directory`, and write `%(secret:NAME)s`]",
            "13:17 there cannot be both `sshHostKey` and `sshKnownHosts`",
        ],
    );
}

#[test]
fn a_poller_has_the_secrets_of_its_ssh() {
    use crate::ChangeSource;

    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("secrets")).unwrap();
    for name in ["key", "host", "other"] {
        fs::write(directory.path().join("secrets").join(name), name).unwrap();
    }
    let poller = |ssh: &str| {
        let master = "[master]\nsecrets-directory = \"secrets\"\n";
        let step =
            "[[builder.step]]\ntype = \"ShellCommand\"\ncommand = \"%(secret:other)s%(secret:host)s\"\n";
        let text =
            format!("{master}{MINIMAL}{step}[[change-source]]\ntype = \"GitPoller\"\nrepourl = \"r\"\n{ssh}");
        let loaded = parse(&text, "ganger.toml", directory.path()).unwrap();
        let ChangeSource::GitPoller(poller) = &*loaded.config.change_sources[0];
        poller.secrets.iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
    };
    assert!(poller("").is_empty());
    assert_eq!(poller("sshPrivateKey = \"%(secret:key)s\""), ["key"]);
    let both = "sshPrivateKey = \"%(secret:key)s\"\nsshHostKey = \"ssh-rsa %(secret:host)s\"";
    assert_eq!(poller(both), ["host", "key"]);
}

#[test]
fn the_configurations_in_the_documents_on_schedulers_load() {
    let directory = tempfile::tempdir().unwrap();
    fs::create_dir(directory.path().join("secrets")).unwrap();
    fs::write(directory.path().join("secrets/deploy-key"), "a key").unwrap();
    for name in ["schedulers.md", "change-sources.md"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
        let text = fs::read_to_string(&path).unwrap();
        let mut blocks = text.split("```toml\n").skip(1).peekable();
        assert!(blocks.peek().is_some(), "{name} has examples");
        for block in blocks {
            let block = block.split("```").next().unwrap();
            let builders: String = ["linux", "windows", "docs", "package", "publish"]
                .map(|name| format!("[[builder]]\nname = {name:?}\nworkers = [\"w\"]\n"))
                .concat();
            let before = format!("[[worker]]\nname = \"w\"\npassword = \"p\"\n{builders}");
            if let Err(errors) = parse(&format!("{before}{block}"), name, directory.path()) {
                panic!("{}\n{block}", errors.render(false));
            }
        }
    }
}

//! Locks, and which request is built next, where.

use super::*;
use crate::model::{CollapseRequests, LockAccess, LockMode, NextBuild, NextWorker, PrioritizeBuilders};

const LOCKS: &str = r#"
[[lock]]
type = "MasterLock"
name = "db"
maxCount = 2
[[lock]]
type = "WorkerLock"
name = "cpu"
maxCountForWorker = { w = 0 }
"#;

#[test]
fn locks_are_taken_by_name_or_with_what_is_taken_of_them() {
    let text = format!(
        "{MINIMAL}locks = [\"db\", {{ lock = \"cpu\", access = \"exclusive\" }}]\n\
         [[builder.step]]\ntype = \"ShellCommand\"\ncommand = \"x\"\nlocks = [\"net\"]\n{LOCKS}\
         [[lock]]\ntype = \"MasterLock\"\nname = \"net\"\n"
    );
    let config = good(&text).config;
    let builder = &config.builders[0];
    let access = |lock: &str, mode| LockAccess { lock: lock.into(), mode };
    assert_eq!(builder.locks, [access("db", LockMode::Counting(1)), access("cpu", LockMode::Exclusive)]);
    assert_eq!(builder.steps[0].locks, [access("net", LockMode::Counting(1))]);
    assert_eq!((config.locks["cpu"].max_on("w", None), config.locks["cpu"].max_on("v", Some("p"))), (0, 1));
}

#[test]
fn what_is_wrong_with_a_lock_is_said_where_it_is() {
    let text = format!(
        "{MINIMAL}locks = [\"dv\", \"db\", {{ lock = \"db\", count = 3 }}, {{ lock = \"db\", access = \"exclusive\", count = 2 }}]\n\
         [[builder.step]]\ntype = \"ShellCommand\"\ncommand = \"x\"\nlocks = [\"db\", \"cpu\"]\n{LOCKS}\
         [[lock]]\ntype = \"MasterLock\"\nname = \"cpu\"\nmaxCountForWorker = {{ v = 1 }}\n"
    );
    assert_eq!(
        errors(&text),
        [
            "8:10 there is no lock \"dv\" [did you mean \"db\"?]",
            "8:31 lock \"db\" has only 2: 3 can never be taken",
            "8:31 the lock \"db\" is taken twice",
            "8:59 the lock \"db\" is taken twice",
            "8:95 `count` is for `counting` access only",
            "12:10 the builder has the lock \"db\" already: the step would wait for its own build [take it in one of the two places]",
            "12:16 lock \"cpu\" has only 0: 1 can never be taken",
            "24:8 there are two locks of the name \"cpu\"",
            "25:21 a `MasterLock` is the same for all workers [a `WorkerLock` is meant]",
        ]
    );
}

#[test]
fn who_comes_next_is_a_word_or_an_expression() {
    let text = r#"
        [master]
        collapseRequests = false
        prioritizeBuilders = ["b"]
        select_next_worker = "in-order"
        [[worker]]
        name = "w"
        password = "p"
        [[builder]]
        name = "b"
        workers = ["w"]
        nextBuild = "newest"
        canStartBuild = { expression = "worker.running == 0" }
    "#;
    let config = good(text).config;
    let builder = &config.builders[0];
    assert_eq!(builder.collapse_requests, CollapseRequests::Never);
    assert_eq!((&builder.next_build, &builder.next_worker), (&NextBuild::Newest, &NextWorker::InOrder));
    assert_eq!(builder.can_start_build.as_ref().unwrap().source(), "worker.running == 0");
    assert_eq!(config.master.prioritize_builders, PrioritizeBuilders::Listed(vec!["b".into()]));
}

#[test]
fn a_word_or_a_name_that_means_nothing_is_reported() {
    let text = r#"
[master]
prioritizeBuilders = ["c"]
collapseRequests = 1
[[worker]]
name = "w"
password = "p"
[[builder]]
name = "b"
workers = ["w"]
nextBuild = "latest"
nextWorker = { expression = "wroker.running" }
canStartBuild = true
collapseRequests = { expression = "new.id >" }
"#;
    let found = errors(text);
    assert_eq!(found.len(), 6, "{found:#?}");
    assert!(found[0].starts_with("3:23 there is no builder \"c\""), "{found:#?}");
    assert!(found[1].starts_with("4:20 expected `true`, `false`, or"), "{found:#?}");
    assert!(found[2].starts_with("11:13 expected `\"priority\"`, `\"oldest\"`"), "{found:#?}");
    assert_eq!(found[3], "12:30 there is no `wroker` here [did you mean `worker`?]");
    assert!(found[4].starts_with("13:17 expected a table"), "{found:#?}");
}

#[test]
fn configurations_in_the_documents_are_good() {
    for page in ["locks", "builders"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../docs/{page}.md"));
        let text = fs::read_to_string(path).unwrap();
        let blocks: Vec<&str> =
            text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(!blocks.is_empty());
        for block in blocks {
            good(block);
        }
    }
}

#[test]
fn what_cancels_builds_is_read() {
    let text = format!(
        "{MINIMAL}[[old-build-canceller]]\nname = \"old\"\nfilters = [{{ builders = \"b\", filter = {{ branch_re = [\"a\", \"b\"], project_not_eq = \"p\" }} }}]\n\
         [[failing-buildset-canceller]]\nname = \"failing\"\nfilters = [{{ builders = \"b\", builders_to_cancel = [\"b\"] }}]\n"
    );
    let config = good(&text).config;
    let [old] = &config.old_build_cancellers[..] else { panic!("{config:?}") };
    assert_eq!(
        (&*old.filters[0].builders, old.filters[0].filter.conditions.len()),
        (&["b".to_owned()][..], 2)
    );
    let failing = &config.failing_buildset_cancellers[0].filters[0];
    assert_eq!(failing.builders_to_cancel.as_deref(), Some(&["b".to_owned()][..]));

    let text = format!(
        "{MINIMAL}[[old-build-canceller]]\nname = \"one\"\nfilters = [{{ builders = \"c\", filter = {{ branch = \"x\" }}, builders_to_cancel = \"b\" }}]\n\
         [[failing-buildset-canceller]]\nname = \"one\"\nfilters = []\n"
    );
    assert_eq!(
        errors(&text),
        [
            "10:25 there is no builder \"c\" [did you mean \"b\"?]",
            "10:41 a source stamp filter has no `branch` [it is called `branch_eq`]",
            "10:57 a filter of a canceller has no `builders_to_cancel` [it has `builders`, `filter`]",
            "12:8 there are two cancellers of the name \"one\"",
        ]
    );
}

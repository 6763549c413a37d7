//! The step `Trigger`; the test plays the master.

use model::{BuildNumber, BuildRequestId, BuilderId, Results};
use tokio::sync::mpsc;

use super::{Bench, Player};
use crate::{
    Answer, BuildControl, Outcome, Refusal, TriggeredBuild, TriggeredScheduler,
    build::{Line, TriggerCall},
};

/// The ends of the line that the master holds.
struct Master {
    control: mpsc::Sender<BuildControl>,
    triggers: mpsc::Receiver<TriggerCall>,
}

fn line() -> (Line, Master) {
    let (control, controlled) = mpsc::channel(4);
    let (trigger, triggers) = mpsc::channel(1);
    let (wishes, _) = mpsc::channel(1);
    (Line { control: controlled, triggers: trigger, wishes }, Master { control, triggers })
}

fn built(request: i64, builds: &[Results]) -> Answer {
    let build = |(at, results): (usize, &Results)| TriggeredBuild {
        builder: format!("b{request}"),
        builder_id: BuilderId(request),
        number: BuildNumber(at as i64 + 1),
        results: *results,
    };
    Answer::TriggeredRequest {
        request: BuildRequestId(request),
        results: builds.last().copied().unwrap_or(Results::Cancelled),
        builds: builds.iter().enumerate().map(build).collect(),
    }
}

fn triggered(schedulers: &[(&str, &[i64])]) -> Answer {
    let one = |(scheduler, requests): &(&str, &[i64])| TriggeredScheduler {
        scheduler: (*scheduler).to_owned(),
        requests: requests.iter().map(|id| BuildRequestId(*id)).collect(),
    };
    Answer::Triggered(schedulers.iter().map(one).collect())
}

const SCHEDULERS: &str = "[[scheduler]]\ntype = \"Triggerable\"\nname = \"t1\"\nbuilderNames = [\"b\"]\n\
    [[scheduler]]\ntype = \"Triggerable\"\nname = \"t2\"\nbuilderNames = [\"b\"]\n";

async fn bench(step: &str) -> Bench {
    Bench::new(&format!("[[builder.step]]\ntype = \"Trigger\"\n{step}\n{SCHEDULERS}"))
        .await
        .property("jobs", 4)
}

#[tokio::test]
async fn it_waits_and_ends_as_the_worst_that_counts() {
    let bench = bench(
        "schedulerNames = [\"t1\", \"t2\"]\nwaitForFinish = true\nunimportantSchedulerNames = [\"t2\"]\nset_properties = { a = \"%(prop:buildername)s\" }\ncopy_properties = [\"jobs\", \"none\"]",
    )
    .await;
    let (line, mut master) = line();
    let play = async {
        let (trigger, answers) = master.triggers.recv().await.unwrap();
        let properties: Vec<String> = trigger
            .properties
            .iter()
            .map(|(name, p)| format!("{name} = {} ({})", p.value, p.source))
            .collect();
        assert_eq!(properties, ["a = \"b\" (Trigger)", "jobs = 4 (Trigger)", "none = null (Trigger)"]);
        assert_eq!(
            (trigger.schedulers.as_slice(), trigger.waits),
            (&["t1".to_owned(), "t2".to_owned()][..], true)
        );
        assert_eq!(trigger.relationship, "Triggered from");
        for answer in [
            triggered(&[("t1", &[1, 2]), ("t2", &[3])]),
            built(1, &[Results::Success]),
            built(3, &[Results::Failure]),
            built(2, &[Results::Retry, Results::Success]),
            Answer::Done,
        ] {
            answers.send(answer).unwrap();
        }
        master
    };
    let player = Player::of(vec![]);
    let (ran, _master) = tokio::join!(bench.run_on(&player, line), play);
    let step = ran.steps.last().unwrap();
    let step = &step.row;
    assert_eq!(step.results, Some(Results::Success));
    assert_eq!(step.state_string, "triggered t1, t2, 2 successes, 1 failure, 1 retry");
    let urls: Vec<_> = step.urls.iter().map(|url| format!("{} {}", url.name, url.url)).collect();
    assert_eq!(
        urls,
        [
            "t1 #1 http://m/#/buildrequests/1",
            "t1 #2 http://m/#/buildrequests/2",
            "t2 #3 http://m/#/buildrequests/3",
            "success: b1 #1 http://m/#/builders/1/builds/1",
            "retry: b2 #1 http://m/#/builders/2/builds/1",
            "success: b2 #2 http://m/#/builders/2/builds/2",
            "failure: b3 #1 http://m/#/builders/3/builds/1",
        ]
    );
}

#[tokio::test]
async fn what_is_triggered_is_told_no_secrets() {
    let bench = Bench::new(&format!(
        r#"
        [[builder.step]]
        type = "SetProperty"
        property = "token"
        value = ["%(secret:KEY)s", 1]
        [[builder.step]]
        type = "Trigger"
        schedulerNames = ["t1"]
        parent_relationship = "for %(secret:KEY)s"
        set_properties = {{ key = "a %(secret:KEY)s", sure = true }}
        copy_properties = ["token", "none"]
        {SCHEDULERS}"#
    ))
    .await;
    let (line, mut master) = line();
    let play = async {
        let (trigger, answers) = master.triggers.recv().await.unwrap();
        answers.send(triggered(&[("t1", &[1])])).unwrap();
        (trigger, master)
    };
    let player = Player::of(vec![]);
    let (ran, (trigger, _master)) = tokio::join!(bench.run_on(&player, line), play);
    assert_eq!(ran.outcome.results, Results::Success);
    let properties: Vec<String> =
        trigger.properties.iter().map(|(name, p)| format!("{name} = {}", p.value)).collect();
    assert_eq!(properties, ["key = \"a <KEY>\"", "none = null", "sure = true", "token = [\"<KEY>\",1]"]);
    assert_eq!(trigger.relationship, "for <KEY>");
}

#[tokio::test]
async fn what_fails_makes_it_fail() {
    let bench = bench("schedulerNames = [\"t1\"]\nwaitForFinish = true").await;
    let (line, mut master) = line();
    let play = async {
        let (_, answers) = master.triggers.recv().await.unwrap();
        for answer in [triggered(&[("t1", &[1])]), built(1, &[Results::Failure]), Answer::Done] {
            answers.send(answer).unwrap();
        }
        master
    };
    let player = Player::of(vec![]);
    let (ran, _master) = tokio::join!(bench.run_on(&player, line), play);
    let state_string = "failed triggered t1, 1 failure".to_owned();
    assert_eq!(ran.outcome, Outcome { results: Results::Failure, state_string });
}

#[tokio::test]
async fn without_waiting_it_succeeds_at_once() {
    let bench = bench("schedulerNames = \"t1\"").await;
    let (line, mut master) = line();
    let play = async {
        let (trigger, answers) = master.triggers.recv().await.unwrap();
        // The very code that this build builds.
        assert_eq!(trigger.sourcestamps.len(), 1);
        assert!(!trigger.waits);
        answers.send(triggered(&[("t1", &[7])])).unwrap();
        master
    };
    let player = Player::of(vec![]);
    let (ran, _master) = tokio::join!(bench.run_on(&player, line), play);
    let step = &ran.steps.last().unwrap().row;
    assert_eq!((step.results, &*step.state_string), (Some(Results::Success), "triggered t1"));
}

#[tokio::test]
async fn a_stop_waits_for_the_end_of_what_was_triggered() {
    let bench = bench("schedulerNames = [\"t1\"]\nwaitForFinish = true").await;
    let (line, mut master) = line();
    let play = async {
        let (_, answers) = master.triggers.recv().await.unwrap();
        answers.send(triggered(&[("t1", &[1])])).unwrap();
        let stop = BuildControl::Stop { reason: "enough".to_owned(), results: Results::Cancelled };
        master.control.send(stop).await.unwrap();
        answers.send(built(1, &[Results::Cancelled])).unwrap();
        answers.send(Answer::Done).unwrap();
        master
    };
    let player = Player::of(vec![]);
    let (ran, _master) = tokio::join!(bench.run_on(&player, line), play);
    let step = &ran.steps.last().unwrap().row;
    assert_eq!((step.results, &*step.state_string), (Some(Results::Cancelled), "interrupted"));
    assert_eq!(ran.outcome.results, Results::Cancelled);
}

#[tokio::test]
async fn what_cannot_be_triggered_is_said() {
    let bench = bench("schedulerNames = [\"%(prop:nothing:-t9)s\"]").await;
    let (line, mut master) = line();
    let play = async {
        let (_, answers) = master.triggers.recv().await.unwrap();
        answers.send(Answer::Refused(Refusal::NoSuchScheduler("t9".to_owned()))).unwrap();
        master
    };
    let player = Player::of(vec![]);
    let (ran, _master) = tokio::join!(bench.run_on(&player, line), play);
    assert_eq!(ran.steps.last().unwrap().row.results, Some(Results::Exception));
    let log = ran.steps.last().unwrap().log("err.text");
    assert_eq!(log.trim_end(), "nothing is triggered: no scheduler is called \"t9\"");
}

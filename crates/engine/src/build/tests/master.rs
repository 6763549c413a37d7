//! Steps that the master does itself.

use model::Results::{Cancelled, Exception, Failure, Skipped, Success, Warnings};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};
use worker_protocol::{FileStat, Update};

use super::{Act, Bench, NOW, Player, Ran};
use crate::BuildControl;

async fn run(steps: &str) -> Ran {
    Bench::new(steps).await.run(&Player::of(Vec::new())).await
}

#[tokio::test]
async fn the_master_runs_commands() {
    let ran = run(r#"
        [[builder.step]]
        type = "MasterShellCommand"
        command = "echo out; echo err >&2; echo $A $PATH; pwd; echo '%(secret:KEY)s'"
        env = { A = ["x", "${HOME}"], KEY = "%(secret:KEY)s" }
        workdir = "secrets"
        [[builder.step]]
        type = "MasterShellCommand"
        name = "fails"
        command = ["sh", "-c", "exit 3"]
        haltOnFailure = false
        [[builder.step]]
        type = "MasterShellCommand"
        name = "killed"
        command = "kill -TERM $$"
        haltOnFailure = false
        [[builder.step]]
        type = "MasterShellCommand"
        name = "slow"
        command = "sleep 60 & wait"
        runtime_timeout = 0.1
        haltOnFailure = false
        [[builder.step]]
        type = "MasterShellCommand"
        name = "missing"
        command = ["no such program"]
        "#)
    .await;
    let said = [
        ("MasterShellCommand", Success, "Ran"),
        ("fails", Failure, "failed (3) (failure)"),
        ("killed", Failure, "killed (15) (failure)"),
        ("slow", Failure, "killed (9) (failure)"),
        ("missing", Exception, "Ran (exception)"),
    ];
    assert_eq!(ran.said(), said);
    let log = ran.step("MasterShellCommand").log("stdio");
    let home = std::env::var("HOME").unwrap();
    assert!(log.contains("oout\n") && log.contains("eerr\n"), "{log}");
    assert!(log.contains(&format!("ox:{home} ")) && log.contains("/secrets\n"), "{log}");
    assert!(log.contains("o<KEY>\n") && log.contains("'KEY': '<KEY>'") && !log.contains("s3cr3t"), "{log}");
    assert!(ran.step("slow").log("stdio").contains("running for too long"));
}

#[tokio::test]
async fn a_command_on_the_master_can_be_stopped() {
    let (stop, control) = mpsc::channel(1);
    let bench = Bench::new(
        "[[builder.step]]\ntype = 'MasterShellCommand'\ncommand = 'echo $$ > pid; sleep 60 & wait'\ninterruptSignal = 'TERM'",
    )
    .await;
    let pid = bench.directory.path().join("pid");
    let player = Player::of(Vec::new());
    let (ran, ()) = tokio::join!(bench.run_with(&player, control), async {
        while !std::fs::read_to_string(&pid).is_ok_and(|text| text.ends_with('\n')) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        let reason = "enough".to_owned();
        stop.send(BuildControl::Stop { reason, results: Cancelled }).await.unwrap();
    });
    assert_eq!(ran.outcome.results, Cancelled);
    assert_eq!(ran.step("MasterShellCommand").log("cancelled"), "enough\n");
}

#[tokio::test]
async fn a_command_on_the_master_leaves_nothing_behind_when_the_master_ends() {
    let bench = Bench::new(
        "[[builder.step]]\ntype = 'MasterShellCommand'\ncommand = 'sleep 1000 & echo $! > child; wait'",
    )
    .await;
    let file = bench.directory.path().join("child");
    let player = Player::of(Vec::new());
    let mut child = String::new();
    let begun = async {
        while !child.ends_with('\n') {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            child = std::fs::read_to_string(&file).unwrap_or_default();
        }
    };
    tokio::select! {
        ran = bench.run(&player) => panic!("{ran:?}"),
        () = begun => {}
    }
    // Whoever is dead but not missed yet is a `Z`.
    let stat = format!("/proc/{}/stat", child.trim());
    let gone = async {
        while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), gone).await.expect("it is killed");
}

#[tokio::test]
async fn assertions_are_checked() {
    let ran = run(r#"
        [[builder.step]]
        type = "Assert"
        check = { expression = "prop.buildername == 'b'" }
        [[builder.step]]
        type = "Assert"
        name = "no"
        check = ""
        [[builder.step]]
        type = "Assert"
        name = "property"
        check = { property = "none" }
        "#)
    .await;
    let said = [
        ("Assert", Success, "checked prop.buildername == 'b'"),
        ("no", Failure, "checked '' (failure)"),
        ("property", Failure, "checked property none (failure)"),
    ];
    assert_eq!(ran.said(), said);
}

/// Answers requests, each with a text, and returns what was asked.
async fn serve(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            loop {
                let mut block = [0; 4096];
                let read = stream.read(&mut block).await.unwrap();
                request.extend_from_slice(&block[..read]);
                let text = String::from_utf8_lossy(&request).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if read == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    asked.push(text);
                    break;
                }
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (url, task)
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_are_sent() {
    let (url, asked) = serve(vec![
        answer("302 Found", "Location: /there\r\n", ""),
        answer("200 OK", "X-A: b\r\nSet-Cookie: c\r\n", "text\n"),
        answer("404 Not Found", "", "no\n"),
        answer("200 OK", "", ""),
    ])
    .await;
    let ran = run(&format!(
        r#"
        [[builder.step]]
        type = "GET"
        url = "{url}/here"
        params = {{ b = 1, a = "x y" }}
        headers = {{ Token = "%(secret:KEY)s" }}
        auth = ["me", "%(secret:KEY)s"]
        cookies = {{ k = "v" }}
        hide_response_headers = ["set-cookie"]
        [[builder.step]]
        type = "POST"
        name = "post"
        url = "{url}/p"
        json = {{ a = [1, "%(prop:buildername)s"] }}
        [[builder.step]]
        type = "HTTPStep"
        name = "put"
        method = {{ expression = "'PUT'" }}
        url = "{url}/q"
        data = {{ f = "a b", g = 2 }}
        [[builder.step]]
        type = "DELETE"
        name = "nobody"
        url = "http://127.0.0.1:1/"
        "#
    ))
    .await;
    let said = [
        ("HTTPStep", Success, "Status code: 200"),
        ("post", Failure, "Status code: 404 (failure)"),
        ("put", Success, "Status code: 200"),
        ("nobody", Failure, "Requested (failure)"),
    ];
    assert_eq!(ran.said(), said, "{ran:#?}");
    let asked = asked.await.unwrap();
    assert!(asked[0].starts_with("GET /here?a=x+y&b=1 HTTP/1.1\r\n"), "{asked:?}");
    assert!(
        asked[0].contains("token: s3cr3t\r\n") && asked[0].contains("authorization: Basic bWU6czNjcjN0\r\n")
    );
    assert!(asked[1].starts_with("GET /there ") && asked[1].contains("cookie: k=v"), "{asked:?}");
    assert!(asked[2].starts_with("POST /p ") && asked[2].ends_with(r#"{"a": [1, "b"]}"#), "{asked:?}");
    assert!(asked[3].starts_with("PUT /q ") && asked[3].ends_with("f=a+b&g=2"), "{asked:?}");
    let log = ran.step("HTTPStep").log("log");
    for line in [
        "hParameters:",
        "h\ta: x y",
        "h\tToken: <KEY>",
        "h\tAuthorization: <HIDDEN>",
        "oStatus: 200",
        "h\tX-A: b",
    ] {
        assert!(log.contains(&format!("{line}\n")), "{line}: {log}");
    }
    assert!(log.contains("Set-Cookie: <HIDDEN>") && log.contains(&format!("oURL: {url}/there\n")), "{log}");
    assert!(!log.contains("s3cr3t") && !log.contains("bWU6"), "{log}");
    assert_eq!(ran.step("HTTPStep").log("content"), "otext\n");
    assert!(ran.step("post").log("log").contains("eStatus: 404\n"));
    assert!(ran.step("nobody").log("log").contains("eAn exception occurred while performing the request"));
}

#[tokio::test]
async fn requests_show_no_secrets_of_their_url() {
    let (url, asked) = serve(vec![answer("200 OK", "", "")]).await;
    let ran = run(&format!(
        r#"
        [[builder.step]]
        type = "GET"
        url = "{url}/"
        params = {{ token = "%(secret:TOKEN)s" }}
        [[builder.step]]
        type = "GET"
        name = "nobody"
        url = "http://127.0.0.1:1/"
        params = {{ token = "%(secret:TOKEN)s" }}
        "#
    ))
    .await;
    assert!(asked.await.unwrap()[0].starts_with("GET /?token=a+b%2Fc%3D HTTP/1.1\r\n"));
    let log = ran.step("HTTPStep").log("log");
    assert!(log.contains(&format!("oURL: {url}/?token=<TOKEN>\n")) && !log.contains("%2Fc"), "{log}");
    let log = ran.step("nobody").log("log");
    assert!(log.contains("performing the request") && !log.contains("%2Fc"), "{log}");
}

#[tokio::test]
async fn workspaces_are_cleaned_when_they_have_to_be() {
    let case = |condition: &str, parts: Vec<Vec<Act>>| {
        let steps = format!("[[builder.step]]\ntype = 'CleanWorkspace'\nkeep = ['ccache']\n{condition}");
        async move {
            let player = Player::of(parts);
            let ran = Bench::new(&steps).await.run(&player).await;
            (ran.step("clean workspace").row.results.unwrap(), player.seen())
        }
    };
    let told =
        |update: Update, rc| std::iter::once(Act::update(update)).chain(Act::end(rc)).collect::<Vec<_>>();
    let files =
        |names: &[&str]| told(Update::Files(names.iter().map(|name| (*name).to_owned()).collect()), 0);
    let aged = |seconds| {
        told(Update::Stat(FileStat { modified: NOW.epoch_seconds() - seconds, ..FileStat::default() }), 0)
    };
    let df = |free| told(Update::Stdout(format!("Filesystem\n/dev/x 9 9 {free} 5% /\n").into()), 0);
    let removed = "rmdir build .x timeout=3600 logEnviron=false";

    let (results, seen) = case("", vec![files(&["build", "ccache", ".x"])]).await;
    assert_eq!((results, seen), (Success, vec!["listdir .".to_owned(), removed.to_owned()]));
    let old = case("older-than = 60", vec![aged(61), files(&["build", ".x"])]).await;
    assert_eq!(old.0, Success);
    assert_eq!(old.1[2..], [removed, "downloadFile . .ganger-workspace blocksize=262144"]);
    let never = case("older-than = 60", vec![Act::end(2).into(), files(&[])]).await;
    assert_eq!((never.0, never.1.len()), (Success, 3));
    let young = case("older-than = 60", vec![aged(59)]).await;
    assert_eq!(young, (Skipped, vec!["stat .ganger-workspace".to_owned()]));
    let full =
        case("older-than = 60\nfree-below = '1 MiB'", vec![aged(5), df(1023), files(&["build", ".x"])]).await;
    assert_eq!((full.0, full.1[3].as_str()), (Success, removed));
    assert_eq!(case("free-below = '1 MiB'", vec![df(1024)]).await.0, Skipped);
    let unknown: Vec<Act> = Act::end(127).into();
    assert_eq!(case("free-below = 1", vec![unknown]).await.0, Warnings);
    let failed = case("", vec![files(&["build"]), Act::end(1).into()]).await;
    assert_eq!(failed.0, Failure);
}

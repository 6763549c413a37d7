//! The whole program on a PostgreSQL server: what it does on a file, through crashes of the master and cut sessions.

use std::fs;

use testkit::{
    postgres::{Cluster, USER},
    worker::WorkerKind,
};

use crate::{barriers, farm::Farm};

/// A farm whose database is on a server.
struct Place {
    cluster: Cluster,
    database: String,
}

impl Place {
    fn new(name: &str) -> Self {
        let cluster = Cluster::shared().expect("PostgreSQL is installed");
        let database = format!("{name}_{}", std::process::id());
        cluster.database(&database).expect("a database can be made");
        Self { cluster, database }
    }

    fn setting(&self) -> String {
        let socket = self.cluster.socket().display();
        format!("database = \"postgresql://{USER}@/{}?host={socket}\"", self.database)
    }

    fn sql(&self, statement: &str) -> String {
        self.cluster.sql(&self.database, statement).expect("the server answers").trim().to_owned()
    }

    /// Ends all sessions but the one that does it.
    fn cut(&self) {
        self.sql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
    }
}

#[test]
fn a_farm_on_a_server_goes_on_after_a_crash_and_without_its_sessions() {
    let place = Place::new("whole");
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let hold = scratch.path().join(barriers::HOLD);
    fs::write(&hold, "").expect("a writable scratch directory");
    let mut farm = Farm::start_with(&place.setting(), &barriers::objects(scratch.path()));
    let _worker = farm.worker(WorkerKind::NEWEST);
    for (command, _) in barriers::ASKED {
        let output = farm.ganger(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    farm.wait_lines("top", 1, "say", 3);
    let shown = farm.log_of("top", 1, &[]);
    farm.kill();
    fs::remove_file(&hold).expect("it is there");
    farm.restart();
    let interrupted = farm.wait_complete("top", 1);
    assert_eq!(interrupted["results"], 5, "{interrupted}");
    let last = interrupted["steps"].as_array().and_then(|steps| steps.last()).expect("a step");
    assert_eq!(
        (&last["name"], &last["results"]),
        (&"say".into(), &5.into()),
        "it was killed in it: {interrupted}"
    );
    assert!(farm.log_of("top", 1, &[]).starts_with(shown.trim_end()), "no line that was shown is lost");

    farm.eventually("it is built again", |farm| farm.find("top", 2));
    place.cut();
    farm.eventually("all is built", |_| {
        let open = "SELECT count(*) FROM buildrequests WHERE complete = 0";
        let asked = "SELECT count(*) FROM buildsets";
        (place.sql(open) == "0" && place.sql(asked) == "4").then_some(())
    });
    let top = farm.newest("top").expect("it was built");
    assert_eq!(top["results"], 0, "{top}");
    let said = farm.log_of("top", top["number"].as_i64().expect("a number"), &["--step", "say"]);
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines.len(), 12, "{said}");
    let succeeded = |builder: &str| {
        format!(
            "SELECT count(*) FROM builds JOIN builders ON builders.id = builderid \
             WHERE name = '{builder}' AND results = 0"
        )
    };
    for (what, found) in [
        ("SELECT count(*) FROM buildrequests WHERE results <> 0", "0"),
        ("SELECT count(*) FROM scheduler_changes", "0"),
        ("SELECT count(*) FROM logs WHERE complete = 0", "0"),
        // More where one ran as the master was killed.
        (&succeeded("after"), "1"),
        (&succeeded("left"), "2"),
    ] {
        assert_eq!(place.sql(what), found, "{what}");
    }

    farm.eventually("the chunks of each log that was watched are one", |_| {
        let scattered = "SELECT count(*) FROM (SELECT logid FROM logchunks JOIN logs ON logs.id = logid \
                         JOIN steps ON steps.id = stepid WHERE steps.results = 0 \
                         GROUP BY logid HAVING count(*) > 1) AS scattered";
        (place.sql(scattered) == "0").then_some(())
    });

    let before = farm.newest("after").expect("it was built")["number"].as_i64().expect("a number");
    farm.signal("TERM");
    let ended = farm.wait_for_end();
    assert!(ended.success(), "{ended}: {}", farm.log_text());
    let active = "SELECT count(*) FROM masters WHERE active <> 0";
    assert_eq!(place.sql(active), "0");
    farm.restart();
    assert_eq!(farm.build("after", &[])["number"], before + 1, "numbers go on");
}

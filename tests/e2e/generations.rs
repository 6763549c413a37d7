//! Every generation of worker that can run here builds.

use serde_json::Value;
use testkit::worker::WorkerKind;

use crate::farm::{Farm, Repository, force, step_results};

/// What every worker can do.
const COMMANDS: &str = r#"
[[builder]]
name = "commands"
workers = ["w1"]
[[builder.step]]
type = "ShellCommand"
name = "print"
command = ["sh", "-c", "printf 'gr\\303\\274n\\n'; echo err >&2; echo $VALUE"]
[builder.step.env]
VALUE = "made on %(prop:workername)s"
[[builder.step]]
type = "StringDownload"
s = "downloaded\n"
workerdest = "made/text"
[[builder.step]]
type = "FileUpload"
workersrc = "made/text"
masterdest = "uploaded"
[[builder.step]]
type = "DirectoryUpload"
workersrc = "made"
masterdest = "directory"
[[builder.step]]
type = "ShellCommand"
name = "fail"
command = "exit 3"
flunkOnFailure = false
"#;

/// The first whose workers can ask for a file and make a directory: buildslave 0.8.3.
const WITH_FILES: (u32, u32) = (2, 11);

/// What takes commands on files.
fn files(repository: &Repository) -> String {
    format!(
        r#"
[[builder]]
name = "files"
workers = ["w1"]
[[builder.step]]
type = "Git"
repourl = "{}"
branch = "master"
[[builder.step]]
type = "MakeDirectory"
dir = "build/made"
[[builder.step]]
type = "FileExists"
file = "build/README"
[[builder.step]]
type = "CopyDirectory"
src = "build/made"
dest = "build/copied"
[[builder.step]]
type = "RemoveDirectory"
dir = "build/made"
"#,
        repository.path().display()
    )
}

fn not_successful(build: &Value) -> Vec<(String, i64)> {
    step_results(build).into_iter().filter(|(_, results)| *results != 0).collect()
}

#[test]
#[expect(clippy::print_stderr, reason = "who runs the tests must see what was not tested")]
fn every_generation_builds() {
    let repository = Repository::new();
    let commit = repository.commit("README", "hello\n");
    let selected = WorkerKind::selected().expect("the environments of workers are made");
    for kind in selected.without_python2 {
        eprintln!("{} is not tested: there is no Python 2.7", kind.name);
    }
    let objects = COMMANDS.to_owned() + &files(&repository) + &force(&["commands", "files"]);
    let mut farm = Farm::start(&objects);
    let mut number = 0;
    for (kind, _) in selected.ready {
        let name = kind.name;
        number += 1;
        let worker = farm.worker(kind);
        let build = farm.build("commands", &[]);
        let log = farm.log_of("commands", number, &[]);
        assert_eq!(build["results"], 0, "{name}: {build}\n{log}\n{}", worker.log());
        assert_eq!(not_successful(&build), [("fail".to_owned(), 2)], "{name}");
        for expect in ["grün", "err", "made on w1"] {
            assert!(log.contains(expect), "{name}: {expect:?} is not in\n{log}");
        }
        for file in ["uploaded", "directory/text"] {
            let text = std::fs::read_to_string(farm.path(file)).unwrap_or_default();
            assert_eq!(text, "downloaded\n", "{name}: {file}");
            std::fs::remove_file(farm.path(file)).expect("it was uploaded");
        }
        if kind.command_version >= WITH_FILES {
            let build = farm.build("files", &[]);
            assert_eq!(build["results"], 0, "{name}: {build}\n{}", worker.log());
            assert_eq!(not_successful(&build), [], "{name}");
            assert_eq!(build["properties"]["got_revision"]["value"], commit.as_str(), "{name}");
        }
        drop(worker);
        farm.wait_connected("w1", false);
    }
}

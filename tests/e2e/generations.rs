//! Every generation of worker that can run here builds.

use testkit::worker::WorkerKind;

use crate::farm::{Farm, Repository, force, step_results};

#[test]
#[expect(clippy::print_stderr, reason = "who runs the tests must see what was not tested")]
fn every_generation_builds() {
    let repository = Repository::new();
    let commit = repository.commit("README", "hello\n");
    let objects = format!(
        r#"
[[builder]]
name = "b"
workers = ["w1"]
[[builder.step]]
type = "Git"
repourl = "{}"
branch = "master"
[[builder.step]]
type = "ShellCommand"
name = "print"
command = ["sh", "-c", "printf 'gr\\303\\274n\\n'; echo err >&2; echo $VALUE"]
[builder.step.env]
VALUE = "made on %(prop:workername)s"
[[builder.step]]
type = "MakeDirectory"
dir = "build/made"
[[builder.step]]
type = "FileExists"
file = "build/README"
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
type = "RemoveDirectory"
dir = "build/made"
[[builder.step]]
type = "ShellCommand"
name = "fail"
command = "exit 3"
flunkOnFailure = false
{}
"#,
        repository.path().display(),
        force(&["b"])
    );
    let selected = WorkerKind::selected().expect("the environments of workers are made");
    for kind in selected.without_python2 {
        eprintln!("{} is not tested: there is no Python 2.7", kind.name);
    }
    let mut farm = Farm::start(&objects);
    for (index, (kind, _)) in selected.ready.into_iter().enumerate() {
        let (name, number) = (kind.name, index as i64 + 1);
        let worker = farm.worker(kind);
        let build = farm.build("b", &[]);
        let log = farm.log_of("b", number, &[]);
        assert_eq!(build["results"], 0, "{name}: {build}\n{log}\n{}", worker.log());
        assert_eq!(build["properties"]["got_revision"]["value"], commit.as_str(), "{name}");
        let failed: Vec<_> = step_results(&build).into_iter().filter(|(_, results)| *results != 0).collect();
        assert_eq!(failed, [("fail".to_owned(), 2)], "{name}");
        for expect in ["grün", "err", "made on w1"] {
            assert!(log.contains(expect), "{name}: {expect:?} is not in\n{log}");
        }
        for file in ["uploaded", "directory/text"] {
            let text = std::fs::read_to_string(farm.path(file)).unwrap_or_default();
            assert_eq!(text, "downloaded\n", "{name}: {file}");
            std::fs::remove_file(farm.path(file)).expect("it was uploaded");
        }
        drop(worker);
        farm.wait_connected("w1", false);
    }
}

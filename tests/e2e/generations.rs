//! Every generation of worker that can run here builds.

use testkit::worker::WorkerKind;

use crate::farm::{Farm, Repository, force, step_results};

#[test]
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
VALUE = "Zürich on %(prop:workername)s"
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
type = "RemoveFile"
path = "build/made/text"
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
    let mut farm = Farm::start(&objects);
    for (index, kind) in WorkerKind::under_test().into_iter().enumerate() {
        let number = index as i64 + 1;
        let worker = farm.worker(kind, "w1");
        let build = farm.build("b", &[]);
        let log = farm.log_of("b", number, &[]);
        assert_eq!(build["results"], 0, "{kind:?}: {build}\n{log}\n{}", worker.log_text());
        assert_eq!(build["properties"]["got_revision"]["value"], commit.as_str(), "{kind:?}");
        let failed: Vec<_> = step_results(&build).into_iter().filter(|(_, results)| *results != 0).collect();
        assert_eq!(failed, [("fail".to_owned(), 2)], "{kind:?}");
        for expect in ["grün", "err", "Zürich on w1"] {
            assert!(log.contains(expect), "{kind:?}: {expect:?} is not in\n{log}");
        }
        for file in ["uploaded", "directory/text"] {
            let text = std::fs::read_to_string(farm.path(file)).unwrap_or_default();
            assert_eq!(text, "downloaded\n", "{kind:?}: {file}");
            std::fs::remove_file(farm.path(file)).expect("it was uploaded");
        }
        worker.kill();
        farm.wait_connected("w1", false);
    }
}

//! Files and directories on their way between worker and master.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::Path,
};

use model::Results::{Exception, Failure, Skipped, Success};
use tar::{Builder, EntryType, Header};
use worker_protocol::{FileStat, Update};

use super::{Act, Bench, Player};
use crate::build::{
    Report,
    unpack::{Limits, unpack},
};

/// An upload as a worker does it.
fn upload(blocks: &[&[u8]], more: Vec<Act>, rc: i64) -> Vec<Act> {
    let mut acts = vec![Act::header("sending f\n")];
    acts.extend(blocks.iter().map(|block| Act::Tell(Report::Write(block.to_vec().into()))));
    acts.push(Act::Tell(Report::CloseWrite));
    acts.extend(more);
    acts.extend(Act::end(rc));
    acts
}

/// The upload of a directory: unpacking is asked for instead of an end.
fn upload_directory(archive: &[u8]) -> Vec<Act> {
    let mut acts: Vec<Act> =
        archive.chunks(512).map(|block| Act::Tell(Report::Write(block.to_vec().into()))).collect();
    acts.push(Act::Tell(Report::Unpack));
    acts.extend(Act::end(0));
    acts
}

fn stat(mode: i64) -> Vec<Act> {
    let mut acts = vec![Act::update(Update::Stat(FileStat { mode, ..FileStat::default() }))];
    acts.extend(Act::end(0));
    acts
}

fn archive(fill: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    fill(&mut builder);
    builder.into_inner().unwrap()
}

fn file(builder: &mut Builder<Vec<u8>>, name: &str, text: &str) {
    raw(builder, name, EntryType::Regular, "", text);
}

/// An entry with any name, also one that the writer would refuse.
fn raw(builder: &mut Builder<Vec<u8>>, name: &str, kind: EntryType, link: &str, text: &str) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(text.len() as u64);
    header.set_mode(0o4777);
    header.set_mtime(1_600_000_000);
    header.set_cksum();
    builder.append(&header, text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_file_takes_its_place_when_all_of_it_is_there() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "FileUpload"
        workersrc = "out/f"
        masterdest = "made/%(prop:buildername)s/f"
        mode = 0o640
        keepstamp = true
        url = "http://u/f"
        [[builder.step]]
        type = "FileUpload"
        workersrc = "none"
        masterdest = "kept"
        haltOnFailure = false
        [[builder.step]]
        type = "FileUpload"
        workersrc = "f"
        masterdest = "kept"
        maxsize = 3
        blocksize = 99
        url = "http://t"
        urlText = "T"
        "#,
    )
    .await;
    let directory = bench.directory.path().to_owned();
    fs::write(directory.join("kept"), "as it was").unwrap();
    let times = Act::Tell(Report::SetTimes { accessed: 1e9, modified: 1.1e9 });
    let more_than_allowed = upload(&[b"1234"], vec![], 0);
    let player = Player::of(vec![
        upload(&[b"hel", b"lo"], vec![times], 0),
        upload(&[], vec![Act::err("Cannot open file 'none' for upload\n")], 1),
        more_than_allowed,
    ]);
    // The directory goes with the bench.
    let kept = tempfile::tempdir().unwrap();
    let files = kept.path().to_owned();
    let bench = keep(bench, files.clone());
    let ran = bench.run(&player).await;
    assert_eq!(
        player.seen(),
        [
            "uploadFile build out/f blocksize=262144 keepstamp",
            "uploadFile build none blocksize=262144",
            "uploadFile build f blocksize=99 maxsize=3",
        ]
    );
    assert_eq!(
        ran.said(),
        [
            ("upload", Success, "uploading f"),
            ("upload_1", Failure, "uploading none (failure)"),
            ("upload_2", Exception, "uploading f (exception)"),
        ]
    );
    let made = files.join("made/b/f");
    assert_eq!(fs::read(&made).unwrap(), b"hello");
    let metadata = fs::metadata(&made).unwrap();
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.mtime()), (0o640, 1_100_000_000));
    // Failed uploads leave what was there, and nothing else.
    assert_eq!(fs::read(files.join("kept")).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(files.join("made/b")).unwrap().count(), 1);
    let urls = |step: &str| ran.step(step).row.urls.clone();
    assert_eq!((urls("upload")[0].name.as_str(), urls("upload")[0].url.as_str()), ("f", "http://u/f"));
    assert_eq!(urls("upload_2")[0].name, "T");
    assert!(ran.step("upload_2").log("err.text").contains("more than `maxsize`"));
    assert_eq!(player.interrupts().len(), 1);
}

/// Lets the master's files be in a directory that outlives the build.
fn keep(mut bench: Bench, files: std::path::PathBuf) -> Bench {
    for entry in fs::read_dir(bench.directory.path()).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() && !entry.file_name().to_string_lossy().starts_with("state.")
        {
            fs::copy(entry.path(), files.join(entry.file_name())).unwrap();
        }
    }
    bench.base_dir = files;
    bench
}

#[tokio::test]
async fn a_directory_is_unpacked() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "DirectoryUpload"
        workersrc = "d"
        masterdest = "docs"
        compress = "gz"
        [[builder.step]]
        type = "DirectoryUpload"
        workersrc = "d"
        masterdest = "docs"
        [[builder.step]]
        type = "DirectoryUpload"
        workersrc = "d"
        masterdest = "bad"
        "#,
    )
    .await;
    let tree = archive(|tar| {
        raw(tar, "./", EntryType::Directory, "", "");
        raw(tar, "e/", EntryType::Directory, "", "");
        file(tar, "e/y", "why");
        raw(tar, "l", EntryType::Symlink, "e/y", "");
        raw(tar, "h", EntryType::Link, "e/y", "");
    });
    let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    std::io::Write::write_all(&mut gz, &tree).unwrap();
    let again = archive(|tar| file(tar, "e/y", "new"));
    let bad = archive(|tar| {
        file(tar, "fine", "x");
        file(tar, "../out", "x");
    });
    let player = Player::of(vec![
        upload_directory(&gz.finish().unwrap()),
        upload_directory(&again),
        upload_directory(&bad),
    ]);
    let files = tempfile::tempdir().unwrap();
    let ran = keep(bench, files.path().to_owned()).run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("upload", Success, "uploading d"),
            ("upload_1", Success, "uploading d"),
            ("upload_2", Exception, "uploading d (exception)"),
        ]
    );
    let docs = files.path().join("docs");
    assert_eq!(fs::read(docs.join("e/y")).unwrap(), b"new");
    assert_eq!(fs::read(docs.join("h")).unwrap(), b"why");
    assert_eq!(fs::read_link(docs.join("l")).unwrap(), Path::new("e/y"));
    let mode = fs::metadata(docs.join("e/y")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "nothing that others could write, or that runs as somebody else");
    let text = ran.step("upload_2").log("err.text");
    assert!(text.contains("../out") && text.contains("leads out of the upload"), "{text}");
    // Neither the destination nor anything temporary is left.
    assert_eq!(fs::read_dir(files.path()).unwrap().count(), 1);
    assert_eq!(player.seen()[0], "uploadDirectory build d blocksize=16384 compress=Gzip");
}

#[test]
fn nothing_leaves_the_destination() {
    let check = |what: &str, fill: fn(&mut Builder<Vec<u8>>)| {
        let directory = tempfile::tempdir().unwrap();
        let outside = directory.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let root = directory.path().join("root");
        fs::create_dir(&root).unwrap();
        symlink(&outside, root.join("theirs")).unwrap();
        let path = directory.path().join("a.tar");
        fs::write(&path, archive(fill)).unwrap();
        let error = unpack(&path, worker_protocol::Compression::None, &root, Limits::default());
        assert!(error.is_err(), "{what} was unpacked");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{what} got out");
        assert!(!directory.path().join("out").exists(), "{what} got out");
    };
    check("a name with ..", |tar| file(tar, "a/../../out", "x"));
    check("an absolute name", |tar| file(tar, "/tmp/ganger-test-out", "x"));
    check("a file through a link that was there", |tar| file(tar, "theirs/x", "x"));
    check("a file through a link of its own", |tar| {
        raw(tar, "d/", EntryType::Directory, "", "");
        raw(tar, "l", EntryType::Symlink, "d", "");
        file(tar, "l/x", "x");
    });
    check("a link to an absolute path", |tar| raw(tar, "l", EntryType::Symlink, "/etc", ""));
    check("a link upwards", |tar| raw(tar, "l", EntryType::Symlink, "../outside", ""));
    check("a link upwards from below", |tar| raw(tar, "d/l", EntryType::Symlink, "../../outside", ""));
    check("a link through another", |tar| {
        raw(tar, "x", EntryType::Symlink, ".", "");
        raw(tar, "d/y", EntryType::Symlink, "../x/..", "");
    });
    check("a hard link upwards", |tar| raw(tar, "l", EntryType::Link, "../a.tar", ""));
    check("a hard link through a link", |tar| raw(tar, "l", EntryType::Link, "theirs/x", ""));
    check("a device", |tar| raw(tar, "null", EntryType::Char, "", ""));
    check("a pipe", |tar| raw(tar, "pipe", EntryType::Fifo, "", ""));
    check("a file where a directory is", |tar| {
        raw(tar, "d/", EntryType::Directory, "", "");
        file(tar, "d", "x");
    });
}

#[test]
fn an_archive_has_an_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a.tar");
    let tree = archive(|tar| {
        for name in ["a", "b", "c"] {
            file(tar, name, "0123456789");
        }
    });
    fs::write(&path, tree).unwrap();
    let to = directory.path().join("to");
    let compression = worker_protocol::Compression::None;
    for limits in [Limits { entries: 2, ..Limits::default() }, Limits { bytes: 25, ..Limits::default() }] {
        let error = unpack(&path, compression, &to, limits).unwrap_err();
        assert!(error.to_string().contains("more than"), "{error}");
        assert!(!to.exists());
    }
    unpack(&path, compression, &to, Limits { entries: 3, bytes: 30 }).unwrap();
    assert_eq!(fs::read_dir(&to).unwrap().count(), 3);
}

#[tokio::test]
async fn many_files_under_their_own_names() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = ["f", "d"]
        masterdest = "m"
        url = "http://m"
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = ["d/*", "zz*"]
        masterdest = "g"
        glob = true
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = ["none", "f"]
        masterdest = "m"
        haltOnFailure = false
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = ["pipe"]
        masterdest = "m"
        haltOnFailure = false
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = []
        masterdest = "m"
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = ["zz*"]
        masterdest = "m"
        glob = true
        [[builder.step]]
        type = "MultipleFileUpload"
        workersrcs = ["d/.."]
        masterdest = "m"
        "#,
    )
    .await;
    let found = |files: &[&str]| {
        let files = files.iter().map(|file| (*file).to_owned()).collect();
        let mut acts = vec![Act::update(Update::Files(files))];
        acts.extend(Act::end(0));
        acts
    };
    let player = Player::of(vec![
        stat(0o100_644),
        upload(&[b"f"], vec![], 0),
        stat(0o040_755),
        upload_directory(&archive(|tar| file(tar, "x", "x"))),
        found(&["/w/b/build/d/x"]),
        found(&[]),
        stat(0o100_644),
        upload(&[b"x"], vec![], 0),
        Act::end(2).into(),
        stat(0o010_644),
        found(&[]),
        stat(0o040_755),
    ]);
    let files = tempfile::tempdir().unwrap();
    let ran = keep(bench, files.path().to_owned()).run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("upload", Success, "uploading 2 files"),
            ("upload_1", Success, "uploading 1 file"),
            ("upload_2", Failure, "uploading 2 files (failure)"),
            ("upload_3", Failure, "uploading 1 file (failure)"),
            ("upload_4", Skipped, "finished (skipped)"),
            ("upload_5", Skipped, "uploading 0 files (skipped)"),
            ("upload_6", Failure, "uploading 1 file (failure)"),
        ]
    );
    assert_eq!(
        player.seen(),
        [
            "stat f workdir=build",
            "uploadFile build f blocksize=16384",
            "stat d workdir=build",
            "uploadDirectory build d blocksize=16384 compress=None",
            "glob build/d/*",
            "glob build/zz*",
            "stat /w/b/build/d/x workdir=build",
            "uploadFile build /w/b/build/d/x blocksize=16384",
            "stat none workdir=build",
            "stat pipe workdir=build",
            "glob build/zz*",
            "stat d/.. workdir=build",
        ]
    );
    assert_eq!(fs::read(files.path().join("m/d/x")).unwrap(), b"x");
    assert_eq!(fs::read(files.path().join("g/x")).unwrap(), b"x");
    assert_eq!(ran.step("upload_2").log("stderr"), "File build/none not available at worker\n");
    assert_eq!(ran.step("upload_3").log("stderr"), "pipe is neither a regular file, nor a directory\n");
}

#[tokio::test]
async fn files_and_texts_go_to_the_worker() {
    let bench = Bench::new(
        r#"
        [[builder.step]]
        type = "FileDownload"
        mastersrc = "tool"
        workerdest = "dl/f"
        mode = 0o600
        [[builder.step]]
        type = "FileDownload"
        mastersrc = "nof"
        workerdest = "dl/f"
        haltOnFailure = false
        [[builder.step]]
        type = "StringDownload"
        s = "hé %(prop:buildername)s"
        workerdest = "dl/s"
        maxsize = 5
        [[builder.step]]
        type = "JSONStringDownload"
        o = { a = [1, true, 1.5, "é"] }
        workerdest = "dl/j"
        [[builder.step]]
        type = "JSONPropertiesDownload"
        workerdest = "dl/p"
        "#,
    )
    .await;
    fs::write(bench.directory.path().join("tool"), vec![7u8; 5000]).unwrap();
    let read = || {
        let mut acts = vec![Act::ReadAll(1024), Act::Tell(Report::CloseRead)];
        acts.extend(Act::end(0));
        acts
    };
    let player = Player::of(vec![read(), read(), read(), read()]);
    let ran = bench.run(&player).await;
    assert_eq!(
        ran.said(),
        [
            ("download", Success, "downloading to f"),
            ("download_1", Failure, "downloading to f (failure)"),
            ("string_download", Success, "downloading to s"),
            ("json_download", Success, "downloading to j"),
            ("json_properties_download", Success, "downloading to p"),
        ]
    );
    assert_eq!(
        player.seen(),
        [
            "downloadFile build dl/f blocksize=16384 mode=600",
            "downloadFile build dl/s blocksize=16384 maxsize=5",
            "downloadFile build dl/j blocksize=16384",
            "downloadFile build dl/p blocksize=16384",
        ]
    );
    let fetched = player.fetched();
    assert_eq!(fetched[0], vec![7u8; 5000]);
    assert_eq!(fetched[1], "hé b".as_bytes());
    assert_eq!(fetched[2], br#"{"a": [1, true, 1.5, "\u00e9"]}"#.as_slice());
    let told: serde_json::Value = serde_json::from_slice(&fetched[3]).unwrap();
    assert_eq!(told["properties"]["builddir"], "/w/b");
    assert_eq!(told["sourcestamps"][0]["patch_body"], serde_json::Value::Null);
    assert_eq!(ran.step("download_1").log("stderr"), "File 'nof' not available at master\n");
}

//! Emptying the workspace: what builds left in the worker's directory, and nothing else.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What belongs to the worker itself.
const KEEP: [&str; 4] = ["buildbot.tac", "info", "worker.json", "twistd.pid"];

/// Where things are put before they are removed, so that a build that starts meanwhile finds an empty place.
const ASIDE: &str = ".ganger-removed";

/// Removes everything of builds. Runs as the worker's user: processes that builds left behind may move things meanwhile.
pub(crate) fn empty(directory: &Path) -> io::Result<()> {
    remove(&put_aside(directory)?)
}

/// Takes a moment, however much there is.
fn put_aside(directory: &Path) -> io::Result<PathBuf> {
    let aside = directory.join(ASIDE);
    // Of an earlier life, cut off.
    remove(&aside)?;
    fs::create_dir(&aside)?;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let keep = name.to_str().is_some_and(|name| KEEP.contains(&name) || name == ASIDE);
        let is_log = name.to_str().is_some_and(|name| name.starts_with("twistd.log"));
        if !keep && !is_log {
            fs::rename(entry.path(), aside.join(&name))?;
        }
    }
    Ok(aside)
}

/// Removes what was put aside. Links are removed, never followed.
fn remove(aside: &Path) -> io::Result<()> {
    match fs::symlink_metadata(aside) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(aside),
        Ok(_) => fs::remove_file(aside),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn builds_go_and_the_worker_and_what_links_lead_to_stays() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "x").unwrap();
        let home = tempfile::tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("linux/build/deep")).unwrap();
        fs::write(at("linux/build/deep/file"), "x").unwrap();
        symlink(outside.path(), at("linux/build/out")).unwrap();
        symlink(outside.path(), at("link")).unwrap();
        fs::create_dir(at("info")).unwrap();
        for own in ["buildbot.tac", "worker.json", "twistd.log", "twistd.log.1"] {
            fs::write(at(own), "x").unwrap();
        }
        for _ in 0..2 {
            empty(home.path()).unwrap();
            let mut left: Vec<_> =
                fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            left.sort();
            assert_eq!(left, ["buildbot.tac", "info", "twistd.log", "twistd.log.1", "worker.json"]);
        }
        assert!(outside.path().join("precious").exists());
    }
}

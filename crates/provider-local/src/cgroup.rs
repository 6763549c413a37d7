//! Control groups, version 2: what a machine may use.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use crate::{Cgroup, SettingsError};

/// Microseconds that shares of a processor are counted in: the kernel's default.
const PERIOD: u32 = 100_000;

impl Cgroup {
    /// Makes sure that the limits can be set below the parent.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        self.prepare(|control, controller| fs::write(control, format!("+{controller}")))
    }

    /// Whether [`Cgroup::check`] could do so, as far as can be seen without a change.
    pub(crate) fn look(&self) -> Result<(), SettingsError> {
        self.prepare(|control, _| fs::OpenOptions::new().write(true).open(control).map(drop))
    }

    /// Has those controllers passed on that are needed and are not yet.
    fn prepare(&self, pass_on: impl Fn(&Path, &str) -> io::Result<()>) -> Result<(), SettingsError> {
        let refuse = |problem: String| SettingsError::Cgroup { parent: self.parent.clone(), problem };
        let there = words(&self.parent.join("cgroup.controllers")).map_err(|error| {
            refuse(format!("it is not one of version 2 that this master may use: {error}"))
        })?;
        let control = self.parent.join("cgroup.subtree_control");
        let passed_on = words(&control).map_err(|error| refuse(error.to_string()))?;
        for (wanted, controller) in [(self.memory.is_some(), "memory"), (self.cpus.is_some(), "cpu")] {
            if !wanted {
                continue;
            }
            if !there.iter().any(|one| one == controller) {
                return Err(refuse(format!("it has no `{controller}` controller, only {there:?}")));
            }
            if !passed_on.iter().any(|one| one == controller) {
                pass_on(&control, controller).map_err(|error| {
                    refuse(format!(
                        "`{controller}` cannot be passed on to groups below it ({error}); with systemd, \
                         `Delegate=yes` and `DelegateSubgroup=` in the master's unit allow it"
                    ))
                })?;
            }
        }
        if let Some(cpus) = self.cpus
            && !(cpus.is_finite() && cpus >= 0.01)
        {
            return Err(refuse(format!("{cpus} processors cannot be had; at least 0.01 can")));
        }
        Ok(())
    }

    fn group(&self, name: &str) -> PathBuf {
        self.parent.join(name)
    }

    /// Puts a process into a group of its own, with the limits.
    pub(crate) fn enter(&self, name: &str, pid: u32) -> io::Result<()> {
        let group = self.group(name);
        match fs::create_dir(&group) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        if let Some(bytes) = self.memory {
            fs::write(group.join("memory.max"), bytes.to_string())?;
        }
        if let Some(cpus) = self.cpus {
            fs::write(group.join("cpu.max"), format!("{:.0} {PERIOD}", cpus * f64::from(PERIOD)))?;
        }
        fs::write(group.join("cgroup.procs"), pid.to_string())
    }

    /// Kills all that is in a machine's group, and removes the group.
    pub(crate) fn leave(&self, name: &str) {
        let group = self.group(name);
        if !group.exists() {
            return;
        }
        // Not before Linux 5.14; without it, what was killed one by one has to do.
        let killed = fs::write(group.join("cgroup.kill"), "1");
        // A group is busy until the last process in it is really gone.
        let mut removed = fs::remove_dir(&group);
        for _ in 0..50 {
            if removed.is_ok() {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            removed = fs::remove_dir(&group);
        }
        tracing::warn!(group = %group.display(), ?killed, ?removed, "the control group of a machine could not be removed");
    }
}

fn words(file: &Path) -> io::Result<Vec<String>> {
    Ok(fs::read_to_string(file)?.split_ascii_whitespace().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with the files that the kernel shows in a group.
    fn hierarchy(controllers: &str, passed_on: &str) -> tempfile::TempDir {
        let parent = tempfile::tempdir().unwrap();
        fs::write(parent.path().join("cgroup.controllers"), controllers).unwrap();
        fs::write(parent.path().join("cgroup.subtree_control"), passed_on).unwrap();
        parent
    }

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let parent = hierarchy("cpu io memory pids", "cpu");
        let cgroup = Cgroup { parent: parent.path().to_owned(), memory: Some(512 << 20), cpus: Some(1.5) };
        cgroup.check().unwrap();
        let passed_on = fs::read_to_string(parent.path().join("cgroup.subtree_control")).unwrap();
        assert_eq!(passed_on, "+memory", "what is passed on already is left alone");
        cgroup.enter("instance-1", 4711).unwrap();
        let written = |file: &str| fs::read_to_string(parent.path().join("instance-1").join(file)).unwrap();
        assert_eq!(written("memory.max"), "536870912");
        assert_eq!(written("cpu.max"), "150000 100000");
        assert_eq!(written("cgroup.procs"), "4711");
    }

    #[test]
    fn limits_that_cannot_be_had_are_refused_at_the_start() {
        let parent = hierarchy("cpu", "cpu");
        let cgroup = |memory, cpus| Cgroup { parent: parent.path().to_owned(), memory, cpus };
        cgroup(None, Some(1.0)).check().unwrap();
        let refused = cgroup(Some(1), None).check().unwrap_err().to_string();
        assert!(refused.contains("no `memory` controller"), "{refused}");
        assert!(cgroup(None, Some(0.0)).check().is_err());
        let elsewhere = tempfile::tempdir().unwrap();
        let none = Cgroup { parent: elsewhere.path().to_owned(), memory: None, cpus: None };
        assert!(none.check().unwrap_err().to_string().contains("version 2"));
    }
}

//! Processes as the kernel shows them.

use std::{fs, io, path::PathBuf};

use rustix::process::{Pid, Signal, getsid, kill_process, kill_process_group};

use crate::record::Boot;

/// The variable that all processes of a machine have in their environment.
pub(crate) const BOOT_ID: &str = "GANGER_BOOT_ID";

/// Names the host's own boot.
pub(crate) fn host_boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started, in ticks; `None` when there is none that runs. One that has ended and was not waited for does
/// not run.
pub(crate) fn started(pid: i32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, so look behind its last bracket: state is the third field, the start the 22nd.
    let behind = stat.iter().rposition(|byte| *byte == b')')?;
    let mut fields = std::str::from_utf8(stat.get(behind + 1..)?).ok()?.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

impl Boot {
    /// Whether it is still the process that was started.
    pub(crate) fn is_alive(&self, host: &str) -> bool {
        self.host == host && started(self.pid) == Some(self.started)
    }

    /// Sends a signal to it and to all of its process group. One that is gone is fine.
    pub(crate) fn signal(&self, host: &str, signal: Signal) {
        let Some(pid) = Pid::from_raw(self.pid).filter(|_| self.is_alive(host)) else { return };
        // Before it has a session of its own, its group is the master's.
        let leads = getsid(Some(pid)).is_ok_and(|session| session == pid);
        let sent = if leads { kill_process_group(pid, signal) } else { kill_process(pid, signal) };
        if let Err(error) = sent {
            tracing::debug!(pid = self.pid, ?signal, %error, "a machine could not be signalled");
        }
    }

    /// Kills what the process left behind: commands of builds have process groups of their own.
    pub(crate) fn sweep(&self, host: &str) {
        if self.host != host {
            return;
        }
        let mark = format!("{BOOT_ID}={}", self.id);
        // One that forks while it is looked for is found in the next round.
        for _ in 0..10 {
            let left = marked(&mark);
            if left.is_empty() {
                return;
            }
            for pid in left {
                if let Err(error) = kill_process(pid, Signal::KILL) {
                    tracing::debug!(pid = pid.as_raw_nonzero(), %error, "a process of a machine could not be killed");
                }
            }
        }
        tracing::warn!(boot = self.id, "processes of a machine that has ended could not be killed");
    }
}

/// Processes that have this in their environment.
fn marked(mark: &str) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let numbers = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let has_mark = |pid: &i32| {
        // Those of other users cannot be read, and are none of ours.
        let path = PathBuf::from(format!("/proc/{pid}/environ"));
        let environment = fs::read(path).unwrap_or_default();
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
    };
    numbers.filter(has_mark).filter(|pid| started(*pid).is_some()).filter_map(Pid::from_raw).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_started_and_no_other_is_taken_for_it() {
        let (pid, host) = (std::process::id().cast_signed(), host_boot().unwrap());
        let started = started(pid).unwrap();
        let boot = Boot { id: "b".into(), pid, started, host: host.clone() };
        assert!(boot.is_alive(&host));
        assert!(
            !Boot { started: started + 1, ..boot.clone() }.is_alive(&host),
            "another with the same number"
        );
        assert!(!Boot { host: "before".into(), ..boot.clone() }.is_alive(&host), "before the host started");
        assert!(!Boot { pid: i32::MAX, ..boot }.is_alive(&host));
    }

    #[test]
    fn a_process_that_nobody_has_waited_for_does_not_run() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pid = child.id().cast_signed();
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while started(pid).is_some() {
            assert!(std::time::Instant::now() < until, "`true` runs for ever");
            std::thread::yield_now();
        }
        child.wait().unwrap();
    }
}

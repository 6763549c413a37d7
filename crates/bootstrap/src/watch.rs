//! What is looked at while the worker runs: the market, the master, the disk.

use std::time::Duration;

use tokio::time::{Instant, interval, timeout};

use crate::{
    document::{Clean, Document, split},
    metadata::Metadata,
    options::Options,
    process,
    report::{ReportError, Reports},
    say,
    user::User,
};

/// How often the master is asked how it sees this machine.
const ASK: Duration = Duration::from_secs(30);

/// How long a machine stays that its master does not expect any more.
const UNEXPECTED: Duration = Duration::from_secs(300);

/// The most time that the workspace is emptied for.
const CLEANING: Duration = Duration::from_secs(300);

/// What the market says of this machine, by the path where it says it.
const NOTICES: [&str; 2] = ["meta-data/spot/instance-action", "meta-data/events/recommendations/rebalance"];

/// Looks at the machine while its worker runs.
pub(crate) struct Watch<'a> {
    options: &'a Options,
    user: User,
    port: u16,
    silence: Option<Duration>,
    clean: Clean,
    reports: Option<Reports>,
    /// When the master was last heard, or a build last ran.
    heard: Instant,
    /// When the master was last asked how it sees this machine.
    asked: Instant,
    /// Since when it answers that it does not expect this machine.
    unexpected: Option<Instant>,
    /// What was last said of its answers: an endless repetition helps nobody.
    said: String,
    /// Notices that the master was told.
    told: [bool; NOTICES.len()],
    /// Builds that had ended when the workspace was last emptied.
    cleaned_at: u64,
}

impl<'a> Watch<'a> {
    pub(crate) fn new(
        options: &'a Options,
        user: User,
        document: &Document,
        reports: Option<Reports>,
    ) -> Self {
        let silence = document.settings.silence;
        Self {
            options,
            user,
            port: split(&document.master.address).map_or(0, |(_, port)| port),
            silence: (silence > 0).then(|| Duration::from_secs(silence.into())),
            clean: document.settings.clean,
            reports,
            heard: Instant::now(),
            asked: Instant::now(),
            unexpected: None,
            said: String::new(),
            told: [false; NOTICES.len()],
            cleaned_at: 0,
        }
    }

    /// Waits until the machine is to end; says why.
    pub(crate) async fn until_gone(&mut self, pid: u32, mut metadata: Option<&mut Metadata>) -> &'static str {
        let mut looks = interval(Duration::from_secs(self.options.look));
        loop {
            looks.tick().await;
            if let Some(metadata) = metadata.as_deref_mut() {
                self.notices(metadata).await;
            }
            let builds = process::has_children(pid);
            if self.asked.elapsed() > ASK.min(Duration::from_secs(3 * self.options.look)) {
                self.asked = Instant::now();
                self.ask(builds).await;
            }
            // Time that passes while the machine is suspended does not count: `Instant` stands still then.
            if builds || (self.unexpected.is_none() && process::is_connected(pid, self.port)) {
                self.heard = Instant::now();
            }
            let Some(silence) = self.silence else { continue };
            if self.heard.elapsed() > silence {
                return "it has had no master for too long, and nothing is built";
            }
            let is_over = |since: Instant| since.elapsed() > silence.min(UNEXPECTED);
            if !builds && self.unexpected.is_some_and(is_over) {
                return "its master does not expect it any more";
            }
        }
    }

    /// Asks the master how it sees this machine, and cleans up where it may.
    async fn ask(&mut self, builds: bool) {
        let Some(reports) = &self.reports else { return };
        let said = match reports.seen().await {
            Ok(Some(seen)) => {
                (self.heard, self.unexpected) = (Instant::now(), None);
                if builds || seen.state != "idle" {
                    return;
                }
                self.clean_when_used(seen.builds).await.map_err(|error| say::causes(&error)).err()
            }
            Ok(None) => {
                self.unexpected.get_or_insert_with(Instant::now);
                Some("the master does not expect this machine".to_owned())
            }
            Err(error) => Some(say::causes(&error)),
        };
        let said = said.unwrap_or_default();
        if !said.is_empty() && said != self.said {
            say::line(format_args!("{said}"));
        }
        self.said = said;
    }

    /// Empties the workspace when there is reason to, and the master gives no build meanwhile.
    async fn clean_when_used(&mut self, builds: u64) -> Result<(), ReportError> {
        let Some(reports) = &self.reports else { return Ok(()) };
        let is_full = self.options.min_free > 0
            && process::free(&self.options.directory).is_some_and(|free| free < self.options.min_free);
        let is_used = self.clean == Clean::Idle || is_full;
        // What is left after a cleaning is not of builds.
        if !is_used || builds <= self.cleaned_at {
            return Ok(());
        }
        if is_full {
            say::line(format_args!("less than {} MiB are free", self.options.min_free));
        }
        if !reports.pause(CLEANING + ASK, "its workspace is emptied").await? {
            return Ok(());
        }
        self.empty().await;
        self.cleaned_at = builds;
        reports.resume().await
    }

    /// Empties the workspace; what cannot be removed is told, and stays.
    pub(crate) async fn empty(&self) {
        let cleaned = async {
            let program = self.user.runs_this()?;
            let mut command = tokio::process::Command::from(program);
            command.arg("clean").arg(&self.options.directory).status().await
        };
        match timeout(CLEANING, cleaned).await {
            Ok(Ok(status)) if status.success() => say::line(format_args!("the workspace is empty")),
            Ok(Ok(status)) => say::line(format_args!("the workspace cannot be emptied: {status}")),
            Ok(Err(error)) => say::line(format_args!("the workspace cannot be emptied: {error}")),
            Err(_) => say::line(format_args!("the workspace is still being emptied")),
        }
    }

    /// Passes on what the market says.
    async fn notices(&mut self, metadata: &mut Metadata) {
        let Some(reports) = &self.reports else { return };
        for (path, told) in NOTICES.iter().zip(&mut self.told) {
            if *told {
                continue;
            }
            // That it cannot be asked now is nothing to act on.
            let Ok(Some(text)) = metadata.text(path).await else { continue };
            let Some(warning) = warning(&text) else { continue };
            say::line(format_args!("the market warns: {warning}"));
            match reports.warn(warning).await {
                Ok(()) => *told = true,
                Err(error) => say::line(format_args!("the master is not told: {}", say::causes(&error))),
            }
        }
    }
}

/// What the master is told of a notice.
fn warning(notice: &str) -> Option<serde_json::Value> {
    let notice: serde_json::Value = serde_json::from_str(notice).ok()?;
    match (notice.get("action"), notice.get("time"), notice.get("noticeTime")) {
        (Some(_), Some(serde_json::Value::String(time)), _) => {
            Some(serde_json::json!({"kind": "interruption", "at": time}))
        }
        (_, _, Some(_)) => Some(serde_json::json!({"kind": "rebalance"})),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notices_of_the_market_become_warnings() {
        let spot = r#"{"action": "terminate", "time": "2026-11-30T12:00:00Z"}"#;
        assert_eq!(warning(spot).unwrap()["at"], "2026-11-30T12:00:00Z");
        assert_eq!(warning(r#"{"noticeTime": "2026-11-30T12:00:00Z"}"#).unwrap()["kind"], "rebalance");
        assert_eq!(warning("<html>"), None);
        assert_eq!(warning("{}"), None);
    }
}

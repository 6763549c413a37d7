//! From the call to the connection: machines that take long, and machines that never come.

use std::time::Duration;

use model::{InstanceId, Time};

use super::{
    Pools,
    entry::{Console, Entry},
    waiting::span,
};
use crate::{Order, ReasonCode, State, learn::Verdict, provider::ProviderError};

/// How long a console is awaited before a machine is ended without it.
const CONSOLE: Duration = Duration::from_secs(30);
/// How much of a console is kept.
const CONSOLE_KEPT: usize = 16 * 1024;

impl Pools {
    /// When an instance is so late that it counts no more.
    pub(super) fn suspect_at(&self, entry: &Entry) -> Time {
        entry.boot_from + self.pools[entry.pool].boot_times(entry).suspect_age()
    }

    /// When an instance that is not connected is given up.
    pub(super) fn boot_timeout_at(&self, now: Time, entry: &Entry) -> Time {
        let pool = &self.pools[entry.pool];
        let times = pool.boot_times(entry);
        let patient = || pool.state.learned.breaker.doubts(now, times.suspect_age());
        entry.boot_from + pool.spec.boot_timeout.unwrap_or_else(|| times.timeout(patient()))
    }

    /// It counts no more; it still costs, and may come.
    pub(super) fn boot_is_late(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get(&id) else { return };
        let over = self.boot_timeout_at(now, entry) <= now;
        let text =
            format!("is not connected after {}, and hardly comes any more", span(now.since(entry.boot_from)));
        self.set(now, id, State::Suspect);
        self.note(now, id, ReasonCode::BootTimeout, text);
        self.boot_failed(now, id);
        if over {
            self.boot_is_over(now, id);
        }
        self.kick(now);
    }

    /// It is given up, once its console is there to say why.
    pub(super) fn boot_is_over(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let text = format!("it was not connected {} after the call", span(now.since(entry.boot_from)));
        if entry.console == Console::Unasked {
            self.ask_console(now, id);
            if matches!(self.get(id).map(|entry| entry.console), Some(Console::Awaited(_))) {
                return self.retime(now, id);
            }
        }
        self.let_go(now, id, ReasonCode::BootTimeout, text);
    }

    /// Asks what an instance has said so far, if there is anybody to ask.
    pub(super) fn ask_console(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let (at, pool) = (entry.pool, &self.pools[entry.pool]);
        entry.console = Console::Settled;
        if !pool.owned() || entry.is_guest() {
            return;
        }
        if let Some(provider_id) = entry.row.provider_id.clone() {
            entry.console = Console::Awaited(now + CONSOLE);
            let pool = pool.name().to_owned();
            self.count_call(at, "console");
            self.order(Order::Console { instance: id, pool, provider_id });
        }
    }

    /// What an instance has said.
    pub(super) fn console(&mut self, now: Time, id: InstanceId, result: Result<String, ProviderError>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let awaited = matches!(entry.console, Console::Awaited(_));
        if !awaited {
            return;
        }
        entry.console = Console::Settled;
        match result {
            Ok(text) => entry.row.console = Some(end_of(text)),
            Err(_) => {
                let pool = entry.pool;
                self.count_failed_call(pool, "console");
            }
        }
        self.touch(now, id);
        if self.state_of(id) == State::Suspect {
            self.boot_is_over(now, id);
        }
    }

    /// An instance is counted as a boot that failed, once.
    pub(super) fn boot_failed(&mut self, now: Time, id: InstanceId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if std::mem::replace(&mut entry.failed, true) || entry.is_guest() {
            return;
        }
        let (at, image) = (entry.pool, entry.row.image.clone());
        let pool = &mut self.pools[at];
        pool.unsaved = true;
        let verdict = pool.state.learned.canary.failed(&image);
        self.image_verdict(now, at, verdict);
    }

    /// What became of a new image.
    pub(super) fn image_verdict(&mut self, now: Time, pool: usize, verdict: Option<Verdict>) {
        let text = match verdict {
            Some(Verdict::Proven { image }) => format!("image {image} works, and is used from now on"),
            Some(Verdict::RolledBack { from, to, text }) => {
                format!("image {from} is bad, and {to} is used until another one is configured: {text}")
            }
            None => return,
        };
        self.note_pool(now, pool, ReasonCode::Canary, text);
        self.out.pools.insert(pool);
        self.drain_outdated(now, pool);
        self.kick(now);
    }
}

/// The end of a text, by characters.
fn end_of(text: String) -> String {
    if text.len() <= CONSOLE_KEPT {
        return text;
    }
    let from = (text.len() - CONSOLE_KEPT..text.len()).find(|at| text.is_char_boundary(*at));
    text[from.unwrap_or(text.len())..].to_owned()
}

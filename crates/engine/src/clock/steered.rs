//! Time that passes as the monotonic clock does, and follows the wall clock.
//!
//! Whoever waits for something (a boot, an idle machine, a lease) measures how long, and must not be told that an hour
//! has passed because somebody set the clock. Whoever asks for the hour of the day must get it right in the end. So the
//! difference to the wall clock is made up bit by bit: the larger it is the faster, up to an hour within the hour, and
//! never so fast that a time-out lasts less than half or more than twice as long as it should.
//!
//! A machine that was suspended for days would be days behind for as long again. A wall clock that is far ahead and stays
//! so is therefore believed, and time steps forward: to the world outside it has passed indeed. It never steps back.

use std::time::Duration;

use model::Time;

/// The wall clock is looked at so often.
const LOOK: i64 = 1_000_000;
/// A difference is made up as if all of it had to be gone after this time: two thirds are, and so on.
const MADE_UP_IN: i64 = 20 * 60 * 1_000_000;
/// From this difference on people are told.
const WORTH_A_WORD: i64 = 2 * 60 * 1_000_000;
/// A wall clock that is further ahead than this is not waited for, if it stays there for a while: running twice as fast
/// takes as long as the difference.
const TOO_FAR: i64 = 3600 * 1_000_000;
/// What that while is, and how far the wall clock may stray in it: long enough for a time server to put a wrong clock right.
const STAYED: i64 = 10 * 60 * 1_000_000;
const STRAYED: i64 = 60 * 1_000_000;

/// Steers.
#[derive(Debug)]
pub(super) struct Steered {
    /// When the wall clock was last looked at, in monotonic time.
    looked_at: i64,
    /// What time it was then here, and by how much the wall clock was ahead.
    then: i64,
    ahead: i64,
    /// Between the monotonic clock and the wall clock, and since when it is about that.
    offset: i64,
    offset_since: i64,
    /// Whether people know that the clocks are apart.
    told: bool,
}

/// By how much the wall clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Skew {
    /// It shows a later time.
    Ahead(Duration),
    /// It shows an earlier time.
    Behind(Duration),
}

/// What is worth a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The clocks are apart.
    Apart(Skew),
    /// The wall clock was believed.
    Stepped(Duration),
}

impl Steered {
    /// It is `wall` when the monotonic clock shows zero.
    pub(super) fn starting_at(wall: Time) -> Self {
        let wall = wall.micros();
        Self { looked_at: 0, then: wall, ahead: 0, offset: wall, offset_since: 0, told: false }
    }

    /// The time, `elapsed` after the start when the wall clock shows `wall`.
    pub(super) fn read(&mut self, elapsed: Duration, wall: Time) -> (Time, Option<News>) {
        let elapsed = i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX);
        let passed = elapsed.saturating_sub(self.looked_at).max(0);
        let now = self.then.saturating_add(passed).saturating_add(self.made_up(passed));
        if passed < LOOK {
            return (Time::from_micros(now), None);
        }
        let news = self.look(elapsed, now, wall.micros());
        (Time::from_micros(self.then), news)
    }

    /// How much of the difference is made up while so much time passes.
    fn made_up(&self, passed: i64) -> i64 {
        let share = i128::from(passed) * i128::from(self.ahead) / i128::from(MADE_UP_IN);
        let share = share.clamp(i128::from(-passed / 2), i128::from(passed));
        i64::try_from(share).unwrap_or(0).clamp(self.ahead.min(0), self.ahead.max(0))
    }

    fn look(&mut self, elapsed: i64, now: i64, wall: i64) -> Option<News> {
        let offset = wall.saturating_sub(elapsed);
        if offset.saturating_sub(self.offset).saturating_abs() > STRAYED {
            (self.offset, self.offset_since) = (offset, elapsed);
        }
        let ahead = wall.saturating_sub(now);
        (self.looked_at, self.then, self.ahead) = (elapsed, now, ahead);
        if ahead > TOO_FAR && elapsed.saturating_sub(self.offset_since) >= STAYED {
            (self.then, self.ahead, self.told) = (wall, 0, false);
            return Some(News::Stepped(duration(ahead)));
        }
        let apart = ahead.saturating_abs() > WORTH_A_WORD;
        let news = apart && !self.told;
        // Twice the same is said only after the clocks have come together.
        self.told = apart || (self.told && ahead.saturating_abs() > WORTH_A_WORD / 2);
        let by = duration(ahead.saturating_abs());
        news.then_some(News::Apart(if ahead > 0 { Skew::Ahead(by) } else { Skew::Behind(by) }))
    }
}

fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_700_000_000;
    const MINUTE: i64 = 60;
    const HOUR: i64 = 3600;
    const DAY: i64 = 24 * HOUR;

    /// A machine whose clocks are read once a second.
    struct Machine {
        steered: Steered,
        elapsed: i64,
        /// What was done to the wall clock, in seconds.
        set: i64,
        shown: Time,
        news: Vec<News>,
    }

    impl Machine {
        fn new() -> Self {
            let start = Time::from_epoch_seconds(START);
            let (elapsed, set, news) = (0, 0, Vec::new());
            Self { steered: Steered::starting_at(start), elapsed, set, shown: start, news }
        }

        /// Lets time pass; gives back how many seconds passed here.
        fn pass(&mut self, seconds: i64) -> f64 {
            let before = self.shown;
            for _ in 0..seconds {
                self.elapsed += 1;
                let elapsed = Duration::from_secs(self.elapsed.unsigned_abs());
                let wall = Time::from_epoch_seconds(START + self.elapsed + self.set);
                let (now, news) = self.steered.read(elapsed, wall);
                assert!(now > self.shown, "time neither stands nor runs backwards");
                self.shown = now;
                self.news.extend(news);
            }
            self.shown.since(before).as_secs_f64()
        }

        /// How far the wall clock is ahead, in seconds.
        fn ahead(&self) -> i64 {
            START + self.elapsed + self.set - self.shown.epoch_seconds()
        }
    }

    #[test]
    fn time_passes_as_it_does() {
        let mut machine = Machine::new();
        assert_eq!(machine.pass(HOUR), 3600.0);
        assert_eq!(machine.ahead(), 0);
        assert_eq!(machine.news, []);
    }

    #[test]
    fn a_clock_that_is_set_back_stops_nothing_and_is_met_within_the_hour() {
        let mut machine = Machine::new();
        machine.pass(HOUR);
        machine.set = -10 * MINUTE;
        let passed = machine.pass(MINUTE);
        assert!((30.0..60.0).contains(&passed), "a minute is {passed} s");
        assert_eq!(machine.news, [News::Apart(Skew::Behind(Duration::from_secs(600)))]);
        machine.pass(HOUR);
        assert!((-30..=0).contains(&machine.ahead()), "{}", machine.ahead());
        machine.pass(HOUR);
        assert!(machine.ahead().abs() <= 2, "{}", machine.ahead());
        assert_eq!(machine.news.len(), 1, "it is said once");
    }

    #[test]
    fn a_clock_that_is_set_forward_by_an_hour_ends_no_boot_at_once() {
        let mut machine = Machine::new();
        machine.pass(HOUR);
        machine.set = HOUR;
        let passed = machine.pass(MINUTE);
        assert!((60.0..=120.5).contains(&passed), "a minute is {passed} s");
        machine.pass(2 * HOUR);
        assert!((0..60).contains(&machine.ahead()), "{}", machine.ahead());
        assert_eq!(machine.news, [News::Apart(Skew::Ahead(Duration::from_secs(3600)))]);
    }

    #[test]
    fn one_wrong_reading_makes_no_difference() {
        let mut machine = Machine::new();
        machine.pass(HOUR);
        machine.set = DAY;
        machine.pass(1);
        machine.set = 0;
        assert!(machine.pass(MINUTE) > 58.0);
        assert!(machine.ahead().abs() <= 1);
        machine.set = -DAY;
        machine.pass(1);
        machine.set = 0;
        assert!(machine.pass(MINUTE) > 58.0);
        assert!(machine.ahead().abs() <= 1);
    }

    #[test]
    fn after_days_of_suspension_it_is_not_the_day_before_for_weeks() {
        let mut machine = Machine::new();
        machine.pass(HOUR);
        machine.set = 7 * DAY;
        assert!(machine.pass(5 * MINUTE) <= 600.5, "it may be a mistake");
        machine.pass(6 * MINUTE);
        assert_eq!(machine.ahead(), 0);
        assert!(
            matches!(machine.news[..], [News::Apart(Skew::Ahead(_)), News::Stepped(_)]),
            "{:?}",
            machine.news
        );
        assert_eq!(machine.pass(MINUTE), 60.0);
    }

    #[test]
    fn a_clock_that_was_a_day_ahead_when_the_master_started_is_waited_for() {
        let mut machine = Machine::new();
        machine.set = -DAY;
        assert!(machine.pass(MINUTE) > 29.0);
        machine.pass(2 * DAY);
        assert!((-10 * MINUTE..=0).contains(&machine.ahead()), "{}", machine.ahead());
    }

    #[test]
    fn between_two_looks_and_after_a_long_silence_time_goes_on() {
        let mut steered = Steered::starting_at(Time::from_epoch_seconds(START));
        let wall = |seconds| Time::from_epoch_seconds(START + seconds);
        let first = steered.read(Duration::from_millis(400), wall(5000)).0;
        assert_eq!(first, Time::from_micros(START * 1_000_000 + 400_000), "nobody looked at the wall clock");
        let later = steered.read(Duration::from_secs(7200), wall(7200)).0;
        assert_eq!(later, wall(7200));
    }
}

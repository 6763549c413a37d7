//! Times of the day and the week, in a time zone.

use std::{fmt, sync::Arc};

use jiff::{Timestamp, ToSpan as _, civil, tz::TimeZone};

use crate::Time;

/// The five fields of a cron expression: name, least and most.
const FIELDS: [(&str, u8, u8); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
];

/// All values of the hours.
const EVERY_HOUR: u64 = (1 << 24) - 1;
/// In so many days every date falls on every day of the week.
const MAX_DAYS: i64 = 28 * 366;
const DAY: i64 = 86_400;

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// A cron expression of five fields in a time zone: the minutes at which something is on.
#[derive(Clone)]
pub struct Timetable(Arc<Inner>);

struct Inner {
    cron: String,
    zone: String,
    tz: TimeZone,
    /// Values of each field as bits.
    fields: [u64; 5],
    /// Whether both fields of days are restricted: then a day of either counts, as cron has it.
    either_day: bool,
}

/// Why something is no timetable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimetableError {
    /// There are more or fewer than five fields.
    #[error("a timetable has 5 fields, this has {0}")]
    Fields(usize),
    /// A field is not understood.
    #[error("{text:?} is no {field}: numbers from {least} to {most}, ranges, lists and steps")]
    Field {
        /// Which.
        field: &'static str,
        /// What stands there.
        text: String,
        /// The lowest number.
        least: u8,
        /// The highest number.
        most: u8,
    },
    /// There is no such time zone.
    #[error("there is no time zone {0:?}")]
    Zone(String),
}

impl Timetable {
    /// Reads a cron expression (`*/5 8-17 * * mon-fri`) and the name of a time zone (`Europe/Berlin`).
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn new(cron: &str, zone: &str) -> Result<Self, TimetableError> {
        let tz = TimeZone::get(zone).map_err(|_| TimetableError::Zone(zone.to_owned()))?;
        Self::read(cron, zone, tz, |word| !word.starts_with('*'))
    }

    /// Reads a cron expression as Buildbot's schedulers take it, in a time zone, or in that of this machine. Where both
    /// fields of days are anything but `*`, a day of either counts (`croniter`, which Buildbot 4.3.0 uses).
    ///
    /// # Errors
    /// What is wrong with either.
    pub fn of_scheduler(cron: &str, zone: Option<&str>) -> Result<Self, TimetableError> {
        let tz = match zone {
            Some(zone) => TimeZone::get(zone).map_err(|_| TimetableError::Zone(zone.to_owned()))?,
            None => TimeZone::system(),
        };
        Self::read(cron, zone.unwrap_or("this machine's time zone"), tz, |word| word != "*")
    }

    fn read(
        cron: &str,
        zone: &str,
        tz: TimeZone,
        restricts: fn(&str) -> bool,
    ) -> Result<Self, TimetableError> {
        let words: Vec<&str> = cron.split_ascii_whitespace().collect();
        let words: [&str; 5] =
            words.as_slice().try_into().map_err(|_| TimetableError::Fields(words.len()))?;
        let mut fields = [0; 5];
        for ((field, word), (name, least, most)) in fields.iter_mut().zip(words).zip(FIELDS) {
            *field = bits(word, name, least, most).ok_or_else(|| TimetableError::Field {
                field: name,
                text: word.chars().take(50).collect(),
                least,
                most,
            })?;
        }
        // Sunday is 0 and 7.
        if fields[4] & (1 << 7) != 0 {
            fields[4] |= 1;
        }
        let either_day = restricts(words[2]) && restricts(words[4]);
        Ok(Self(Arc::new(Inner { cron: cron.to_owned(), zone: zone.to_owned(), tz, fields, either_day })))
    }

    /// Whether the minute of `at` is one of its minutes.
    pub fn is_on(&self, at: Time) -> bool {
        let Ok(at) = Timestamp::from_microsecond(at.micros()) else { return false };
        let local = at.to_zoned(self.0.tz.clone()).datetime();
        self.has(0, local.minute()) && self.has(1, local.hour()) && self.has_day(local.date())
    }

    /// The first of its minutes after `after`; `None` when there is none in 28 years.
    ///
    /// A time of the day that does not exist, because clocks are set forward, is taken as much later as they are set; of
    /// one that there is twice the first is taken. Where every hour is one of its hours, both are.
    pub fn next(&self, after: Time) -> Option<Time> {
        let after = Timestamp::from_microsecond(after.micros()).ok()?;
        let found =
            if self.0.fields[1] == EVERY_HOUR { self.next_hourly(after) } else { self.next_daily(after) };
        Some(Time::from_epoch_seconds(found?.as_second()))
    }

    /// With hours that follow each other whatever clocks show.
    fn next_hourly(&self, after: Timestamp) -> Option<Timestamp> {
        let mut at = Timestamp::from_second(after.as_second().div_euclid(60) * 60 + 60).ok()?;
        let last = at.as_second() + MAX_DAYS * DAY;
        while at.as_second() < last {
            let local = at.to_zoned(self.0.tz.clone());
            if !self.has_day(local.date()) {
                at = local.date().tomorrow().ok()?.to_zoned(self.0.tz.clone()).ok()?.timestamp();
            } else if self.has(0, local.minute()) {
                return Some(at);
            } else {
                at += 60.seconds();
            }
        }
        None
    }

    /// With hours of the day.
    fn next_daily(&self, after: Timestamp) -> Option<Timestamp> {
        let mut date = after.to_zoned(self.0.tz.clone()).date();
        for _ in 0..MAX_DAYS {
            if self.has_day(date) {
                let times = (0..24).filter(|hour| self.has(1, *hour)).flat_map(|hour| {
                    (0..60).filter(|minute| self.has(0, *minute)).map(move |minute| (hour, minute))
                });
                let instants = times.filter_map(|(hour, minute)| {
                    date.at(hour, minute, 0, 0).to_zoned(self.0.tz.clone()).ok().map(|at| at.timestamp())
                });
                if let Some(first) = instants.filter(|at| *at > after).min() {
                    return Some(first);
                }
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn has(&self, field: usize, value: i8) -> bool {
        u32::try_from(value).is_ok_and(|value| self.0.fields[field] & (1_u64 << value.min(63)) != 0)
    }

    fn has_day(&self, date: civil::Date) -> bool {
        let day = self.has(2, date.day());
        let weekday = self.has(4, date.weekday().to_sunday_zero_offset());
        self.has(3, date.month()) && if self.0.either_day { day || weekday } else { day && weekday }
    }
}

/// The values of a field: a list of numbers, names, ranges and steps.
fn bits(word: &str, field: &str, least: u8, most: u8) -> Option<u64> {
    let value = |text: &str| {
        let names: &[&str] = match field {
            "month" => &MONTHS,
            "day of the week" => &DAYS,
            _ => &[],
        };
        let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
        let number = match named {
            Some(index) => u8::try_from(index).ok()?.checked_add(u8::from(field == "month"))?,
            None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok()?,
            None => return None,
        };
        (least..=most).contains(&number).then_some(number)
    };
    let mut all = 0_u64;
    for part in word.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<u8>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most.min(if field == "day of the week" { 6 } else { most })),
            Some((from, to)) => (value(from)?, value(to)?),
            None if part.contains('/') => (value(range)?, most),
            None => (value(range)?, value(range)?),
        };
        if from > to {
            return None;
        }
        for number in (from..=to).step_by(step.into()) {
            all |= 1 << number;
        }
    }
    Some(all)
}

impl PartialEq for Timetable {
    fn eq(&self, other: &Self) -> bool {
        (&self.0.cron, &self.0.zone) == (&other.0.cron, &other.0.zone)
    }
}

impl fmt::Debug for Timetable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timetable({:?} in {})", self.0.cron, self.0.zone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-24 12:30:15 UTC, a Tuesday.
    const TUESDAY: i64 = 1_795_523_415;

    fn is_on(cron: &str, zone: &str, seconds: i64) -> bool {
        Timetable::new(cron, zone).expect("a timetable").is_on(Time::from_epoch_seconds(seconds))
    }

    #[test]
    fn minutes_hours_and_days_are_those_of_cron() {
        for on in [
            "* * * * *",
            "30 12 * * *",
            "*/15 * * * *",
            "0-45/10 8-17 * * mon-fri",
            "30 * 24 nov *",
            "* * * * 2",
            "* * 1 * tue",
            "* * 24 * sun",
            "20/10 * * * *",
            "1,30,59 * * * TUE",
        ] {
            assert!(is_on(on, "UTC", TUESDAY), "{on}");
        }
        for off in
            ["31 * * * *", "* 13 * * *", "* * 1 * sun", "* * * 1-10 *", "* * * * 0,3-7", "* * */2 * mon"]
        {
            assert!(!is_on(off, "UTC", TUESDAY), "{off}");
        }
        assert!(
            is_on("* * * * 7", "UTC", TUESDAY + 5 * 86400) && is_on("* * * * 0", "UTC", TUESDAY + 5 * 86400)
        );
    }

    #[test]
    fn time_zones_and_summer_time_are_kept() {
        assert!(is_on("30 13 * * *", "Europe/Berlin", TUESDAY));
        // The same hour of the day half a year earlier is two hours from UTC.
        assert!(is_on("30 14 * * *", "Europe/Berlin", TUESDAY - 180 * 86400));
        // 2026-03-29 01:30 UTC: 02:30 does not exist in Berlin.
        assert!(is_on("30 3 * * *", "Europe/Berlin", 1_774_747_800));
        assert!(!is_on("30 2 * * *", "Europe/Berlin", 1_774_747_800));
    }

    /// Seconds of what comes next, in Berlin.
    fn next(cron: &str, after: i64) -> Option<i64> {
        let table = Timetable::of_scheduler(cron, Some("Europe/Berlin")).expect("a timetable");
        table.next(Time::from_epoch_seconds(after)).map(Time::epoch_seconds)
    }

    #[test]
    fn what_comes_next_keeps_the_time_of_the_day() {
        // 2026-11-24 13:30:15 in Berlin.
        assert_eq!(next("31 13 * * *", TUESDAY), Some(TUESDAY + 45));
        assert_eq!(next("30 13 * * *", TUESDAY), Some(TUESDAY + 86400 - 15));
        assert_eq!(next("0 0 29 2 *", TUESDAY), Some(1_835_391_600));
        assert_eq!(next("0 0 31 2 *", TUESDAY), None);
        // Either day: the 25th is the next even one, or any Monday.
        assert_eq!(next("0 0 */2 * mon", TUESDAY), Some(1_795_561_200));
        // 2026-10-25: clocks go back from 3:00 to 2:00, at 01:00 UTC.
        let fold = 1_792_890_000;
        assert_eq!(next("0 3 * * *", fold - 86400), Some(fold + 3600));
        assert_eq!(next("30 2 * * *", fold - 7200), Some(fold - 1800));
        assert_eq!(next("30 2 * * *", fold - 1800), Some(fold - 1800 + 25 * 3600));
        assert_eq!(next("30 * * * *", fold - 1800), Some(fold + 1800));
        // 2026-03-29: they go forward from 2:00 to 3:00, at 01:00 UTC.
        let gap = 1_774_746_000;
        assert_eq!(next("30 2 * * *", gap - 3600), Some(gap + 1800));
        assert_eq!(next("30 2 * * *", gap + 1800), Some(gap + 1800 + 23 * 3600));
        assert_eq!(next("0 3 * * *", gap - 22 * 3600), Some(gap));
        assert_eq!(next("0 * * * *", gap - 3600), Some(gap));
    }

    #[test]
    fn what_is_no_timetable_says_why() {
        let check = |cron: &str, zone: &str, expect: &str| {
            let error = Timetable::new(cron, zone).expect_err(cron).to_string();
            assert!(error.contains(expect), "{cron}: {error}");
        };
        check("* * * *", "UTC", "5 fields, this has 4");
        check("60 * * * *", "UTC", "\"60\" is no minute: numbers from 0 to 59");
        check("* * 0 * *", "UTC", "day of the month");
        check("* 5-3 * * *", "UTC", "hour");
        check("*/0 * * * *", "UTC", "minute");
        check("* * * * mo", "UTC", "day of the week");
        check("* * * 13 *", "UTC", "month");
        check("+5 * * * *", "UTC", "minute");
        check("* * * * *", "Europe/Atlantis", "no time zone");
    }
}

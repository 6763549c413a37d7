//! Times of the day and the week, in a time zone.

use std::{fmt, sync::Arc};

use jiff::{Timestamp, tz::TimeZone};

use crate::Time;

/// The five fields of a cron expression: name, least and most.
const FIELDS: [(&str, u8, u8); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
];

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
        let tz = TimeZone::get(zone).map_err(|_| TimetableError::Zone(zone.to_owned()))?;
        let either_day = !words[2].starts_with('*') && !words[4].starts_with('*');
        Ok(Self(Arc::new(Inner { cron: cron.to_owned(), zone: zone.to_owned(), tz, fields, either_day })))
    }

    /// Whether the minute of `at` is one of its minutes.
    pub fn is_on(&self, at: Time) -> bool {
        let Ok(at) = Timestamp::from_microsecond(at.micros()) else { return false };
        let local = at.to_zoned(self.0.tz.clone()).datetime();
        let has = |field: usize, value: i8| {
            u32::try_from(value).is_ok_and(|value| self.0.fields[field] & (1_u64 << value.min(63)) != 0)
        };
        let day = has(2, local.day());
        let weekday = has(4, local.weekday().to_sunday_zero_offset());
        let days = if self.0.either_day { day || weekday } else { day && weekday };
        has(0, local.minute()) && has(1, local.hour()) && days && has(3, local.month())
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

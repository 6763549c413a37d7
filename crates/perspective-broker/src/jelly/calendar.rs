//! Dates, times and decimal numbers, which Jelly sends as text or as a pair of integers.

use num_bigint::BigInt;
use std::fmt;

/// `datetime.datetime` without a time zone; the fields mean what they mean in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DateTime {
    /// The date.
    pub date: Date,
    /// The time of day.
    pub time: Time,
}

/// `datetime.date`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    /// 1 to 9999.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31, or fewer where the month has fewer.
    pub day: u8,
}

/// `datetime.time` without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time {
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 59.
    pub second: u8,
    /// 0 to 999 999.
    pub microsecond: u32,
}

/// `datetime.timedelta`. Python keeps `seconds` and `microseconds` positive; only `days` may be negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeDelta {
    /// Days.
    pub days: i64,
    /// Seconds.
    pub seconds: i64,
    /// Microseconds.
    pub microseconds: i64,
}

/// `decimal.Decimal`: `digits` times ten to the power of `exponent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    /// All digits, with the sign.
    pub digits: BigInt,
    /// The power of ten.
    pub exponent: i64,
}

impl DateTime {
    /// Reads `year month day [hour [minute [second [microsecond]]]]`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let numbers = numbers(text)?;
        let (date, time) = numbers.split_at_checked(3)?;
        Some(Self { date: Date::from_numbers(date)?, time: Time::from_numbers(time)? })
    }
}

impl Date {
    /// Reads `year month day`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        Self::from_numbers(&numbers(text)?)
    }

    fn from_numbers(numbers: &[i64]) -> Option<Self> {
        let &[year, month, day] = numbers else { return None };
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 if leap => 29,
            2 => 28,
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        if !(1..=9999).contains(&year) || !(1..=days).contains(&day) {
            return None;
        }
        Some(Self { year: year as u16, month: month as u8, day: day as u8 })
    }
}

impl Time {
    /// Reads `[hour [minute [second [microsecond]]]]`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        Self::from_numbers(&numbers(text)?)
    }

    fn from_numbers(numbers: &[i64]) -> Option<Self> {
        if numbers.len() > 4 {
            return None;
        }
        let field = |index: usize, bound: i64| {
            let number = numbers.get(index).copied().unwrap_or(0);
            (0..bound).contains(&number).then_some(number)
        };
        Some(Self {
            hour: field(0, 24)? as u8,
            minute: field(1, 60)? as u8,
            second: field(2, 60)? as u8,
            microsecond: field(3, 1_000_000)? as u32,
        })
    }
}

impl TimeDelta {
    /// Reads `days seconds microseconds`.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let numbers = numbers(text)?;
        let &[days, seconds, microseconds] = numbers.as_slice() else { return None };
        Some(Self { days, seconds, microseconds })
    }
}

impl fmt::Display for DateTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.date, self.time)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.hour, self.minute, self.second, self.microsecond)
    }
}

impl fmt::Display for TimeDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.days, self.seconds, self.microseconds)
    }
}

/// At most eight numbers between blanks.
fn numbers(text: &[u8]) -> Option<Vec<i64>> {
    let text = str::from_utf8(text).ok()?;
    let mut numbers = Vec::new();
    for word in text.split_ascii_whitespace() {
        if numbers.len() == 8 {
            return None;
        }
        numbers.push(word.parse().ok()?);
    }
    Some(numbers)
}

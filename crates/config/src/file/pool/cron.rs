//! What can be read as a timetable, and is none that anybody means.

use ::model::{Time, Timetable, TimetableError};

/// The fields of a timetable.
const FIELDS: usize = 5;

/// Noon of the first day of 28 years in which every date falls on every day of the week: 2000 to 2027.
const FIRST: i64 = 946_728_000;

/// The days of these years.
const DAYS: i64 = 28 * 365 + 7;

const DAY: i64 = 86_400;

/// The first step of a cron expression that leaves its field at once: `*/70` of minutes is on once an hour.
pub(in crate::file) fn too_far(cron: &str) -> Option<TimetableError> {
    cron.split_ascii_whitespace().enumerate().find_map(|(at, word)| {
        let mut steps = word.split(',').filter_map(|part| part.split_once('/'));
        steps.find_map(|(_, step)| {
            // A step of use is also a value of the field, so that whoever knows the one knows the other.
            let mut alone = ["*"; FIELDS];
            *alone.get_mut(at)? = step;
            match Timetable::new(&alone.join(" "), "UTC") {
                Err(TimetableError::Field { field, least, most, .. }) => {
                    Some(TimetableError::Field { field, text: word.chars().take(50).collect(), least, most })
                }
                _ => None,
            }
        })
    })
}

/// Whether no day is one of its days, such as the 31st of February.
pub(in crate::file) fn is_never_on(cron: &str) -> bool {
    // The time of the day does not matter, and so neither does the time zone.
    let days = cron.split_ascii_whitespace().skip(2).fold("* *".to_owned(), |all, word| all + " " + word);
    let Ok(days) = Timetable::new(&days, "UTC") else { return false };
    !(0..DAYS).any(|day| days.is_on(Time::from_epoch_seconds(FIRST + day * DAY)))
}

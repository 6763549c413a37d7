//! The name that was probably meant.

/// The candidate that is nearest to `word` by single-letter mistakes; none where the word is another one altogether.
pub fn nearest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    if word.len() > 100 {
        return None;
    }
    let most = (word.len() / 3).max(1);
    candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= 4 * (word.len() + most))
        .filter_map(|candidate| {
            let letters: Vec<char> = candidate.chars().flat_map(char::to_lowercase).collect();
            if letters.len().abs_diff(word.len()) > most {
                return None;
            }
            Some((distance(&word, &letters), candidate))
        })
        .filter(|(distance, _)| *distance <= most)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, left out, changed or swapped with their neighbour.
fn distance(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = last.get(j).map_or(usize::MAX, |d| d + usize::from(x != y));
            let insert = row.get(j).map_or(usize::MAX, |d| d + 1);
            let remove = last.get(j + 1).map_or(usize::MAX, |d| d + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            let swap = before.get(j.wrapping_sub(1)).filter(|_| swapped).map_or(usize::MAX, |d| d + 1);
            row.push(change.min(insert).min(remove).min(swap));
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_what_was_meant_and_nothing_else() {
        let keys = ["name", "haltOnFailure", "warnOnFailure", "timeout", "workers"];
        let check = |word: &str, expect: Option<&str>| assert_eq!(nearest(word, keys), expect, "{word}");
        check("haltonfailure", Some("haltOnFailure"));
        check("haltOnFaliure", Some("haltOnFailure"));
        check("halt_on_failure", Some("haltOnFailure"));
        check("naem", Some("name"));
        check("worker", Some("workers"));
        check("warnOnFail", Some("warnOnFailure"));
        check("description", None);
        check("", None);
        check("x", None);
    }
}

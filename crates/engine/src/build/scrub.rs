//! Secrets are kept out of what people see: logs, state strings, properties set from output.

use std::{borrow::Cow, collections::BTreeSet};

use model::Json;

/// Shorter lines of a secret are not looked for by themselves.
const MIN_LINE: usize = 8;

/// The secrets that a build has used so far, and what is shown in their place: `<NAME>`, as Buildbot does
/// (`buildbot/process/properties.py`, `cleanupTextFromSecrets`, 4.3.0).
#[derive(Default)]
pub(crate) struct Scrubber {
    /// Which bytes a secret begins with.
    firsts: BTreeSet<u8>,
    /// The longest first, so that a secret within another does not leave the rest of it.
    secrets: Vec<(String, String)>,
}

impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.secrets.iter().map(|(_, shown)| shown)).finish()
    }
}

impl Scrubber {
    /// From now on `value` is shown as `<name>`, also as Python and JSON write it between quotes and as URLs have it, and
    /// each of its longer lines by itself: terminals and tools end lines in their own ways. Blank values are not: every
    /// line has those.
    pub(crate) fn add(&mut self, name: &str, value: &str) {
        if value.trim().is_empty() {
            return;
        }
        let in_query: String = form_urlencoded::byte_serialize(value.as_bytes()).collect();
        let in_path = in_query.replace('+', "%20");
        let mut forms = vec![value.to_owned(), in_python(value), in_json(value), in_query, in_path];
        if value.trim_end().contains('\n') {
            forms.extend(
                value.lines().map(str::trim).filter(|line| line.len() >= MIN_LINE).map(str::to_owned),
            );
        }
        for form in forms {
            let Some(first) = form.bytes().next() else { continue };
            if self.secrets.iter().all(|(known, _)| *known != form) {
                self.firsts.insert(first);
                self.secrets.push((form, format!("<{name}>")));
            }
        }
        self.secrets.sort_by_key(|(value, _)| std::cmp::Reverse(value.len()));
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }

    /// The text without secrets.
    pub(crate) fn clean<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.secrets.iter().any(|(value, _)| text.contains(value.as_str())) {
            return Cow::Borrowed(text);
        }
        let mut shown = String::with_capacity(text.len());
        self.scan(text, true, &mut shown);
        Cow::Owned(shown)
    }

    /// The value with no secret in any of its texts.
    pub(crate) fn clean_value(&self, value: &Json) -> Json {
        match value {
            Json::String(text) => Json::String(self.clean(text).into_owned()),
            Json::Array(values) => values.iter().map(|value| self.clean_value(value)).collect(),
            Json::Object(entries) => {
                entries.iter().map(|(name, value)| (name.clone(), self.clean_value(value))).collect()
            }
            value => value.clone(),
        }
    }

    /// Appends the text without secrets to `shown`, and says how many bytes it took. Unless `whole`, it stops where the
    /// rest may be the beginning of a secret that is still to come.
    fn scan(&self, text: &str, whole: bool, shown: &mut String) -> usize {
        let mut at = 0;
        while let Some(c) = text[at..].chars().next() {
            let rest = &text[at..];
            if !rest.bytes().next().is_some_and(|first| self.firsts.contains(&first)) {
                shown.push(c);
                at += c.len_utf8();
                continue;
            }
            let mut next = None;
            for (value, name) in &self.secrets {
                if rest.starts_with(value.as_str()) {
                    next = Some((value.len(), name.as_str()));
                    break;
                }
                if !whole && value.starts_with(rest) {
                    return at;
                }
            }
            match next {
                Some((len, name)) => {
                    shown.push_str(name);
                    at += len;
                }
                None => {
                    shown.push(c);
                    at += c.len_utf8();
                }
            }
        }
        at
    }
}

/// As `repr` writes it, without the quotes.
fn in_python(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\'', "\\'")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t")
}

fn in_json(text: &str) -> String {
    let quoted = Json::from(text).to_string();
    quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
}

/// One stream of text from which secrets are taken out wherever it is cut.
#[derive(Debug, Default)]
pub(crate) struct Scrubbed {
    held: String,
}

impl Scrubbed {
    /// The text that can be shown now.
    pub(crate) fn push<'a>(&mut self, scrubber: &Scrubber, text: &'a str) -> Cow<'a, str> {
        if scrubber.is_empty() && self.held.is_empty() {
            return Cow::Borrowed(text);
        }
        self.held.push_str(text);
        let mut shown = String::with_capacity(self.held.len());
        let taken = scrubber.scan(&self.held, false, &mut shown);
        self.held.drain(..taken);
        Cow::Owned(shown)
    }

    /// The rest, when nothing follows.
    pub(crate) fn finish(&mut self, scrubber: &Scrubber) -> String {
        let rest = std::mem::take(&mut self.held);
        scrubber.clean(&rest).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubber() -> Scrubber {
        let mut scrubber = Scrubber::default();
        scrubber.add("KEY", "s3cr3t");
        scrubber.add("LONG", "s3cr3t-and-more");
        scrubber.add("BLANK", " \n");
        scrubber
    }

    #[test]
    fn secrets_are_named_not_shown() {
        assert_eq!(scrubber().clean("a s3cr3t, a s3cr3t-and-more"), "a <KEY>, a <LONG>");
        assert!(!format!("{:?}", scrubber()).contains("s3cr"));
    }

    #[test]
    fn a_secret_is_found_in_every_form() {
        let mut scrubber = Scrubber::default();
        scrubber.add("KEY", "-----BEGIN\nquote ' and \\\nend");
        let check = |text: &str, expect: &str| assert_eq!(scrubber.clean(text), expect);
        check("-----BEGIN\r\nquote ' and \\\r\nend\r\n", "<KEY>\r\n<KEY>\r\nend\r\n");
        check(r"['-----BEGIN\nquote \' and \\\nend']", "['<KEY>']");
        check(r#""-----BEGIN\nquote ' and \\\nend""#, "\"<KEY>\"");
        scrubber.add("TOKEN", "a b+c/d=");
        scrubber.add("SPACE", " ");
        let check = |text: &str, expect: &str| assert_eq!(scrubber.clean(text), expect);
        check("/a%20b%2Bc%2Fd%3D?t=a+b%2Bc%2Fd%3D&u=1+2", "/<TOKEN>?t=<TOKEN>&u=1+2");
    }

    proptest! {
        #[test]
        fn a_secret_is_found_however_the_text_is_cut(cuts in proptest::collection::vec(1usize..9, 1..20)) {
            let scrubber = scrubber();
            let text = "x s3cr3t y s3cr3s3cr3t-and-more\ns3cr3t-andé s3cr";
            let mut stream = Scrubbed::default();
            let mut shown = String::new();
            let mut rest = text;
            for cut in cuts.iter().cycle() {
                if rest.is_empty() { break; }
                let mut at = (*cut).min(rest.len());
                while !rest.is_char_boundary(at) { at += 1; }
                shown.push_str(&stream.push(&scrubber, &rest[..at]));
                rest = &rest[at..];
            }
            shown.push_str(&stream.finish(&scrubber));
            prop_assert_eq!(shown, "x <KEY> y s3cr3<LONG>\n<KEY>-andé s3cr");
        }
    }
}

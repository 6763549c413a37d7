//! From text to parts.

use super::{Conversion, Lookup, Otherwise, Part, Reference, TemplateError};

/// How deep defaults may hold defaults.
const MAX_DEPTH: usize = 32;

/// The widest field, and the longest precision: a template must not turn one character into a gigabyte.
const MAX_WIDTH: usize = 4096;

/// Reads a whole template.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, TemplateError> {
    Parser { text, at: 0, base: 0, depth: 0 }.parts()
}

/// Reads `text`, which starts `base` bytes into the whole.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    base: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn parts(mut self) -> Result<Vec<Part>, TemplateError> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        while let Some((before, after)) = self.rest().split_once('%') {
            plain.push_str(before);
            let percent = self.at + before.len();
            self.at = percent + 1;
            if after.starts_with('%') {
                self.at += 1;
                plain.push('%');
            } else if after.starts_with('(') {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Lookup(self.lookup(percent)?));
            } else {
                return Err(self.error(
                    percent,
                    "a lone `%` in a text with `%(…)`: write `%%` for a percent sign".into(),
                ));
            }
        }
        plain.push_str(self.rest());
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(parts)
    }

    /// From the opening parenthesis to the end of the conversion.
    fn lookup(&mut self, percent: usize) -> Result<Lookup, TemplateError> {
        let open = self.at;
        let mut depth = 0usize;
        let close = self.rest().char_indices().find_map(|(at, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(open + at)
        });
        let Some(close) = close else {
            return Err(self.error(percent, "`%(` without its `)`".into()));
        };
        let key = Key { parser: self, text: self.text.get(open + 1..close).unwrap_or(""), at: open + 1 };
        let (reference, otherwise) = key.read()?;
        self.at = close + 1;
        let conversion = self.conversion(percent)?;
        Ok(Lookup { reference, otherwise, conversion })
    }

    /// Flags, width, precision and letter, as Python's `%` has them.
    fn conversion(&mut self, percent: usize) -> Result<Conversion, TemplateError> {
        let mut conversion =
            Conversion { kind: 's', left: false, zero: false, sign: None, width: 0, precision: None };
        while let Some(flag) = self.rest().chars().next().filter(|c| "-0+ #".contains(*c)) {
            self.at += 1;
            match flag {
                '-' => conversion.left = true,
                '0' => conversion.zero = true,
                '+' => conversion.sign = Some('+'),
                ' ' => conversion.sign = conversion.sign.or(Some(' ')),
                _ => {}
            }
        }
        conversion.width = self.number()?.unwrap_or(0);
        if self.rest().starts_with('.') {
            self.at += 1;
            conversion.precision = Some(self.number()?.unwrap_or(0));
        }
        if self.rest().starts_with(['h', 'l', 'L']) {
            self.at += 1;
        }
        match self.rest().chars().next() {
            Some(kind @ ('s' | 'r' | 'a' | 'd')) => {
                self.at += 1;
                conversion.kind = kind;
                Ok(conversion)
            }
            Some(other) => {
                Err(self.error(self.at, format!("`%(…)` ends with `s` (or `d`, `r`, `a`), found {other:?}")))
            }
            None => Err(self.error(percent, "`%(…)` without the `s` that ends it".into())),
        }
    }

    fn number(&mut self) -> Result<Option<usize>, TemplateError> {
        let digits = self.rest().bytes().take_while(u8::is_ascii_digit).count();
        let (start, text) = (self.at, self.rest().get(..digits).unwrap_or(""));
        self.at += digits;
        match text.parse::<usize>() {
            _ if text.is_empty() => Ok(None),
            Ok(number) if number <= MAX_WIDTH => Ok(Some(number)),
            _ => Err(self.error(start, format!("a width or precision of more than {MAX_WIDTH}"))),
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn error(&self, at: usize, message: String) -> TemplateError {
        TemplateError { offset: self.base + at, message }
    }
}

/// What stands between the parentheses; `at` is where it starts in the parser's text.
struct Key<'p, 'a> {
    parser: &'p Parser<'a>,
    text: &'a str,
    at: usize,
}

impl<'a> Key<'_, 'a> {
    fn read(&self) -> Result<(Reference, Otherwise), TemplateError> {
        let Some((selector, rest)) = self.text.split_once(':') else {
            return Err(self.error(
                0,
                format!("{:?} does not say what it is: `%(prop:NAME)s`, `%(src:CODEBASE:ATTRIBUTE)s`, `%(worker:NAME)s` or `%(secret:NAME)s`", self.text),
            ));
        };
        let start = selector.len() + 1;
        match selector {
            "prop" => {
                let (name, form) = self.name(rest, start, "property", true)?;
                Ok((Reference::Property(name), self.form(form)?))
            }
            "worker" => {
                let (name, form) = self.name(rest, start, "worker attribute", false)?;
                Ok((Reference::Worker(name), self.form(form)?))
            }
            "secret" => {
                let (name, form) = self.name(rest, start, "secret", false)?;
                Ok((Reference::Secret(name), self.form(form)?))
            }
            "src" => {
                let Some((codebase, rest)) = rest.split_once(':') else {
                    return Err(self.error(
                        start,
                        "a codebase and an attribute are needed: `%(src:CODEBASE:branch)s`, with an empty codebase where there is only one".into(),
                    ));
                };
                self.check_identifier(codebase, start, "codebase")?;
                let (attribute, form) = self.name(rest, start + codebase.len() + 1, "attribute", true)?;
                let codebase = codebase.to_owned();
                Ok((Reference::Source { codebase, attribute }, self.form(form)?))
            }
            "kw" => Err(self.error(
                0,
                "`kw` names an argument of a Python call, and there is none here: write the value itself"
                    .into(),
            )),
            _ => Err(self.error(0, format!("{selector:?} is none of `prop`, `src`, `worker`, `secret`"))),
        }
    }

    /// The name, and where the form after it starts.
    fn name(
        &self,
        rest: &str,
        start: usize,
        what: &str,
        identifier: bool,
    ) -> Result<(String, Option<usize>), TemplateError> {
        let name = rest.split(':').next().unwrap_or("");
        if name.is_empty() {
            return Err(self.error(start, format!("the name of the {what} is missing")));
        }
        if identifier {
            self.check_identifier(name, start, what)?;
        }
        Ok((name.to_owned(), (name.len() < rest.len()).then_some(start + name.len() + 1)))
    }

    fn check_identifier(&self, name: &str, start: usize, what: &str) -> Result<(), TemplateError> {
        match name.char_indices().find(|(_, c)| !c.is_alphanumeric() && !"._-".contains(*c)) {
            None => Ok(()),
            Some((at, bad)) => Err(self.error(
                start + at,
                format!("{bad:?} in the name of a {what}: letters, digits, `_`, `-` and `.` are allowed"),
            )),
        }
    }

    /// `-TEXT`, `~TEXT`, `+TEXT`, `?XYESXNO` or `#?XYESXNO`, from `start`.
    fn form(&self, start: Option<usize>) -> Result<Otherwise, TemplateError> {
        let Some(start) = start else { return Ok(Otherwise::IfUnset(Vec::new())) };
        let form = self.text.get(start..).unwrap_or("");
        if let Some(text) = form.strip_prefix('-') {
            Ok(Otherwise::IfUnset(self.nested(text, start + 1)?))
        } else if let Some(text) = form.strip_prefix('~') {
            Ok(Otherwise::IfFalse(self.nested(text, start + 1)?))
        } else if let Some(text) = form.strip_prefix('+') {
            let yes = self.nested(text, start + 1)?;
            Ok(Otherwise::Choice { by_truth: false, yes, no: Vec::new() })
        } else if let Some(text) = form.strip_prefix('?') {
            self.choice(text, start + 1, false)
        } else if let Some(text) = form.strip_prefix("#?") {
            self.choice(text, start + 2, true)
        } else {
            Err(self.error(
                start,
                "after the name stands `:-DEFAULT`, `:~DEFAULT`, `:+TEXT`, `:?|YES|NO` or `:#?|YES|NO`"
                    .into(),
            ))
        }
    }

    fn choice(&self, text: &'a str, start: usize, by_truth: bool) -> Result<Otherwise, TemplateError> {
        let Some(delimiter) = text.chars().next().filter(|c| !"()".contains(*c)) else {
            return Err(
                self.error(start, "expected a character that separates two texts: `:?|YES|NO`".into())
            );
        };
        let first = delimiter.len_utf8();
        let mut depth = 0usize;
        let middle = text.char_indices().skip(1).find_map(|(at, c)| {
            match c {
                '(' => depth += 1,
                ')' => depth = depth.saturating_sub(1),
                _ => {}
            }
            (depth == 0 && c == delimiter).then_some(at)
        });
        let Some(middle) = middle else {
            return Err(self.error(
                start,
                format!("a second {delimiter:?} is missing: `:?{delimiter}YES{delimiter}NO`"),
            ));
        };
        let yes = self.nested(text.get(first..middle).unwrap_or(""), start + first)?;
        let no = self.nested(text.get(middle + first..).unwrap_or(""), start + middle + first)?;
        Ok(Otherwise::Choice { by_truth, yes, no })
    }

    /// A text inside the parentheses, where `%%` is always a percent sign.
    fn nested(&self, text: &'a str, start: usize) -> Result<Vec<Part>, TemplateError> {
        let depth = self.parser.depth + 1;
        if depth > MAX_DEPTH {
            return Err(self.error(start, format!("defaults in defaults, more than {MAX_DEPTH} deep")));
        }
        Parser { text, at: 0, base: self.parser.base + self.at + start, depth }.parts()
    }

    fn error(&self, at: usize, message: String) -> TemplateError {
        self.parser.error(self.at + at, message)
    }
}

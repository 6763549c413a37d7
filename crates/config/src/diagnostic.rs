//! What is wrong with a configuration, and where: all of it at once, over the lines it is about.

use std::{cell::RefCell, fmt, ops::Range, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// How many findings are kept: beyond that, one mistake has been made many times.
const MOST: usize = 200;

/// How many lines of one value are shown.
const MOST_LINES: usize = 4;

/// How many bytes of one line are shown.
const MOST_BYTES: usize = 2000;

/// Bytes of the source.
pub(crate) type Span = Range<usize>;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can be used, and probably does not do what was meant.
    Warning,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The column in characters, from 1; 0 for the file as a whole.
    pub column: usize,
    /// What is wrong, in one line.
    pub message: String,
    /// What would be right, where that can be said.
    pub help: Option<String>,
    /// Another place that has to do with it.
    pub related: Option<Related>,
    span: Option<Span>,
}

/// Another place that has to do with a finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is there.
    pub message: String,
    span: Span,
}

/// All findings of one severity, in the order of the file.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Diagnostics {
    list: Vec<Diagnostic>,
    /// How many more there were.
    left_out: usize,
    text: Arc<str>,
}

/// Why a configuration cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The errors; at least one.
    pub errors: Diagnostics,
    /// What was found beside them.
    pub warnings: Diagnostics,
}

impl ConfigErrors {
    /// An error about the file as a whole.
    pub(crate) fn of_file(file: &str, message: String) -> Self {
        let error = Diagnostic {
            severity: Severity::Error,
            file: file.to_owned(),
            line: 0,
            column: 0,
            message,
            help: None,
            related: None,
            span: None,
        };
        let errors = Diagnostics { list: vec![error], ..Diagnostics::default() };
        Self { errors, warnings: Diagnostics::default() }
    }

    /// Errors and warnings as people read them: each over the lines that it is about. Passwords in those lines are
    /// blotted out.
    pub fn render(&self, color: bool) -> String {
        let errors = self.errors.render(color);
        if self.warnings.is_empty() { errors } else { format!("{errors}\n{}", self.warnings.render(color)) }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.errors.list.len() + self.errors.left_out;
        let file = self.errors.list.first().map_or("the configuration", |error| &error.file);
        write!(f, "{n} {} in {file}", if n == 1 { "error" } else { "errors" })
    }
}

impl std::error::Error for ConfigErrors {}

impl Diagnostics {
    /// The findings, in the order of the file. Of more than 200 only the first are here.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.list.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many more there were than [`Diagnostics::iter`] has.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The findings as people read them. Passwords in the lines shown are blotted out.
    pub fn render(&self, color: bool) -> String {
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut out = String::new();
        for (index, diagnostic) in self.list.iter().enumerate() {
            if index > 0 {
                out.push('\n');
            }
            out.push_str(&diagnostic.render(&self.text, &renderer));
            out.push('\n');
        }
        if self.left_out > 0 {
            out.push_str(&format!("\nand {} more\n", self.left_out));
        }
        out
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for Diagnostics {
    /// Without the text of the file, which may hold passwords.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.list).finish()
    }
}

impl Diagnostic {
    fn render(&self, text: &str, renderer: &Renderer) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let Some(span) = &self.span else {
            // It is about the file as a whole, and says its name.
            return renderer.render(&[Group::with_title(level.primary_title(&*self.message))]);
        };
        let window = Window::around(text, span);
        let mut snippet = Snippet::source(&*window.text)
            .line_start(self.line)
            .path(&*self.file)
            .annotation(AnnotationKind::Primary.span(window.place(span)));
        let mut other = None;
        if let Some(related) = &self.related {
            if related.line == self.line {
                let place = window.place(&related.span);
                snippet = snippet.annotation(AnnotationKind::Context.span(place).label(&*related.message));
            } else {
                other = Some((Window::around(text, &related.span), related));
            }
        }
        let mut group = level.primary_title(&*self.message).element(snippet);
        if let Some((window, related)) = &other {
            let place = window.place(&related.span);
            group = group.element(
                Snippet::source(&*window.text)
                    .line_start(related.line)
                    .path(&*self.file)
                    .annotation(AnnotationKind::Context.span(place).label(&*related.message)),
            );
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(&**help));
        }
        renderer.render(&[group])
    }
}

/// The lines that a span is on, as they are shown.
struct Window {
    text: String,
    start: usize,
}

impl Window {
    fn around(text: &str, span: &Span) -> Self {
        let start = text.get(..span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let end = text
            .get(span.end.max(span.start)..)
            .and_then(|after| after.find('\n'))
            .map_or(text.len(), |at| at + span.end.max(span.start));
        let shown = text.get(start..end).unwrap_or("");
        let shown = match shown.match_indices('\n').nth(MOST_LINES - 1) {
            Some((end, _)) => shown.get(..end).unwrap_or(shown),
            None => shown,
        };
        let most = (span.start - start).saturating_add(MOST_BYTES).min(shown.len());
        let shown = shown.get(..shown.floor_char_boundary(most)).unwrap_or(shown);
        Self { text: blotted(shown), start }
    }

    /// Where the span is in what is shown; at least one character, so that the caret is seen.
    fn place(&self, span: &Span) -> Span {
        let clamp =
            |at: usize| self.text.floor_char_boundary(at.saturating_sub(self.start).min(self.text.len()));
        let start = clamp(span.start);
        let end = clamp(span.end).max(start);
        start..end
    }
}

/// `text` with stars for what is set to a key that sounds like a secret. As long as before, so that spans still fit.
fn blotted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('=') {
        out.push_str(before);
        out.push('=');
        rest = after;
        let key =
            before.trim_end().rsplit(|c: char| c.is_whitespace() || "{,".contains(c)).next().unwrap_or("");
        if !sounds_secret(key) {
            continue;
        }
        let blanks = after.len() - after.trim_start().len();
        let value = after.get(blanks..).unwrap_or("");
        let end = match value.chars().next() {
            Some(quote @ ('"' | '\'')) => value.get(1..).and_then(|inner| inner.find(quote)).map(|at| at + 2),
            _ => value.find([',', '}', '\n', '#']),
        };
        let end = end.unwrap_or(value.len());
        out.push_str(after.get(..blanks).unwrap_or(""));
        out.extend(value.get(..end).unwrap_or("").bytes().map(|byte| if byte == b'\n' { '\n' } else { '*' }));
        rest = value.get(end..).unwrap_or("");
    }
    out.push_str(rest);
    out
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let place = key.contains("file") || key.contains("env") || key.contains("dir");
    !place && ["pass", "pasw", "pws", "pwd", "secret", "token"].iter().any(|word| key.contains(word))
}

/// Takes findings while a file is read.
pub(crate) struct Sink<'a> {
    file: &'a str,
    text: &'a str,
    found: RefCell<Vec<Finding>>,
}

struct Finding {
    severity: Severity,
    span: Span,
    message: String,
    help: Option<String>,
    related: Option<(Span, String)>,
}

/// Lets a caller say more about a finding. Dropping it is fine.
pub(crate) struct Note<'s>(&'s RefCell<Vec<Finding>>);

impl<'a> Sink<'a> {
    pub(crate) fn new(file: &'a str, text: &'a str) -> Self {
        Self { file, text, found: RefCell::default() }
    }

    /// The whole text.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Note<'_> {
        self.add(Severity::Error, span, message.into())
    }

    pub(crate) fn warning(&self, span: Span, message: impl Into<String>) -> Note<'_> {
        self.add(Severity::Warning, span, message.into())
    }

    fn add(&self, severity: Severity, span: Span, message: String) -> Note<'_> {
        self.found.borrow_mut().push(Finding { severity, span, message, help: None, related: None });
        Note(&self.found)
    }

    /// Errors and warnings, sorted.
    pub(crate) fn finish(self) -> (Diagnostics, Diagnostics) {
        let mut found = self.found.into_inner();
        found.sort_by_key(|finding| finding.span.start);
        let (errors, warnings): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|finding| finding.severity == Severity::Error);
        let lines = Lines::of(self.text);
        (diagnostics(self.file, &lines, errors), diagnostics(self.file, &lines, warnings))
    }
}

impl Note<'_> {
    fn last(&self, change: impl FnOnce(&mut Finding)) {
        if let Some(finding) = self.0.borrow_mut().last_mut() {
            change(finding);
        }
    }

    /// Says what would be right.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        let help = help.into();
        self.last(|finding| finding.help = Some(help));
        self
    }

    /// Says what would be right, where that is known.
    pub(crate) fn maybe_help(self, help: Option<String>) -> Self {
        match help {
            Some(help) => self.help(help),
            None => self,
        }
    }

    /// Points at another place.
    pub(crate) fn related(self, span: Span, message: impl Into<String>) -> Self {
        let message = message.into();
        self.last(|finding| finding.related = Some((span, message)));
        self
    }
}

fn diagnostics(file: &str, lines: &Lines<'_>, findings: Vec<Finding>) -> Diagnostics {
    let left_out = findings.len().saturating_sub(MOST);
    let list: Vec<Diagnostic> = findings
        .into_iter()
        .take(MOST)
        .map(|finding| {
            let (line, column) = lines.position(finding.span.start);
            Diagnostic {
                severity: finding.severity,
                file: file.to_owned(),
                line,
                column,
                message: finding.message,
                help: finding.help,
                related: finding.related.map(|(span, message)| {
                    let (line, column) = lines.position(span.start);
                    Related { line, column, message, span }
                }),
                span: Some(finding.span),
            }
        })
        .collect();
    let text = if list.is_empty() { Arc::default() } else { lines.text.into() };
    Diagnostics { list, left_out, text }
}

struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    fn position(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..at).map_or(0, |before| before.chars().count());
        (line, column + 1)
    }
}

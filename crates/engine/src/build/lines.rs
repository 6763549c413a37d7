//! Output of a command, line by line, for steps that look at it.

use std::collections::VecDeque;

use storage::log::Stream;

/// Longer lines are passed over, as Buildbot does (`buildbot/process/logobserver.py`, `LogLineObserver`, 4.3.0).
const MAX_LINE: usize = 16384;

/// Something that looks at lines.
pub(crate) type Look = Box<dyn FnMut(&str) + Send>;

/// Cuts streams into lines and shows each to someone.
pub(crate) struct LineReader {
    unfinished: VecDeque<(Stream, Unfinished)>,
    look: Look,
}

#[derive(Default)]
struct Unfinished {
    line: String,
    too_long: bool,
}

impl LineReader {
    pub(crate) fn new(look: Look) -> Self {
        Self { unfinished: VecDeque::new(), look }
    }

    /// Takes text in any pieces.
    pub(crate) fn push(&mut self, stream: Stream, text: &str) {
        let at = match self.unfinished.iter().position(|(known, _)| *known == stream) {
            Some(at) => at,
            None => {
                self.unfinished.push_back((stream, Unfinished::default()));
                self.unfinished.len() - 1
            }
        };
        let Some((_, unfinished)) = self.unfinished.get_mut(at) else { return };
        let mut rest = text;
        while let Some((line, more)) = rest.split_once('\n') {
            unfinished.extend(line);
            unfinished.end(&mut self.look);
            rest = more;
        }
        unfinished.extend(rest);
    }

    /// Also shows the lines without an end: nothing follows.
    pub(crate) fn finish(&mut self) {
        for (_, unfinished) in &mut self.unfinished {
            if !unfinished.line.is_empty() {
                unfinished.end(&mut self.look);
            }
        }
    }
}

impl Unfinished {
    fn extend(&mut self, text: &str) {
        if self.too_long || self.line.len() + text.len() > MAX_LINE {
            self.too_long = true;
            self.line.clear();
        } else {
            self.line.push_str(text);
        }
    }

    fn end(&mut self, look: &mut Look) {
        if !self.too_long {
            look(self.line.strip_suffix('\r').unwrap_or(&self.line));
        }
        self.too_long = false;
        self.line.clear();
    }
}

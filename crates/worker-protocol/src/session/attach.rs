//! The beginning of a session: the worker describes itself, in the words of its age.

use std::sync::Arc;

use perspective_broker::{Broker, Failure, Value};

use super::{Pending, Session, is_no_such_method};
use crate::error::SessionError;
use crate::event::Event;
use crate::info::WorkerInfo;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// buildbot-worker, 0.9.0 and newer: everything at once.
    WorkerInfo,
    /// buildslave, 0.8: the files and the environment.
    SlaveInfo,
    /// All: the commands.
    Commands,
    /// All: the version.
    Version,
}

impl Question {
    fn method(self) -> &'static str {
        match self {
            Self::WorkerInfo => "getWorkerInfo",
            Self::SlaveInfo => "getSlaveInfo",
            Self::Commands => "getCommands",
            Self::Version => "getVersion",
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Attach {
    info: Arc<WorkerInfo>,
    open_questions: usize,
    done: bool,
}

impl Attach {
    pub(super) fn info(&self) -> Option<&WorkerInfo> {
        self.done.then_some(&self.info)
    }
}

impl Session {
    pub(super) fn ask(&mut self, broker: &mut Broker, question: Question) -> Result<(), SessionError> {
        self.call(broker, self.mind, question.method(), Vec::new(), Pending::Info(question))?;
        self.attach.open_questions += 1;
        Ok(())
    }

    pub(super) fn told(&mut self, question: Question, answer: &Value) {
        let info = Arc::make_mut(&mut self.attach.info);
        // A worker on Python 3 never has a byte string for a key, one on Python 2 has some at least.
        info.python2 |= has_bytes_key(answer);
        match (question, answer.as_dict()) {
            (Question::WorkerInfo, Some(entries)) => {
                info.worker_words = true;
                info.take_info(entries);
            }
            (Question::SlaveInfo, Some(entries)) => info.take_info(entries),
            (Question::Commands, _) => info.take_commands(answer),
            (Question::Version, _) => info.take_version(answer),
            (Question::WorkerInfo | Question::SlaveInfo, None) => {}
        }
        self.question_closed();
    }

    pub(super) fn not_told(
        &mut self,
        broker: &mut Broker,
        question: Question,
        failure: &Failure,
    ) -> Result<(), SessionError> {
        if question == Question::WorkerInfo {
            if is_no_such_method(failure) {
                self.ask(broker, Question::SlaveInfo)?;
            } else {
                // Its environment or its info files are not UTF-8; what is needed to work with it is elsewhere too.
                Arc::make_mut(&mut self.attach.info).worker_words = true;
            }
            self.ask(broker, Question::Commands)?;
            self.ask(broker, Question::Version)?;
        }
        self.question_closed();
        Ok(())
    }

    fn question_closed(&mut self) {
        self.attach.open_questions = self.attach.open_questions.saturating_sub(1);
        if self.attach.open_questions == 0 && !self.attach.done {
            self.attach.done = true;
            self.events.push_back(Event::Attached(Arc::clone(&self.attach.info)));
        }
    }
}

fn has_bytes_key(value: &Value) -> bool {
    value.as_dict().unwrap_or_default().iter().any(|(key, _)| matches!(key, Value::Bytes(_)))
}

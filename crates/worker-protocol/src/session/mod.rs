//! The master's side of one worker's connection.

mod attach;
mod builders;
mod commands;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use bytestring::ByteString;
use perspective_broker::{
    Broker, Event as BrokerEvent, Failure, LocalId, RemoteId, ReplyId, RequestId, SendError, Target, Value,
};

use self::attach::Attach;
use self::builders::Builders;
use self::commands::Commands;
use crate::error::{BuildersError, ReadError, SessionError, StartError};
use crate::event::{CommandId, Event, ReadTicket, WriteTicket};
use crate::info::WorkerInfo;
use crate::text::StringKind;

/// What one worker may ask of us, beside the broker's own limits.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// File blocks of one command that wait for their answer. A stock worker waits after each.
    pub unanswered_blocks: usize,
    /// Longest list of builders; Twisted lets a worker lend 1024 objects (`twisted/spread/pb.py`,
    /// `MAX_BROKER_REFS`), one of which is the worker itself.
    pub builders: usize,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self { unanswered_blocks: 4, builders: 1023 }
    }
}

/// The master's side of one worker's connection, from the accepted login on.
///
/// It does no input and output and knows no time: its owner hands it every event of the connection's broker, and
/// takes typed events out. It never waits for the worker; how long an answer may take is the owner's business.
#[derive(Debug)]
pub struct Session {
    mind: RemoteId,
    perspective: LocalId,
    limits: SessionLimits,
    attach: Attach,
    pending: HashMap<RequestId, Pending>,
    builders: Builders,
    commands: Commands,
    events: VecDeque<Event>,
}

/// What an answer is for.
#[derive(Debug)]
enum Pending {
    Info(attach::Question),
    Builders,
    Ping,
    Start(CommandId),
    Shutdown,
    ShutdownByBuilder,
    /// The answer changes nothing.
    Nothing,
}

impl Session {
    /// A session with the worker behind `mind`, which was given `perspective` when its login was accepted.
    pub fn new(mind: RemoteId, perspective: LocalId, limits: SessionLimits) -> Self {
        Self {
            mind,
            perspective,
            limits,
            attach: Attach::default(),
            pending: HashMap::new(),
            builders: Builders::default(),
            commands: Commands::default(),
            events: VecDeque::new(),
        }
    }

    /// Begins: asks the worker to describe itself. [`Event::Attached`] follows.
    ///
    /// # Errors
    ///
    /// The call cannot be sent.
    pub fn start(&mut self, broker: &mut Broker) -> Result<(), SessionError> {
        self.ask(broker, attach::Question::WorkerInfo)
    }

    /// What the worker said about itself, once it did.
    pub fn info(&self) -> Option<&WorkerInfo> {
        self.attach.info()
    }

    /// The next thing the worker said.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Takes one event of the connection's broker. Events that belong to somebody else are left alone.
    ///
    /// # Errors
    ///
    /// The worker broke the protocol: drop the connection.
    pub fn handle(&mut self, broker: &mut Broker, event: BrokerEvent) -> Result<(), SessionError> {
        match event {
            BrokerEvent::Call { target: Target::Local(object), method, args, reply, .. } => {
                if object == self.perspective {
                    self.perspective_called(broker, &method, &args, reply)
                } else {
                    self.command_called(broker, object, &method, args, reply)
                }
            }
            BrokerEvent::Call { method, args, reply, .. } => {
                release_all(broker, &args)?;
                Ok(refuse(broker, reply, &method)?)
            }
            BrokerEvent::Answered { request, value } => match self.pending.remove(&request) {
                Some(pending) => self.answered(broker, request, pending, value),
                None => Ok(()),
            },
            BrokerEvent::Failed { request, failure } => match self.pending.remove(&request) {
                Some(pending) => self.failed(broker, request, pending, failure),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Gives the worker its builders: names, and their directories relative to the worker's base directory. Builders
    /// that are not in the list are taken from it. [`Event::BuildersSet`] or [`Event::BuildersRefused`] follows;
    /// builders that stay can be used meanwhile.
    ///
    /// # Errors
    ///
    /// Nothing was sent; the reason.
    pub fn set_builders<N, D>(
        &mut self,
        broker: &mut Broker,
        builders: &[(N, D)],
    ) -> Result<(), BuildersError>
    where
        N: AsRef<str>,
        D: AsRef<str>,
    {
        let info = self.attach.info().ok_or(BuildersError::NotAttached)?;
        if builders.len() > self.limits.builders {
            return Err(BuildersError::TooMany { count: builders.len(), limit: self.limits.builders });
        }
        let kind = kind_of(info);
        let list = self.builders.propose(builders, kind)?;
        let request = broker.call(self.mind, "setBuilderList", vec![list], Vec::new())?;
        self.builders.proposed();
        self.pending.insert(request, Pending::Builders);
        Ok(())
    }

    /// Lets the worker print a line in its log: [`Event::Pong`] or [`Event::PingFailed`] follows.
    ///
    /// # Errors
    ///
    /// The call cannot be sent.
    pub fn ping(&mut self, broker: &mut Broker, text: &str) -> Result<(), SessionError> {
        let kind = self.attach.info().map_or(StringKind::Unicode, kind_of);
        self.call(broker, self.mind, "print", vec![kind.text(ByteString::from(text))], Pending::Ping)
    }

    /// Tells the worker that a build begins. It does nothing with it and needs it for nothing; its log shows it.
    ///
    /// # Errors
    ///
    /// The worker does not have the builder, or the call cannot be sent.
    pub fn start_build(&mut self, broker: &mut Broker, builder: &str) -> Result<(), StartError> {
        let remote = self.builders.usable(builder)?;
        let request = broker.call(remote, "startBuild", Vec::new(), Vec::new())?;
        self.pending.insert(request, Pending::Nothing);
        Ok(())
    }

    /// Asks the worker to stop its process. The connection ends when it does; [`Event::ShutdownFailed`] when it
    /// cannot.
    ///
    /// # Errors
    ///
    /// The call cannot be sent.
    pub fn shutdown(&mut self, broker: &mut Broker) -> Result<(), SessionError> {
        self.call(broker, self.mind, "shutdown", Vec::new(), Pending::Shutdown)
    }

    /// Lets the worker go on after [`Event::Write`] or [`Event::Unpack`].
    ///
    /// A failure on our side is not told to the worker: no release of it survives an error as an answer. Let it
    /// finish, or interrupt the command, and judge the result here.
    ///
    /// # Errors
    ///
    /// The answer cannot be sent.
    pub fn answer_write(&mut self, broker: &mut Broker, ticket: WriteTicket) -> Result<(), SessionError> {
        self.commands.block_answered(ticket.command);
        Ok(answer(broker, ticket.reply, Value::None)?)
    }

    /// Gives the worker the block it asked for; an empty one is the end of the file.
    ///
    /// # Errors
    ///
    /// The block is longer than [`ReadTicket::max`], or the answer cannot be sent.
    pub fn answer_read(
        &mut self,
        broker: &mut Broker,
        ticket: ReadTicket,
        data: Bytes,
    ) -> Result<(), ReadError> {
        if data.len() > ticket.max {
            return Err(ReadError::TooLong { len: data.len(), ticket });
        }
        self.commands.block_answered(ticket.command);
        Ok(answer(broker, ticket.reply, Value::Bytes(data))?)
    }

    fn call(
        &mut self,
        broker: &mut Broker,
        target: RemoteId,
        method: &str,
        args: Vec<Value>,
        pending: Pending,
    ) -> Result<(), SessionError> {
        let request = broker.call(target, method, args, Vec::new())?;
        self.pending.insert(request, pending);
        Ok(())
    }

    fn perspective_called(
        &mut self,
        broker: &mut Broker,
        method: &str,
        args: &[Value],
        reply: Option<ReplyId>,
    ) -> Result<(), SessionError> {
        release_all(broker, args)?;
        self.events.push_back(match method {
            "keepalive" => Event::Keepalive,
            "shutdown" => Event::ShutdownRequested,
            _ => return Ok(refuse(broker, reply, method)?),
        });
        Ok(answer(broker, reply, Value::None)?)
    }

    fn answered(
        &mut self,
        broker: &mut Broker,
        request: RequestId,
        pending: Pending,
        value: Value,
    ) -> Result<(), SessionError> {
        match pending {
            Pending::Builders => {
                self.builders.accepted(broker, value)?;
                self.events.push_back(Event::BuildersSet);
                return Ok(());
            }
            Pending::Info(question) => self.told(question, &value),
            Pending::Ping => self.events.push_back(Event::Pong),
            Pending::Start(command) => self.command_accepted(command, request),
            Pending::Shutdown | Pending::ShutdownByBuilder | Pending::Nothing => {}
        }
        Ok(release(broker, &value)?)
    }

    fn failed(
        &mut self,
        broker: &mut Broker,
        request: RequestId,
        pending: Pending,
        failure: Failure,
    ) -> Result<(), SessionError> {
        match pending {
            Pending::Info(question) => self.not_told(broker, question, &failure),
            Pending::Builders => {
                self.builders.refused();
                self.events.push_back(Event::BuildersRefused(failure));
                Ok(())
            }
            Pending::Ping => {
                self.events.push_back(Event::PingFailed(failure));
                Ok(())
            }
            Pending::Start(command) => {
                self.command_refused(broker, command, request, failure);
                Ok(())
            }
            // Before 0.8.3 only the builders have it.
            Pending::Shutdown if is_no_such_method(&failure) => match self.builders.any() {
                Some(builder) => {
                    self.call(broker, builder, "shutdown", Vec::new(), Pending::ShutdownByBuilder)
                }
                None => {
                    self.events.push_back(Event::ShutdownFailed(failure));
                    Ok(())
                }
            },
            Pending::Shutdown | Pending::ShutdownByBuilder => {
                self.events.push_back(Event::ShutdownFailed(failure));
                Ok(())
            }
            Pending::Nothing => Ok(()),
        }
    }
}

fn kind_of(info: &WorkerInfo) -> StringKind {
    if info.python2 { StringKind::Bytes } else { StringKind::Unicode }
}

fn is_no_such_method(failure: &Failure) -> bool {
    failure.is("twisted.spread.flavors.NoSuchMethod")
}

fn answer(broker: &mut Broker, reply: Option<ReplyId>, value: Value) -> Result<(), SendError> {
    reply.map_or(Ok(()), |reply| broker.answer(reply, value))
}

fn refuse(broker: &mut Broker, reply: Option<ReplyId>, method: &str) -> Result<(), SendError> {
    reply.map_or(Ok(()), |reply| broker.fail(reply, Failure::no_such_method(method)))
}

fn release_all(broker: &mut Broker, values: &[Value]) -> Result<(), SendError> {
    values.iter().try_for_each(|value| release(broker, value))
}

/// Gives back every reference inside a value that nobody wants: each counts at the worker.
fn release(broker: &mut Broker, value: &Value) -> Result<(), SendError> {
    value.remotes().into_iter().try_for_each(|id| give_back(broker, id))
}

/// Gives one reference back. One inside a container that was sent once and meant several times counts once there, so
/// none may be left.
fn give_back(broker: &mut Broker, id: RemoteId) -> Result<(), SendError> {
    match broker.release(id) {
        Err(SendError::NotHeld(_)) => Ok(()),
        released => released,
    }
}

//! The commands that run on a worker, and what it calls on their objects.

use std::collections::{HashMap, VecDeque};

use bytestring::ByteString;
use perspective_broker::{Broker, Failure, LocalId, RemoteId, ReplyId, RequestId, SendError, Value};

use super::{Pending, Session, answer, kind_of, refuse, release, release_all};
use crate::command::{Command, MAX_BLOCK, Stream, WireCommand};
use crate::error::{SessionError, StartError};
use crate::event::{CommandId, Event, ReadTicket, WriteTicket};
use crate::text::lossy;
use crate::update::{Streams, Update};

#[derive(Debug, Default)]
pub(super) struct Commands {
    running: HashMap<CommandId, Running>,
    objects: HashMap<LocalId, (CommandId, Role)>,
    last: u64,
}

/// What one of our objects is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Command,
    Writer,
    Reader,
}

#[derive(Debug)]
struct Running {
    builder: ByteString,
    /// The request that started what runs now.
    request: RequestId,
    /// The object that takes its updates.
    object: LocalId,
    /// The writer or the reader.
    stream: Option<LocalId>,
    texts: Streams,
    unanswered_blocks: usize,
    batch: Option<Batch>,
}

/// One command of ours that is several for the worker, one after the other. It reports as one.
#[derive(Debug)]
struct Batch {
    rest: VecDeque<WireCommand>,
    started: bool,
    rc: Option<i64>,
    elapsed: Option<f64>,
}

impl Batch {
    /// Keeps what has to be told once, for all parts; gives back the rest.
    fn absorb(&mut self, update: Update) -> Option<Update> {
        match update {
            Update::Rc(0) if self.rc.is_some() => None,
            Update::Rc(rc) => {
                self.rc = Some(rc);
                None
            }
            Update::Elapsed(seconds) => {
                self.elapsed = Some(self.elapsed.unwrap_or_default() + seconds);
                None
            }
            update => Some(update),
        }
    }
}

impl Commands {
    pub(super) fn block_answered(&mut self, command: CommandId) {
        if let Some(running) = self.running.get_mut(&command) {
            running.unanswered_blocks = running.unanswered_blocks.saturating_sub(1);
        }
    }
}

impl Session {
    /// Starts a command on a builder. Its events carry the id given back; [`Event::Complete`] or
    /// [`Event::StartFailed`] is the last of them.
    ///
    /// # Errors
    ///
    /// Nothing was sent; the reason.
    pub fn start_command(
        &mut self,
        broker: &mut Broker,
        builder: &str,
        command: &Command,
    ) -> Result<CommandId, StartError> {
        let remote = self.builders.free(builder)?;
        let no_builder = || StartError::NoBuilder { name: builder.to_owned() };
        let info = self.attach.info().ok_or_else(no_builder)?;
        command.check(info)?;
        let stream = command.stream().map(|stream| (stream, broker.export()));
        let mut parts: VecDeque<_> = command.encode(info, stream.map(|(_, object)| object))?.into();
        let first = parts.pop_front().ok_or_else(no_builder)?;
        let id = CommandId(self.commands.last + 1);
        let (request, object) = self.send_start(broker, remote, id, first).inspect_err(|_| {
            if let Some((_, object)) = stream {
                broker.retire(object);
            }
        })?;
        self.commands.last = id.0;
        if let Some((stream, object)) = stream {
            let role = match stream {
                Stream::Writer => Role::Writer,
                Stream::Reader => Role::Reader,
            };
            self.commands.objects.insert(object, (id, role));
        }
        let batch =
            (!parts.is_empty()).then_some(Batch { rest: parts, started: false, rc: None, elapsed: None });
        let builder = ByteString::from(builder);
        self.builders.occupy(builder.clone(), id);
        let running = Running {
            builder,
            request,
            object,
            stream: stream.map(|(_, object)| object),
            texts: Streams::default(),
            unanswered_blocks: 0,
            batch,
        };
        self.commands.running.insert(id, running);
        Ok(id)
    }

    /// Asks the worker to kill a command. It still ends with [`Event::Complete`]; nothing happens when it has ended.
    /// A transfer ends at its next block, so go on answering.
    ///
    /// # Errors
    ///
    /// The call cannot be sent.
    pub fn interrupt(
        &mut self,
        broker: &mut Broker,
        command: CommandId,
        why: &str,
    ) -> Result<(), SessionError> {
        let (Some(running), Some(info)) = (self.commands.running.get_mut(&command), self.attach.info())
        else {
            return Ok(());
        };
        if let Some(batch) = &mut running.batch {
            batch.rest.clear();
        }
        // The worker kills what runs on the builder, whatever the id: there is nothing else while this one runs.
        let Some(remote) = self.builders.remote(&running.builder) else { return Ok(()) };
        let kind = kind_of(info);
        let args = vec![kind.text(command.to_string()), kind.text(ByteString::from(why))];
        self.call(broker, remote, "interruptCommand", args, Pending::Nothing)
    }

    /// The command's object is known before anything is sent: updates may overtake the answer.
    fn send_start(
        &mut self,
        broker: &mut Broker,
        builder: RemoteId,
        id: CommandId,
        command: WireCommand,
    ) -> Result<(RequestId, LocalId), SendError> {
        let kind = self.attach.info().map_or(crate::text::StringKind::Unicode, kind_of);
        let object = broker.export();
        let args = vec![
            Value::Local(object),
            kind.text(id.to_string()),
            kind.text(ByteString::from_static(command.name)),
            Value::Dict(command.arguments),
        ];
        match broker.call(builder, "startCommand", args, Vec::new()) {
            Ok(request) => {
                self.pending.insert(request, Pending::Start(id));
                self.commands.objects.insert(object, (id, Role::Command));
                Ok((request, object))
            }
            Err(error) => {
                broker.retire(object);
                Err(error)
            }
        }
    }

    pub(super) fn command_accepted(&mut self, command: CommandId, request: RequestId) {
        let Some(running) = self.commands.running.get_mut(&command) else { return };
        let first = match &mut running.batch {
            Some(batch) => !std::mem::replace(&mut batch.started, true),
            None => true,
        };
        if running.request == request && first {
            self.events.push_back(Event::Started { command });
        }
    }

    pub(super) fn command_refused(
        &mut self,
        broker: &mut Broker,
        command: CommandId,
        request: RequestId,
        failure: Failure,
    ) {
        match self.commands.running.get(&command) {
            // A command that was complete before its answer is over, whatever the answer says.
            Some(running) if running.request == request => {
                let under_way = running.batch.as_ref().is_some_and(|batch| batch.started);
                self.forget(broker, command);
                self.events.push_back(if under_way {
                    Event::Complete { command, failure: Some(failure) }
                } else {
                    Event::StartFailed { command, failure }
                });
            }
            _ => {}
        }
    }

    pub(super) fn command_called(
        &mut self,
        broker: &mut Broker,
        object: LocalId,
        method: &str,
        args: Vec<Value>,
        reply: Option<ReplyId>,
    ) -> Result<(), SessionError> {
        let Some(&(command, role)) = self.commands.objects.get(&object) else {
            release_all(broker, &args)?;
            return Ok(refuse(broker, reply, method)?);
        };
        match (role, method) {
            (Role::Command, "update") => {
                self.updated(broker, command, args)?;
                Ok(answer(broker, reply, Value::Int(0))?)
            }
            (Role::Command, "complete") => {
                answer(broker, reply, Value::None)?;
                self.completed(broker, command, args)
            }
            (Role::Writer, "write") => self.written(command, args, reply),
            (Role::Writer, "unpack") => {
                let ticket = WriteTicket { command, reply };
                self.block_received(command)?;
                self.events.push_back(Event::Unpack { command, ticket });
                Ok(())
            }
            (Role::Reader, "read") => self.read(command, &args, reply),
            (Role::Writer, "close") => {
                self.events.push_back(Event::CloseWrite { command });
                Ok(answer(broker, reply, Value::None)?)
            }
            (Role::Writer, "utime") => {
                self.events.extend(times(command, &args));
                Ok(answer(broker, reply, Value::None)?)
            }
            (Role::Reader, "close") => {
                self.events.push_back(Event::CloseRead { command });
                Ok(answer(broker, reply, Value::None)?)
            }
            (Role::Command, _) => {
                release_all(broker, &args)?;
                Ok(refuse(broker, reply, method)?)
            }
            // An error here would leave the worker without a way to end the command.
            (Role::Writer | Role::Reader, _) => {
                release_all(broker, &args)?;
                Ok(answer(broker, reply, Value::None)?)
            }
        }
    }

    /// `update([[{key: value}, 0], ..])`
    fn updated(
        &mut self,
        broker: &mut Broker,
        command: CommandId,
        args: Vec<Value>,
    ) -> Result<(), SessionError> {
        let malformed =
            SessionError::Malformed { what: "an update of the wrong form", expected: "a list of [dict, 0]" };
        let Some(running) = self.commands.running.get_mut(&command) else { return Ok(()) };
        let Some(pairs) = args.into_iter().next().and_then(Value::into_list) else { return Err(malformed) };
        for pair in pairs {
            let entries =
                pair.into_list().and_then(|pair| pair.into_iter().next()).and_then(Value::into_dict);
            let Some(entries) = entries else { return Err(malformed) };
            for (key, value) in entries {
                let Some(update) = running.texts.decode(key, value) else { continue };
                if let Update::Other { value, .. } = &update {
                    release(broker, value)?;
                }
                let update = match &mut running.batch {
                    Some(batch) => batch.absorb(update),
                    None => Some(update),
                };
                self.events.extend(update.map(|update| Event::Update { command, update }));
            }
        }
        Ok(())
    }

    fn completed(
        &mut self,
        broker: &mut Broker,
        command: CommandId,
        args: Vec<Value>,
    ) -> Result<(), SessionError> {
        let Some(running) = self.commands.running.get_mut(&command) else { return Ok(()) };
        for update in running.texts.flush() {
            self.events.push_back(Event::Update { command, update });
        }
        let failure = match args.into_iter().next() {
            None | Some(Value::None) => None,
            Some(Value::Failure(failure)) => Some(*failure),
            Some(other) => {
                release(broker, &other)?;
                let said =
                    lossy(&other).map_or_else(|| "no failure object".to_owned(), |text| text.to_string());
                Some(other.as_failure().cloned().unwrap_or_else(|| Failure::new("builtins.Exception", said)))
            }
        };
        let next = match &mut running.batch {
            Some(batch) if failure.is_none() => batch.rest.pop_front(),
            _ => None,
        };
        if let Some(next) = next {
            return self.go_on(broker, command, next);
        }
        if let Some(batch) = running.batch.take() {
            let last = [batch.rc.map(Update::Rc), batch.elapsed.map(Update::Elapsed)];
            self.events.extend(last.into_iter().flatten().map(|update| Event::Update { command, update }));
        }
        self.forget(broker, command);
        self.events.push_back(Event::Complete { command, failure });
        Ok(())
    }

    fn go_on(
        &mut self,
        broker: &mut Broker,
        command: CommandId,
        next: WireCommand,
    ) -> Result<(), SessionError> {
        let Some(running) = self.commands.running.get(&command) else { return Ok(()) };
        let object = running.object;
        let Some(remote) = self.builders.remote(&running.builder) else { return Ok(()) };
        broker.retire(object);
        self.commands.objects.remove(&object);
        let (request, object) = self.send_start(broker, remote, command, next)?;
        if let Some(running) = self.commands.running.get_mut(&command) {
            running.request = request;
            running.object = object;
        }
        Ok(())
    }

    fn written(
        &mut self,
        command: CommandId,
        args: Vec<Value>,
        reply: Option<ReplyId>,
    ) -> Result<(), SessionError> {
        let data = args
            .into_iter()
            .next()
            .and_then(Value::into_bytes)
            .ok_or(SessionError::Malformed { what: "a write without data", expected: "a byte string" })?;
        self.block_received(command)?;
        let ticket = WriteTicket { command, reply };
        self.events.push_back(Event::Write { command, data, ticket });
        Ok(())
    }

    fn read(
        &mut self,
        command: CommandId,
        args: &[Value],
        reply: Option<ReplyId>,
    ) -> Result<(), SessionError> {
        let max = args.first().and_then(Value::as_int).and_then(|max| usize::try_from(max).ok()).ok_or(
            SessionError::Malformed { what: "a read without a length", expected: "a number of bytes" },
        )?;
        let max = max.min(MAX_BLOCK as usize);
        self.block_received(command)?;
        self.events.push_back(Event::Read { command, max, ticket: ReadTicket { command, reply, max } });
        Ok(())
    }

    fn block_received(&mut self, command: CommandId) -> Result<(), SessionError> {
        let limit = self.limits.unanswered_blocks;
        if let Some(running) = self.commands.running.get_mut(&command) {
            running.unanswered_blocks += 1;
            if running.unanswered_blocks > limit {
                return Err(SessionError::TooManyBlocks { limit });
            }
        }
        Ok(())
    }

    /// The command is over. Its objects stay known to the broker as gone: the worker lets go of them late or never.
    fn forget(&mut self, broker: &mut Broker, command: CommandId) {
        let Some(running) = self.commands.running.remove(&command) else { return };
        self.builders.vacate(&running.builder);
        for object in [Some(running.object), running.stream].into_iter().flatten() {
            self.commands.objects.remove(&object);
            broker.retire(object);
        }
    }
}

/// `utime((accessed, modified))`; a worker that could not read them sends None in their place.
fn times(command: CommandId, args: &[Value]) -> Option<Event> {
    let [accessed, modified] = args.first()?.as_list()? else { return None };
    Some(Event::SetTimes { command, accessed: accessed.as_float()?, modified: modified.as_float()? })
}

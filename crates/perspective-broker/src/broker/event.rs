//! What a broker reports.

use super::login::Proof;
use crate::banana::Dialect;
use crate::jelly::{Failure, Value};
use crate::{LocalId, LoginId, RemoteId, ReplyId, RequestId, Target};
use bytestring::ByteString;

/// Something that the peer did.
///
/// Objects in values ([`Value::Remote`]) are references that the owner now holds, one for each occurrence; give them
/// back with [`Broker::release`](crate::Broker::release).
#[derive(Debug)]
pub enum Event {
    /// Negotiation is done.
    Ready {
        /// The dialect that both sides speak from now on.
        dialect: Dialect,
    },
    /// The peer calls an object of ours.
    Call {
        /// The object.
        target: Target,
        /// The method's name, without the `remote_` or `perspective_` that Twisted adds.
        method: ByteString,
        /// Positional arguments.
        args: Vec<Value>,
        /// Named arguments; the names are bytes or text.
        kwargs: Vec<(Value, Value)>,
        /// Where to answer; `None` when the peer does not want to know.
        reply: Option<ReplyId>,
    },
    /// The peer answered a call of ours.
    Answered {
        /// The call.
        request: RequestId,
        /// The answer.
        value: Value,
    },
    /// A call or a login of ours failed at the peer.
    Failed {
        /// The call or login.
        request: RequestId,
        /// Why.
        failure: Failure,
    },
    /// The peer wants to log in and has answered our challenge.
    Login {
        /// What to accept or refuse.
        login: LoginId,
        /// The name that it claims.
        user: ByteString,
        /// What shows whether it knows the password.
        proof: Proof,
        /// The object that it wants to be called at.
        mind: Option<RemoteId>,
    },
    /// The peer wants to log in without name and password.
    LoginAnonymous {
        /// What to accept or refuse.
        login: LoginId,
        /// The object that it wants to be called at.
        mind: Option<RemoteId>,
    },
    /// A login of ours succeeded.
    LoggedIn {
        /// The login.
        request: RequestId,
        /// The object that stands for us at the peer.
        perspective: RemoteId,
    },
    /// The peer holds no reference to this object any more. It stays exported, and may be sent again, until it is
    /// retired.
    Released {
        /// The object.
        local: LocalId,
    },
    /// The peer has read so much that the connection is no longer congested, and the owner may go on producing. Only a
    /// driver reports this.
    Relieved,
}

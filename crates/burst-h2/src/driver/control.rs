//! What a traffic tells its driver between rounds. Commands take effect when `tick` has returned.

use super::endpoint::ConnectionRef;
use super::table::Table;
use crate::ConnectionConfig;

/// A connection to open.
pub struct OpenSpec<T> {
    /// Connecting already.
    pub transport: T,
    /// Limits of the protocol.
    pub config: ConnectionConfig,
    /// Any number, given back in [`ConnectionRef::user`].
    pub user: u64,
}

/// Which requests to take back.
type Matches<'a> = Box<dyn FnMut(ConnectionRef, u64) -> bool + 'a>;

pub(super) enum Command<'a, T> {
    Open(ConnectionRef, OpenSpec<T>),
    Close(ConnectionRef),
    Drain(ConnectionRef),
    Ping(ConnectionRef),
    Ask(ConnectionRef),
    AskAll,
    Revoke(Matches<'a>),
}

/// Commands to a driver, gathered during [`Traffic::tick`](super::Traffic::tick).
pub struct Control<'a, T> {
    pub(super) table: &'a mut Table<T>,
    pub(super) commands: &'a mut Vec<Command<'static, T>>,
}

impl<T> Control<'_, T> {
    /// Adds a connection. Its fate is told by events; `Closed` comes even when it never opened.
    pub fn open(&mut self, spec: OpenSpec<T>) -> ConnectionRef {
        let id = self.table.reserve(spec.user);
        self.commands.push(Command::Open(id, spec));
        id
    }

    /// Closes a connection at once. Its requests end as not processed or unknown.
    pub fn close(&mut self, connection: ConnectionRef) {
        self.commands.push(Command::Close(connection));
    }

    /// Starts no new requests on a connection, and closes it when the last has ended.
    pub fn drain(&mut self, connection: ConnectionRef) {
        self.commands.push(Command::Drain(connection));
    }

    /// Sends a PING, unless one is unanswered.
    pub fn ping(&mut self, connection: ConnectionRef) {
        self.commands.push(Command::Ping(connection));
    }

    /// There is work for this connection: call `supply` if it has room, and go on with writes that lacked permission.
    pub fn ask(&mut self, connection: ConnectionRef) {
        self.commands.push(Command::Ask(connection));
    }

    /// There is work for any connection.
    pub fn ask_all(&mut self) {
        self.commands.push(Command::AskAll);
    }

    /// Takes back the matching requests (by connection and tag) that are not wholly with the kernel. Bodies held by flow
    /// control end at once as not processed. A connection with matching requests in encrypted bytes that a full socket
    /// had refused writes nothing any more; it closes when the answers to what it had sent are in, and these requests
    /// end as not processed then.
    pub fn revoke(&mut self, matches: impl FnMut(ConnectionRef, u64) -> bool + 'static) {
        self.commands.push(Command::Revoke(Box::new(matches)));
    }

    /// Connections of this driver, opening and draining ones included.
    pub fn connections(&self) -> usize {
        self.table.count()
    }
}

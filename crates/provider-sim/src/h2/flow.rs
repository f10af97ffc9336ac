//! Flow control both ways: what we may still send, what the client may still send, and answers that wait.

use std::collections::{HashMap, VecDeque};

use super::frame::{self, ErrorCode, WINDOW_DEFAULT, WINDOW_MAX};

/// The windows of one connection.
#[derive(Debug)]
pub(crate) struct Flow {
    /// What the connection may still send.
    send: i64,
    /// The client's SETTINGS_INITIAL_WINDOW_SIZE.
    initial: i64,
    /// Streams whose window differs from `initial`: by how much.
    differing: HashMap<u32, i64>,
    /// Ends of answers that found no room, oldest first.
    waiting: VecDeque<(u32, Vec<u8>)>,
    /// What the client may still send on the connection, and how much it is granted at most.
    receive: i64,
    receive_max: i64,
}

impl Flow {
    pub(crate) fn new(connection_window: u32) -> Self {
        Self {
            send: i64::from(WINDOW_DEFAULT),
            initial: i64::from(WINDOW_DEFAULT),
            differing: HashMap::new(),
            waiting: VecDeque::new(),
            receive: i64::from(WINDOW_DEFAULT),
            receive_max: i64::from(connection_window.max(WINDOW_DEFAULT)),
        }
    }

    /// Grants the whole connection window; part of what a server sends first.
    pub(crate) fn open(&mut self, out: &mut Vec<u8>) {
        if self.receive < self.receive_max {
            frame::write_window_update(0, (self.receive_max - self.receive) as u32, out);
            self.receive = self.receive_max;
        }
    }

    /// Counts `bytes` of a DATA frame, grants more once half of the window is used.
    #[inline]
    pub(crate) fn received(&mut self, bytes: usize, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.receive -= bytes as i64;
        if self.receive < 0 {
            return Err(ErrorCode::FlowControl);
        }
        if self.receive < self.receive_max / 2 {
            self.open(out);
        }
        Ok(())
    }

    /// Writes the DATA that ends `stream`, or keeps what finds no room.
    #[inline]
    pub(crate) fn send_last(&mut self, stream: u32, body: &[u8], out: &mut Vec<u8>) {
        let length = body.len() as i64;
        if self.send >= length
            && self.initial >= length
            && self.differing.is_empty()
            && self.waiting.is_empty()
        {
            self.send -= length;
            frame::write_header(body.len(), frame::DATA, frame::FLAG_END_STREAM, stream, out);
            out.extend_from_slice(body);
        } else {
            self.waiting.push_back((stream, body.to_vec()));
            self.send_waiting(out);
        }
    }

    fn send_waiting(&mut self, out: &mut Vec<u8>) {
        let mut place = 0;
        while place < self.waiting.len() && self.send > 0 {
            let (stream, body) = &mut self.waiting[place];
            let window = self.initial + self.differing.get(stream).copied().unwrap_or(0);
            let length = (body.len() as i64).min(window).min(self.send).max(0) as usize;
            let is_last = length == body.len();
            if length > 0 || is_last {
                let flags = if is_last { frame::FLAG_END_STREAM } else { 0 };
                frame::write_header(length, frame::DATA, flags, *stream, out);
                out.extend(body.drain(..length));
                self.send -= length as i64;
                *self.differing.entry(*stream).or_default() -= length as i64;
            }
            if is_last {
                self.differing.remove(stream);
                self.waiting.remove(place);
            } else {
                place += 1;
            }
        }
    }

    /// WINDOW_UPDATE for the connection.
    pub(crate) fn widen(&mut self, bytes: u32, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.send += i64::from(bytes);
        if self.send > WINDOW_MAX {
            return Err(ErrorCode::FlowControl);
        }
        self.send_waiting(out);
        Ok(())
    }

    /// WINDOW_UPDATE for an open stream.
    pub(crate) fn widen_stream(
        &mut self,
        stream: u32,
        bytes: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), ErrorCode> {
        let differs = self.differing.entry(stream).or_default();
        *differs += i64::from(bytes);
        if self.initial + *differs > WINDOW_MAX {
            return Err(ErrorCode::FlowControl);
        }
        self.send_waiting(out);
        Ok(())
    }

    /// The client's SETTINGS_INITIAL_WINDOW_SIZE; moves every stream's window.
    pub(crate) fn set_initial(&mut self, bytes: u32, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        self.initial = i64::from(bytes);
        if self.initial > WINDOW_MAX {
            return Err(ErrorCode::FlowControl);
        }
        self.send_waiting(out);
        Ok(())
    }

    /// Forgets a stream that has ended.
    #[inline]
    pub(crate) fn forget(&mut self, stream: u32) {
        if !self.differing.is_empty() || !self.waiting.is_empty() {
            self.differing.remove(&stream);
            self.waiting.retain(|(waiting, _)| *waiting != stream);
        }
    }

    /// Whether answers wait for the client's windows.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether `stream` has a window of its own to keep account of.
    pub(crate) fn is_waiting_for(&self, stream: u32) -> bool {
        self.waiting.iter().any(|(waiting, _)| *waiting == stream)
    }
}

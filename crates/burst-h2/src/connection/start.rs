//! Starting a request: HEADERS and DATA appended to the output, and the bodies that flow control holds back.

use super::slots::{NOT_PRODUCED, Slot};
use super::{Connection, WINDOW_MAX};
use crate::frame::{HEAD_BYTES, Head, flag, kind};
use crate::image::Image;
use crate::request::{Full, Request, Values};
use crate::{ConnectionError, ErrorCode, Nanos, Template};

impl Connection {
    /// Starts a request: its frames are appended to the output. What flow control forbids of the body waits here.
    ///
    /// # Errors
    /// [`Full`] when the connection takes no request now; nothing has happened then.
    ///
    /// # Panics
    /// When the number of values is not the template's.
    #[inline]
    pub fn start<V: Values + ?Sized>(&mut self, request: &Request<'_, V>, now: Nanos) -> Result<(), Full> {
        let Request { template, values, tag, deadline } = *request;
        if self.capacity() == 0 {
            return Err(Full);
        }
        let body_bytes = template.body_bytes(values);
        let at_once = body_bytes as i64 <= self.send_window.min(self.peer.window_initial)
            && body_bytes <= self.peer.frame_bytes_max;
        if !at_once && !self.may_hold(body_bytes) {
            return Err(Full);
        }
        let stream = self.next_stream;
        self.next_stream += 2;
        let at = self.slots.take(stream, tag, now, deadline);
        if at_once {
            match self.images.get(template, self.encoder.generation(), values) {
                Some(image) => image.put(values, stream, &mut self.out),
                None => self.compose(template, values, stream, body_bytes),
            }
            self.send_window -= body_bytes as i64;
            let end = self.produced();
            self.slots.get_mut(at).set_end(end);
        } else {
            self.put_headers(template, values, stream, false);
            self.hold(at, stream, template, values);
        }
        Ok(())
    }

    /// Writes a request of which there is no image yet, and makes the image for the next one.
    #[cold]
    fn compose(
        &mut self,
        template: &Template,
        values: &(impl Values + ?Sized),
        stream: u32,
        body_bytes: usize,
    ) {
        self.put_headers(template, values, stream, body_bytes == 0);
        if body_bytes > 0 {
            let head = Head { length: body_bytes, kind: kind::DATA, flags: flag::END_STREAM, stream };
            self.out.extend_from_slice(&head.bytes());
            template.put_body(values, &mut self.out);
        }
        let block = self.encoder.settled(template, values);
        let image = block.and_then(|block| Image::new(template, self.encoder.generation(), block, values));
        if let Some(image) = image {
            self.images.put(image);
        }
    }

    #[cold]
    fn put_headers(
        &mut self,
        template: &Template,
        values: &(impl Values + ?Sized),
        stream: u32,
        is_end: bool,
    ) {
        let head_at = self.out.len();
        self.out.extend_from_slice(&[0; HEAD_BYTES]);
        self.encoder.encode(template, values, &mut self.out);
        let length = self.out.len() - head_at - HEAD_BYTES;
        if length > self.peer.frame_bytes_max {
            self.split_headers(head_at, stream, is_end);
            return;
        }
        let flags = flag::END_HEADERS | if is_end { flag::END_STREAM } else { 0 };
        let head = Head { length, kind: kind::HEADERS, flags, stream };
        self.out[head_at..head_at + HEAD_BYTES].copy_from_slice(&head.bytes());
    }

    /// The block did not fit one frame: HEADERS and CONTINUATION take its place.
    #[cold]
    fn split_headers(&mut self, head_at: usize, stream: u32, is_end: bool) {
        let block = self.out.split_off(head_at + HEAD_BYTES);
        self.out.truncate(head_at);
        let count = block.chunks(self.peer.frame_bytes_max).len();
        for (position, piece) in block.chunks(self.peer.frame_bytes_max).enumerate() {
            let frame_kind = if position == 0 { kind::HEADERS } else { kind::CONTINUATION };
            let mut flags = if position + 1 == count { flag::END_HEADERS } else { 0 };
            if position == 0 && is_end {
                flags |= flag::END_STREAM;
            }
            crate::frame::put(&mut self.out, frame_kind, flags, stream, piece);
        }
    }

    /// One body may wait for the connection's window, so that a peer which opens it only when it is used up does not
    /// stop us for ever; others wait for their stream's window within a limit of bytes.
    fn may_hold(&self, body_bytes: usize) -> bool {
        let is_waiting_for_connection = self.held.bytes as i64 > self.send_window;
        !is_waiting_for_connection && self.held.bytes + body_bytes <= self.config.held_bytes_max
    }

    #[cold]
    fn hold(&mut self, at: u32, stream: u32, template: &Template, values: &(impl Values + ?Sized)) {
        let mut body = Vec::new();
        template.put_body(values, &mut body);
        self.held.bytes += body.len();
        self.held.bytes_max = self.config.held_bytes_max;
        self.held.bodies.push(Body { at, stream, window: self.peer.window_initial, body, sent: 0 });
        self.release_held();
    }

    /// Sends what the windows permit by now.
    #[cold]
    pub(super) fn release_held(&mut self) {
        let mut bodies = std::mem::take(&mut self.held.bodies);
        bodies.retain_mut(|body| !self.send_held(body));
        self.held.bodies = bodies;
    }

    /// Whether the body is sent to its end.
    fn send_held(&mut self, body: &mut Body) -> bool {
        loop {
            let left = body.body.len() - body.sent;
            let window = self.send_window.min(body.window).max(0) as usize;
            let length = left.min(window).min(self.peer.frame_bytes_max);
            if length == 0 {
                return false;
            }
            let is_last = length == left;
            let flags = if is_last { flag::END_STREAM } else { 0 };
            let piece = &body.body[body.sent..body.sent + length];
            crate::frame::put(&mut self.out, kind::DATA, flags, body.stream, piece);
            body.sent += length;
            body.window -= length as i64;
            self.send_window -= length as i64;
            self.held.bytes -= length;
            if is_last {
                let end = self.produced();
                self.slots.get_mut(body.at).set_end(end);
                return true;
            }
        }
    }

    /// The peer widened a stream's window. Streams whose body is sent do not need it any more.
    pub(super) fn widen_stream(&mut self, stream: u32, increment: i64) -> Result<(), ErrorCode> {
        if let Some(body) = self.held.bodies.iter_mut().find(|body| body.stream == stream) {
            body.window += increment;
            if body.window > WINDOW_MAX {
                return Err(ErrorCode::FLOW_CONTROL_ERROR);
            }
        }
        Ok(())
    }

    /// SETTINGS_INITIAL_WINDOW_SIZE changed: the windows of all streams move by the difference, below zero if need be.
    pub(super) fn shift_windows(&mut self, window_initial: i64) -> Result<(), ConnectionError> {
        let difference = window_initial - self.peer.window_initial;
        self.peer.window_initial = window_initial;
        for body in &mut self.held.bodies {
            body.window += difference;
            if body.window > WINDOW_MAX {
                let code = ErrorCode::FLOW_CONTROL_ERROR;
                return Err(ConnectionError::with(code, "settings overflow a stream's window"));
            }
        }
        Ok(())
    }
}

/// Bodies whose rest waits for a window, in the order of their starts.
#[derive(Default)]
pub(super) struct Held {
    bodies: Vec<Body>,
    /// Bytes of them not yet sent.
    bytes: usize,
    bytes_max: usize,
}

struct Body {
    at: u32,
    stream: u32,
    window: i64,
    body: Vec<u8>,
    sent: usize,
}

impl Held {
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        !self.bodies.is_empty() && self.bytes >= self.bytes_max
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.bodies.is_empty()
    }

    /// The request of this slot ended: nothing more of its body is sent.
    #[inline]
    pub(super) fn forget(&mut self, at: u32, slot: &Slot) {
        if slot.end() == NOT_PRODUCED {
            self.drop_body(at);
        }
    }

    #[cold]
    fn drop_body(&mut self, at: u32) {
        if let Some(position) = self.bodies.iter().position(|body| body.at == at) {
            let body = self.bodies.remove(position);
            self.bytes -= body.body.len() - body.sent;
        }
    }
}

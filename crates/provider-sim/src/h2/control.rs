//! The frames that carry no request: SETTINGS, PING, WINDOW_UPDATE, RST_STREAM, GOAWAY, PRIORITY, CONTINUATION.

use super::connection::{Connection, Stop};
use super::frame::{self, ErrorCode, FLAG_ACK, FLAG_END_HEADERS, FrameHeader};
use crate::desk::Desk;

/// Frames that wait to be written, in bytes: whoever makes us answer without reading is cut off here.
const OUT_BYTES_MAX: usize = 4 << 20;

impl Connection {
    pub(super) fn control_frame(
        &mut self,
        header: FrameHeader,
        payload: &[u8],
        desk: &mut Desk,
    ) -> Result<(), Stop> {
        if self.out.len() > OUT_BYTES_MAX {
            return Err(self.violation(ErrorCode::EnhanceYourCalm));
        }
        match header.kind {
            frame::SETTINGS => self.settings(header, payload, desk),
            frame::PING => self.ping(header, payload),
            frame::WINDOW_UPDATE => self.window_update(header, payload),
            frame::RST_STREAM => self.reset(header, payload, desk),
            frame::CONTINUATION => self.continuation(header, payload, desk),
            frame::PRIORITY if header.stream == 0 => Err(self.violation(ErrorCode::Protocol)),
            frame::PUSH_PROMISE => Err(self.violation(ErrorCode::Protocol)),
            frame::GOAWAY if header.stream != 0 => Err(self.violation(ErrorCode::Protocol)),
            frame::GOAWAY if payload.len() < 8 => Err(self.violation(ErrorCode::FrameSize)),
            _ => Ok(()),
        }
    }

    fn settings(&mut self, header: FrameHeader, payload: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        let is_ack = header.has(FLAG_ACK);
        if header.stream != 0 || (!self.has_settings && is_ack) {
            return Err(self.violation(ErrorCode::Protocol));
        }
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() || (is_ack && !payload.is_empty()) {
            return Err(self.violation(ErrorCode::FrameSize));
        }
        if is_ack {
            if self.limit.acknowledge() {
                self.headers.limit_table(desk.config.limits.header_table_bytes as usize);
            }
            return Ok(());
        }
        self.has_settings = true;
        for [a, b, w, x, y, z] in settings {
            self.setting(u16::from_be_bytes([*a, *b]), u32::from_be_bytes([*w, *x, *y, *z]))?;
        }
        frame::write_settings_ack(&mut self.out);
        Ok(())
    }

    fn setting(&mut self, id: u16, value: u32) -> Result<(), Stop> {
        let is_valid = match id {
            frame::SETTINGS_ENABLE_PUSH => value <= 1,
            frame::SETTINGS_MAX_FRAME_SIZE => (16_384..1 << 24).contains(&value),
            _ => true,
        };
        if !is_valid {
            return Err(self.violation(ErrorCode::Protocol));
        }
        match id {
            frame::SETTINGS_HEADER_TABLE_SIZE => self.answers.allow_table(value),
            frame::SETTINGS_INITIAL_WINDOW_SIZE => {
                self.flow.set_initial(value, &mut self.out).map_err(|code| self.violation(code))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn ping(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Stop> {
        if header.stream != 0 {
            return Err(self.violation(ErrorCode::Protocol));
        }
        if payload.len() != 8 {
            return Err(self.violation(ErrorCode::FrameSize));
        }
        if !header.has(FLAG_ACK) {
            frame::write_ping_ack(payload, &mut self.out);
        }
        Ok(())
    }

    fn window_update(&mut self, header: FrameHeader, payload: &[u8]) -> Result<(), Stop> {
        let Ok(bytes) = payload.try_into().map(|bytes| u32::from_be_bytes(bytes) & 0x7fff_ffff) else {
            return Err(self.violation(ErrorCode::FrameSize));
        };
        if bytes == 0 || header.stream > self.last_stream {
            return Err(self.violation(ErrorCode::Protocol));
        }
        let is_known = self.open.contains(header.stream) || self.flow.is_waiting_for(header.stream);
        let widened = match header.stream {
            0 => self.flow.widen(bytes, &mut self.out),
            stream if is_known => self.flow.widen_stream(stream, bytes, &mut self.out),
            _ => Ok(()),
        };
        widened.map_err(|code| self.violation(code))
    }

    fn reset(&mut self, header: FrameHeader, payload: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        if payload.len() != 4 {
            return Err(self.violation(ErrorCode::FrameSize));
        }
        if header.stream == 0 || header.stream > self.last_stream {
            return Err(self.violation(ErrorCode::Protocol));
        }
        self.incomplete.retain(|request| request.stream != header.stream);
        self.flow.forget(header.stream);
        if self.open.remove(header.stream) {
            desk.ledger.counts.cancelled += 1;
        }
        Ok(())
    }

    fn continuation(&mut self, header: FrameHeader, payload: &[u8], desk: &mut Desk) -> Result<(), Stop> {
        let Some(mut unfinished) = self.unfinished.take() else {
            return Err(self.violation(ErrorCode::Protocol));
        };
        unfinished.block.extend_from_slice(payload);
        if unfinished.block.len() > desk.config.limits.header_block_bytes_max as usize {
            return Err(self.violation(ErrorCode::EnhanceYourCalm));
        }
        if !header.has(FLAG_END_HEADERS) {
            self.unfinished = Some(unfinished);
            return Ok(());
        }
        self.header_block(unfinished.stream, unfinished.ends_stream, &unfinished.block, desk)
    }
}

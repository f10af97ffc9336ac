//! What a connection does when the storm hits it.

use super::connection::{Connection, Farewell};
use super::frame::{self, ErrorCode, FLAG_END_HEADERS};
use crate::config::ConnectionFault;
use crate::desk::Desk;

/// Frames of a flood that are written at once, again and again.
const FLOOD_FRAMES: usize = 4_096;
/// Frames that wait to be written when a flood goes on, in bytes: a client that reads slowly does not fill our memory.
const FLOOD_BYTES_MAX: usize = 64 << 10;
/// Bytes of the header list that no client allows.
const GIANT_BYTES: usize = 1 << 20;
/// The largest frame that a client must take.
const FRAME_BYTES: usize = 16_384;
/// CONTINUATION frames of a header block that does not end.
const CONTINUATIONS: usize = 10_000;
/// How far a GOAWAY rises that may not.
const RISE: u32 = 1_000;
/// The last id of a GOAWAY that takes nothing back (RFC 9113, 6.8).
const ALL_STREAMS: u32 = 0x7fff_ffff;

impl Connection {
    /// Counts a request for a device; when the connection's turn has come and it is hit, it happens.
    pub(super) fn weather(&mut self, stream: u32, desk: &mut Desk) {
        let weather = &desk.judge.weather;
        self.device_requests += 1;
        if self.had_turn || !weather.is_turn(self.device_requests, desk.time.now_us) {
            return;
        }
        self.had_turn = true;
        let Some(fault) = weather.take_turn() else { return };
        desk.ledger.counts.connections_hit += 1;
        self.suffer(fault, stream, desk);
    }

    fn suffer(&mut self, fault: ConnectionFault, stream: u32, desk: &mut Desk) {
        use ConnectionFault as Fault;
        match fault {
            Fault::TlsAlert => self.bid(Farewell::Alert),
            Fault::HalfClose => self.bid(Farewell::Fin),
            Fault::CloseNotify => self.bid(Farewell::CloseNotify),
            Fault::Silence => self.bid(Farewell::Silence),
            Fault::Reset | Fault::Stall => {
                // Five bytes of a hundred.
                frame::write_header(100, frame::HEADERS, FLAG_END_HEADERS, stream, &mut self.out);
                self.out.extend_from_slice(&[0x88; 5]);
                let is_reset = fault == Fault::Reset;
                self.bid(if is_reset { Farewell::Reset } else { Farewell::Stall });
            }
            Fault::SettingsFlood | Fault::PingFlood => self.flood = Some(fault),
            Fault::ResetFlood => {
                for stream in (1..=self.last_stream).step_by(2) {
                    if self.open.remove(stream) {
                        frame::write_reset(stream, ErrorCode::Internal, &mut self.out);
                    }
                }
                self.flood = Some(fault);
            }
            Fault::GiantHeaders => self.write_giant(stream),
            Fault::Continuations => {
                self.open.remove(stream);
                frame::write_header(1, frame::HEADERS, 0, stream, &mut self.out);
                self.out.push(0x88);
                for _ in 0..CONTINUATIONS {
                    frame::write_header(0, frame::CONTINUATION, 0, stream, &mut self.out);
                }
            }
            Fault::GoawayTwice => {
                frame::write_goaway(ALL_STREAMS, ErrorCode::NoError, b"", &mut self.out);
                self.is_warned = true;
            }
            Fault::GoawayRising => {
                self.leave(desk);
                let rising = self.last_stream.saturating_add(RISE);
                frame::write_goaway(rising, ErrorCode::NoError, b"", &mut self.out);
            }
            Fault::NoStreams => {
                self.no_streams_until_us =
                    desk.time.now_us + desk.judge.weather.storm().pause.as_micros() as u64;
                self.keep_house(desk);
            }
        }
        self.go_on_flooding();
    }

    /// What is in the output goes out, and nothing after it.
    fn bid(&mut self, farewell: Farewell) {
        self.farewell = Some((farewell, self.out.len()));
    }

    /// An answer of one field in many frames.
    fn write_giant(&mut self, stream: u32) {
        self.open.remove(stream);
        // `:status 200`, then a literal field without indexing: a name of one byte and a value of GIANT_BYTES, whose
        // length is 127 and more in groups of seven bits.
        let mut block = vec![0x88, 0x00, 1, b'x', 0x7f];
        let mut rest = GIANT_BYTES - 127;
        while rest >= 128 {
            block.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        block.push(rest as u8);
        block.resize(block.len() + GIANT_BYTES, b'x');
        let last = block.chunks(FRAME_BYTES).count() - 1;
        for (number, piece) in block.chunks(FRAME_BYTES).enumerate() {
            let kind = if number == 0 { frame::HEADERS } else { frame::CONTINUATION };
            let flags = if number == last { FLAG_END_HEADERS } else { 0 };
            frame::write_header(piece.len(), kind, flags, stream, &mut self.out);
            self.out.extend_from_slice(piece);
        }
    }

    /// Writes more of a flood, unless enough of it waits.
    pub(super) fn go_on_flooding(&mut self) {
        let Some(flood) = self.flood.filter(|_| self.out.len() < FLOOD_BYTES_MAX) else { return };
        for _ in 0..FLOOD_FRAMES {
            match flood {
                ConnectionFault::SettingsFlood => frame::write_settings(&[], &mut self.out),
                ConnectionFault::PingFlood => {
                    frame::write_header(8, frame::PING, 0, 0, &mut self.out);
                    self.out.extend_from_slice(b"anybody?");
                }
                _ => frame::write_reset(1, ErrorCode::Internal, &mut self.out),
            }
        }
    }
}

//! The connection machine: two of them live through the same, but one gets the peer's bytes cut anywhere. They must tell
//! and send the same, end each request once, and send nothing that a careful server would hold against them.

use std::collections::BTreeMap;

use burst_h2::{
    Cause, Connection, ConnectionConfig, DrainReason, End, EndResult, Ends, Event, Field, Nanos, Part,
    Request, Template,
};

use crate::peer::{Account, GivenBack};
use crate::source::Source;
use crate::wire;

/// Body bytes that the limits below let a connection hold back.
const HELD_MAX: usize = 100_000;
const RESETS_MAX: u32 = 5;

/// What a connection told, in the order of telling.
#[derive(Default, PartialEq, Eq, Debug)]
struct Told {
    text: Vec<String>,
    /// By tag, how often it ended.
    ends: BTreeMap<u64, u32>,
    /// Tags of requests that the peer is said not to have processed.
    not_processed: Vec<(u64, Cause)>,
}

impl Ends for Told {
    fn end(&mut self, end: End<'_>) {
        *self.ends.entry(end.tag).or_default() += 1;
        self.text.push(match end.result {
            EndResult::Answered { status, fields, body } => {
                assert!((200..1000).contains(&status), "{status} is no final status");
                let fields: Vec<(&[u8], &[u8])> = fields.iter().collect();
                format!("{} {status} {fields:?} {body:?}", end.tag)
            }
            EndResult::NotProcessed(cause) => {
                self.not_processed.push((end.tag, cause));
                format!("{} not processed {cause:?}", end.tag)
            }
            EndResult::Unknown(cause) => format!("{} unknown {cause:?}", end.tag),
        });
    }

    fn event(&mut self, event: Event<'_>) {
        self.text.push(format!("{event:?}"));
    }
}

/// One of the two.
struct Half {
    connection: Connection,
    told: Told,
    taken: u64,
    written: u64,
}

impl Half {
    fn new(config: &ConnectionConfig) -> Half {
        Half { connection: Connection::new(config, 0), told: Told::default(), taken: 0, written: 0 }
    }

    fn receive(&mut self, bytes: &[u8], now: Nanos) -> bool {
        self.connection.receive(bytes, now, &mut self.told).is_ok()
    }

    fn take(&mut self, bytes: usize) {
        let bytes = bytes.min(self.connection.output().len());
        self.connection.taken(bytes);
        self.taken += bytes as u64;
    }

    /// Some of what was taken is wholly with the kernel.
    fn write(&mut self, bytes: usize) {
        self.written = self.taken.min(self.written + bytes as u64);
        self.connection.written_through(self.written);
    }
}

struct Pair {
    whole: Half,
    cut: Half,
    account: Account,
    given_back: GivenBack,
    /// How many of `not_processed` were looked at.
    judged: usize,
    /// Output of `whole` that the account has seen and that was not taken.
    accounted: usize,
    templates: [Template; 2],
    now: Nanos,
    next_tag: u64,
    is_broken: bool,
}

pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let mut pair = Pair::new(config(source.byte()));
    pair.compare();
    while !source.is_empty() && !pair.is_broken {
        pair.step(&mut source);
        pair.compare();
    }
    pair.close();
}

fn config(choice: u8) -> ConnectionConfig {
    ConnectionConfig {
        header_table_bytes: if choice & 1 == 0 { 0 } else { 4096 },
        keeps_success_bodies: choice & 2 != 0,
        streams_max: if choice & 4 == 0 { 50 } else { 3 },
        stream_id_max: if choice & 8 == 0 { (1 << 31) - 1 } else { 41 },
        held_bytes_max: HELD_MAX,
        timeouts_max: 4,
        resets_max: RESETS_MAX,
        noise_max: if choice & 16 == 0 { 2000 } else { 20 },
        answer_fields_bytes_max: 200,
        answer_body_bytes_max: 100,
        answers_bytes_max: 500,
        header_block_bytes_max: 1000,
        continuations_max: 3,
    }
}

impl Pair {
    fn new(config: ConnectionConfig) -> Pair {
        let template = |topic: &str| {
            let fields = vec![
                Field::constant(":method", "POST"),
                Field::constant(":scheme", "https"),
                Field::varying(":path"),
                Field::constant("apns-topic", topic),
            ];
            Template::with_body(fields, vec![Part::Varying]).expect("a legal template")
        };
        Pair {
            whole: Half::new(&config),
            cut: Half::new(&config),
            account: Account::new(),
            given_back: GivenBack::default(),
            judged: 0,
            accounted: 0,
            templates: [template("one"), template(&"two".repeat(400))],
            now: 0,
            next_tag: 0,
            is_broken: false,
        }
    }

    fn step(&mut self, source: &mut Source<'_>) {
        match source.byte() % 16 {
            0 => {
                let bytes = source.short();
                self.receive(bytes, source.byte());
            }
            1 => {
                let (kind, flags, stream) = (source.byte() % 11, source.byte(), source.byte());
                let frame = wire::frame(kind, flags, stream.into(), source.short());
                self.receive(&frame, source.byte());
            }
            2 => {
                const BLOCKS: [&[u8]; 6] =
                    [&[0x88], &[0x8c], &[0x48, 3, b'4', b'1', b'0'], &[8, 3, b'1', b'0', b'0'], &[0xbe], b""];
                let (block, flags, stream) = (source.choose(&BLOCKS), source.byte(), source.byte());
                let block = [block, source.short()].concat();
                self.receive(&wire::frame(wire::HEADERS, flags, u32::from(stream) * 2 + 1, &block), 7);
            }
            3 => {
                let stream = u32::from(source.byte()) * 2 + 1;
                let data = vec![b'd'; usize::from(source.u16()) % 16_385];
                self.receive(&wire::frame(wire::DATA, source.byte(), stream, &data), source.byte());
            }
            4 | 5 => self.start(source),
            6 => self.receive(&wire::setting(u16::from(source.byte() % 8), source.u32()), 3),
            7 => {
                let number = source.u32().to_be_bytes();
                self.receive(&wire::frame(wire::WINDOW_UPDATE, 0, source.byte().into(), &number), 11);
            }
            8 => self.each(|half| half.take(usize::MAX)),
            9 => {
                let bytes = usize::from(source.u16());
                self.each(|half| half.take(bytes));
            }
            10 => {
                let bytes = usize::from(source.u16());
                self.each(|half| half.write(bytes));
            }
            11 => {
                self.now += u64::from(source.u16()) * 1_000_000;
                self.expire();
            }
            12 => self.each(|half| half.connection.release()),
            13 => {
                let now = self.now;
                self.each(|half| half.connection.ping(now));
            }
            14 => {
                let mask = u64::from(source.byte());
                self.each(|half| {
                    half.connection.revoke(|tag| tag & 7 == mask & 7, &mut half.told);
                });
            }
            _ => self.rarely(source.byte()),
        }
    }

    fn rarely(&mut self, choice: u8) {
        match choice % 4 {
            0 => self.each(|half| half.connection.drain(&mut half.told)),
            1 => self.receive(&wire::frame(wire::GOAWAY, 0, 0, &[0, 0, 0, choice, 0, 0, 0, 0]), choice),
            2 => {
                let code = if choice & 4 == 0 { 7 } else { 8 };
                self.receive(
                    &wire::frame(wire::RST_STREAM, 0, u32::from(choice >> 3) * 2 + 1, &[0, 0, 0, code]),
                    1,
                );
            }
            // Buffers may be exchanged at any time; only one of the two does it.
            _ => self.cut.connection.exchange_buffer(&mut vec![1, 2, 3]),
        }
    }

    fn each(&mut self, mut deed: impl FnMut(&mut Half)) {
        let before = self.whole.taken;
        deed(&mut self.whole);
        deed(&mut self.cut);
        self.accounted -= (self.whole.taken - before) as usize;
    }

    fn receive(&mut self, bytes: &[u8], cuts: u8) {
        let is_good = self.whole.receive(bytes, self.now);
        let mut is_cut_good = true;
        for piece in bytes.chunks(usize::from(cuts % 23) + 1) {
            is_cut_good = is_cut_good && self.cut.receive(piece, self.now);
        }
        if bytes.is_empty() {
            is_cut_good = self.cut.receive(bytes, self.now);
        }
        assert_eq!(is_good, is_cut_good, "one of the two broke");
        self.is_broken = !is_good;
        self.given_back.received(bytes);
        if is_good {
            self.account.received(bytes);
            return;
        }
        self.each(|half| half.connection.release());
        let output = self.whole.connection.output();
        let mut last = &output[output.len() - 17..];
        let last = wire::take(&mut last).expect("a whole frame");
        assert!(
            (last.kind, last.stream) == (wire::GOAWAY, 0),
            "an error is told, and nothing behind it: {last:?}"
        );
        assert!(last.number(4) != 0, "it has a code");
    }

    fn start(&mut self, source: &mut Source<'_>) {
        let choice = source.byte();
        let body = vec![b'b'; usize::from(source.u16()) % if choice & 2 == 0 { 300 } else { 60_000 }];
        let path = vec![b'/'; usize::from(source.byte())];
        let deadline =
            if choice & 4 == 0 { Nanos::MAX } else { self.now + u64::from(source.u16()) * 1_000_000 };
        let request = Request {
            template: &self.templates[usize::from(choice & 1)],
            values: &[&path[..], &body],
            tag: self.next_tag,
            deadline,
        };
        let capacity = self.whole.connection.capacity();
        let started = self.whole.connection.start(&request, self.now);
        assert_eq!(started, self.cut.connection.start(&request, self.now));
        if started.is_ok() {
            assert!(capacity > 0, "started without capacity");
            assert!(self.whole.connection.open() <= self.whole.connection.stream_limit());
            self.next_tag += 1;
        }
    }

    fn expire(&mut self) {
        let whole = self.whole.connection.expire(self.now, &mut self.whole.told).is_ok();
        let cut = self.cut.connection.expire(self.now, &mut self.cut.told).is_ok();
        assert_eq!(whole, cut);
        self.is_broken = !whole;
        if whole {
            let next = self.whole.connection.next_deadline();
            assert!(next.is_none_or(|at| at > self.now), "a deadline that has passed is still to come");
        }
    }

    /// After each step.
    fn compare(&mut self) {
        assert_eq!(self.whole.told, self.cut.told);
        self.judge();
        let (whole, cut) = (&self.whole.connection, &self.cut.connection);
        assert!(whole.output() == cut.output(), "different outputs");
        assert_eq!(
            (whole.open(), whole.capacity(), whole.draining(), whole.holds_bodies(), whole.is_finished()),
            (cut.open(), cut.capacity(), cut.draining(), cut.holds_bodies(), cut.is_finished()),
        );
        let ended: u64 = self.whole.told.ends.values().map(|&count| u64::from(count)).sum();
        assert_eq!(u64::from(whole.open()) + ended, self.next_tag, "a request was lost or ended twice");
        if self.is_broken {
            // The peer's error may stand behind frames of which the account does not know whether they were taken.
            return;
        }
        let news = &whole.output()[self.accounted..];
        self.account.sent(news);
        self.accounted += news.len();
        assert!(self.account.resets <= RESETS_MAX, "too many resets");
        assert!(self.account.resets < RESETS_MAX || whole.draining().is_some(), "the last reset drains");
        assert_eq!(self.account.requests, self.next_tag, "each request has its HEADERS");
        assert!(self.account.is_answered(), "SETTINGS or PING without an answer");
        assert!(whole.draining().is_none() || whole.capacity() == 0, "a draining connection takes requests");
        if matches!(whole.draining(), Some(DrainReason::GoAway { last_stream, .. }) if last_stream == 0) {
            assert_eq!(whole.open(), 0, "GOAWAY with 0 gives all back");
        }
        assert_eq!(self.account.goodbyes, 0, "GOAWAY is said of an error only");
    }

    /// Who is told that a request was not processed sends it again: a device that gets a message twice is what must not
    /// happen. It may be said of a request that was never wholly written, and of one that the peer gave back itself.
    /// Whatever the account has not seen of the output was not written either.
    fn judge(&mut self) {
        let (account, written) = (&self.account, self.whole.written);
        for &(tag, cause) in &self.whole.told.not_processed[self.judged..] {
            let stream = account.stream_of(tag);
            let may = match cause {
                Cause::Refused => self.given_back.is_refused(stream),
                Cause::GoAway => self.given_back.is_above(stream),
                _ => !account.is_whole(stream, written),
            };
            assert!(may, "request {tag} on stream {stream} may have been processed: {cause:?}");
        }
        self.judged = self.whole.told.not_processed.len();
    }

    fn close(mut self) {
        for half in [&mut self.whole, &mut self.cut] {
            let gone = Connection::new(&config(0), 0);
            std::mem::replace(&mut half.connection, gone).close(Cause::Local, &mut half.told);
        }
        self.judge();
        let (whole, cut) = (&self.whole.told, &self.cut.told);
        assert_eq!(whole, cut);
        assert!(whole.ends.values().all(|&count| count == 1), "a request ended twice");
        assert!(whole.ends.keys().copied().eq(0..self.next_tag), "a request has no end");
    }
}

/// Transcripts of ordinary lives, in the language of the steps above.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let ready = [6, 0, 0, 0, 0, 0];
    let start = |body: u16| [&[4, 2][..], &body.to_be_bytes(), &[9]].concat();
    let answer = |stream: u8, block: u8, flags: u8| vec![2, block, flags, stream, 0];
    let all = [8, 10, 255, 255];
    let life = |config: u8, steps: &[&[u8]]| [&[config][..], &ready, &steps.concat()].concat();
    vec![
        life(0, &[&start(10), &all, &answer(0, 0, 5)]),
        life(1, &[&start(10), &start(0), &all, &answer(1, 1, 4), &[3, 1, 0, 9, 1, 5], &answer(0, 2, 5)]),
        // A small window, a body held back, widened, and reset by its deadline.
        life(0, &[&[6, 4, 0, 0, 0, 5], &start(100), &all, &[7, 0, 0, 0, 50, 1], &[12], &[11, 255, 255]]),
        // Deadlines of many.
        life(0, &[&[4, 6, 0, 9, 1, 0, 5].repeat(12), &all, &[11, 0, 9], &answer(0, 0, 5), &answer(3, 0, 5)]),
        // GOAWAY, a refusal, a reset, trailers, an interim answer.
        life(
            2,
            &[
                &start(5).repeat(4),
                &all,
                &[15, 1],
                &[15, 2],
                &answer(0, 3, 4),
                &answer(0, 0, 4),
                &answer(0, 5, 5),
            ],
        ),
        // A header block in pieces, PING, an unknown frame.
        life(
            1,
            &[
                &start(5),
                &all,
                &[1, 1, 1, 1, 1, 0x88, 9],
                &[1, 9, 4, 1, 0, 3],
                &[1, 6, 0, 0, 8],
                &[0; 8],
                &[2],
            ],
        ),
        // Frames cut by hand.
        life(0, &[&start(5), &all, &[0, 10, 0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88, 4]]),
        // Ids end, then the limit falls to 0 and comes back.
        life(8, &[&start(0).repeat(25), &all, &[6, 3, 0, 0, 0, 0], &answer(0, 0, 5), &[6, 3, 0, 0, 0, 9]]),
    ]
}

//! Measures the protocol alone, without sockets and TLS: nanoseconds to start a request and to take its answer, as the
//! best of many short slices, so that other load on the machine does not matter.

use std::time::Duration;

use burst_h2::{Connection, ConnectionConfig, End, Ends, Field, Part, Request, Template};

struct Count(u64);

impl Ends for Count {
    fn end(&mut self, end: End<'_>) {
        self.0 += end.tag & 1;
    }
}

fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn main() {
    const BATCH: u32 = 200;
    let block = std::env::args().nth(1).unwrap_or_else(|| "88".into());
    let block: Vec<u8> = (0..block.len() / 2)
        .map(|i| u8::from_str_radix(&block[i * 2..i * 2 + 2], 16).expect("hex"))
        .collect();
    let fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::constant(":authority", "localhost"),
        Field::varying(":path"),
        Field::constant("apns-topic", "com.example.fanfare"),
        Field::constant("authorization", "x".repeat(200)),
    ];
    let body = vec![Part::constant([b'b'; 191])];
    let template = Template::with_body(fields, body).expect("fields are legal");
    let path = [b'p'; 74];
    let mut count = Count(0);
    let mut connection = Connection::new(&ConnectionConfig::default(), 0);
    let beginning = [frame(4, 0, 0, &[]), frame(8, 0, 0, &(1u32 << 30).to_be_bytes())].concat();
    connection.receive(&beginning, 0, &mut count).expect("the protocol");
    let mut best = (Duration::MAX, Duration::MAX);
    let mut stream = 1;
    for slice in 0..20_000u64 {
        let began = now();
        for tag in 0..u64::from(BATCH) {
            let request = Request {
                template: &template,
                values: &[&path[..]],
                tag,
                deadline: slice * 1000 + 10_000_000_000,
            };
            connection.start(&request, slice * 1000).expect("there is room");
        }
        let started = now();
        let bytes = connection.output().len();
        connection.taken(bytes);
        let answers: Vec<u8> = (0..BATCH).flat_map(|n| frame(1, 5, stream + 2 * n, &block)).collect();
        stream += 2 * BATCH;
        let answering = now();
        connection.receive(&answers, slice * 1000, &mut count).expect("the protocol");
        let answered = now();
        best = (best.0.min(started - began), best.1.min(answered - answering));
        if slice % 1000 == 0 {
            let widen = frame(8, 0, 0, &(200u32 * 191 * 1000).to_be_bytes());
            connection.receive(&widen, 0, &mut count).expect("the protocol");
        }
    }
    let nanos = |time: Duration| time.as_nanos() as f64 / f64::from(BATCH);
    println!(
        "start {:.1} ns, answer {:.1} ns per request ({} odd tags)",
        nanos(best.0),
        nanos(best.1),
        count.0
    );
}

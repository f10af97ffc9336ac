//! The decoder against a plain one, by way of answers: whatever blocks a peer sends, both read the same fields or refuse
//! them.

use burst_h2::{
    Connection, ConnectionConfig, ConnectionError, End, EndResult, Ends, ErrorCode, Field, Nanos, Request,
    Template,
};

use crate::reference::{Pair, Reference};
use crate::source::Source;
use crate::wire;

type Pairs = Vec<Pair>;

/// The end of the one request that was open.
#[derive(Default)]
struct Answer(Option<Option<(u16, Pairs)>>);

impl Ends for Answer {
    fn end(&mut self, end: End<'_>) {
        self.0 = Some(match end.result {
            EndResult::Answered { status, fields, .. } => {
                Some((status, fields.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()))
            }
            _ => None,
        });
    }
}

/// A choice of table, then blocks: how they begin, their length, their rest.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let table_bytes = source.choose(&[0, 100, 4096]);
    let config = ConnectionConfig {
        header_table_bytes: table_bytes,
        header_block_bytes_max: 16_384,
        answer_fields_bytes_max: 1 << 20,
        answers_bytes_max: 1 << 20,
        resets_max: u32::MAX,
        ..ConnectionConfig::default()
    };
    let mut connection = Connection::new(&config, 0);
    let mut other = Reference::new(table_bytes as usize);
    let mut answer = Answer::default();
    connection.receive(&wire::frame(wire::SETTINGS, 0, 0, &[]), 0, &mut answer).expect("SETTINGS are fine");
    let template = template();
    let mut stream = 1;
    while !source.is_empty() {
        let begin = source.byte();
        let block = [beginning(begin), source.short()].concat();
        let request = Request { template: &template, values: &[&b"/"[..]], tag: 0, deadline: Nanos::MAX };
        connection.start(&request, 0).expect("there is room for one");
        let frame = wire::frame(wire::HEADERS, wire::END_HEADERS | wire::END_STREAM, stream, &block);
        let received = connection.receive(&frame, 0, &mut answer);
        connection.taken(connection.output().len());
        stream += 2;
        let read = other.decode(&block);
        match received {
            Err(ConnectionError::Protocol { code, .. }) => {
                assert_eq!(code, ErrorCode::COMPRESSION_ERROR);
                assert!(read.is_none(), "{block:x?} was refused and is {read:?}");
                return;
            }
            Err(error) => panic!("{error}"),
            Ok(()) => {
                let ours = answer.0.take().expect("END_STREAM ends the request");
                let is_success = ours.as_ref().is_some_and(|(status, _)| *status < 300);
                // Values that nobody keeps are passed over: the other one minds when their Huffman code is broken.
                assert!(read.is_some() || is_success, "{block:x?} is no block, and was read");
                let Some(read) = read else { return };
                compare(ours, &read, &block);
            }
        }
    }
}

/// What blocks begin with: a status, and a table size update before it.
fn beginning(choice: u8) -> &'static [u8] {
    const BEGINNINGS: [&[u8]; 8] = [
        &[0x88],
        &[0x08, 3, b'4', b'1', b'0'],
        &[0x48, 3, b'4', b'2', b'9'],
        &[0x20, 0x88],
        &[0x3f, 0x45, 0x8c],
        &[0x20, 0x3f, 0x45, 0x8c],
        &[0x8d],
        &[],
    ];
    BEGINNINGS[usize::from(choice) % BEGINNINGS.len()]
}

fn template() -> Template {
    let fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::varying(":path"),
    ];
    Template::new(fields).expect("a legal template")
}

/// Ours against what RFC 9113 says of the fields that the other decoder read.
fn compare(ours: Option<(u16, Pairs)>, read: &Pairs, block: &[u8]) {
    let status = match read.first() {
        Some((name, value)) if name == b":status" => std::str::from_utf8(value).ok(),
        _ => None,
    };
    let status = status.filter(|text| text.len() == 3 && !text.starts_with('0'));
    let status: Option<u16> =
        status.filter(|text| text.bytes().all(|b| b.is_ascii_digit())).and_then(|t| t.parse().ok());
    let is_name = |name: &[u8]| {
        const HTTP_1: [&[u8]; 5] =
            [b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"];
        let is_plain = |b: &u8| b.is_ascii_graphic() && !b.is_ascii_uppercase() && *b != b':';
        !name.is_empty() && name.iter().all(is_plain) && !HTTP_1.contains(&name)
    };
    let is_value = |value: &[u8]| {
        let edge = |b: Option<&u8>| matches!(b, Some(b' ' | b'\t'));
        !edge(value.first()) && !edge(value.last()) && !value.iter().any(|b| b"\0\r\n".contains(b))
    };
    let fields = read.get(1..).unwrap_or_default();
    let names = fields.iter().all(|(name, _)| is_name(name));
    let values = fields.iter().all(|(_, value)| is_value(value));
    let expected = match status {
        Some(status @ 200..300) if names => Some((status, Vec::new())),
        Some(status @ 300..) if names && values => Some((status, fields.to_vec())),
        _ => None,
    };
    assert_eq!(ours, expected, "of {block:x?}, read as {read:?}");
}

/// Blocks of RFC 7541, appendix C, and of servers.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let blocks = |table: u8, blocks: &[(u8, &[u8])]| {
        let mut seed = vec![table];
        for (begin, block) in blocks {
            seed.extend_from_slice(&[*begin, block.len() as u8]);
            seed.extend_from_slice(block);
        }
        seed
    };
    let literal: &[u8] = b"\x40\x0acustom-key\x0dcustom-header";
    let huffman: &[u8] = b"\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf";
    vec![
        blocks(0, &[(0, b"\x76\x85\xaa\x63\x55\xe7\x6b\x61\x03day\x5f\x010"), (3, b"\x0f\x0d\x0242")]),
        blocks(2, &[(1, literal), (1, b"\xbe"), (0, b"\xbe"), (2, huffman), (1, b"\xbe\xbf\xc0")]),
        blocks(2, &[(4, literal), (1, huffman), (5, b"\xbe"), (1, b"\x10\x08password\x06secret")]),
        blocks(1, &[(1, literal), (1, huffman), (1, b"\x7e\x03abc"), (0, b"\xbe")]),
        blocks(2, &[(0, b"\x00\x0aconnection\x05close"), (0, b"\x82"), (7, b"\x88\x88")]),
        blocks(2, &[(1, b"\x00\x01a\x02 b"), (1, b"\x00\x01A\x01b"), (6, b"\x61\x96\xd0\x7a")]),
    ]
}

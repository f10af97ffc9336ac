//! The encoder against an independent decoder: whatever templates take turns and however the peer's table changes, the
//! other side reads the fields that were meant.

use burst_h2::{Connection, ConnectionConfig, End, Ends, Field, Nanos, Request, Template};
use httlib_hpack::Decoder;

use crate::source::Source;
use crate::wire;

const NAMES: [&str; 8] = [
    "authorization",
    "apns-topic",
    "apns-id",
    "apns-expiration",
    "content-type",
    "x",
    "user-agent",
    "accept-encoding",
];
/// Others could be encoded with no more of interest.
const TEMPLATES_MAX: usize = 8;

struct Silent;

impl Ends for Silent {
    fn end(&mut self, _: End<'_>) {}
}

/// Steps: a new template, a request, a new table size of the peer.
pub(crate) fn run(data: &[u8]) {
    let mut source = Source::new(data);
    let config = ConnectionConfig { streams_max: u32::MAX, ..ConnectionConfig::default() };
    let mut connection = Connection::new(&config, 0);
    let mut other = Decoder::with_dynamic_size(4096);
    connection.receive(&wire::frame(wire::SETTINGS, 0, 0, &[]), 0, &mut Silent).expect("SETTINGS are fine");
    connection.taken(connection.output().len());
    let mut templates = vec![template(&mut Source::new(b""))];
    while !source.is_empty() {
        match source.byte() % 8 {
            0 if templates.len() < TEMPLATES_MAX => templates.push(template(&mut source)),
            0 | 1 => {
                let at = usize::from(source.byte()) % templates.len();
                templates[at] = template(&mut source);
            }
            2 => {
                // Twice in one frame now and then: the smaller one must be told.
                let sizes = [table_size(&mut source), table_size(&mut source)];
                let count = usize::from(source.byte() % 2) + 1;
                for size in &sizes[..count] {
                    other.set_max_dynamic_size(*size);
                }
                let payload: Vec<u8> = sizes[..count]
                    .iter()
                    .flat_map(|size| [&[0, 1][..], &size.to_be_bytes()].concat())
                    .collect();
                let frame = wire::frame(wire::SETTINGS, 0, 0, &payload);
                if connection.receive(&frame, 0, &mut Silent).is_err() {
                    // More SETTINGS than the connection puts up with.
                    return;
                }
                connection.taken(connection.output().len());
            }
            _ => {
                let at = usize::from(source.byte()) % templates.len();
                request(&mut connection, &mut other, &templates[at], &mut source);
            }
        }
    }
}

fn table_size(source: &mut Source<'_>) -> u32 {
    match source.byte() % 4 {
        0 => 0,
        1 => 4096,
        2 => source.byte().into(),
        _ => source.u16().into(),
    }
}

/// Any number of constant and varying fields; long values as OAuth has them.
fn template(source: &mut Source<'_>) -> Template {
    let mut fields = vec![
        Field::constant(":method", "POST"),
        Field::constant(":scheme", "https"),
        Field::varying(":path"),
        Field::constant(
            ":authority",
            if source.byte() & 1 == 0 { "api.push.apple.com" } else { "localhost" },
        ),
    ];
    for _ in 0..source.byte() % 6 {
        let name = source.choose(&NAMES);
        let kind = source.byte();
        fields.push(match kind % 4 {
            0 => Field::varying(name),
            1 => Field::constant(name, vec![b'a' + kind % 26; usize::from(source.u16()) % 4_500]),
            _ => Field::constant(name, vec![b'a' + kind % 26; usize::from(kind)]),
        });
    }
    Template::new(fields).expect("a legal template")
}

fn request(
    connection: &mut Connection,
    other: &mut Decoder<'_>,
    template: &Template,
    source: &mut Source<'_>,
) {
    let values: Vec<&[u8]> = (0..template.varying_count()).map(|_| source.short()).collect();
    let request = Request { template, values: &values[..], tag: 0, deadline: Nanos::MAX };
    connection.start(&request, 0).expect("nothing limits it");
    let mut block = Vec::new();
    let mut output = connection.output();
    while let Some(frame) = wire::take(&mut output) {
        assert!(matches!(frame.kind, wire::HEADERS | wire::CONTINUATION));
        block.extend_from_slice(frame.payload);
    }
    connection.taken(connection.output().len());
    let mut read = Vec::new();
    other.decode(&mut block.clone(), &mut read).unwrap_or_else(|error| panic!("{error:?} in {block:x?}"));
    let mut values = values.into_iter();
    let meant = template.fields().iter().map(|field| match field {
        Field::Constant { name, value } => (name.as_bytes(), &value[..]),
        Field::Varying { name } => (name.as_bytes(), values.next().expect("counted")),
    });
    assert!(read.iter().map(|(name, value, _)| (&name[..], &value[..])).eq(meant), "read {read:?}");
}

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let request = |at: u8| vec![3, at, 2, b'/', b'a', 1, b'i'];
    let long = [0, 0, 2, 0, 1, 0x07, 0xd0, 1, 3];
    vec![
        [request(0), request(0), request(0)].concat(),
        // A long authorization, renewed, and the table shrunk under it.
        [&long[..], &request(1), &request(1), &[1, 1, 0, 1, 0, 5, 0x07, 0xd0], &request(1), &request(1)]
            .concat(),
        [&long[..], &request(1), &[2, 0, 1, 1], &request(1), &request(0), &[2, 1, 1, 0], &request(1)]
            .concat(),
        [&long[..], &request(1), &[2, 3, 0x04, 0x00, 1, 0], &request(1), &request(1), &request(0)].concat(),
    ]
}

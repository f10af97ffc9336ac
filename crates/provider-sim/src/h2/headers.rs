//! Reads header blocks into [`Head`]s. Blocks of a shape that came before are not decoded again.

use model::Platform;

use super::request::{Head, Receiver};
use crate::hpack::{Corrupt, Decoder, Shape};

/// Shapes remembered for a connection: one for each kind of request that a client mixes on it.
const SHAPES_MAX: usize = 4;

/// One connection's reader.
#[derive(Debug)]
pub(crate) struct HeaderReader {
    decoder: Decoder,
    receiver: Receiver,
    /// Shapes, and what the constant part of each says; the latest used first.
    known: Vec<(Shape, Head)>,
    scratch: Vec<u8>,
    project: Vec<u8>,
}

impl HeaderReader {
    pub(super) fn new(table_bytes: usize, platform: Platform, watches_credentials: bool) -> Self {
        Self {
            decoder: Decoder::new(table_bytes),
            receiver: Receiver { platform, watches_credentials },
            known: Vec::new(),
            scratch: Vec::new(),
            project: Vec::new(),
        }
    }

    /// The client acknowledged our table size.
    pub(super) fn limit_table(&mut self, bytes: usize) {
        self.decoder.limit(bytes);
    }

    /// Whether credentials have to be looked at.
    pub(super) fn watches_credentials(&self) -> bool {
        self.receiver.watches_credentials
    }

    /// FCM: the project that the latest path named.
    pub(super) fn project(&self) -> &[u8] {
        &self.project
    }

    /// What `block` says.
    #[inline]
    pub(super) fn read(&mut self, block: &[u8]) -> Result<Head, Corrupt> {
        match self.read_known(block) {
            Some(head) => Ok(head),
            None => self.decode(block),
        }
    }

    #[inline]
    fn read_known(&mut self, block: &[u8]) -> Option<Head> {
        let Self { decoder, receiver, known, scratch, project } = self;
        for place in 0..known.len() {
            let (shape, constant) = &known[place];
            let mut head = constant.clone();
            let visit = |name, value: &[u8]| head.value(receiver, name, value, project);
            if shape.read(block, decoder.generation(), scratch, visit) {
                if place > 0 {
                    known.swap(0, place);
                }
                return Some(head);
            }
        }
        None
    }

    #[cold]
    fn decode(&mut self, block: &[u8]) -> Result<Head, Corrupt> {
        let generation = self.decoder.generation();
        let (mut head, mut constant) = (Head::new(), Head::new());
        let Self { decoder, receiver, project, .. } = self;
        decoder.decode(block, |name, value, is_indexed| {
            head.take(receiver, name, value, project);
            constant.mark(name);
            if is_indexed {
                constant.value(receiver, name, value, project);
            }
        })?;
        if generation == self.decoder.generation()
            && let Some(shape) = Shape::of(block, &self.decoder)
        {
            self.known.truncate(SHAPES_MAX - 1);
            self.known.insert(0, (shape, constant));
        }
        Ok(head)
    }
}

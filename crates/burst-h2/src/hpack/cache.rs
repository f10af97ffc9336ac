//! Blocks of templates as the encoder would write them now, with cuts where the varying values go.

use super::integer;

/// Templates that a connection alternates between without encoding anew.
const BLOCKS_MAX: usize = 32;

pub(crate) struct Cached {
    template: u64,
    generation: u64,
    pub(crate) bytes: Vec<u8>,
    /// Offsets in `bytes` before which the next varying value stands.
    cuts: Vec<u32>,
}

impl Cached {
    pub(crate) fn new(template: u64, generation: u64) -> Cached {
        Cached { template, generation, bytes: Vec::new(), cuts: Vec::new() }
    }

    /// The next varying value stands here.
    pub(crate) fn cut(&mut self) {
        self.cuts.push(self.bytes.len() as u32);
    }

    #[inline]
    pub(crate) fn put(&self, varying: &[&[u8]], out: &mut Vec<u8>) {
        let mut from = 0;
        for (&cut, value) in self.cuts.iter().zip(varying) {
            out.extend_from_slice(&self.bytes[from..cut as usize]);
            integer::put_string(out, value);
            from = cut as usize;
        }
        out.extend_from_slice(&self.bytes[from..]);
    }
}

#[derive(Default)]
pub(crate) struct Cache {
    blocks: Vec<Cached>,
    /// The one used last: nearly always the one used next.
    last: usize,
    /// Where the next one goes once the cache is full.
    oldest: usize,
}

impl Cache {
    #[inline]
    pub(crate) fn get(&mut self, template: u64, generation: u64) -> Option<&Cached> {
        let is_good = |c: &Cached| c.template == template && c.generation == generation;
        if !self.blocks.get(self.last).is_some_and(is_good) {
            self.last = self.blocks.iter().position(is_good)?;
        }
        self.blocks.get(self.last)
    }

    pub(crate) fn put(&mut self, cached: Cached) {
        let same = self.blocks.iter().position(|c| c.template == cached.template);
        if let Some(position) = same {
            self.blocks[position] = cached;
        } else if self.blocks.len() < BLOCKS_MAX {
            self.blocks.push(cached);
        } else {
            self.blocks[self.oldest] = cached;
            self.oldest = (self.oldest + 1) % BLOCKS_MAX;
        }
    }
}

//! Every target takes its own seeds, and what little changes make of them, without finding anything.

use fuzz::TARGETS;

/// Changed inputs per seed.
const CHANGES: u32 = 200;

/// A small generator of Marsaglia's: what it gives is the same in each run.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % below.max(1)
    }
}

/// Bytes changed, put in, taken out, or joined with a part of another seed.
fn changed(seed: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut input = seed.to_vec();
    for _ in 0..=random.next(6) {
        let at = random.next(input.len());
        match random.next(5) {
            0 if !input.is_empty() => input[at] = random.next(256) as u8,
            1 if !input.is_empty() => input[at] ^= 1 << random.next(8),
            2 => input.insert(at, random.next(256) as u8),
            3 if !input.is_empty() => drop(input.remove(at)),
            _ => input.extend_from_slice(&other[random.next(other.len() + 1)..]),
        }
    }
    input
}

#[test]
fn seeds_and_changes_of_them_find_nothing() {
    for target in TARGETS {
        let seeds = (target.seeds)();
        assert!(!seeds.is_empty(), "{} has seeds", target.name);
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        for seed in &seeds {
            (target.run)(seed);
            for _ in 0..CHANGES {
                let other = &seeds[random.next(seeds.len())];
                (target.run)(&changed(seed, other, &mut random));
            }
        }
    }
}

#[test]
fn the_empty_input_is_fine() {
    for target in TARGETS {
        (target.run)(b"");
    }
}

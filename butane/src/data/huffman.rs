//! The size of a block of DEFLATE: how many bits its symbols take in the fixed code, and in the best one of its own.

/// Literals, the end of a block, and lengths.
const LITERALS: usize = 286;
const OFFSETS: usize = 30;
const END: usize = 256;
const LENGTHS: usize = 19;

/// How often each symbol occurs in a block.
pub(super) struct Symbols {
    literals: [u32; LITERALS],
    offsets: [u32; OFFSETS],
    count: usize,
    extra_bits: usize,
}

impl Symbols {
    pub(super) fn new() -> Symbols {
        Symbols { literals: [0; LITERALS], offsets: [0; OFFSETS], count: 0, extra_bits: 0 }
    }

    pub(super) fn clear(&mut self) {
        *self = Symbols::new();
    }

    /// Literals and matches.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn add_literal(&mut self, byte: u8) {
        self.literals[usize::from(byte)] += 1;
        self.count += 1;
    }

    pub(super) fn add_match(&mut self, length: usize, offset: usize) {
        // The longest length has a code of its own.
        let (code, bits) = if length == 258 { (28, 0) } else { bucket(length - 3, 2) };
        self.literals[END + 1 + code] += 1;
        let (offset, offset_bits) = bucket(offset - 1, 1);
        self.offsets[offset] += 1;
        self.extra_bits += bits + offset_bits;
        self.count += 1;
    }

    /// The bits of the block, unless as many stored ones are fewer: then `None`.
    ///
    /// A block without matches has one offset all the same, as the header of a code of its own needs one. The writer
    /// compares sizes with that offset in it, and then does not write it.
    pub(super) fn block_bits(&mut self, stored: Option<usize>) -> Option<usize> {
        self.literals[END] = 1;
        let is_padded = self.offsets.iter().all(|count| *count == 0);
        if is_padded {
            self.offsets[0] = 1;
        }
        let (fixed, dynamic) = (self.fixed_bits(), self.dynamic_bits());
        let (bits, padding) = if dynamic < fixed { (dynamic, 1) } else { (fixed, 5) };
        if stored.is_some_and(|stored| stored < bits + self.extra_bits) {
            return None;
        }
        Some(bits + self.extra_bits - if is_padded { padding } else { 0 })
    }

    fn fixed_bits(&self) -> usize {
        let literals = |code: usize| self.literals[code] as usize * fixed_length(code);
        let offsets: usize = self.offsets.iter().map(|count| *count as usize * 5).sum();
        3 + (0..LITERALS).map(literals).sum::<usize>() + offsets
    }

    fn dynamic_bits(&self) -> usize {
        let used =
            |counts: &[u32]| counts.iter().rposition(|count| *count > 0).map_or(0, |n| n + 1);
        let literals = code_lengths::<LITERALS>(&self.literals, 15);
        let offsets = code_lengths::<OFFSETS>(&self.offsets, 15);
        let mut lengths = literals[..used(&self.literals)].to_vec();
        lengths.extend(&offsets[..used(&self.offsets)]);
        3 + 5
            + 5
            + 4
            + header_bits(&lengths)
            + total(&self.literals, &literals)
            + total(&self.offsets, &offsets)
    }
}

/// The code of a length or offset, and how many bits follow it. `steps` is the binary logarithm of how many codes each
/// power of two has.
fn bucket(value: usize, steps: u32) -> (usize, usize) {
    let per_power = 1 << steps;
    if value < 2 * per_power {
        return (value, 0);
    }
    let bits = value.ilog2() - steps;
    ((bits as usize) * per_power + (value >> bits), bits as usize)
}

fn fixed_length(code: usize) -> usize {
    match code {
        0..144 => 8,
        144..256 => 9,
        256..280 => 7,
        _ => 8,
    }
}

fn total(counts: &[u32], lengths: &[u8]) -> usize {
    counts.iter().zip(lengths).map(|(count, length)| *count as usize * usize::from(*length)).sum()
}

/// The bits that the code lengths themselves take: run-length encoded, then in a code of their own.
fn header_bits(lengths: &[u8]) -> usize {
    /// Repeat the last length, few zeros, many zeros.
    const REPEAT: usize = 16;
    const FEW: usize = 17;
    const MANY: usize = 18;
    /// In which order the lengths of the lengths' code stand: those that are seldom used come last.
    const ORDER: [usize; LENGTHS] =
        [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

    let mut counts = [0_u32; LENGTHS];
    for run in lengths.chunk_by(|a, b| a == b) {
        let length = usize::from(run[0]);
        let mut left = run.len();
        if length == 0 {
            while left >= 11 {
                counts[MANY] += 1;
                left -= left.min(138);
            }
            if left >= 3 {
                counts[FEW] += 1;
                left = 0;
            }
        } else {
            counts[length] += 1;
            left -= 1;
            while left >= 3 {
                counts[REPEAT] += 1;
                left -= left.min(6);
            }
        }
        counts[length] += left as u32;
    }
    let written = ORDER.iter().rposition(|code| counts[*code] > 0).map_or(0, |n| n + 1).max(4);
    let extra = counts[REPEAT] * 2 + counts[FEW] * 3 + counts[MANY] * 7;
    3 * written + total(&counts, &code_lengths::<LENGTHS>(&counts, 7)) + extra as usize
}

/// The lengths of a best prefix code without any above `longest`, by package-merge. Of codes that are as good, it is the
/// one that joins earlier made packages first.
fn code_lengths<const N: usize>(counts: &[u32; N], longest: usize) -> [u8; N] {
    let mut lengths = [0; N];
    let mut leaves: Vec<(u32, usize)> = counts
        .iter()
        .enumerate()
        .filter(|(_, count)| **count > 0)
        .map(|(symbol, count)| (*count, symbol))
        .collect();
    if leaves.len() <= 2 {
        leaves.iter().for_each(|(_, symbol)| lengths[*symbol] = 1);
        return lengths;
    }
    leaves.sort_unstable();
    let depth = longest.min(leaves.len() - 1);

    // Each level has the leaves, and pairs of what the level below has, by weight.
    let mut is_leaf: Vec<Vec<bool>> = Vec::with_capacity(depth);
    let mut weights: Vec<u32> = Vec::new();
    for _ in 0..depth {
        let mut pairs = weights.chunks_exact(2).map(|pair| pair[0] + pair[1]).peekable();
        let (mut level, mut merged) = (Vec::new(), Vec::new());
        for &(count, _) in &leaves {
            while let Some(pair) = pairs.next_if(|pair| *pair <= count) {
                merged.push(pair);
                level.push(false);
            }
            merged.push(count);
            level.push(true);
        }
        for pair in pairs {
            merged.push(pair);
            level.push(false);
        }
        weights = merged;
        is_leaf.push(level);
    }
    // From the top level down: a leaf that is taken once more is one bit longer.
    let mut taken = 2 * leaves.len() - 2;
    for level in is_leaf.iter().rev() {
        let count = level[..taken].iter().filter(|is_leaf| **is_leaf).count();
        leaves[..count].iter().for_each(|(_, symbol)| lengths[*symbol] += 1);
        taken = 2 * (taken - count);
    }
    lengths
}

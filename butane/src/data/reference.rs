//! How long the gzip of the reference compiler is, to the byte.
//!
//! Whether contents are compressed shows in the config, as `compression`. The reference compresses what gets shorter by
//! the gzip of Go's library, ours is up to a few bytes shorter, and for short texts a few bytes decide. Where it is
//! close, this counts what Go's writer would have written at level 9: which matches it takes, where its blocks end and
//! which of the three kinds they are. Nothing is encoded here.
//!
//! Format: <https://www.rfc-editor.org/rfc/rfc1951>; choices: <https://pkg.go.dev/compress/flate>.

use super::huffman::Symbols;

/// Header and trailer of a gzip file without a name (RFC 1952).
const FRAME_BYTES: usize = 18;

/// No gzip of the reference is shorter: one symbol, the end of the block, and the empty block behind it.
pub(super) const SHORTEST_GZIP: usize = 25;

/// The writer ends with an empty stored block: three bits, which the caller counts, and its length twice.
const LENGTHS_BYTES: usize = 4;

const HASH_BITS: u32 = 17;
/// With fewer positions than tries, how many bits a hash has changes nothing but the time it takes to clear the table.
const FEW_HASH_BITS: u32 = 12;
const WINDOW: usize = 1 << 15;
/// The writer's buffer is two windows long; when it is full, the older half goes.
const BUFFER: usize = 2 * WINDOW;
const SHORTEST: usize = 4;
const LONGEST: usize = 258;
/// Matches of the shortest length are not worth it from farther away.
const NEAR: usize = 4096;
const MOST_TRIES: usize = 4096;
const BLOCK_TOKENS: usize = 1 << 14;
const MAX_STORED: usize = 65535;

/// Tables of the search, to be used again: making them costs more than a short text does.
#[derive(Debug, Default)]
pub(super) struct Reference {
    /// Hash → one more than the last position that has it; 0 is none.
    heads: Vec<u32>,
    hash_bits: u32,
    /// Position in the window → one more than the position before that has the same hash.
    previous: Vec<u32>,
}

impl Reference {
    /// The number of bytes of the gzip of `contents`.
    pub(super) fn gzip_length(&mut self, contents: &[u8]) -> usize {
        self.hash_bits = if contents.len() < MOST_TRIES { FEW_HASH_BITS } else { HASH_BITS };
        self.heads.clear();
        self.heads.resize(1 << self.hash_bits, 0);
        // What is in here is only reached by way of `heads`.
        self.previous.resize(WINDOW, 0);
        Search { tables: self, contents, base: 0, output: Output::new() }.run()
    }
}

/// A match: how long it is, and how far back.
#[derive(Clone, Copy)]
struct Match {
    length: usize,
    offset: usize,
}

const NO_MATCH: Match = Match { length: SHORTEST - 1, offset: 0 };

struct Search<'s> {
    tables: &'s mut Reference,
    contents: &'s [u8],
    /// Where the writer's buffer begins: nothing before it is seen.
    base: usize,
    output: Output,
}

impl Search<'_> {
    /// Lazy matching: a match is taken when the next position has no longer one.
    fn run(mut self) -> usize {
        let length = self.contents.len();
        let mut position = 0;
        let mut last = NO_MATCH;
        let mut has_literal = false;
        while position < length {
            self.shift(position);
            let head = self.insert(position);
            let lookahead = length - position;
            let found = match head {
                Some(head) if lookahead > last.length && last.length < LONGEST => {
                    self.find(position, head, lookahead)
                }
                _ => NO_MATCH,
            };
            if last.length >= SHORTEST && found.length <= last.length {
                self.output.symbols.add_match(last.length, last.offset);
                let end = position + last.length - 1;
                for inside in position + 1..end {
                    self.insert(inside);
                }
                position = end;
                (last, has_literal) = (NO_MATCH, false);
                self.output.end_if_full(self.base, position);
            } else {
                if has_literal {
                    self.output.symbols.add_literal(self.contents[position - 1]);
                    self.output.end_if_full(self.base, position);
                }
                position += 1;
                (last, has_literal) = (found, true);
            }
        }
        if has_literal {
            self.output.symbols.add_literal(self.contents[position - 1]);
        }
        self.output.finish(self.base, position)
    }

    /// The writer makes room when less than a longest match is left to look at, and more is to come.
    fn shift(&mut self, position: usize) {
        let end = self.base + BUFFER;
        if end < self.contents.len() && end - position < SHORTEST + LONGEST {
            self.base += WINDOW;
        }
    }

    /// Puts a position into its chain, and gives the one before it that is still in the window.
    fn insert(&mut self, position: usize) -> Option<usize> {
        let four = self.contents.get(position..position + SHORTEST)?;
        let four = u32::from_be_bytes(four.try_into().expect("it has four bytes"));
        let hash = four.wrapping_mul(0x1e35_a7bd) >> (32 - self.tables.hash_bits);
        let head = &mut self.tables.heads[hash as usize];
        let before = *head;
        // Contents are at most 256 MiB long.
        *head = position as u32 + 1;
        self.tables.previous[position % WINDOW] = before;
        self.reach(before, position)
    }

    fn reach(&self, entry: u32, position: usize) -> Option<usize> {
        let before = (entry as usize).checked_sub(1)?;
        (before >= self.base.max(position.saturating_sub(WINDOW))).then_some(before)
    }

    fn find(&self, position: usize, head: usize, lookahead: usize) -> Match {
        let longest = lookahead.min(LONGEST);
        let here = &self.contents[position..position + longest];
        let mut best = NO_MATCH;
        let mut candidate = head;
        for _ in 0..MOST_TRIES {
            let there = &self.contents[candidate..candidate + longest];
            if there[best.length] == here[best.length] {
                let length = here.iter().zip(there).take_while(|(a, b)| a == b).count();
                let offset = position - candidate;
                if length > best.length && (length > SHORTEST || offset <= NEAR) {
                    best = Match { length, offset };
                    if length == longest {
                        break;
                    }
                }
            }
            // The entry of a position a whole window back has been written over by this one's.
            if position - candidate == WINDOW {
                break;
            }
            match self.reach(self.tables.previous[candidate % WINDOW], position) {
                Some(next) => candidate = next,
                None => break,
            }
        }
        best
    }
}

/// The blocks so far.
struct Output {
    bits: usize,
    /// What is in the block that is open.
    symbols: Symbols,
    block_start: usize,
}

impl Output {
    fn new() -> Output {
        Output { bits: 0, symbols: Symbols::new(), block_start: 0 }
    }

    fn end_if_full(&mut self, base: usize, position: usize) {
        if self.symbols.count() == BLOCK_TOKENS {
            self.end_block(base, position);
        }
    }

    fn end_block(&mut self, base: usize, position: usize) {
        let length = position - self.block_start;
        // What has left the buffer cannot be stored any more.
        let can_be_stored = self.block_start >= base && length <= MAX_STORED;
        let stored = can_be_stored.then_some((length + 5) * 8);
        match self.symbols.block_bits(stored) {
            Some(bits) => self.bits += bits,
            None => self.bits = (self.bits + 3).next_multiple_of(8) + (LENGTHS_BYTES + length) * 8,
        }
        self.symbols.clear();
        self.block_start = position;
    }

    fn finish(mut self, base: usize, position: usize) -> usize {
        if self.symbols.count() > 0 {
            self.end_block(base, position);
        }
        FRAME_BYTES + (self.bits + 3).div_ceil(8) + LENGTHS_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The upper bytes of xorshift.
    fn random(count: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 56) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    fn text(length: usize) -> Vec<u8> {
        const WORDS: [&str; 8] =
            ["Unit", "Service", "enabled", "network", "address", "true", "/etc/", "port"];
        let mut text = String::new();
        for number in random(length) {
            text += WORDS[usize::from(number % 8)];
            text += if number & 8 != 0 { "=" } else { "\n" };
            if number & 16 != 0 {
                text += &number.to_string();
            }
        }
        text.truncate(length);
        text.into_bytes()
    }

    /// Lengths of contents, and what `gzip.NewWriterLevel(w, gzip.BestCompression)` of Go 1.26 makes of them.
    #[track_caller]
    fn check(make: impl Fn(usize) -> Vec<u8>, lengths: &[(usize, usize)]) {
        let mut reference = Reference::default();
        for &(length, expected) in lengths {
            assert_eq!(reference.gzip_length(&make(length)), expected, "{length}");
        }
    }

    #[test]
    fn as_long_as_the_reference() {
        check(
            random,
            &[
                (0, 23),
                (1, 25),
                (2, 26),
                (30, 56),
                (100, 128),
                (1000, 1028),
                (20000, 20033),
                (70000, 70048),
                (140000, 140068),
            ],
        );
        check(
            text,
            &[
                (1, 25),
                (10, 34),
                (30, 49),
                (60, 73),
                (100, 107),
                (200, 142),
                (800, 311),
                (5000, 1250),
                (40000, 8226),
                (65536, 13027),
                (70000, 13863),
                (140000, 26955),
                (400000, 75533),
            ],
        );
        check(
            |length| random(length).iter().map(|byte| byte & 3).collect(),
            &[(20, 41), (100, 69), (1000, 363), (50000, 15247), (100000, 29681)],
        );
        check(
            |length| vec![b'a'; length],
            &[(1, 25), (4, 28), (100, 27), (66000, 103), (300000, 330)],
        );
    }
}

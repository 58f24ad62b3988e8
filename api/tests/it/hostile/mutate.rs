//! Small random changes of inputs.

/// A generator that gives the same numbers everywhere (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when there is none.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % (limit.max(1) as u64)).expect("below a usize")
    }
}

/// Changes `bytes` once; `corpus` is where foreign parts come from.
pub(super) fn once(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let rest = bytes.len() - at;
    match random.below(9) {
        0 if rest > 0 => bytes[at] ^= 1 << random.below(8),
        1 if rest > 0 => bytes[at] = random.next().to_le_bytes()[0],
        2 => drop(bytes.drain(at..at + random.below(rest.min(24) + 1))),
        3 => {
            let part = bytes[at..at + random.below(rest.min(64) + 1)].to_vec();
            for _ in 0..=random.below(6) {
                bytes.splice(at..at, part.iter().copied());
            }
        }
        4 => {
            let other = &corpus[random.below(corpus.len())];
            let from = random.below(other.len() + 1);
            let part = &other[from..from + random.below((other.len() - from).min(200) + 1)];
            bytes.splice(at..at, part.iter().copied());
        }
        5 => bytes.truncate(at),
        6 => {
            let token = TOKENS[random.below(TOKENS.len())];
            bytes.splice(at..at, token.bytes());
        }
        7 => {
            let token = TOKENS[random.below(TOKENS.len())];
            let end = at + random.below(rest.min(12) + 1);
            bytes.splice(at..end, token.bytes());
        }
        _ => {
            // Both sides of a part at once, so that what opens is closed.
            let (open, close) = PAIRS[random.below(PAIRS.len())];
            let depth = [1, 2, 99, 128, 400][random.below(5)];
            let end = at + random.below(rest + 1);
            bytes.splice(end..end, close.repeat(depth).bytes());
            bytes.splice(at..at, open.repeat(depth).bytes());
        }
    }
}

/// What decoders may have an opinion about.
const TOKENS: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "-1",
    "0",
    "1e309",
    "1e-400",
    "-0.0",
    "18446744073709551616",
    "2147483648",
    "-9223372036854775809",
    "99999999999999999999Ei",
    "1.5e3Gi",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:60.999999999+23:59",
    "\\u0000",
    "\\ud800",
    "\u{feff}",
    "\u{0}",
    ",",
    ":",
    "\n",
    "\n- ",
    "*a",
    "&a ",
    "!!binary ",
    "? ",
    "---\n",
    "...\n",
    "<<: *a",
    "$patch",
    "\"$patch\":\"replace\",",
    "\"$setElementOrder/containers\":[{\"name\":\"d\"}],",
    "\"$retainKeys\":[\"name\"],",
    "\"$deleteFromPrimitiveList/finalizers\":[\"example.com/one\"],",
    "~0",
    "~1",
    "/-",
    "/0",
    "\"apiVersion\":\"v1\",",
    "\"kind\":\"Pod\",",
    "\"metadata\":{\"name\":\"p\"},",
    "\"managedFields\":[{}],",
    "f:",
    "k:{\"a\":1}",
    " in (a,b)",
    " notin (",
    "!",
    "==",
    "!=",
    ">1",
    "k8s\0",
    "\u{a}\u{0}",
    "\u{12}\u{2}\u{a}\u{0}",
    "%",
    "-",
    "+",
    "1h",
    "m",
];

const PAIRS: &[(&str, &str)] =
    &[("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("- ", ""), ("\"", "\""), ("\u{b}", "\u{c}")];

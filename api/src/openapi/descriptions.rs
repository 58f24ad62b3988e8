//! Descriptions of definitions and their fields: a table of deflated blocks, of which one at a time is inflated.
//!
//! The table is a sequence of blocks. A block is the length of a name (two bytes), the name of the first definition in it, the length
//! of what follows (four bytes), both little-endian, and raw deflate. Inflated, it is lines of JSON, one a definition, in the order of
//! their names: `["NAME", "DESCRIPTION", {"FIELD": "DESCRIPTION"}]`.

use std::collections::BTreeMap;

use serde::Deserialize;

/// A table of descriptions.
#[derive(Debug, Default)]
pub struct Descriptions {
    table: &'static [u8],
    /// Where the block that was used last begins, and its text.
    block: Option<(usize, String)>,
}

/// What is said about one definition.
#[derive(Debug, Deserialize)]
pub(super) struct Described {
    #[expect(dead_code, reason = "says which line it is; the line was found by it")]
    name: String,
    all: String,
    fields: BTreeMap<String, String>,
}

impl Descriptions {
    /// No descriptions.
    pub const NONE: Self = Self { table: &[], block: None };

    /// A table as described above.
    pub const fn new(table: &'static [u8]) -> Self {
        Self { table, block: None }
    }

    /// What is said about the definition of this name. Asking in the order of names inflates every block once.
    pub(super) fn find(&mut self, name: &str) -> Option<Described> {
        let (start, deflated) = self.block_of(name)?;
        if self.block.as_ref().is_none_or(|(current, _)| *current != start) {
            // The block before is dropped first, so that never two are there.
            self.block = None;
            let text = miniz_oxide::inflate::decompress_to_vec_with_limit(deflated, BLOCK_BYTES_MAX).ok()?;
            self.block = Some((start, String::from_utf8(text).ok()?));
        }
        let (_, text) = self.block.as_ref()?;
        let opening = format!("[\"{name}\",");
        let line = text.lines().find(|line| line.starts_with(&opening))?;
        serde_json::from_str(line).ok()
    }

    /// The last block that begins at or before a name: where it starts, and its content.
    fn block_of(&self, name: &str) -> Option<(usize, &'static [u8])> {
        let mut rest = self.table;
        let mut found = None;
        while let Some(block) = Block::take(&mut rest) {
            if block.first > name {
                break;
            }
            found = Some((rest.len(), block.deflated));
        }
        found
    }
}

struct Block {
    first: &'static str,
    deflated: &'static [u8],
}

impl Block {
    fn take(table: &mut &'static [u8]) -> Option<Self> {
        let (length, rest) = table.split_first_chunk::<2>()?;
        let (first, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (deflated, rest) = rest.split_at_checked(length)?;
        *table = rest;
        Some(Self { first: std::str::from_utf8(first).ok()?, deflated })
    }
}

impl Described {
    /// The definition itself.
    pub(super) fn of_all(&self) -> Option<&str> {
        Some(self.all.as_str()).filter(|text| !text.is_empty())
    }

    /// One of its fields.
    pub(super) fn of_field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

/// Blocks are filled up to 64 KiB; only a definition that is longer by itself makes one larger.
const BLOCK_BYTES_MAX: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn block(lines: &str) -> Vec<u8> {
        let first = lines.split('"').nth(1).unwrap();
        let deflated = miniz_oxide::deflate::compress_to_vec(lines.as_bytes(), 6);
        let mut block = u16::try_from(first.len()).unwrap().to_le_bytes().to_vec();
        block.extend(first.as_bytes());
        block.extend(u32::try_from(deflated.len()).unwrap().to_le_bytes());
        block.extend(deflated);
        block
    }

    #[test]
    fn definitions_are_found_in_their_block() {
        let mut table = block("[\"a.B\",\"A b.\",{\"c\":\"A \\\"c\\\".\"}]\n[\"a.D\",\"\",{}]\n");
        table.extend(block("[\"b.A\",\"Other.\",{}]\n"));
        let mut descriptions = Descriptions::new(table.leak());
        let found = descriptions.find("a.B").unwrap();
        assert_eq!(
            (found.of_all(), found.of_field("c"), found.of_field("d")),
            (Some("A b."), Some("A \"c\"."), None)
        );
        assert_eq!(descriptions.find("a.D").unwrap().of_all(), None);
        assert_eq!(descriptions.find("b.A").unwrap().of_all(), Some("Other."));
        for absent in ["a", "a.C", "a.BB", "b.AA", "c"] {
            assert!(descriptions.find(absent).is_none(), "{absent}");
        }
        assert!(Descriptions::new(&[]).find("a.B").is_none());
    }

    #[test]
    fn a_damaged_table_describes_nothing() {
        let whole = block("[\"a.B\",\"A b.\",{}]\n");
        for length in 0..whole.len() {
            let cut: &'static [u8] = whole[..length].to_vec().leak();
            assert!(Descriptions::new(cut).find("a.B").is_none(), "{length}");
        }
    }
}

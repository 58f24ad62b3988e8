//! The wire format itself: tags, varints, lengths. Nothing is allocated here, and no length is believed before it was compared with
//! what is there.

use super::error::Malformed;

/// Reads the fields of one message.
pub(super) struct Reader<'a>(&'a [u8]);

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Payload<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 3: a group, which Kubernetes has none of; skipped.
    Group,
    /// Wire type 5.
    Fixed32(u32),
}

impl Payload<'_> {
    /// The wire type.
    pub(super) const fn wire_type(self) -> u8 {
        match self {
            Self::Varint(_) => VARINT,
            Self::Fixed64(_) => FIXED64,
            Self::Bytes(_) => BYTES,
            Self::Group => START_GROUP,
            Self::Fixed32(_) => FIXED32,
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self(message)
    }

    /// The next field's number and content; `None` at the end.
    pub(super) fn field(&mut self) -> Result<Option<(u32, Payload<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let (number, wire_type) = self.tag()?;
        let payload = match wire_type {
            VARINT => Payload::Varint(self.varint()?),
            FIXED64 => Payload::Fixed64(u64::from_le_bytes(self.array()?)),
            BYTES => Payload::Bytes(self.bytes()?),
            START_GROUP => {
                self.skip_group()?;
                Payload::Group
            }
            FIXED32 => Payload::Fixed32(u32::from_le_bytes(self.array()?)),
            END_GROUP => return Err(Malformed::EndOfGroup),
            other => return Err(Malformed::WireType(other)),
        };
        Ok(Some((number, payload)))
    }

    /// The next varint of a packed list; `None` at the end.
    pub(super) fn packed_varint(&mut self) -> Result<Option<u64>, Malformed> {
        if self.0.is_empty() { Ok(None) } else { self.varint().map(Some) }
    }

    /// The next double of a packed list; `None` at the end.
    pub(super) fn packed_fixed64(&mut self) -> Result<Option<u64>, Malformed> {
        if self.0.is_empty() { Ok(None) } else { Ok(Some(u64::from_le_bytes(self.array()?))) }
    }

    fn tag(&mut self) -> Result<(u32, u8), Malformed> {
        let tag = self.varint()?;
        let (number, wire_type) = (tag >> 3, low_byte(tag) & 7);
        match u32::try_from(number) {
            Ok(number @ 1..=NUMBER_MAX) => Ok((number, wire_type)),
            _ => Err(Malformed::Tag { number, wire_type }),
        }
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (position, &byte) in self.0.iter().enumerate() {
            let shift = 7 * position;
            if shift >= 64 {
                return Err(Malformed::Overflow);
            }
            // The tenth byte has one bit for us; Go drops the others too.
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                self.0 = &self.0[position + 1..];
                return Ok(value);
            }
        }
        Err(Malformed::CutOff)
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let length = usize::try_from(self.varint()?).map_err(|_| Malformed::Overflow)?;
        let (bytes, rest) = self.0.split_at_checked(length).ok_or(Malformed::CutOff)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (array, rest) = self.0.split_first_chunk().ok_or(Malformed::CutOff)?;
        self.0 = rest;
        Ok(*array)
    }

    /// Skips what follows up to the end of the group that has begun; groups in groups are counted, not entered.
    fn skip_group(&mut self) -> Result<(), Malformed> {
        let mut open = 1_usize;
        while open > 0 {
            match self.tag()?.1 {
                VARINT => drop(self.varint()?),
                FIXED64 => drop(self.array::<8>()?),
                BYTES => drop(self.bytes()?),
                START_GROUP => open += 1,
                END_GROUP => open -= 1,
                FIXED32 => drop(self.array::<4>()?),
                other => return Err(Malformed::WireType(other)),
            }
        }
        Ok(())
    }
}

/// Appends a field that is a varint.
pub(super) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, VARINT);
    put_raw_varint(out, value);
}

/// Appends a field that is a double.
pub(super) fn put_double(out: &mut Vec<u8>, number: u32, value: f64) {
    put_tag(out, number, FIXED64);
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Appends a field that is text or bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_length(out, number, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends a field that is what `write` appends: its length is known, and put before it, afterwards.
pub(super) fn put_nested<E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, number, BYTES);
    let start = out.len();
    // Most messages are short: one byte of length is the likely one.
    out.push(0);
    write(out)?;
    let length = out.len() - start - 1;
    if length < 0x80 {
        out[start] = low_byte(length as u64);
    } else {
        let mut prefix = Vec::with_capacity(VARINT_BYTES_MAX);
        put_raw_varint(&mut prefix, length as u64);
        out.splice(start..=start, prefix);
    }
    Ok(())
}

/// Appends the start of a field of bytes that are appended next.
pub(super) fn put_length(out: &mut Vec<u8>, number: u32, length: usize) {
    put_tag(out, number, BYTES);
    put_raw_varint(out, length as u64);
}

fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_raw_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

fn put_raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(low_byte(value) | 0x80);
        value >>= 7;
    }
    out.push(low_byte(value));
}

const fn low_byte(value: u64) -> u8 {
    value.to_le_bytes()[0]
}

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const START_GROUP: u8 = 3;
const END_GROUP: u8 = 4;
const FIXED32: u8 = 5;
/// Field numbers have 29 bits.
const NUMBER_MAX: u32 = (1 << 29) - 1;
/// 64 bits in groups of seven.
const VARINT_BYTES_MAX: usize = 10;

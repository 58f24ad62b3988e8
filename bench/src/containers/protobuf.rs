//! As much of protocol buffers as the messages of a container runtime take.

use anyhow::{Context as _, Result, bail};

/// A message that is put together field by field.
#[derive(Clone, Debug, Default)]
pub(super) struct Message(Vec<u8>);

impl Message {
    pub(super) fn text(self, field: u32, value: &str) -> Self {
        self.bytes(field, value.as_bytes())
    }

    pub(super) fn message(self, field: u32, value: &Self) -> Self {
        self.bytes(field, &value.0)
    }

    pub(super) fn number(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field << 3));
        self.varint(value);
        self
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field << 3 | LENGTH_AND_BYTES));
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }
}

/// The text of a field, empty where it is missing.
pub(super) fn text(message: &[u8], wanted: u32) -> Result<String> {
    match find(message, wanted)? {
        Some(Value::Bytes(bytes)) => Ok(String::from_utf8(bytes.to_vec())?),
        Some(Value::Number(_)) => bail!("field {wanted} is a number"),
        None => Ok(String::new()),
    }
}

/// The number of a field, 0 where it is missing.
pub(super) fn number(message: &[u8], wanted: u32) -> Result<u64> {
    match find(message, wanted)? {
        Some(Value::Number(number)) => Ok(number),
        Some(Value::Bytes(_)) => bail!("field {wanted} is no number"),
        None => Ok(0),
    }
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

fn find(mut rest: &[u8], wanted: u32) -> Result<Option<Value<'_>>> {
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        let value = match u32::try_from(tag & 7)? {
            0 => Value::Number(take_varint(&mut rest)?),
            LENGTH_AND_BYTES => {
                let length = usize::try_from(take_varint(&mut rest)?)?;
                let (bytes, after) = rest.split_at_checked(length).context("a message is cut off")?;
                rest = after;
                Value::Bytes(bytes)
            }
            kind => bail!("a field of kind {kind}"),
        };
        if tag >> 3 == u64::from(wanted) {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

fn take_varint(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().context("a message is cut off")?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a number has no end")
}

/// The kind of fields that have a length.
const LENGTH_AND_BYTES: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let inner = Message::default().number(3, 300);
        let message = Message::default().text(1, "gull").message(2, &inner).number(20, u64::MAX).into_bytes();
        assert_eq!(message[..6], [0x0a, 4, b'g', b'u', b'l', b'l']);
        assert_eq!(message[6..11], [0x12, 3, 0x18, 0xac, 0x02]);
        assert_eq!(text(&message, 1).unwrap(), "gull");
        assert_eq!(number(&message, 20).unwrap(), u64::MAX);
        assert_eq!((text(&message, 7).unwrap(), number(&message, 7).unwrap()), (String::new(), 0));
        assert!(text(&message[..4], 1).is_err());
    }
}

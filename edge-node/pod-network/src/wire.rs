//! Netlink messages as bytes: written with nested attributes, and read without trusting a length in them.

/// A message that is being written.
#[derive(Debug)]
pub(crate) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of a kind; the socket adds number and length.
    pub(crate) fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = Vec::with_capacity(256);
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        // Number, and the sender's address, which the kernel knows.
        bytes.extend_from_slice(&[0; 8]);
        Self { bytes }
    }

    /// Adds what stands before or between attributes.
    pub(crate) fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.pad();
        self
    }

    /// Adds an attribute.
    pub(crate) fn bytes(mut self, kind: u16, payload: &[u8]) -> Self {
        let start = self.begin(kind);
        self.bytes.extend_from_slice(payload);
        self.end(start);
        self
    }

    /// Adds a text, which ends with a zero byte.
    pub(crate) fn text(mut self, kind: u16, text: &str) -> Self {
        let start = self.begin(kind);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.push(0);
        self.end(start);
        self
    }

    /// Adds a number in the machine's order of bytes, as links and routes have it.
    pub(crate) fn number(self, kind: u16, number: u32) -> Self {
        self.bytes(kind, &number.to_ne_bytes())
    }

    /// Adds a number in the network's order of bytes, as packet filters have it.
    pub(crate) fn network_number(self, kind: u16, number: u32) -> Self {
        self.bytes(kind, &number.to_be_bytes())
    }

    /// Adds an attribute that holds others.
    pub(crate) fn nest(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let start = self.begin(kind | NESTED);
        let mut filled = fill(self);
        filled.end(start);
        filled
    }

    /// The message with its number.
    pub(crate) fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).expect("messages are bounded by their attributes");
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn begin(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    fn end(&mut self, start: usize) {
        let length = u16::try_from(self.bytes.len() - start).expect("attributes are written in small pieces");
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// A message that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram; what is malformed ends them.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(datagram, 0)?).ok()?;
        let body = datagram.get(HEADER_BYTES..length)?;
        let received = Received { kind: u16_at(datagram, 4)?, sequence: u32_at(datagram, 8)?, body };
        datagram = datagram.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some(received)
    })
}

/// The attributes of a message after its fixed part; what is malformed ends them.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let payload = bytes.get(ATTRIBUTE_HEADER_BYTES..length)?;
        let kind = u16_at(bytes, 2)? & KIND_MASK;
        bytes = bytes.get(length.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The first attribute of a kind.
pub(crate) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find_map(|(found, payload)| (found == kind).then_some(payload))
}

/// A text as the kernel sends it; `None` if it is no UTF-8.
pub(crate) fn text(payload: &[u8]) -> Option<&str> {
    let text = payload.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok()
}

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    bytes.get(offset..offset + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..offset + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

/// Length, kind, flags, number, address.
const HEADER_BYTES: usize = 16;
/// Length and kind.
const ATTRIBUTE_HEADER_BYTES: usize = 4;
const ALIGNMENT: usize = 4;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;
/// `NLA_TYPE_MASK`: without the two flags.
const KIND_MASK: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_can_be_read() {
        let message = Message::new(16, 4)
            .raw(&[1, 2, 3, 4])
            .text(3, "eth0")
            .nest(18, |inner| inner.number(1, 7).network_number(2, 7).bytes(3, &[9]))
            .finish(5);
        let mut twice = message.clone();
        twice.extend_from_slice(&message);
        let all: Vec<_> = messages(&twice).collect();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].kind, all[0].sequence), (16, 5));
        let body = &all[1].body[4..];
        assert_eq!(text(attribute(body, 3).unwrap()), Some("eth0"));
        let inner = attribute(body, 18).unwrap();
        assert_eq!(u32_at(attribute(inner, 1).unwrap(), 0), Some(7));
        assert_eq!(attribute(inner, 2).unwrap(), [0, 0, 0, 7]);
        assert_eq!(attribute(inner, 3).unwrap(), [9]);
        assert_eq!(attribute(inner, 4), None);
    }

    #[test]
    fn lengths_that_lie_end_the_reading() {
        let message = Message::new(16, 0).text(3, "eth0").finish(1);
        for cut in 0..message.len() {
            assert_eq!(messages(&message[..cut]).count(), 0, "{cut}");
        }
        for length in [0_u16, 1, 3, 200, u16::MAX] {
            let mut wrong = message.clone();
            wrong[16..18].copy_from_slice(&length.to_ne_bytes());
            let body = messages(&wrong).next().unwrap().body;
            assert_eq!(attributes(body).count(), 0, "{length}");
        }
        for length in [0_u32, 15, 4096, u32::MAX] {
            let mut wrong = message.clone();
            wrong[..4].copy_from_slice(&length.to_ne_bytes());
            assert_eq!(messages(&wrong).count(), 0, "{length}");
        }
    }
}

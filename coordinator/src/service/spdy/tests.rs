//! Frames from bytes and back, and all that is no frame.

use bytes::{Bytes, BytesMut};
use proptest::{
    collection::vec,
    prelude::{any, prop_assert, prop_assert_eq, proptest},
};

use super::{
    Decoder, Encoder, FLAG_FIN, Fault, Frame, GOAWAY, HEADERS_BYTES_MAX, PIECE_BYTES_MAX, PING, Refusal,
    SYN_STREAM, Side,
    compression::{Deflater, Inflater},
    control, data, end, frame, ping, reset,
};

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap()).collect()
}

fn decode(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<Frame>, Fault> {
    let mut buffer = BytesMut::from(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next(&mut buffer)? {
        frames.push(frame);
    }
    Ok(frames)
}

fn open(stream: u32, block: &[u8]) -> Vec<u8> {
    let head: [&[u8]; 3] = [&stream.to_be_bytes(), &[0; 6], block];
    control(SYN_STREAM, &head.concat())
}

/// What a client says to open a stream.
pub(in crate::service) fn opened(encoder: &mut Encoder, stream: u32, headers: &[(&str, &str)]) -> Vec<u8> {
    let number = |count: usize| u32::try_from(count).unwrap().to_be_bytes();
    let mut block = number(headers.len()).to_vec();
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        block.extend(number(text.len()));
        block.extend(text.as_bytes());
    }
    open(stream, &encoder.deflater.block(&block))
}

/// `port: 80`, `requestid: 0`, `streamtype: error`, and then the same of `data`, as zlib compresses them.
const BLOCKS: [&str; 2] = [
    "78bbe3c6a7c202253a48f95b044aab4c16064092b308125b99a054cc68004e872545a989b9d0a2863515141100000000ffff",
    "224b2ba8944a04000000ffff",
];

#[test]
fn headers_are_read_as_zlib_compresses_them() {
    let mut decoder = Decoder::default();
    let mut streams = Vec::new();
    for (stream, block) in [(1, BLOCKS[0]), (3, BLOCKS[1])] {
        for frame in decode(&mut decoder, &open(stream, &unhex(block))).unwrap() {
            let Frame::Open { stream, headers, side: Side::Open } = frame else { panic!("{frame:?}") };
            let text = |name| headers.text(name).to_owned();
            streams.push((stream, text("port"), text("requestid"), text("streamtype"), text("other")));
        }
    }
    let expected = |stream, kind: &str| (stream, "80".into(), "0".into(), kind.into(), String::new());
    assert_eq!(streams, [expected(1, "error"), expected(3, "data")]);
}

#[test]
fn replies_are_read_by_inflaters() {
    let (mut encoder, mut inflater) = (Encoder::default(), Inflater::default());
    for stream in [1_u32, 3, 5] {
        let reply = encoder.reply(stream);
        assert_eq!(reply[..4], [0x80, 3, 0, 2]);
        assert_eq!(
            (reply[8..12].to_vec(), reply.len() - 8),
            (stream.to_be_bytes().to_vec(), usize::from(reply[7]))
        );
        assert_eq!(inflater.block(&reply[12..]), Ok(vec![0; 4]));
        // As zlib flushes: Go's inflater fails for good where it finds the end of what is there.
        assert!(reply.ends_with(&[0, 0, 0, 0xff, 0xff]));
    }
}

#[test]
fn frames_are_told_apart() {
    let check = |bytes: Vec<u8>, expected: Frame| {
        assert_eq!(decode(&mut Decoder::default(), &bytes), Ok(vec![expected]));
    };
    let of_data =
        |bytes: &'static [u8], side| Frame::Data { stream: 5, bytes: Bytes::from_static(bytes), side };
    check(data(5, b"hello"), of_data(b"hello", Side::Open));
    check(end(5), of_data(b"", Side::Ended));
    check(reset(7, Refusal::Protocol), Frame::Reset { stream: 7 });
    check(ping(9), Frame::Ping { id: 9 });
    check(control(GOAWAY, &[0; 8]), Frame::GoAway);
    // SETTINGS and WINDOW_UPDATE.
    check(control(4, &[0; 4]), Frame::Other);
    check(control(9, &[0; 8]), Frame::Other);
}

#[test]
fn data_of_any_length_comes_in_pieces() {
    let mut whole = frame(5, &vec![7; PIECE_BYTES_MAX * 2 + 1], FLAG_FIN);
    whole.extend_from_slice(&ping(1));
    let frames = decode(&mut Decoder::default(), &whole).unwrap();
    let told: Vec<_> = frames
        .iter()
        .map(|frame| match frame {
            Frame::Data { bytes, side, .. } => (bytes.len(), *side),
            _ => (0, Side::Open),
        })
        .collect();
    let full = (PIECE_BYTES_MAX, Side::Open);
    assert_eq!(told, [full, full, (1, Side::Ended), (0, Side::Open)]);
}

#[test]
fn what_is_too_much_or_malformed_is_refused() {
    let check = |bytes: &[u8], fault: Fault| {
        assert_eq!(decode(&mut Decoder::default(), bytes), Err(fault), "{bytes:?}");
    };
    check(&[0x80, 2, 0, 6, 0, 0, 0, 4, 0, 0, 0, 1], Fault::Version);
    // Before anything of it is kept.
    check(&[0x80, 3, 0, 1, 0, 0x01, 0, 0], Fault::ControlBytes);
    check(&control(PING, &[0; 3]), Fault::Short);
    check(&control(SYN_STREAM, &[0; 9]), Fault::Short);
    check(&open(1, &unhex("78bbe3c6a7c300")), Fault::Compression);
    check(&open(1, b"\x78\x9c\xff"), Fault::Compression);
    let of_headers = |block: &[u8], fault| check(&open(1, &Deflater::default().block(block)), fault);
    of_headers(&[0, 0, 0, 65], Fault::HeaderCount);
    of_headers(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, b'a'], Fault::Headers);
    of_headers(&[0, 0, 0, 0, 1], Fault::Headers);
    of_headers(&[0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0, 0, 0, 0], Fault::Headers);
    // A few bytes that become many: a stored byte, and copies of it.
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![0; HEADERS_BYTES_MAX * 4], 9);
    check(&open(1, &[b"\x78\x9c".as_slice(), &bomb].concat()), Fault::HeaderBytes);
}

#[test]
fn the_window_goes_around() {
    let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
    for round in 0..20_u8 {
        let block: Vec<u8> = vec![round; 5000];
        assert_eq!(inflater.block(&deflater.block(&block)), Ok(block));
    }
}

proptest! {
    /// However a connection is cut into reads, the same is read.
    #[test]
    fn cuts_make_no_difference(
        said in vec((any::<u32>(), vec(any::<u8>(), 0..60)), 0..12),
        cuts in vec(1..40_usize, 1..8),
    ) {
        let mut bytes = open(1, &unhex(BLOCKS[0]));
        for (stream, body) in &said {
            bytes.extend(data(*stream, body));
            bytes.extend(ping(*stream));
            bytes.extend(end(*stream));
        }
        bytes.extend(open(3, &unhex(BLOCKS[1])));
        let (mut decoder, mut buffer, mut rest) = (Decoder::default(), BytesMut::new(), &bytes[..]);
        let (mut heard, mut others) = (Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(rest.len().min(*cut));
            buffer.extend_from_slice(now);
            rest = later;
            while let Some(frame) = decoder.next(&mut buffer).unwrap() {
                match frame {
                    Frame::Data { bytes, .. } => heard.extend(bytes),
                    _ => others += 1,
                }
            }
            if rest.is_empty() {
                break;
            }
        }
        let all: Vec<u8> = said.iter().flat_map(|(_, body)| body.clone()).collect();
        prop_assert_eq!(heard, all);
        prop_assert_eq!(others, said.len() + 2);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200), kind in 0..12_u16) {
        let _ = decode(&mut Decoder::default(), &bytes);
        let _ = decode(&mut Decoder::default(), &control(kind, &bytes));
        let framed = [b"\x78\x9c".as_slice(), &bytes].concat();
        if let Ok(frames) = decode(&mut Decoder::default(), &open(1, &framed)) {
            prop_assert!(frames.len() == 1);
        }
    }
}

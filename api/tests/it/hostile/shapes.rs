//! Inputs of a size of one's choice that cost as much as any of their shape.

use dunlin_api::protobuf;
use serde_json::{Value, json};

/// One shape for one decoder.
pub(super) struct Shape {
    pub(super) decoder: &'static str,
    pub(super) shape: &'static str,
    /// About as many bytes as asked.
    pub(super) make: fn(usize) -> Vec<u8>,
}

const fn shape(decoder: &'static str, shape: &'static str, make: fn(usize) -> Vec<u8>) -> Shape {
    Shape { decoder, shape, make }
}

pub(super) const ALL: &[Shape] = &[
    shape("json", "deep lists", |size| nested("[", "", "]", size)),
    shape("json", "deep objects", |size| nested("{\"a\":", "1", "}", size)),
    shape("json", "many numbers", |size| filled("[", "0,", "0]", size)),
    shape("json", "many empty objects", |size| filled("[", "{},", "{}]", size)),
    shape("json", "many containers", |size| filled("{\"spec\":{\"containers\":[", "{},", "{}]}}", size)),
    shape("json", "many unknown fields", |size| numbered("{", "\"x#\":0,", "\"y\":0}", size)),
    shape("json", "many unknown fields in containers", |size| {
        filled("{\"spec\":{\"containers\":[", "{\"xxxx\":0},", "{}]}}", size)
    }),
    shape("json", "one field again and again", |size| filled("{", "\"a\":0,", "\"a\":0}", size)),
    shape("json", "a long name over many elements", |size| {
        let name = "n".repeat(size / 2);
        filled(&format!("{{\"metadata\":{{\"labels\":{{\"{name}\":["), "0,", "0]}}}", size)
    }),
    shape("json", "a long label over others", |size| {
        let name = "n".repeat(size / 2);
        numbered(
            &format!("{{\"metadata\":{{\"labels\":{{\"{name}\":\"\","),
            "\"l#\":\"\",",
            "\"z\":\"\"}}}",
            size,
        )
    }),
    shape("json", "many digits", |size| filled("", "9", "", size)),
    shape("json", "an enormous exponent", |size| filled("1e", "9", "", size)),
    shape("json", "long text", |size| filled("\"", "\\u0000", "\"", size)),
    shape("json", "spaces", |size| filled("{", " ", "}", size)),
    shape("json", "many finalizers", |size| {
        numbered("{\"metadata\":{\"name\":\"p\",\"finalizers\":[", "\"a/#\",", "\"b/c\"]}}", size)
    }),
    shape("json", "many variables", |size| {
        let open = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"env\":[";
        numbered(open, "{\"name\":\"E#\",\"value\":\"$(E1)\"},", "{\"name\":\"Z\"}]}]}}", size)
    }),
    shape("json", "many tolerations", |size| {
        let open = "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}],\"tolerations\":[";
        numbered(open, "{\"key\":\"k#\",\"operator\":\"Exists\"},", "{\"operator\":\"Exists\"}]}}", size)
    }),
    shape("yaml", "deep lists", |size| nested("[", "", "]", size)),
    shape("yaml", "deep blocks", |size| filled("", "- ", "x", size)),
    shape("yaml", "many numbers", |size| filled("[", "0,", "0]", size)),
    shape("yaml", "many empty objects", |size| filled("[", "{},", "{}]", size)),
    shape("yaml", "laughs", laughs),
    shape("yaml", "one anchor, many aliases", |size| filled("a: &a {b: c}\nd: [", "*a,", "*a]", size)),
    shape("yaml", "many anchors", |size| numbered("[", "&a# b,", "c]", size)),
    shape("yaml", "a long name over many elements", |size| {
        filled(&format!("{}: [", "n".repeat(900)), "0,", "0]", size)
    }),
    shape("yaml", "many documents", |size| filled("", "--- a\n", "", size)),
    shape("yaml", "folded text", |size| filled("a: >\n", "  b\n", "", size)),
    shape("yaml", "quoted text", |size| filled("\"", "\\n\\\n  ", "\"", size)),
    shape("yaml", "comments", |size| filled("", "# c\n", "a: b", size)),
    shape("protobuf", "deep messages", deep_messages),
    shape("protobuf", "many containers", |size| messages(&[2, 2], b"\x12\0", size)),
    shape("protobuf", "one field again and again", |size| messages(&[2], b"\x52\x01n", size)),
    shape("protobuf", "packed numbers", |size| messages(&[2, 14, 4], b"\x01", size)),
    shape("protobuf", "many finalizers", |size| messages(&[1], b"\x72\x03a/b", size)),
    shape("protobuf", "one label again and again", |size| messages(&[1], b"\x5a\x03\x0a\x01a", size)),
    shape("protobuf", "deep groups", |size| messages(&[1], b"\x83\x7d", size)),
    shape("protobuf", "unknown fields", |size| messages(&[], b"\x82\x7d\0", size)),
    shape("merge_patch", "many fields", |size| numbered("{", "\"x#\":0,", "\"y\":0}", size)),
    shape("merge_patch", "deep objects", |size| nested("{\"a\":", "1", "}", size)),
    shape("json_patch", "many operations", |size| {
        let operation = "{\"op\":\"add\",\"path\":\"/metadata/labels/a\",\"value\":\"b\"},";
        filled("[", operation, "{\"op\":\"test\",\"path\":\"/metadata/name\",\"value\":\"p\"}]", size)
    }),
    shape("json_patch", "a long path", |size| {
        filled("[{\"op\":\"add\",\"path\":\"", "/~1", "\",\"value\":0}]", size)
    }),
    shape("strategic_patch", "many finalizers", |size| {
        numbered("{\"metadata\":{\"finalizers\":[", "\"a/#\",", "\"b/c\"]}}", size)
    }),
    shape("strategic_patch", "many removed finalizers", |size| {
        numbered("{\"metadata\":{\"$deleteFromPrimitiveList/finalizers\":[", "\"a/#\",", "\"b/c\"]}}", size)
    }),
    shape("strategic_patch", "many containers", |size| {
        numbered("{\"spec\":{\"containers\":[", "{\"name\":\"c#\"},", "{\"name\":\"c\"}]}}", size)
    }),
    shape("strategic_patch", "a long order", |size| {
        numbered(
            "{\"spec\":{\"$setElementOrder/containers\":[",
            "{\"name\":\"c#\"},",
            "{\"name\":\"c\"}]}}",
            size,
        )
    }),
    shape("strategic_patch", "deep objects", |size| nested("{\"a\":", "1", "}", size)),
    shape("apply", "many labels", |size| {
        numbered(
            &format!("{APPLIED},\"metadata\":{{\"name\":\"p\",\"labels\":{{"),
            "\"l#\":\"\",",
            "\"z\":\"\"}}}",
            size,
        )
    }),
    shape("apply", "many containers", |size| {
        numbered(
            &format!("{APPLIED},\"spec\":{{\"containers\":["),
            "{\"name\":\"c#\"},",
            "{\"name\":\"c\"}]}}",
            size,
        )
    }),
    shape("apply", "many finalizers", |size| {
        numbered(
            &format!("{APPLIED},\"metadata\":{{\"name\":\"p\",\"finalizers\":["),
            "\"a/#\",",
            "\"b/c\"]}}",
            size,
        )
    }),
    shape("labels", "many requirements", |size| numbered("", "a#=b,", "c", size)),
    shape("labels", "many values", |size| numbered("a in (", "b#,", "c)", size)),
    shape("labels", "many signs", |size| filled("", "!=", "", size)),
    shape("labels", "a long name", |size| filled("", "a", "", size)),
    shape("fields", "many terms", |size| filled("", "metadata.name=p,", "metadata.name=p", size)),
    shape("fields", "escapes", |size| filled("metadata.name=", "\\\\", "", size)),
    shape("quantity", "many digits", |size| filled("", "9", "Ei", size)),
    shape("quantity", "many zeros", |size| filled("0.", "0", "1", size)),
    shape("quantity", "an enormous exponent", |size| filled("1e", "9", "", size)),
    shape("times", "many digits", |size| filled("", "9", "h", size)),
    shape("times", "many units", |size| filled("", "1h", "", size)),
];

const APPLIED: &str = "{\"apiVersion\":\"v1\",\"kind\":\"Pod\"";

fn nested(open: &str, inner: &str, close: &str, size: usize) -> Vec<u8> {
    let depth = size / (open.len() + close.len());
    format!("{}{inner}{}", open.repeat(depth), close.repeat(depth)).into()
}

fn filled(open: &str, element: &str, close: &str, size: usize) -> Vec<u8> {
    let count = size.saturating_sub(open.len() + close.len()) / element.len();
    format!("{open}{}{close}", element.repeat(count)).into()
}

/// The same with a number in the place of `#`, so that no two elements are one.
fn numbered(open: &str, element: &str, close: &str, size: usize) -> Vec<u8> {
    let mut text = open.to_owned();
    for number in 0.. {
        let next = element.replace('#', &number.to_string());
        if text.len() + next.len() + close.len() > size {
            break;
        }
        text.push_str(&next);
    }
    text.push_str(close);
    text.into()
}

/// Lists of lists of lists, each ten times the one before.
fn laughs(size: usize) -> Vec<u8> {
    let mut text = "a0: &a0 [lol]\n".to_owned();
    for level in 1.. {
        let line = format!("a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 10].join(","));
        if text.len() + line.len() > size.min(1 << 16) {
            break;
        }
        text.push_str(&line);
    }
    text.into()
}

/// A pod around messages in messages, these fields from outside.
fn messages(fields: &[u8], element: &[u8], size: usize) -> Vec<u8> {
    let around = 64 + 8 * fields.len();
    let mut inner = element.repeat(size.saturating_sub(around) / element.len());
    for number in fields.iter().rev() {
        inner = field(*number, &inner);
    }
    enveloped(&inner)
}

/// Schemas of custom resources, each the items of the one before: the one type of Kubernetes that nests without end.
fn deep_messages(size: usize) -> Vec<u8> {
    let mut inner = Vec::new();
    while inner.len() + 64 < size.min(1 << 14) {
        // `not` is field 28, `[(28 << 3) | 2]` in two bytes.
        let mut outer = vec![0xe2, 0x01];
        outer.extend(varint(inner.len()));
        outer.extend(&inner);
        inner = outer;
    }
    let definition: Value =
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"});
    let mut sealed = protobuf::encode(&definition).expect("a known kind");
    // The envelope's object comes again, and the last one counts: spec 2, versions 7, schema 4, openAPIV3Schema 1.
    sealed.extend(field(2, &field(2, &field(7, &field(4, &field(1, &inner))))));
    sealed
}

fn enveloped(message: &[u8]) -> Vec<u8> {
    let mut sealed = protobuf::encode(&json!({"apiVersion": "v1", "kind": "Pod"})).expect("a known kind");
    sealed.extend(field(2, message));
    sealed
}

fn field(number: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![number << 3 | 2];
    out.extend(varint(message.len()));
    out.extend(message);
    out
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
    out
}

"""Proves that link.md says enough: decodes the golden files by its tables alone and recomputes the digests.

Usage: python3 docs/design/link-decode.py [-v]

Every byte of every frame must be used and every field have a name; each field of the tables is filled, and each variant there, in some
frame. Changes of the recorded conversation are applied to a set as the
document says, and the digest of that set is compared with the one that each side named. With -v the frames are printed. Needs nothing
but Python's standard library; it shares no code and no generated data with the implementation.
"""

import hashlib
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent.parent / "link" / "tests" / "it" / "golden"


class Document:
    """The tables of link.md: what body each kind has, how structs and enums are made, and what extensions hold."""

    def __init__(self, text):
        self.kinds, self.structs, self.enums, self.extensions = {}, {}, {}, {}
        self.filled = set()
        readers = {
            "kind": self.read_kind,
            "struct": self.read_field,
            "enum": self.read_enum,
            "in": self.read_extension,
        }
        reader, struct = None, None
        for line in text.splitlines():
            if not line.startswith("|"):
                reader = None
                continue
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            if reader is None:
                reader = readers.get(cells[0], lambda *_: None)
            elif not set(line) <= set("|-"):
                struct = names(cells[0])[0] if names(cells[0]) else struct
                reader(struct, cells)

    def read_kind(self, _, cells):
        kind = int(cells[0], 16)
        assert kind not in self.kinds, f"{cells[0]} is there twice"
        self.kinds[kind] = names(cells[1])[0]

    def read_field(self, struct, cells):
        fields = self.structs.setdefault(struct, [])
        fields.extend((name, names(cells[2])[0]) for name in names(cells[1]))

    def read_enum(self, enum, cells):
        variants = {}
        for number, name, _, held in re.findall(r"(\d+) `(\w+)`( \((.*?)\))?", cells[1]):
            variants[int(number)] = (name, [tuple(field.split(": ")) for field in names(held)])
        self.enums[enum] = variants

    def read_extension(self, frame, cells):
        self.extensions[frame, int(cells[1])] = names(cells[2])[0]

    def unfilled(self):
        """Fields that are zero or empty in all frames so far, and variants that are in none."""
        fields = {(struct, name) for struct, fields in self.structs.items() for name, _ in fields}
        variants = {(enum, name) for enum, variants in self.enums.items() for name, _ in variants.values()}
        return (fields | variants) - self.filled


def names(cell):
    """What stands in backticks in a cell."""
    return re.findall(r"`([^`]*)`", cell)


class Reader:
    """The bytes of one body, and how values lie in them."""

    def __init__(self, document, body):
        self.document, self.body, self.at = document, body, 0

    def take(self, count):
        assert self.at + count <= len(self.body), "the body is too short"
        self.at += count
        return self.body[self.at - count : self.at]

    def unsigned(self, bits):
        number, shift = 0, 0
        while True:
            (byte,) = self.take(1)
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                assert number < 1 << bits, "a number is too large"
                return number

    def signed(self, bits):
        number = self.unsigned(bits)
        return number >> 1 ^ -(number & 1)

    def flag(self):
        (byte,) = self.take(1)
        assert byte in (0, 1), "neither 0 nor 1"
        return bool(byte)

    def value(self, kind):
        document = self.document
        if kind.endswith("?"):
            return self.value(kind[:-1]) if self.flag() else None
        if kind.startswith("["):
            return [self.value(kind[1:-1]) for _ in range(self.unsigned(64))]
        if kind.startswith("("):
            return tuple(self.value(part) for part in kind[1:-1].split(", "))
        if kind in document.structs:
            value = {name: self.value(part) for name, part in document.structs[kind]}
            document.filled.update((kind, name) for name, part in value.items() if part)
            return value
        if kind in document.enums:
            name, fields = document.enums[kind][self.unsigned(32)]
            document.filled.add((kind, name))
            return {name: {field: self.value(part) for field, part in fields}} if fields else name
        if kind == "bool":
            return self.flag()
        if kind == "time":
            return self.signed(64)
        if kind == "text":
            return self.take(self.unsigned(64)).decode()
        if kind == "bytes":
            return self.take(self.unsigned(64))
        number = int(kind[1:])
        return {"u": self.unsigned, "i": self.signed, "b": self.take}[kind[0]](number)


def decode(document, frame):
    """Name and value of a whole frame."""
    length = int.from_bytes(frame[:4], "little")
    name = document.kinds[int.from_bytes(frame[4:6], "little")]
    assert length == len(frame) - 6, "the length is not that of the body"
    value = whole(document, name, frame[6:])
    for extension in value.get("extensions", []) if isinstance(value, dict) else []:
        if kind := document.extensions.get((name, extension["tag"])):
            extension["bytes"] = whole(document, kind, extension["bytes"])
    return name, value


def whole(document, kind, body):
    """The value that takes all of a body."""
    reader = Reader(document, body)
    value = reader.value(kind)
    assert reader.at == len(body), f"{len(body) - reader.at} bytes of {kind} are left over"
    return value


class HeldSet:
    """What a node holds."""

    def __init__(self, pods=None, tombstones=None):
        self.pods, self.tombstones = dict(pods or {}), dict(tombstones or {})

    def apply(self, parts):
        """The set after a change, given as its frames."""
        begin = next(value for name, value in parts if name == "AssignmentBegin")
        after = HeldSet() if begin["base"] is None else HeldSet(self.pods, self.tombstones)
        for _, value in parts:
            after.pods.update((pod["uid"], revision) for revision, pod in value.get("upserts", []))
            buried = value.get("tombstones", [])
            after.tombstones.update((pod["uid"], pod["grace_seconds"]) for pod in buried)
        for uid in after.tombstones:
            after.pods.pop(uid, None)
        for uid in (uid for _, value in parts for uid in value.get("uids", [])):
            after.pods.pop(uid, None)
            after.tombstones.pop(uid, None)
        return after

    def digest(self):
        digest = hashlib.sha256()
        for uid, revision in sorted(self.pods.items(), key=lambda pod: pod[0].encode()):
            digest.update(uid.encode() + b"\0" + revision.to_bytes(8, "little"))
        digest.update(b"\1")
        for uid, grace in sorted(self.tombstones.items(), key=lambda pod: pod[0].encode()):
            digest.update(uid.encode() + b"\0" + grace.to_bytes(4, "little"))
        return digest.digest()


class Conversation:
    """A node's set as the recorded conversation changes it."""

    def __init__(self):
        self.held, self.parts, self.checked = HeldSet(), [], 0

    def hear(self, name, value):
        if name.startswith("Assignment") and name != "AssignmentAck":
            self.parts.append((name, value))
        if name == "AssignmentEnd":
            self.check(self.parts[0][1]["state_digest"], self.held.apply(self.parts))
        if name == "AssignmentAck":
            self.held, self.parts = self.held.apply(self.parts), []
        if name in ("Hello", "Resync"):
            self.check(value["state_digest"], self.held)
            self.parts = []

    def check(self, named, held):
        assert held.digest() == named, f"{held.digest().hex()} is not {named.hex()}"
        self.checked += 1


def main():
    document = Document((HERE / "link.md").read_text())
    is_verbose = "-v" in sys.argv[1:]
    seen, frames, conversation = set(), 0, Conversation()
    for file in ("frames.txt", "version_one.txt"):
        for line in (GOLDEN / file).read_text().splitlines():
            label, text = line.split(" ", 1)
            if label == "=":
                continue
            try:
                name, value = decode(document, bytes.fromhex(text))
                assert file != "frames.txt" or name == label, f"the frame is called {label}"
                if file == "version_one.txt":
                    conversation.hear(name, value)
            except (AssertionError, KeyError, ValueError) as error:
                sys.exit(f"{file}: {line[:60]}: {error!r}")
            seen.add(name)
            frames += 1
            if is_verbose:
                print(label, name, value)
    if missing := set(document.kinds.values()) - seen:
        sys.exit(f"no golden frame of {sorted(missing)}")
    if missing := document.unfilled():
        sys.exit(f"never filled in a golden frame: {sorted(missing)}")
    print(f"{frames} frames of {len(seen)} kinds decoded, {conversation.checked} digests recomputed")


if __name__ == "__main__":
    main()

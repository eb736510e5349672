"""What Google's own protobuf library reads and writes of the messages of graft.proto.

    google_protobuf.py check GRAFT.PROTO          reads messages, one JSON object a line, and checks
                                                  that the library finds the same fields in the
                                                  bytes, and the same bytes for the fields.
    google_protobuf.py write GRAFT.PROTO COUNT    writes messages, odd ones too, in the same form.

An object has the message's name, its fields by name, bytes in hex, and its payload in hex. In what
is written there is also the payload as the library itself would write those fields.
"""

import json
import os
import random
import sys
import tempfile

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor import FieldDescriptor
from grpc_tools import protoc


def main():
    task, proto = sys.argv[1:3]
    messages = classes(proto)
    if task == "check":
        print(sum(check(messages, json.loads(line)) for line in sys.stdin), "messages agree")
    else:
        source = random.Random(1)
        for _ in range(int(sys.argv[3])):
            print(json.dumps(write(messages[source.choice(sorted(messages))], source)))


def classes(proto):
    """The messages' classes by name, made by Google's compiler."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = os.path.join(folder, "compiled")
        include = os.path.dirname(proto)
        code = protoc.main(["protoc", f"-I{include}", f"--descriptor_set_out={compiled}", proto])
        if code != 0:
            sys.exit("graft.proto does not compile")
        with open(compiled, "rb") as file:
            files = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    found = message_factory.GetMessages(files.file)
    return {name.removeprefix("pb."): found[name] for name in found}


def fields(message):
    values = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        values[field.name] = value.hex() if isinstance(value, bytes) else value
    return values


def check(messages, case):
    payload = bytes.fromhex(case["payload"])
    message = messages[case["message"]].FromString(payload)
    if fields(message) != case["fields"] or message.SerializeToString() != payload:
        sys.exit(f"{case} is {fields(message)}, {message.SerializeToString().hex()}")
    return 1


def write(message_class, source):
    """A message whose payload may be any that means it, and has unknown fields.

    Most have an id at the end that a node may have: others are only refused.
    """
    parts = []
    known = message_class.DESCRIPTOR.fields
    for _ in range(source.randrange(8)):
        if source.random() < 0.8:
            parts.append(known_field(source.choice(known), source))
        else:
            parts.append(unknown_field(known, source, 0))
    if source.random() < 0.8:
        parts += [valid_id(field, source) for field in known if is_text(field)]
    payload = b"".join(parts)
    message = message_class.FromString(payload)
    values = fields(message)
    message.DiscardUnknownFields()
    return {
        "message": message.DESCRIPTOR.name,
        "fields": values,
        "payload": payload.hex(),
        "canonical": message.SerializeToString().hex(),
    }


def is_text(field):
    return field.type == FieldDescriptor.TYPE_STRING


def valid_id(field, source):
    name = "".join(source.choices("abc-_09", k=source.choice([1, 5, 64])))
    return key(field.number, 2, source) + delimited(name.encode(), source)


def known_field(field, source):
    if is_text(field):
        letters = source.choice(["abc-_09", "aé€🦀\0 .*>"])
        text = "".join(source.choices(letters, k=source.choice([0, 1, 5, 64, 200])))
        return key(field.number, 2, source) + delimited(text.encode(), source)
    if field.type == FieldDescriptor.TYPE_BYTES:
        value = source.randbytes(source.choice([0, 1, 64, 200]))
        return key(field.number, 2, source) + delimited(value, source)
    if field.type == FieldDescriptor.TYPE_FIXED32:
        value = source.choice([0, 1, source.getrandbits(32)])
        return key(field.number, 5, source) + value.to_bytes(4, "little")
    return key(field.number, 0, source) + varint(number(source), source)


def unknown_field(known, source, depth):
    numbers = {field.number for field in known}
    tag = source.choice([4, 7, 23, 24, 100, 2**29 - 1])
    assert tag not in numbers
    wire_type = source.choice([0, 1, 2, 3, 5] if depth < 5 else [0, 1, 2, 5])
    begin = key(tag, wire_type, source)
    if wire_type == 0:
        return begin + varint(number(source), source)
    if wire_type == 1:
        return begin + source.randbytes(8)
    if wire_type == 2:
        return begin + delimited(source.randbytes(source.randrange(20)), source)
    if wire_type == 5:
        return begin + source.randbytes(4)
    inside = [unknown_field(known, source, depth + 1) for _ in range(source.randrange(3))]
    return begin + b"".join(inside) + key(tag, 4, source)


def number(source):
    return source.getrandbits(64) >> source.randrange(65)


def key(tag, wire_type, source):
    return varint(tag << 3 | wire_type, source, 5)


def delimited(value, source):
    return varint(len(value), source, 5) + value


def varint(value, source, length_max=10):
    """The bytes of a number, sometimes more than it needs."""
    digits = [value & 0x7F]
    while value := value >> 7:
        digits.append(value & 0x7F)
    if source.random() < 0.2:
        digits += [0] * source.randint(0, length_max - len(digits))
    return bytes(digit | 0x80 for digit in digits[:-1]) + bytes(digits[-1:])


main()

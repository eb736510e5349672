//! Streams of frames, whole and damaged, with noise between them: however the stream is cut into
//! portions, the reader finds just the frames that a slow and simple reader finds, which looks at
//! all of it at once. So it yields none with a wrong checksum, and loses none after noise. A node
//! hears those of them that are for it or for everyone.

#![no_main]

use arbitrary::Arbitrary;
use crc::{CRC_32_ISCSI, Crc};
use graft_election_core::{Message, NodeId, Recipient};
use graft_election_proto::frame::{ClusterTag, DELIMITER, FRAME_MAX, FrameReader, encode_payload};
use graft_election_proto::{Kind, decode};
use libfuzzer_sys::fuzz_target;

/// Of the reader; some frames are of another.
const CLUSTER: &str = "lamps";

#[derive(Arbitrary, Debug)]
struct Stream<'a> {
    pieces: Vec<Piece<'a>>,
    /// How many bytes come at once.
    portions: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
enum Piece<'a> {
    Noise(&'a [u8]),
    Frame(Sent<'a>),
    /// One byte of the frame is another.
    Damaged(Sent<'a>, u16, u8),
}

#[derive(Arbitrary, Debug)]
struct Sent<'a> {
    kind: u8,
    sender: &'a str,
    receiver: &'a str,
    payload: &'a [u8],
}

/// What a frame says: its sender, its receiver, its message, and the message's bytes.
type Said = (NodeId, Recipient, Message, Vec<u8>);

fuzz_target!(|stream: Stream<'_>| {
    let line: Vec<u8> = stream.pieces.iter().flat_map(Piece::bytes).collect();
    let expected: Vec<Said> =
        line.split(|byte| *byte == DELIMITER).filter_map(unstuff).filter_map(parse).collect();

    let mut reader = FrameReader::new(ClusterTag::of(CLUSTER));
    let mut found = Vec::new();
    let mut rest = &line[..];
    let mut portions = stream.portions.iter().cycle();
    while !rest.is_empty() {
        let len = portions.next().map_or(rest.len(), |len| usize::from(*len) % 32 + 1);
        let (mut portion, later) = rest.split_at(len.min(rest.len()));
        while let Some(frame) = reader.read_any(&mut portion) {
            found.push((frame.sender, frame.to, frame.message, frame.payload.to_vec()));
        }
        assert!(portion.is_empty());
        rest = later;
    }
    // What comes after the last delimiter is no frame yet.
    assert!(expected.starts_with(&found) && expected.len() - found.len() <= 1);
    let mut end = &[DELIMITER][..];
    found.extend(
        reader
            .read_any(&mut end)
            .map(|last| (last.sender, last.to, last.message, last.payload.into())),
    );
    assert_eq!(found, expected);

    let line = [&line[..], &[DELIMITER]].concat();
    for (_, to, _, _) in &expected {
        if let Recipient::Node(node) = to {
            hear_what_is_for(node, &line, &expected);
        }
    }
});

fn hear_what_is_for(node: &NodeId, mut line: &[u8], said: &[Said]) {
    let mut reader = FrameReader::new(ClusterTag::of(CLUSTER));
    for (_, to, message, _) in said {
        if *to == Recipient::Everyone || *to == Recipient::Node(node.clone()) {
            assert_eq!(reader.read_for(node, &mut line).as_ref(), Some(message));
        }
    }
    assert_eq!(reader.read_for(node, &mut line), None);
}

impl Piece<'_> {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Noise(bytes) => bytes.to_vec(),
            Self::Frame(sent) => sent.frame().unwrap_or_default(),
            Self::Damaged(sent, place, byte) => {
                let mut frame = sent.frame().unwrap_or_default();
                let place = usize::from(*place).checked_rem(frame.len());
                if let Some(place) = place {
                    frame[place] = *byte;
                }
                frame
            }
        }
    }
}

impl Sent<'_> {
    /// None if no node could send it.
    fn frame(&self) -> Option<Vec<u8>> {
        let kind = Kind::from_number(self.kind % 16)?;
        let cluster = ClusterTag::of(if self.kind < 240 { CLUSTER } else { "doors" });
        let sender = NodeId::new(self.sender).ok()?;
        let to = NodeId::new(self.receiver).map_or(Recipient::Everyone, Recipient::Node);
        let mut buffer = [0; FRAME_MAX];
        let frame = encode_payload(cluster, kind, &sender, &to, self.payload, &mut buffer).ok()?;
        Some(frame.to_vec())
    }
}

/// Undoes the stuffing of what stood between two delimiters.
fn unstuff(mut stuffed: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    while let Some((code, rest)) = stuffed.split_first() {
        let (block, next) = rest.split_at_checked(usize::from(*code) - 1)?;
        content.extend(block);
        if *code < 0xFF && !next.is_empty() {
            content.push(0);
        }
        stuffed = next;
    }
    // `docs/serial-frames.md`: the longest content.
    (content.len() <= 335).then_some(content)
}

fn parse(content: Vec<u8>) -> Option<Said> {
    let (checked, checksum) = content.split_last_chunk()?;
    let expected = Crc::<u32>::new(&CRC_32_ISCSI).checksum(checked);
    if u32::from_le_bytes(*checksum) != expected {
        return None;
    }
    let (tag, rest) = checked.split_at_checked(2)?;
    let checksum = Crc::<u32>::new(&CRC_32_ISCSI).checksum(CLUSTER.as_bytes());
    if tag != &checksum.to_le_bytes()[..2] {
        return None;
    }
    let (kind, rest) = rest.split_first()?;
    let (sender, rest) = split_text(rest)?;
    let (receiver, payload) = split_text(rest)?;
    let sender = NodeId::new(sender).ok()?;
    let to = match receiver {
        "" => Recipient::Everyone,
        name => Recipient::Node(NodeId::new(name).ok()?),
    };
    let message = decode(Kind::from_number(*kind)?, payload).ok()?;
    let names_another = message.sender().is_some_and(|named| *named != sender);
    (!names_another).then(|| (sender, to, message, payload.to_vec()))
}

fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((str::from_utf8(text).ok()?, rest))
}

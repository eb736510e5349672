//! The serial transport on lines that deliver piecemeal, fail or end, and whose reads and writes
//! are given up at any moment.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use graft_election_core::{
    Heartbeat, LeaderValue, Message, NodeId, Outgoing, Recipient, VoteResponse,
};
use graft_election_embassy::{SerialError, SerialTransport, Transport};
use graft_election_proto::frame::{ClusterTag, FRAME_MAX, FrameErrors, FrameReader, encode_frame};

const CLUSTER: ClusterTag = ClusterTag::of("test");

const NOISE: &[u8] = b"\x07noise\xff\0\0\x03\x01";

#[test]
fn messages_come_out_whole_in_whatever_pieces_they_arrive_and_wherever_a_wait_is_given_up() {
    let sent: Vec<Message> = (1..=5).map(heartbeat).collect();
    let line: Vec<u8> = sent.iter().flat_map(|message| [NOISE, &frame(message)].concat()).collect();
    for portion in 1..=line.len() {
        let (errors, log) = (Cell::default(), Cell::default());
        let script = line.chunks(portion).flat_map(|bytes| [Step::Wait, Step::Bytes(bytes.into())]);
        let mut transport = transport(script.collect(), &errors, &log);
        for message in &sent {
            assert_eq!(receive_impatiently(&mut transport), Ok(message.clone()));
        }
        assert_eq!(errors.get(), FrameErrors { checksum: 5, cut_off: 5, ..FrameErrors::NONE });
    }
}

#[test]
fn a_vote_for_another_candidate_is_skipped() {
    let vote = |to: &str| {
        let vote = VoteResponse {
            term: 1,
            granted: true,
            voter: Some(id("b")),
            round: None,
            list: None,
            life: None,
            wanted: None,
        };
        Outgoing { to: Recipient::Node(id(to)), message: Message::VoteResponse(vote) }
    };
    let line = [encoded("b", &vote("c")), encoded("b", &vote("a")), encoded("b", &vote("aa"))];
    let (errors, log) = (Cell::default(), Cell::default());
    let script = [Step::Bytes(line.concat()), Step::End];
    let mut transport = transport(script.into(), &errors, &log);
    assert_eq!(receive_impatiently(&mut transport), Ok(vote("a").message));
    assert_eq!(receive_impatiently(&mut transport), Err(SerialError::Closed));
    assert_eq!(errors.get(), FrameErrors::NONE);
}

#[test]
fn n1_frames_of_another_cluster_are_skipped() {
    let mut buffer = [0; FRAME_MAX];
    let of_doors = everyone(heartbeat(2));
    let of_doors = encode_frame(ClusterTag::of("doors"), &id("a"), &of_doors, &mut buffer).unwrap();
    let line = [of_doors, &frame(&heartbeat(1))].concat();
    let (errors, log) = (Cell::default(), Cell::default());
    let mut transport = transport([Step::Bytes(line)].into(), &errors, &log);
    assert_eq!(receive_impatiently(&mut transport), Ok(heartbeat(1)));
    assert_eq!(errors.get(), FrameErrors { other_cluster: 1, ..FrameErrors::NONE });
}

#[test]
fn a_line_that_fails_is_reported_and_what_came_before_and_after_is_kept() {
    let whole = frame(&heartbeat(1));
    let (front, back) = whole.split_at(9);
    let steps = [
        Step::Bytes(front.into()),
        Step::Fail,
        Step::Bytes(back.into()),
        Step::End,
        Step::Bytes(whole.clone()),
    ];
    let (errors, log) = (Cell::default(), Cell::default());
    let mut transport = transport(steps.into(), &errors, &log);
    assert_eq!(receive_impatiently(&mut transport), Err(SerialError::Line(ErrorKind::Other)));
    assert_eq!(receive_impatiently(&mut transport), Ok(heartbeat(1)));
    assert_eq!(receive_impatiently(&mut transport), Err(SerialError::Closed));
    assert_eq!(receive_impatiently(&mut transport), Ok(heartbeat(1)));
}

#[test]
fn a_message_is_written_whole_however_little_is_taken_at_a_time() {
    for taken in 1..=FRAME_MAX {
        let (errors, log) = (Cell::default(), Cell::default());
        let mut transport = transport(VecDeque::new(), &errors, &log);
        let outgoing = everyone(heartbeat(1));
        log.set(Log { taken, ..Log::default() });
        assert_eq!(poll(transport.send(&outgoing)), Some(Ok(())));
        let log = log.take();
        assert_eq!(log.written, encoded("a", &outgoing));
        assert!(log.is_flushed);
    }
}

#[test]
fn a_send_that_is_given_up_anywhere_spoils_no_other_frame() {
    let whole = frame(&heartbeat(1)).len();
    for end in 0..whole {
        let (errors, log) = (Cell::default(), Cell::default());
        let mut transport = transport(VecDeque::new(), &errors, &log);
        log.set(Log { taken: 1, stuck_at: Some(end), ..Log::default() });
        assert_eq!(poll(transport.send(&everyone(heartbeat(1)))), None);
        log.set(Log { stuck_at: None, ..log.take() });
        assert_eq!(poll(transport.send(&everyone(heartbeat(2)))), Some(Ok(())));
        let written = log.take().written;
        let mut line = &written[..];
        let mut reader = FrameReader::new(CLUSTER);
        let mut heard = Vec::new();
        while let Some(frame) = reader.read_any(&mut line) {
            heard.push(frame.message);
        }
        // Without its last delimiter a frame is still whole, since the next one begins with
        // another.
        let whole =
            if end == whole - 1 { vec![heartbeat(1), heartbeat(2)] } else { vec![heartbeat(2)] };
        assert_eq!(heard, whole, "given up after {end} bytes");
    }
}

#[test]
fn a_line_that_cannot_be_written_is_reported() {
    let (errors, log) = (Cell::default(), Cell::default());
    let mut transport = transport(VecDeque::new(), &errors, &log);
    log.set(Log { taken: 0, ..Log::default() });
    assert_eq!(poll(transport.send(&everyone(heartbeat(1)))), Some(Err(SerialError::Closed)));
    log.set(Log { taken: 1, is_broken: true, ..Log::default() });
    let failed = SerialError::Line(ErrorKind::Other);
    assert_eq!(poll(transport.send(&everyone(heartbeat(1)))), Some(Err(failed)));
}

/// What one read of the line does.
enum Step {
    Bytes(Vec<u8>),
    /// Nothing arrives until the wait is given up.
    Wait,
    Fail,
    End,
}

struct Script(VecDeque<Step>);

impl ErrorType for Script {
    type Error = ErrorKind;
}

impl Read for Script {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        match self.0.pop_front() {
            Some(Step::Bytes(mut bytes)) => {
                let len = bytes.len().min(buffer.len());
                buffer[..len].copy_from_slice(&bytes[..len]);
                bytes.drain(..len);
                if !bytes.is_empty() {
                    self.0.push_front(Step::Bytes(bytes));
                }
                Ok(len)
            }
            Some(Step::Wait) => pending().await,
            Some(Step::Fail) => Err(ErrorKind::Other),
            Some(Step::End) => Ok(0),
            None => panic!("the line is over"),
        }
    }
}

/// What was written to the line, and how the line behaves.
#[derive(Default)]
struct Log {
    written: Vec<u8>,
    is_flushed: bool,
    taken: usize,
    stuck_at: Option<usize>,
    is_broken: bool,
}

struct Pen<'l>(&'l Cell<Log>);

impl ErrorType for Pen<'_> {
    type Error = ErrorKind;
}

impl Write for Pen<'_> {
    async fn write(&mut self, buffer: &[u8]) -> Result<usize, ErrorKind> {
        let mut log = self.0.take();
        let is_stuck = log.stuck_at == Some(log.written.len());
        let (len, is_broken) = (log.taken.min(buffer.len()), log.is_broken);
        if !is_stuck {
            log.written.extend(&buffer[..len]);
        }
        self.0.set(log);
        match (is_stuck, is_broken) {
            (true, _) => pending().await,
            (_, true) => Err(ErrorKind::Other),
            _ => Ok(len),
        }
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        let log = self.0.take();
        self.0.set(Log { is_flushed: true, ..log });
        Ok(())
    }
}

fn transport<'c>(
    script: VecDeque<Step>,
    errors: &'c Cell<FrameErrors>,
    log: &'c Cell<Log>,
) -> SerialTransport<'c, Script, Pen<'c>> {
    SerialTransport::new(CLUSTER, id("a"), Script(script), Pen(log), errors)
}

/// K1 to K3: what isn't sealed, or was heard before, is passed over and counted.
#[cfg(feature = "seal")]
#[test]
fn k1_k2_k3_of_sealed_frames_each_is_taken_once_and_of_others_none() {
    use graft_election_proto::seal::{Key, Keys, Seals};

    let keys = || Keys { current: Key::new([1; Key::LEN]), other: None };
    let (errors, log) = (Cell::default(), Cell::new(Log { taken: 64, ..Log::default() }));
    let sender = transport(VecDeque::new(), &errors, &log);
    let mut sender = sender.with_seals(Seals::<4>::of_node("test", &keys(), id("a"), 1));
    for term in 1..=2 {
        assert_eq!(poll(sender.send(&everyone(heartbeat(term)))), Some(Ok(())));
    }
    let sealed = log.take().written;
    let line = [&frame(&heartbeat(9)), &sealed[..], &sealed, &frame(&heartbeat(9))].concat();

    let script = [Step::Bytes(line), Step::End];
    let receiver =
        SerialTransport::new(CLUSTER, id("b"), Script(script.into()), Pen(&log), &errors);
    let mut receiver = receiver.with_seals(Seals::<4>::of_node("test", &keys(), id("b"), 1));
    assert_eq!(receive_impatiently(&mut receiver), Ok(heartbeat(1)));
    assert_eq!(receive_impatiently(&mut receiver), Ok(heartbeat(2)));
    assert_eq!(receive_impatiently(&mut receiver), Err(SerialError::Closed));
    assert_eq!(errors.get(), FrameErrors { unauthentic: 4, ..FrameErrors::NONE });
}

/// Receives like a driver whose timer runs out each time it has to wait.
fn receive_impatiently(
    transport: &mut impl Transport<Error = SerialError<ErrorKind>>,
) -> Result<Message, SerialError<ErrorKind>> {
    loop {
        if let Some(result) = poll(transport.receive()) {
            return result;
        }
    }
}

/// Polls a future once, and drops it.
fn poll<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn heartbeat(term: u64) -> Message {
    let (leader, value) = (id("a"), LeaderValue::EMPTY);
    let (sent_at, size, round, list) = (None, None, None, None);
    Message::Heartbeat(Heartbeat { term, leader, sent_at, size, round, list, value })
}

fn everyone(message: Message) -> Outgoing {
    Outgoing { to: Recipient::Everyone, message }
}

fn frame(message: &Message) -> Vec<u8> {
    encoded("a", &everyone(message.clone()))
}

fn encoded(sender: &str, outgoing: &Outgoing) -> Vec<u8> {
    encode_frame(CLUSTER, &id(sender), outgoing, &mut [0; FRAME_MAX]).unwrap().to_vec()
}

fn id(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

/// K4: a board's key is the text that a server's is, up to where the flash was not written.
#[cfg(feature = "seal")]
#[test]
fn k4_a_key_in_flash_ends_where_nothing_was_written() {
    use graft_election_embassy::keys_in_flash;
    use graft_election_proto::seal::{Key, KeyTextError, Keys};

    let digits = |digit: &str| digit.repeat(2 * Key::LEN);
    let one = digits("7");
    let two = format!("{one}\r\n{}\r\n", digits("a"));
    for end in [&b""[..], b"\xff", b"\0", b"\n\xff\xff", b"\0not a key"] {
        let keys = keys_in_flash(&[one.as_bytes(), end].concat());
        assert!(matches!(keys, Ok(Keys { other: None, .. })), "{end:?}: {keys:?}");
        let keys = keys_in_flash(&[two.as_bytes(), end].concat());
        assert!(matches!(keys, Ok(Keys { other: Some(_), .. })), "{end:?}: {keys:?}");
    }
    for (flash, error) in [
        (&[0xff; 8][..], KeyTextError::Empty),
        (&[0; 8], KeyTextError::Empty),
        (&[], KeyTextError::Empty),
        (b"\xff\x37", KeyTextError::Empty),
        (&one.as_bytes()[1..], KeyTextError::NotAKey { word: 1 }),
        (format!("{two}7").as_bytes(), KeyTextError::TooMany),
        (format!("{one} {one}").as_bytes(), KeyTextError::Alike),
    ] {
        assert_eq!(keys_in_flash(flash).unwrap_err(), error, "{flash:?}");
    }
}

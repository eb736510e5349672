//! A program that links only if nothing in the election's core and wire format can panic (I7).
//!
//! It calls every public function of both with inputs that the optimizer can't foresee, in any
//! order. The panic handler calls a function that doesn't exist, so that the linker refuses the
//! program unless the optimizer has proven that no panic can be reached. It is never run.
//!
//! What it proves is proven of release code, where arithmetic wraps: overflow checks are off.
//! `Debug` output is left out.

#![no_std]
#![no_main]

use core::convert::Infallible;
use core::fmt::{self, Write};
use core::hint::black_box;
use core::panic::PanicInfo;
use core::ptr;
use core::time::Duration;

use graft_election_core::{
    Application, Config, Instant, Life, ListId, Message, Node, NodeId, Outgoing, Output, Position,
    Recipient, RecordedList, Round, State, VoteRecord, VoterList, quorum,
};
use graft_election_proto::frame::{
    ClusterTag, FRAME_MAX, FrameReader, encode_frame, encode_payload,
};
use graft_election_proto::seal::{Key, Keys, SEALED_MAX, Seals};
use graft_election_proto::{ENCODED_MAX, Kind, decode, encode};
use rand_core::TryRng;

const VOTERS: usize = 7;

unsafe extern "C" {
    /// Defined nowhere.
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    unsafe { a_panic_is_reachable() }
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        let _ = election();
        payloads();
        let _ = frames();
        let _ = seals();
        values();
    }
}

/// A byte of which nothing is known.
fn byte() -> u8 {
    static SOURCE: u8 = 0;
    // A volatile read may give anything, as far as the optimizer knows.
    unsafe { ptr::read_volatile(&raw const SOURCE) }
}

fn number() -> u64 {
    u64::from_le_bytes([(); 8].map(|()| byte()))
}

fn instant() -> Instant {
    Instant::from_micros(number())
}

fn duration() -> Duration {
    Duration::from_nanos(number()).saturating_mul(u32::from(byte()))
}

/// Bytes of which nothing is known, nor how many there are.
struct Input([u8; 256]);

impl Input {
    fn new() -> Self {
        Self([(); 256].map(|()| byte()))
    }

    fn bytes(&self) -> &[u8] {
        self.0.get(usize::from(byte())..).unwrap_or_default()
    }

    fn text(&self) -> &str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }
}

fn id() -> Option<NodeId> {
    NodeId::new(Input::new().text()).ok()
}

fn message() -> Option<Message> {
    decode(Kind::from_number(byte())?, Input::new().bytes()).ok()
}

struct Opaque;

impl TryRng for Opaque {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(number() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(number())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(byte);
        Ok(())
    }
}

impl Application for Opaque {
    fn position(&mut self) -> Position {
        Position::new(Input::new().bytes()).unwrap_or_default()
    }

    fn grants_vote(&mut self, position: &[u8]) -> bool {
        black_box(position).len() > usize::from(byte())
    }
}

/// Takes in what a formatter writes.
struct Sink;

impl Write for Sink {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        black_box(text);
        Ok(())
    }
}

fn display(value: impl fmt::Display) {
    let _ = write!(Sink, "{value}");
}

/// One node's life: any inputs in any order, saves that succeed and that fail.
fn election() -> Option<()> {
    let voters = [id()?, id()?, id()?];
    let cluster = Input::new();
    let config = Config {
        voters: voters.get(usize::from(byte())..).unwrap_or_default(),
        election_timeout_min: duration(),
        election_timeout_max: duration(),
        heartbeat_interval: duration(),
        ..Config::new(cluster.text(), number() as usize)
    };
    if let Err(error) = config.check(number() as usize) {
        display(error);
    }
    let node = Node::<_, _, VOTERS>::new(id()?, &config, record()?, Opaque, Opaque, instant());
    let mut node = match node {
        Ok(node) => node,
        Err(error) => {
            display(error);
            return None;
        }
    };
    while node.state() != State::Closed || byte() != 0 {
        if byte() == 0 {
            node.handle_link_up(instant());
        }
        let output = match byte() {
            0 => node.handle_message(instant(), message()?),
            1 => node.handle_timeout(instant()),
            2 => node.hand_over(instant(), id()),
            3 => node.hold_back(instant(), byte() != 0),
            _ => node.close(instant()),
        };
        if let Some(outgoing) = carry_out(output) {
            send(&outgoing);
        }
        look_at(&mut node);
    }
    Some(())
}

/// Any record: one that was stored, a first one, or one whose voters were replaced.
fn record() -> Option<VoteRecord<VOTERS>> {
    let list = (byte() != 0).then(recorded_list).flatten();
    let (bound_for, is_paused) = (number() as u32, byte() != 0);
    let (voted_for, starts) = (id(), number() as u32);
    let stored = VoteRecord { term: number(), voted_for, list, bound_for, is_paused, starts };
    Some(match byte() {
        0 => stored,
        1 => VoteRecord::first(voter_list()?),
        _ => stored.with_list(&id()?, voter_list()?, number() as u32),
    })
}

/// What a record knows of a list.
fn recorded_list() -> Option<RecordedList<VOTERS>> {
    let list = match byte() {
        0 => RecordedList::Id(list_id()),
        _ => RecordedList::Whole(voter_list()?),
    };
    black_box((list.id(), list.root()));
    Some(list)
}

/// A list that is set by hand, or one that was stored.
fn voter_list() -> Option<VoterList<VOTERS>> {
    let voters = [id()?, id()?, id()?];
    let voters = voters.get(usize::from(byte())..).unwrap_or_default();
    let list = match byte() {
        0 => VoterList::replaced_in(number(), voters),
        _ => VoterList::restored(list_id(), list_id(), voters.iter().cloned()),
    };
    if let Err(error) = &list {
        display(error);
    }
    list.ok()
}

fn list_id() -> ListId {
    ListId { term: number(), version: number() as u32 }
}

fn carry_out(output: Output<'_, Opaque, Opaque, VOTERS>) -> Option<Outgoing> {
    match output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing),
        Output::Save(unsaved) => {
            black_box((unsaved.record(), unsaved.node().term()));
            if byte() == 0 {
                return None;
            }
            unsaved.saved(instant())
        }
    }
}

fn send(outgoing: &Outgoing) {
    black_box(&outgoing.to);
    let mut buffer = [0; ENCODED_MAX];
    let room = buffer.get_mut(usize::from(byte())..).unwrap_or_default();
    match encode(&outgoing.message, room) {
        Ok(payload) => drop(black_box(payload)),
        Err(error) => display(error),
    }
    display(Kind::of(&outgoing.message));
}

fn look_at(node: &mut Node<Opaque, Opaque, VOTERS>) {
    display(node.state());
    display(node.reason());
    if let Some(report) = node.report() {
        display(report);
    }
    black_box((node.id(), node.term(), node.leader(), node.vote()));
    black_box((node.record(), node.deadline()));
    black_box(node.application_mut());
}

fn payloads() {
    let input = Input::new();
    if let Some(kind) = Kind::from_name(input.text()) {
        match decode(kind, Input::new().bytes()) {
            Ok(message) => {
                black_box((message.term(), message.sender(), message.round(), message.list()));
            }
            Err(error) => display(error),
        }
    }
}

/// A line: frames written into rooms of any size, and any bytes read in any portions.
fn frames() -> Option<()> {
    let mut buffer = [0; FRAME_MAX];
    let room = buffer.get_mut(usize::from(byte())..).unwrap_or_default();
    let cluster = ClusterTag::of(Input::new().text());
    let to = id().map_or(Recipient::Everyone, Recipient::Node);
    let frame = if byte() == 0 {
        let message = message()?;
        encode_frame(cluster, &id()?, &Outgoing { to, message }, room)
    } else {
        let kind = Kind::from_number(byte())?;
        encode_payload(cluster, kind, &id()?, &to, Input::new().bytes(), room)
    };
    match frame {
        Ok(frame) => drop(black_box(frame)),
        Err(error) => display(error),
    }
    let mut reader = FrameReader::new(cluster);
    while byte() != 0 {
        let input = Input::new();
        let mut portion = input.bytes();
        while let Some(message) = reader.read_for(&id()?, &mut portion) {
            black_box(message);
        }
        let mut portion = input.bytes();
        while let Some(frame) = reader.read_any(&mut portion) {
            black_box((&frame.sender, &frame.to, &frame.message, frame.payload));
        }
        let mut portion = input.bytes();
        while let Some(frame) = reader.read_frame_for(&id()?, &mut portion) {
            black_box((&frame.sender, frame.payload));
        }
    }
    black_box(reader.errors().total());
    Some(())
}

/// Messages sealed into rooms of any size, and seals on any bytes.
fn seals() -> Option<()> {
    let key = || Key::new([(); Key::LEN].map(|()| byte()));
    let keys = Keys { current: key(), other: (byte() == 0).then(key) };
    let (name, starts) = (Input::new(), number() as u32);
    let mut seals = match byte() {
        0 => Seals::<VOTERS>::of_listener(name.text(), &keys),
        _ => Seals::of_node(name.text(), &keys, id()?, starts),
    };
    while byte() != 0 {
        let to = id().map_or(Recipient::Everyone, Recipient::Node);
        let outgoing = Outgoing { to, message: message()? };
        let mut buffer = [0; SEALED_MAX];
        let room = buffer.get_mut(usize::from(byte())..).unwrap_or_default();
        match seals.encode(&outgoing, room) {
            Ok(payload) => drop(black_box(payload)),
            Err(error) => display(error),
        }
        let Outgoing { to, message } = outgoing;
        if let Err(error) = seals.open(&message, &to, Input::new().bytes()) {
            display(error);
        }
    }
    Some(())
}

fn values() {
    match NodeId::new(Input::new().text()) {
        Ok(id) => display(id),
        Err(error) => display(error),
    }
    if let Err(error) = NodeId::from_bytes(Input::new().bytes()) {
        display(error);
    }
    match Input::new().text().parse::<NodeId>() {
        Ok(id) => drop(black_box(id.as_str())),
        Err(error) => display(error),
    }
    match Position::new(Input::new().bytes()) {
        Ok(position) => drop(black_box(position.as_bytes())),
        Err(error) => display(error),
    }
    let instant = instant().saturating_add(duration());
    black_box((instant.as_micros(), instant.saturating_since(self::instant())));
    black_box(quorum(number() as usize));
    black_box(Round::new(number() as u32).map(Round::number));
    black_box(Life::new(number() as u32).map(Life::number));
    black_box(list_id().has_voters_of(list_id()));
    display(list_id());
    #[cfg(feature = "plant")]
    black_box(NodeId::new(Input::new().text()).unwrap());
}

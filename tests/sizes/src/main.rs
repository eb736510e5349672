//! A program of nothing but the election's core and wire format, so that its size is theirs: a
//! voter of a cluster of seven, which reads frames, takes part, and writes frames.
//!
//! It has no time driver, no device and no executor. It is built and weighed, and never run.

#![no_std]
#![no_main]

use core::cell::UnsafeCell;
use core::convert::Infallible;
use core::mem::MaybeUninit;
use core::panic::PanicInfo;
use core::ptr;

use graft_election_core::{
    AlwaysGrant, Config, Instant, Message, Node, NodeId, Outgoing, Output, State, VoteRecord,
};
#[cfg(not(feature = "seal"))]
use graft_election_proto::frame::encode_frame;
use graft_election_proto::frame::{ClusterTag, FRAME_MAX, FrameReader};
#[cfg(feature = "seal")]
use graft_election_proto::{
    Kind,
    frame::encode_payload,
    seal::{Key, Keys, SEALED_MAX, Seals},
};
use rand_core::TryRng;

const CLUSTER: ClusterTag = ClusterTag::of("sizes");

/// The most voters that there can be.
const VOTERS: usize = 7;

/// All that outlives an input. Nothing of it is kept in flash, as is true of a task of embassy's.
static VOTER: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

struct Voter {
    node: Node<Device, AlwaysGrant, VOTERS>,
    frames: FrameReader,
    line: Line,
}

/// What is around messages: frames alone.
#[cfg(not(feature = "seal"))]
struct Line;

/// What is around messages: frames, and seals in them.
#[cfg(feature = "seal")]
struct Line(Seals<VOTERS>);

#[cfg(not(feature = "seal"))]
impl Line {
    fn new() -> Option<Self> {
        Some(Self)
    }

    fn read(&mut self, frames: &mut FrameReader, id: &NodeId, bytes: &[u8]) -> Option<Message> {
        frames.read_for(id, &mut &*bytes)
    }

    fn write(&mut self, id: &NodeId, outgoing: &Outgoing) {
        if let Ok(frame) = encode_frame(CLUSTER, id, outgoing, &mut [0; FRAME_MAX]) {
            Device.take(frame);
        }
    }
}

#[cfg(feature = "seal")]
impl Line {
    fn new() -> Option<Self> {
        let key = [(); Key::LEN].map(|()| Device.number() as u8);
        let keys = Keys { current: Key::new(key), other: None };
        Some(Self(Seals::of_node("sizes", &keys, id()?, Device.number() as u32)))
    }

    fn read(&mut self, frames: &mut FrameReader, id: &NodeId, bytes: &[u8]) -> Option<Message> {
        let mut bytes = bytes;
        let frame = frames.read_frame_for(id, &mut bytes)?;
        self.0.open(&frame.message, &frame.to, frame.payload).ok()?;
        Some(frame.message)
    }

    fn write(&mut self, id: &NodeId, outgoing: &Outgoing) {
        let (mut payload, mut buffer) = ([0; SEALED_MAX], [0; FRAME_MAX]);
        let Ok(payload) = self.0.encode(outgoing, &mut payload) else { return };
        let (kind, to) = (Kind::of(&outgoing.message), &outgoing.to);
        if let Ok(frame) = encode_payload(CLUSTER, kind, id, to, payload, &mut buffer) {
            Device.take(frame);
        }
    }
}

struct Place(UnsafeCell<MaybeUninit<Voter>>);

// SAFETY: the program has one thread, and no interrupts.
unsafe impl Sync for Place {}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    // SAFETY: this is the only use of the place.
    let place = unsafe { &mut *VOTER.0.get() };
    if let Some(voter) = start(place) {
        while voter.node.state() != State::Closed {
            take_part(voter);
        }
    }
    loop {}
}

fn start(place: &mut MaybeUninit<Voter>) -> Option<&mut Voter> {
    let config = Config::new("sizes", VOTERS);
    let record = VoteRecord {
        term: Device.number(),
        voted_for: Some(id()?),
        list: None,
        bound_for: Device.number() as u32,
        is_paused: false,
        starts: Device.number() as u32,
    };
    let node = Node::new(id()?, &config, record, AlwaysGrant, Device, now()).ok()?;
    Some(place.write(Voter { node, frames: FrameReader::new(CLUSTER), line: Line::new()? }))
}

fn take_part(voter: &mut Voter) {
    let Voter { node, frames, line } = voter;
    let id = node.id().clone();
    let bytes = Device.number().to_le_bytes();
    if let Some(message) = line.read(frames, &id, &bytes) {
        carry_out(&id, line, node.handle_message(now(), message));
    }
    if now() >= node.deadline() {
        carry_out(&id, line, node.handle_timeout(now()));
    }
    match Device.number() {
        0 => carry_out(&id, line, node.hand_over(now(), None)),
        1 => carry_out(&id, line, node.close(now())),
        _ => {}
    }
    if node.report().is_some() || node.leader().is_some() {
        Device.take(&[1]);
    }
}

fn carry_out(id: &NodeId, line: &mut Line, output: Output<'_, Device, AlwaysGrant, VOTERS>) {
    let outgoing = match output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing),
        Output::Save(unsaved) => {
            let record = unsaved.record();
            Device.take(&record.term.to_le_bytes());
            Device.take(record.voted_for.as_ref().map_or(&[], NodeId::as_bytes));
            Device.take(&record.bound_for.to_le_bytes());
            Device.take(&[record.is_paused.into()]);
            Device.take(&record.starts.to_le_bytes());
            unsaved.saved(now())
        }
    };
    if let Some(outgoing) = outgoing {
        line.write(id, &outgoing);
    }
}

fn id() -> Option<NodeId> {
    let bytes = Device.number().to_le_bytes();
    NodeId::from_bytes(&bytes).ok()
}

fn now() -> Instant {
    Instant::from_micros(Device.number())
}

/// Bytes that come from anywhere and go anywhere, as far as the optimizer knows.
struct Device;

/// The device's register: any memory will do.
static REGISTER: u64 = 0;

impl Device {
    fn number(&self) -> u64 {
        // SAFETY: a reference can be read from.
        unsafe { ptr::read_volatile(&raw const REGISTER) }
    }

    fn take(&self, bytes: &[u8]) {
        for byte in bytes {
            core::hint::black_box(*byte);
        }
    }
}

impl TryRng for Device {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.number() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.number())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        bytes.fill_with(|| self.number() as u8);
        Ok(())
    }
}

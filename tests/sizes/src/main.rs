//! A program of nothing but the election's core and wire format, so that its size is theirs: a
//! voter of a cluster of seven, which reads frames, takes part, and writes frames.
//!
//! It has no time driver, no device and no executor. It is built and weighed, and never run.

#![no_std]
#![no_main]

use core::cell::RefCell;
use core::convert::Infallible;
use core::panic::PanicInfo;
use core::ptr;

use graft_election_core::{
    AlwaysGrant, Config, Instant, Node, NodeId, Outgoing, Output, State, VoteRecord,
};
use graft_election_proto::frame::{FRAME_MAX, FrameReader, encode_frame};
use rand_core::TryRng;

/// The most voters that there can be.
const VOTERS: usize = 7;

/// All that outlives an input.
static VOTER: Shared = Shared(RefCell::new(Voter { node: None, frames: FrameReader::new() }));

struct Voter {
    node: Option<Node<Device, AlwaysGrant, VOTERS>>,
    frames: FrameReader,
}

struct Shared(RefCell<Voter>);

// SAFETY: the program has one thread, and no interrupts.
unsafe impl Sync for Shared {}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    let mut voter = VOTER.0.borrow_mut();
    let Voter { node, frames } = &mut *voter;
    if let Some(node) = start(node) {
        while node.state() != State::Closed {
            take_part(node, frames);
        }
    }
    loop {}
}

fn start(
    place: &mut Option<Node<Device, AlwaysGrant, VOTERS>>,
) -> Option<&mut Node<Device, AlwaysGrant, VOTERS>> {
    let config = Config::new("sizes", VOTERS);
    let record = VoteRecord { term: Device.number(), voted_for: Some(id()?) };
    let node = Node::new(id()?, &config, record, AlwaysGrant, Device, now()).ok()?;
    Some(place.insert(node))
}

fn take_part(node: &mut Node<Device, AlwaysGrant, VOTERS>, frames: &mut FrameReader) {
    let id = node.id().clone();
    let byte = [Device.byte()];
    if let Some(frame) = frames.read(&mut &byte[..]) {
        send(&id, carry_out(node.handle_message(now(), frame.message)));
    }
    if now() >= node.deadline() {
        send(&id, carry_out(node.handle_timeout(now())));
    }
    match Device.byte() {
        0 => send(&id, carry_out(node.hand_over(now(), None))),
        1 => send(&id, carry_out(node.close(now()))),
        _ => {}
    }
    if node.report().is_some() || node.leader().is_some() {
        Device.take(&[1]);
    }
}

fn carry_out(output: Output<'_, Device, AlwaysGrant, VOTERS>) -> Option<Outgoing> {
    match output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing),
        Output::Save(unsaved) => {
            let record = unsaved.record();
            Device.take(&record.term.to_le_bytes());
            Device.take(record.voted_for.as_ref().map_or("", NodeId::as_str).as_bytes());
            unsaved.saved(now())
        }
    }
}

fn send(sender: &NodeId, outgoing: Option<Outgoing>) {
    let mut buffer = [0; FRAME_MAX];
    if let Some(outgoing) = outgoing
        && let Ok(frame) = encode_frame(sender, &outgoing, &mut buffer)
    {
        Device.take(frame);
    }
}

fn id() -> Option<NodeId> {
    let bytes = [(); 8].map(|()| Device.byte());
    NodeId::new(str::from_utf8(&bytes).ok()?).ok()
}

fn now() -> Instant {
    Instant::from_micros(Device.number())
}

/// Bytes that come from anywhere and go anywhere, as far as the optimizer knows.
struct Device;

/// The device's register: any memory will do.
static REGISTER: u8 = 0;

impl Device {
    fn byte(&self) -> u8 {
        // SAFETY: a reference can be read from.
        unsafe { ptr::read_volatile(&raw const REGISTER) }
    }

    fn number(&self) -> u64 {
        u64::from_le_bytes([(); 8].map(|()| self.byte()))
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
        bytes.fill_with(|| self.byte());
        Ok(())
    }
}

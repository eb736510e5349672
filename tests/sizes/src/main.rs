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

use graft_election_core::{AlwaysGrant, Config, Instant, Node, NodeId, Output, State, VoteRecord};
use graft_election_proto::frame::{ClusterTag, FRAME_MAX, FrameReader, encode_frame};
use rand_core::TryRng;

const CLUSTER: ClusterTag = ClusterTag::of("sizes");

/// The most voters that there can be.
const VOTERS: usize = 7;

/// All that outlives an input. Nothing of it is kept in flash, as is true of a task of embassy's.
static VOTER: Place = Place(UnsafeCell::new(MaybeUninit::uninit()));

struct Voter {
    node: Node<Device, AlwaysGrant, VOTERS>,
    frames: FrameReader,
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
        starts: 0,
    };
    let node = Node::new(id()?, &config, record, AlwaysGrant, Device, now()).ok()?;
    Some(place.write(Voter { node, frames: FrameReader::new(CLUSTER) }))
}

fn take_part(voter: &mut Voter) {
    let Voter { node, frames } = voter;
    let id = node.id().clone();
    let bytes = Device.number().to_le_bytes();
    if let Some(message) = frames.read_for(&id, &mut &bytes[..]) {
        carry_out(&id, node.handle_message(now(), message));
    }
    if now() >= node.deadline() {
        carry_out(&id, node.handle_timeout(now()));
    }
    match Device.number() {
        0 => carry_out(&id, node.hand_over(now(), None)),
        1 => carry_out(&id, node.close(now())),
        _ => {}
    }
    if node.report().is_some() || node.leader().is_some() {
        Device.take(&[1]);
    }
}

fn carry_out(id: &NodeId, output: Output<'_, Device, AlwaysGrant, VOTERS>) {
    let outgoing = match output {
        Output::Idle => None,
        Output::Send(outgoing) => Some(outgoing),
        Output::Save(unsaved) => {
            let record = unsaved.record();
            Device.take(&record.term.to_le_bytes());
            Device.take(record.voted_for.as_ref().map_or("", NodeId::as_str).as_bytes());
            Device.take(&record.bound_for.to_le_bytes());
            Device.take(&[record.is_paused.into()]);
            unsaved.saved(now())
        }
    };
    let mut buffer = [0; FRAME_MAX];
    if let Some(outgoing) = outgoing
        && let Ok(frame) = encode_frame(CLUSTER, id, &outgoing, &mut buffer)
    {
        Device.take(frame);
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

//! NOR flash in memory, with the limits of real flash and a power supply that can be cut.

use std::cell::{Ref, RefCell};
use std::future::pending;
use std::rc::Rc;

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

pub(crate) const PAGE: usize = 256;
pub(crate) const WORD: usize = 4;
const ERASED: u8 = 0xff;

/// A chip, which survives a power cut and outlives the node.
#[derive(Clone)]
pub(crate) struct Chip(pub(crate) Rc<RefCell<State>>);

#[derive(Clone)]
pub(crate) struct State {
    pub(crate) bytes: Vec<u8>,
    /// Which words were written since their page was erased.
    is_written: Vec<bool>,
    /// How often each page was erased.
    pub(crate) erasures: Vec<u32>,
    /// Writes and erasures so far.
    pub(crate) operations: usize,
    /// At which of them power is lost, and how much of it gets done.
    cut: Option<(usize, Torn)>,
    is_off: bool,
    fault: Option<Fault>,
    /// Bytes that may read differently after each power cycle: where they are, what they were, and
    /// what they should be.
    unstable: Vec<(usize, u8, u8)>,
    rng: SmallRng,
}

/// How much of a write or an erasure is done when power is cut in the middle of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Torn {
    /// Nothing.
    Before,
    /// Some whole words, from the front.
    Front,
    /// Any of its bits; an erasure may have begun by clearing some.
    Bits,
    /// Likewise, and its bits differ each time power comes back.
    Unstable,
    /// All of it, but the caller never learns of it.
    After,
}

impl Torn {
    pub(crate) const ALL: [Self; 5] =
        [Self::Before, Self::Front, Self::Bits, Self::Unstable, Self::After];
}

/// A permanent fault of a flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Reads fail.
    Read,
    /// Writes fail.
    Write,
    /// Erasures fail.
    Erase,
    /// Writes report success, but some bits stay as they were.
    Worn,
}

impl Chip {
    pub(crate) fn new(pages: usize, seed: u64) -> Self {
        Self(Rc::new(RefCell::new(State {
            bytes: vec![ERASED; pages * PAGE],
            is_written: vec![false; pages * PAGE / WORD],
            erasures: vec![0; pages],
            operations: 0,
            cut: None,
            is_off: false,
            fault: None,
            unstable: Vec::new(),
            rng: SmallRng::seed_from_u64(seed),
        })))
    }

    pub(crate) fn look(&self) -> Ref<'_, State> {
        self.0.borrow()
    }

    /// Cuts power at the write or erasure that comes after `operations` more.
    pub(crate) fn cut_after(&self, operations: usize, torn: Torn) {
        let mut state = self.0.borrow_mut();
        state.cut = Some((state.operations + operations, torn));
    }

    pub(crate) fn is_off(&self) -> bool {
        self.look().is_off
    }

    pub(crate) fn power_on(&self) {
        let mut state = self.0.borrow_mut();
        state.is_off = false;
        state.cut = None;
        state.redraw_unstable_bytes();
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.0.borrow_mut().fault = fault;
    }

    /// Does one write, or the erasure of one page, as a whole unless power is lost.
    async fn operate(
        &self,
        fault: Fault,
        change: impl FnOnce(&mut State, Option<Torn>),
    ) -> Outcome {
        {
            let mut state = self.0.borrow_mut();
            assert!(!state.is_off, "a chip without power is used");
            if state.fault == Some(fault) {
                return Err(NorFlashErrorKind::Other);
            }
            let cut = state.cut.filter(|(at, _)| *at == state.operations);
            state.operations += 1;
            state.is_off = cut.is_some();
            change(&mut state, cut.map(|(_, torn)| torn));
        }
        if self.is_off() { pending().await } else { Ok(()) }
    }
}

type Outcome = Result<(), NorFlashErrorKind>;

impl State {
    /// Changes some bytes to `wanted`; returns how many words were touched.
    fn change(&mut self, at: usize, wanted: &[u8], torn: Option<Torn>) -> usize {
        let words = wanted.len() / WORD;
        let words = match torn {
            Some(Torn::Before) => 0,
            Some(Torn::Front) => self.rng.random_range(0..=words),
            _ => words,
        };
        for (at, wanted) in (at..).zip(&wanted[..words * WORD]) {
            let old = self.bytes[at];
            self.unstable.retain(|(unstable, ..)| *unstable != at);
            match torn {
                Some(Torn::Bits) => self.bytes[at] = self.between(old, *wanted),
                Some(Torn::Unstable) => self.unstable.push((at, old, *wanted)),
                _ => self.bytes[at] = *wanted,
            }
        }
        self.redraw_unstable_bytes();
        words
    }

    /// Decides how each unstable byte reads until power is lost the next time.
    fn redraw_unstable_bytes(&mut self) {
        for (at, old, wanted) in self.unstable.clone() {
            self.bytes[at] = self.between(old, wanted);
        }
    }

    fn between(&mut self, old: u8, wanted: u8) -> u8 {
        let done: u8 = self.rng.random();
        // Erasures clear all bits before they set them.
        let cleared = if wanted == ERASED { self.rng.random() } else { 0 };
        old & !cleared & !done | wanted & done
    }
}

impl ErrorType for Chip {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Chip {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Outcome {
        let state = self.look();
        assert!(!state.is_off, "a chip without power is used");
        if state.fault == Some(Fault::Read) {
            return Err(NorFlashErrorKind::Other);
        }
        bytes.copy_from_slice(&state.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.look().bytes.len()
    }
}

impl NorFlash for Chip {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    async fn erase(&mut self, from: u32, to: u32) -> Outcome {
        let (from, to) = (from as usize, to as usize);
        assert_eq!((from % PAGE, to % PAGE), (0, 0), "whole pages are erased");
        for page in from / PAGE..to / PAGE {
            let erase = |state: &mut State, torn| {
                state.change(page * PAGE, &[ERASED; PAGE], torn);
                state.is_written[page * PAGE / WORD..][..PAGE / WORD].fill(false);
                state.erasures[page] += 1;
            };
            self.operate(Fault::Erase, erase).await?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Outcome {
        let at = offset as usize;
        assert_eq!((at % WORD, bytes.len() % WORD), (0, 0), "whole words are written");
        let write = |state: &mut State, torn| {
            // Programming only clears bits.
            let kept = if state.fault == Some(Fault::Worn) { 0x10 } else { 0 };
            let old = &state.bytes[at..];
            let wanted: Vec<u8> =
                old.iter().zip(bytes).map(|(old, new)| old & (new | kept)).collect();
            let words = state.change(at, &wanted, torn);
            let touched = &mut state.is_written[at / WORD..][..words];
            for (is_written, word) in touched.iter_mut().zip(bytes.chunks(WORD)) {
                // Only zeros may be written over anything, even on flash with error correction.
                let is_allowed = !*is_written || word == [0; WORD];
                assert!(is_allowed, "a word is written twice between two erasures");
                *is_written = true;
            }
        };
        self.operate(Fault::Write, write).await
    }
}

//! The board's first light.

use core::convert::Infallible;

use embedded_hal::digital::{ErrorType, OutputPin};

use crate::machine::Register;

/// The light LED0, which is off after a reset.
#[derive(Debug)]
pub(crate) struct Led(Register);

impl Led {
    /// The light of this machine.
    pub(crate) const fn new() -> Self {
        // SAFETY: the machine's lights are there, and are no memory.
        Self(unsafe { Register::at(0x4002_8000) })
    }

    fn set(&mut self, bits: u32) -> Result<(), Infallible> {
        self.0.write(bits);
        Ok(())
    }
}

impl ErrorType for Led {
    type Error = Infallible;
}

impl OutputPin for Led {
    fn set_low(&mut self) -> Result<(), Infallible> {
        self.set(0)
    }

    fn set_high(&mut self) -> Result<(), Infallible> {
        self.set(1)
    }
}

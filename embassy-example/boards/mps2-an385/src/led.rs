//! The board's first light.

use crate::machine::Register;

/// LED0, on for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Light(Register);

impl Light {
    pub(crate) fn on() -> Self {
        // SAFETY: the machine's lights are there, and are no memory.
        let register = unsafe { Register::at(0x4002_8000) };
        register.write(1);
        Self(register)
    }
}

impl Drop for Light {
    fn drop(&mut self) {
        self.0.write(0);
        defmt::info!("the light is off");
    }
}

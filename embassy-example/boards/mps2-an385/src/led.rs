//! The board's first light.

use crate::machine::Register;

/// Keeps LED0 on for as long as it lives.
#[derive(Debug)]
pub(crate) struct LightGuard(Register);

impl LightGuard {
    pub(crate) fn on() -> Self {
        // SAFETY: the machine's register of lights is at this address, and is not memory.
        let register = unsafe { Register::at(0x4002_8000) };
        register.write(1);
        Self(register)
    }
}

impl Drop for LightGuard {
    fn drop(&mut self) {
        self.0.write(0);
        defmt::info!("the light is off");
    }
}

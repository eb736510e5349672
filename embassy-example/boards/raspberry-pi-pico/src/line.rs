//! The serial line, which all boards share: UART0, and a pin that listens for silence.

use embassy_rp::gpio::{Input, Pull};
use embassy_rp::peripherals::{PIN_0, PIN_1, PIN_2, UART0};
use embassy_rp::uart::{
    BufferedInterruptHandler, BufferedUart, BufferedUartRx, BufferedUartTx, Config, Error,
};
use embassy_rp::{Peri, bind_interrupts};
use embedded_io_async::{ErrorType, Read};
use graft_election_embassy::CarrierSense;
use rand_xoshiro::Xoroshiro64StarStar;

/// Bits per second.
const BAUD: u32 = 115_200;

/// Room for what comes while the node is busy, with a save for instance: some usual frames.
pub(crate) const RECEIVED_CAPACITY: usize = 512;

/// Room for a usual frame.
pub(crate) const SENT_CAPACITY: usize = 128;

/// The half that sends.
pub(crate) type Sender = CarrierSense<BufferedUartTx, Input<'static>, Xoroshiro64StarStar>;

bind_interrupts!(struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
});

/// What the line is made of.
pub(crate) struct Line {
    pub(crate) uart: Peri<'static, UART0>,
    /// Where the board talks.
    pub(crate) output: Peri<'static, PIN_0>,
    /// Where it hears.
    pub(crate) input: Peri<'static, PIN_1>,
    /// Where it hears whether anybody talks. It is on the same wire: the UART's own pin is the UART's.
    pub(crate) ear: Peri<'static, PIN_2>,
}

impl Line {
    /// Opens the line, with room for what comes and goes. `rng` decides who talks first.
    pub(crate) fn open<'d>(
        self,
        received: &'d mut [u8],
        sent: &'d mut [u8],
        rng: Xoroshiro64StarStar,
    ) -> (Receiver, Sender) {
        let mut config = Config::default();
        config.baudrate = BAUD;
        let Self { uart, output, input, ear } = self;
        let uart = BufferedUart::new(uart, output, input, Interrupts, sent, received, config);
        let (sender, receiver) = uart.split();
        let ear = Input::new(ear, Pull::None);
        (Receiver(receiver), CarrierSense::new(sender, ear, rng, BAUD))
    }
}

/// The half that receives. What collides on the line comes as an error of some byte, which is only
/// one more lost frame.
pub(crate) struct Receiver(BufferedUartRx);

impl ErrorType for Receiver {
    type Error = Error;
}

impl Read for Receiver {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.0.read(buffer).await {
                Err(error) => defmt::debug!("bytes on the line were lost: {}", error),
                received => return received,
            }
        }
    }
}

//! The serial line, which all boards share: UART0, and a pin that senses whether the line is busy.

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

/// Room for what arrives while the node is busy, with a save for instance: some frames of the usual
/// length.
pub(crate) const RECEIVED_CAPACITY: usize = 512;

/// Room for a frame of the usual length.
pub(crate) const SENT_CAPACITY: usize = 128;

/// The half that sends.
pub(crate) type Sender = CarrierSense<BufferedUartTx, Input<'static>, Xoroshiro64StarStar>;

bind_interrupts!(struct Interrupts {
    UART0_IRQ => BufferedInterruptHandler<UART0>;
});

/// The peripherals of the line.
pub(crate) struct Line {
    pub(crate) uart: Peri<'static, UART0>,
    /// Carries what the board sends.
    pub(crate) output: Peri<'static, PIN_0>,
    /// Carries what it receives.
    pub(crate) input: Peri<'static, PIN_1>,
    /// Shows whether the line is busy. It is on the same wire as `input`, which belongs to the
    /// UART.
    pub(crate) sense: Peri<'static, PIN_2>,
}

impl Line {
    /// Opens the line, with buffers for what is received and sent. `rng` decides who talks first.
    pub(crate) fn open<'d>(
        self,
        received: &'d mut [u8],
        sent: &'d mut [u8],
        rng: Xoroshiro64StarStar,
    ) -> (Receiver, Sender) {
        let mut config = Config::default();
        config.baudrate = BAUD;
        let Self { uart, output, input, sense } = self;
        let uart = BufferedUart::new(uart, output, input, Interrupts, sent, received, config);
        let (sender, receiver) = uart.split();
        let sense = Input::new(sense, Pull::None);
        (Receiver(receiver), CarrierSense::new(sender, sense, rng, BAUD))
    }
}

/// The half that receives. A collision on the line shows as an error in some byte, which costs no
/// more than a frame.
pub(crate) struct Receiver(BufferedUartRx);

impl ErrorType for Receiver {
    type Error = Error;
}

impl Read for Receiver {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        loop {
            match self.0.read(buffer).await {
                Err(error) => defmt::debug!("lost bytes on the line: {}", error),
                received => return received,
            }
        }
    }
}

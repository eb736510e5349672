use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use serial2_tokio::SerialPort;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

/// Bits on the wire for a byte: a start bit, eight data bits and a stop bit.
const BITS_PER_BYTE: u32 = 10;

/// Where a serial line is: a port of this machine, or a socket that carries the line's bytes.
///
/// Its text is what `graft run` and `graft bridge` take with `--serial`:
///
/// ```
/// use graft_election::SerialLine;
///
/// let port: SerialLine = "/dev/ttyUSB0@115200".parse()?;
/// assert_eq!(port, SerialLine::Port { path: "/dev/ttyUSB0".into(), baud: 115_200 });
/// let socket: SerialLine = "unix:/run/bus".parse()?;
/// assert_eq!(socket, SerialLine::Unix("/run/bus".into()));
/// let server: SerialLine = "tcp:gateway:4000".parse()?;
/// assert_eq!(server, SerialLine::Tcp("gateway:4000".into()));
/// # Ok::<(), graft_election::SerialLineError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SerialLine {
    /// A serial port, with eight data bits, no parity and one stop bit.
    Port {
        /// Its device.
        path: PathBuf,
        /// Bits per second on the wire.
        baud: u32,
    },
    /// A Unix stream socket.
    Unix(PathBuf),
    /// A TCP server, as host and port.
    Tcp(String),
}

impl SerialLine {
    /// The most bytes per second that the line carries, if that is known.
    pub fn bytes_per_second(&self) -> Option<u32> {
        match self {
            Self::Port { baud, .. } => Some(baud / BITS_PER_BYTE),
            Self::Unix(_) | Self::Tcp(_) => None,
        }
    }

    /// Opens the port or connects the stream.
    pub(crate) async fn open(self) -> io::Result<Box<dyn ByteStream>> {
        Ok(match self {
            Self::Port { path, baud } => Box::new(SerialPort::open(path, baud)?),
            Self::Unix(path) => Box::new(UnixStream::connect(path).await?),
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // Otherwise a frame may wait for the next one, and arrive late.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}

impl FromStr for SerialLine {
    type Err = SerialLineError;

    fn from_str(text: &str) -> Result<Self, SerialLineError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(SerialLineError::NoPath)
            } else {
                Ok(Self::Unix(path.into()))
            };
        }
        if let Some(address) = text.strip_prefix("tcp:") {
            let has_port = address
                .rsplit_once(':')
                .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
            return if has_port {
                Ok(Self::Tcp(address.to_owned()))
            } else {
                Err(SerialLineError::NoHostAndPort)
            };
        }
        let (path, baud) = text.rsplit_once('@').ok_or(SerialLineError::NoBaud)?;
        if path.is_empty() {
            return Err(SerialLineError::NoPath);
        }
        match baud.parse() {
            Ok(baud @ 1..) => Ok(Self::Port { path: path.into(), baud }),
            Ok(0) | Err(_) => Err(SerialLineError::Baud(baud.to_owned())),
        }
    }
}

impl fmt::Display for SerialLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { path, baud } => write!(f, "{}@{baud}", path.display()),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}

/// Why a text is not a [`SerialLine`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerialLineError {
    /// It starts with neither `unix:` nor `tcp:`, and has no `@` before a baud rate.
    #[error("a line is DEVICE@BAUD, unix:PATH or tcp:HOST:PORT")]
    NoBaud,
    /// The path of the device or of the socket is missing.
    #[error("the path is missing")]
    NoPath,
    /// `tcp:` is not followed by a host and a port.
    #[error("tcp: must be followed by HOST:PORT")]
    NoHostAndPort,
    /// What follows the `@` is not a baud rate.
    #[error("{0:?} is not a baud rate")]
    Baud(String),
}

/// The bytes of a line, whatever it is.
pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Sync + Unpin> ByteStream for T {}

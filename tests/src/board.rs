//! An emulated board that runs the firmware.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use graft_election_core::Config;
use tokio::sync::watch;

/// How many bytes of the board's memory are kept in a file.
const MEMORY_LEN: u64 = 16 << 20;

/// How many bytes at the beginning of it are the flash. Erased flash has all bits set.
const FLASH_LEN: usize = 16 << 10;

/// Where the firmware expects the board's number, followed by the cluster's size and the heartbeat
/// interval in milliseconds.
const SETTINGS: u32 = 0x21FF_F000;

/// Where the firmware of a cluster with a key expects its text, which a zero ends.
const KEY: u32 = SETTINGS + 16;

/// An emulated board. Its flash survives a power cut.
#[derive(Debug)]
pub struct Board {
    number: u32,
    size: u32,
    heartbeat_interval: Duration,
    socket: PathBuf,
    memory: PathBuf,
    /// The file with the cluster's key; none if the board's firmware knows of no keys.
    key: Option<PathBuf>,
    power: Option<Power>,
}

/// The processes behind a board that is on.
#[derive(Debug)]
struct Power {
    emulator: Child,
    decoder: Child,
    log: watch::Receiver<Log>,
}

/// What a board has logged since it was switched on.
pub type Log = Arc<Vec<String>>;

impl Board {
    /// A new board that is off, with an empty flash and the default times. Its memory is a file in
    /// `folder`; its serial line is connected to `socket`.
    ///
    /// Boards that are given one number by mistake have different sockets.
    pub fn new(number: u32, size: u32, folder: &Path, socket: &Path) -> Self {
        let name = socket.file_name().expect("the socket's name").to_string_lossy();
        let memory = folder.join(format!("{name}.memory"));
        let mut file = File::create_new(&memory).expect("a file for the memory");
        file.write_all(&[0xFF; FLASH_LEN]).expect("an empty flash");
        file.set_len(MEMORY_LEN).expect("room for the memory");
        let heartbeat_interval = Config::HEARTBEAT_INTERVAL;
        let socket = socket.to_owned();
        Self { number, size, heartbeat_interval, socket, memory, key: None, power: None }
    }

    /// The same board with times for a slow line: T_min is five times `interval`, T_max ten times.
    /// The interval is a whole number of milliseconds.
    #[must_use]
    pub fn with_heartbeat_interval(self, interval: Duration) -> Self {
        Self { heartbeat_interval: interval, ..self }
    }

    /// Gives the board, at its next start, firmware for a cluster with a key, and the text of this
    /// key.
    pub fn set_key(&mut self, text: &str) {
        let file = self.memory.with_extension("key");
        std::fs::write(&file, format!("{text}\0")).expect("a file for the key");
        self.key = Some(file);
    }

    /// The id of the node on the board.
    pub fn id(&self) -> String {
        format!("board-{}", self.number)
    }

    /// Switches the board on.
    pub fn switch_on(&mut self) {
        assert!(self.power.is_none(), "board {} is on", self.number);
        let firmware = firmware(self.key.is_some());
        let mut emulator = emulator(&firmware, self)
            .spawn()
            .expect("qemu-system-arm is missing: Debian has a package of that name");
        let mut decoder = Command::new(decoder())
            .args(["--log-format", "{s}", "-e"])
            .arg(&firmware)
            .stdin(emulator.stdout.take().expect("a pipe"))
            .stdout(Stdio::piped())
            .spawn()
            .expect("defmt-print is missing: `cargo xtask test` installs it");
        let lines = BufReader::new(decoder.stdout.take().expect("a pipe")).lines();
        let (logged, log) = watch::channel(Log::default());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                logged.send_modify(|log| Arc::make_mut(log).push(line));
            }
        });
        self.power = Some(Power { emulator, decoder, log });
    }

    /// Cuts the board's power at once: the emulator has no chance to do anything more.
    pub fn cut_power(&mut self) {
        let mut power = self.power.take().expect("the board is on");
        power.end();
    }

    /// Waits until the board has logged a line that `is_awaited`, and returns it.
    ///
    /// # Panics
    ///
    /// The firmware exited.
    pub async fn logged(&mut self, is_awaited: impl Fn(&str) -> bool) -> String {
        let power = self.power.as_mut().expect("the board is on");
        let find = |log: &Log| log.iter().find(|line| is_awaited(line)).cloned();
        let found = power.log.wait_for(|log| find(log).is_some()).await.map(|log| find(&log));
        match found {
            Ok(line) => line.expect("the line that was found"),
            Err(_) => panic!("{} ended: {:?}, {:?}", self.id(), self.ended(), self.log()),
        }
    }

    /// What the board has logged since it was switched on.
    pub fn log(&self) -> Log {
        self.power.as_ref().map(|power| Arc::clone(&power.log.borrow())).unwrap_or_default()
    }

    /// The log of the board as it grows, until power is cut.
    ///
    /// # Panics
    ///
    /// The board is off.
    pub fn listen(&self) -> watch::Receiver<Log> {
        self.power.as_ref().expect("the board is on").log.clone()
    }

    /// How the firmware exited; none if it is running, or the board is off.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let power = self.power.as_mut()?;
        power.emulator.try_wait().expect("the emulator's state")
    }
}

impl Power {
    fn end(&mut self) {
        // The emulator may have ended already; the decoder ends with it.
        let _ = self.emulator.kill();
        let _ = self.emulator.wait();
        let _ = self.decoder.wait();
    }
}

impl Drop for Power {
    fn drop(&mut self) {
        self.end();
    }
}

fn emulator(firmware: &Path, board: &Board) -> Command {
    let Board { number, size, heartbeat_interval, socket, memory, key, .. } = board;
    let (socket, memory) = (socket.display(), memory.display());
    let object =
        format!("memory-backend-file,id=memory,size={MEMORY_LEN},mem-path={memory},share=on");
    let word = |index: u32, value: u128| {
        format!("loader,addr={:#x},data={value},data-len=4", SETTINGS + 4 * index)
    };
    let mut emulator = Command::new("qemu-system-arm");
    if let Some(key) = key {
        let file = key.display();
        emulator.args(["-device", &format!("loader,addr={KEY:#x},file={file},force-raw=on")]);
    }
    emulator
        .args(["-machine", "mps2-an385,memory-backend=memory", "-object", &object])
        .args(["-display", "none", "-monitor", "none"])
        .args(["-semihosting-config", "enable=on,target=native"])
        .args(["-chardev", &format!("socket,id=line,path={socket},reconnect=1")])
        .args(["-serial", "chardev:line"])
        .args(["-device", &word(0, (*number).into()), "-device", &word(1, (*size).into())])
        .args(["-device", &word(2, heartbeat_interval.as_millis()), "-kernel"])
        .arg(firmware)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    emulator
}

/// The firmware that `cargo xtask test` builds. The one of clusters with a key is beside the other.
fn firmware(is_sealed: bool) -> PathBuf {
    static FIRMWARE: OnceLock<PathBuf> = OnceLock::new();
    let firmware = FIRMWARE.get_or_init(|| {
        let named = std::env::var_os("FIRMWARE").map(PathBuf::from);
        named.expect("FIRMWARE names no program: `cargo xtask test` builds it")
    });
    let mut firmware = firmware.clone().into_os_string();
    if is_sealed {
        firmware.push("-sealed");
    }
    firmware.into()
}

/// The program that turns the firmware's logs into text.
fn decoder() -> PathBuf {
    std::env::var_os("DEFMT_PRINT").map_or("defmt-print".into(), PathBuf::from)
}

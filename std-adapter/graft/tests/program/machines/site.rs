//! Three machines on one switch. Each is a namespace of processes and one of the network; they have
//! no names, and end with the processes in them, which end with this test.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::nats_server;
use crate::process::{children_of, text, wait_until};

/// How many machines there are.
pub(super) const COUNT: usize = 3;

/// The cluster of their nodes.
pub(super) const CLUSTER: &str = "site";

/// Where each machine shows its node to itself.
pub(super) const HTTP: &str = "127.0.0.1:8080";

/// Where the witnesses of all machines write: each its term and its node, again and again.
pub(super) const BEATS: &str = "beats";

/// The switch. It ends with its standard input.
const SWITCH: &str = r#"
    set -e
    ip link set lo up
    ip link add switch type bridge
    ip address add 10.77.0.100/24 dev switch
    ip link set switch up
    echo up
    exec cat"#;

/// A machine, which begins once it has its cable, and ends with its standard input. As a service
/// manager would, it starts its node again whenever that ends. Cgroups would outlast it.
const MACHINE: &str = r#"
    set -e
    umount --lazy /sys/fs/cgroup 2>/dev/null || true
    echo up
    read -r cable
    ip link set lo up
    ip address add "10.77.0.$NUMBER/24" dev eth0
    ip link set eth0 up
    "$NATS_SERVER" --name "m$NUMBER" --addr 0.0.0.0 --port 4222 --cluster_name "$CLUSTER" \
        --cluster nats://0.0.0.0:6222 --routes "$ROUTES" >>"m$NUMBER.nats.log" 2>&1 </dev/null &
    while :; do
        "$GRAFT" run --json --cluster "$CLUSTER" --size 3 --id "m$NUMBER" \
            --vote-file "m$NUMBER.vote" --nats nats://127.0.0.1:4222 --http "$HTTP" \
            -- sh -c 'while :; do echo "$GRAFT_TERM $GRAFT_ID" >>"$BEATS"; sleep 0.05; done' \
            >>"m$NUMBER.log" 2>&1 </dev/null || true
        sleep 0.05
    done &
    exec cat"#;

/// The switch with its machines, and a directory in which they keep their files.
pub(super) struct Site {
    // Before the switch: they go first.
    pub(super) machines: Vec<Machine>,
    switch: Child,
    directory: PathBuf,
}

impl Site {
    /// Plugs in the switch, and starts all machines.
    pub(super) fn start(directory: &Path) -> Self {
        let (switch, _) = hold(&["--net"], SWITCH, &[], directory);
        let mut site = Self { machines: Vec::new(), switch, directory: directory.to_owned() };
        for number in 1..=COUNT {
            let machine = Machine::start(&site, number, 1);
            site.machines.push(machine);
        }
        site
    }

    /// The words that run a program where it reaches all machines.
    pub(super) fn words(&self) -> [String; 2] {
        ["nsenter".to_owned(), format!("--net=/proc/{}/ns/net", self.switch.id())]
    }

    /// Where the machines' servers are for it.
    pub(super) fn servers() -> String {
        let servers: Vec<_> = (1..=COUNT).map(|it| format!("nats://10.77.0.{it}:4222")).collect();
        servers.join(",")
    }

    /// Cuts the machine off, or connects it again.
    pub(super) fn connect(&self, index: usize, is_up: bool) {
        let (cable, state) = (&self.machines[index].cable, if is_up { "up" } else { "down" });
        self.ip(&["link", "set", cable, state]);
    }

    /// Takes the power away: nothing that ran on the machine does anything any more.
    pub(super) fn switch_off(&mut self, index: usize) {
        end(&mut self.machines[index].holder);
        // Its network outlasts it while somebody asks there.
        self.ip(&["link", "delete", &self.machines[index].cable]);
    }

    /// Starts it again, with its files.
    pub(super) fn switch_on(&mut self, index: usize) {
        let boots = self.machines[index].boots + 1;
        self.machines[index] = Machine::start(self, index + 1, boots);
    }

    /// Runs `ip` on the switch.
    fn ip(&self, arguments: &[&str]) {
        let words = self.words();
        let mut ip = Command::new(&words[0]);
        let output = ip.arg(&words[1]).arg("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {}", text(&output.stderr));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.machines.clear();
        end(&mut self.switch);
        if std::thread::panicking() {
            for number in 1..=COUNT {
                let log = fs::read_to_string(self.directory.join(format!("m{number}.log")));
                eprintln!("m{number} said:\n{}", log.unwrap_or_default());
            }
        }
    }
}

/// A machine that runs.
pub(super) struct Machine {
    holder: Child,
    /// Its first process.
    init: u32,
    /// Its end of the cable on the switch.
    cable: String,
    boots: u32,
}

impl Machine {
    fn start(site: &Site, number: usize, boots: u32) -> Self {
        let routes: Vec<_> = (1..=COUNT)
            .filter(|other| *other != number)
            .map(|other| format!("nats://10.77.0.{other}:6222"))
            .collect();
        let settings = [
            ("NUMBER", number.to_string()),
            ("ROUTES", routes.join(",")),
            ("CLUSTER", CLUSTER.to_owned()),
            ("HTTP", HTTP.to_owned()),
            ("BEATS", BEATS.to_owned()),
            ("GRAFT", env!("CARGO_BIN_EXE_graft").to_owned()),
            ("NATS_SERVER", nats_server::program().display().to_string()),
        ];
        let kinds = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
        let (mut holder, init) = hold(&kinds, MACHINE, &settings, &site.directory);
        // The one before may not be unplugged yet.
        let cable = format!("m{number}-{boots}");
        let (init_text, address) = (init.to_string(), format!("02:00:00:00:00:0{number}"));
        let ends = ["link", "add", &cable, "type", "veth", "peer", "name", "eth0"];
        site.ip(&[&ends[..], &["address", &address, "netns", &init_text]].concat());
        site.ip(&["link", "set", &cable, "master", "switch", "up"]);
        writeln!(holder.stdin.as_mut().unwrap(), "plugged in").unwrap();
        Self { holder, init, cable, boots }
    }

    /// Has this thread use the machine's network.
    pub(super) fn enter_network(init: u32) {
        let network = File::open(format!("/proc/{init}/ns/net")).unwrap();
        move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }

    /// Its first process, as this test sees it.
    pub(super) fn init(&self) -> u32 {
        self.init
    }

    /// Has all that runs on it stand still.
    pub(super) fn pause(&self) {
        // Whoever was just being started is met in the next round.
        wait_until(|| {
            let all = self.processes();
            all.iter().for_each(|pid| signal(*pid, Signal::STOP));
            all.into_iter().all(has_stopped)
        });
    }

    /// Has it go on.
    pub(super) fn resume(&self) {
        self.processes().into_iter().for_each(|pid| signal(pid, Signal::CONT));
    }

    /// Whether a COMMAND of this term is still there.
    pub(super) fn has_witness(&self, term: u64) -> bool {
        let mark = format!("GRAFT_TERM={term}");
        self.processes().into_iter().any(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
        })
    }

    fn processes(&self) -> Vec<u32> {
        let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
        let own = namespace(self.init);
        assert!(own.is_some(), "the machine is on");
        let all = fs::read_dir("/proc").unwrap();
        let all = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        all.filter(|pid| namespace(*pid) == own).collect()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        end(&mut self.holder);
    }
}

/// Starts a shell in new namespaces of these kinds, and waits until it says that it is up. Returns
/// what holds them open, and the shell's process.
fn hold(
    kinds: &[&str],
    script: &str,
    settings: &[(&str, String)],
    directory: &Path,
) -> (Child, u32) {
    let mut holder = Command::new("unshare")
        .args(kinds)
        .args(["sh", "-c", script])
        .envs(settings.iter().map(|(name, value)| (name, value)))
        .current_dir(directory)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare, of util-linux, is needed to make machines");
    let mut first = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut first).unwrap();
    if first != "up\n" {
        end(&mut holder);
        let mut why = String::new();
        holder.stderr.take().unwrap().read_to_string(&mut why).unwrap();
        panic!(
            "could not make namespaces of the network, for which this test must be root, with \
             CAP_SYS_ADMIN and CAP_NET_ADMIN, and find `ip` of iproute2: {why}"
        );
    }
    let shell = children_of(holder.id()).first().copied().unwrap_or(holder.id());
    (holder, shell)
}

/// Ends what holds namespaces open, and with it all that runs in them.
fn end(holder: &mut Child) {
    // It may have ended already.
    let _ = holder.kill();
    let _ = holder.wait();
}

fn has_stopped(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status.rsplit(") ").next().unwrap_or_default();
    // One that has ended stands still, too; and so does one that waits until the child that it has
    // just forked runs a program. It has the signal, and stops before it does anything else.
    state.is_empty() || state.starts_with(['T', 'D', 'Z', 'X'])
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).unwrap();
    // It may have ended.
    let _ = kill_process(pid, signal);
}

//! The files of `docs/deploy`, held against the program.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::http::get;
use crate::process::{Program, graft, text, wait_until};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/deploy");

const GRAFT: &str = env!("CARGO_BIN_EXE_graft");

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(path)).unwrap()
}

fn write_program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// A machine on which programs find their files below a folder.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["votes", "run", "scripts", "bin", "account"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(GRAFT, root.path().join("bin/graft")).unwrap();
        Self { root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// A program of these words with these variables, and no other.
    fn words(&self, variables: &BTreeMap<String, String>, words: &[String]) -> Vec<String> {
        let path = format!("PATH={}:{}", self.path("bin").display(), env!("PATH"));
        let variables = variables.iter().map(|(name, value)| format!("{name}={value}"));
        let by = ["env", "-i"].map(str::to_owned).into_iter().chain([path]).chain(variables);
        by.chain(words.iter().cloned()).collect()
    }

    fn start(&self, variables: &BTreeMap<String, String>, words: &[String]) -> Program {
        let words = self.words(variables, words);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Program::start_words(self.root.path(), &words)
    }
}

/// Waits until all agree on a leader, and returns its id.
fn agree(programs: &mut [Program]) -> String {
    let mut told: Vec<_> = programs.iter_mut().map(Program::wait_for_leader).collect();
    loop {
        let last = told.iter().max_by_key(|line| line.term()).unwrap().clone();
        match told.iter().position(|line| line.term() < last.term()) {
            None => return last.str("leader").to_owned(),
            Some(behind) => told[behind] = programs[behind].wait_for_leader(),
        }
    }
}

#[test]
fn systemd_reads_the_units() {
    let directory = tempfile::tempdir().unwrap();
    let units = ["graft@.service", "report@.service", "report@.timer"];
    for unit in units {
        let text = read(&format!("systemd/{unit}"));
        // They must be there.
        let text = text.replace("/usr/bin/graft", GRAFT).replace("/usr/bin/send-report", GRAFT);
        fs::write(directory.path().join(unit), text).unwrap();
    }
    let output = Command::new("systemd-analyze")
        .args(["verify", "--man=no"])
        .args(units)
        .current_dir(directory.path())
        .output();
    let output = output.expect("systemd-analyze is missing: `cargo xtask test` installs it");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", text(&output.stderr));
}

/// Three machines with the unit of systemd, and the file that it names.
#[test]
fn the_unit_and_its_file_describe_a_node_that_runs() {
    let unit = read("systemd/graft@.service");
    let settings = read("systemd/billing.toml");
    let mut programs = Vec::new();
    let machine = Machine::new();
    for id in ["a", "b", "c"] {
        let file = machine.path(&format!("{id}.toml"));
        fs::write(&file, settings.replace("id = \"a\"", &format!("id = \"{id}\""))).unwrap();
        for part in ["state", "run"] {
            fs::create_dir_all(machine.path(&format!("{id}/{part}"))).unwrap();
        }
        let own = |text: &str| {
            text.replace("/etc/graft/%i.toml", &file.display().to_string())
                .replace("%S/graft/%i", &machine.path(&format!("{id}/state")).display().to_string())
                .replace("%t/graft/%i", &machine.path(&format!("{id}/run")).display().to_string())
        };
        let lines = unit.lines().filter_map(|line| line.strip_prefix("Environment="));
        let variables: BTreeMap<_, _> = lines
            .map(|line| line.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), own(value)))
            .collect();
        let init = ["voters", &variables["GRAFT_VOTE_FILE"], "--init", "--id", id];
        let init = graft(machine.root.path(), &[&init[..], &["--set", "a,b,c"]].concat());
        assert!(init.status.success(), "{init:?}");
        let started = unit.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/graft "));
        let words = [GRAFT, started.unwrap(), "--json", "--local", "d", "--", "sleep", "120"];
        programs.push(machine.start(&variables, &words.map(str::to_owned)));
    }
    let leader = agree(&mut programs);
    let leader_file = machine.path(&format!("{leader}/run/leader"));
    wait_until(|| leader_file.exists());
    let job = read("systemd/report@.service");
    assert!(job.contains("ExecCondition=/usr/bin/graft is-leader %t/graft/%i/leader\n"));
    let leader_file = leader_file.display().to_string();
    assert!(graft(machine.root.path(), &["is-leader", &leader_file]).status.success());
}

/// All documents of both files, by their kind and name.
fn manifests() -> BTreeMap<(String, String), Value> {
    let texts = ["kubernetes/billing.yaml", "kubernetes/leader-service.yaml"].map(read);
    let documents = texts.iter().flat_map(|text| {
        serde_saphyr::from_multiple::<Value>(text).unwrap_or_else(|error| panic!("{error}"))
    });
    let named = documents.map(|it| {
        let name = |value: &Value| value.as_str().unwrap().to_owned();
        ((name(&it["kind"]), name(&it["metadata"]["name"])), it)
    });
    named.collect()
}

fn manifest<'a>(all: &'a BTreeMap<(String, String), Value>, kind: &str, name: &str) -> &'a Value {
    &all[&(kind.to_owned(), name.to_owned())]
}

/// A text or a list of texts, with paths of the machine for those of a pod.
fn own(machine: &Machine, text: &str) -> String {
    let path = |name: &str| machine.path(name).display().to_string();
    text.replace("/votes", &path("votes"))
        // All of them are on one machine.
        .replace("0.0.0.0:8080", "127.0.0.1:0")
        .replace("/run/graft", &path("run"))
        .replace("/scripts", &path("scripts"))
        .replace("/var/run/secrets/kubernetes.io/serviceaccount", &path("account"))
}

fn texts(machine: &Machine, list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|it| own(machine, it.as_str().unwrap())).collect()
}

/// The variables of the pod with this name.
fn variables(machine: &Machine, container: &Value, pod: &str) -> BTreeMap<String, String> {
    let value = |variable: &Value| {
        let from = &variable["valueFrom"];
        match variable["value"].as_str() {
            Some(value) => own(machine, value),
            None if from["fieldRef"]["fieldPath"] == "metadata.name" => pod.to_owned(),
            None if from["configMapKeyRef"]["name"] == "billing-first-start" => "yes".to_owned(),
            None => panic!("{variable}"),
        }
    };
    let list = container["env"].as_array().unwrap();
    list.iter().map(|it| (it["name"].as_str().unwrap().to_owned(), value(it))).collect()
}

/// Three pods as the StatefulSet has them, each on a machine of its own; the leader labels itself.
#[test]
fn the_pods_elect_a_leader_which_labels_itself() {
    let all = manifests();
    let set = &manifest(&all, "StatefulSet", "billing")["spec"];
    let pod = &set["template"]["spec"];
    let script = &manifest(&all, "ConfigMap", "billing-scripts")["data"]["label-leader"];
    let common = tempfile::tempdir().unwrap();
    let common = common.path().join("d").display().to_string();
    let count = usize::try_from(set["replicas"].as_u64().unwrap()).unwrap();
    let mut machines: Vec<_> = (0..count).map(|_| Machine::new()).collect();
    let mut programs = Vec::new();
    for (number, machine) in machines.iter_mut().enumerate() {
        let name = format!("billing-{number}");
        write_program(
            &machine.path("scripts/label-leader"),
            &own(machine, script.as_str().unwrap()),
        );
        fs::write(machine.path("account/namespace"), "shop").unwrap();
        fs::write(machine.path("account/token"), "secret").unwrap();
        write_program(&machine.path("bin/curl"), "#!/bin/sh\nprintf '%s\\n' \"$@\" >>called\n");

        let first = &pod["initContainers"][0];
        let words = [texts(machine, &first["command"]), texts(machine, &first["args"])].concat();
        let mut init = machine.start(&variables(machine, first, &name), &words);
        assert!(init.wait().success(), "{:?}", init.lines);

        let container = &pod["containers"][0];
        let words = texts(machine, &container["args"]);
        let (options, _) = words.split_at(words.iter().position(|word| word == "--").unwrap());
        let options = [&["graft".to_owned()], options].concat();
        let rest = ["--json", "--local", &common, "--", "sleep", "120"].map(str::to_owned);
        let words = [options, rest.into()].concat();
        programs.push(machine.start(&variables(machine, container, &name), &words));
    }
    let at: Vec<_> =
        programs.iter_mut().map(|it| it.wait_for(|line| line.is("http", &[]))).collect();
    let leader = agree(&mut programs);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = pod["containers"][0][probe]["httpGet"]["path"].as_str().unwrap();
        at.iter().for_each(|at| assert_eq!(get(at.str("to"), path).0, 200, "{path}"));
    }
    let called = |machine: &Machine| fs::read_to_string(machine.path("called")).unwrap_or_default();
    for (number, machine) in machines.iter().enumerate() {
        let name = format!("billing-{number}");
        let value = if name == leader { "\"true\"" } else { "null" };
        let label = format!("{{\"metadata\":{{\"labels\":{{\"graft-leader\":{value}}}}}}}");
        wait_until(|| called(machine).lines().any(|line| line == label));
        assert!(called(machine).contains(&format!("/api/v1/namespaces/shop/pods/{name}\n")));
    }
}

/// What one file calls by a name is there under it in another.
#[test]
fn the_manifests_fit_each_other() {
    let all = manifests();
    let set = &manifest(&all, "StatefulSet", "billing")["spec"];
    let pod = &set["template"]["spec"];
    manifest(&all, "Service", set["serviceName"].as_str().unwrap());
    manifest(&all, "ServiceAccount", pod["serviceAccountName"].as_str().unwrap());
    for volume in pod["volumes"].as_array().unwrap() {
        if let Some(name) = volume["configMap"]["name"].as_str() {
            let data = &manifest(&all, "ConfigMap", name)["data"];
            let args = pod["containers"][0]["args"].as_array().unwrap();
            let script = args.iter().find_map(|it| it.as_str()?.strip_prefix("/scripts/"));
            assert!(data[script.unwrap()].is_string());
        }
    }
    let role = manifest(&all, "Role", "billing");
    let env = pod["containers"][0]["env"].as_array().unwrap();
    let voters = env.iter().find(|it| it["name"] == "GRAFT_VOTERS").unwrap();
    let pods = role["rules"][0]["resourceNames"].as_array().unwrap();
    let pods: Vec<_> = pods.iter().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(voters["value"], pods.join(","));
    assert_eq!(set["replicas"].as_u64(), Some(pods.len() as u64));
    let port = &pod["containers"][0]["ports"][0];
    let http = env.iter().find(|it| it["name"] == "GRAFT_HTTP").unwrap();
    assert_eq!(http["value"], format!("0.0.0.0:{}", port["containerPort"]));
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        assert_eq!(pod["containers"][0][probe]["httpGet"]["port"], port["name"]);
    }
    let selector = &manifest(&all, "Service", "billing")["spec"]["selector"];
    assert_eq!(selector["graft-leader"], "true");
}

#[test]
fn the_image_is_built_with_a_compiler_that_can_and_from_a_package_that_is_there() {
    let file = read("Dockerfile");
    let compiler = format!("FROM rust:{}-slim-bookworm AS build\n", env!("CARGO_PKG_RUST_VERSION"));
    assert!(file.contains(&compiler), "{compiler}");
    assert!(file.contains(&format!("--package {}\n", env!("CARGO_PKG_NAME"))));
    assert!(file.contains("target/release/graft /usr/bin/graft\n"));
    assert_eq!(Path::new(GRAFT).file_name().unwrap(), "graft");
}

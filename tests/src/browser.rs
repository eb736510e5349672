//! A real browser, without a window.

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::PATIENCE;

/// Gives the browser its pipe: it reads from the third descriptor, and writes to the fourth.
const SCRIPT: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null"#;

const FLAGS: [&str; 6] = [
    "--headless",
    // In a container its user is root, whom the sandbox is not for.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--remote-debugging-pipe",
];

/// A page that is open in Chromium, which is spoken to in its DevTools protocol. Dropping it ends
/// the browser.
#[derive(Debug)]
pub struct Page {
    browser: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    /// What it said that nobody has waited for yet.
    unread: Vec<Value>,
    session: Option<String>,
    last_id: u64,
    _profile: TempDir,
}

impl Page {
    /// Starts the browser that `CHROMIUM` names, or `chromium`, and opens the page.
    pub fn open(url: &str) -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let program = std::env::var_os("CHROMIUM").unwrap_or_else(|| OsString::from("chromium"));
        let mut browser = Command::new("sh")
            .args(["-c", SCRIPT])
            .arg(program)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh runs");
        let commands = browser.stdin.take().expect("it is piped");
        let output = BufReader::new(browser.stdout.take().expect("it is piped"));
        let (sender, messages) = channel();
        thread::spawn(move || {
            for message in output.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if sender.send(message).is_err() {
                    return;
                }
            }
        });
        let mut page = Self {
            browser,
            commands,
            messages,
            unread: Vec::new(),
            session: None,
            last_id: 0,
            _profile: profile,
        };
        let target = page.call("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let session = page.call("Target.attachToTarget", attached);
        page.session = session["sessionId"].as_str().map(str::to_owned);
        page.call("Page.enable", json!({}));
        page.call("Page.setLifecycleEventsEnabled", json!({ "enabled": true }));
        let loader = page.call("Page.navigate", json!({ "url": url }))["loaderId"].take();
        page.wait_for(|message| {
            let event = &message["params"];
            event["name"] == "load" && event["loaderId"] == loader
        });
        page
    }

    /// Waits until this expression of JavaScript is true of the page.
    pub fn wait_until(&mut self, condition: &str) {
        let expression = format!(
            "new Promise(done => {{
                const look = () => {{ if ({condition}) done(true); }};
                const all = {{ subtree: true, childList: true, attributes: true }};
                new MutationObserver(look).observe(document, all);
                look();
            }})"
        );
        let is_so = self.evaluate(&expression);
        assert_eq!(is_so, true, "{condition}");
    }

    /// What an expression of JavaScript comes to.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let mut answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.last_id += 1;
        let id = self.last_id;
        let mut command = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            command["sessionId"] = json!(session);
        }
        write!(self.commands, "{command}\0").expect("the browser reads: is there a Chromium?");
        let mut answer = self.wait_for(|message| message["id"] == id);
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].take()
    }

    fn wait_for(&mut self, is_meant: impl Fn(&Value) -> bool) -> Value {
        if let Some(place) = self.unread.iter().position(&is_meant) {
            return self.unread.remove(place);
        }
        loop {
            let message = self.messages.recv_timeout(PATIENCE).expect("the browser answers");
            if is_meant(&message) {
                return message;
            }
            self.unread.push(message);
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.browser.kill();
        let _ = self.browser.wait();
    }
}

//! A browser as a test drives it: Chromium by its own chromedriver, over WebDriver's HTTP.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

use std::io::{BufRead, BufReader};

/// A running browser with one empty profile; it ends when this is dropped.
pub(super) struct Browser {
    driver: Child,
    client: reqwest::Client,
    session: String,
    _profile: TempDir,
}

/// How a page is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) is_dark: bool,
}

impl Browser {
    /// Starts Chromium without a window.
    pub(super) async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Its browsers are in the group too.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("no chromedriver (Debian: chromium, chromium-driver): {error}")
            });
        let output = driver.stdout.take().unwrap();
        let port = tokio::task::spawn_blocking(move || port(output))
            .await
            .unwrap();
        let mut browser = Self {
            driver,
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            session: format!("http://127.0.0.1:{port}/session"),
            _profile: profile,
        };
        let folder = format!("--user-data-dir={}", browser._profile.path().display());
        let mut arguments = ARGUMENTS.to_vec();
        arguments.push(&folder);
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let session = browser.post("", &wanted).await;
        let id = session["sessionId"].as_str().unwrap();
        browser.session = format!("{}/{id}", browser.session);
        browser
    }

    /// Loads a page as somebody with such a screen sees it.
    pub(super) async fn open(&self, url: &str, look: Look) {
        let scheme = if look.is_dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.command(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        )
        .await;
        let screen = json!({
            "width": look.width,
            "height": look.height,
            "deviceScaleFactor": 1,
            "mobile": look.width < 600,
        });
        self.command("Emulation.setDeviceMetricsOverride", screen)
            .await;
        self.post("/url", &json!({ "url": url })).await;
    }

    /// What a script of the test comes to; the page's own rules for scripts are not asked.
    pub(super) async fn run(&self, script: &str) -> Value {
        self.post("/execute/sync", &json!({ "script": script, "args": [] }))
            .await
    }

    /// What the browser has complained of since the last time it was asked.
    pub(super) async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", &json!({ "type": "browser" })).await;
        let entries = log.as_array().unwrap().iter();
        entries.map(ToString::to_string).collect()
    }

    /// Puts the whole page into a file, for people to look at.
    pub(super) async fn picture(&self, path: &Path) {
        let whole = json!({ "captureBeyondViewport": true });
        let picture = self.command("Page.captureScreenshot", whole).await;
        let data = picture["data"].as_str().unwrap();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, from_base64(data)).unwrap();
    }

    async fn command(&self, name: &str, parameters: Value) -> Value {
        let command = json!({ "cmd": name, "params": parameters });
        self.post("/goog/cdp/execute", &command).await
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self
            .client
            .post(format!("{}{path}", self.session))
            .json(body);
        let answer: Value = request.send().await.unwrap().json().await.unwrap();
        let value = answer["value"].clone();
        assert!(value.get("error").is_none(), "{path}: {value:#}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(group) = Pid::from_raw(self.driver.id().cast_signed()) {
            // It may have ended by itself.
            let _gone = kill_process_group(group, Signal::KILL);
        }
        let _ended = self.driver.wait();
    }
}

/// The port that the driver has chosen, which it says on its output.
fn port(output: ChildStdout) -> u16 {
    let lines = BufReader::new(output).lines();
    let said = lines.map_while(Result::ok).find_map(|line| {
        let (_, port) = line.split_once("successfully on port ")?;
        port.trim_end_matches('.').parse().ok()
    });
    said.unwrap_or_else(|| panic!("chromedriver does not say its port"))
}

fn from_base64(text: &str) -> Vec<u8> {
    let value = |char: u8| match char {
        b'A'..=b'Z' => char - b'A',
        b'a'..=b'z' => char - b'a' + 26,
        b'0'..=b'9' => char - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for group in text.trim_end_matches('=').as_bytes().chunks(4) {
        let bits = group
            .iter()
            .fold(0_u32, |bits, char| bits << 6 | u32::from(value(*char)));
        let bits = bits << (6 * (4 - group.len()));
        bytes.extend(&bits.to_be_bytes()[1..group.len()]);
    }
    bytes
}

const ARGUMENTS: [&str; 8] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

//! As much of a WebDriver client (W3C WebDriver) as the browser tests need. Driver and browser
//! live in the client's namespace, like a phone on the same network.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lab::netns::Namespace;
use lab::{Lab, http, process, wait};
use serde_json::{Value, json};
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);
/// W3C WebDriver 12.2.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

pub(crate) struct Browser {
    driver: Child,
    space: Namespace,
    session: String,
    scripts: bool,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// A phone of 390x844 points; `scripts`: pages may run JavaScript.
    pub(crate) fn start(lab: &Lab, scripts: bool) -> Self {
        let profile = tempfile::tempdir().unwrap();
        let log = File::create(lab.state().join("chromedriver.log")).unwrap();
        let mut command = Command::new("chromedriver");
        command.args(["--port=9515", "--log-level=WARNING"]);
        command.stdout(log.try_clone().unwrap()).stderr(log);
        // Chromium keeps sockets and crash reports in the home directory unless told otherwise.
        command.env("HOME", profile.path());
        let space = lab.client();
        let driver = process::start(&space, None, command)
            .unwrap_or_else(|e| panic!("{e}; install chromium and chromium-driver"));
        let mut browser =
            Self { driver, space, session: String::new(), scripts, _profile: profile };
        wait::until(PATIENCE, "chromedriver", || {
            let seen = browser.call("GET", "/status", &Value::Null)?;
            if seen["ready"] == true { Ok(()) } else { Err(seen.to_string()) }
        })
        .unwrap();
        // There is no internet here; what Chromium looks up of its own accord must not hold up
        // the first page.
        let offline =
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 192.168.1.*";
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": [
                    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu",
                    "--window-size=390,844", "--disable-background-networking", "--no-first-run",
                    "--disable-component-update", "--disable-sync", offline,
                    format!("--user-data-dir={}", browser._profile.path().join("p").display()),
                ],
            },
        } } });
        let session = browser.call("POST", "/session", &capabilities);
        let session = session.unwrap_or_else(|e| panic!("chromium does not start: {e}"));
        browser.session = format!("/session/{}", session["sessionId"].as_str().unwrap());
        // As the developer tools' switches do it. (The driver's own mobile emulation waits half a
        // minute for a window as narrow as a phone, which headless Chromium has not.)
        let metrics =
            json!({ "width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": true });
        browser.tool("Emulation.setDeviceMetricsOverride", &metrics);
        browser.tool("Emulation.setTouchEmulationEnabled", &json!({ "enabled": true }));
        // The pages' own scripts do not run, what the driver itself needs does.
        browser.tool("Emulation.setScriptExecutionDisabled", &json!({ "value": !scripts }));
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let at = SocketAddr::from(([127, 0, 0, 1], 9515));
        let mut request = http::Request::new(method, path).timeout(Duration::from_secs(60));
        if !body.is_null() {
            request = request.body("application/json", body.to_string());
        }
        let answer = http::request(&self.space, at, &request).map_err(|e| e.to_string())?;
        let value = answer.json().map_err(|e| e.to_string())?["value"].take();
        if answer.status == 200 { Ok(value) } else { Err(value["message"].to_string()) }
    }

    fn on(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        self.call(method, &format!("{}{path}", self.session), body)
    }

    /// A command of the developer tools.
    fn tool(&self, command: &str, params: &Value) {
        let command = json!({ "cmd": command, "params": params });
        self.on("POST", "/goog/cdp/execute", &command).unwrap();
    }

    pub(crate) fn open(&self, url: &str) {
        self.on("POST", "/url", &json!({ "url": url })).unwrap();
    }

    /// The path of the page that is open.
    pub(crate) fn path(&self) -> String {
        let url = self.on("GET", "/url", &Value::Null).unwrap();
        let url = url.as_str().unwrap().to_owned();
        let rest = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        rest.find('/').map_or("/", |at| &rest[at..]).to_owned()
    }

    fn find(&self, css: &str) -> Result<String, String> {
        let query = json!({ "using": "css selector", "value": css });
        let found = self.on("POST", "/element", &query)?;
        Ok(found[ELEMENT].as_str().ok_or("no element")?.to_owned())
    }

    /// The text of the first element, as a person sees it.
    pub(crate) fn text(&self, css: &str) -> Result<String, String> {
        let element = self.find(css)?;
        let text = self.on("GET", &format!("/element/{element}/text"), &Value::Null)?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// A live property of the first element.
    pub(crate) fn property(&self, css: &str, name: &str) -> Result<Value, String> {
        let element = self.find(css)?;
        self.on("GET", &format!("/element/{element}/property/{name}"), &Value::Null)
    }

    /// Clicks the first element, once it is there and can be clicked.
    pub(crate) fn click(&self, css: &str) {
        wait::until(PATIENCE, &format!("a click on {css}"), || {
            let element = self.find(css)?;
            if !self.scripts {
                return self.act(css, "e.click()");
            }
            // Like a person, who brings what they want to touch to the middle of the screen: the
            // bar at the bottom may lie over its edge.
            self.act(css, "e.scrollIntoView({ block: 'center' })")?;
            self.on("POST", &format!("/element/{element}/click"), &json!({})).map(drop)
        })
        .unwrap();
    }

    /// Does something to the first element, `e`. The driver's own clicks and keys wait for timers
    /// of the page, which do not run without scripts.
    fn act(&self, css: &str, what: &str) -> Result<(), String> {
        let script = format!("const e = document.querySelector({}); {what};", json!(css));
        let script = json!({ "script": script, "args": [] });
        self.on("POST", "/execute/sync", &script).map(drop)
    }

    /// Replaces what a field holds.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        wait::until(PATIENCE, &format!("the field {css}"), || {
            let element = self.find(css)?;
            if !self.scripts {
                return self.act(css, &format!("e.value = {}", json!(text)));
            }
            self.on("POST", &format!("/element/{element}/clear"), &json!({}))?;
            let keys = json!({ "text": text });
            self.on("POST", &format!("/element/{element}/value"), &keys).map(drop)
        })
        .unwrap();
    }

    /// Waits until the first element's text holds these words.
    pub(crate) fn see(&self, css: &str, words: &str) {
        wait::until(PATIENCE, &format!("{words:?} in {css}"), || {
            let text = self.text(css)?;
            if text.contains(words) { Ok(()) } else { Err(text) }
        })
        .unwrap();
    }

    /// Waits until the page of this path is open.
    pub(crate) fn arrive(&self, path: &str) {
        wait::until(PATIENCE, &format!("the page {path}"), || {
            let now = self.path();
            if now == path { Ok(()) } else { Err(now) }
        })
        .unwrap();
    }

    /// The value of a JavaScript expression.
    pub(crate) fn evaluate(&self, expression: &str) -> Value {
        let script = json!({ "script": format!("return {expression};"), "args": [] });
        self.on("POST", "/execute/sync", &script).unwrap()
    }

    /// What the browser complained of since the last time.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.on("POST", "/se/log", &json!({ "type": "browser" })).unwrap();
        let entries = entries.as_array().cloned().unwrap_or_default();
        entries
            .iter()
            .filter(|e| e["level"] == "SEVERE")
            .map(|e| e["message"].as_str().unwrap_or_default().to_owned())
            // The browser's own start page, left in the middle of its work.
            .filter(|message| !message.starts_with("chrome://"))
            .collect()
    }

    pub(crate) fn screenshot(&self, file: &Path) {
        let image = self.on("GET", "/screenshot", &Value::Null).unwrap();
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, STANDARD.decode(image.as_str().unwrap()).unwrap()).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.on("DELETE", "", &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

//! The pages of `lockstep ui` in a real browser: Chromium without a window, driven over its debugging protocol.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use lockstep::trainer::run_dir::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tungstenite::{Message, WebSocket, client};

use super::ui::{Server, wait_for};
use super::{goodharts, lockstep, run, small_run};
use crate::common::{Ending, skip};

/// A browser with one page.
struct Browser {
    _process: Ending,
    socket: WebSocket<TcpStream>,
    session: String,
    number: u64,
    /// What the page has complained of since it was loaded.
    complaints: Vec<String>,
    _profile: TempDir,
}

impl Browser {
    /// A new one; none if there is no Chromium here.
    fn open() -> Option<Browser> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let found = std::env::split_paths(&path).flat_map(|folder| names.map(|name| folder.join(name)));
        let Some(program) = found.into_iter().find(|program: &PathBuf| program.is_file()) else {
            skip("there is no Chromium here (apt-get install chromium): pages in a browser");
            return None;
        };
        let profile = TempDir::new().unwrap();
        let mut command = Command::new(program);
        command.args(["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0"]);
        command.args(["--hide-scrollbars", "--no-first-run"]);
        // On a busy machine it would take a page that is drawn late for one that nobody looks at, and drop its keys.
        command.args(["--allow-pre-commit-input", "--disable-renderer-backgrounding"]);
        command.args(["--disable-backgrounding-occluded-windows", "about:blank"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        if rustix::process::geteuid().is_root() {
            command.arg("--no-sandbox"); // it does not run as root with one
        }
        let mut process = Ending(command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap());
        let lines = BufReader::new(process.0.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut lines =
            lines.filter_map(|line| Some(line.strip_prefix("DevTools listening on ")?.to_owned()));
        let url = lines.next().expect("the browser says where it listens");
        std::thread::spawn(move || lines.for_each(drop)); // it waits if nobody reads what it says
        let address = url.strip_prefix("ws://").unwrap().split('/').next().unwrap();
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
        let (socket, _) = client(url.as_str(), stream).unwrap();
        let session = String::new();
        let mut browser =
            Browser { _process: process, socket, session, number: 0, complaints: vec![], _profile: profile };
        let target = browser.call("Target.createTarget", json!({ "url": "about:blank" }))["targetId"].clone();
        let attached = browser.call("Target.attachToTarget", json!({ "targetId": target, "flatten": true }));
        browser.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Log"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        Some(browser)
    }

    /// Calls a method of the protocol.
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.number += 1;
        let mut message = json!({ "id": self.number, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.socket.send(Message::text(message.to_string())).unwrap();
        loop {
            let Message::Text(text) = self.socket.read().unwrap() else { continue };
            let mut reply: Value = serde_json::from_str(&text).unwrap();
            if reply["id"] == self.number {
                assert!(reply.get("error").is_none(), "{method}: {reply}");
                return reply["result"].take();
            }
            self.hear(&reply);
        }
    }

    fn hear(&mut self, event: &Value) {
        let params = &event["params"];
        let is_complaint = match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => {
                ["error", "warning"].iter().any(|kind| params["type"] == *kind)
            }
            Some("Log.entryAdded") => true,
            _ => false,
        };
        if is_complaint {
            self.complaints.push(params.to_string());
        }
    }

    /// The value of an expression in the page.
    fn value(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let result = self.call("Runtime.evaluate", asked);
        assert!(result.get("exceptionDetails").is_none(), "{expression}: {result}");
        result["result"]["value"].clone()
    }

    /// Waits for at most three minutes or so: a machine may be busy.
    #[track_caller]
    fn wait_until(&mut self, expression: &str) {
        let shown = "document.body.innerText";
        for _ in 0..1800 {
            if self.value(expression) == true {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        panic!("{expression} did not become so: {}, {:?}", self.value(shown), self.complaints);
    }

    /// Shows a page in a window of a width, in light or dark colours, until it has been filled.
    #[track_caller]
    fn go(&mut self, url: &str, width: u32, theme: &str) {
        let size = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": false });
        self.call("Emulation.setDeviceMetricsOverride", size);
        let theme = json!({ "features": [{ "name": "prefers-color-scheme", "value": theme }] });
        self.call("Emulation.setEmulatedMedia", theme);
        self.complaints.clear();
        self.call("Page.bringToFront", json!({}));
        self.call("Page.navigate", json!({ "url": url }));
        let said = "document.getElementById('said')?.textContent";
        // The page writes its filters into the address.
        let path = url.split('?').next().unwrap();
        let there =
            format!("location.href.split('?')[0] === {} && document.readyState === 'complete'", json!(path));
        self.wait_until(&format!("{there} && !({said} ?? 'Reading').startsWith('Reading')"));
    }

    fn press(&mut self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            key if key.chars().count() == 1 => key,
            _ => "",
        };
        let code = json!(match key {
            "Tab" => 9,
            "Enter" => 13,
            _ => 0,
        });
        let down = json!({ "type": "keyDown", "key": key, "text": text, "windowsVirtualKeyCode": code });
        self.call("Input.dispatchKeyEvent", down);
        self.call(
            "Input.dispatchKeyEvent",
            json!({ "type": "keyUp", "key": key, "windowsVirtualKeyCode": code }),
        );
    }

    /// Goes on with the tabulator key until what is focused fits.
    #[track_caller]
    fn tab_to(&mut self, selector: &str) {
        for _ in 0..60 {
            self.press("Tab");
            if self.value(&format!("document.activeElement.matches({})", json!(selector))) == true {
                return;
            }
        }
        panic!("the tabulator key does not lead to {selector}");
    }
}

#[test]
fn pages_are_drawn_in_all_widths_and_themes_and_used_by_keys_alone() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = TempDir::new().unwrap();
    let windows = ["--window-steps", "64", "--replays-per-window", "1", "--eval-max-steps", "12"];
    let more = ["--eval-interval", "5", "--eval-episodes", "2"];
    run(&[&small_run(folder.path().to_str().unwrap(), "w")[..], &windows, &more].concat()).stdout();
    fs::create_dir(folder.path().join("bad")).unwrap();
    fs::write(folder.path().join("bad/config.toml"), "= =").unwrap();
    fs::write(folder.path().join("bad/status.json"), "<script>alert(1)</script>").unwrap();
    let (results, report) = goodharts::results();
    let modes = goodharts::trained().join("checkpoints");
    let flags = ["--results-dir", results.to_str().unwrap(), "--runs-dir", modes.to_str().unwrap()];
    let server = Server::start(folder.path(), &flags);
    let page = |path: &str| format!("http://{}{path}", server.host());
    let report = format!("/reports/{report}");
    let name = fs::read_dir(folder.path().join("w/replays")).unwrap().next().unwrap().unwrap().file_name();
    let replay = name.to_str().unwrap().split('.').next().unwrap().to_owned();
    let replay = format!("/runs/w/replays/{replay}");
    for (width, theme) in [(1280, "light"), (1280, "dark"), (400, "light"), (400, "dark")] {
        let paths = [
            "/",
            "/runs/w",
            "/compare?run=w",
            "/dashboard?run=w",
            "/sweeps",
            "/play",
            "/play?run=w",
            &replay,
            "/evaluations",
            "/evaluations/all",
            &report,
        ];
        for path in paths {
            browser.go(&page(path), width, theme);
            if path == "/play?run=w" {
                browser.wait_until(BEGUN);
            } else if path == report {
                // Pictures are loaded when they are near.
                let figures = "[...document.querySelectorAll('.report img')]";
                browser.wait_until(&format!("{figures}.length === 9 && {figures}.every((img) => img.complete && img.naturalWidth > 100)"));
                let fits = format!("{figures}.every((img) => img.currentSrc.endsWith('_{theme}.png'))");
                assert_eq!(browser.value(&fits), true, "{theme}");
            } else if path.contains('w') && path != "/sweeps" && path != replay || path == "/evaluations/all"
            {
                browser
                    .wait_until("/\\d/.test(document.querySelector('canvas')?.getAttribute('aria-label'))");
            }
            assert!(browser.complaints.is_empty(), "{path}: {:?}", browser.complaints);
            let overflow = browser.value("document.documentElement.scrollWidth - innerWidth");
            assert_eq!(overflow, 0, "{path} at {width}");
        }
        browser.go(&page("/runs/bad"), width, theme);
        assert_eq!(browser.value("document.getElementById('said').classList.contains('bad')"), true);
    }

    // By keys alone: find a run, go there, read its curve, zoom, play a replay.
    browser.go(&page("/"), 1280, "light");
    browser.tab_to("#find");
    // Errors are searched too, and that of "bad" names a temporary directory: one letter may be in it.
    "cartpole".chars().for_each(|letter| browser.press(&letter.to_string()));
    browser.wait_until("document.querySelectorAll('#runs tbody tr').length === 1");
    browser.tab_to("#runs tbody a");
    browser.press("Enter");
    browser.wait_until("location.pathname === '/runs/w' && !!document.querySelector('canvas')");
    browser.tab_to("canvas");
    browser.wait_until("/\\d/.test(document.activeElement.getAttribute('aria-label'))");
    browser.press("ArrowLeft");
    browser.wait_until("document.activeElement.getAttribute('aria-label').includes(' at ')");
    browser.press("+");
    browser.wait_until("!document.querySelector('#controls button').disabled");
    browser.press("0");
    browser.wait_until("document.querySelector('#controls button').disabled");
    browser.go(&page(&replay), 1280, "light");
    let at = "document.getElementById('seek').value";
    browser.wait_until("document.querySelector('#board pre').textContent.length > 10");
    browser.wait_until("!document.getElementById('said').textContent.includes('are read')");
    browser.press("n");
    browser.press("n");
    browser.press("b");
    assert_eq!(browser.value(at), "1");
    let first = browser.value("document.getElementById('board').textContent");
    browser.press("9");
    browser.wait_until("document.getElementById('seek').value > 1");
    assert_ne!(browser.value("document.getElementById('board').textContent"), first);
    browser.press("0");
    browser.press(" ");
    browser.wait_until("document.getElementById('seek').value === document.getElementById('seek').max");
    // The dashboard of the modes: tabs, what they eat, and where they walk.
    let runs = server.json("/api/v1/runs")["runs"].take();
    let is_mode = |run: &&Value| run["env"] == "goodharts";
    let group = runs.as_array().unwrap().iter().find(is_mode).unwrap()["group"].as_str().unwrap().to_owned();
    browser.go(&page(&format!("/dashboard?group={group}")), 1280, "dark");
    browser.wait_until(
        "!!document.querySelector('[data-metric=\"share of food\"] canvas')?.getAttribute('aria-label')",
    );
    browser.wait_until("/^[↑-↙] /.test(document.querySelector('#bars th')?.textContent)");
    browser.tab_to("[role=tab]");
    let tab = "document.querySelector('[aria-selected=true]').textContent";
    let before = browser.value(tab);
    browser.press("ArrowRight");
    browser.wait_until(&format!("{tab} !== {before}"));
    assert_eq!(browser.value("document.querySelectorAll('[role=tab]').length"), 4);

    // And an evaluation with its curves, and a report.
    browser.go(&page("/evaluations"), 1280, "light");
    browser.tab_to("#list a");
    browser.press("Enter");
    browser.wait_until(
        "location.pathname === '/evaluations/all' && document.getElementById('results')?.hidden === false",
    );
    browser.tab_to("#log");
    browser.press(" ");
    browser.wait_until("location.search === '?log=1'");
    browser.tab_to("canvas");
    browser.press("ArrowLeft");
    browser.wait_until("document.activeElement.getAttribute('aria-label').includes(' at ')");
    browser.go(&page("/evaluations"), 1280, "light");
    browser.tab_to("#reports a");
    browser.press("Enter");
    browser.wait_until("document.querySelectorAll('.report h3').length >= 4");
    browser.tab_to("#downloads a[download='results.json']");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// An evaluation of which a file says that this process is at work on it.
#[test]
fn an_evaluation_is_seen_to_go_on() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = TempDir::new().unwrap();
    let write = |points: usize, state: &str| {
        let column = |value: fn(usize) -> f64| (1..=points).map(value).collect::<Vec<_>>();
        let curve = json!({
            "run": 1, "seed": 7, "steps": (1..=points).map(|i| 10 * i).collect::<Vec<_>>(), "deaths": (1..=points).collect::<Vec<_>>(),
            "efficiency": column(|i| 1.0 / i as f64), "survival": column(|i| i as f64),
        });
        let now = lockstep::trainer::status::now();
        let course = json!({
            "env": "goodharts", "state": state, "error": null, "start_time": now, "last_heartbeat": now, "process": Process::current(),
            "runs": 1, "envs": 8, "steps": 100, "modes": ["proxy", "ground_truth"], "curves": { "proxy": curve },
        });
        fs::write(folder.path().join("part"), course.to_string()).unwrap();
        fs::rename(folder.path().join("part"), folder.path().join("e_progress.json")).unwrap();
    };
    write(3, "running");
    let server = Server::start(folder.path(), &[]);
    browser.go(&format!("http://{}/evaluations/e", server.host()), 1280, "light");
    let label = "document.querySelector('[data-metric=\"Deaths so far\"] canvas').getAttribute('aria-label')";
    browser.wait_until(&format!("{label} === 'Deaths so far: 3'"));
    let state = "document.querySelector('#facts .life').textContent";
    assert_eq!(browser.value(state), "running");
    write(4, "running");
    browser.wait_until(&format!("{label} === 'Deaths so far: 4'"));
    write(10, "completed");
    browser.wait_until(&format!("{state} === 'completed'"));
    assert_eq!(browser.value("document.getElementById('results').hidden"), true);
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

/// Whether a game is on the page.
const BEGUN: &str = "!document.getElementById('table').hidden";

#[test]
fn a_game_is_played_to_its_end_by_keys_alone() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = TempDir::new().unwrap();
    let server = Server::start(folder.path(), &[]);
    let page = |query: &str| format!("http://{}/play{query}", server.host());
    let steps = "document.getElementById('table').dataset.steps";
    let said = "document.getElementById('said').textContent";
    let is_over = format!("/(You win|wins|A draw)\\.$/.test({said})");
    for width in [400, 1280] {
        browser.go(&page("?env=connect4&player=heuristic"), width, "light");
        browser.wait_until(BEGUN);
        browser.press("v");
        browser.wait_until("document.querySelectorAll('.scene .label').length === 7");
        let labels = browser
            .value("[...document.querySelectorAll('.scene .label')].map((label) => label.textContent)");
        assert!(
            labels.as_array().unwrap().iter().all(|label| label.as_str().unwrap().ends_with('%')),
            "{labels}"
        );
        browser.press("ArrowLeft");
        browser.wait_until("document.querySelector('.spot.chosen').parentNode.dataset.action === '2'");
        while browser.value(&is_over) == false {
            let before = browser.value(steps);
            let column = browser.value("document.querySelector('.spot.legal').parentNode.dataset.action");
            browser.press(column.as_str().unwrap());
            browser.press("Enter");
            browser.wait_until(&format!("{steps} !== {before}"));
        }
        assert_eq!(browser.value("document.querySelectorAll('.spot.legal').length"), 0);
        let overflow = browser.value("document.documentElement.scrollWidth - innerWidth");
        assert_eq!(overflow, 0, "at {width}");
        let before = browser.value(steps);
        browser.press("u");
        browser.wait_until(&format!("{steps} !== {before} && !{is_over}"));
        browser.tab_to("#new");
        browser.press("Enter");
        browser.wait_until(&format!("{steps} === '0'"));

        // The agent begins, which is chosen by keys as well.
        browser.go(&page(""), width, "dark");
        browser.tab_to("#second");
        browser.press("t");
        browser.tab_to("#begin");
        browser.press("Enter");
        browser.wait_until(&format!("{BEGUN} && {steps} === '1' && /plays column/.test({said})"));

        // Alone: an arrow walks, and the agent plays on until somebody stops it.
        browser.go(&page("?env=cartpole&player=random"), width, "light");
        browser.wait_until(BEGUN);
        browser.press("ArrowRight");
        browser.wait_until(&format!("{steps} === '1' && {said}.startsWith('right, reward 1')"));
        browser.press(" ");
        browser.wait_until(&format!("{said}.includes('Over after')"));
        assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    }
}

#[test]
fn a_curve_grows_and_the_button_stops_the_run_when_asked_twice() {
    let Some(mut browser) = Browser::open() else { return };
    let folder = TempDir::new().unwrap();
    let mut arguments = small_run(folder.path().to_str().unwrap(), "live");
    arguments.iter_mut().filter(|word| **word == "320").for_each(|word| *word = "2000000000");
    arguments.iter_mut().filter(|word| **word == "5").for_each(|word| *word = "1000000");
    let server = Server::start(folder.path(), &[]);
    let mut training = lockstep(&arguments).stderr(Stdio::null()).spawn().unwrap();
    wait_for("it has logged", || folder.path().join("live/metrics.jsonl").is_file());
    browser.go(&format!("http://{}/runs/live", server.host()), 1280, "light");
    let label =
        "document.querySelector('[data-metric=\"train/entropy\"] canvas')?.getAttribute('aria-label')";
    browser.wait_until(&format!("/\\d/.test({label})"));
    let before = browser.value(label);
    browser.wait_until(&format!("{label} !== {before}"));

    browser.tab_to("#stop");
    browser.press("Enter");
    browser.wait_until("document.getElementById('sure').open && document.activeElement.value === 'no'");
    browser.press("Enter");
    browser.wait_until("!document.getElementById('sure').open");
    assert!(training.try_wait().unwrap().is_none(), "the first answer left it running");
    browser.press("Enter");
    browser.wait_until("document.getElementById('sure').open");
    browser.tab_to("#yes");
    browser.press("Enter");
    browser.wait_until("document.querySelector('#facts .life').textContent === 'stopped'");
    assert_eq!(training.wait().unwrap().code(), Some(0));
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
}

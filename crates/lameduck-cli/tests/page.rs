//! Reports of a target that means harm, in every format: a page in headless Chromium, XML in a parser, JSON read back.
//!
//! Chromium is skipped where it is not installed, and says so; `.ci/run` installs it.

mod support;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{seats::alone, service::Ended, service::Service};

const LAMEDUCK: &str = env!("CARGO_BIN_EXE_lameduck");

/// The sections of a page, in their order.
const SECTIONS: [&str; 12] = [
    "users",
    "phases",
    "connections",
    "load",
    "findings",
    "checks",
    "untested",
    "grace",
    "compared",
    "method",
    "output",
    "raw",
];

/// A directory that is gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lameduck-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary directory can be made");
        Self(path)
    }

    fn file(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.join(name)).expect(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn lameduck(arguments: &[&str]) -> Ended {
    Service::start(LAMEDUCK, arguments, &[]).end()
}

/// A server whose name and output try to become markup, to leave the script element, and to steer terminals; what
/// of it ran would ask `trap` for something.
fn hostile(folder: &Folder, trap: &str) -> Ended {
    let evil = format!(
        "</script></pre><script>document.title='pwned'</script><img src=\"http://{trap}/img\" onerror=\"document.title='pwned'\">|`a`|@all ]]> \u{1b}[31m\u{7}"
    );
    let code = "import http.server, sys\n\
        sys.stderr.write(sys.argv[2] + '\\n<!-- \\x1b[2J \\x00 end'); sys.stderr.flush()\n\
        sys.stderr.buffer.write(b'\\xff\\xfe\\x9b2J\\xc2\\x9b2J \\xe2\\x80\\xae\\xe2\\x80\\x8b \\xed\\xa0\\x80\\xc3'); sys.stderr.flush()\n\
        http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()";
    let also = ["html", "json", "junit", "sarif", "markdown"]
        .map(|format| format!("{format}={}", folder.file(format)));
    let mut arguments = vec!["verify", "--only", "P1,H1-04,H2-01,L-H1", "--rounds", "1"];
    for also in &also {
        arguments.extend(["--also", also]);
    }
    arguments.extend(["--", "python3", "-c", code, "{port}", &evil]);
    lameduck(&arguments)
}

/// Whether Chromium is here; says so if not.
fn has_chromium() -> bool {
    let here = Command::new("chromium")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !here {
        eprintln!("skipped: chromium does not run here");
    }
    here
}

/// Opens a page; returns its document as it is then, and what was said on the console.
fn open(folder: &Folder, page: &Path) -> (String, Vec<String>) {
    let profile = format!("--user-data-dir={}", folder.file("profile"));
    let url = format!("file://{}", page.display());
    let arguments = [
        "--headless",
        // Containers have no user namespaces for a sandbox; the page is our own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--allow-file-access-from-files",
        "--enable-logging=stderr",
        "--virtual-time-budget=5000",
        "--dump-dom",
        &profile,
        &url,
    ];
    let mut command = Command::new("chromium");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let ended = Service::launch(&mut command).end();
    let console = ended.stderr.lines().filter(|line| line.contains("CONSOLE"));
    let console = console.map(str::to_owned).collect();
    (ended.stdout, console)
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[test]
fn a_hostile_target_stays_text_in_every_format() {
    let _alone = alone();
    let folder = Folder::new("page");
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = trap.local_addr().expect("it is bound").to_string();
    let ended = hostile(&folder, &address);
    assert_eq!(ended.how(), "exit 1", "{}", ended.stderr);
    assert!(
        !ended.stdout.contains(['\u{1b}', '\u{7}']),
        "{}",
        ended.stdout
    );

    for format in ["html", "json", "junit", "sarif", "markdown"] {
        let shown = folder.read(format);
        let steers = |c: char| {
            c.is_control() && !matches!(c, '\n' | '\t') || matches!(c, '\u{202e}' | '\u{feff}')
        };
        assert!(!shown.contains(steers), "{format}");
    }
    let report: Value = serde_json::from_str(&folder.read("json")).expect("JSON");
    let stderr = report["target"]["output"]["stderr"].as_str().expect("text");
    assert!(
        stderr.contains("</script>"),
        "the raw report has it as it was"
    );

    let sarif: Value = serde_json::from_str(&folder.read("sarif")).expect("JSON");
    sarif_is_whole(&sarif);
    junit_is_xml(&folder);
    let markdown = folder.read("markdown");
    assert!(markdown.chars().count() < 65_536);
    let head = markdown.split("<details>").next().unwrap_or_default();
    assert!(
        !head.contains("<script") && !head.contains("<img"),
        "{head}"
    );
    assert!(!head.contains("@all"), "nobody is called: {head}");

    page_is_inert(&folder);
    if has_chromium() {
        page_in_chromium(&folder);
        page_on_a_phone(&folder);
        page_by_keyboard_and_on_paper(&folder);
    }
    trap.set_nonblocking(true).expect("it can be");
    assert!(trap.accept().is_err(), "something asked for an image");
}

/// What SARIF 2.1.0 requires, and code scanning besides.
fn sarif_is_whole(sarif: &Value) {
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let driver = &run["tool"]["driver"];
    assert!(driver["name"].is_string());
    let rules = driver["rules"].as_array().expect("rules");
    for rule in rules {
        assert!(
            rule["id"].is_string()
                && rule["shortDescription"]["text"].is_string()
                && rule["help"]["text"].is_string(),
            "{rule:#}"
        );
    }
    let results = run["results"].as_array().expect("results");
    assert!(!results.is_empty());
    for result in results {
        let index = result["ruleIndex"].as_u64().expect("an index");
        let index = usize::try_from(index).expect("a small one");
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(result["message"]["text"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        assert!(place["artifactLocation"]["uri"].is_string());
        assert_eq!(place["region"]["startLine"], 1);
    }
}

/// One test case for each id, and the counts are those of the cases.
fn junit_is_xml(folder: &Folder) {
    let code = "import sys, xml.etree.ElementTree as tree\n\
        suite = tree.parse(sys.argv[1]).getroot().find('testsuite')\n\
        cases = suite.findall('testcase')\n\
        print(len(cases), *(sum(c.find(tag) is not None for c in cases) for tag in ('failure', 'error', 'skipped')))\n\
        print(*(suite.get(name) for name in ('tests', 'failures', 'errors', 'skipped')))";
    let mut command = Command::new("python3");
    command
        .args(["-c", code, &folder.file("junit")])
        .stdout(Stdio::piped());
    let ended = Service::launch(&mut command).end();
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ended.stderr);
    assert_eq!(lines[0], lines[1]);
    assert!(lines[0].starts_with("4 "), "{lines:?}");
}

/// Without a browser: two scripts, ours and the data, and nothing that is loaded from anywhere.
fn page_is_inert(folder: &Folder) {
    let page = folder.read("html");
    assert_eq!(count(&page, "<script"), 2);
    assert_eq!(count(&page, "</script>"), 2);
    assert_eq!(count(&page, "<img"), 0);
    assert!(
        page.contains("Content-Security-Policy") && page.contains("default-src &#39;none&#39;")
    );
    assert!(!page.contains(['\u{1b}', '\u{7}', '\u{0}']));
    let mut at = 0;
    for section in SECTIONS {
        let found = page
            .find(&format!("<section id=\"{section}\""))
            .expect(section);
        assert!(found > at, "{section} is out of order");
        at = found;
    }
}

fn page_in_chromium(folder: &Folder) {
    let page = folder.0.join("page.html");
    fs::copy(folder.0.join("html"), &page).expect("it is there");
    let (document, console) = open(folder, &page);
    assert!(console.is_empty(), "{console:#?}");
    for section in SECTIONS {
        assert!(document.contains(&format!("id=\"{section}\"")), "{section}");
    }
    assert!(
        !document.contains("<title>pwned"),
        "a script of the target ran"
    );
    assert_eq!(count(&document, "<script"), 2);
    assert_eq!(count(&document, "<img"), 0);
    for attribute in ["src=\"", "href=\"", "srcset=\"", "action=\""] {
        // What the target wrote is text, where quotes stay as they are; attributes stand within a tag.
        let places = document.split('<').filter_map(|tag| tag.split('>').next());
        for tag in places.filter(|tag| tag.contains(attribute)) {
            let value = tag.split(attribute).nth(1).unwrap_or_default();
            assert!(
                value.starts_with('#') || value.starts_with("data:,"),
                "<{tag}>"
            );
        }
    }
    // Only with script: so ours ran, and its digest is the one that the policy names.
    assert!(!document.contains("id=\"save\" type=\"button\" hidden"));
}

/// At 360 pixels nothing but what scrolls by itself is wider than the screen.
fn page_on_a_phone(folder: &Folder) {
    let frame =
        "<!DOCTYPE html><body><iframe src=page.html width=360 height=800 style='border:0'></iframe>
        <script>onload = () => {
            const page = document.querySelector('iframe').contentDocument;
            const { scrollWidth, clientWidth } = page.documentElement;
            document.title = (scrollWidth > clientWidth ? 'wide ' : 'fits ') + scrollWidth;
        }</script>";
    let path = folder.0.join("phone.html");
    fs::write(&path, frame).expect("it can be written");
    let (document, console) = open(folder, &path);
    assert!(console.is_empty(), "{console:#?}");
    let title = document.split("<title>").nth(1).unwrap_or_default();
    assert!(
        title.starts_with("fits "),
        "{}",
        title.split('<').next().unwrap_or_default()
    );
}

/// Everything is reached in order, seen where it is, and named; paper has all of it and no controls, and no more than
/// the page has to say.
fn page_by_keyboard_and_on_paper(folder: &Folder) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/keys.py");
    let mut command = Command::new("python3");
    command
        .args([script, &folder.file("page.html"), &folder.file("keys")])
        .stdout(Stdio::piped());
    let ended = Service::launch(&mut command).end();
    if ended.stderr.contains("No module named 'websockets'") {
        eprintln!("skipped: python3 websockets does not run here");
        return;
    }
    let seen: Value = serde_json::from_str(&ended.stdout).expect(&ended.stderr);
    let stops = seen["stops"].as_array().expect("a list");
    assert_eq!(stops[0]["name"], "Skip to the report");
    for stop in stops {
        assert_eq!(stop["seen"], true, "{stop}");
        assert_ne!(stop["name"], "", "{stop}");
    }
    let of = |tag: &str| stops.iter().filter(|stop| stop["tag"] == tag).count();
    let page = folder.read("page.html");
    // Those of folded parts can not be reached, and need not.
    assert!(of("summary") >= 8 && of("summary") <= count(&page, "<summary"));
    assert_eq!(of("a"), SECTIONS.len() + 1);
    assert_eq!(of("button"), 1);
    assert_eq!(seen["unfolds"], serde_json::json!([false, true]));
    assert_eq!(seen["nameless"], serde_json::json!([]));
    let paper = &seen["paper"];
    assert_eq!(
        (&paper["cut"], &paper["controls"]),
        (&serde_json::json!([]), &0.into())
    );
    assert_eq!(paper, &seen["in_the_dark"]);
    let pages = seen["pages"].as_u64().expect("a number");
    assert!((2..=16).contains(&pages), "{pages} pages");
}

#[test]
fn a_report_is_read_back_and_held_against_another() {
    let _alone = alone();
    let folder = Folder::new("again");
    let json = format!("json={}", folder.file("a.json"));
    let ended = lameduck(&["verify", "--only", "P1,H1-04", "--also", &json]);
    assert_eq!(ended.how(), "exit 0", "{}{}", ended.stdout, ended.stderr);
    let path = folder.file("a.json");
    let shown = lameduck(&["report", &path]);
    assert_eq!(
        (shown.how().as_str(), shown.stdout.as_str()),
        ("exit 0", ended.stdout.as_str())
    );
    let again = lameduck(&["report", &path, "--format", "json"]);
    let same = again.stdout.trim_end() == folder.read("a.json").trim_end();
    assert!(same, "what was read back is not what was written");

    // The same run with a failure: a regression against the first, and known against itself.
    let mut worse: Value = serde_json::from_str(&again.stdout).expect("JSON");
    worse["checks"][1]["verdict"] = "fail".into();
    worse["verdict"] = "fail".into();
    worse["contract"] = 2.into();
    let worse_path = folder.file("worse.json");
    fs::write(&worse_path, worse.to_string()).expect("it can be written");
    let rows: [(&[&str], &str, &str); 4] = [
        (
            &["report", &worse_path, "--baseline", &path],
            "exit 1",
            "regression",
        ),
        (
            &["report", &worse_path, "--baseline", &worse_path],
            "exit 0",
            "1 known",
        ),
        (
            &["report", &path, "--baseline", &worse_path],
            "exit 0",
            "better",
        ),
        (
            &["report", &path, &worse_path],
            "exit 0",
            "another version of the contract",
        ),
    ];
    for (arguments, exit, part) in rows {
        let ended = lameduck(arguments);
        assert_eq!(ended.how(), exit, "{arguments:?}: {}", ended.stderr);
        assert!(
            ended.stdout.contains(part),
            "{arguments:?}: {}",
            ended.stdout
        );
    }
}

#[test]
fn what_is_no_report_is_2_and_says_why() {
    let _alone = alone();
    let folder = Folder::new("no-report");
    let rows = [
        ("{", "it is not JSON"),
        (r#"{"schema":"lameduck.shutdown/1"}"#, "lameduck explain"),
        (r#"{"schema":"lameduck.verify/9"}"#, "`lameduck.verify/9`"),
        (r#"{"schema":"lameduck.verify/1"}"#, "missing field"),
    ];
    let path = folder.file("x.json");
    for (text, part) in rows {
        fs::write(&path, text).expect("it can be written");
        // A baseline is read before anything is measured.
        for arguments in [&["report", &path][..], &["verify", "--baseline", &path]] {
            let ended = lameduck(arguments);
            assert_eq!(ended.how(), "exit 2", "{text}");
            assert!(ended.stderr.contains(part), "{text}: {}", ended.stderr);
        }
    }
}

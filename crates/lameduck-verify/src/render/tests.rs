//! Holds the text report and the JSON shape against what they were when somebody last looked at them.

use std::collections::BTreeMap;

use super::{Colour, Style, hostile};
use crate::catalogue::{Class, entry};
use crate::front::GraceReport;
use crate::observe::outcome::{Outcome, Tally};
use crate::verdict::StopLoss;
use crate::verdict::{
    ExitReport, FailOn, Figure, Finding, Instrument, LaneEvent, Output, PhaseSpan, Phases, Rate,
    Report, SignalReport, TargetReport, Verdict, overall,
};

fn finding(id: &'static str, verdict: Verdict, detail: &str) -> Finding {
    let entry = entry(id).unwrap();
    let acts = matches!(verdict, Verdict::Fail | Verdict::Differs);
    Finding {
        id: id.into(),
        class: entry.class,
        verdict,
        requests: Tally::default(),
        figures: BTreeMap::new(),
        detail: detail.to_owned(),
        owed: entry.owed.into(),
        consequence: acts.then_some(entry.consequence.into()),
        remedy: acts.then_some(entry.remedy.into()),
        waiver: None,
        without_waiver: None,
        next: acts.then(|| format!("lameduck verify --only {id} --seed 7f3a91 -- ./serve")),
        series: None,
    }
}

fn event(lane: &'static str, at_ms: f64, event: &'static str, note: &str) -> LaneEvent {
    LaneEvent {
        at_ms,
        lane: lane.into(),
        event: event.into(),
        note: note.to_owned(),
    }
}

fn report(checks: Vec<Finding>) -> Report {
    Report {
        schema: "lameduck.verify/1".into(),
        version: "0.1.0".into(),
        contract: 1,
        seed: "7f3a91".to_owned(),
        target: TargetReport {
            label: "./serve\u{1b}[2J".to_owned(),
            command: vec!["./serve".to_owned()],
            addr: "127.0.0.1:41873".to_owned(),
            ready_ms: 12.0,
            launches: 21,
            facts: vec!["GET / answers 200".to_owned()],
            server: None,
            output: Output::default(),
        },
        method: vec!["20 fresh processes, one SIGTERM each at a random instant".to_owned()],
        verdict: overall(&checks),
        lost: checks.iter().map(|finding| finding.requests.lost).sum(),
        crossed: 0,
        requests: Tally::default(),
        rate: None,
        connections: Vec::new(),
        connections_left_out: 0,
        instrument: Instrument::default(),
        users: Vec::new(),
        grace: GraceReport::default(),
        compared: Vec::new(),
        checks,
        timeline: vec![
            event("in flight", -300.0, "connected", ""),
            event("in flight", -299.0, "sent", ""),
            event("in flight", 1200.0, "answered", "200 close"),
            event("idle, reused +2 ms", -310.0, "answered", "200"),
            event("idle, reused +2 ms", 2.0, "sent", ""),
            event("idle, reused +2 ms", 3.0, "reset", ""),
            event("new connections", -100.0, "answered", "200"),
            event("new connections", 100.0, "answered", "200"),
            event("new connections", 200.0, "refused", ""),
        ],
        phases: Phases {
            source: "observed".into(),
            spans: vec![
                PhaseSpan {
                    phase: "still accepting".to_owned(),
                    took_ms: 100.0,
                },
                PhaseSpan {
                    phase: "finishing".to_owned(),
                    took_ms: 1420.0,
                },
            ],
        },
        signal: SignalReport {
            name: "SIGTERM".into(),
            from_pid: 4711,
        },
        exit: ExitReport {
            code: Some(0),
            signal: None,
            after_ms: Some(1520.0),
            killed_at_grace: false,
            left_running: false,
        },
    }
}

fn lossy() -> Report {
    let mut load = finding(
        "L-H1",
        Verdict::Fail,
        "3 of 4800 requests lost, in 2 of 20 rounds",
    );
    for _ in 0..4_797 {
        load.requests.add_outcome(Outcome::Served);
    }
    for _ in 0..3 {
        load.requests.add_outcome(Outcome::Reset);
    }
    (load.requests.lost, load.requests.lost_posts) = (3, 3);
    let stop = |lost| StopLoss {
        at_stake: 240,
        lost,
    };
    let stops: Vec<_> = (0..20)
        .map(|nth| stop(u64::from(nth < 2) + u64::from(nth < 1)))
        .collect();
    for (name, count) in [
        ("rounds", 20_u64),
        ("rounds_with_loss", 2),
        ("answered_before_signal", 9_000),
    ] {
        load.figures.insert(name.into(), Figure::from(count));
    }
    let rate = Rate::of(3, 4_800, &stops);
    let mut report = report(vec![
        finding("P1", Verdict::Pass, "exited with 0 3 ms after SIGTERM"),
        finding(
            "H1-02",
            Verdict::NotApplicable,
            "the target closes each connection after one response",
        ),
        load,
    ]);
    report.rate = rate;
    report.target.output.stderr = "starting\u{1b}[31m!\nstopped\n".to_owned();
    report
}

/// The run before it, which was better.
fn earlier() -> Report {
    let mut earlier = lossy();
    earlier.seed = "51ab3c".to_owned();
    let load = &mut earlier.checks[2];
    load.verdict = Verdict::Pass;
    load.requests = Tally::default();
    for _ in 0..4_800 {
        load.requests.add_outcome(Outcome::Served);
    }
    earlier
}

const LOSSY: &str = include_str!("lossy.txt");

#[test]
fn the_text_report_reads_as_it_should() {
    let text = lossy().render_text(Style::plain());
    assert_eq!(text, LOSSY, "it is now:\n{text}");
}

#[test]
fn no_line_is_wider_than_asked_but_commands_to_copy() {
    for width in [72, 80, 100, 160] {
        let text = lossy().render_text(Style {
            width,
            ..Style::plain()
        });
        for line in text.lines().filter(|line| !line.starts_with("  next")) {
            assert!(line.chars().count() <= width, "{width}: {line}");
        }
    }
}

#[test]
fn colour_is_there_only_when_asked_for() {
    assert!(!lossy().render_text(Style::plain()).contains('\u{1b}'));
    let coloured = lossy().render_text(Style {
        color: Colour::Ansi,
        ..Style::plain()
    });
    assert!(coloured.contains("\u{1b}[31;1mfail"));
    assert!(
        !coloured.contains("\u{1b}[2J"),
        "a target's name can not steer the terminal"
    );
}

#[test]
fn json_has_the_shape_of_the_schema() {
    let json: serde_json::Value = serde_json::from_str(&lossy().to_json()).unwrap();
    assert_eq!(json["schema"], "lameduck.verify/1");
    assert_eq!(
        (&json["verdict"], &json["lost"]),
        (&"fail".into(), &3.into())
    );
    assert_eq!(json["exit"]["code"], 0);
    assert_eq!(json["exit"]["after_ms"], 1520.0);
    let load = &json["checks"][2];
    assert_eq!(
        (&load["id"], &load["class"], &load["verdict"]),
        (&"L-H1".into(), &"loss".into(), &"fail".into())
    );
    assert_eq!(
        (&load["requests"]["served"], &load["requests"]["reset"]),
        (&4797.into(), &3.into())
    );
    assert_eq!(load["figures"]["rounds"], 20);
    assert!(
        load["detail"].is_string() && json["timeline"].is_array() && json["target"].is_object()
    );
    assert!(json["requests"].is_object());
    assert_eq!(json["checks"][1]["verdict"], "n/a");
}

#[test]
fn exit_codes_are_the_contracts() {
    let with = |verdicts: &[Verdict]| {
        report(
            verdicts
                .iter()
                .map(|verdict| finding("P1", *verdict, "seen"))
                .collect(),
        )
    };
    let cases: [(&[Verdict], u8, u8); 6] = [
        (&[Verdict::Pass, Verdict::NotApplicable], 0, 0),
        (&[Verdict::Pass, Verdict::Differs], 0, 1),
        (&[Verdict::Pass, Verdict::Inconclusive], 3, 3),
        (&[Verdict::Inconclusive, Verdict::Differs], 3, 1),
        (&[Verdict::Fail, Verdict::Inconclusive, Verdict::Pass], 1, 1),
        (&[Verdict::NotApplicable], 3, 3),
    ];
    for (verdicts, loss, any) in cases {
        let report = with(verdicts);
        assert_eq!(
            (
                report.exit_code(FailOn::Loss),
                report.exit_code(FailOn::Any)
            ),
            (loss, any),
            "{verdicts:?}"
        );
    }
    assert_eq!(finding("A1", Verdict::Pass, "").class, Class::Manners);
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    let text = lossy().to_json();
    let read = Report::from_json(&text).unwrap();
    assert_eq!(read.to_json(), text);
    assert_eq!(read.render_text(Style::plain()), LOSSY);
    // What a later version adds is passed over.
    let later = text.replacen('{', r#"{"added_later": {"x": 1},"#, 1);
    assert_eq!(Report::from_json(&later).unwrap().to_json(), text);
}

#[test]
fn what_is_no_report_is_refused_with_a_reason() {
    let text = lossy().to_json();
    let rows = [
        ("".to_owned(), "it is not JSON"),
        ("[1]".to_owned(), "it names no schema"),
        (
            text.replace("verify/1", "verify/2"),
            "its schema is `lameduck.verify/2`",
        ),
        (
            text.replace("\"checks\"", "\"cheques\""),
            "missing field `checks`",
        ),
        ("[".repeat(100_000), "recursion limit exceeded"),
    ];
    for (text, reason) in rows {
        let error = Report::from_json(&text).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn a_comparison_is_shown_wherever_people_look() {
    let mut report = lossy();
    let mut comparison = report.compared_with("last-week.json", &earlier(), FailOn::Loss);
    comparison.decides = true;
    report.compared.push(comparison);
    let text = report.render_text(Style::plain());
    assert!(
        text.contains("baseline last-week.json: 1 regression, 2 the same"),
        "{text}"
    );
    assert!(
        text.contains("L-H1   regression  pass → fail; lost 0 of 4 800 → 3 of 4 800"),
        "{text}"
    );
    assert!(text.trim_end().ends_with("exit 1"), "{text}");
    for shown in [report.render_markdown(), report.render_html()] {
        assert!(
            shown.contains("regression") && shown.contains("pass → fail"),
            "{shown}"
        );
    }
    // Better against the worse one: no regression, exit 0.
    let mut better = earlier();
    let mut comparison = better.compared_with("now.json", &lossy(), FailOn::Loss);
    comparison.decides = true;
    better.compared.push(comparison);
    assert_eq!(better.final_exit_code(FailOn::Loss), 0);
    assert_eq!(lossy().final_exit_code(FailOn::Loss), 1);
}

#[test]
fn a_comment_fits_however_much_there_is_to_say() {
    let mut report = lossy();
    let long = "`|<@everyone> ".repeat(2_000);
    for id in ["A3", "A5", "H1-04", "H1-05", "H1-06", "H1-01"] {
        report.checks.push(finding(id, Verdict::Fail, &long));
    }
    report.target.output.stderr = long.repeat(4);
    for check in &mut report.checks {
        check.next = Some(long.clone());
    }
    let text = report.render_markdown();
    assert!(text.chars().count() <= 65_536, "{}", text.chars().count());
    assert!(
        text.contains("Left out because a comment may not be longer"),
        "{text}"
    );
    assert!(text.starts_with("### ✕ lameduck verify: 3 of 4 800 requests lost"));
}

#[test]
fn junit_has_a_case_for_each_id_and_reasons_for_what_was_skipped() {
    let mut report = lossy();
    report
        .checks
        .push(finding("H2-01", Verdict::Differs, "no GOAWAY"));
    report
        .checks
        .push(finding("A5", Verdict::Inconclusive, "slow"));
    let mut waived = finding("P3", Verdict::Waived, "two signals did nothing");
    waived.waiver = Some("the supervisor never repeats".to_owned());
    report.checks.push(waived);
    let loss = report.render_junit(FailOn::Loss);
    assert!(
        loss.contains(r#"tests="6" failures="1" errors="1" skipped="2""#),
        "{loss}"
    );
    assert!(
        loss.contains(r#"<testcase classname="shutdown.H1" name="H1-02 "#),
        "{loss}"
    );
    assert!(
        loss.contains("waived: the supervisor never repeats"),
        "{loss}"
    );
    let any = report.render_junit(FailOn::Any);
    assert!(any.contains(r#"failures="2""#), "{any}");
}

#[test]
fn sarif_suppresses_what_was_waived_and_only_notifies_of_what_is_open() {
    let mut report = lossy();
    report
        .checks
        .push(finding("A5", Verdict::Inconclusive, "slow"));
    let mut waived = finding("P3", Verdict::Waived, "two signals did nothing");
    waived.waiver = Some("the supervisor never repeats".to_owned());
    waived.without_waiver = Some(Verdict::Differs);
    report.checks.push(waived);
    let sarif: serde_json::Value = serde_json::from_str(&report.render_sarif()).unwrap();
    let run = &sarif["runs"][0];
    let ids: Vec<_> = run["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|result| &result["ruleId"])
        .collect();
    assert_eq!(ids, ["L-H1", "P3"]);
    assert_eq!(run["results"][1]["suppressions"][0]["status"], "accepted");
    let notes = &run["invocations"][0]["toolExecutionNotifications"];
    assert_eq!(notes[0]["associatedRule"]["id"], "A5");
}

#[test]
fn json_steers_no_terminal_and_means_the_same() {
    let mut report = lossy();
    report.checks[0].detail = "a\u{9b}2J\u{7f}\u{202e}\u{2066}\u{2028}\u{85}é\u{1b}\n😀".to_owned();
    let json = report.to_json();
    assert!(
        json.contains(r"a\u009b2J\u007f\u202e\u2066\u2028\u0085é\u001b\n😀"),
        "{json}"
    );
    let read = Report::from_json(&json).unwrap();
    assert_eq!(read.checks[0].detail, report.checks[0].detail);
}

/// A report in which every string that can say something says `text`: what the target was named, wrote and answered,
/// and whatever else a file may hold that only looks like a report.
fn poisoned(text: &str) -> Report {
    let mut report = lossy();
    report.target.output.stdout = "out".to_owned();
    let mut waived = finding("P3", Verdict::Waived, "seen");
    waived.waiver = Some("why".to_owned());
    waived.without_waiver = Some(Verdict::Fail);
    report.checks.push(waived);
    for (id, verdict) in [("A5", Verdict::Inconclusive), ("A1", Verdict::Differs)] {
        report.checks.push(finding(id, verdict, "seen"));
    }
    let compared = report.compared_with("a.json", &earlier(), FailOn::Loss);
    report.compared.push(compared);
    let json = serde_json::from_str(&report.to_json()).unwrap();
    let can_be_read = |json: &serde_json::Value| Report::from_json(&json.to_string()).is_ok();
    let json = hostile::poisoned(&json, text, &can_be_read);
    assert!(json.to_string().matches("seen").count() == 0, "{json}");
    Report::from_json(&json.to_string()).unwrap()
}

/// The tags of markup, in order, without what stands between them or in their attributes.
fn tags(markup: &str) -> Vec<&str> {
    let names = markup.split('<').skip(1);
    names
        .map(|tag| tag.split([' ', '>', '\n']).next().unwrap_or_default())
        .collect()
}

/// The lines of Markdown that are no code, with a line for each block of that.
fn unfenced(markdown: &str) -> Vec<&str> {
    let mut fence = 0;
    let mut lines = Vec::new();
    for line in markdown.lines() {
        let ticks = line.len() - line.trim_start_matches('`').len();
        let (is_open, closes) = (fence > 0, ticks >= fence && line.len() == ticks);
        match (is_open, closes) {
            (true, true) => fence = 0,
            (false, _) if ticks > 2 => fence = ticks,
            _ => {}
        }
        lines.extend((!is_open).then_some(line));
    }
    lines
}

/// What begins a block, and how many borders of cells there are.
fn blocks<'m>(lines: &[&'m str]) -> Vec<(&'m str, usize)> {
    let block = |line: &&'m str| {
        let plain = line.replace("\\\\", "").replace("\\|", "");
        let sign = line.split(' ').next().unwrap_or_default();
        let is_block = matches!(sign, "|" | "-" | "#" | "##" | "###") || sign.starts_with("```");
        is_block.then(|| (sign.trim_matches('`'), plain.matches('|').count()))
    };
    lines.iter().filter_map(block).collect()
}

#[test]
fn no_format_lets_a_hostile_text_be_more_than_text() {
    let plain = poisoned("a b");
    for (name, text) in hostile::HOSTILE {
        let report = poisoned(text);
        let steering = |shown: &str| shown.chars().find(|c| hostile::steers(*c));
        let harmless = |format: &str, shown: &str| {
            assert_eq!(steering(shown), None, "{name} as {format}: {shown}");
        };
        for width in [72, 160] {
            let style = Style {
                width,
                ..Style::plain()
            };
            harmless("text", &report.render_text(style));
        }
        let coloured = report.render_text(Style {
            color: Colour::Ansi,
            ..Style::plain()
        });
        for sequence in coloured.split('\u{1b}').skip(1) {
            let end = sequence.find(|c: char| !matches!(c, '[' | ';' | '0'..='9'));
            assert_eq!(
                end.map(|end| &sequence[end..=end]),
                Some("m"),
                "{name}: {sequence}"
            );
        }
        let json = report.to_json();
        harmless("JSON", &json);
        assert_eq!(Report::from_json(&json).unwrap().to_json(), json, "{name}");
        let sarif = report.render_sarif();
        harmless("SARIF", &sarif);
        let sarif: serde_json::Value = serde_json::from_str(&sarif).unwrap();
        for result in sarif["runs"][0]["results"].as_array().unwrap() {
            assert!(
                !result["message"].to_string().contains("]("),
                "{name}: {result}"
            );
        }
        let junit = report.render_junit(FailOn::Any);
        harmless("JUnit XML", &junit);
        assert!(
            !junit.contains(['\u{fffe}', '\u{ffff}']) && !junit.contains("]]>"),
            "{name}"
        );
        assert_eq!(
            tags(&junit),
            tags(&plain.render_junit(FailOn::Any)),
            "{name}"
        );
        let html = report.render_html();
        harmless("HTML", &html);
        assert_eq!(tags(&html), tags(&plain.render_html()), "{name}");
        let markdown = report.render_markdown();
        // What we put between is meant to part words for those who look for links.
        harmless("Markdown", &markdown.replace('\u{200b}', ""));
        let lines = unfenced(&markdown);
        let wanted = plain.render_markdown();
        assert_eq!(
            blocks(&lines),
            blocks(&unfenced(&wanted)),
            "{name}: {markdown}"
        );
        let text = lines.join("\n").replace("\\]", "");
        assert!(
            !text.contains("](") && !text.contains("@everyone"),
            "{name}: {text}"
        );
    }
}

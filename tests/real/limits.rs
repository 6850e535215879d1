//! A command that runs into a limit is told which, with the evidence.

use serde_json::Value;

use crate::support::{Ground, Leg, as_everyone, as_leg, skip};

const POLICY: &str =
    "default = \"allow\"\n[limits]\nmemory = \"64MiB\"\nprocesses = 24\nfile-size = \"1MiB\"\n";

fn run(ground: &Ground, text: &str) -> Value {
    ground.write("policy.toml", POLICY);
    ground.execward(["run", "--json", "--policy", "policy.toml", "-c", text]).output().json()
}

fn reached(result: &Value) -> Vec<&str> {
    let reached = result["reached"].as_array().map(Vec::as_slice).unwrap_or_default();
    for it in reached {
        assert!(it["evidence"].as_str().is_some_and(|text| text.len() > 20), "no evidence: {it}");
    }
    reached.iter().filter_map(|it| it["limit"].as_str()).collect()
}

#[test]
fn a_command_that_runs_into_nothing_is_told_nothing() {
    as_everyone(|ground| {
        let result = run(ground, "echo x > f; echo y > /tmp/f; exit 3");
        assert_eq!(reached(&result), Vec::<&str>::new(), "{result}");
        assert_eq!(result["exit_code"], 3);
    });
}

#[test]
fn a_file_that_grows_too_large_is_named() {
    as_everyone(|ground| {
        let result = run(ground, "head -c 3000000 /dev/zero > f");
        assert_eq!(reached(&result), ["file-size"], "{result}");
    });
}

#[test]
fn a_full_tmp_is_named() {
    as_everyone(|ground| {
        let text = "for n in {1..80}; do head -c 1000000 /dev/zero > /tmp/$n || exit 9; done";
        let result = run(ground, text);
        assert_eq!(result["exit_code"], 9, "{result}");
        assert!(reached(&result).contains(&"tmpfs"), "{result}");
    });
}

#[test]
fn memory_and_processes_that_are_used_up_are_named() {
    as_leg(Leg::Root, |ground| {
        let result = run(ground, "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c");
        let layers = result["receipt"]["layers"].as_array().cloned().unwrap_or_default();
        if !layers.iter().any(|layer| layer["name"] == "cgroup" && layer["enforced"] == true) {
            return skip("cgroup", "the session has no cgroup here");
        }
        assert!(reached(&result).contains(&"memory"), "{result}");
        let result = run(ground, "for n in {1..60}; do sleep 2 & done; wait");
        assert!(reached(&result).contains(&"processes"), "{result}");
    });
}

#[test]
fn limits_on_time_are_named_and_hold() {
    as_everyone(|ground| {
        let run = |limits: &str, text: &str| {
            ground.write(
                "policy.toml",
                format!("default = \"allow\"\n[limits]\ngrace = \"200ms\"\n{limits}\n"),
            );
            ground.execward(["run", "--json", "--policy", "policy.toml", "-c", text]).output()
        };
        let output = run("time = \"500ms\"", "trap '' TERM; sleep 100 & sleep 100; sleep 100");
        let result = output.expect(124).json();
        assert_eq!(
            (&result["outcome"], reached(&result)),
            (&Value::from("timed-out"), vec!["time"]),
            "{result}"
        );
        // Silence, of a process that stopped itself as well; not of one that speaks.
        for silent in ["sleep 100", "echo x; kill -STOP $$"] {
            let result = run("idle = \"700ms\"", silent).expect(124).json();
            assert_eq!(
                (&result["outcome"], reached(&result)),
                (&Value::from("timed-out"), vec!["idle"]),
                "{silent}: {result}"
            );
        }
        let result =
            run("idle = \"2s\"", "for n in 1 2 3 4 5 6; do sleep 0.5; echo $n; done").expect(0).json();
        assert_eq!(reached(&result), Vec::<&str>::new(), "{result}");
        // Processor time, of one that ignores the signal as well.
        let result = run("cpu = \"1s\"", "while :; do :; done").json();
        assert_eq!(
            (&result["outcome"], reached(&result)),
            (&Value::from("signaled"), vec!["cpu"]),
            "{result}"
        );
        let result = run("cpu = \"1s\"", "trap '' XCPU; while :; do :; done").json();
        assert_eq!(
            (&result["outcome"], &result["signal"]),
            (&Value::from("signaled"), &Value::from(9)),
            "{result}"
        );
        assert_eq!(reached(&result), ["cpu"], "{result}");
    });
}

#[test]
fn a_command_can_raise_no_limit_on_its_processor_time() {
    as_everyone(|ground| {
        ground.write("policy.toml", "default = \"allow\"\n[limits]\ncpu = \"1s\"\n");
        let text = "ulimit -t unlimited 2>/dev/null; ulimit -Ht";
        let output = ground.execward(["run", "--policy", "policy.toml", "-c", text]).output().expect(0);
        let hard: u64 = output.stdout().trim().parse().expect("a number");
        assert!(hard <= 10, "{hard}");
    });
}

/// Processor time and wall-clock time of shell text that keeps two processors busy, in seconds.
fn busy(ground: &Ground, limits: &str) -> (f64, f64, Value) {
    ground.write("policy.toml", format!("default = \"allow\"\n[limits]\n{limits}\n"));
    let text = "TIMEFORMAT='%R %U %S'; time { for n in 1 2; do for ((i=0; i<80000; i++)); do :; done & done; wait; }";
    let result = ground.execward(["run", "--json", "--policy", "policy.toml", "-c", text]).output().json();
    let times = result["stderr"]["data"].as_str().unwrap_or_default().split_whitespace();
    let times: Vec<f64> = times.filter_map(|time| time.parse().ok()).collect();
    let [wall, user, system] = times[..] else { panic!("{result}") };
    (user + system, wall, result)
}

#[test]
fn no_more_processors_are_kept_busy_than_the_policy_says() {
    as_everyone(|ground| {
        let (_, _, free) = busy(ground, "");
        assert!(!free["receipt"].to_string().contains("\"cpu\""), "it has no such limit: {free}");
        let (used, wall, held) = busy(ground, "cpus = 0.2");
        let layers = held["receipt"]["layers"].as_array().unwrap();
        let layer = layers.iter().find(|layer| layer["name"] == "cpu").expect("the receipt speaks of it");
        if layer["enforced"] == false {
            assert!(layer["detail"].as_str().is_some_and(|why| why.len() > 40), "{layer}");
            return skip("cgroup", &layer["detail"].to_string());
        }
        // Load makes it last longer, and never makes it use more. A period may have been under way at either end.
        assert!(used > 0.05 && used <= 0.2 * wall + 0.05, "{used} s of {wall} s: {held}");
    });
}

use super::*;

const PROGRAM: &str = "/usr/bin/execward";

fn changed(change: Change) -> String {
    match change {
        Change::To(text) => text,
        Change::None => panic!("nothing was changed"),
    }
}

#[test]
fn settings_keep_what_is_not_ours() {
    let before = "{\n  \"zeta\": [1,   2],\n  \"hooks\": {\n    \"Stop\": [],\n    \"PreToolUse\": [\n      {\"matcher\": \"Edit\", \"hooks\": [{\"type\": \"command\", \"command\": \"lint\"}]}\n    ]\n  },\n  \"alpha\": {\"b\": 1, \"a\": 2}\n}\n";
    let with = changed(install(Client::Claude, before, PROGRAM).unwrap());
    assert!(with.find("zeta").unwrap() < with.find("hooks").unwrap(), "the order is kept:\n{with}");
    assert!(
        with.contains("[1,   2]") && with.contains("{\"b\": 1, \"a\": 2}") && with.contains("\"lint\""),
        "{with}"
    );
    let value: Value = serde_json::from_str(&with).unwrap();
    let groups = value["hooks"]["PreToolUse"].as_array().unwrap();
    assert_eq!((groups.len(), &groups[1]["matcher"]), (2, &json!("Bash")));
    assert_eq!(install(Client::Claude, &with, PROGRAM).unwrap(), Change::None, "twice is once");
    let moved = changed(install(Client::Claude, &with, "/opt/execward").unwrap());
    assert!(moved.contains("/opt/execward hook claude") && !moved.contains(PROGRAM), "{moved}");
    let without = changed(uninstall(Client::Claude, &with).unwrap());
    let (old, new): (Value, Value) =
        (serde_json::from_str(before).unwrap(), serde_json::from_str(&without).unwrap());
    assert_eq!(old, new);
    assert_eq!(uninstall(Client::Claude, before).unwrap(), Change::None);
}

#[test]
fn each_client_gets_settings_from_nothing_and_loses_them() {
    for client in Client::ALL {
        let with = changed(install(client, "", PROGRAM).unwrap());
        assert!(with.contains(&format!("{PROGRAM} hook {}", client.name())), "{with}");
        let without = changed(uninstall(client, &with).unwrap());
        assert!(!without.contains("execward"), "{without}");
        assert!(install(client, "", "/odd path/execward").is_err());
        if client != Client::Hermes {
            for wrong in ["// comment\n{}", "[]", "{\"hooks\": []}", "{\"a\":1,\"a\":2}"] {
                assert!(install(client, wrong, PROGRAM).is_err(), "{}: {wrong}", client.name());
            }
        }
    }
    let yaml = "model: x\nhooks:\n  on_session_start: []\n";
    assert!(matches!(install(Client::Hermes, yaml, PROGRAM), Err(SettingsError::ByHand(_))));
    for yaml in ["\"hooks\": {}\n", "'hooks' : []\n", "{model: x}\n", "model: x\n---\nmodel: y\n"] {
        assert!(matches!(install(Client::Hermes, yaml, PROGRAM), Err(SettingsError::ByHand(_))), "{yaml}");
    }
    let plain = changed(install(Client::Hermes, "model: x", PROGRAM).unwrap());
    assert!(plain.starts_with("model: x\n#"), "{plain}");
    assert_eq!(changed(uninstall(Client::Hermes, &plain).unwrap()), "model: x\n");
}

/// What is installed, run as the clients run it.
#[test]
#[allow(clippy::disallowed_methods, reason = "a test that starts what clients start")]
fn a_hook_that_cannot_be_started_blocks() {
    for client in Client::ALL {
        let settings = changed(install(client, "", "/nonexistent/execward").unwrap());
        let line = if client == Client::Hermes {
            let (_, rest) = settings.split_once("command: '").unwrap();
            rest.split_once("'\n").unwrap().0.replace("''", "'")
        } else {
            let value: Value = serde_json::from_str(&settings).unwrap();
            let event = &value["hooks"].as_object().unwrap().values().next().unwrap()[0];
            let hook = if event["hooks"].is_array() { &event["hooks"][0] } else { event };
            hook["command"].as_str().unwrap().to_owned()
        };
        // Given to a shell, and split into words.
        let words = shell_words::split(&line).unwrap();
        for argv in [vec!["sh".to_owned(), "-c".to_owned(), line], words] {
            let output = std::process::Command::new(&argv[0]).args(&argv[1..]).output().unwrap();
            if client == Client::Hermes {
                let said: Value = serde_json::from_slice(&output.stdout).unwrap();
                assert_eq!((&said["action"], output.status.code()), (&json!("block"), Some(0)));
            } else {
                assert_eq!(output.status.code(), Some(i32::from(BLOCK)), "{}", client.name());
                assert!(String::from_utf8_lossy(&output.stderr).contains("nothing was run"));
            }
        }
    }
}

fn asked(client: Client, message: &Value) -> Result<Asked, String> {
    client.read(message.to_string().as_bytes())
}

#[test]
fn what_is_not_understood_is_an_error_and_other_tools_are_passed_over() {
    for client in Client::ALL {
        let tool = client.tools()[0];
        for wrong in [
            json!({"cwd": "/w", "tool_name": tool}),
            json!({"cwd": "/w", "tool_name": tool, "tool_input": {}}),
            json!({"cwd": "/w", "tool_name": tool, "tool_input": {"command": 3}}),
            json!({"cwd": "/w", "tool_name": tool, "tool_input": {"command": ["ls", 3]}}),
            json!({"cwd": "w", "tool_name": tool, "tool_input": {"command": "ls"}}),
            json!({"tool_name": tool, "tool_input": {"command": "ls"}}),
            json!({"cwd": "/w", "tool_input": {"command": "ls"}}),
            json!([]),
        ] {
            assert!(asked(client, &wrong).is_err(), "{}: {wrong}", client.name());
        }
        assert!(client.read(b"{\"tool_name\": \"x\"").is_err());
        let other = json!({"cwd": "/w", "tool_name": "Read", "tool_input": {"file_path": "/x"}});
        assert_eq!(asked(client, &other), Ok(Asked::Other));
    }
}

#[test]
fn no_field_of_the_model_widens_anything() {
    let message = json!({"cwd": "/w", "tool_name": "Bash", "tool_input": {
        "command": "make", "description": "d", "timeout": 5, "run_in_background": true,
        "dangerouslyDisableSandbox": true, "sandbox_permissions": "require_escalated", "prefix_rule": ["make"]}});
    let Ok(Asked::Command(intent)) = asked(Client::Claude, &message) else { panic!("it is a command") };
    let said = Client::Claude.rewrites_to(&intent, "execward pass 00");
    let said: Value = serde_json::from_str(&said.stdout).unwrap();
    let input = &said["hookSpecificOutput"]["updatedInput"];
    assert_eq!(input["command"], "execward pass 00");
    assert_eq!((&input["timeout"], &input["run_in_background"]), (&json!(5), &json!(true)));
    for gone in ["dangerouslyDisableSandbox", "sandbox_permissions", "prefix_rule"] {
        assert!(input.get(gone).is_none(), "{gone}");
    }
}

#[test]
fn every_end_is_one_that_the_client_understands() {
    for client in Client::ALL {
        let failed = client.fails("x");
        if client == Client::Hermes {
            assert!(failed.stdout.contains("\"block\"") && failed.code == 0);
        } else {
            // Codex lets a block without words on standard error pass.
            assert!(failed.code == BLOCK && failed.stderr.contains("nothing was run"));
        }
        assert!(!client.blocks("").stdout.contains("\"\""), "a reason is never empty");
        assert_eq!(client.passes_over().code, 0);
    }
    let message = json!({"cwd": "/w", "tool_name": "terminal", "tool_input": {"command": "ls"}});
    let Ok(Asked::Command(intent)) = asked(Client::Hermes, &message) else { panic!("it is a command") };
    assert!(Client::Hermes.rewrites_to(&intent, "x").stdout.contains("\"block\""));
}

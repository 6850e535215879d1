//! Between two real builds of which the later one has other forms: of the database, and of `execward.toml`.

use super::*;
use crate::support::skip;

const CONFIG: &str = "[daemon] # mine\nalone = \"60s\"\nidle = \"2h\" # long\n";

/// The later build, with another number in it (`cargo build --features next`). `None`, with a skip said, where it was not built.
fn next() -> Option<Vec<u8>> {
    program()?;
    let Some(path) = std::env::var_os("EXECWARD_TEST_NEXT") else {
        skip("next", "EXECWARD_TEST_NEXT names no build of the feature `next`");
        return None;
    };
    Some(replaced(stripped(Path::new(&path)), &OWN[..NEXT.len()], NEXT))
}

/// A number of the database's.
fn number(path: &Path, query: &str) -> i64 {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE;
    let connection = rusqlite::Connection::open_with_flags(path, flags).unwrap();
    connection.query_row(query, [], |row| row.get(0)).unwrap()
}

fn version_of(path: &Path) -> i64 {
    number(path, "PRAGMA user_version")
}

#[test]
fn what_there_is_is_brought_to_the_next_form_and_given_back_in_its_own() {
    as_both(|| {
        let Some(next) = next() else { return };
        let Some(house) = House::start_with(CONFIG) else { return };
        let (_client, session, workspace) = house.count();
        let at = |name: &str| house.daemon.path().join(name);
        let (config, database) = (at("execward.toml"), at("state/state.db"));
        let (before, own) = (fs::read_to_string(&config).unwrap(), version_of(&database));
        house.daemon.operator().call("principal/mode", json!({"uid": agent(), "mode": "smart"})).unwrap();
        let modes = || number(&database, "SELECT count(*) FROM modes WHERE mode = 'smart'");
        assert_eq!(modes(), 1);
        let is_as_before = || {
            assert_eq!(fs::read_to_string(&config).unwrap(), before);
            assert_eq!((version_of(&database), modes()), (own, 1));
            assert_eq!(house.status()["version"], OWN);
        };
        let is_next = || {
            let text = fs::read_to_string(&config).unwrap();
            let rest = before.replace("idle = ", "idle_time = ");
            // A key that is new stands at the end of its table, with what is beside it.
            assert!(
                text.starts_with("version = 2\n") && text.contains("idle_time = \"2h\""),
                "{text}\n{rest}"
            );
            assert!(text.contains("[daemon] # mine\nalone = \"60s\"\n"), "{text}");
            assert_eq!((version_of(&database), modes()), (own + 1, 1));
            assert_eq!(house.status()["version"], version(NEXT));
        };
        let file = house.file("next", &next);
        let (code, said) = house.to(&file, &["--dry-run"]);
        assert!(code == Some(0) && said.contains("execward.toml is brought"), "{said}");
        is_as_before();
        // Nobody confirms it.
        let (code, said) = house.to(&file, &["--confirm-within", "1s"]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        until("the old one is back", || house.note()["phase"] == "returned");
        is_as_before();
        // Somebody does, and takes it back later: by the new one's own command.
        let (code, said) = house.to(&file, &[]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        is_next();
        assert_eq!(house.upgraded(&["--confirm"]).0, Some(0));
        is_next();
        let (code, said) = house.upgraded(&["--rollback"]);
        assert_eq!(code, Some(0), "{said}\n{}", house.daemon.log());
        is_as_before();
        // A power cut before anybody has confirmed it.
        assert_eq!(house.to(&file, &["--confirm-within", "4s"]).0, Some(0));
        let mut house = house;
        house.cut();
        until("the old one is back", || house.note()["phase"] == "returned");
        assert_eq!(fs::read_to_string(&config).unwrap(), before);
        assert_eq!((version_of(&database), &house.status()["version"]), (own, &json!(OWN)));
        house.counted(&session, &workspace);
    });
}

#[test]
fn an_earlier_form_is_read_and_changed_by_who_asks_for_it() {
    as_both(|| {
        let Some(next) = next() else { return };
        let directory = directory();
        let (binary, config) = (directory.path().join("next"), directory.path().join("execward.toml"));
        fs::write(directory.path().join("from"), next).unwrap();
        let copied = Command::new("cp").arg(directory.path().join("from")).arg(&binary).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&binary, Permissions::from_mode(0o755)).unwrap();
        put(&config, CONFIG);
        let asked = |what: &str| {
            let mut command = owners(&binary);
            command.args(["config", what, "--config"]).arg(&config);
            command.arg("--state").arg(directory.path().join("state")).current_dir("/");
            let output = command.stdin(Stdio::null()).output().unwrap();
            let text = [output.stdout, output.stderr].concat();
            (output.status.code(), String::from_utf8(text).unwrap())
        };
        let (code, shown) = asked("show");
        assert!(code == Some(0) && shown.contains("idle_time = \"2h\""), "{shown}");
        assert_eq!(fs::read_to_string(&config).unwrap(), CONFIG);
        let (code, said) = asked("migrate");
        let kept = directory.path().join("execward.toml.version-1");
        assert!(code == Some(0) && said.contains(kept.to_str().unwrap()), "{said}");
        assert_eq!(fs::read_to_string(&kept).unwrap(), CONFIG);
        assert!(fs::read_to_string(&config).unwrap().contains("idle_time"));
        assert_eq!(asked("show"), (Some(0), shown));
        let (code, said) = asked("migrate");
        assert!(code == Some(0) && said.contains("nothing to do"), "{said}");
        // What is neither is a mistake in both, and nothing is changed.
        put(&config, "[daemon]\nidel = \"2h\"\n");
        let (code, said) = asked("migrate");
        assert!(code != Some(0) && said.contains("unknown field `idel`"), "{said}");
        assert_eq!(fs::read_to_string(&config).unwrap(), "[daemon]\nidel = \"2h\"\n");
    });
}

//! Everything at once, for as long as is asked: clients with work of every kind, in the jail and in containers, questions, jobs,
//! reloads with and without mistakes, kills of the daemon, of runners, of clients and of the engine, a disk that is full, and a clock
//! that is set. At the end nothing is lost, and nothing is left over.
//!
//! `EXECWARD_TEST_SOAK` says how long (`10m`), `EXECWARD_TEST_SEED` what comes when; the seed of a run is printed.

mod clients;
mod clock;
mod disk;
mod engine;
mod jobs;
mod left;
mod record;
mod trouble;

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::json;

use self::clients::{Came, KINDS, Signs, Worker, answer};
use self::disk::Disk;
use self::engine::{Engine, IMAGE};
use self::jobs::{account_for_jobs, put_jobs, runs_of_well, the_step_was_told};
use self::left::{inside, mounts, orphaned_groups};
use self::record::{account, records};
use self::trouble::Trouble;
use super::*;

const POLICY: &str = "[approval]\ntimeout = \"20s\"\n[[rule]]\nid = \"ask.uname\"\nprogram = \"uname\"\ndecision = \"ask\"\n\
    reason = \"a test\"\nexamples = [{ command = \"uname -a\", expect = \"ask\" }]\n[[rule]]\nid = \"deny.hostname\"\n\
    program = \"hostname\"\ndecision = \"deny\"\nreason = \"a test\"\nexamples = [{ command = \"hostname x\", expect = \"deny\" }]\n";

/// What the daemon goes by.
fn policy() -> String {
    format!("[sandbox]\nimages = [\"{IMAGE}\"]\n{POLICY}")
}

/// Private memory of a daemon whose sessions have all gone, in KiB, however long it ran. What it has freed it does not give back
/// wholly: `docs/soak.md` says how far that goes.
const EMPTY: u64 = 96 << 10;

/// How long it takes in all; half of it where it is done twice.
fn length() -> Duration {
    let asked = std::env::var("EXECWARD_TEST_SOAK").ok();
    let asked =
        asked.map(|text| execward::policy::parse_duration(&text).expect("EXECWARD_TEST_SOAK is a time"));
    let all = asked.unwrap_or(Duration::from_secs(24));
    if crate::support::is_root() { all / 2 } else { all }
}

fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    let asked = std::env::var("EXECWARD_TEST_SEED").ok();
    asked.map_or_else(
        || u64::try_from(now()).unwrap(),
        |text| text.parse().expect("EXECWARD_TEST_SEED is a number"),
    )
}

/// SplitMix64: the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

#[test]
fn nothing_is_lost_and_nothing_is_left_over() {
    as_both(|| {
        let seed = seed();
        eprintln!("-- the seed is {seed} (EXECWARD_TEST_SEED)");
        let mut random = Random(seed);
        let groups_before = orphaned_groups();
        let directory = directory();
        let (engine, disk) = (Engine::start(), Disk::under(directory.path()));
        let socket = engine.as_ref().map(|engine| format!("[docker]\nsocket = {:?}\n", engine.socket()));
        let config =
            format!("[daemon]\nalone = \"60s\"\n[limits]\nsessions = 64\n{}", socket.unwrap_or_default());
        let Some(mut daemon) = Daemon::start_in(directory, Setup { config: &config, policy: &policy() })
        else {
            return;
        };
        put_jobs(&daemon);
        let mut users: Vec<(u32, Option<&str>)> =
            if is_root() { [ANN, BEN, CAY, ANN] } else { [me(); 4] }.map(|uid| (uid, None)).to_vec();
        if engine.is_some() {
            users.extend([(ANN, Some(IMAGE)), (BEN, Some(IMAGE))]);
        }
        let (begun, length, signs) = (Instant::now(), length(), Signs::new());
        let mut trouble = Trouble::new(Random(random.below(u64::MAX)), &signs, engine, disk);
        let (mut memory, mut descriptors) = ([0; 2], [0; 2]);
        let (came, answered) = std::thread::scope(|scope| {
            let owner = OWNER.with_borrow(Clone::clone);
            let (signs, run) = (&signs, daemon.path().join("run"));
            // Also where something fails here: nobody would wait for clients that never stop.
            let _stop = signs.stop_at_the_end();
            let mut workers = Vec::new();
            for (index, (uid, image)) in users.iter().copied().enumerate() {
                let workspace = daemon.workspace(uid, &format!("w{index}"));
                let random = Random(random.below(u64::MAX));
                let (run, owner) = (run.clone(), owner.clone());
                workers.push(scope.spawn(move || {
                    OWNER.set(owner);
                    let came = Came::default();
                    let (client, session) = (None, None);
                    let worker = Worker {
                        run,
                        uid,
                        workspace,
                        image,
                        random,
                        signs,
                        client,
                        session,
                        number: 0,
                        came,
                    };
                    worker.work()
                }));
            }
            let answers = Random(random.below(u64::MAX));
            let to = run.clone();
            let answering = scope.spawn(move || {
                OWNER.set(owner);
                answer(&to, answers, signs)
            });
            // Kills at first, and then none: only a daemon that goes on can grow.
            let mut gently = false;
            while (begun.elapsed() < length || !gently)
                && !workers.iter().any(std::thread::ScopedJoinHandle::is_finished)
            {
                if !gently && trouble.all && begun.elapsed() > length * 2 / 3 {
                    gently = true;
                    (memory[0], descriptors[0]) = (daemon.private_kib(), daemon.descriptors());
                }
                std::thread::sleep(Duration::from_millis(50 + random.below(800)));
                trouble.come(&mut daemon, gently);
            }
            let before = runs_of_well(&daemon);
            until("jobs go on", || runs_of_well(&daemon) > before);
            (memory[1], descriptors[1]) = (daemon.private_kib(), daemon.descriptors());
            assert!(!inside(daemon.path()).is_empty(), "what is to be gone at the end can be seen");
            let busy = |engine: &Engine| !engine.containers().is_empty();
            assert!(trouble.engine.as_ref().is_none_or(busy), "and so can containers");
            signs.stop();
            let came: Vec<Came> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
            (came, answering.join().unwrap())
        });
        let Trouble { engine, disk, done, .. } = trouble;
        the_step_was_told(&daemon);
        let runs = account_for_jobs(&daemon);
        until("its descriptors are given back", || {
            daemon.descriptors() <= descriptors[0].max(descriptors[1])
        });
        until("no session is left", || {
            let open = daemon.operator().call("status/show", json!({})).unwrap();
            open["sessions"] == 0 && open["running"] == 0
        });
        let empty = daemon.private_kib();
        assert!(empty <= EMPTY, "{empty} KiB are private without a session, and were {memory:?} with them");
        until("no sandbox is left", || inside(daemon.path()).is_empty());
        until("no process is left", || daemon.descendants().is_empty());
        daemon.signal(libc::SIGINT);
        assert_eq!(daemon.ended(), Some(0));
        assert_eq!(fs::read_dir(daemon.path().join("run/sessions")).map_or(0, Iterator::count), 0);
        assert_eq!(mounts(daemon.path(), "self"), Vec::<String>::new());
        // Whoever makes the next session sweeps what killed runners have left.
        daemon.start_again();
        for image in [None, engine.as_ref().map(|_| IMAGE)] {
            let mut client = daemon.client(users[0].0);
            let mut asked = json!({"workspace": daemon.workspace(users[0].0, "w0")});
            if let Some(image) = image {
                (asked["backend"], asked["image"]) = ("docker".into(), image.into());
            }
            client.call("session/open", asked).unwrap();
            client.call("session/close", json!({})).unwrap();
        }
        let mine = || orphaned_groups().difference(&groups_before).count();
        until("no control group is left", || mine() == 0);
        until("no container is left", || engine.as_ref().is_none_or(|engine| engine.containers().is_empty()));
        let never = account(&daemon, &came);
        let ends = (done.killed + done.stopped + done.again) as usize;
        assert!(
            never <= ends,
            "{never} commands were recorded and never let go, and a daemon ended {ends} times"
        );
        daemon.verify_log();
        let sum = |of: &dyn Fn(&Came) -> u32| came.iter().map(of).sum::<u32>();
        let mut kinds = BTreeMap::<&str, u32>::new();
        came.iter()
            .flat_map(|came| &came.by_kind)
            .for_each(|(kind, count)| *kinds.entry(kind).or_default() += count);
        let in_containers: usize = users
            .iter()
            .zip(&came)
            .filter(|((_, image), _)| image.is_some())
            .map(|(_, came)| came.told.len())
            .sum();
        eprintln!(
            "-- {:?}: {} results, {in_containers} of them in containers, {} lost with a killed runner, {} not run as the disk was full, \
             {} sessions, {} not to be had, {} connections, {answered} answers, {runs} runs of jobs, {} records; {done:?}; private \
             memory {} to {} KiB, {empty} without sessions, {} to {} descriptors; {kinds:?}",
            begun.elapsed(),
            came.iter().map(|came| came.told.len()).sum::<usize>(),
            sum(&|came| came.lost),
            sum(&|came| came.unrecorded),
            sum(&|came| came.sessions),
            sum(&|came| came.unopened),
            sum(&|came| came.connections),
            records(&daemon).len(),
            memory[0],
            memory[1],
            descriptors[0],
            descriptors[1],
        );
        assert!(kinds.len() >= KINDS.len() - 2, "{kinds:?}");
        // Before the directory that it lies in.
        drop(disk);
    });
}

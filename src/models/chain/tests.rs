//! The chain against servers that limit, hang, break off, talk nonsense, and recover: real ones, on loopback.

#[path = "../../../tests/support/model.rs"]
#[allow(unreachable_pub, reason = "the integration tests share it")]
mod model;

use std::net::TcpListener;
use std::sync::atomic::Ordering;

use jiff::SignedDuration;

use self::model::{Reply, Server, openai};
use super::*;
use crate::http::Url;
use crate::models::{Api, Strategy};

fn provider(name: &str, server: &Server) -> Provider {
    Provider {
        name: name.to_owned(),
        api: Api::Openai,
        base_url: Url::parse(&format!("{}/v1", server.url)).expect("an address"),
        model: format!("{name}-model"),
        strategy: Strategy::FillFirst,
        rate_limit_cooldown: Duration::from_secs(60),
        timeout: Duration::from_secs(20),
        ca: None,
        token_limit: super::super::config::TokenLimit::MaxTokens,
    }
}

struct Bench {
    directory: tempfile::TempDir,
    providers: Vec<Provider>,
    keys: Vec<(&'static str, Vec<&'static str>)>,
}

impl Bench {
    fn of<const N: usize>(providers: [Provider; N]) -> Self {
        let keys = vec![("a", vec!["sk-secret-a1", "sk-secret-a2"]), ("b", vec!["sk-secret-b1"])];
        Self { directory: tempfile::tempdir().expect("a directory"), providers: providers.to_vec(), keys }
    }

    /// A chain with what is known from the one before.
    fn chain(&self) -> Chain {
        let store = Store::open(&self.directory.path().join("state")).expect("a store").0;
        let keys: Vec<(&str, &[&str])> =
            self.keys.iter().map(|(name, all)| (*name, all.as_slice())).collect();
        let models = Models { provider: self.providers.clone() };
        Chain::new(models, Keys::for_tests(&keys), Arc::new(store)).expect("a chain")
    }
}

fn prompt() -> Prompt {
    Prompt { system: "be brief".into(), user: "yes?".into(), max_tokens: 16 }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

fn ask(chain: &Chain) -> Result<Answer, ChainError> {
    run(chain.ask(&prompt()))
}

/// Lets all that rests have rested.
fn rested(chain: &Chain) {
    let past = Some(Timestamp::now() - SignedDuration::from_secs(1));
    for known in chain.known().values_mut() {
        known.breaker.down_until = known.breaker.down_until.and(past);
        for key in known.pool.keys.values_mut() {
            key.rests_until = key.rests_until.and(past);
        }
    }
}

#[test]
fn both_forms_are_spoken() {
    let anthropic = Server::always(200, "", r#"{"content":[{"type":"text","text":"no"}]}"#);
    let openai = Server::says("yes");
    let mut second = provider("b", &anthropic);
    (second.api, second.token_limit) =
        (Api::Anthropic, super::super::config::TokenLimit::MaxCompletionTokens);
    let bench = Bench::of([provider("a", &openai), second.clone()]);
    let answer = ask(&bench.chain()).expect("an answer");
    assert_eq!(
        (answer.text.as_str(), answer.provider.as_str(), answer.model.as_str()),
        ("yes", "a", "a-model")
    );
    let seen = openai.seen.lock().expect("not poisoned")[0].clone();
    assert_eq!(seen.path, "/v1/chat/completions");
    assert!(seen.fields.contains("authorization: bearer sk-secret-a1\r\n"), "{seen:?}");
    assert_eq!((&seen.body["temperature"], &seen.body["max_tokens"]), (&0.into(), &16.into()));
    assert_eq!(seen.body["messages"][0]["role"], "system");
    let bench = Bench::of([second]);
    assert_eq!(ask(&bench.chain()).expect("an answer").text, "no");
    let seen = anthropic.seen.lock().expect("not poisoned")[0].clone();
    assert_eq!(seen.path, "/v1/messages");
    assert!(seen.fields.contains("x-api-key: sk-secret-b1\r\n") && !seen.fields.contains("authorization"));
    assert_eq!((&seen.body["temperature"], &seen.body["max_tokens"]), (&0.into(), &16.into()));
}

#[test]
fn a_limited_key_rests_for_the_providers_own_time_and_the_next_one_serves() {
    let server = Server::start(|seen, _| match seen.fields.contains("sk-secret-a1") {
        true => Reply::Answer(429, "retry-after: 3600\r\n", String::new()),
        false => Reply::Answer(200, "", openai("yes")),
    });
    let bench = Bench::of([provider("a", &server)]);
    let chain = bench.chain();
    assert!(ask(&chain).is_ok() && ask(&chain).is_ok());
    assert_eq!(server.count(), 3, "the key that rests is asked once");
    let health = chain.health().remove(0);
    assert_eq!((health.well, health.keys_well, health.keys_resting), (true, 1, 1));
    drop(chain);
    // A restart changes nothing of it.
    let again = bench.chain();
    assert!(ask(&again).is_ok());
    assert_eq!(server.count(), 4);
    let rests = again.known()["a"].pool.keys.values().find_map(|key| key.rests_until).expect("it rests");
    let left = rests.duration_since(Timestamp::now()).as_secs();
    assert!((3000..=3600).contains(&left), "{left}");
    rested(&again);
    assert!(ask(&again).is_ok());
    assert_eq!(server.count(), 6, "it is tried again when it has rested");
}

#[test]
fn keys_that_are_not_accepted_rest_or_die() {
    let server = Server::start(|seen, _| match seen.fields.contains("sk-secret-a1") {
        true => {
            Reply::Answer(401, "", r#"{"error":{"code":"invalid_api_key","message":"sk-secret-a1"}}"#.into())
        }
        false => Reply::Answer(401, "", String::new()),
    });
    let fine = Server::says("yes");
    let bench = Bench::of([provider("a", &server), provider("b", &fine)]);
    let chain = bench.chain();
    assert_eq!(ask(&chain).expect("the next provider").provider, "b");
    let health = chain.health().remove(0);
    assert_eq!((health.well, health.keys_dead, health.keys_resting), (false, 1, 1));
    let left = health.until.expect("a time").duration_since(Timestamp::now()).as_secs();
    assert!((240..=300).contains(&left), "five minutes: {left}");
    rested(&chain);
    assert!(ask(&chain).is_ok());
    assert_eq!(server.count(), 3, "the dead one is not tried again");
    rested(&chain);
    assert!(ask(&chain).is_ok());
    drop(chain);
    let again = bench.chain();
    rested(&again);
    assert!(ask(&again).is_ok());
    assert_eq!((server.count(), again.health()[0].keys_dead), (4, 2), "three times refused is dead");
}

#[test]
fn whoever_is_down_is_left_alone_and_tried_by_one_when_it_has_rested() {
    type Broken = (&'static str, fn() -> Reply);
    let broken: [Broken; 8] = [
        ("reset", || Reply::Reset),
        ("no HTTP", || Reply::Bytes(b"220 mail.example.com ESMTP\r\n".to_vec())),
        ("no JSON", || Reply::Answer(200, "", "<html>".into())),
        ("an error", || Reply::Answer(503, "", String::new())),
        ("no money", || Reply::Answer(402, "", String::new())),
        ("a head that never ends", || {
            Reply::Bytes([b"HTTP/1.1 200 X\r\n".as_slice(), "a: b\r\n".repeat(1 << 16).as_bytes()].concat())
        }),
        ("a body that never ends", || Reply::Endless),
        ("half an answer", || {
            Reply::Bytes(b"HTTP/1.1 200 X\r\ncontent-length: 50\r\n\r\n{\"choices\"".to_vec())
        }),
    ];
    for (what, reply) in broken {
        let first = Server::start(move |_, number| match number {
            1 | 2 => reply(),
            _ => Reply::Answer(200, "", openai("yes")),
        });
        let second = Server::says("yes");
        let bench = Bench::of([provider("a", &first), provider("b", &second)]);
        let chain = bench.chain();
        let by = |chain: &Chain| ask(chain).expect(what).provider;
        assert_eq!(by(&chain), "b", "{what}");
        assert_eq!((by(&chain), first.count()), ("b".to_owned(), 1), "{what}: left alone");
        assert!(!chain.health()[0].well && chain.health()[0].until.is_some(), "{what}");
        drop(chain);
        let chain = bench.chain();
        assert_eq!((by(&chain), first.count()), ("b".to_owned(), 1), "{what}: after a restart, too");
        rested(&chain);
        assert_eq!((by(&chain), first.count()), ("b".to_owned(), 2), "{what}: tried and down still");
        assert_eq!((by(&chain), first.count()), ("b".to_owned(), 2), "{what}");
        rested(&chain);
        assert_eq!((by(&chain), first.count()), ("a".to_owned(), 3), "{what}: it has recovered");
        assert_eq!(by(&chain), "a", "{what}: back to the first");
    }
}

#[test]
fn one_that_hangs_takes_its_own_time_and_not_that_of_the_next() {
    let (hangs, fine) = (Server::start(|_, _| Reply::Hang), Server::says("yes"));
    let mut first = provider("a", &hangs);
    first.timeout = Duration::from_millis(300);
    let bench = Bench::of([first, provider("b", &fine)]);
    let chain = bench.chain();
    assert_eq!(ask(&chain).expect("the next").provider, "b");
    assert!(chain.health()[0].why.as_deref().is_some_and(|why| why.contains("did not answer")));
    assert_eq!((ask(&chain).expect("the next").provider.as_str(), hangs.count()), ("b", 1));
    // All together keep to the time of the question.
    let error =
        run(Bench::of([provider("a", &hangs)]).chain().ask_within(&prompt(), Duration::from_millis(300)));
    assert!(error.expect_err("no answer").to_string().contains("a: "));
}

#[test]
fn of_many_questions_one_tries_a_provider_that_was_down() {
    let first = Server::start(|_, number| match number {
        1 => Reply::Answer(500, "", String::new()),
        _ => Reply::Hang,
    });
    let second = Server::says("yes");
    let bench = Bench::of([provider("a", &first), provider("b", &second)]);
    let chain = Arc::new(bench.chain());
    assert_eq!(ask(&chain).expect("the next").provider, "b");
    rested(&chain);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let ask = |chain: &Arc<Chain>| {
            let chain = Arc::clone(chain);
            tokio::spawn(async move { chain.ask(&prompt()).await.expect("an answer").provider })
        };
        let trial = ask(&chain);
        while first.count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        for _ in 0..8 {
            assert_eq!(ask(&chain).await.expect("joined"), "b");
        }
        assert_eq!(first.count(), 2);
        // One that is not waited for any more lets go of its connection.
        trial.abort();
        while first.gone.load(Ordering::SeqCst) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
}

#[test]
fn what_a_question_brings_about_says_nothing_of_a_provider() {
    let first = Server::start(|seen, _| match seen.body["messages"][1]["content"].as_str() {
        Some("too long") => Reply::Answer(400, "", r#"{"error":{"code":"context_length_exceeded"}}"#.into()),
        Some("vile") => {
            Reply::Answer(200, "", r#"{"choices":[{"message":{"content":null,"refusal":"x"}}]}"#.into())
        }
        _ => Reply::Answer(200, "", openai("yes")),
    });
    let second = Server::says("yes");
    let bench = Bench::of([provider("a", &first), provider("b", &second)]);
    let chain = bench.chain();
    for user in ["too long", "vile"] {
        let prompt = Prompt { user: user.into(), ..prompt() };
        assert_eq!(run(chain.ask(&prompt)).expect("the next").provider, "b");
        assert_eq!(ask(&chain).expect("an answer").provider, "a", "{user}");
    }
}

#[test]
fn no_redirect_takes_a_key_along() {
    let thief = Server::says("yes");
    let to = thief.url.clone();
    let first = Server::start(move |_, _| {
        Reply::Bytes(
            format!("HTTP/1.1 307 X\r\nlocation: {to}/v1/chat/completions\r\ncontent-length: 0\r\n\r\n")
                .into(),
        )
    });
    let error = ask(&Bench::of([provider("a", &first)]).chain()).expect_err("no answer").to_string();
    assert!(error.contains("redirects (HTTP 307)"), "{error}");
    assert_eq!((first.count(), thief.count()), (1, 0));
}

#[test]
fn an_operator_tries_each_key_and_what_serves_lives_again() {
    let server = Server::start(|seen, number| match seen.fields.contains("sk-secret-a1") {
        _ if number <= 2 => Reply::Answer(401, "", r#"{"error":{"code":"token_expired"}}"#.into()),
        true => Reply::Answer(200, "", openai("yes")),
        false => Reply::Answer(500, "", String::new()),
    });
    let bench = Bench::of([provider("a", &server)]);
    let chain = bench.chain();
    assert!(ask(&chain).is_err() && ask(&chain).is_err());
    assert_eq!((server.count(), chain.health()[0].keys_dead), (2, 2));
    let tried = run(chain.test("a", &prompt())).expect("there is one");
    assert!(tried[0].answered.is_ok(), "{tried:?}");
    assert_eq!(tried[1].answered, Err("HTTP 500".to_owned()));
    assert_eq!((chain.health()[0].keys_well, chain.health()[0].keys_dead), (1, 1));
    assert!(ask(&chain).is_ok() && run(chain.test("z", &prompt())).is_none());
}

#[test]
fn no_key_is_ever_told() {
    let echo = Server::start(|seen, _| Reply::Answer(500, "", seen.fields.clone()));
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let mut gone = provider("b", &echo);
    gone.base_url = Url::parse(&format!("http://{nobody}/v1/secret-in-path")).expect("an address");
    let bench = Bench::of([provider("a", &echo), gone]);
    let chain = bench.chain();
    let error = ask(&chain).expect_err("no answer");
    let tried = run(chain.test("a", &prompt()));
    let all = format!("{error} {error:?} {chain:?} {:?} {tried:?}", chain.health());
    assert!(all.contains("HTTP 500") && all.contains("cannot connect to 127.0.0.1"), "{all}");
    assert!(!all.contains("secret"), "{all}");
    drop(chain);
    for file in ["state.db", "state.db-wal"] {
        let bytes = std::fs::read(bench.directory.path().join("state").join(file)).unwrap_or_default();
        assert!(!bytes.windows(9).any(|window| window == b"sk-secret"), "{file}");
    }
}

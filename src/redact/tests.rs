//! The stream as a whole: chunking, values, bounds, and texts that must come through unchanged.

use proptest::prelude::*;

use super::example::expand;
use super::*;

fn redactor() -> Redactor {
    Redactor::new(
        &Rules::builtin(),
        vec![
            Secret::new("DB_PASSWORD", "correct-horse-battery"),
            Secret::new("SPACED", "two words and more"),
            Secret::new("LONG", expand("{a200}").0),
            Secret::new("ODD", "'\"&/ odd?<7>"),
        ],
    )
}

fn chunked(redactor: &Redactor, text: &[u8], sizes: impl IntoIterator<Item = usize>) -> (Vec<u8>, u64) {
    let (mut stream, mut out, mut rest) = (redactor.stream(), Vec::new(), text);
    for size in sizes {
        let (now, later) = rest.split_at(size.min(rest.len()));
        stream.push(now, &mut out);
        rest = later;
        if rest.is_empty() {
            break;
        }
    }
    stream.push(rest, &mut out);
    stream.finish(&mut out);
    (out, stream.masked())
}

/// Shows only where two long results part.
#[track_caller]
fn assert_same(left: &(Vec<u8>, u64), right: &(Vec<u8>, u64)) {
    let at = left.0.iter().zip(&right.0).take_while(|(left, right)| left == right).count();
    let around = |text: &[u8]| {
        String::from_utf8_lossy(&text[at.saturating_sub(60)..(at + 60).min(text.len())]).into_owned()
    };
    assert!(left == right, "{} {:?}\n{} {:?}", left.1, around(&left.0), right.1, around(&right.0));
}

#[track_caller]
fn unchanged(text: &str) {
    assert_eq!(redactor().text(text), (text.to_owned(), 0));
}

#[test]
fn masks_name_the_rule_and_show_the_ends_of_long_secrets() {
    let (text, _) = expand("push with ghp_{a36}!");
    assert_eq!(
        redactor().text(&text),
        (
            "push with [redacted:github-token ghp_k7\u{2026}PjUr]!"
                .replace("PjUr", &text[text.len() - 5..text.len() - 1]),
            1
        )
    );
    assert_eq!(redactor().text("DB_PASS=abc9").0, "DB_PASS=[redacted:environment-password ***]");
    let (key, _) = expand("a\n-----BEGIN PRIVATE KEY-----\n{b64}\n{b10}\nthe end\n");
    assert_eq!(redactor().text(&key).0, "a\n[redacted:private-key] end\n");
}

#[test]
fn an_assigned_token_is_named_by_its_vendor() {
    let (text, _) = expand("GITHUB_TOKEN=ghp_{a36}\n");
    let (masked, count) = redactor().text(&text);
    assert!(masked.starts_with("GITHUB_TOKEN=[redacted:github-token ghp_k7"), "{masked}");
    assert_eq!(count, 1);
}

#[test]
fn a_coloured_token_behind_a_name_is_masked_whole() {
    let (text, _) =
        expand("TOKEN=ghp_{ESC}[m{ESC}[K{a36}\npassword: {ESC}[01;31m{ESC}[Kghp_{ESC}[m{ESC}[K{a36}\n");
    let (masked, count) = redactor().text(&text);
    assert_eq!(count, 2, "{masked}");
    assert!(!masked.contains(&expand("{a36}").0) && masked.matches("github-token").count() == 2, "{masked}");
}

#[test]
fn known_values_are_found_in_every_form() {
    for text in [
        "correct-horse-battery",
        "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",         // alone
        "eHhjb3JyZWN0LWhvcnNlLWJhdHRlcnk=",     // after two bytes
        "eGNvcnJlY3QtaG9yc2UtYmF0dGVyeXl5eQ==", // after one, before three
        "636f72726563742d686f7273652d62617474657279",
        "636F72726563742D686F7273652D62617474657279",
        "two%20words%20and%20more",
    ] {
        let (masked, count) = redactor().text(&format!("<{text}>"));
        assert_eq!(count, 1, "{text}");
        assert!(masked.contains("[redacted:value "), "{masked}");
        assert!(masked.len() < 50 + 6, "{masked}");
    }
}

#[test]
fn a_value_that_runs_over_the_end_of_a_shape_is_masked_whole() {
    // The assignment ends at the blank, the value does not.
    let (masked, count) = redactor().text("APP_SECRET=two words and more.\n");
    assert_eq!((masked.as_str(), count), ("APP_SECRET=[redacted:value SPACED ***].\n", 1));
    let (masked, _) = redactor().text("APP_SECRET=x9-two words and more.\n");
    assert!(!masked.contains("words"), "{masked}");
}

#[test]
fn what_stands_between_a_name_and_its_secret_is_masked_too() {
    let (text, _) =
        expand("curl -H 'X-Api-Key: {a20}' -u me:{d4}{l5} https://two%20words%20and%20more:{a9}@h/\n");
    let (masked, count) = redactor().text(&text);
    assert_eq!(count, 4, "{masked}");
    assert!(
        masked.starts_with("curl -H 'X-Api-Key: [redacted:") && masked.contains(" -u me:[redacted:"),
        "{masked}"
    );
    assert!(masked.contains("https://[redacted:value SPACED ***]:[redacted:"), "{masked}");
}

#[test]
fn ordinary_output_is_not_touched() {
    for text in [
        "MAX_TOKENS=100 max_tokens: 4096 num_tokens=12",
        "am_example_identifier_123 sk_learn_preprocessing_x fc-match1234567890",
        "commit 3f786850e387550fdab836ed7e6dc881de23001b\nAuthor: A B <a@b.example>",
        "550e8400-e29b-41d4-a716-446655440000",
        "   Compiling tokenizers v0.15.2 (https://github.com/huggingface/tokenizers)",
        "Downloading https://files.pythonhosted.org/packages/ab/cd/secretstorage-3.3.3-py3-none-any.whl",
        "src/token.rs:12:5: error: expected `;`, found keyword `let`",
        "let token = lexer.next_token(); // token: Token",
        "password: String, secret: Vec<u8>, token: &'a str,",
        "PWD=/home/u/p OLDPWD=/tmp TOKEN_LIMIT=4096",
        "remote: https://user@dev.azure.com/x/_git/y http://localhost:8080/@vite/client",
        "integrity sha512-{b86}== sha256:{h64}",
        "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
        "key = value1; monkey=abc123; keyboard: qwerty123",
        "test auth::tests::token_is_refused ... ok",
        "GET /api?page=2&sort=key HTTP/1.1\" 200",
        "{\"session\":\"266e160a8c9b177d0f1e2d3c4b5a6978\"} session=266e160a8c9b177d0f1e2d3c4b5a6978",
        "key-{h32} SK{h32} TOKEN=sha256:{h64} let token: Token2 = x; AKIAIOSFODNN7EXAMPLE",
    ] {
        unchanged(&expand(text).0);
    }
}

/// One table says which names of variables hold secrets: what the gate and the environment of commands go by, redaction knows too.
#[test]
fn what_a_secret_name_holds_is_masked() {
    #[derive(serde::Deserialize)]
    struct Names {
        parts: Vec<String>,
        words: Vec<String>,
    }
    let names: Names = toml::from_str(include_str!("../../policies/secret-names.toml")).unwrap();
    let (value, _) = expand("{a24}");
    for name in names.parts.iter().chain(&names.words) {
        // A part is part of a word.
        let name = if name == "PASSW" { "PASSWORD" } else { name };
        for text in [format!("MY_{name}={value}"), format!("export MY_{name}=\"{value}\"")] {
            assert_eq!(redactor().text(&text).1, 1, "{text}");
        }
    }
}

#[test]
fn bytes_that_are_no_text_come_through() {
    let bytes: Vec<u8> = (0..=255u8).cycle().take(200_000).collect();
    assert_eq!(chunked(&redactor(), &bytes, [7, 4096, 1]), (bytes, 0));
}

#[test]
fn masking_twice_changes_nothing_more() {
    let text = corpus();
    let (once, count) = redactor().text(&text);
    assert!(count > 60, "only {count}");
    let (twice, count) = redactor().text(&once);
    assert_same(&(twice.into_bytes(), count), &(once.into_bytes(), 0));
}

#[test]
fn every_chunk_of_one_byte_gives_the_same() {
    let text = corpus();
    let whole = chunked(&redactor(), text.as_bytes(), []);
    assert_same(&chunked(&redactor(), text.as_bytes(), std::iter::repeat(1)), &whole);
}

#[test]
fn output_waits_for_no_more_than_it_must() {
    let redactor = Redactor::new(&Rules::builtin(), Vec::new());
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    let mut after = |input: &str| {
        stream.push(input.as_bytes(), &mut out);
        String::from_utf8(out.clone()).unwrap()
    };
    assert_eq!(after("Continue? [y/N] "), "Continue? [y/N] ");
    assert_eq!(after("\nPassword: "), "Continue? [y/N] \nPassword: ");
    assert_eq!(after("tests"), "Continue? [y/N] \nPassword: ");
    assert_eq!(after("\nq"), "Continue? [y/N] \nPassword: tests\nq");
    assert!(after("\nexport TOKEN").ends_with("\nexport TOKEN"));
    assert!(after("\n gh").ends_with("\n "));
    assert!(after("i").ends_with("\n ghi"));
}

#[test]
fn an_idle_flush_lets_out_two_bytes_and_holds_a_prefix() {
    let redactor = redactor();
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    let (secret, _) = expand("ghp_{a36}");
    let mut flushed = Vec::new();
    for byte in secret.bytes() {
        stream.push(&[byte], &mut out);
        stream.flush_partial(&mut out);
        flushed.push(out.len());
    }
    assert_eq!(flushed[..4], [1, 2, 2, 2]);
    stream.finish(&mut out);
    let out = String::from_utf8(out).unwrap();
    assert!(out.starts_with("gh[redacted:github-token "), "{out}");
    assert_eq!(stream.masked(), 1);
}

#[test]
fn a_secret_without_an_end_is_swallowed_in_bounded_memory() {
    let redactor = redactor();
    let (mut stream, mut out) = (redactor.stream(), Vec::new());
    stream.push(b"ghp_", &mut out);
    for _ in 0..64 {
        stream.push(&[b'a'; 64 << 10], &mut out);
    }
    stream.push(b" and then", &mut out);
    stream.finish(&mut out);
    assert_eq!(String::from_utf8(out).unwrap(), "[redacted:github-token ghp_aa\u{2026}] and then");
    assert_eq!(stream.masked(), 1);
}

#[test]
fn a_line_without_an_end_is_not_kept_in_memory() {
    let (redactor, mut out) = (redactor(), Vec::new());
    let mut stream = redactor.stream();
    for _ in 0..256 {
        stream.push(&[b'x'; 64 << 10], &mut out);
        assert!(out.len() >= (64 << 10) - 64, "held back");
        out.clear();
    }
}

#[test]
fn a_hostile_text_takes_linear_time() {
    // Each would be quadratic if every candidate read on to the end of its line.
    for part in [
        "password=\"",
        "://a:",
        "eyJaaaaaaaaaaaa.",
        "sk-",
        "token: ",
        "-----BEGIN RSA PRIVATE KEY-----\n",
        "machine a login ",
        "curl -u ",
        "mysql a login ",
        "host=a user=b ",
        "cookie: a=b",
        "TOKEN=\x1b[0m",
        "> -----BEGIN EC PRIVATE KEY-----\n> a\n",
        "\\u0022",
    ] {
        let text = part.repeat((1 << 18) / part.len());
        let start = std::time::Instant::now();
        redactor().text(&text);
        let took = start.elapsed();
        assert!(took.as_secs() < 10, "{part}: {took:?} for a quarter of a mebibyte, unoptimised");
    }
}

/// Every example of every rule, and some text between.
fn corpus() -> String {
    let rules = include_str!("../../policies/redact.toml");
    let mut text = expand(rules).0;
    text.push_str("correct-horse-battery Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5 two words and two words and more\n");
    text
}

fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(vec![
            "ghp_{a36}",
            "ghp_",
            "sk-",
            "TOKEN=",
            "token: ",
            "password=\"",
            "{a9}",
            "{h40}",
            " ",
            "\n",
            "correct-horse",
            "-battery",
            "two words",
            " and more",
            "://",
            "u:",
            "@h",
            "-----BEGIN RSA PRIVATE KEY-----",
            "\n{b64}\n",
            "-----END RSA PRIVATE KEY-----",
            "eyJ{a20}",
            ".",
            "xoxb-{d12}",
            "-{a24}",
            "Authorization: Bearer ",
            "AKIA{u16}",
            "{a200}",
            "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5",
            "\"",
            "'",
            "machine h login me password ",
            "SG.{a22}",
            "{d10}",
            ":AA{a33}",
            "{ESC}[32m",
            "{ESC}[m{ESC}[K",
            "{ESC}",
            "\\n",
            "\\u001b[0m",
            "\\",
            "%20",
            "Y29ycmVjdC1ob3\nJzZS1iYXR0ZXJ5",
            "&quot;",
            "'\"&/ odd?<7>",
            "%27%22%26/",
            "+odd%3F%3c7%3E",
            "\\u0022\\u0026\\/ odd",
            "63:6f:72:72:65",
            "636f72726563742d\n686f7273652d62617474657279",
        ])
        .prop_map(|piece| expand(piece).0),
        "[ -~]{0,12}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_gives_the_same(
        pieces in prop::collection::vec(piece(), 0..24),
        sizes in prop::collection::vec(1usize..40, 0..60),
    ) {
        let text = pieces.concat();
        let redactor = redactor();
        let whole = chunked(&redactor, text.as_bytes(), []);
        assert_same(&chunked(&redactor, text.as_bytes(), sizes), &whole);
        assert_same(&chunked(&redactor, text.as_bytes(), std::iter::repeat(1)), &whole);
    }

    #[test]
    fn flushing_at_any_time_masks_the_same_places(
        pieces in prop::collection::vec(piece(), 0..16),
        sizes in prop::collection::vec(1usize..20, 1..40),
    ) {
        let text = pieces.concat();
        let redactor = redactor();
        let (_, count) = chunked(&redactor, text.as_bytes(), []);
        let (mut stream, mut out, mut rest) = (redactor.stream(), Vec::new(), text.as_bytes());
        for size in sizes.into_iter().cycle().take_while(|_| true) {
            if rest.is_empty() { break; }
            let (now, later) = rest.split_at(size.min(rest.len()));
            stream.push(now, &mut out);
            stream.flush_partial(&mut out);
            rest = later;
        }
        stream.finish(&mut out);
        prop_assert_eq!(stream.masked(), count);
    }

    #[test]
    fn a_token_is_masked_wherever_it_stands(before in "[ -~]{0,20}[^A-Za-z0-9_]", after in "([^A-Za-z0-9_][ -~]{0,20})?") {
        let (token, _) = expand("ghp_{a36}");
        let (masked, _) = redactor().text(&format!("{before}{token}{after}"));
        prop_assert!(!masked.contains(&token), "{}", masked);
    }
}

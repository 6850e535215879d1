//! Jobs whose next run is due before the last has ended, and webhooks by TLS: of results, and of a heart that beats.

use std::net::TcpListener;
use std::sync::{Arc, mpsc};

use base64::Engine as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::jobs::{Place, job};
use super::*;

/// A job that takes longer than until it is due again.
fn slow(on_overlap: &str) -> String {
    let when = format!("every = \"1s\"\nlate = \"1h\"\non_overlap = \"{on_overlap}\"");
    let command = "shell = \"echo begins >> ran; sleep 2.5; echo ends >> ran\"";
    job(command, "", "slow").replace("at = \"2099-01-01T00:00\"", &when)
}

/// Its trace: never two at once.
fn trace(place: &Place) -> Vec<String> {
    let path = Path::new(&place.daemon.workspace(me(), "jobs")).join("ran");
    fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
}

#[test]
fn one_that_waits_begins_when_the_one_before_has_ended() {
    as_both(|| {
        let Some(place) = Place::start("") else { return };
        place.put("slow", &slow("wait"));
        place.reload().unwrap();
        until("three have run", || {
            place.lines("slow").iter().filter(|line| line["state"] == "ok").count() >= 3
        });
        place.call("job/switch", json!({"job": "slow", "on": false}));
        let trace = trace(&place);
        for (index, line) in trace.iter().enumerate() {
            assert_eq!(line, ["begins", "ends"][index % 2], "{trace:?}");
        }
        // Due times in between were missed, and say why; none of those that began was ended for another.
        let told = place.lines("slow");
        assert!(told.iter().all(|line| line["state"] == "ok" || line["state"] == "missed"), "{told:?}");
        let missed = told.iter().find(|line| line["state"] == "missed").expect("one waits at a time");
        assert!(missed["reason"].as_str().unwrap().contains("had not ended"), "{missed}");
        let began: Vec<i64> = told
            .iter()
            .filter(|line| line["state"] == "ok")
            .map(|line| {
                line["started"].as_str().unwrap().parse::<jiff::Timestamp>().unwrap().as_millisecond()
            })
            .collect();
        assert!(began.windows(2).all(|pair| pair[1] - pair[0] >= 2400), "{began:?}");
    });
}

#[test]
fn one_that_replaces_ends_the_one_before() {
    as_both(|| {
        let Some(place) = Place::start("") else { return };
        place.put("slow", &slow("replace"));
        place.reload().unwrap();
        let replaced = |line: &Value| {
            line["state"] == "failed"
                && line["reason"].as_str().unwrap().starts_with("ended for the next run of it")
        };
        until("two were replaced", || place.lines("slow").iter().filter(|line| replaced(line)).count() >= 2);
        assert!(trace(&place).iter().all(|line| line == "begins"), "{:?}", trace(&place));
        // The last one is nobody's to end.
        place.call("job/switch", json!({"job": "slow", "on": false}));
        until("the last one ends by itself", || place.lines("slow").iter().any(|line| line["state"] == "ok"));
        assert_eq!(trace(&place).iter().filter(|line| *line == "ends").count(), 1);
        place.daemon.verify_log();
    });
}

/// A server that speaks TLS under a certificate for 127.0.0.1; its port, the authority that vouches for it, and what it is told.
fn tls_server() -> (u16, String, mpsc::Receiver<(String, Value)>) {
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = params.self_signed(&authority).unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(own.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n");
    let (issuer, key) = (Issuer::new(params, authority), KeyPair::generate().unwrap());
    let certificate =
        CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let settings = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let settings = Arc::new(settings);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = mpsc::channel();
    // It ends with the tests, or when nobody listens to it any more.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let session = ServerConnection::new(Arc::clone(&settings)).unwrap();
            // One that does not believe the certificate goes away.
            if let Some(said) = answer(StreamOwned::new(session, stream))
                && tell.send(said).is_err()
            {
                return;
            }
        }
    });
    (port, pem, told)
}

/// Reads one request, and says yes to it; its path, and what it says.
fn answer(mut stream: impl std::io::Read + Write) -> Option<(String, Value)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).ok()?;
    write!(stream, "HTTP/1.1 200 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
    stream.flush().ok()?;
    Some((head.split(' ').nth(1).unwrap().to_owned(), serde_json::from_slice(&body).unwrap_or_default()))
}

#[test]
fn a_heart_beats_with_each_success_by_tls_and_to_nobody_else() {
    as_both(|| {
        let Some(place) = Place::start("") else { return };
        let ((port, pem, told), (other, _, nothing)) = (tls_server(), tls_server());
        let ca = place.daemon.path().join("authority.pem");
        put(&ca, &pem);
        let hook = |port: u16, path: &str| {
            format!("webhook = \"https://127.0.0.1:{port}/{path}\"\nca = \"{}\"\n", ca.display())
        };
        let beats = format!("[heartbeat]\n{}", hook(port, "beat"));
        place.put(
            "fine",
            &(job("command = [\"true\"]", "", "fine") + "[[deliver]]\n" + &hook(port, "told") + &beats),
        );
        place.put("fails", &(job("command = [\"false\"]", "", "fails") + &beats));
        // Somebody else's certificate.
        place
            .put("lost", &(job("command = [\"true\"]", "", "lost") + "[heartbeat]\n" + &hook(other, "beat")));
        place.reload().unwrap();
        assert_eq!(place.run("fails")["state"], "failed");
        assert_eq!(place.run("lost")["state"], "ok");
        assert_eq!(place.run("fine")["state"], "ok");
        let mut came: Vec<(String, Value)> = (0..2).map(|_| told.recv_timeout(PATIENCE).unwrap()).collect();
        came.sort_by(|one, other| one.0.cmp(&other.0));
        assert_eq!((came[0].0.as_str(), came[1].0.as_str()), ("/beat", "/told"), "{came:?}");
        assert!(came.iter().all(|(_, said)| said["job"] == "fine" && said["state"] == "ok"), "{came:?}");
        assert_eq!((&came[0].1["kind"], &came[1].1["kind"]), (&json!("heartbeat"), &json!("result")));
        let letters = |job: &str| place.call("job/show", json!({ "job": job }))["letters"].clone();
        until("one that nobody vouches for is told nothing", || {
            letters("lost").as_array().unwrap().iter().any(|letter| letter["state"] == "failed")
        });
        assert!(nothing.try_recv().is_err());
        // Only a success is one.
        assert!(told.try_recv().is_err(), "{}", letters("fails"));
    });
}

//! Bytes in any pieces through the frame reader, and what it gives out through the reader of requests.
#![no_main]

use execward::wire::lines::{LineError, Lines};
use execward::wire::rpc::{AgentCall, OperatorCall, Reply, Request};
use libfuzzer_sys::fuzz_target;

/// Small, so that the fuzzer meets the limit.
const LIMIT: usize = 512;

fuzz_target!(|data: &[u8]| {
    let Some((&size, stream)) = data.split_first() else { return };
    let pieces = read(stream, usize::from(size).max(1));
    assert_eq!(pieces, read(stream, stream.len().max(1)), "the pieces decide what is read");
    for line in pieces.into_iter().flatten() {
        assert!(line.len() <= LIMIT && !line.contains(&b'\n') && !line.contains(&0));
        // What has passed is JSON that two readers read alike.
        let value: serde_json::Value = serde_json::from_slice(&line).expect("a line is JSON");
        let mut reply = Vec::new();
        match Request::read(&line) {
            Ok(request) => {
                assert_eq!(value["method"], request.method.as_str());
                let read =
                    AgentCall::read(&request).map(drop).and_then(|()| OperatorCall::read(&request).map(drop));
                // Every result of ours is an object.
                Reply::new(request.id, read.map(|()| serde_json::json!({}))).encode(&mut reply);
            }
            Err((id, error)) => Reply::unreadable(id, error).encode(&mut reply),
        }
        assert!(reply.ends_with(b"\n") && reply.iter().filter(|&&byte| byte == b'\n').count() == 1);
        let _: Reply = serde_json::from_slice(&reply).expect("a reply reads back");
    }
});

/// The lines and refusals of a stream in pieces of a size.
fn read(stream: &[u8], size: usize) -> Vec<Result<Vec<u8>, LineError>> {
    let mut lines = Lines::new(LIMIT);
    let mut read = Vec::new();
    for piece in stream.chunks(size) {
        lines.push(piece);
        loop {
            match lines.next_line() {
                Ok(None) => break,
                Ok(Some(line)) => read.push(Ok(line.bytes.to_vec())),
                Err(error) => {
                    let last = error.is_final();
                    read.push(Err(error));
                    if last {
                        return read;
                    }
                }
            }
        }
    }
    read
}

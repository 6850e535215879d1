//! A GiB through `execward run -- cat` arrives whole.

use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::support::{Command, as_everyone, command};

/// `EXECWARD_TEST_BYTES` makes a quick run quicker.
fn size() -> u64 {
    std::env::var("EXECWARD_TEST_BYTES").ok().and_then(|text| text.parse().ok()).unwrap_or(1 << 30)
}

/// Bytes of every value and of no pattern, the same at each run.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, block: &mut [u8]) {
        for eight in block.chunks_exact_mut(8) {
            // xorshift64
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            eight.copy_from_slice(&self.0.to_le_bytes());
        }
    }
}

/// Sends the noise through a command: digest of what was sent, digest and length of what came back.
fn through(command: Command, size: u64) -> (Vec<u8>, Vec<u8>, u64) {
    let mut child = command.stdin_from(Stdio::piped()).spawn();
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = child.stdout.take().expect("a pipe");
    let mut stderr = child.stderr.take().expect("a pipe");
    let sender = thread::spawn(move || {
        let (mut noise, mut digest, mut block, mut left) =
            (Noise(88_172_645_463_325_252), Sha256::new(), vec![0; 1 << 20], size);
        while left > 0 {
            noise.fill(&mut block);
            let part = usize::try_from(left).unwrap_or(usize::MAX).min(block.len());
            digest.update(&block[..part]);
            stdin.write_all(&block[..part]).expect("the command reads on");
            left -= part as u64;
        }
        digest.finalize().to_vec()
    });
    let errors = thread::spawn(move || {
        let mut text = String::new();
        let _ = stderr.read_to_string(&mut text);
        text
    });
    let (mut digest, mut count, mut block) = (Sha256::new(), 0, vec![0; 1 << 20]);
    loop {
        match stdout.read(&mut block).expect("output can be read") {
            0 => break,
            part => {
                digest.update(&block[..part]);
                count += part as u64;
            }
        }
    }
    let status = command::wait(&mut child, Duration::from_secs(600)).expect("it ends");
    let errors = errors.join().expect("a reader does not panic");
    assert!(status.success(), "{status:?}: {errors}");
    (sender.join().expect("the sender does not panic"), digest.finalize().to_vec(), count)
}

#[test]
fn a_gib_arrives_whole() {
    as_everyone(|ground| {
        let size = size();
        let (sent, came, count) = through(ground.run(["cat"]), size);
        assert_eq!(count, size, "bytes were lost or masked");
        assert_eq!(sent, came, "the bytes changed on the way");
        let (_, bare, _) = through(ground.bare(["cat"]), size);
        assert_eq!(bare, came);
    });
}

//! Standard input and output, with a limit on one message that is answered and not only kept to.
//!
//! rmcp's transport drops a line that is too long and says nothing, so that whoever sent it waits for ever. The line is
//! watched as it passes: nothing of it is kept but its beginning, in which its id may stand.

use std::cell::RefCell;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use rmcp::RoleServer;
use rmcp::model::{ErrorData, JsonRpcError, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use serde::de::{DeserializeSeed, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Longest message, its end counted, in bytes. A daemon takes a mebibyte at a time; clients that write what is not ASCII as
/// `\u....` need several times that.
pub(super) const LONGEST: usize = 8 << 20;

/// How much of a message's beginning is kept, to look for its id in.
const BEGINNING: usize = 4 << 10;

type Answering = Pin<Box<dyn Future<Output = Result<(), std::io::Error>> + Send>>;

/// The transport.
pub(super) struct Stdio<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite,
{
    inner: AsyncRwTransport<RoleServer, Watched<R>, W>,
    refused: UnboundedReceiver<Option<RequestId>>,
    /// An answer that is being written: what is dropped in between is gone on with.
    answering: Option<Answering>,
}

impl<R, W> Stdio<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    pub(super) fn new(read: R, write: W) -> Self {
        let (refuse, refused) = unbounded_channel();
        let watched = Watched { read, refuse, length: 0, beginning: Vec::new() };
        let inner = AsyncRwTransport::new_server(watched, write).with_max_line_length(LONGEST);
        Self { inner, refused, answering: None }
    }

    fn refuse(&mut self, id: Option<RequestId>) {
        let message = format!("the message is longer than {LONGEST} bytes, and was not read");
        let hint = serde_json::json!({
            "limit": LONGEST,
            "hint": "send less at a time: `write` takes standard input in pieces, and a file takes what is larger",
        });
        let error = JsonRpcError::new(id, ErrorData::invalid_request(message, Some(hint)));
        self.answering = Some(Box::pin(self.inner.send(JsonRpcMessage::Error(error))));
    }
}

impl<R, W> Transport<RoleServer> for Stdio<R, W>
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    type Error = std::io::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            // Nothing more is read before it is written: who sends such messages and reads no answer waits.
            if let Some(answering) = &mut self.answering {
                let written = answering.await;
                self.answering = None;
                written.ok()?;
            }
            let received = tokio::select! {
                biased;
                Some(id) = self.refused.recv() => {
                    self.refuse(id);
                    continue;
                }
                received = self.inner.receive() => received,
            };
            // The input may have ended right behind a message that was too long.
            match (received, self.refused.try_recv()) {
                (None, Ok(id)) => self.refuse(id),
                (received, Ok(id)) => {
                    self.refuse(id);
                    return received;
                }
                (received, Err(_)) => return received,
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}

/// Says of each line that is too long that it is, once, as soon as that shows.
struct Watched<R> {
    read: R,
    refuse: UnboundedSender<Option<RequestId>>,
    /// Bytes of the line so far.
    length: usize,
    beginning: Vec<u8>,
}

impl<R> Watched<R> {
    fn watch(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (line, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            bytes = rest;
            let room = BEGINNING.saturating_sub(self.beginning.len()).min(line.len());
            self.beginning.extend_from_slice(line.get(..room).unwrap_or_default());
            let before = self.length;
            self.length = before.saturating_add(line.len());
            if before <= LONGEST && self.length > LONGEST {
                // Nobody who could be told is there any more where this fails.
                let _ = self.refuse.send(id(&self.beginning));
            }
            if end.is_some() {
                self.length = 0;
                self.beginning.clear();
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Watched<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.read).poll_read(context, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            self.watch(buffer.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

/// The id of a message of which only the beginning is there; none where it does not stand in that whole, or the message is none
/// that would be answered.
fn id(beginning: &[u8]) -> Option<RequestId> {
    let found = RefCell::new(None);
    // It breaks off, and so does this.
    let _ = serde_json::Deserializer::from_slice(beginning).deserialize_map(Message(&found));
    found.into_inner()
}

struct Message<'a>(&'a RefCell<Option<RequestId>>);

impl<'de> Visitor<'de> for Message<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut id: Option<RequestId> = None;
        while let Some(key) = map.next_key::<String>()? {
            // A number that is broken off is another number: it counts once something comes after it.
            *self.0.borrow_mut() = id.clone();
            match key.as_str() {
                "id" => id = map.next_value_seed(Id)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

/// What can be an id; anything else is none.
struct Id;

impl<'de> DeserializeSeed<'de> for Id {
    type Value = Option<RequestId>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        let value: serde_json::Value = serde::Deserialize::deserialize(deserializer)?;
        Ok(serde_json::from_value(value).ok())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

    use super::*;

    #[test]
    fn an_id_is_found_where_it_stands_whole_at_the_beginning() {
        let long = "x".repeat(BEGINNING);
        let number = |text: &str| id(text.as_bytes());
        assert_eq!(
            number(&format!("{{\"jsonrpc\":\"2.0\",\"id\":7,\"method\":\"{long}")),
            Some(RequestId::Number(7))
        );
        let text = Some(RequestId::String("a\"b".into()));
        assert_eq!(number("{\"params\":{\"id\":1},\"id\":\"a\\\"b\",\"method\":\"tools"), text);
        for none in [
            "{\"id\":71",
            "{\"id\":71,",
            "{\"id\":\"abc",
            "{\"method\":\"m\",\"params\":{\"id\":1",
            "{\"id\":null,\"method\":\"m\"}",
            "{\"id\":[1],\"method\":\"m\"}",
            "[{\"id\":1,\"method\":\"m\"}]",
            "\u{0}\u{1}",
            "",
        ] {
            assert_eq!(number(none), None, "{none}");
        }
    }

    /// What is written, for what is read.
    async fn answers(input: Vec<Vec<u8>>) -> (Vec<serde_json::Value>, usize) {
        let (mut client, read) = tokio::io::duplex(64 << 10);
        let (write, answers) = tokio::io::duplex(64 << 10);
        let mut transport = Stdio::new(read, write);
        let sent = tokio::spawn(async move {
            for bytes in input {
                client.write_all(&bytes).await.expect("it is read");
            }
        });
        let mut received = 0;
        while transport.receive().await.is_some() {
            received += 1;
        }
        sent.await.expect("all was sent");
        transport.close().await.expect("it closes");
        drop(transport);
        let mut lines = BufReader::new(answers).lines();
        let mut said = Vec::new();
        while let Some(line) = lines.next_line().await.expect("text") {
            said.push(serde_json::from_str(&line).expect("JSON"));
        }
        (said, received)
    }

    #[tokio::test]
    async fn what_is_too_long_is_answered_by_its_id_and_what_follows_is_read() {
        let long = |head: &str| format!("{head}\"{}\"}}\n", "x".repeat(LONGEST)).into_bytes();
        let ping = b"{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}\n".to_vec();
        let (said, received) = answers(vec![
            long("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":"),
            ping.clone(),
            long("{\"method\":"),
            ping,
            // The last one is not even ended.
            vec![b'['; LONGEST + 1],
        ])
        .await;
        assert_eq!(received, 2);
        let ids: Vec<_> = said.iter().map(|answer| answer["id"].clone()).collect();
        assert_eq!(ids, [serde_json::json!(1), serde_json::Value::Null, serde_json::Value::Null]);
        for answer in said {
            assert_eq!(
                (&answer["error"]["code"], &answer["error"]["data"]["limit"]),
                (&(-32600).into(), &LONGEST.into())
            );
        }
    }

    #[tokio::test]
    async fn one_byte_decides() {
        let line = |length: usize| {
            let frame =
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{\"_meta\":{\"x\":\"\"}}}\n";
            let filler = "x".repeat(length - frame.len());
            frame.replace("\"x\":\"\"", &format!("\"x\":\"{filler}\"")).into_bytes()
        };
        assert_eq!(answers(vec![line(LONGEST)]).await, (Vec::new(), 1));
        let (said, received) = answers(vec![line(LONGEST + 1)]).await;
        assert_eq!((said.len(), received), (1, 0));
    }
}

//! A connection on which each line of a request must end with CR LF.
//!
//! RFC 9112 lets a server accept a bare LF, and actix-http does. A proxy in front may not see the
//! end of a line there. Then it and the service disagree about where a request ends, and a client
//! can hide one request in another. This stream turns each bare LF into a bare CR, which actix-http
//! refuses. Bodies are not changed.
//!
//! It never decides by itself where a body begins or ends: it runs the decoder with which
//! actix-http reads the request afterwards.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_http::ServiceConfig;
use actix_http::h1::{Codec, Message};
use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::codec::Decoder as _;

/// A stream whose incoming lines end with CR LF, outside of bodies.
pub(super) struct StrictLines<S> {
    stream: S,
    lines: LineCheck,
}

impl<S> StrictLines<S> {
    /// `config` only gives the decoder what it needs. Each of its clones shares one timer.
    pub(super) fn new(stream: S, config: ServiceConfig) -> Self {
        Self {
            stream,
            lines: LineCheck::new(config),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for StrictLines<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if let Some(received) = buffer.filled_mut().get_mut(before..) {
            self.lines.check(received);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for StrictLines<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Finds the lines among the bytes of a connection, and checks how they end.
pub(crate) struct LineCheck {
    /// `None` after an error or a bare LF: the connection ends there, and all bytes count as lines.
    decoder: Option<Codec>,
    /// The start of a head that has not arrived as a whole. It is shorter than 128 KiB.
    head: BytesMut,
    /// The byte before the next one of a line.
    last: u8,
}

impl LineCheck {
    pub(crate) fn new(config: ServiceConfig) -> Self {
        Self {
            decoder: Some(Codec::new(config)),
            head: BytesMut::new(),
            last: 0,
        }
    }

    /// Replaces each bare LF in lines among `received`, the next bytes of the connection.
    pub(crate) fn check(&mut self, received: &mut [u8]) {
        let mut rest = received;
        // The lines in `head` are already checked.
        let mut checked = self.head.len();
        if self.decoder.is_some() {
            self.head.extend_from_slice(rest);
        }
        while let Some(decoder) = &mut self.decoder {
            let before = self.head.len();
            let decoded = decoder.decode(&mut self.head);
            let mut taken = (before - self.head.len()).saturating_sub(checked);
            let data = match &decoded {
                // The lines of a chunk are before its data.
                Ok(Some(Message::Chunk(Some(data)))) => data.len(),
                Ok(Some(Message::Item(_) | Message::Chunk(None))) => 0,
                Ok(None) => break,
                Err(_) => {
                    self.fail();
                    break;
                }
            };
            checked = 0;
            taken = taken.min(rest.len());
            let (bytes, following) = rest.split_at_mut(taken);
            rest = following;
            let (lines, data) = bytes.split_at_mut(taken.saturating_sub(data));
            self.check_lines(lines);
            if !data.is_empty() {
                self.last = 0;
            }
        }
        self.check_lines(rest);
    }

    fn check_lines(&mut self, lines: &mut [u8]) {
        let mut is_strict = true;
        for byte in lines {
            let is_bare = *byte == b'\n' && self.last != b'\r';
            self.last = *byte;
            if is_bare {
                *byte = b'\r';
                is_strict = false;
            }
        }
        if !is_strict {
            self.fail();
        }
    }

    fn fail(&mut self) {
        self.decoder = None;
        self.head = BytesMut::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Requests one after another on a connection, in pieces: `true` for lines, `false` for data.
    const REQUESTS: [(bool, &[u8]); 13] = [
        (true, b"\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n"),
        (
            true,
            b"POST /b HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
        ),
        (false, b"\n{\n}\r\n\n\n\r"),
        (
            true,
            b"\r\n\r\nPUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: x\r\n\r\n5\r\n",
        ),
        (false, b"\n0\n\r\n"),
        (true, b"\r\nA ; x=y\r\n"),
        (false, b"\r\n\r\n\n\n\n\n\n\n"),
        (true, b"\r\n0\r\nTrailer: one\r\nOther: two\r\n\r\n"),
        (
            true,
            b"GET /d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            true,
            b"DELETE /e HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
        ),
        (false, b"\n\n\n"),
        (
            true,
            b"GET /f HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
        ),
        (false, b"\nGET /g HTTP/1.1\n\n"),
    ];

    fn whole() -> Vec<u8> {
        REQUESTS
            .iter()
            .flat_map(|(_, bytes)| bytes.to_vec())
            .collect()
    }

    /// What the stream makes of bytes that arrive in pieces of these lengths, over and over.
    fn checked(bytes: &[u8], lengths: &[usize], config: &ServiceConfig) -> Vec<u8> {
        let mut check = LineCheck::new(config.clone());
        let mut bytes = bytes.to_vec();
        let mut rest = &mut bytes[..];
        for length in lengths.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, following) = rest.split_at_mut((*length).min(rest.len()));
            check.check(piece);
            rest = following;
        }
        bytes
    }

    /// How many requests the decoder finds before an error, and whether there is one.
    fn decoded(bytes: &[u8], config: &ServiceConfig) -> (usize, bool) {
        let mut codec = Codec::new(config.clone());
        let mut buffer = BytesMut::from(bytes);
        let mut heads = 0;
        loop {
            match codec.decode(&mut buffer) {
                Ok(Some(Message::Item(_))) => heads += 1,
                Ok(Some(Message::Chunk(_))) => {}
                Ok(None) => return (heads, false),
                Err(_) => return (heads, true),
            }
        }
    }

    #[actix_web::test]
    async fn requests_with_strict_lines_and_any_bodies_are_not_changed() {
        let (bytes, config) = (whole(), ServiceConfig::default());
        assert_eq!(decoded(&bytes, &config), (6, false));
        for first in 1..=bytes.len() {
            for lengths in [&[first, bytes.len()][..], &[first]] {
                let found = checked(&bytes, lengths, &config);
                assert_eq!(found, bytes, "in pieces of {lengths:?}");
            }
        }
    }

    #[actix_web::test]
    async fn a_bare_line_feed_in_any_line_ends_the_connection_there() {
        let config = ServiceConfig::default();
        let (mut start, mut heads) = (0, 0);
        for (are_lines, bytes) in REQUESTS {
            let ends = bytes.windows(2).enumerate();
            let ends: Vec<usize> = ends
                .filter(|(_, pair)| are_lines && *pair == b"\r\n")
                .map(|(at, _)| at)
                .collect();
            for at in ends {
                let mut changed = whole();
                changed.remove(start + at);
                for lengths in [
                    &[changed.len()][..],
                    &[1],
                    &[start + at, 7],
                    &[start + at + 1],
                ] {
                    let found = checked(&changed, lengths, &config);
                    let (found, has_failed) = decoded(&found, &config);
                    assert!(has_failed, "{}, {at}: {lengths:?}", bytes.escape_ascii());
                    // The request whose body ends here was received.
                    assert!(found <= heads + 1, "{}: {at}", bytes.escape_ascii());
                }
            }
            start += bytes.len();
            heads += usize::from(bytes.windows(5).any(|window| window == b"HTTP/"));
        }
    }

    #[actix_web::test]
    async fn arbitrary_bytes_are_refused_where_the_decoder_refuses_them() {
        let config = ServiceConfig::default();
        // A linear congruential generator: the same bytes in each run.
        let mut state = 1_u64;
        let mut random = |below: usize| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            usize::try_from(state >> 33).unwrap_or_default() % below
        };
        for _ in 0..2000 {
            let mut bytes = whole();
            for _ in 0..=random(3) {
                let at = random(bytes.len());
                match random(3) {
                    0 => bytes[at] = b"\r\n\0 :a0"[random(7)],
                    1 => {
                        bytes.remove(at);
                    }
                    _ => bytes.insert(at, b"\r\n\0 :a0"[random(7)]),
                }
            }
            let lengths = [1 + random(40), 1 + random(200)];
            let strict = checked(&bytes, &lengths, &config);
            let (before, after) = (decoded(&bytes, &config), decoded(&strict, &config));
            let shown = bytes.escape_ascii();
            if strict == bytes {
                continue;
            }
            // Something was replaced: that is where the connection ends, if it did not end before.
            assert!(
                after.1 && after.0 <= before.0,
                "{before:?} {after:?}: {shown}"
            );
            let first = strict
                .iter()
                .zip(&bytes)
                .position(|(one, other)| one != other);
            let first = first.unwrap_or_default();
            assert_eq!((bytes[first], strict[first]), (b'\n', b'\r'), "{shown}");
        }
    }
}

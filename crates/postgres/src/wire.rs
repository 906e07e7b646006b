//! The little of PostgreSQL's protocol that is needed before sqlx is there: hello, and plain statements.

use std::io;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use crate::address::{Address, ROLE};
use crate::error::{Error, context};

/// Version 3.0 of the protocol, as the startup message spells it.
const PROTOCOL: i32 = 3 << 16;
/// The longest message that is taken from the server, in bytes.
const LONGEST: usize = 64 * 1024 * 1024;

/// The rows that statements gave back, every value as text.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// What Postgres says instead of doing something.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The five characters of its SQLSTATE.
    pub(crate) code: String,
    pub(crate) message: String,
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message } = refusal;
        Error::Refused {
            message: format!("{message} ({code})"),
        }
    }
}

/// Connects to a database, or says how Postgres refused.
///
/// # Errors
/// When nobody listens, or what answers is not Postgres.
pub(crate) async fn connect(
    address: &Address,
    database: &str,
) -> Result<Result<Connection, Refusal>, Error> {
    let socket = address.socket();
    let stream = UnixStream::connect(&socket).await.map_err(|error| {
        context(
            &error,
            format_args!("cannot connect to {}", socket.display()),
        )
    })?;
    let mut connection = Connection { stream };
    let mut body = PROTOCOL.to_be_bytes().to_vec();
    for text in [
        "user",
        ROLE,
        "database",
        database,
        "application_name",
        "holdfast",
        "",
    ] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    connection.send(&[], &body).await?;
    Ok(connection.finish().await?.map(|_| connection))
}

/// A connection that is ready for a statement.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: UnixStream,
}

impl Connection {
    /// Runs one or more statements, all or nothing unless they say otherwise.
    ///
    /// # Errors
    /// [`Error::Refused`] with the server's message, or what the connection says.
    pub(crate) async fn query(&mut self, statements: &str) -> Result<Rows, Error> {
        let mut body = statements.as_bytes().to_vec();
        body.push(0);
        self.send(b"Q", &body).await?;
        Ok(self.finish().await??)
    }

    async fn send(&mut self, kind: &[u8], body: &[u8]) -> Result<(), Error> {
        let length = i32::try_from(body.len() + 4)
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "statement is too long"))?;
        let mut message = kind.to_vec();
        message.extend_from_slice(&length.to_be_bytes());
        message.extend_from_slice(body);
        Ok(self.stream.write_all(&message).await?)
    }

    /// Reads until the server waits for the next statement.
    async fn finish(&mut self) -> Result<Result<Rows, Refusal>, Error> {
        let mut rows = Rows::new();
        let mut refusal = None;
        loop {
            let (kind, body) = match self.receive().await {
                Ok(message) => message,
                // A refused connection ends without saying that it is ready.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return refusal.map(Err).ok_or_else(|| error.into());
                }
                Err(error) => return Err(error.into()),
            };
            match kind {
                b'Z' => return Ok(refusal.map_or(Ok(rows), Err)),
                b'E' => refusal = Some(parse_refusal(&body)),
                b'D' => rows.push(parse_row(&body).ok_or_else(not_postgres)?),
                b'R' if body != [0; 4] => {
                    let message = "it asks for a password".to_owned();
                    return Ok(Err(Refusal {
                        code: "28P01".to_owned(),
                        message,
                    }));
                }
                // Tags, settings, notices and column names.
                _ => {}
            }
        }
    }

    async fn receive(&mut self) -> io::Result<(u8, Vec<u8>)> {
        let kind = self.stream.read_u8().await?;
        let length = usize::try_from(self.stream.read_i32().await?).unwrap_or(0);
        if !(4..=LONGEST).contains(&length) {
            return Err(not_postgres());
        }
        let mut body = vec![0; length - 4];
        self.stream.read_exact(&mut body).await?;
        Ok((kind, body))
    }
}

fn not_postgres() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "what answers on the socket is not PostgreSQL",
    )
}

fn parse_refusal(body: &[u8]) -> Refusal {
    let field = |kind: u8| {
        body.split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&kind))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
            .unwrap_or_default()
    };
    Refusal {
        code: field(b'C'),
        message: field(b'M'),
    }
}

fn parse_row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut values = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        // A length of -1 is NULL.
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            values.push(None);
            continue;
        };
        let (value, after) = rest.split_at_checked(length)?;
        values.push(Some(String::from_utf8_lossy(value).into_owned()));
        rest = after;
    }
    Some(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_with_its_nulls() {
        let body = [0, 3, 0, 0, 0, 2, b'h', b'i', 255, 255, 255, 255, 0, 0, 0, 0];
        let row = parse_row(&body).unwrap();
        assert_eq!(row, [Some("hi".to_owned()), None, Some(String::new())]);
        assert!(
            parse_row(&body[..7]).is_none(),
            "a row that is cut off is no row"
        );
    }

    #[test]
    fn a_refusal_is_its_code_and_message() {
        let refusal =
            parse_refusal(b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0");
        assert_eq!(refusal.code, "57P03");
        assert_eq!(refusal.message, "the database system is starting up");
    }
}

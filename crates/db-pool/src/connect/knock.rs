//! Knocking: finds out whether anybody answers at an address, without a login.

use std::net::SocketAddr;

use db_config::{Endpoint, Host};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::connect::addresses::{resolve, unix_socket};
use crate::connect::connector::{SSL_REQUEST, UnixStream};

/// Resolves as soon as a host gives any answer, even a refusal. Never resolves if the host is silent.
///
/// It asks whether the server speaks TLS. Every server answers that at once and without a login, makes no session
/// for it, and writes nothing into its log.
pub(crate) async fn knock(endpoint: &Endpoint, host: usize) {
    let mut single = endpoint.clone();
    let Some(host) = endpoint.hosts.get(host).or(endpoint.hosts.first()) else {
        return;
    };
    single.hosts = vec![host.clone()];
    match (host, unix_socket(&single)) {
        (Host::Tcp { .. }, _) => {
            let Ok(addresses) = resolve(&single).await else {
                return;
            };
            for address in addresses.into_iter().flatten() {
                if answers(address).await {
                    return;
                }
            }
        }
        (_, Some(socket)) => {
            if let Ok(stream) = UnixStream::connect(&socket).await {
                ask(stream).await;
            }
        }
        _ => {}
    }
}

async fn answers(address: SocketAddr) -> bool {
    match TcpStream::connect(address).await {
        Ok(stream) => {
            ask(stream).await;
            true
        }
        Err(_refused) => false,
    }
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    if stream.write_all(&SSL_REQUEST).await.is_ok() {
        // Any byte, and even the end of the stream, is a sign of life.
        let _answer = stream.read_u8().await;
    }
}

//! If anything refuses the startup packet's `options`, with any message, the login goes on without them. faults
//! 4.1

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use app_db::Pool;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use harness::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::pool::{sized, url};

/// What stands before the server and takes no options; it says so in these fields of an error.
struct Refusing {
    port: u16,
    refused: Arc<AtomicU32>,
}

impl Refusing {
    async fn start(server: u16, fields: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refused = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&refused);
        harness::beside(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, server, fields, Arc::clone(&count)));
            }
        });
        Self { port, refused }
    }
}

async fn pass(
    mut client: TcpStream,
    server: u16,
    fields: &'static str,
    refused: Arc<AtomicU32>,
) -> std::io::Result<()> {
    let mut packet = [0; 4096];
    let mut length = client.read(&mut packet).await?;
    if length == 8 {
        // A request for TLS; this server has none.
        client.write_all(b"N").await?;
        length = client.read(&mut packet).await?;
    }
    let startup = &packet[..length];
    if startup.windows(8).any(|part| part == b"options\0") {
        refused.fetch_add(1, Ordering::SeqCst);
        let fields = fields.replace('|', "\0") + "\0\0";
        client.write_all(b"E").await?;
        client
            .write_all(&(fields.len() as u32 + 4).to_be_bytes())
            .await?;
        return client.write_all(fields.as_bytes()).await;
    }
    let mut server = TcpStream::connect(("127.0.0.1", server)).await?;
    server.write_all(startup).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}

/// psycopg/psycopg2#1577, stac-utils/pgstac#156: RDS Proxy, and others in other words. It is remembered, and the
/// settings reach the server on another way.
#[tokio::test]
async fn a_refusal_of_options_is_answered_by_a_login_without_them() {
    let db = TestDatabase::empty().await.unwrap();
    for fields in [
        "SFATAL|VFATAL|C0A000|MFeature not supported: RDS Proxy currently doesn't support command-line options.",
        "SFATAL|VFATAL|C08P01|Munsupported startup parameter: options",
        "SFATAL|VFATAL|C42704|Mconnection parameter \"options\" is not known here",
        "SERROR|VERROR|CXX000|MOptions in the startup packet are not supported",
    ] {
        let before = Refusing::start(db.server().port(), fields).await;
        let through = harness::through_port(&db.url(), before.port);
        let mut profile = sized(2);
        profile.pooler = db_pool::PoolerMode::Session;
        let pool = Pool::connect(url(&through), profile).await.unwrap();
        let mut both = [pool.get().await.unwrap(), pool.get().await.unwrap()];
        for conn in &mut both {
            let timeout: String =
                diesel::dsl::sql::<Text>("select current_setting('statement_timeout')")
                    .get_result(conn)
                    .await
                    .unwrap();
            assert_eq!(timeout, "30s", "{fields}");
        }
        let refused = AtomicU32::load(&before.refused, Ordering::SeqCst);
        assert_eq!(refused, 1, "{fields}");
    }
}

//! If anything refuses a parameter of the startup packet, with any message, the login goes on without it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use app_db::Pool;
use diesel::sql_types::Text;
use diesel_async::RunQueryDsl;
use harness::TestDatabase;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::pool::{sized, url};

/// What stands before the server and does not take one parameter; it says so in these fields of an error.
struct Refusing {
    port: u16,
    refused: Arc<AtomicU32>,
}

impl Refusing {
    async fn start(server: u16, parameter: &'static str, fields: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let refused = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&refused);
        harness::beside(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass(client, server, parameter, fields, Arc::clone(&count)));
            }
        });
        Self { port, refused }
    }
}

async fn pass(
    mut client: TcpStream,
    server: u16,
    parameter: &'static str,
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
    let names_it = |part: &[u8]| part.eq_ignore_ascii_case(parameter.as_bytes());
    if startup[8..].split(|byte| *byte == 0).any(names_it) {
        refused.fetch_add(1, Ordering::SeqCst);
        let fields = fields.replace('|', "\0").replace("{}", parameter) + "\0\0";
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
        let before = Refusing::start(db.server().port(), "options", fields).await;
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

/// The same of any other parameter: the pool sets it in the session instead, and the configuration need not name the
/// pooler.
#[tokio::test]
async fn a_refusal_of_any_parameter_is_answered_by_a_login_without_it() {
    let db = TestDatabase::empty().await.unwrap();
    let cluster = db.server();
    for parameter in ["TimeZone", "application_name", "options"] {
        for fields in [
            "SFATAL|VFATAL|C08P01|Munsupported startup parameter: {}",
            "SFATAL|VFATAL|C0A000|MFeature not supported: startup parameter",
        ] {
            let before = Refusing::start(cluster.port(), parameter, fields).await;
            let through = harness::through_port(&db.url(), before.port);
            let mut profile = sized(2);
            profile.timezone = "Asia/Tokyo".to_owned();
            let pool = Pool::connect(url(&through), profile).await.unwrap();
            for _borrower in 0..2 {
                let mut conn = pool.get().await.unwrap();
                let settings: String = diesel::dsl::sql::<Text>(
                    "select concat_ws(' ', current_setting('statement_timeout'), current_setting('timezone'))",
                )
                .get_result(&mut conn)
                .await
                .unwrap();
                assert_eq!(settings, "30s Asia/Tokyo", "{parameter}: {fields}");
            }
            assert!(
                AtomicU32::load(&before.refused, Ordering::SeqCst) <= 2,
                "{parameter}: {fields}"
            );
        }
    }
}

/// A connection outside a pool has the URL's own settings nevertheless: a migration without its `search_path` would
/// make its tables elsewhere.
#[tokio::test]
async fn a_lone_connection_has_the_settings_of_its_url_without_the_packet() {
    let db = TestDatabase::empty().await.unwrap();
    let fields = "SFATAL|VFATAL|C08P01|Munsupported startup parameter: {}";
    let before = Refusing::start(db.server().port(), "options", fields).await;
    let through = harness::through_port(&db.url(), before.port);
    let separator = if through.contains('?') { '&' } else { '?' };
    let own = format!("{through}{separator}options=-c%20search_path%3Dtenant");
    let endpoint = db_config::Endpoint::from(url(&own));
    let client = db_pool::connect_client(&endpoint, crate::SOON)
        .await
        .unwrap();
    let row = client.query_one("show search_path", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "tenant");
}

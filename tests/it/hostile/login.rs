//! Misbehaviour before the session is ready.

use std::time::{Duration, Instant};

use app_db::{Kind, PoolError};
use db_pool::{ConnectFailure, PoolerMode};

use super::peer::{Fake, Stage, Twist, announced, message, welcome};
use super::{Survived, impatient, pool, survive};

/// Connects to a server that does this once the startup packet has come.
fn refused_by(twist: Twist) -> PoolError {
    let fake = Fake::start(move |stage| (stage == Stage::Startup).then(|| twist.clone()));
    let Survived { value, .. } = survive(async move || {
        let began = Instant::now();
        let error = pool(&fake, impatient()).await.get().await.unwrap_err();
        (error, began.elapsed())
    });
    let (error, took) = value;
    assert!(took < Duration::from_secs(2), "{took:?}: {error:?}");
    let shown = format!("{error} {error:?}");
    assert!(!shown.contains("canary"), "{shown}");
    error
}

fn assert_down(error: &PoolError) {
    assert_eq!(error.kind(), Kind::Down, "{error:?}");
}

/// case F13: a server that says nothing at all.
#[test]
fn silence_after_the_startup_packet_is_a_timeout() {
    assert_down(&refused_by(Twist::Stall));
}

#[test]
fn silence_in_the_middle_of_authentication_is_a_timeout() {
    let asks = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
    assert_down(&refused_by(Twist::SayAndStall(asks)));
    assert_down(&refused_by(Twist::SayAndStall(b"R\0\0".to_vec())));
}

#[test]
fn silence_after_authentication_is_a_timeout() {
    let ok = message(b'R', &0_u32.to_be_bytes());
    assert_down(&refused_by(Twist::SayAndStall(ok)));
}

/// A session that answers its login and not the question what is there.
#[test]
fn silence_while_the_pooler_is_asked_for_is_a_timeout() {
    let fake = Fake::start(|stage| match stage {
        Stage::Parse(_) | Stage::Query(_) => Some(Twist::Stall),
        _ => None,
    });
    let survived = survive(async move || {
        let mut profile = impatient();
        profile.pooler = PoolerMode::Auto;
        let began = Instant::now();
        let error = pool(&fake, profile).await.get().await.unwrap_err();
        (error, began.elapsed())
    });
    assert_down(&survived.value.0);
    assert!(survived.value.1 < Duration::from_secs(2));
}

#[test]
fn a_connection_that_ends_during_login_is_an_error() {
    for end in [
        Vec::new(),
        b"R\0\0".to_vec(),
        message(b'R', &0_u32.to_be_bytes()),
        welcome()[..30].to_vec(),
    ] {
        assert_down(&refused_by(Twist::SayAndClose(end)));
    }
}

#[test]
fn another_protocol_is_an_error() {
    let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n".to_vec();
    assert_down(&refused_by(Twist::SayAndClose(http.clone())));
    assert_down(&refused_by(Twist::SayAndStall(http)));
}

/// A message that is longer than any may be, or shorter than its own header.
#[test]
fn an_impossible_length_during_login_is_an_error() {
    for (tag, length) in [
        (b'R', u32::MAX),
        (b'R', 0),
        (b'S', 0x7fff_ffff),
        (b'S', 3),
        (b'E', 0x3fff_ffff),
        (b'N', 0x3fff_ffff),
        (b'K', 5),
    ] {
        let mut bytes = announced(tag, length, b"");
        if tag != b'R' {
            bytes = [message(b'R', &0_u32.to_be_bytes()), bytes].concat();
        }
        bytes.extend_from_slice(&[0; 512]);
        assert_down(&refused_by(Twist::SayAndStall(bytes)));
    }
}

/// What a server refuses a login with. The routine is PostgreSQL's own; a pooler has none, and the code 08P01 for all.
#[test]
fn each_refusal_is_known_as_what_it_is() {
    use ConnectFailure::{Authentication, NoSuchDatabase, NotAdmitted, Rejected};
    for (code, routine, text, expected) in [
        (
            "28P01",
            "auth_failed",
            "password authentication failed for user \"u\"",
            Authentication,
        ),
        (
            "28000",
            "auth_failed",
            "PAM authentication failed for user \"u\"",
            Authentication,
        ),
        (
            "28000",
            "auth_failed",
            "LDAP authentication failed for user \"u\"",
            Authentication,
        ),
        (
            "28000",
            "InitializeSessionUserId",
            "role \"u\" is not permitted to log in",
            Authentication,
        ),
        (
            "28000",
            "ClientAuthentication",
            "no pg_hba.conf entry for host \"::1\"",
            NotAdmitted,
        ),
        (
            "28000",
            "ClientAuthentication",
            "pg_hba.conf rejects connection for host \"::1\"",
            NotAdmitted,
        ),
        (
            "3D000",
            "InitPostgres",
            "database \"d\" does not exist",
            NoSuchDatabase,
        ),
        (
            "42501",
            "CheckMyDatabase",
            "permission denied for database \"d\"",
            Rejected,
        ),
        (
            "42501",
            "check_role",
            "permission denied to set role \"owner\"",
            Rejected,
        ),
        ("08P01", "", "SASL authentication failed", Authentication),
        (
            "08P01",
            "",
            "password authentication failed",
            Authentication,
        ),
        (
            "08P01",
            "",
            "PAM authentication failed for user \"u\"",
            Authentication,
        ),
        ("08P01", "", "auth failed", Authentication),
        ("08P01", "", "no such user: u", Authentication),
        (
            "08P01",
            "",
            "role \"u\" is not permitted to log in",
            Authentication,
        ),
        (
            "08P01",
            "",
            "no pg_hba.conf entry for host \"::1\"",
            NotAdmitted,
        ),
        ("08P01", "", "no such database: d", NoSuchDatabase),
        (
            "08P01",
            "",
            "permission denied for database \"d\"",
            Rejected,
        ),
    ] {
        let routine = match routine {
            "" => String::new(),
            routine => format!("R{routine}\0"),
        };
        let said = format!("SFATAL\0VFATAL\0C{code}\0M{text}\0{routine}\0");
        let error = refused_by(Twist::SayAndClose(message(b'E', said.as_bytes())));
        let failure = error.connect_error().unwrap().failure();
        assert_eq!(failure, expected, "{code} {text}");
        assert_eq!(error.kind(), Kind::Configuration, "{code} {text}");
    }
}

/// Notices without end are not collected.
#[test]
fn endless_notices_during_login_take_no_memory() {
    let notice = message(b'N', b"SNOTICE\0VNOTICE\0C00000\0Mlook here\0\0");
    assert_down(&refused_by(Twist::Flood(notice)));
}

/// Nor are parameters, names or an endless text.
#[test]
fn endless_parameters_during_login_take_no_memory() {
    let ok = message(b'R', &0_u32.to_be_bytes());
    let parameter = message(
        b'S',
        &[b"name\0", vec![b'x'; 4096].as_slice(), b"\0"].concat(),
    );
    let flood = [ok, parameter].concat();
    assert_down(&refused_by(Twist::Flood(flood)));
}

/// A password is not worth 2^31 rounds of HMAC: that takes minutes, in which nothing else would run.
#[test]
fn scram_with_endless_iterations_is_refused() {
    for iterations in ["100000", "100000000", "2147483648", "4294967295"] {
        let scram = Scram::start(iterations);
        let survived = survive(async move || {
            let began = Instant::now();
            let profile = impatient();
            let pool = app_db::Pool::connect_lazy(crate::pool::url(&scram.url()), profile);
            (pool.get().await.unwrap_err(), began.elapsed())
        });
        let (error, took) = survived.value;
        assert!(took < Duration::from_secs(2), "{took:?}: {error:?}");
        assert!(
            matches!(error.kind(), Kind::Down | Kind::Configuration),
            "{error:?}"
        );
    }
}

/// A server that asks for SCRAM and answers the first message with so many iterations.
struct Scram(u16);

impl Scram {
    fn start(iterations: &'static str) -> Self {
        use std::io::{Read, Write};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut packet = [0; 4096];
                let _startup = stream.read(&mut packet);
                let asks = message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0");
                let _sent = stream.write_all(&asks);
                let count = stream.read(&mut packet).unwrap_or(0);
                let text = String::from_utf8_lossy(&packet[..count]).into_owned();
                let nonce = text.split("r=").nth(1).unwrap_or_default();
                let first = format!("r={nonce}servernonce,s=c2FsdHNhbHQ=,i={iterations}");
                let body = [&11_u32.to_be_bytes()[..], first.as_bytes()].concat();
                let _sent = stream.write_all(&message(b'R', &body));
                let _answer = stream.read(&mut packet);
            }
        });
        Self(port)
    }

    fn url(&self) -> String {
        harness::url(self.0, "d", "u", "canary")
    }
}

//! `.env` files as people have them: the lines of other programs, substitutions, and values that are
//! not read.

use crate::site::{LOCAL, Site, value};

/// Lines that other programs read, or that nobody does.
const OTHERS: &str = "APP_TITLE=My App\nCRON=* * * * *\nJSON={\"a\": 1}\nA-B=x\nWIN=C:\\dir\nA\nB C\n: x\n=y\n\
    MOTD=it's\nKEY=\"open\nPOSTGRES_INITDB_ARGS=`x`\nPGADMIN_DEFAULT_EMAIL=#a@b\nPATH=$PATH:x$\nexport\n\
    1A=b\nX=${\nY='a'b\nset Z=1\nif [ x ]; then\n";

/// Lines of other programs never stop a service, and swallow none of our lines.
#[test]
fn the_lines_of_others_never_stop_a_service() {
    let ours = "APP_ENV=test\nDATABASE_URL=postgres://u@localhost/mine\n";
    for text in [
        format!("{OTHERS}{ours}"),
        format!("{ours}{OTHERS}"),
        format!("APP_ENV=test\n{OTHERS}DATABASE_URL=postgres://u@localhost/mine\nBYE=that's\n"),
        OTHERS.replace('\n', &format!("\n{OTHERS}")) + ours,
    ] {
        let config = Site::new().file(".env", &text).load(&[]).unwrap();
        assert_eq!(config.environment().to_string(), "test");
        assert_eq!(config.pooled_url().unwrap().endpoint().dbname, "mine");
        assert_eq!(config.warnings(), [""; 0]);
    }
    for line in OTHERS.lines() {
        let text = format!("{line}\n{ours}{line}\n");
        let config = Site::new().file(".env", &text).load(&[]).unwrap();
        assert_eq!(config.environment().to_string(), "test", "{line}");
    }
}

/// A value that programs read differently is an error if a setting asks for that variable.
#[test]
fn a_value_of_ours_that_programs_read_differently_is_an_error_by_name() {
    for (name, line) in [
        ("PGPASSWORD", "PGPASSWORD=#canary"),
        (
            "DATABASE_URL",
            "DATABASE_URL=postgres://u:can#ary@localhost/d",
        ),
        (
            "DATABASE_URL",
            "DATABASE_URL='postgres://u:canary@localhost/d",
        ),
        (
            "DATABASE_URL",
            "DATABASE_URL: postgres://u:canary@localhost/d",
        ),
        (
            "DATABASE_URL",
            "set DATABASE_URL=postgres://u:canary@localhost/d",
        ),
        ("DATABASE_URL_FILE", "DATABASE_URL_FILE='a'b"),
        ("DATABASE_URL_DIRECT", "DATABASE_URL_DIRECT=\"a\\\\canary\""),
        (
            "DATABASE_URL_REPLICA",
            "DATABASE_URL_REPLICA=postgres://u:can$ary@localhost/d",
        ),
        ("APP_ENV", "APP_ENV=`dev`"),
        (
            "APP_DB__PROFILE__MAX",
            "APP_DB__PROFILE__MAX='5'#a\nAPP_DB__PROFILE__MAX=6",
        ),
        ("PGUSER", "PGUSER=a\nPGUSER=b"),
        ("PGSERVICE", "PGSERVICE=`x`"),
    ] {
        let number = line.lines().count();
        let error = Site::new().file(".env", &format!("\n{line}\n")).error(&[]);
        let start = format!("{name} (.env:{}): ", number + 1);
        assert!(error.starts_with(&start), "{line}: {error}");
        assert!(!error.contains("ary") && !error.contains('\n'), "{error}");
    }
    // A variable of the process hides the line.
    let site = Site::new().file(".env", "DATABASE_URL=`x`\nPGPASSWORD=#x");
    assert!(site.load(&[LOCAL, ("PGPASSWORD", "y")]).is_ok());
    // POSTGRES_PORT counts only beside POSTGRES_HOST.
    let site = Site::new().file(".env", "POSTGRES_PORT=`x`\nPOSTGRES_POOL_MAX=#1");
    assert!(site.load(&[LOCAL]).is_ok());
    let error = site.error(&[("POSTGRES_HOST", "localhost")]);
    assert!(
        error.contains("POSTGRES_PORT (.env:1)") && error.contains("POSTGRES_POOL_MAX (.env:2)"),
        "{error}"
    );
}

/// diesel#3210, sqlx#2690: a URL that is made of other variables, under its own name and another.
#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "a test compares what a program must not read"
)]
fn a_url_takes_in_the_variables_before_it() {
    let text = "POSTGRES_USER=me\nPOSTGRES_PASSWORD='p$w'\nDATABASE_URL=postgres://${POSTGRES_USER}:${POSTGRES_PASSWORD}@${HOST}/d\n";
    let site = Site::new().file(".env", text);
    let config = site.load(&[("HOST", "localhost")]).unwrap();
    let url = config.pooled_url().unwrap().endpoint().to_url();
    assert_eq!(
        db_config::ExposeSecret::expose_secret(&url),
        "postgres://me:p%24w@localhost:5432/d?sslmode=disable"
    );
    let error = site.error(&[]);
    assert!(error.starts_with("DATABASE_URL (.env:3): a `$`"), "{error}");
    assert!(!error.contains("p$w"), "{error}");

    let other = ("APP_DB__URL_VARIABLE", "MY_URL");
    let site = Site::new().file(".env", "NAME=d\nMY_URL=postgres://u@localhost/${NAME}");
    let config = site.load(&[other]).unwrap();
    assert_eq!(config.pooled_url().unwrap().endpoint().dbname, "d");
    assert_eq!(value(&config, "database.url").1, "MY_URL in .env:2");
    let site = Site::new().file(".env", "MY_URL=postgres://u@localhost/${NAME}");
    assert!(site.load(&[LOCAL]).is_ok(), "not asked for");
    let error = site.error(&[other, LOCAL]);
    assert!(error.starts_with("MY_URL (.env:1): a `$`"), "{error}");
}

/// UTF-16, as PowerShell writes it, is not UTF-8. A directory `.env` belongs to Python.
#[test]
fn utf16_is_an_error_that_says_so_and_a_directory_is_no_file() {
    let text = "DATABASE_URL=postgres://u@localhost/d\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (mark, bytes) in [
        (&b"\xff\xfe"[..], &little),
        (b"\xfe\xff", &big),
        (b"", &little),
    ] {
        let site = Site::new();
        std::fs::write(site.path().join(".env"), [mark, bytes].concat()).unwrap();
        let error = site.error(&[LOCAL]);
        assert!(
            error.starts_with(".env: is not UTF-8 but UTF-16"),
            "{error}"
        );
    }
    let error = Site::new()
        .file(".env", "A=1\rDATABASE_URL=x\r")
        .error(&[LOCAL]);
    assert!(
        error.starts_with(".env: its lines end with only CR"),
        "{error}"
    );
    let site = Site::new().file(".env/bin/python", "");
    assert!(site.load(&[LOCAL]).is_ok());
}

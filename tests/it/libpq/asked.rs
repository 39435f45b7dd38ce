//! Asks libpq through a small program in C, since this repository has no unsafe code.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

/// libpq's answer to each text.
pub(super) struct Libpq {
    /// The parameters that this version of libpq knows.
    names: Vec<String>,
    pub(super) answers: Vec<Result<BTreeMap<String, String>, String>>,
}

impl Libpq {
    pub(super) fn ask(texts: &[String]) -> Libpq {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("ask");
        let source = folder.path().join("ask.c");
        std::fs::write(&source, include_str!("ask.c")).unwrap();
        let compiled = Command::new("cc")
            .arg(&source)
            .args(["-O1", "-w", "-o"])
            .arg(&program)
            .arg("-ldl")
            .status()
            .unwrap();
        assert!(compiled.success(), "ask.c does not compile");
        let binaries = harness::Binaries::find().unwrap();
        let mut asked = Command::new(&program)
            // libpq has variables and files of its own.
            .env_clear()
            .env("HOME", folder.path())
            .env("LC_ALL", "C")
            // A PostgreSQL that is not installed has its own, and nobody else has one.
            .env("LD_LIBRARY_PATH", binaries.folder().join("../lib"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = asked.stdin.take().unwrap();
        let lines = texts.join("\n") + "\n";
        let writer = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
        let output = asked.wait_with_output().unwrap();
        writer.join().unwrap();
        assert!(
            output.status.success(),
            "libpq cannot be asked: ./run setup installs it"
        );
        let output = String::from_utf8(output.stdout).unwrap();
        let mut lines = output.lines();
        let names = lines
            .next()
            .unwrap()
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        let answers: Vec<_> = lines.map(answer).collect();
        assert_eq!(answers.len(), texts.len());
        Libpq { names, answers }
    }

    /// Whether a text has a parameter that came into libpq with a later version.
    pub(super) fn knows_not(&self, text: &str) -> bool {
        ["load_balance_hosts", "sslnegotiation"]
            .iter()
            .any(|name| text.contains(name) && !self.names.iter().any(|known| known == name))
    }
}

fn answer(line: &str) -> Result<BTreeMap<String, String>, String> {
    match line.split_once(' ') {
        Some(("refused", message)) => Err(unhex(message)),
        Some(("accepted", pairs)) => Ok(pairs
            .split(' ')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), unhex(value)))
            .collect()),
        _ => panic!("no answer: {line}"),
    }
}

fn unhex(hex: &str) -> String {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

//! How the server describes a statement, and whether its client was told the same.

use crate::conversation::Conversation;
use crate::conversation::exchange::{Exchange, Part};
use crate::prepared::statement_cache::StatementId;
use crate::protocol::frame::{Fate, HEADER, announced};
use crate::protocol::message::{PARSED, put, split_text};

/// Handles answers to Parse, Describe and Close, whether the client or the wire sent them.
pub(super) fn described(
    conversation: &mut Conversation,
    exchange: &mut Exchange,
    tag: u8,
    body: &[u8],
) -> Fate {
    match (exchange.part(), tag) {
        (Some(Part::Close), b'3') => {
            exchange.part_done();
            Fate::Drop
        }
        (Some(Part::Check(_)), b'1') => Fate::Drop,
        (Some(Part::Check(id)), b't' | b'T' | b'n') => {
            describe(conversation, tag, body);
            if tag != b't' {
                exchange.part_done();
                check(conversation, exchange, id);
            }
            Fate::Drop
        }
        (Some(Part::Parsed(id)), b'1') => {
            exchange.part_done();
            conversation.statements.remember(id);
            Fate::Drop
        }
        (Some(Part::CheckPortal(_)), b'1') => Fate::Drop,
        // The answer to the client's own Bind.
        (Some(Part::CheckPortal(_)), b'2') => {
            exchange.passed = true;
            Fate::Pass
        }
        (Some(Part::CheckPortal(id)), b'T' | b'n') => {
            conversation.described.clear();
            put(&mut conversation.described, tag, &[body]);
            exchange.part_done();
            check_portal(conversation, exchange, id);
            Fate::Drop
        }
        (Some(Part::Check(_) | Part::CheckPortal(_) | Part::Parsed(_) | Part::Close), _) => {
            exchange.mismatch = true;
            Fate::Drop
        }
        (Some(Part::Learn(id)), _) => {
            exchange.passed = true;
            learn(conversation, exchange, id, tag, body);
            Fate::Drop
        }
        _ => {
            exchange.passed = true;
            Fate::Pass
        }
    }
}

/// A description begins with its parameters.
fn describe(conversation: &mut Conversation, tag: u8, body: &[u8]) {
    if tag == b't' {
        conversation.described.clear();
    }
    put(&mut conversation.described, tag, &[body]);
}

/// Tells the client only once the whole description is known. Until then the wire can ask for it again.
fn learn(
    conversation: &mut Conversation,
    exchange: &mut Exchange,
    id: StatementId,
    tag: u8,
    body: &[u8],
) {
    match tag {
        b'1' => conversation.described.clear(),
        b't' => describe(conversation, tag, body),
        b'T' | b'n' => {
            describe(conversation, tag, body);
            exchange.part_done();
            let whole = halves(&conversation.described).is_some_and(|(first, second)| {
                first[0] == b't'
                    && second.first() == Some(&tag)
                    && second.len() == HEADER + body.len()
            });
            // The program was written for the description that the server gave before it refused the plan. If the new
            // one does not fit, the client gets an error once, and the wire does not retry silently: diesel would
            // read a float4 as the int4 that the program states.
            let told = conversation.statements.take_outdated(id);
            if let Some(told) = told.filter(|told| !still_fits(told, &conversation.described)) {
                exchange.mismatch = true;
                exchange.read_anew = results_may_be_read_anew(&told, &conversation.described);
                return conversation.statements.refuse(id, true);
            }
            if let Some(record) = conversation.statements.get_mut(id).filter(|_| whole) {
                record.description = Some(conversation.described.as_slice().into());
                conversation.statements.remember(id);
            }
            let out = conversation.to_client.end();
            out.extend_from_slice(PARSED);
            out.extend_from_slice(&conversation.described);
        }
        _ => {}
    }
}

/// Compares the server's present description of a statement with the one that its client was told.
fn check(conversation: &mut Conversation, exchange: &mut Exchange, id: StatementId) {
    let record = conversation.statements.get(id);
    match record.and_then(|record| record.description.as_deref()) {
        Some(told) if *told == *conversation.described => {
            narrow(conversation, exchange, id, None);
            conversation.statements.remember(id);
        }
        Some(told) if exchange.statement.is_some() && still_fits(told, &conversation.described) => {
            let count = |text| halves(text).and_then(|(_, result)| column_count(result));
            let fewer = count(told).filter(|told| count(&conversation.described) > Some(*told));
            narrow(conversation, exchange, id, fewer);
        }
        told => {
            exchange.mismatch = true;
            exchange.read_anew =
                told.is_some_and(|told| results_may_be_read_anew(told, &conversation.described));
            conversation.statements.forget(id);
        }
    }
}

/// Sets how many columns of each row pass: in this run, and in later runs until the server describes the rows again.
fn narrow(
    conversation: &mut Conversation,
    exchange: &mut Exchange,
    id: StatementId,
    columns: Option<u16>,
) {
    exchange.narrow = columns;
    if let Some(record) = conversation.statements.get_mut(id) {
        record.narrow = columns;
    }
}

fn results_may_be_read_anew(told: &[u8], now: &[u8]) -> bool {
    let results = halves(told).zip(halves(now));
    results.is_some_and(|((_, told), (_, now))| may_be_read_anew(told, now))
}

/// Does what [`check`] does, with the description of a portal. That one has only the rows, in the formats that the
/// client asks for.
fn check_portal(conversation: &mut Conversation, exchange: &mut Exchange, id: StatementId) {
    let now = conversation.described.as_slice();
    let Some(record) = conversation.statements.get_mut(id) else {
        exchange.mismatch = true;
        return;
    };
    if record.portal.as_deref() == Some(now) {
        narrow(conversation, exchange, id, None);
        return conversation.statements.remember(id);
    }
    let told = record.description.as_deref().and_then(halves);
    let told = told.map(|(_parameters, result)| result);
    match told.filter(|told| rows_still_fit(told, now)) {
        Some(told) if column_count(told) == column_count(now) => {
            record.portal = Some(now.into());
            narrow(conversation, exchange, id, None);
            conversation.statements.remember(id);
        }
        Some(told) => {
            let fewer = column_count(told);
            narrow(conversation, exchange, id, fewer);
        }
        None => {
            exchange.mismatch = true;
            exchange.read_anew = told.is_some_and(|told| may_be_read_anew(told, now));
            conversation.statements.forget(id);
        }
    }
}

/// Whether the newer rows begin with the columns of the older ones. The format does not matter.
fn rows_still_fit(told: &[u8], now: &[u8]) -> bool {
    compare_rows(told, now, read_alike)
}

/// Whether a program that was written for the older rows can read the newer ones after it has received the new
/// description. It can if only user-defined types differ, which may have been dropped and created again. Rows that
/// differ in another way must not be read without an error: diesel would read a float4 as the int4 that the program
/// states.
fn may_be_read_anew(told: &[u8], now: &[u8]) -> bool {
    let anew = |told: &Column<'_>, now: &Column<'_>| {
        read_alike(told, now) || (told.is_of_the_user() && now.is_of_the_user())
    };
    compare_rows(told, now, anew)
}

fn compare_rows(told: &[u8], now: &[u8], alike: impl Fn(&Column<'_>, &Column<'_>) -> bool) -> bool {
    let fits = || {
        let same_kind = told.first()? == now.first()?;
        let (told, now) = (columns(told)?, columns(now)?);
        Some(same_kind && begin_alike(&told, &now, alike))
    };
    fits().unwrap_or(false)
}

/// Whether the newer columns begin with the older ones.
fn begin_alike(
    told: &[Column<'_>],
    now: &[Column<'_>],
    alike: impl Fn(&Column<'_>, &Column<'_>) -> bool,
) -> bool {
    let pairs = || told.iter().zip(now);
    told.len() <= now.len() && pairs().all(|(told, now)| alike(told, now))
}

/// Whether a client that was told the older description can read an answer with the newer one: both have the same
/// parameters, and the newer columns begin with the older ones. The wire cuts further columns off each row.
fn still_fits(told: &[u8], now: &[u8]) -> bool {
    let fits = || {
        let ((told_parameters, told_result), (parameters, result)) = (halves(told)?, halves(now)?);
        let same_kind = told_result.first()? == result.first()?;
        let same_parameters = told_parameters == parameters;
        let (told, now) = (columns(told_result)?, columns(result)?);
        Some(same_kind && same_parameters && begin_alike(&told, &now, read_alike))
    };
    fits().unwrap_or(false)
}

/// Whether a description says that the statement returns no rows.
pub(super) fn has_no_rows(description: &[u8]) -> bool {
    halves(description).is_some_and(|(_, result)| result.first() == Some(&b'n'))
}

/// ParameterDescription, and RowDescription or NoData.
fn halves(description: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_tag, length) = announced(*description.first_chunk()?).ok()?;
    description.split_at_checked(HEADER + length)
}

/// How many columns a RowDescription has.
fn column_count(result: &[u8]) -> Option<u16> {
    let count = result.get(HEADER..)?.first_chunk::<2>()?;
    Some(u16::from_be_bytes(*count))
}

/// The first `values` values of a DataRow. tokio-postgres refuses a row that has more values than the description has
/// columns.
pub(super) fn narrowed(row: &[u8], values: u16) -> Option<Vec<u8>> {
    let (count, all) = row.split_first_chunk::<2>()?;
    let mut rest = all;
    if u16::from_be_bytes(*count) < values {
        return None;
    }
    for _ in 0..values {
        let (length, value) = rest.split_first_chunk::<4>()?;
        // NULL is a length of -1.
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        rest = value.get(length..)?;
    }
    let kept = all.len() - rest.len();
    Some([&values.to_be_bytes()[..], &all[..kept]].concat())
}

/// The parts of a column that decide how its values are read. The format is not among them: the client asks for it in
/// its Bind.
struct Column<'d> {
    name: &'d [u8],
    oid: &'d [u8],
}

/// Whether both have the same name and a client reads their values in the same way.
fn read_alike(one: &Column<'_>, other: &Column<'_>) -> bool {
    let texts = is_a_text(one.oid) && is_a_text(other.oid);
    one.name == other.name && (one.oid == other.oid || texts)
}

impl Column<'_> {
    /// Whether its type is user-defined and not built in (FirstNormalObjectId in access/transam.h).
    fn is_of_the_user(&self) -> bool {
        number(self.oid) >= 16_384
    }
}

/// text, varchar, bpchar and name: their values are the same bytes.
fn is_a_text(oid: &[u8]) -> bool {
    matches!(number(oid), 25 | 1043 | 1042 | 19)
}

fn number(oid: &[u8]) -> u32 {
    oid.first_chunk().map_or(0, |oid| u32::from_be_bytes(*oid))
}

/// The columns of a RowDescription; NoData has none. Their tables do not matter: one text may run on the tables of
/// several schemas.
fn columns(result: &[u8]) -> Option<Vec<Column<'_>>> {
    let mut columns = Vec::new();
    if result.first()? == &b'n' {
        return Some(columns);
    }
    let mut rest = result.get(HEADER + 2..)?;
    for _ in 0..column_count(result)? {
        let (name, fields) = split_text(rest)?;
        // The table, the number of the column there; the type, its size and modifier; the format.
        columns.push(Column {
            name,
            oid: fields.get(6..10)?,
        });
        rest = fields.get(18..)?;
    }
    Some(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(parameters: &[u8], columns: &[(&str, u32, u32)]) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, b't', &[parameters]);
        let mut body = (columns.len() as u16).to_be_bytes().to_vec();
        for (name, table, oid) in columns {
            body.extend_from_slice(name.as_bytes());
            body.push(0);
            body.extend_from_slice(&table.to_be_bytes());
            body.extend_from_slice(&[0, 1]);
            body.extend_from_slice(&oid.to_be_bytes());
            body.extend_from_slice(&[0, 4, 255, 255, 255, 255, 0, 0]);
        }
        put(&mut out, b'T', &[&body]);
        out
    }

    #[test]
    fn a_description_fits_while_its_columns_come_first_and_read_alike() {
        let told = described(b"\0\0", &[("a", 1, 23), ("b", 1, 25)]);
        let more = described(b"\0\0", &[("a", 1, 23), ("b", 1, 25), ("c", 1, 16)]);
        let elsewhere = described(b"\0\0", &[("a", 2, 23), ("b", 2, 25)]);
        assert!(still_fits(&told, &told) && still_fits(&told, &more));
        assert!(still_fits(&told, &elsewhere));
        assert!(!still_fits(&more, &told));
        for other in [
            described(b"\0\0", &[("b", 1, 25), ("a", 1, 23)]),
            described(b"\0\0", &[("a", 1, 700), ("b", 1, 25)]),
            described(b"\0\0", &[("x", 1, 23), ("b", 1, 25)]),
            described(b"\0\x01\0\0\0\x17", &[("a", 1, 23), ("b", 1, 25)]),
            b"t\0\0\0\x06\0\0n\0\0\0\x04".to_vec(),
            told[..told.len() - 1].to_vec(),
            Vec::new(),
        ] {
            assert!(!still_fits(&told, &other), "{}", other.escape_ascii());
        }
    }

    #[test]
    fn a_row_is_cut_behind_the_values_that_are_expected() {
        let row = b"\0\x03\0\0\0\x01a\xff\xff\xff\xff\0\0\0\x02bc";
        assert_eq!(narrowed(row, 3).unwrap(), row);
        assert_eq!(
            narrowed(row, 2).unwrap(),
            b"\0\x02\0\0\0\x01a\xff\xff\xff\xff"
        );
        assert_eq!(narrowed(row, 0).unwrap(), b"\0\0");
        assert_eq!(narrowed(row, 4), None);
        assert_eq!(narrowed(&row[..9], 2), None);
    }
}

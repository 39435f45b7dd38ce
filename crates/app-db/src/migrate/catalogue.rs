//! Everything that migrations create, by name and with its definition, so that two catalogues can be
//! compared.

use std::collections::BTreeMap;

use tokio_postgres::{Client, Error};

/// The objects of a database, without those of the server, of extensions, and of the migrator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Catalogue(BTreeMap<String, String>);

/// How another catalogue differs.
pub(super) struct Differences {
    pub(super) new: Vec<String>,
    pub(super) gone: Vec<String>,
    pub(super) changed: Vec<String>,
}

impl Catalogue {
    pub(super) async fn read(client: &Client) -> Result<Self, Error> {
        let mut objects = BTreeMap::new();
        for query in QUERIES {
            // The extension's own objects come and go with it.
            let sql = format!(
                "SELECT object::text, coalesce(definition::text, '') FROM ({query}) AS o(classid, oid, object, definition) \
                 WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.deptype = 'e' \
                 AND d.classid = o.classid AND d.objid = o.oid)"
            );
            for row in client.query(&sql, &[]).await? {
                objects.insert(row.try_get(0)?, row.try_get(1)?);
            }
        }
        Ok(Self(objects))
    }

    pub(super) fn is_empty(&self) -> bool {
        let is_there_from_the_start =
            |object: &String| object == "schema public" || object == "extension plpgsql";
        self.0.keys().all(is_there_from_the_start)
    }

    /// How `later` differs from this catalogue.
    pub(super) fn compare(&self, later: &Self) -> Differences {
        let only = |one: &Self, other: &Self| {
            let keys = one.0.keys().filter(|object| !other.0.contains_key(*object));
            keys.cloned().collect()
        };
        let changed = self.0.iter().filter(|(object, definition)| {
            later
                .0
                .get(*object)
                .is_some_and(|later| later != *definition)
        });
        Differences {
            new: only(later, self),
            gone: only(self, later),
            changed: changed.map(|(object, _)| object.clone()).collect(),
        }
    }
}

/// Each has a class, a number, a name and a definition. The order of columns is left out, because nothing can
/// put a column back in its place.
const QUERIES: [&str; 14] = [
    "SELECT 'pg_namespace'::regclass::oid, oid, format('schema %I', nspname), nspacl::text \
     FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    "SELECT 'pg_class'::regclass::oid, c.oid, format('%s %I.%I', CASE c.relkind WHEN 'S' THEN 'sequence' \
     WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view' WHEN 'f' THEN 'foreign table' \
     WHEN 'c' THEN 'type' ELSE 'table' END, n.nspname, c.relname), \
     concat_ws(' ', c.relkind, c.relpersistence, c.reloptions::text, c.relrowsecurity, c.relforcerowsecurity, \
     c.relacl::text, c.relreplident, pg_get_userbyid(c.relowner), pg_get_partkeydef(c.oid), \
     pg_get_expr(c.relpartbound, c.oid), \
     CASE WHEN c.relkind IN ('v', 'm') THEN pg_get_viewdef(c.oid) END, \
     (SELECT concat_ws(' ', s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcycle) \
      FROM pg_sequence s WHERE s.seqrelid = c.oid)) \
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'c') AND n.nspname !~ '^pg_' \
     AND n.nspname <> 'information_schema' \
     AND c.relname NOT IN ('__diesel_schema_migrations', '__dbctl_migrations')",
    "SELECT 'pg_class'::regclass::oid, c.oid, format('column %I.%I.%I', n.nspname, c.relname, a.attname), \
     concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity, a.attgenerated, \
     a.attstattarget, a.attstorage, a.attcollation::regcollation, a.attoptions::text, a.attacl::text, \
     pg_get_expr(d.adbin, d.adrelid)) \
     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c') \
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND c.relname NOT IN ('__diesel_schema_migrations', '__dbctl_migrations')",
    "SELECT 'pg_constraint'::regclass::oid, k.oid, format('constraint %I of %s', k.conname, \
     CASE WHEN k.conrelid <> 0 THEN k.conrelid::regclass::text ELSE k.contypid::regtype::text END), \
     concat_ws(' ', pg_get_constraintdef(k.oid), k.convalidated) \
     FROM pg_constraint k JOIN pg_namespace n ON n.oid = k.connamespace \
     LEFT JOIN pg_class c ON c.oid = k.conrelid \
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND k.contype <> 'n' \
     AND coalesce(c.relname, '') NOT IN ('__diesel_schema_migrations', '__dbctl_migrations')",
    "SELECT 'pg_class'::regclass::oid, c.oid, format('index %I.%I', n.nspname, c.relname), \
     concat_ws(' ', pg_get_indexdef(c.oid), i.indisvalid, i.indisreplident, i.indisclustered) \
     FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
     JOIN pg_class t ON t.oid = i.indrelid \
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
     AND t.relname NOT IN ('__diesel_schema_migrations', '__dbctl_migrations')",
    "SELECT 'pg_proc'::regclass::oid, p.oid, format('function %s', p.oid::regprocedure), \
     concat_ws(' ', CASE WHEN p.prokind = 'a' THEN 'aggregate' ELSE pg_get_functiondef(p.oid) END, p.proacl::text) \
     FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace \
     WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "SELECT 'pg_trigger'::regclass::oid, t.oid, format('trigger %I of %s', t.tgname, t.tgrelid::regclass), \
     concat_ws(' ', pg_get_triggerdef(t.oid), t.tgenabled) FROM pg_trigger t WHERE NOT t.tgisinternal",
    "SELECT 'pg_rewrite'::regclass::oid, r.oid, format('rule %I of %s', r.rulename, r.ev_class::regclass), \
     concat_ws(' ', pg_get_ruledef(r.oid), r.ev_enabled) FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class \
     JOIN pg_namespace n ON n.oid = c.relnamespace WHERE r.rulename <> '_RETURN' \
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "SELECT 'pg_policy'::regclass::oid, p.oid, format('policy %I of %s', p.polname, p.polrelid::regclass), \
     concat_ws(' ', p.polcmd, p.polpermissive, p.polroles::text, pg_get_expr(p.polqual, p.polrelid), \
     pg_get_expr(p.polwithcheck, p.polrelid)) FROM pg_policy p",
    "SELECT 'pg_type'::regclass::oid, t.oid, format('type %s', t.oid::regtype), \
     concat_ws(' ', t.typtype, CASE WHEN t.typtype = 'd' THEN format_type(t.typbasetype, t.typtypmod) END, \
     CASE WHEN t.typtype = 'd' THEN t.typnotnull END, t.typdefault, t.typacl::text, \
     (SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid), \
     (SELECT r.rngsubtype::regtype::text FROM pg_range r WHERE r.rngtypid = t.oid)) \
     FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace WHERE t.typtype IN ('e', 'd', 'r', 'm') \
     AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'",
    "SELECT 0::oid, oid, format('extension %I', extname), extversion FROM pg_extension",
    "SELECT d.classoid, d.objoid, format('comment on %s', \
     (pg_identify_object(d.classoid, d.objoid, d.objsubid)).identity), d.description \
     FROM pg_description d WHERE d.objoid >= 16384",
    "SELECT 'pg_statistic_ext'::regclass::oid, s.oid, format('statistics %I.%I', n.nspname, s.stxname), \
     pg_get_statisticsobjdef(s.oid) FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = s.stxnamespace",
    "SELECT classid, oid, object, '' FROM ( \
     SELECT 'pg_operator'::regclass::oid AS classid, oid, format('operator %s', oid::regoperator) AS object FROM pg_operator \
     UNION ALL SELECT 'pg_cast'::regclass::oid, oid, format('cast %s to %s', castsource::regtype, casttarget::regtype) FROM pg_cast \
     UNION ALL SELECT 'pg_collation'::regclass::oid, oid, format('collation %s', oid::regcollation) FROM pg_collation \
     UNION ALL SELECT 'pg_publication'::regclass::oid, oid, format('publication %I', pubname) FROM pg_publication \
     UNION ALL SELECT 'pg_event_trigger'::regclass::oid, oid, format('event trigger %I', evtname) FROM pg_event_trigger \
     UNION ALL SELECT 'pg_foreign_server'::regclass::oid, oid, format('server %I', srvname) FROM pg_foreign_server \
     ) AS rest WHERE oid >= 16384",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_catalogues_differ_by_what_is_new_gone_and_changed() {
        let catalogue = |objects: &[(&str, &str)]| {
            let objects = objects
                .iter()
                .map(|(o, d)| ((*o).to_owned(), (*d).to_owned()));
            Catalogue(objects.collect())
        };
        let before = catalogue(&[("schema public", ""), ("table a", "1"), ("table b", "1")]);
        let after = catalogue(&[("schema public", ""), ("table b", "2"), ("table c", "1")]);
        let Differences { new, gone, changed } = before.compare(&after);
        assert_eq!(
            (new, gone),
            (vec!["table c".to_owned()], vec!["table a".to_owned()])
        );
        assert_eq!(changed, ["table b"]);
        assert!(catalogue(&[("schema public", "x")]).is_empty() && !before.is_empty());
    }
}

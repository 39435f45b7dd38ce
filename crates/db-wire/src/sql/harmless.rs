//! The functions and keywords that change nothing in a session.
//!
//! Each list is sorted, for a binary search.

/// Whether it is the lower-case name of a built-in function that leaves nothing behind.
pub(crate) fn is_harmless_function(name: &[u8]) -> bool {
    CALM.binary_search(&name).is_ok() || PICKED.binary_search(&name).is_ok()
}

/// Whether a word without quotes cannot be the name of a function, so that a parenthesis after it is
/// syntax.
pub(crate) fn is_syntax(word: &[u8]) -> bool {
    let word = word.to_ascii_lowercase();
    SYNTAX.binary_search(&word.as_slice()).is_ok()
}

/// Functions without a volatile variant, except functions that only the server itself calls or that run
/// a text. The list is of PostgreSQL 15; later additions were added by hand:
///
/// ```sql
/// SELECT proname FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
/// GROUP BY proname HAVING bool_and(provolatile IN ('i', 's')) ORDER BY proname COLLATE "C"
/// ```
#[rustfmt::skip]
const CALM: &[&[u8]] = &[
    b"abbrev", b"abs", b"aclcontains", b"acldefault", b"aclexplode", b"acos", b"acosd", b"acosh",
    b"age", b"any_value", b"area", b"array_agg", b"array_append", b"array_cat", b"array_dims",
    b"array_fill", b"array_length", b"array_lower", b"array_ndims", b"array_position",
    b"array_positions", b"array_prepend", b"array_remove", b"array_replace", b"array_reverse",
    b"array_sort", b"array_to_json", b"array_to_string", b"array_to_tsvector", b"array_upper",
    b"ascii", b"asin", b"asind", b"asinh", b"atan", b"atan2", b"atan2d", b"atand", b"atanh",
    b"avg", b"bit_and", b"bit_count", b"bit_length", b"bit_or", b"bit_xor", b"bool", b"bool_and",
    b"bool_or", b"bound_box", b"box", b"bpchar", b"broadcast", b"btrim", b"cardinality",
    b"casefold", b"cbrt", b"ceil", b"ceiling", b"center", b"char_length", b"character_length",
    b"cidr", b"circle", b"col_description", b"concat", b"concat_ws", b"convert", b"convert_from",
    b"convert_to", b"corr", b"cos", b"cosd", b"cosh", b"cot", b"cotd", b"count", b"covar_pop",
    b"covar_samp", b"crc32", b"crc32c", b"cume_dist", b"current_database", b"current_schema",
    b"current_schemas", b"current_setting", b"date", b"date_add", b"date_bin", b"date_part",
    b"date_subtract", b"date_trunc", b"datemultirange", b"daterange", b"decode", b"degrees",
    b"dense_rank", b"diagonal", b"diameter", b"div", b"encode", b"enum_first", b"enum_last",
    b"enum_range", b"erf", b"erfc", b"every", b"exp", b"factorial", b"family", b"first_value",
    b"float4", b"float8", b"floor", b"format", b"format_type", b"gamma", b"gcd",
    b"generate_series", b"generate_subscripts", b"get_bit", b"get_byte", b"get_current_ts_config",
    b"getdatabaseencoding", b"has_any_column_privilege", b"has_column_privilege",
    b"has_database_privilege", b"has_foreign_data_wrapper_privilege", b"has_function_privilege",
    b"has_language_privilege", b"has_parameter_privilege", b"has_schema_privilege",
    b"has_sequence_privilege", b"has_server_privilege", b"has_table_privilege",
    b"has_tablespace_privilege", b"has_type_privilege", b"hashtext", b"hashtextextended",
    b"height", b"host", b"hostmask", b"inet", b"inet_client_addr", b"inet_client_port",
    b"inet_merge", b"inet_same_family", b"inet_server_addr", b"inet_server_port", b"initcap",
    b"int2", b"int4", b"int4multirange", b"int4range", b"int8", b"int8multirange", b"int8range",
    b"is_normalized", b"isclosed", b"isempty", b"isfinite", b"ishorizontal", b"isopen",
    b"isparallel", b"isperp", b"isvertical", b"json", b"json_agg", b"json_array",
    b"json_array_elements", b"json_array_elements_text", b"json_array_length", b"json_arrayagg",
    b"json_build_array", b"json_build_object", b"json_each", b"json_each_text", b"json_exists",
    b"json_extract_path", b"json_extract_path_text", b"json_object", b"json_object_agg",
    b"json_object_keys", b"json_objectagg", b"json_populate_record", b"json_populate_recordset",
    b"json_query", b"json_scalar", b"json_serialize", b"json_strip_nulls", b"json_to_record",
    b"json_to_recordset", b"json_to_tsvector", b"json_typeof", b"json_value", b"jsonb",
    b"jsonb_agg", b"jsonb_array_elements", b"jsonb_array_elements_text", b"jsonb_array_length",
    b"jsonb_build_array", b"jsonb_build_object", b"jsonb_each", b"jsonb_each_text",
    b"jsonb_extract_path", b"jsonb_extract_path_text", b"jsonb_insert", b"jsonb_object",
    b"jsonb_object_agg", b"jsonb_object_keys", b"jsonb_path_exists", b"jsonb_path_exists_tz",
    b"jsonb_path_match", b"jsonb_path_match_tz", b"jsonb_path_query", b"jsonb_path_query_array",
    b"jsonb_path_query_array_tz", b"jsonb_path_query_first", b"jsonb_path_query_first_tz",
    b"jsonb_path_query_tz", b"jsonb_populate_record", b"jsonb_populate_recordset",
    b"jsonb_pretty", b"jsonb_set", b"jsonb_set_lax", b"jsonb_strip_nulls", b"jsonb_to_record",
    b"jsonb_to_recordset", b"jsonb_to_tsvector", b"jsonb_typeof", b"justify_days",
    b"justify_hours", b"justify_interval", b"lag", b"last_value", b"lcm", b"lead", b"left",
    b"length", b"lgamma", b"like", b"line", b"ln", b"log", b"log10", b"lower", b"lower_inc",
    b"lower_inf", b"lpad", b"lseg", b"ltrim", b"macaddr8_set7bit", b"make_date", b"make_interval",
    b"make_time", b"make_timestamp", b"make_timestamptz", b"masklen", b"max", b"md5",
    b"merge_action", b"min", b"min_scale", b"mod", b"mode", b"multirange", b"mxid_age", b"name",
    b"netmask", b"network", b"notlike", b"now", b"npoints", b"nth_value", b"ntile",
    b"num_nonnulls", b"num_nulls", b"nummultirange", b"numnode", b"numrange", b"obj_description",
    b"octet_length", b"overlaps", b"parse_ident", b"percent_rank", b"percentile_cont",
    b"percentile_disc", b"pg_backend_pid", b"pg_basetype", b"pg_char_to_encoding",
    b"pg_client_encoding", b"pg_collation_for", b"pg_collation_is_visible",
    b"pg_column_compression", b"pg_column_is_updatable", b"pg_column_size",
    b"pg_conversion_is_visible", b"pg_current_snapshot", b"pg_current_xact_id",
    b"pg_current_xact_id_if_assigned", b"pg_describe_object", b"pg_encoding_max_length",
    b"pg_encoding_to_char", b"pg_filenode_relation", b"pg_function_is_visible",
    b"pg_get_constraintdef", b"pg_get_expr", b"pg_get_function_arg_default",
    b"pg_get_function_arguments", b"pg_get_function_identity_arguments",
    b"pg_get_function_result", b"pg_get_function_sqlbody", b"pg_get_functiondef",
    b"pg_get_indexdef", b"pg_get_keywords", b"pg_get_object_address",
    b"pg_get_partition_constraintdef", b"pg_get_partkeydef", b"pg_get_replica_identity_index",
    b"pg_get_ruledef", b"pg_get_serial_sequence", b"pg_get_statisticsobjdef",
    b"pg_get_statisticsobjdef_columns", b"pg_get_statisticsobjdef_expressions",
    b"pg_get_triggerdef", b"pg_get_userbyid", b"pg_get_viewdef", b"pg_has_role",
    b"pg_identify_object", b"pg_identify_object_as_address", b"pg_input_error_info",
    b"pg_input_is_valid", b"pg_is_other_temp_schema", b"pg_listening_channels",
    b"pg_my_temp_schema", b"pg_opclass_is_visible", b"pg_operator_is_visible",
    b"pg_opfamily_is_visible", b"pg_partition_root", b"pg_postmaster_start_time",
    b"pg_relation_filenode", b"pg_relation_filepath", b"pg_relation_is_publishable",
    b"pg_relation_is_updatable", b"pg_replication_origin_oid", b"pg_sequence_parameters",
    b"pg_size_bytes", b"pg_size_pretty", b"pg_snapshot_xip", b"pg_snapshot_xmax",
    b"pg_snapshot_xmin", b"pg_statistics_obj_is_visible", b"pg_table_is_visible",
    b"pg_tablespace_location", b"pg_timezone_abbrevs", b"pg_timezone_names", b"pg_trigger_depth",
    b"pg_ts_config_is_visible", b"pg_ts_dict_is_visible", b"pg_ts_parser_is_visible",
    b"pg_ts_template_is_visible", b"pg_type_is_visible", b"pg_typeof", b"pg_visible_in_snapshot",
    b"pg_wal_lsn_diff", b"pg_walfile_name", b"pg_walfile_name_offset", b"phraseto_tsquery", b"pi",
    b"plainto_tsquery", b"point", b"polygon", b"pow", b"power", b"quote_ident", b"quote_literal",
    b"quote_nullable", b"radians", b"radius", b"range_agg", b"range_intersect_agg",
    b"range_merge", b"rank", b"regexp_count", b"regexp_instr", b"regexp_like", b"regexp_match",
    b"regexp_matches", b"regexp_replace", b"regexp_split_to_array", b"regexp_split_to_table",
    b"regexp_substr", b"regr_avgx", b"regr_avgy", b"regr_count", b"regr_intercept", b"regr_r2",
    b"regr_slope", b"regr_sxx", b"regr_sxy", b"regr_syy", b"repeat", b"replace", b"reverse",
    b"right", b"round", b"row_number", b"row_security_active", b"row_to_json", b"rpad", b"rtrim",
    b"scale", b"set_bit", b"set_byte", b"set_masklen", b"setweight", b"sha224", b"sha256",
    b"sha384", b"sha512", b"shobj_description", b"sign", b"sin", b"sind", b"sinh", b"slope",
    b"split_part", b"sqrt", b"starts_with", b"statement_timestamp", b"stddev", b"stddev_pop",
    b"stddev_samp", b"string_agg", b"string_to_array", b"string_to_table", b"strip", b"strpos",
    b"substr", b"sum", b"tan", b"tand", b"tanh", b"text", b"timestamptz", b"timetz", b"timezone",
    b"to_ascii", b"to_bin", b"to_char", b"to_date", b"to_hex", b"to_json", b"to_jsonb",
    b"to_number", b"to_oct", b"to_regclass", b"to_regcollation", b"to_regnamespace",
    b"to_regoper", b"to_regoperator", b"to_regproc", b"to_regprocedure", b"to_regrole",
    b"to_regtype", b"to_regtypemod", b"to_timestamp", b"to_tsquery", b"to_tsvector",
    b"transaction_timestamp", b"translate", b"trim_array", b"trim_scale", b"trunc", b"ts_debug",
    b"ts_delete", b"ts_filter", b"ts_headline", b"ts_lexize", b"ts_parse", b"ts_rank",
    b"ts_rank_cd", b"ts_token_type", b"tsmultirange", b"tsquery_phrase", b"tsrange",
    b"tstzmultirange", b"tstzrange", b"tsvector_to_array", b"txid_current",
    b"txid_current_if_assigned", b"txid_current_snapshot", b"txid_snapshot_xip",
    b"txid_snapshot_xmax", b"txid_snapshot_xmin", b"txid_visible_in_snapshot",
    b"unicode_assigned", b"unicode_version", b"unistr", b"unnest", b"upper", b"upper_inc",
    b"upper_inf", b"uuid", b"uuid_extract_timestamp", b"uuid_extract_version", b"var_pop",
    b"var_samp", b"varbit", b"variance", b"version", b"websearch_to_tsquery", b"width",
    b"width_bucket", b"xml", b"xml_is_well_formed", b"xml_is_well_formed_content",
    b"xml_is_well_formed_document", b"xmlagg", b"xmlcomment", b"xmltext", b"xmlvalidate",
    b"xpath", b"xpath_exists",
];

/// Volatile functions that leave nothing behind when the transaction is over. `nextval` is not here,
/// because `currval` and `lastval` remember it. Functions of extensions are not here, because a user's
/// function may have the same name.
#[rustfmt::skip]
const PICKED: &[&[u8]] = &[
    b"array_sample", b"array_shuffle", b"clock_timestamp",
    b"current_query", b"currval", b"gen_random_uuid", b"lastval", b"pg_advisory_unlock", b"pg_advisory_unlock_all",
    b"pg_advisory_unlock_shared", b"pg_advisory_xact_lock", b"pg_advisory_xact_lock_shared",
    b"pg_blocking_pids", b"pg_cancel_backend", b"pg_current_wal_flush_lsn",
    b"pg_current_wal_insert_lsn", b"pg_current_wal_lsn", b"pg_database_size", b"pg_indexes_size",
    b"pg_is_in_recovery", b"pg_last_wal_receive_lsn", b"pg_last_wal_replay_lsn",
    b"pg_last_xact_replay_timestamp", b"pg_notification_queue_usage", b"pg_notify",
    b"pg_partition_ancestors", b"pg_partition_tree", b"pg_relation_size",
    b"pg_sequence_last_value", b"pg_sleep", b"pg_sleep_for", b"pg_sleep_until", b"pg_table_size",
    b"pg_tablespace_size", b"pg_terminate_backend", b"pg_total_relation_size",
    b"pg_try_advisory_xact_lock", b"pg_try_advisory_xact_lock_shared",
    b"pg_xact_commit_timestamp", b"pg_xact_status", b"random", b"random_normal", b"timeofday", b"txid_status", b"uuidv4", b"uuidv7",
];

/// `SELECT word FROM pg_get_keywords() WHERE catcode IN ('C', 'R')` in PostgreSQL 15: the grammar never
/// takes one of these for the name of a function.
#[rustfmt::skip]
const SYNTAX: &[&[u8]] = &[
    b"all", b"analyse", b"analyze", b"and", b"any", b"array", b"as", b"asc", b"asymmetric",
    b"between", b"bigint", b"bit", b"boolean", b"both", b"case", b"cast", b"char", b"character",
    b"check", b"coalesce", b"collate", b"column", b"constraint", b"create", b"current_catalog",
    b"current_date", b"current_role", b"current_time", b"current_timestamp", b"current_user",
    b"dec", b"decimal", b"default", b"deferrable", b"desc", b"distinct", b"do", b"else", b"end",
    b"except", b"exists", b"extract", b"false", b"fetch", b"float", b"for", b"foreign", b"from",
    b"grant", b"greatest", b"group", b"grouping", b"having", b"in", b"initially", b"inout",
    b"int", b"integer", b"intersect", b"interval", b"into", b"lateral", b"leading", b"least",
    b"limit", b"localtime", b"localtimestamp", b"national", b"nchar", b"none", b"normalize",
    b"not", b"null", b"nullif", b"numeric", b"offset", b"on", b"only", b"or", b"order", b"out",
    b"overlay", b"placing", b"position", b"precision", b"primary", b"real", b"references",
    b"returning", b"row", b"select", b"session_user", b"setof", b"smallint", b"some",
    b"substring", b"symmetric", b"table", b"then", b"time", b"timestamp", b"to", b"trailing",
    b"treat", b"trim", b"true", b"union", b"unique", b"user", b"using", b"values", b"varchar",
    b"variadic", b"when", b"where", b"window", b"with", b"xmlattributes", b"xmlconcat",
    b"xmlelement", b"xmlexists", b"xmlforest", b"xmlnamespaces", b"xmlparse", b"xmlpi",
    b"xmlroot", b"xmlserialize", b"xmltable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_lack_what_changes_a_session() {
        for list in [CALM, PICKED, SYNTAX] {
            assert!(list.is_sorted_by(|one, next| one < next));
        }
        for name in [
            &b"set_config"[..],
            b"nextval",
            b"setval",
            b"pg_advisory_lock",
            b"pg_try_advisory_lock",
            b"pg_advisory_lock_shared",
            b"pg_try_advisory_lock_shared",
            b"query_to_xml",
            b"ts_stat",
            b"ts_rewrite",
            b"setseed",
            b"lo_open",
            b"dblink_connect",
            b"cursor_to_xml",
            b"pg_replication_origin_session_setup",
            b"pg_create_logical_replication_slot",
        ] {
            assert!(!is_harmless_function(name), "{}", name.escape_ascii());
        }
        assert!(is_syntax(b"Coalesce") && !is_syntax(b"left") && is_harmless_function(b"left"));
    }
}

-- Every column
--
-- Tables, views and columns of this file with what they mean; what is searched for may stand in a name or in a meaning.
SELECT schema_name AS schema, table_name AS "table", column_name AS "column", data_type AS type, comment AS meaning
FROM duckdb_columns()
WHERE database_name = 'published' AND NOT internal
    AND contains(lower(concat_ws(' ', schema_name || '.' || table_name, column_name, comment)), lower($text))
ORDER BY schema_name = 'mart' DESC, schema_name, table_name, column_index LIMIT 3000

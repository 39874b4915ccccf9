grant usage on schema iis to iis_panel, iis_node;
grant select on all tables in schema iis to iis_panel, iis_node;
grant insert (id, doc), update (doc), delete, truncate on iis.site to iis_panel;
grant insert (id, doc), update (doc, ok, good, refusal), delete on iis.site to iis_node;
grant update (key, answer) on iis.revision to iis_node;
grant execute on function iis.write() to iis_panel, iis_node;
grant execute on function iis.trim(interval) to iis_node;
